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


async def test_a_consumer_that_fails_is_loaded_anew_alone_and_the_others_hear_everything() -> None:
    def refuse_the_second(at: float) -> None:
        if at == 2.0:
            raise KeyError(at)

    runtime = FakeRuntime()
    failing, sound = Listener(refuse_the_second), Listener()
    async with following(runtime, failing, sound):
        for at in (1.0, 2.0, 3.0):
            move(runtime, at)
        await runtime.publish()
        await failing.until(lambda: failing.loads == 2)
        move(runtime, 4.0)
        await runtime.publish()
        await sound.until(lambda: len(sound.heard) == 4)
    assert (sound.heard, sound.loads) == ([1.0, 2.0, 3.0, 4.0], 1)
    assert failing.heard == [1.0, 4.0], "the states it was loaded with hold the others"


async def test_what_fresh_states_hold_already_is_not_heard_again() -> None:
    def refuse_the_first(at: float) -> None:
        if at == 1.0:
            move(runtime, 2.0)
            raise KeyError(at)

    runtime = FakeRuntime()
    failing, sound = Listener(refuse_the_first), Listener()
    async with following(runtime, failing, sound):
        move(runtime, 1.0)
        await runtime.publish()
        await failing.until(lambda: failing.loads == 2)
        move(runtime, 3.0)
        await runtime.publish()
        await sound.until(lambda: len(sound.heard) == 3)
    assert (failing.heard, sound.heard) == ([3.0], [1.0, 2.0, 3.0])
