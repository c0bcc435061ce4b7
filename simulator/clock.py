"""The service's clock as its users see it: read once from ``GET /v1/clock``, then paced by.

All waits of the simulated people are seconds of service time; a service that runs at speed 120
makes them 120 times shorter in the room where the simulator runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from orchestrator.client import models

__all__ = ["ServiceClock", "seconds", "stamp"]

SHORTEST_WAIT_REAL_S = 0.002
"""Waits that would be shorter in real time are not worth a timer."""


def seconds(stamp: Any) -> float:
    """Epoch seconds of a time on the wire: RFC 3339, or a number already."""
    if isinstance(stamp, int | float):
        return float(stamp)
    return datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp()


def stamp(at: float) -> str:
    """A time on the wire: RFC 3339 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat()


class ServiceClock:
    """Service time, extrapolated from the last reading; ``real`` is injected by tests."""

    def __init__(self, now: float, speed: float, *, real: Callable[[], float] = monotonic) -> None:
        self._real = real
        self._read_at = real()
        self._now = now
        self.speed = speed
        """Service seconds per real second."""

    @classmethod
    async def read(cls, ask: Callable[[], Awaitable[models.Clock]]) -> "ServiceClock":
        """A clock set by the service's answer."""
        clock = cls(0.0, 1.0)
        await clock.sync(ask)
        return clock

    async def sync(self, ask: Callable[[], Awaitable[models.Clock]]) -> None:
        """Read the service's clock again; half of the round trip is taken off."""
        sent = self._real()
        answer = await ask()
        received = self._real()
        self.speed = answer.speed
        self._now = answer.now.timestamp() + (received - sent) / 2 * self.speed
        self._read_at = received

    def now(self) -> float:
        """Epoch seconds of service time."""
        return self._now + (self._real() - self._read_at) * self.speed

    @staticmethod
    def rfc3339(at: float) -> str:
        """A moment as the wire has it."""
        return datetime.fromtimestamp(at, UTC).isoformat()

    def real_s(self, service_s: float) -> float:
        """How long so many seconds of service time last here."""
        return service_s / self.speed

    async def sleep(self, service_s: float) -> None:
        """Wait so many seconds of service time."""
        real_s = self.real_s(service_s)
        await asyncio.sleep(real_s if real_s >= SHORTEST_WAIT_REAL_S else 0.0)

    async def sleep_until(self, at: float) -> None:
        """Wait until a moment of service time; returns at once when it has passed."""
        while (left_s := at - self.now()) > 0:
            await self.sleep(left_s)
            if self.real_s(left_s) < SHORTEST_WAIT_REAL_S:
                return
