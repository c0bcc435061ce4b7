"""Positions in the city: distances, straight-line movement, metres to degrees.

The simulator imports nothing of the service but its client, so it measures for itself.
"""

from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

__all__ = ["METRES_PER_DEGREE", "Point", "distance_m", "offset", "towards"]

EARTH_RADIUS_M = 6_371_008.8
METRES_PER_DEGREE = 111_194.93
"""Metres in one degree of latitude on the sphere of :data:`EARTH_RADIUS_M`."""


@dataclass(frozen=True, slots=True)
class Point:
    """WGS 84 latitude and longitude in degrees."""

    lat: float
    lon: float

    def as_json(self) -> dict[str, float]:
        """The position as the public API takes it."""
        return {"lat": self.lat, "lon": self.lon}


def distance_m(a: Point, b: Point) -> float:
    """Great-circle distance in metres (haversine)."""
    lat_a, lat_b = radians(a.lat), radians(b.lat)
    half = (
        sin((lat_b - lat_a) / 2) ** 2
        + cos(lat_a) * cos(lat_b) * sin(radians(b.lon - a.lon) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * asin(sqrt(half))


def towards(start: Point, goal: Point, metres: float) -> Point:
    """Where one is after ``metres`` on the straight line from ``start``; never past ``goal``."""
    whole = distance_m(start, goal)
    if whole <= metres or whole == 0.0:
        return goal
    share = max(0.0, metres) / whole
    return Point(
        start.lat + (goal.lat - start.lat) * share, start.lon + (goal.lon - start.lon) * share
    )


def offset(origin: Point, east_m: float, north_m: float) -> Point:
    """The position so many metres east and north of ``origin`` (flat earth; good for a city)."""
    lat = origin.lat + north_m / METRES_PER_DEGREE
    lon = origin.lon + east_m / (METRES_PER_DEGREE * cos(radians(origin.lat)))
    return Point(round(lat, 7), round(lon, 7))
