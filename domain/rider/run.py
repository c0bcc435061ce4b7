"""The order of a run's stops: cheapest insertion on straight-line distance."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, permutations

from domain.geo import Position, distance_m
from domain.rider.commands import OfferedParcel

__all__ = ["Place", "length_m", "with_parcels"]

Stop = tuple[str, str]
Place = Callable[[Stop], Position]
"""Where a stop is."""
PERMUTED_MAX = 3
"""Up to so many parcels at once are inserted in every order, since the first ones bind the rest."""


def with_parcels(
    stops: Sequence[Stop], added: Iterable[OfferedParcel], start: Position | None, place: Place
) -> list[Stop]:
    """The stops with each added parcel's pick-up and drop-off put where they lengthen the run
    least; the order of the others stays, every pick-up is before its drop-off, and the run begins
    at ``start`` (None: at its first stop). Never longer than one added parcel after the other at
    the run's end. Ties go to the earliest place. ``place`` knows the old stops and the added
    parcels."""
    ids = [parcel.parcel_id for parcel in added]
    tried = []
    for order in permutations(ids) if len(ids) <= PERMUTED_MAX else [ids]:
        run = list(stops)
        for parcel_id in order:
            run = _inserted(run, parcel_id, start, place)
        tried.append(run)
    at_the_end = [(kind, parcel_id) for parcel_id in ids for kind in ("pick_up", "drop_off")]
    tried.append([*stops, *at_the_end])
    return min(tried, key=lambda run: round(length_m(run, start, place), 3))


def length_m(stops: Sequence[Stop], start: Position | None, place: Place) -> float:
    """Metres of the run from ``start`` to its last stop."""
    points = ([] if start is None else [start]) + [place(stop) for stop in stops]
    return sum(distance_m(a, b) for a, b in pairwise(points))


def _inserted(run: list[Stop], parcel_id: str, start: Position | None, place: Place) -> list[Stop]:
    best: list[Stop] = []
    best_m = float("inf")
    for i in range(len(run) + 1):
        for j in range(i, len(run) + 1):
            tried = [
                *run[:i], ("pick_up", parcel_id), *run[i:j], ("drop_off", parcel_id), *run[j:],
            ]  # fmt: skip
            metres = length_m(tried, start, place)
            if metres < best_m - 1e-6:
                best, best_m = tried, metres
    return best
