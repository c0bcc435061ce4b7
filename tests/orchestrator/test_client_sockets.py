"""The client's sockets against a real gateway: resume, acknowledgement, snapshots, topics."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from domain import order, rider
from domain.geo import Position
from domain.order.views import FulfilmentView, OrderView
from orchestrator.client import (
    DoorstepClient,
    FileOffsets,
    InboxMessage,
    InboxSnapshot,
    InboxSocket,
    MemoryOffsets,
    SocketClosed,
)
from orchestrator.client import sockets as client_sockets
from orchestrator.push.frames import CloseCode
from tests.fakes.push_world import PushWorld, push_world


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_sockets, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(client_sockets, "PAUSE_S_MAX", 0.02)


def tablet(world: PushWorld, offsets: Any = None) -> InboxSocket:
    client = DoorstepClient(world.url, world.token(), session=world.http)
    return client.store_socket("s-1", "d-1", offsets=offsets)


async def texts(socket: InboxSocket, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            item = await anext(socket)
            if isinstance(item, InboxMessage):
                found.append(item.data["text"])
    return found


async def test_a_new_device_starts_with_a_snapshot_and_follows() -> None:
    async with push_world() as world:
        world.runtime.note("store/s-1", "one")
        states: list[str] = []
        async with tablet(world) as socket:
            socket._on_state = states.append
            first = await anext(socket)
            assert isinstance(first, InboxSnapshot)
            assert (first.head, first.data) == (1, {"open": 1})
            await world.runtime.say("store/s-1", "two")
            assert await texts(socket, 1) == ["two"]
            assert socket.state == "live"
        assert states == ["replaying", "live", "closed"]


async def test_a_message_is_stored_and_acknowledged_only_when_it_is_done() -> None:
    async with push_world() as world:
        offsets = MemoryOffsets()
        async with tablet(world, offsets) as socket:
            await anext(socket)
            await world.runtime.say("store/s-1", "one", "two")
            await anext(socket)
            assert offsets.load()[1] == 0
            await anext(socket)
            assert offsets.load()[1] == 1
            await socket.done()
            assert offsets.load()[1] == 2
            device = world.runtime.inbox("store/s-1").devices["d-1"]
            async with asyncio.timeout(30):
                while device.acked < 2:
                    await asyncio.sleep(0.01)


async def test_every_message_arrives_once_and_in_order_over_many_lost_connections() -> None:
    dice = random.Random(7)
    async with push_world() as world, tablet(world) as socket:
        await anext(socket)
        expected = [str(number) for number in range(100)]

        async def talk() -> None:
            for text in expected:
                await world.runtime.say("store/s-1", text)
                await asyncio.sleep(0)
                if dice.random() < 0.1:
                    while socket.state != "live":
                        await asyncio.sleep(0.001)
                    before = socket.reconnects
                    await socket.drop()
                    while socket.reconnects == before:
                        await asyncio.sleep(0.001)

        talking = asyncio.create_task(talk())
        assert await texts(socket, 100) == expected
        await talking
        assert socket.reconnects > 3


async def test_a_restarted_device_goes_on_where_it_was(tmp_path: Path) -> None:
    offsets = FileOffsets(tmp_path / "tablet.json")
    async with push_world() as world:
        async with tablet(world, offsets) as socket:
            await anext(socket)
            await world.runtime.say("store/s-1", "one", "two")
            assert await texts(socket, 2) == ["one", "two"]
        world.runtime.note("store/s-1", "three")
        async with tablet(world, FileOffsets(tmp_path / "tablet.json")) as socket:
            assert await texts(socket, 1) == ["three"]


async def test_another_epoch_brings_a_snapshot() -> None:
    async with push_world() as world:
        offsets = MemoryOffsets()
        offsets.save("of another life", 40)
        world.runtime.note("store/s-1", "one")
        async with tablet(world, offsets) as socket:
            item = await anext(socket)
            assert isinstance(item, InboxSnapshot)
            assert item.head == 1
            await world.runtime.say("store/s-1", "two")
            assert await texts(socket, 1) == ["two"]


async def test_a_superseded_device_is_told_and_does_not_fight() -> None:
    async with push_world() as world, tablet(world) as older, tablet(world) as newer:
        await anext(older)
        await anext(newer)
        with pytest.raises(SocketClosed) as closed:
            await anext(older)
        assert closed.value.code == CloseCode.SUPERSEDED
        assert older.state == "closed"
        await world.runtime.say("store/s-1", "one")
        assert await texts(newer, 1) == ["one"]


async def test_an_expired_token_is_renewed_where_it_can_be() -> None:
    async with push_world() as world:
        tokens = [world.token(), world.token(lifetime_s=-5)]

        async def fresh() -> str:
            return tokens.pop()

        url = f"ws{world.url.removeprefix('http')}/v1/stores/s-1/socket"
        async with InboxSocket(world.http, url, fresh, "d-1") as socket:
            assert isinstance(await anext(socket), InboxSnapshot)
        assert tokens == []
        expired = world.token(lifetime_s=-5)
        async with InboxSocket(world.http, url, expired, "d-1") as socket:
            with pytest.raises(SocketClosed):
                await anext(socket)


async def test_a_gateway_that_restarts_is_waited_for() -> None:
    async with push_world() as world, tablet(world) as socket:
        await anext(socket)
        await world.push.hub.close()
        async with asyncio.timeout(30):
            while socket.reconnects < 2:
                await asyncio.sleep(0.01)
        world.push.hub._closing = False
        await world.runtime.say("store/s-1", "one")
        assert await texts(socket, 1) == ["one"]


def view(state: str = "paid", part: str = "ready", rider_id: str = "") -> OrderView:
    fulfilment = FulfilmentView("o1-1", "s-1", part, 1_760_003_000.0, 0, 0, rider_id)
    return OrderView(
        "o1", state, "app", "c-1", "EUR", 500, 0, 500, "online", "delivery", (), (fulfilment,),
        (), (), 1_760_000_000.0, None,
    )  # fmt: skip


async def test_tracking_shows_an_order_and_its_rider_while_the_rider_carries_it() -> None:
    async with push_world() as world:
        world.runtime.orders["o1"] = view()
        client = DoorstepClient(world.url, world.token("channel", "app"), session=world.http)
        updates = aiter(client.order_socket("o1"))
        first = await anext(updates)
        assert first.document["fulfilments"][0]["state"] == "ready"
        world.runtime.commit("rider/r-1", rider.Moved(Position(52.0, 5.0), 1_760_000_001.0))
        await world.runtime.publish()
        world.runtime.orders["o1"] = view(part="picked_up", rider_id="r-1")
        world.runtime.commit("order/o1", order.FulfilmentMoved("o1-1", "picked_up", 1.0, "r-1"))
        await world.runtime.publish()
        async with asyncio.timeout(30):
            async for update in updates:
                if update.latest:
                    break
        assert update.document["fulfilments"][0]["state"] == "picked_up"
        assert update.latest["rider:r-1"]["lat"] == 52.0
        world.runtime.commit("rider/r-1", rider.Moved(Position(53.0, 5.0), 1_760_000_002.0))
        await world.runtime.publish()
        async with asyncio.timeout(30):
            async for update in updates:
                if update.latest["rider:r-1"]["lat"] == 53.0:
                    break


@pytest.mark.parametrize(
    ("role", "subject", "order_id", "code"),
    [
        ("channel", "other", "o1", CloseCode.UNKNOWN),
        ("channel", "app", "o9", CloseCode.UNKNOWN),
        ("store", "s-1", "o1", CloseCode.FORBIDDEN),
    ],
)
async def test_nobody_tracks_the_orders_of_others(
    role: str, subject: str, order_id: str, code: CloseCode
) -> None:
    async with push_world() as world:
        world.runtime.orders["o1"] = view()
        client = DoorstepClient(world.url, world.token(role, subject), session=world.http)
        with pytest.raises(SocketClosed) as closed:
            await anext(aiter(client.order_socket(order_id)))
        assert closed.value.code == code
        assert world.push.orders._topics == {}
