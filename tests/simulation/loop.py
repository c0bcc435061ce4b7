"""Virtual time: an event loop whose clock jumps to the next timer whenever nothing is ready.

No sockets, no threads, no real waiting: hours pass in a second, always in the same order. A wait
that nothing can end is an error instead of a hang.
"""

import asyncio
from asyncio import base_events
from collections.abc import Coroutine
from typing import Any

__all__ = ["ORIGIN", "LoopClock", "Stuck", "VirtualLoop", "run"]

ORIGIN = 1_760_000_000.0
"""Service time when the loop's own clock shows zero."""


class Stuck(Exception):
    """Nothing is ready and no timer is set: whoever waits would wait for ever."""


class _NoSelector:
    """Stands where a loop waits for sockets: waiting moves the clock instead."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck(f"nothing is left to happen at {self._loop.time():.3f} s")
        if timeout > 0:
            self._loop.advance(timeout)
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """Callbacks run in the order they were due, then in the order they were made."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self._selector = _NoSelector(self)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Let time pass: only the loop itself does this, when nothing is ready."""
        self._virtual += seconds

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list, "there are no sockets"

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


class LoopClock:
    """The service's clock on a virtual loop, at speed 1 (``actors.engine.ports.Clock``)."""

    speed = 1.0

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Epoch seconds of service time."""
        return ORIGIN + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait so many virtual seconds."""
        await asyncio.sleep(max(seconds, 0.0))


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a fresh virtual loop, then end whatever it left running."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        try:
            _end_all(loop)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _end_all(loop: VirtualLoop) -> None:
    for _ in range(20):  # what is cancelled may start something else
        tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
