"""One dispatch round: which waiting parcels are offered to which riders. Pure and deterministic.

1. Parcels of one store are bundled while lateness allows: a bundle takes another parcel if riding
   them together is shorter than riding twice and adds little lateness.
2. Each bundle's candidates are its nearest riders (by time of arrival) that may take it.
3. The assignment of bundles to riders with the least total cost is found over these candidates by
   shortest augmenting paths (exact as long as the bound on its work is not reached; then the least
   urgent bundles take the cheapest rider left). Cost is seconds of riding, some waiting at the
   store, and lateness counted several times.
4. Bundles left out are tried again with the riders left over, at last as single parcels.

A round looks at the whole zone; it does not give a parcel to the first rider in sight. Bundling by
lateness and matching ready or nearly ready parcels to free or nearly free riders follows Reyes,
Erera, Savelsbergh, Sahasrabudhe, O'Neil: The Meal Delivery Routing Problem (2018).
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, nsmallest
from itertools import permutations
from math import cos, hypot, radians
from statistics import median_low

from domain.geo import Position

__all__ = [
    "BUNDLE_MAX", "CANDIDATES_MAX", "Courier", "Job", "Match", "assign", "cost_s", "match",
    "route",
]  # fmt: skip

METRES_PER_DEGREE = 111_195.0
HAND_OVER_S = 60.0
"""Time at the counter, and at each door."""

BUNDLE_MAX = 3
READY_SPREAD_S = 300.0
"""Parcels of a bundle are ready within so many seconds of each other."""
LATENESS_ADDED_S = 120.0
"""Most lateness, over all its parcels, that bundling may add."""
CANDIDATES_MAX = 12
"""Riders looked at per bundle, more where many bundles leave one store."""
CROWD_MAX = 48
PASSES = 3
WAIT_MAX_S = 300.0
"""A rider who would wait longer than this at the store is not asked yet: a later round will."""
WAIT_WEIGHT = 0.3
LATE_WEIGHT = 4.0
UNMATCHED_COST = 1e6
"""Leaving a bundle out is dearer than any ride."""
PRIORITY_COST = 1e7
STEPS_MAX = 60_000
"""Bound on the edges one exact assignment looks at, some fifty milliseconds."""


@dataclass(frozen=True, slots=True)
class Job:
    """A waiting parcel. Times in epoch seconds, ``cash_due`` in minor units."""

    parcel_id: str
    store_id: str
    pick_up: Position
    drop_off: Position
    ready_at: float
    due_at: float
    cash_due: int = 0
    priority: bool = False
    barred: Collection[str] = ()
    """Riders it must not be offered to now."""


@dataclass(frozen=True, slots=True)
class Courier:
    """A rider who is free at ``free_at`` at ``position``, with room for so many parcels."""

    rider_id: str
    position: Position
    free_at: float
    room: int
    cash_headroom: int
    speed_m_s: float
    """Along the straight line, detours counted."""


@dataclass(frozen=True, slots=True)
class Match:
    """Offer these parcels, in drop-off order, to this rider."""

    rider_id: str
    parcel_ids: tuple[str, ...]
    distance_m: int
    """Ride from the rider's place over the store to the last door, straight lines."""
    cost_s: float


Point = tuple[float, float]


@dataclass(slots=True)
class _Bundle:
    """Parcels of one store with their best order."""

    jobs: tuple[Job, ...]
    at: Point
    doors: tuple[Point, ...]
    ready_at: float
    route_m: float
    cash: int
    urgency: tuple[int, float, str] = (0, 0.0, "")


@dataclass(slots=True)
class _Plane:
    """Metres on a plane around the zone: a city is flat enough, and this is ten times faster."""

    lat: float
    lon: float
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        self.scale = METRES_PER_DEGREE * cos(radians(self.lat))

    def point(self, position: Position) -> Point:
        """Metres east and north of the origin."""
        return (position.lon - self.lon) * self.scale, (position.lat - self.lat) * METRES_PER_DEGREE


def match(jobs: Sequence[Job], couriers: Sequence[Courier], now: float) -> list[Match]:
    """The offers of one round, each rider and each parcel at most once."""
    if not jobs or not couriers:
        return []
    couriers = sorted(couriers, key=lambda one: one.rider_id)
    plane = _Plane(jobs[0].pick_up.lat, jobs[0].pick_up.lon)
    places = [plane.point(one.position) for one in couriers]
    pace = 1.0 / median_low(one.speed_m_s for one in couriers)
    bundles = _bundles(jobs, plane, now, pace)
    matches: list[Match] = []
    for attempt in range(PASSES):
        found, bundles, free = _pass(bundles, couriers, places, now)
        matches += found
        if not bundles or not free:
            break
        couriers, places = [couriers[i] for i in free], [places[i] for i in free]
        if attempt == PASSES - 2:
            bundles = _singles(bundles, plane)
    return matches


def route(start: Point, doors: Sequence[Point]) -> tuple[tuple[int, ...], float]:
    """The shortest order of at most :data:`BUNDLE_MAX` doors from ``start``, and its metres."""
    best: tuple[int, ...] = ()
    best_m = float("inf")
    for order in permutations(range(len(doors))):
        metres, here = 0.0, start
        for index in order:
            metres += _metres(here, doors[index])
            here = doors[index]
        if metres < best_m - 1e-9:
            best, best_m = order, metres
    return best, best_m


def cost_s(bundle: _Bundle, courier: Courier, place: Point, now: float) -> float:
    """Seconds of riding, waiting and lateness if this rider takes the bundle; infinite if they may
    not (room, cash, bar) or would wait for long."""
    if not _may_take(bundle, courier):
        return float("inf")
    pace = 1.0 / courier.speed_m_s
    to_store_s = _metres(place, bundle.at) * pace
    arrival = max(now, courier.free_at) + to_store_s
    wait_s = max(0.0, bundle.ready_at - arrival)
    if wait_s > WAIT_MAX_S:
        return float("inf")
    leave_at = arrival + wait_s + HAND_OVER_S
    late_s = _lateness_s(bundle, leave_at, pace)
    unavoidable_s = _lateness_s(bundle, max(now, bundle.ready_at) + HAND_OVER_S, pace)
    ride_s = to_store_s + bundle.route_m * pace + max(0.0, courier.free_at - now)
    return ride_s + WAIT_WEIGHT * wait_s + LATE_WEIGHT * (late_s - unavoidable_s)


def assign(
    costs: Sequence[Sequence[tuple[int, float]]], unmatched: Sequence[float], columns: int
) -> list[int]:
    """For each row its column, or -1: the least total cost, where ``costs[row]`` lists the columns
    the row may take and ``unmatched[row]`` is what leaving it out costs.

    Shortest augmenting paths with potentials; O(rows x edges) at worst, bounded by
    :data:`STEPS_MAX` edges, after which further rows (give the urgent ones first) take the cheapest
    free column.
    """
    owner = [-1] * columns
    taken = [-1] * len(costs)
    price = [0.0] * columns
    steps = 0
    for row in range(len(costs)):
        if steps >= STEPS_MAX:
            _take_cheapest(costs[row], row, owner, taken)
        else:
            steps += _augment(row, costs, unmatched, owner, taken, price)
    return taken


def _singles(bundles: Sequence[_Bundle], plane: _Plane) -> list[_Bundle]:
    singles = [_bundle((job,), plane) for bundle in bundles for job in bundle.jobs]
    return sorted(singles, key=lambda bundle: bundle.urgency)


def _pass(
    bundles: list[_Bundle], couriers: Sequence[Courier], places: Sequence[Point], now: float
) -> tuple[list[Match], list[_Bundle], list[int]]:
    """Matches, bundles nobody got, and indexes of riders who got nothing."""
    costs = _candidates(bundles, couriers, places, now)
    unmatched = [
        UNMATCHED_COST * len(bundle.jobs)
        + (PRIORITY_COST if bundle.urgency[0] == 0 else 0.0)
        + min(max(now + 3600.0 - bundle.urgency[1], 0.0), 14_400.0)
        for bundle in bundles
    ]
    taken = assign(costs, unmatched, len(couriers))
    matches, missed, busy = [], [], set()
    for bundle, edges, column in zip(bundles, costs, taken, strict=True):
        if column < 0:
            missed.append(bundle)
            continue
        busy.add(column)
        metres = _metres(places[column], bundle.at) + bundle.route_m
        cost = next(cost for index, cost in edges if index == column)
        parcel_ids = tuple(job.parcel_id for job in bundle.jobs)
        matches.append(Match(couriers[column].rider_id, parcel_ids, round(metres), cost))
    return matches, missed, [i for i in range(len(couriers)) if i not in busy]


def _candidates(
    bundles: list[_Bundle], couriers: Sequence[Courier], places: Sequence[Point], now: float
) -> list[list[tuple[int, float]]]:
    """Per bundle its nearest riders by arrival that may take it, with costs."""
    delays = [(max(0.0, one.free_at - now), 1.0 / one.speed_m_s) for one in couriers]
    nearest: dict[Point, list[int]] = {}
    crowd = Counter(bundle.at for bundle in bundles)
    costs = []
    for bundle in bundles:
        near = nearest.get(bundle.at)
        if near is None:
            near = nearest[bundle.at] = _by_arrival(bundle.at, places, delays)
        edges: list[tuple[int, float]] = []
        for column in near:
            cost = cost_s(bundle, couriers[column], places[column], now)
            if cost < float("inf"):
                edges.append((column, cost))
                if len(edges) >= CANDIDATES_MAX and len(edges) >= min(crowd[bundle.at], CROWD_MAX):
                    break
        costs.append(edges)
    return costs


def _by_arrival(
    at: Point, places: Sequence[Point], delays: Sequence[tuple[float, float]]
) -> list[int]:
    x, y = at
    arrivals = [
        delay + pace * hypot(px - x, py - y)
        for (px, py), (delay, pace) in zip(places, delays, strict=True)
    ]
    if len(arrivals) <= 2 * CROWD_MAX:
        return sorted(range(len(arrivals)), key=arrivals.__getitem__)
    return nsmallest(2 * CROWD_MAX, range(len(arrivals)), key=arrivals.__getitem__)


def _bundles(jobs: Sequence[Job], plane: _Plane, now: float, pace: float) -> list[_Bundle]:
    """All parcels in bundles, the most urgent bundle first. Who will ride them is not known yet:
    ``pace`` is what the zone's riders need for a metre, by the median."""
    by_store: dict[str, list[Job]] = {}
    for job in sorted(jobs, key=_urgency):
        by_store.setdefault(job.store_id, []).append(job)
    bundles = []
    for waiting in by_store.values():
        while waiting:
            bundle = _bundle((waiting.pop(0),), plane)
            while len(bundle.jobs) < BUNDLE_MAX:
                found = _best_addition(bundle, waiting, plane, now, pace)
                if found is None:
                    break
                job, bundle = found
                waiting.remove(job)
            bundles.append(bundle)
    bundles.sort(key=lambda bundle: bundle.urgency)
    return bundles


def _best_addition(
    bundle: _Bundle, waiting: Sequence[Job], plane: _Plane, now: float, pace: float
) -> tuple[Job, _Bundle] | None:
    """The parcel that rides along with the greatest saving, if any may."""
    best: tuple[Job, _Bundle] | None = None
    best_saved_m = 0.0
    for job in waiting[:24]:
        if abs(job.ready_at - bundle.jobs[0].ready_at) > READY_SPREAD_S:
            continue
        alone = _bundle((job,), plane)
        tried = _bundle((*bundle.jobs, job), plane)
        saved_m = bundle.route_m + 2 * alone.route_m - tried.route_m
        if tried.route_m >= bundle.route_m + alone.route_m or saved_m <= best_saved_m:
            continue
        added_s = _late_at_best(tried, now, pace) - _late_at_best(bundle, now, pace)
        if added_s - _late_at_best(alone, now, pace) <= LATENESS_ADDED_S:
            best, best_saved_m = (job, tried), saved_m
    return best


def _bundle(jobs: tuple[Job, ...], plane: _Plane) -> _Bundle:
    at = plane.point(jobs[0].pick_up)
    doors = tuple(plane.point(job.drop_off) for job in jobs)
    order, metres = route(at, doors)
    return _Bundle(
        tuple(jobs[i] for i in order),
        at,
        tuple(doors[i] for i in order),
        max(job.ready_at for job in jobs),
        metres,
        sum(job.cash_due for job in jobs),
        min(_urgency(job) for job in jobs),
    )


def _urgency(job: Job) -> tuple[int, float, str]:
    return (0 if job.priority else 1, job.due_at, job.parcel_id)


def _may_take(bundle: _Bundle, courier: Courier) -> bool:
    return (
        len(bundle.jobs) <= courier.room
        and (not bundle.cash or bundle.cash <= courier.cash_headroom)
        and not any(courier.rider_id in job.barred for job in bundle.jobs)
    )


def _late_at_best(bundle: _Bundle, now: float, pace: float) -> float:
    return _lateness_s(bundle, max(now, bundle.ready_at) + HAND_OVER_S, pace)


def _lateness_s(bundle: _Bundle, leave_at: float, pace: float) -> float:
    """Seconds of lateness over all parcels when the bundle leaves the store at ``leave_at``."""
    late, at, here = 0.0, leave_at, bundle.at
    for job, door in zip(bundle.jobs, bundle.doors, strict=True):
        at += _metres(here, door) * pace
        late += max(0.0, at - job.due_at)
        at += HAND_OVER_S
        here = door
    return late


def _metres(a: Point, b: Point) -> float:
    return hypot(a[0] - b[0], a[1] - b[1])


def _take_cheapest(
    edges: Sequence[tuple[int, float]], row: int, owner: list[int], taken: list[int]
) -> None:
    free = [(cost, column) for column, cost in edges if owner[column] < 0]
    if free:
        column = min(free)[1]
        owner[column], taken[row] = row, column


def _augment(
    start: int,
    costs: Sequence[Sequence[tuple[int, float]]],
    unmatched: Sequence[float],
    owner: list[int],
    taken: list[int],
    price: list[float],
) -> int:
    """Place one more row along the cheapest alternating path (Dijkstra on reduced costs), which
    may end at a free column or by leaving some row out. Returns the edges looked at.

    ``price[column]`` is the dual of a column (0 or less); the dual of a matched row is the cost of
    its column less that column's price.
    """
    distance: dict[int, float] = {}
    settled: dict[int, float] = {}
    came_from: dict[int, int] = {}
    heap: list[tuple[float, int]] = []
    row, so_far, steps = start, 0.0, 0
    out_at, out_row = unmatched[start], start
    end = -1
    while True:
        steps += len(costs[row])
        for column, cost in costs[row]:
            if column in settled:
                continue
            total = so_far + cost - price[column]
            if total < distance.get(column, out_at):
                distance[column] = total
                came_from[column] = row
                heappush(heap, (total, column))
        while heap and (heap[0][1] in settled or heap[0][0] > distance[heap[0][1]]):
            heappop(heap)
        if not heap or heap[0][0] >= out_at:
            break
        so_far, column = heappop(heap)
        settled[column] = so_far
        if owner[column] < 0:
            end = column
            break
        row = owner[column]
        so_far -= _edge(costs[row], column) - price[column]
        if so_far + unmatched[row] < out_at:
            out_at, out_row = so_far + unmatched[row], row
    final = settled[end] if end >= 0 else out_at
    for column, reached in settled.items():
        price[column] += min(0.0, reached - final)
    _flip(start, end, out_row, owner, taken, came_from)
    return steps


def _flip(
    start: int,
    end: int,
    out_row: int,
    owner: list[int],
    taken: list[int],
    came_from: dict[int, int],
) -> None:
    """Move the rows along the path one column on. Without a free column at its end, ``out_row`` is
    left out and its column passed on."""
    if end < 0:
        if out_row == start:
            return
        end = taken[out_row]
        taken[out_row] = -1
    column = end
    while True:
        row = came_from[column]
        previous = taken[row]
        owner[column], taken[row] = row, column
        if row == start:
            return
        column = previous


def _edge(edges: Sequence[tuple[int, float]], column: int) -> float:
    for index, cost in edges:
        if index == column:
            return cost
    raise AssertionError("a row holds only columns it may take")
