"""Exact arithmetic of shares, freight and refunds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalogue.model import Freight
from domain.errors import Refused
from domain.pricing import apportion, freight, units_amount

amounts = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (10, [3, 3, 4], [3, 3, 4]),
        (1, [0, 0, 5], [0, 0, 1]),
        (7, [0, 0, 0], [3, 2, 2]),
        (0, [5, 6], [0, 0]),
        (5, [10, 20, 30], [1, 2, 2]),
        (0, [], []),
    ],
)
def test_shares_follow_the_weights_and_ties_go_to_the_first(
    total: int, weights: list[int], shares: list[int]
) -> None:
    assert apportion(total, weights) == shares


@given(amounts, st.lists(amounts, min_size=1, max_size=30))
def test_shares_add_up_and_are_within_one_of_their_proportion(
    total: int, weights: list[int]
) -> None:
    shares = apportion(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    for share, weight in zip(shares, weights, strict=True):
        if whole:
            assert abs(share * whole - total * weight) < whole
        else:
            assert abs(share * len(weights) - total) < len(weights)


@pytest.mark.parametrize(
    ("total", "weights", "code"),
    [
        (-1, [1], "negative-amount"),
        (1, [2, -1], "negative-amount"),
        (1, [], "nothing-to-apportion"),
    ],
)
def test_what_cannot_be_shared_is_refused(total: int, weights: list[int], code: str) -> None:
    with pytest.raises(Refused) as refusal:
        apportion(total, weights)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("template", "goods", "distance_m", "fee"),
    [
        (Freight(base=300), 1_000, 9_000.0, 300),
        (Freight(base=300, free_from=1_000), 999, 0.0, 300),
        (Freight(base=300, free_from=1_000), 1_000, 50_000.0, 0),
        (Freight(base=300, free_from=0), 0, 1.0, 0),
        (Freight(base=300, per_km=50, included_m=2_000), 10, 2_000.0, 300),
        (Freight(base=300, per_km=50, included_m=2_000), 10, 2_001.0, 350),
        (Freight(base=300, per_km=50, included_m=2_000), 10, 3_000.0, 350),
        (Freight(base=300, per_km=50, included_m=2_000), 10, 3_000.5, 400),
    ],
)
def test_freight_is_fixed_free_from_an_amount_or_by_begun_kilometre(
    template: Freight, goods: int, distance_m: float, fee: int
) -> None:
    assert freight(template, goods, distance_m) == fee


@given(amounts, st.data())
def test_refunding_all_units_in_any_steps_returns_exactly_what_was_paid(
    amount: int, data: st.DataObject
) -> None:
    quantity = data.draw(st.integers(1, 40))
    back = refunded = 0
    while back < quantity:
        units = data.draw(st.integers(1, quantity - back))
        part = units_amount(amount, quantity, back, units)
        assert abs(part * quantity - amount * units) < quantity
        refunded += part
        back += units
    assert refunded == amount


def test_the_last_unit_absorbs_the_rounding() -> None:
    assert [units_amount(1_000, 3, given, 1) for given in range(3)] == [333, 333, 334]


@pytest.mark.parametrize(
    ("already", "units", "code"),
    [
        (0, 0, "quantity-not-positive"),
        (0, -1, "quantity-not-positive"),
        (2, 2, "units-exceed-line"),
        (-1, 1, "units-exceed-line"),
    ],
)
def test_units_beyond_the_line_are_refused(already: int, units: int, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        units_amount(900, 3, already, units)
    assert refusal.value.code == code
