"""Frames written straight to a socket's transport, and the bounds that hold there too."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from websockets.frames import Frame, Opcode

from orchestrator.push import direct
from orchestrator.push.connection import WRITE_BYTES, Connection
from orchestrator.push.direct import Writers
from orchestrator.push.outbox import FRAME_OVERHEAD_BYTES, Outbox, WireFrame
from orchestrator.push.protocol import TopicSession
from tests.fakes.push_world import PushWorld, serving

AUTH = msgspec.json.encode({"frame": "auth", "token": "t"}).decode()


class Socket:
    """A transport's side: what was written, and whether it takes more."""

    def __init__(self) -> None:
        self.on_ready: Callable[[], None] = lambda: None
        self.ready = True
        self.full_after = float("inf")
        self.written: list[bytes] = []

    def write(self, frames: bytes) -> None:
        self.written.append(frames)
        self.ready = sum(map(len, self.written)) < self.full_after


def connection(
    writers: Writers, bytes_max: int = 1_000_000
) -> tuple[Connection, TopicSession, Socket]:
    session = TopicSession(Outbox(bytes_max), heartbeat_s=30.0, now=0.0)
    made = Connection(
        session, audience="order", writers=writers, now=lambda: 0.0, on_want=lambda _: None
    )
    socket = Socket()
    made.attach(socket)
    session.receive(AUTH, 0.0)
    session.authenticated(0.0, "e")
    session.start(0, b"{}")
    return made, session, socket


async def until_written(writers: Writers) -> None:
    while writers.busy:
        await asyncio.sleep(0)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_is_on_the_wire_as_rfc_6455_has_it(length: int) -> None:
    text = "ü" * (length // 2) + "x" * (length % 2)
    expected = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
    frame = WireFrame(text)
    assert frame.wire == expected
    assert frame.text == text
    assert frame.size == length + FRAME_OVERHEAD_BYTES


async def test_frames_of_one_turn_leave_in_order_in_one_write() -> None:
    writers = Writers()
    _, session, socket = connection(writers)
    await until_written(writers)
    socket.written.clear()
    frames = [WireFrame(f"frame {number}") for number in range(1, 4)]
    for head, frame in enumerate(frames, 1):
        session.deliver(head, frame)
    assert socket.written == [], "written in the next turn, not while others are told"
    await until_written(writers)
    assert socket.written == [b"".join(frame.wire for frame in frames)]


async def test_a_message_for_many_sockets_reaches_each_once_in_several_turns() -> None:
    writers = Writers()
    watching = [connection(writers) for _ in range(direct.SOCKETS_PER_TURN * 2 + 5)]
    await until_written(writers)
    for _, session, socket in watching:
        socket.written.clear()
        session.deliver(1, WireFrame("news"))
    await asyncio.sleep(0)
    served = [bool(socket.written) for _, _, socket in watching]
    assert served.count(True) <= direct.SOCKETS_PER_TURN, "others may use the loop in between"
    await until_written(writers)
    assert all(socket.written == [WireFrame("news").wire] for _, _, socket in watching)


async def test_what_a_full_socket_does_not_take_waits_in_its_bounded_queue() -> None:
    writers = Writers()
    _, session, socket = connection(writers, bytes_max=1_000)
    await until_written(writers)
    socket.written.clear()
    socket.ready = False
    text = "x" * 300
    for head in range(1, 6):
        session.deliver(head, WireFrame(text))
    await until_written(writers)
    assert socket.written == []
    assert session.outbox.bytes <= 1_000
    assert session.behind, "what did not fit will be made up for by a snapshot"
    socket.ready = True
    socket.on_ready()
    await until_written(writers)
    assert b"".join(socket.written) == WireFrame(text).wire * 3
    assert session.outbox.empty


async def test_values_overtaken_while_a_socket_is_full_are_not_sent() -> None:
    writers = Writers()
    _, session, socket = connection(writers)
    await until_written(writers)
    socket.written.clear()
    socket.ready = False
    for number in range(100):
        session.deliver_latest("rider:r", WireFrame(f"at {number}"))
        await until_written(writers)
    assert socket.written == []
    socket.ready = True
    socket.on_ready()
    await until_written(writers)
    assert socket.written == [WireFrame("at 99").wire]


async def test_a_socket_is_asked_between_portions_whether_it_takes_more() -> None:
    writers = Writers()
    _, session, socket = connection(writers, bytes_max=10 * WRITE_BYTES)
    await until_written(writers)
    socket.written.clear()
    socket.full_after = 1
    for head in range(1, 9):
        session.deliver(head, WireFrame("x" * (WRITE_BYTES // 2)))
    await until_written(writers)
    assert len(socket.written) == 1
    assert len(socket.written[0]) < 2 * WRITE_BYTES
    assert session.outbox.bytes > 4 * (WRITE_BYTES // 2)


async def test_a_server_without_direct_sockets_serves_the_same_frames() -> None:
    world = PushWorld()
    async with (
        serving(world.app, ws="websockets-sansio") as (_, url),
        aiohttp.ClientSession() as http,
    ):
        await world.listening()
        world.runtime.note("store/s-1", "one", "two")
        socket = await http.ws_connect(f"{url}/v1/stores/s-1/socket")
        auth: dict[str, Any] = {"frame": "auth", "token": world.token(), "device_id": "d-1"}
        await socket.send_json({**auth, "acked": 0})
        frames = [await socket.receive_json(timeout=30) for _ in range(4)]
        assert [frame["frame"] for frame in frames] == ["hello", "event", "event", "caught_up"]
        await world.runtime.say("store/s-1", "three")
        assert (await socket.receive_json(timeout=30))["offset"] == 3
        await socket.close()
