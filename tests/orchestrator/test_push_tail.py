"""The tail of the journals: order, and turns of the loop for everybody else."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from domain import rider
from domain.geo import Position
from orchestrator.push.tail import EVENTS_PER_TURN, Tail
from tests.fakes.fake_push import FakeRuntime


class Listener:
    """Hears riders. ``note`` is called with each event's time."""

    kinds: Sequence[str] = ("rider",)

    def __init__(self, note: Callable[[float], None] = lambda _: None) -> None:
        self.note = note
        self.heard: list[float] = []
        self.loads = 0
        self.changed = asyncio.Event()

    def reset(self) -> None:
        pass

    def load(self, kind: str, entity: str, state: Any) -> None:
        pass

    def loaded(self) -> None:
        self.loads += 1
        self.changed.set()

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        self.changed.set()
        self.note(event.at)
        self.heard.append(event.at)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not reached():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def following(runtime: FakeRuntime, *listeners: Listener) -> Any:
    tail = Tail(runtime, listeners)
    tail.start()
    try:
        await listeners[-1].until(lambda: listeners[-1].loads == 1)
        yield tail
    finally:
        await tail.close()


def move(runtime: FakeRuntime, at: float) -> None:
    runtime.commit("rider/r-1", rider.Moved(Position(52.0, 5.0), at))


async def test_others_have_their_turn_while_a_long_batch_is_heard_in_order() -> None:
    turns = 0
    heard_in: list[int] = []
    runtime = FakeRuntime()
    listener = Listener(lambda _: heard_in.append(turns))
    times = [float(number) for number in range(10 * EVENTS_PER_TURN)]

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with following(runtime, listener):
        for at in times:
            move(runtime, at)
        busy = asyncio.create_task(others())
        await runtime.publish()
        await listener.until(lambda: len(listener.heard) == len(times))
        busy.cancel()
    assert listener.heard == times
    assert max(map(heard_in.count, heard_in)) == EVENTS_PER_TURN
