"""Whoever can wait lets the others go first, for a while.

Niceness alone does not do that: with few processors, the scheduler gives a nice process a
processor of its own as soon as one is free for a moment, and the others then share the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import psutil

__all__ = ["Pace"]

FULL = 0.6
"""The machine counts as full when others use so much of what we leave of it: in a rush they wait
for each other and for the disk now and then, and what we take of such a moment they miss in the
next."""
LOOK_S = 0.1
"""Real seconds between two looks."""


class _Clock(Protocol):
    @property
    def speed(self) -> float:
        """Service seconds per real second."""
        ...

    def now(self) -> float:
        """Service time."""
        ...


class Pace:
    """Stands back while the machine is full, but never behind by more than ``behind_s`` real
    seconds. ``others_share`` tells how much others have used, since it was last asked, of what we
    left of the machine (0 to 1)."""

    def __init__(
        self,
        clock: _Clock,
        behind_s: float,
        others_share: Callable[[], float] | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._behind_s = behind_s
        self._others_share = others_share or _Processors().others_share
        self._sleep = sleep

    async def turn(self, at: float) -> None:
        """Wait for the turn of work that came up at service time ``at``."""
        while self._behind(at) < self._behind_s and self._others_share() > FULL:
            await self._sleep(LOOK_S)

    def _behind(self, at: float) -> float:
        return (self._clock.now() - at) / self._clock.speed


class _Processors:
    """How the machine's processors were used between two looks."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last = self._read()
        self._share = 0.0

    def others_share(self) -> float:
        """Between 0 and 1; looks closer together than the clock's tick tell the last share."""
        total, idle, own = self._read()
        passed = total - self._last[0]
        if passed >= LOOK_S / 2:
            left = max(passed - (own - self._last[2]), passed / 10)
            self._share = min(max(1.0 - (idle - self._last[1]) / left, 0.0), 1.0)
            self._last = (total, idle, own)
        return self._share

    def _read(self) -> tuple[float, float, float]:
        times, own = psutil.cpu_times(), self._process.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        return sum(times), idle, own.user + own.system
