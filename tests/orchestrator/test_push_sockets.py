"""Inbox sockets through a real server and a real client."""

import asyncio
from typing import Any

import aiohttp
import pytest

from domain import store
from orchestrator.push import connection
from orchestrator.push.frames import CloseCode
from tests.fakes.push_world import PushWorld, push_world

Socket = aiohttp.ClientWebSocketResponse


async def connect(world: PushWorld, path: str = "/v1/stores/s-1/socket", **auth: Any) -> Socket:
    socket = await world.http.ws_connect(world.url + path)
    frame = {"frame": "auth", "token": world.token(), "device_id": "d-1", "acked": 0}
    await socket.send_json({**frame, **auth})
    return socket


async def frame(socket: Socket) -> dict[str, Any]:
    received: dict[str, Any] = await socket.receive_json(timeout=30)
    return received


async def until(socket: Socket, name: str) -> list[dict[str, Any]]:
    frames = [await frame(socket)]
    while frames[-1]["frame"] != name:
        frames.append(await frame(socket))
    return frames


async def closed(socket: Socket) -> int:
    while not socket.closed:
        await socket.receive(timeout=30)
    assert socket.close_code is not None
    return socket.close_code


def offsets(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["offset"] for frame in frames if frame["frame"] == "event"]


async def test_a_tablet_gets_what_it_missed_and_then_what_happens() -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", "one", "two")
        socket = await connect(world, acked=1)
        frames = await until(socket, "caught_up")
        assert offsets(frames) == [2]
        await world.runtime.say("store/s-1", "three")
        event = await frame(socket)
        assert (event["offset"], event["data"]) == (3, {"text": "three"})
        await world.runtime.say("store/s-2", "not for us")
        await world.runtime.say("store/s-1", "four")
        assert (await frame(socket))["offset"] == 4
        await socket.close()


async def test_a_new_tablet_gets_a_snapshot() -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", "one", "two")
        socket = await connect(world, acked=None)
        hello, snapshot, caught_up = await until(socket, "caught_up")
        assert (hello["frame"], snapshot["head"], caught_up["head"]) == ("hello", 2, 2)
        await socket.close()


async def test_riders_have_their_own_inbox() -> None:
    async with push_world() as world:
        world.runtime.note("rider/r-1", "offer")
        socket = await connect(
            world, "/v1/riders/r-1/socket", token=world.token("rider", "r-1"), device_id="phone"
        )
        assert offsets(await until(socket, "caught_up")) == [1]
        await socket.close()


async def test_every_device_of_a_store_gets_each_message() -> None:
    async with push_world() as world:
        tablets = [await connect(world, device_id=f"d-{number}") for number in range(3)]
        for tablet in tablets:
            await until(tablet, "caught_up")
        await world.runtime.say("store/s-1", "one")
        for tablet in tablets:
            assert (await frame(tablet))["offset"] == 1
            await tablet.close()


async def test_an_acknowledgement_reaches_the_inbox_in_one_command_for_many() -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", *"abcdef")
        socket = await connect(world)
        await until(socket, "caught_up")
        for offset in range(1, 7):
            await socket.send_json({"frame": "ack", "offset": offset})
        device = world.runtime.inbox("store/s-1").devices["d-1"]
        while device.acked < 6:
            await asyncio.sleep(0.005)
        acks = [c for _, c in world.runtime.asked if isinstance(c, store.AcknowledgeInbox)]
        assert len(acks) <= 2
        await socket.close()


async def test_what_was_acknowledged_counts_even_if_the_socket_died_at_once() -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", "one")
        socket = await connect(world)
        await until(socket, "caught_up")
        await socket.send_json({"frame": "ack", "offset": 1})
        await socket.close()
        while world.runtime.inbox("store/s-1").devices["d-1"].acked < 1:
            await asyncio.sleep(0.005)


async def test_the_newest_connection_of_a_device_wins() -> None:
    async with push_world() as world:
        older = await connect(world)
        await until(older, "caught_up")
        newer = await connect(world)
        await until(newer, "caught_up")
        assert await closed(older) == CloseCode.SUPERSEDED
        await world.runtime.say("store/s-1", "one")
        assert (await frame(newer))["offset"] == 1
        await newer.close()


async def test_a_newer_connection_at_another_gateway_wins_as_soon_as_the_feed_tells() -> None:
    async with push_world() as world:
        socket = await connect(world)
        await until(socket, "caught_up")
        world.runtime.answer("store/s-1", store.RegisterDevice("d-1", "elsewhere", 0))
        await world.runtime.publish()
        assert await closed(socket) == CloseCode.SUPERSEDED


async def test_an_older_connection_cannot_acknowledge() -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", "one")
        socket = await connect(world)
        await until(socket, "caught_up")
        world.runtime.stalled = True
        world.runtime.answer("store/s-1", store.RegisterDevice("d-1", "elsewhere", 0))
        await socket.send_json({"frame": "ack", "offset": 1})
        assert await closed(socket) == CloseCode.SUPERSEDED
        assert world.runtime.inbox("store/s-1").devices["d-1"].acked == 0


@pytest.mark.parametrize(
    ("role", "subject", "code"),
    [
        ("store", "s-2", CloseCode.FORBIDDEN),
        ("rider", "s-1", CloseCode.FORBIDDEN),
        ("channel", "s-1", CloseCode.FORBIDDEN),
        ("ops", "s-1", CloseCode.FORBIDDEN),
    ],
)
async def test_a_foreign_token_is_refused(role: str, subject: str, code: CloseCode) -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", "secret")
        socket = await connect(world, token=world.token(role, subject))
        assert (await frame(socket))["frame"] == "problem"
        assert await closed(socket) == code
        assert world.runtime.asked == []


async def test_a_bad_or_expired_token_asks_for_a_new_one() -> None:
    async with push_world() as world:
        assert await closed(await connect(world, token="rubbish")) == CloseCode.BAD_TOKEN
        expired = world.token(lifetime_s=-1)
        assert await closed(await connect(world, token=expired)) == CloseCode.TOKEN_EXPIRED


async def test_a_token_that_runs_out_ends_the_session() -> None:
    async with push_world() as world:
        socket = await connect(world, token=world.token(lifetime_s=2))
        await until(socket, "caught_up")
        assert await closed(socket) == CloseCode.TOKEN_EXPIRED


async def test_malformed_frames_are_fatal() -> None:
    async with push_world() as world:
        socket = await connect(world)
        await until(socket, "caught_up")
        await socket.send_str("{")
        assert (await frame(socket))["code"] == "malformed"
        assert await closed(socket) == CloseCode.MALFORMED
        socket = await connect(world)
        await socket.send_bytes(b"{}")
        assert await closed(socket) == CloseCode.MALFORMED
        socket = await connect(world)
        await socket.send_str("x" * 20_000)
        assert await closed(socket) == CloseCode.TOO_LARGE


async def test_a_silent_tablet_is_closed_to_resume_and_a_heartbeating_one_is_not() -> None:
    async with push_world(heartbeat_s=3.0) as world:
        silent = await connect(world, device_id="d-1")
        lively = await connect(world, device_id="d-2")

        async def beat() -> None:
            async for message in lively:
                if message.json()["frame"] == "heartbeat":
                    await lively.send_json({"frame": "heartbeat", "acked": 0})

        beating = asyncio.create_task(beat())
        assert await closed(silent) == CloseCode.SILENT
        while world.push.hub.devices("store/s-1") != ("d-2",):
            await asyncio.sleep(0.005)
        assert not lively.closed
        beating.cancel()
        await lively.close()


async def test_while_the_journal_is_away_nothing_false_is_said_and_then_all_is_delivered() -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", "one")
        world.runtime.away = True
        socket = await connect(world)
        with pytest.raises(asyncio.TimeoutError):
            await socket.receive(timeout=0.4)
        world.runtime.away = False
        socket = await connect(world)
        assert offsets(await until(socket, "caught_up")) == [1]
        await socket.close()


async def test_a_stalled_feed_delivers_its_gap_when_it_recovers() -> None:
    async with push_world() as world:
        socket = await connect(world)
        await until(socket, "caught_up")
        world.runtime.stalled = True
        await world.runtime.say("store/s-1", "one", "two")
        world.runtime.stalled = False
        await world.runtime.say("store/s-1", "three")
        assert offsets([await frame(socket) for _ in range(3)]) == [1, 2, 3]
        await socket.close()


async def test_a_feed_that_lost_records_makes_idle_tablets_look_into_their_inbox() -> None:
    async with push_world() as world:
        socket = await connect(world)
        await until(socket, "caught_up")
        await world.runtime.say("store/s-9", "position one")
        world.runtime.stalled = True
        world.runtime.note("store/s-1", "lost")
        lost = world.runtime.records[world.runtime.shards_of("store")[0]]
        del lost[-1]
        position = lost[-1].position + 2
        world.runtime.note("store/s-9", "after the hole")
        lost[-1] = lost[-1].__class__(lost[-1].shard, position, lost[-1].record)
        world.runtime.stalled = False
        await world.runtime.publish()
        assert offsets(await until(socket, "caught_up")) == [1]
        await socket.close()


async def test_a_shutdown_closes_with_a_resumable_code() -> None:
    async with push_world() as world:
        socket = await connect(world)
        await until(socket, "caught_up")
        await world.push.close()
        assert await closed(socket) == CloseCode.RESTARTING
        late = await connect(world)
        assert await closed(late) == CloseCode.RESTARTING


async def test_a_tablet_that_does_not_read_is_cut_off_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CLOSE_S", 0.2)
    async with push_world(socket_queue_bytes_max=50_000) as world:
        stuck = await connect(world, device_id="stuck")
        await until(stuck, "caught_up")
        reading = await connect(world, device_id="reading")
        await until(reading, "caught_up")
        stuck._reader._protocol.pause_reading()  # type: ignore[union-attr]
        seen: list[int] = []
        while "stuck" in world.push.hub.devices("store/s-1"):
            await world.runtime.say("store/s-1", "x" * 20_000)
            seen.append((await frame(reading))["offset"])
        assert seen == list(range(1, len(seen) + 1))
        await reading.close()
        stuck._reader._protocol.resume_reading()  # type: ignore[union-attr]
        assert await closed(stuck) in (CloseCode.OVERFLOW, 1006)
