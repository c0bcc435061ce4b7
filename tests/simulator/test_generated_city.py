from collections import Counter
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.city import CityOptions, equivalent_day, generate
from simulator.geometry import Point, distance_m, offset, towards
from simulator.goods import ean13
from simulator.manners import Manners
from simulator.plan import PlanError, chance


def test_the_same_seed_gives_the_same_city_value_for_value() -> None:
    assert generate(5) == generate(5)
    assert generate(5).orders != generate(6).orders


def test_what_one_person_draws_does_not_depend_on_the_others() -> None:
    small, large = (
        generate(5, CityOptions(orders=40)),
        generate(5, CityOptions(orders=40, riders=9)),
    )
    assert small.orders == large.orders


def test_all_orders_lie_in_opening_hours_and_most_at_the_peaks() -> None:
    plan = generate(1, CityOptions(orders=600, opens_h=8.0, hours=14.0))
    hours = Counter(int(order.at_s // 3_600) for order in plan.orders)
    assert min(hours) >= 8
    assert max(hours) < 22
    assert hours[19] > hours[9]
    assert hours[13] > hours[10]
    assert [order.at_s for order in plan.orders] == sorted(order.at_s for order in plan.orders)


def test_a_city_has_every_kind_of_customer() -> None:
    orders = generate(2, CityOptions(orders=2_000)).orders
    assert {order.payment for order in orders} == {"online", "cod"}
    assert {order.delivery for order in orders} == {"delivery", "pickup"}
    assert {order.pays for order in orders} == {"at_once", "late", "never", "twice"}
    assert {order.cancels for order in orders} == {"", "early", "late"}
    assert {order.door for order in orders} == {"opens", "refused", "absent"}
    assert {order.repeats for order in orders} == {0, 1, 2}
    assert all(order.store_id for order in orders if order.delivery == "pickup")


def test_flawless_manners_leave_no_accidents() -> None:
    flawless = Manners(*[0.0] * len(fields(Manners)))
    plan = generate(2, CityOptions(orders=200, manners=flawless))
    assert {(o.pays, o.cancels, o.door, o.repeats, o.payment) for o in plan.orders} == {
        ("at_once", "", "opens", 0, "online")
    }
    assert all(store.clerk.rejects == store.clerk.forgets == 0 for store in plan.stores)


def test_every_zone_of_dispatch_has_riders_who_stay_to_the_end() -> None:
    plan = generate(3, CityOptions(dispatch_zones=3))
    zones = {store.dispatch_zone for store in plan.stores}
    assert zones <= {rider.dispatch_zone for rider in plan.riders if rider.stays}


def test_ids_carry_the_tag_so_that_two_days_never_meet() -> None:
    plan = generate(3, CityOptions(tag="k9-"))
    ids = [
        *(goods.sku for goods in plan.goods),
        *(store.store_id for store in plan.stores),
        *(store.dispatch_zone for store in plan.stores),
        *(rider.rider_id for rider in plan.riders),
        *(order.key for order in plan.orders),
        *(order.customer_id for order in plan.orders),
    ]
    assert all(name.startswith("k9-") for name in ids)


def test_combos_are_made_of_single_goods_that_exist() -> None:
    goods = {item.sku: item for item in generate(4).goods}
    combos = [item for item in goods.values() if item.components]
    assert combos
    for combo in combos:
        assert all(not goods[sku].components for sku, _units in combo.components)
        assert combo.units(2) == {sku: 2 * units for sku, units in combo.components}


def test_the_equivalent_day_is_as_large_as_a_recorded_one_and_as_detailed() -> None:
    plan = equivalent_day(1)
    assert (len(plan.orders), len(plan.stores), len(plan.riders)) == (735, 176, 455)
    for order in plan.orders:
        assert order.store_id
        assert order.promise_s
        assert order.accept_after_s
        assert order.ready_after_s is not None
        assert order.ready_after_s > order.accept_after_s
    assert {goods.handling for goods in plan.goods} == {"normal"}


@pytest.mark.parametrize("nothing", [{"stores": 0}, {"riders": 0}])
def test_a_city_without_stores_or_riders_is_refused(nothing: dict[str, int]) -> None:
    with pytest.raises(PlanError, match="at least one store and one rider"):
        generate(1, replace(CityOptions(), **nothing))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), stores=st.integers(1, 8), orders=st.integers(0, 40))
def test_a_plentiful_city_can_serve_every_order_by_name(
    seed: int, stores: int, orders: int
) -> None:
    plan = generate(
        seed, CityOptions(stores=stores, orders=orders, riders=4, own_store=1.0, scarce=0.0)
    )
    goods = {item.sku: item for item in plan.goods}
    wanted: Counter[tuple[str, str]] = Counter()
    for order in plan.orders:
        for sku, quantity in order.lines:
            for unit, count in goods[sku].units(quantity).items():
                wanted[order.store_id, unit] += count
    stock = {store.store_id: store.stock for store in plan.stores}
    assert all(stock[store_id][sku] >= count for (store_id, sku), count in wanted.items())


def test_chance_is_the_same_for_the_same_name_and_differs_between_names() -> None:
    assert chance(1, "rider", 7).random() == chance(1, "rider", 7).random()
    assert chance(1, "rider", 7).random() != chance(1, "rider", 8).random()


@pytest.mark.parametrize("number", [0, 1, 77, 900_001])
def test_barcodes_have_a_valid_check_digit(number: int) -> None:
    code = ean13(number)
    assert len(code) == 13
    weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(code))
    assert weighted % 10 == 0


@given(east=st.floats(-5e3, 5e3), north=st.floats(-5e3, 5e3), metres=st.floats(0, 1e4))
def test_riding_towards_a_goal_covers_exactly_the_way_and_never_more(
    east: float, north: float, metres: float
) -> None:
    start = Point(4.8, -75.7)
    goal = offset(start, east, north)
    whole = distance_m(start, goal)
    reached = towards(start, goal, metres)
    assert distance_m(start, reached) == pytest.approx(min(metres, whole), rel=1e-3, abs=0.5)
    assert distance_m(reached, goal) <= whole + 0.01


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stores", [1, 2, 3])
def test_a_small_city_has_riders_only_where_it_has_stores(seed: int, stores: int) -> None:
    plan = generate(seed, CityOptions(stores=stores, riders=6, orders=3, dispatch_zones=4))
    served = {store.dispatch_zone for store in plan.stores}
    assert {rider.dispatch_zone for rider in plan.riders} <= served
