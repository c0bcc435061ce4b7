"""Positions on the earth and areas on it. Distances are metres, straight line on a sphere."""

from math import asin, cos, radians, sin, sqrt

from domain.message import Value

__all__ = ["Area", "Circle", "Polygon", "Position", "contains", "distance_m"]

EARTH_RADIUS_M = 6_371_008.8


class Position(Value):
    """WGS 84 latitude and longitude in degrees."""

    lat: float
    lon: float


class Circle(Value, tag="circle"):
    """All positions within ``radius_m`` metres of ``centre``."""

    centre: Position
    radius_m: float


class Polygon(Value, tag="polygon"):
    """A simple polygon; at least three corners, not closed, in either direction."""

    corners: tuple[Position, ...]


Area = Circle | Polygon


def distance_m(a: Position, b: Position) -> float:
    """Great-circle distance in metres (haversine)."""
    lat_a, lat_b = radians(a.lat), radians(b.lat)
    half = (
        sin((lat_b - lat_a) / 2) ** 2
        + cos(lat_a) * cos(lat_b) * sin(radians(b.lon - a.lon) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * asin(sqrt(half))


def contains(area: Area, position: Position) -> bool:
    """Whether the area holds the position; a polygon by the even-odd rule, edges undefined."""
    if isinstance(area, Circle):
        return distance_m(area.centre, position) <= area.radius_m
    inside = False
    corners = area.corners
    previous = corners[-1]
    for corner in corners:
        if (corner.lat > position.lat) != (previous.lat > position.lat):
            crossing = (previous.lon - corner.lon) * (position.lat - corner.lat) / (
                previous.lat - corner.lat
            ) + corner.lon
            if position.lon < crossing:
                inside = not inside
        previous = corner
    return inside
