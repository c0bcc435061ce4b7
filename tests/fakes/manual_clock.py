"""A service clock that stands still until a test moves it."""

import asyncio

__all__ = ["ManualClock"]


class ManualClock:
    """See ``actors.engine.ports.Clock``. Sleepers wake in the order of their deadlines."""

    def __init__(self, now: float = 1_760_000_000.0, speed: float = 1.0) -> None:
        self._now = now
        self._speed = speed
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        woken = asyncio.Event()
        sleeper = (self._now + seconds, woken)
        self._sleepers.append(sleeper)
        try:
            await woken.wait()
        finally:
            self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for deadline, woken in sorted(self._sleepers, key=lambda sleeper: sleeper[0]):
            if deadline <= self._now:
                woken.set()
