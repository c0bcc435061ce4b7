"""How long a rider takes from here to there, behind an interface.

The rules of dispatch are pure and take speeds as data: hand them
``StraightLine(…).straight_speeds()``, straight-line metres per second by vehicle, so that
``distance_m(a, b) / speed`` is what :meth:`StraightLine.seconds` says. A road network or a map
service is another :class:`TravelTimes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from types import MappingProxyType
from typing import Protocol

from domain.geo import Position, distance_m

__all__ = ["DETOUR_FACTOR", "SPEEDS_M_PER_S", "StraightLine", "TravelTimes", "run_seconds"]

SPEEDS_M_PER_S: Mapping[str, float] = MappingProxyType(
    {"walking": 1.4, "bicycle": 4.2, "ebike": 5.5, "scooter": 6.5, "motorcycle": 8.0, "car": 7.0}
)  # fmt: skip
"""Usual speeds in a city on the way itself, stops at lights included, metres per second."""

DETOUR_FACTOR = 1.3
"""A way through streets is so many times the straight line (city networks: about 1.2 to 1.4)."""


class TravelTimes(Protocol):
    """Estimates of travel time. Pure: the same question gets the same answer."""

    def seconds(self, origin: Position, destination: Position, vehicle: str) -> float:
        """Seconds from ``origin`` to ``destination``; never negative, 0 if they are the same."""
        ...


@dataclass(frozen=True, slots=True)
class StraightLine:
    """Straight-line distance times a detour factor, at a speed by vehicle (metres per second).

    A vehicle that is not listed goes at the slowest speed listed: too early is better than late.
    """

    speeds_m_per_s: Mapping[str, float] = field(default_factory=lambda: SPEEDS_M_PER_S)
    detour_factor: float = DETOUR_FACTOR

    def __post_init__(self) -> None:
        if not self.speeds_m_per_s:
            raise ValueError("Give the speed of one vehicle at least.")
        for vehicle, speed in self.speeds_m_per_s.items():
            if not (isfinite(speed) and speed > 0):
                raise ValueError(f"The speed of {vehicle} must be above 0, not {speed}.")
        if not (isfinite(self.detour_factor) and self.detour_factor >= 1):
            raise ValueError("No way is shorter than the straight line: detour_factor >= 1.")

    def seconds(self, origin: Position, destination: Position, vehicle: str) -> float:
        """Seconds at the vehicle's speed along the lengthened straight line."""
        return distance_m(origin, destination) / self.straight_speed(vehicle)

    def straight_speed(self, vehicle: str) -> float:
        """Straight-line metres per second of a vehicle, detours included."""
        speeds = self.speeds_m_per_s
        speed = speeds[vehicle] if vehicle in speeds else min(speeds.values())
        return speed / self.detour_factor

    def straight_speeds(self) -> dict[str, float]:
        """:meth:`straight_speed` of every vehicle listed, as data for the rules of dispatch."""
        return {vehicle: self.straight_speed(vehicle) for vehicle in self.speeds_m_per_s}


def run_seconds(times: TravelTimes, stops: Sequence[Position], vehicle: str) -> float:
    """Seconds to ride all ``stops`` in order, without the time spent at them."""
    return sum(times.seconds(here, there, vehicle) for here, there in pairwise(stops))
