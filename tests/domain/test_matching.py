"""One dispatch round: exact against brute force, sensible on the map, bounded in work."""

import random
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import matching
from domain.geo import Position
from domain.matching import BUNDLE_MAX, Courier, Job, assign, match, route

NOW = 1_700_000_000.0
STORE = Position(52.50, 13.40)


def north(metres: float, east: float = 0.0) -> Position:
    return Position(52.50 + metres / 111_195, 13.40 + east / (111_195 * 0.6088))


def job(parcel_id: str, drop_off: Position, **changes: object) -> Job:
    facts: dict[str, object] = {
        "store_id": "s1", "pick_up": STORE, "ready_at": NOW, "due_at": NOW + 1800,
    }  # fmt: skip
    return Job(parcel_id, drop_off=drop_off, **(facts | changes))  # type: ignore[arg-type]


def courier(rider_id: str, position: Position, **changes: object) -> Courier:
    facts: dict[str, object] = {
        "free_at": NOW, "room": 3, "cash_headroom": 10_000, "speed_m_s": 4.0,
    }  # fmt: skip
    return Courier(rider_id, position, **(facts | changes))  # type: ignore[arg-type]


def pairs(jobs: list[Job], couriers: list[Courier]) -> dict[str, tuple[str, ...]]:
    return {each.rider_id: each.parcel_ids for each in match(jobs, couriers, NOW)}


Edges = list[list[tuple[int, float]]]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Edges, list[float], int]:
    columns = draw(st.integers(1, 5))
    rows = draw(st.integers(0, 5))
    cost = st.integers(0, 100).map(float)
    costs = [
        [(column, draw(cost)) for column in draw(st.sets(st.integers(0, columns - 1)))]
        for _ in range(rows)
    ]
    unmatched = [draw(st.sampled_from([20.0, 60.0, 1e6])) for _ in range(rows)]
    return costs, unmatched, columns


@settings(max_examples=150, deadline=None)
@given(problems())
def test_the_assignment_costs_no_more_than_any_other(
    problem: tuple[Edges, list[float], int],
) -> None:
    costs, unmatched, columns = problem
    taken = assign(costs, unmatched, columns)
    used = [column for column in taken if column >= 0]
    assert len(set(used)) == len(used)
    assert total(costs, unmatched, taken) == pytest.approx(brute_force(costs, unmatched, columns))


def total(costs: Edges, unmatched: list[float], taken: list[int]) -> float:
    return sum(
        unmatched[row] if column < 0 else dict(costs[row])[column]
        for row, column in enumerate(taken)
    )


def brute_force(costs: Edges, unmatched: list[float], columns: int) -> float:
    def best(row: int, free: frozenset[int]) -> float:
        if row == len(costs):
            return 0.0
        options = [unmatched[row] + best(row + 1, free)]
        options += [
            cost + best(row + 1, free - {column}) for column, cost in costs[row] if column in free
        ]
        return min(options)

    return best(0, frozenset(range(columns)))


def test_beyond_its_bound_the_assignment_still_gives_each_rider_one_bundle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matching, "STEPS_MAX", 10)
    costs: Edges = [[(column, float(row + column)) for column in range(8)] for row in range(12)]
    taken = assign(costs, [1e6] * 12, 8)
    used = [column for column in taken if column >= 0]
    assert sorted(used) == list(range(8))


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=3))
def test_the_doors_of_a_bundle_are_visited_in_the_shortest_order(
    doors: list[tuple[int, int]],
) -> None:
    points = [(float(x), float(y)) for x, y in doors]
    _order, metres = route((0.0, 0.0), points)

    def length(order: tuple[tuple[float, float], ...]) -> float:
        stops = [(0.0, 0.0), *order]
        return sum(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5 for a, b in pairwise(stops))

    assert metres == pytest.approx(min(length(order) for order in permutations(points)))


def test_the_nearest_rider_is_not_taken_when_the_zone_as_a_whole_loses() -> None:
    near_both = courier("r1", north(100))
    only_first = courier("r2", north(-300))
    other_store = north(400)
    jobs = [
        job("p1", north(0, 900)),
        job("p2", north(400, -900), store_id="s2", pick_up=other_store),
    ]
    assert pairs(jobs, [near_both, only_first]) == {"r2": ("p1",), "r1": ("p2",)}


def test_parcels_of_one_store_on_one_way_go_together() -> None:
    jobs = [job("p1", north(1000)), job("p2", north(1100)), job("p3", north(1200))]
    assert pairs(jobs, [courier("r1", STORE)]) == {"r1": ("p1", "p2", "p3")}


def test_parcels_in_opposite_directions_go_apart() -> None:
    jobs = [job("p1", north(1500)), job("p2", north(-1500))]
    found = pairs(jobs, [courier("r1", STORE), courier("r2", STORE)])
    assert sorted(found.values()) == [("p1",), ("p2",)]


def test_bundling_stops_where_it_would_make_parcels_late() -> None:
    tight = NOW + 600.0
    jobs = [job("p1", north(1800), due_at=tight), job("p2", north(1800, 900), due_at=tight)]
    found = pairs(jobs, [courier("r1", STORE), courier("r2", STORE)])
    assert len(found) == 2


@pytest.mark.parametrize(("speed", "bundles"), [(1.1, 2), (5.0, 1)])
def test_walkers_take_apart_what_a_faster_rider_brings_in_one_go(
    speed: float, bundles: int
) -> None:
    due = NOW + 1_000.0
    jobs = [job("p1", north(1000), due_at=due), job("p2", north(1000, 400), due_at=due)]
    riders = [courier(name, STORE, speed_m_s=speed) for name in ("r1", "r2")]
    assert len(pairs(jobs, riders)) == bundles


def test_a_bundle_nobody_has_room_for_goes_as_single_parcels() -> None:
    jobs = [job("p1", north(1000)), job("p2", north(1100))]
    small = [courier("r1", STORE, room=1), courier("r2", STORE, room=1)]
    assert sorted(pairs(jobs, small).values()) == [("p1",), ("p2",)]


def test_cash_goes_only_to_riders_who_may_still_hold_it() -> None:
    jobs = [job("p1", north(500), cash_due=5000)]
    full, free = courier("r1", STORE, cash_headroom=4999), courier("r2", north(900))
    assert pairs(jobs, [full, free]) == {"r2": ("p1",)}
    assert pairs(jobs, [full]) == {}


def test_a_rider_over_the_cash_limit_still_carries_paid_parcels() -> None:
    assert pairs([job("p1", north(500))], [courier("r1", STORE, cash_headroom=0)]) == {
        "r1": ("p1",)
    }


def test_a_rider_who_declined_is_passed_over() -> None:
    jobs = [job("p1", north(500), barred=["r1"])]
    assert pairs(jobs, [courier("r1", STORE), courier("r2", north(900))]) == {"r2": ("p1",)}


def test_nobody_is_called_to_wait_long_at_a_counter() -> None:
    later = [job("p1", north(500), ready_at=NOW + 550)]
    assert pairs(later, [courier("r1", STORE)]) == {}
    far = courier("r2", north(1500))
    assert pairs(later, [far]) == {"r2": ("p1",)}


def test_with_too_few_riders_what_operations_put_first_goes_first() -> None:
    jobs = [job(f"p{n}", north(900, 3000.0 * n), due_at=NOW + 900) for n in range(3)]
    jobs.append(job("p9", north(-2500), due_at=NOW + 3000, priority=True))
    assert pairs(jobs, [courier("r1", STORE)]) == {"r1": ("p9",)}


def crowd(seed: int, jobs: int, couriers: int, stores: int) -> tuple[list[Job], list[Courier]]:
    rng = random.Random(seed)

    def anywhere() -> Position:
        return Position(52.4 + rng.random() * 0.2, 13.3 + rng.random() * 0.2)

    places = [anywhere() for _ in range(stores)]
    return (
        [
            job(
                f"p{n}", anywhere(), store_id=f"s{n % stores}", pick_up=places[n % stores],
                ready_at=NOW + rng.random() * 300, cash_due=rng.choice([0, 0, 700]),
                barred=[f"r{rng.randrange(couriers)}"],
            )
            for n in range(jobs)
        ],
        [
            courier(f"r{n}", anywhere(), room=rng.randint(1, 4), cash_headroom=rng.choice([0, 999]))
            for n in range(couriers)
        ],
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), jobs=st.integers(1, 60), couriers=st.integers(1, 40))
def test_every_match_keeps_the_rules_and_the_order_of_input_does_not_matter(
    seed: int, jobs: int, couriers: int
) -> None:
    waiting, riders = crowd(seed, jobs, couriers, 5)
    found = match(waiting, riders, NOW)
    by_id, rider_of = {one.parcel_id: one for one in waiting}, {one.rider_id: one for one in riders}
    given_out = [parcel_id for one in found for parcel_id in one.parcel_ids]
    assert len(set(given_out)) == len(given_out)
    assert len({one.rider_id for one in found}) == len(found)
    for one in found:
        parcels = [by_id[parcel_id] for parcel_id in one.parcel_ids]
        rider = rider_of[one.rider_id]
        assert len(parcels) <= min(rider.room, BUNDLE_MAX)
        assert len({each.store_id for each in parcels}) == 1
        cash = sum(each.cash_due for each in parcels)
        assert cash == 0 or cash <= rider.cash_headroom
        assert all(one.rider_id not in each.barred for each in parcels)
    shuffled = random.Random(seed)
    shuffled.shuffle(riders)
    again = match(waiting, riders, NOW)
    assert sorted(again, key=lambda one: one.rider_id) == sorted(
        found, key=lambda one: one.rider_id
    )


def test_a_crowded_zone_is_matched_within_the_bound_on_work() -> None:
    waiting, riders = crowd(3, 500, 200, 40)
    found = match(waiting, riders, NOW)
    assert len(found) >= 190
