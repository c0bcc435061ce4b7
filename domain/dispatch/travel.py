"""How fast riders get on, as the rounds ask for it."""

from typing import Protocol

__all__ = ["TravelTimes"]


class TravelTimes(Protocol):
    """Estimates of travel time, in the one form that a round over a whole zone can afford. Pure:
    the same question gets the same answer. Implemented by ``adapters.travel``."""

    def straight_speed(self, vehicle: str) -> float:
        """Metres of straight line that the vehicle makes in a second, the detours of streets
        counted; above 0 for whatever name a rider gave."""
        ...
