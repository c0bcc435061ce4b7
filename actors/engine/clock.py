"""The service's clock: real time, or time that starts elsewhere and runs faster."""

import asyncio
import time

from msgspec import Struct

__all__ = ["ClockSettings", "ServiceClock"]


class ClockSettings(Struct, frozen=True, gc=False):
    """One clock for all processes: at real time ``real_origin`` it shows ``service_origin``."""

    speed: float = 1.0
    real_origin: float = 0.0
    service_origin: float = 0.0


class ServiceClock:
    """Service time from real time. Implements :class:`actors.engine.ports.Clock`."""

    def __init__(self, settings: ClockSettings | None = None) -> None:
        self.settings = settings or ClockSettings()

    @property
    def speed(self) -> float:
        """Service seconds per real second."""
        return self.settings.speed

    def now(self) -> float:
        """Epoch seconds of service time."""
        settings = self.settings
        return settings.service_origin + (time.time() - settings.real_origin) * settings.speed

    async def sleep(self, seconds: float) -> None:
        """Wait so many service seconds."""
        await asyncio.sleep(max(seconds, 0.0) / self.settings.speed)
