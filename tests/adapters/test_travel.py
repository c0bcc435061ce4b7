"""Straight-line travel times."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.travel import ALSO_CALLED, SPEEDS_M_PER_S, StraightLine
from orchestrator.api.examples import BODIES
from simulator.plan import SPEED_MPS

SHIFT_FORM = Path(__file__).parents[2] / "web" / "src" / "rider" / "ShiftForm.vue"


def test_a_kilometre_takes_its_length_times_the_detour_by_the_speed() -> None:
    times = StraightLine({"bicycle": 5.0}, detour_factor=1.5)
    assert 1_000 / times.straight_speed("bicycle") == pytest.approx(1_000 * 1.5 / 5.0)


def test_a_vehicle_that_is_not_listed_goes_at_the_slowest_speed() -> None:
    times = StraightLine({"bicycle": 5.0, "walking": 1.0, "car": 9.0})
    assert times.straight_speed("unicycle") == times.straight_speed("walking")


@given(st.text())
def test_whatever_a_rider_calls_their_vehicle_it_moves(vehicle: str) -> None:
    assert StraightLine().straight_speed(vehicle) > 0.0


@pytest.mark.parametrize(
    ("name", "vehicle"),
    [("bike", "bicycle"), ("E-Bike", "ebike"), (" Walking ", "walking"), ("foot", "walking"),
     ("motorbike", "motorcycle"), ("CAR", "car")],
)  # fmt: skip
def test_one_vehicle_is_as_fast_by_any_of_its_names(name: str, vehicle: str) -> None:
    times = StraightLine({vehicle: 5.0, "slower": 1.0}, detour_factor=1.0)
    assert times.straight_speed(name) == 5.0


def test_every_other_name_is_one_of_a_vehicle_with_a_speed() -> None:
    assert set(ALSO_CALLED.values()) <= set(SPEEDS_M_PER_S)
    assert not set(ALSO_CALLED) & set(SPEEDS_M_PER_S)


def vehicles_of_the_page() -> set[str]:
    found = re.search(r"VEHICLES = \[([^]]+)]", SHIFT_FORM.read_text())
    assert found is not None
    return set(re.findall(r'"([^"]+)"', found.group(1)))


def test_every_vehicle_of_the_page_the_api_and_the_recorded_days_has_its_own_speed() -> None:
    named = vehicles_of_the_page() | set(SPEED_MPS) | {BODIES["ShiftBody"]["vehicle"]}
    assert len(named) > 4
    assert {ALSO_CALLED.get(name, name) for name in named} <= set(SPEEDS_M_PER_S)


@pytest.mark.parametrize(
    ("speeds", "detour"),
    [({}, 1.3), ({"car": 0.0}, 1.3), ({"car": -1.0}, 1.3), ({"car": float("nan")}, 1.3),
     ({"car": float("inf")}, 1.3), ({"car": 5.0}, 0.9), ({"car": 5.0}, float("inf"))],
)  # fmt: skip
def test_impossible_speeds_are_refused(speeds: dict[str, float], detour: float) -> None:
    with pytest.raises(ValueError):
        StraightLine(speeds, detour)
