"""Straight-line travel times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.travel import StraightLine, run_seconds
from domain.geo import Position, distance_m

positions = st.builds(Position, st.floats(-80, 80), st.floats(-179, 179))
vehicles = st.sampled_from(["walking", "bicycle", "ebike", "motorcycle", "car", "hot-air balloon"])

HERE = Position(52.5, 13.4)
NORTH = Position(52.509, 13.4)


def test_a_kilometre_takes_its_length_times_the_detour_by_the_speed() -> None:
    times = StraightLine({"bicycle": 5.0}, detour_factor=1.5)
    assert distance_m(HERE, NORTH) == pytest.approx(1_000.8, abs=0.1)
    assert times.seconds(HERE, NORTH, "bicycle") == pytest.approx(1_000.8 * 1.5 / 5.0, abs=0.1)


def test_a_vehicle_that_is_not_listed_goes_at_the_slowest_speed() -> None:
    times = StraightLine({"bicycle": 5.0, "walking": 1.0, "car": 9.0})
    assert times.seconds(HERE, NORTH, "unicycle") == times.seconds(HERE, NORTH, "walking")


@given(positions, positions, vehicles)
def test_time_is_never_negative_and_the_same_both_ways(
    here: Position, there: Position, vehicle: str
) -> None:
    times = StraightLine()
    assert times.seconds(here, here, vehicle) == 0.0
    assert times.seconds(here, there, vehicle) >= 0.0
    back = times.seconds(there, here, vehicle)
    assert times.seconds(here, there, vehicle) == pytest.approx(back)


@given(positions, positions, vehicles)
def test_the_rules_of_dispatch_reckon_with_the_same_times(
    here: Position, there: Position, vehicle: str
) -> None:
    times = StraightLine()
    speeds = times.straight_speeds()
    speed = speeds.get(vehicle, min(speeds.values()))
    assert distance_m(here, there) / speed == pytest.approx(times.seconds(here, there, vehicle))


@given(st.lists(positions, max_size=6), vehicles)
def test_a_run_takes_the_sum_of_its_legs_in_order(stops: list[Position], vehicle: str) -> None:
    times = StraightLine()
    legs = [times.seconds(stops[i], stops[i + 1], vehicle) for i in range(len(stops) - 1)]
    assert run_seconds(times, stops, vehicle) == pytest.approx(sum(legs))


@pytest.mark.parametrize(
    ("speeds", "detour"),
    [({}, 1.3), ({"car": 0.0}, 1.3), ({"car": -1.0}, 1.3), ({"car": float("nan")}, 1.3),
     ({"car": float("inf")}, 1.3), ({"car": 5.0}, 0.9), ({"car": 5.0}, float("inf"))],
)  # fmt: skip
def test_impossible_speeds_are_refused(speeds: dict[str, float], detour: float) -> None:
    with pytest.raises(ValueError):
        StraightLine(speeds, detour)
