"""The many cheap sockets of the fan-out benchmark count every frame they get, and no other."""

import asyncio

import pytest
from websockets.frames import Frame, Opcode

from domain import rider
from domain.geo import Position
from domain.order.views import FulfilmentView, OrderView
from loadtests.micro import measure_micro
from loadtests.report import TOLD
from loadtests.sockets import Watch, Watcher, Watchers
from tests.fakes.push_world import push_world

LATEST = '{"frame":"latest","key":"rider:r","data":{"at":"2026-01-01T00:00:00.000Z"}}'


def frame(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def watcher() -> Watcher:
    made = Watcher(1, Watch(1, "/", "t", 1), b'{"frame":"latest"')
    made.upgraded = True
    return made


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 10_000])
def test_frames_that_arrive_in_pieces_are_counted_once(size: int) -> None:
    long, other = LATEST + " " * 70_000, '{"frame":"heartbeat","head":1}'
    data = b"".join(map(frame, [LATEST, other, long, LATEST + " " * 200, LATEST]))
    made = watcher()
    for at in range(0, len(data), size):
        made.data_received(data[at : at + size])
    assert made.frames == 4
    assert made.text_bytes == 4 * len(LATEST) + 70_200
    assert made.bytes == len(data)


def carried() -> OrderView:
    part = FulfilmentView("o1-1", "s-1", "picked_up", 1_760_003_000.0, 0, 0, "r-1")
    return OrderView(
        "o1", "paid", "app", "c-1", "EUR", 500, 0, 500, "online", "delivery", (), (part,), (), (),
        1_760_000_000.0, None,
    )  # fmt: skip


async def test_all_sockets_on_an_order_count_where_its_rider_goes() -> None:
    async with push_world() as world:
        world.runtime.orders["o1"] = carried()
        port = int(world.url.rpartition(":")[2])
        crowd = Watchers(Watch(port, "/v1/orders/o1/socket", world.token("channel", "app"), 25))
        assert await crowd.open() == 25
        crowd.count()
        for number in range(1, 4):
            moved = rider.Moved(Position(52.0, number / 100), 1_760_000_000.0 + number)
            world.runtime.commit("rider/r-1", moved)
            await world.runtime.publish()
            while min(watcher.frames for watcher in crowd.watchers) < number:
                await asyncio.sleep(0.005)
        count = crowd.count()
        assert (count.frames, count.fewest, count.open) == (75, 3, 25)
        assert crowd.count().frames == 0


async def test_a_socket_that_was_refused_is_not_counted_as_open() -> None:
    async with push_world() as world:
        port = int(world.url.rpartition(":")[2])
        crowd = Watchers(Watch(port, "/v1/orders/o1/socket", "forged", 2))
        assert await crowd.open() == 0


async def test_the_inner_loops_can_be_measured() -> None:
    found = await measure_micro(lambda text: None, seconds=0.0, crowds={"1k": 30, "50k": 60})
    assert all(value > 0 for value in found.values())
    assert set(TOLD["micro"]) <= set(found)
