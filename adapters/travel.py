"""Straight-line travel times: behind the port ``domain.dispatch.travel.TravelTimes``.

This is the only table of riders' speeds, and the only place where detours are counted. Times from
a road network or a map service would be another adapter of the same port.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType

__all__ = ["ALSO_CALLED", "DETOUR_FACTOR", "SPEEDS_M_PER_S", "StraightLine"]

SPEEDS_M_PER_S: Mapping[str, float] = MappingProxyType(
    {"walking": 1.4, "bicycle": 4.2, "ebike": 5.5, "scooter": 6.5, "motorcycle": 8.0, "car": 7.0}
)  # fmt: skip
"""Usual speeds in a city on the way itself, stops at lights included, metres per second."""

ALSO_CALLED: Mapping[str, str] = MappingProxyType(
    {"foot": "walking", "on foot": "walking", "walk": "walking", "bike": "bicycle",
     "cargo bike": "bicycle", "e-bike": "ebike", "moped": "scooter", "motorbike": "motorcycle"}
)  # fmt: skip
"""Other names, as apps and operators write them, of the vehicles above."""

DETOUR_FACTOR = 1.3
"""A way through streets is so many times the straight line (city networks: about 1.2 to 1.4)."""


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

    def straight_speed(self, vehicle: str) -> float:
        """Straight-line metres per second of a vehicle, by any of its names, detours counted."""
        speeds, name = self.speeds_m_per_s, vehicle.strip().lower()
        name = ALSO_CALLED.get(name, name)
        return (speeds[name] if name in speeds else min(speeds.values())) / self.detour_factor
