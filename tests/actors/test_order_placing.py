"""Placing: checks, prices, routes, locks; nothing is left behind by what is refused."""

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from domain import order, store
from domain.catalogue.model import ChannelPolicy, CodRule, Freight
from domain.geo import Position
from domain.inventory.commands import Lock, LockItem
from domain.order.commands import Address, Customer, PlaceLine
from tests.fakes.order_world import (
    HOME,
    ORDER_ID,
    World,
    line_id,
    part_id,
    place,
    placed_world,
    refused,
)


def test_a_placed_order_is_priced_locked_and_waits_for_money() -> None:
    world = World()
    view = world.tell_and_run(place(("tea", 3), ("cup", 1)))
    assert (view.state, view.goods, view.freight, view.total) == ("placed", 1999, 299, 2298)
    assert view.expires_at == world.now + 900
    assert [line.amount for line in view.lines] == [999, 1000]
    assert world.cell("s-1", "tea") == (10, 3)
    assert not world.sends_of(store.OpenTicket)


def test_duplicate_skus_are_added_up_before_anything_is_checked() -> None:
    world = World()
    view = world.tell(place(("cup", 4), ("tea", 1), ("cup", 5)))
    assert [(line.sku, line.quantity) for line in view.lines] == [("cup", 9), ("tea", 1)]
    policy = ChannelPolicy("app", quantity_max=8)
    assert refused(World(policy=policy), place(("cup", 4), ("cup", 5))).code == "bad-quantity"


def test_a_combo_takes_its_components_from_stock_and_keeps_its_own_price() -> None:
    world = World()
    view = world.tell(place(("set", 3)))
    assert view.goods == 3 * 1499
    assert world.cell("s-1", "tea") == (10, 6)
    assert world.cell("s-1", "cup") == (10, 3)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (place(("gold", 1)), "unknown-sku"),
        (place(("cup", 0)), "bad-quantity"),
        (place(("cup", -3)), "bad-quantity"),
        (place(("cup", 1000)), "bad-quantity"),
        (place(lines=()), "no-lines"),
        (place(address=None), "no-address"),
        (place(address=Address(Position(91.0, 0.0))), "bad-address"),
        (place(address=Address(Position(float("nan"), 0.0))), "bad-address"),
        (place(address=Address(Position(0.0, 0.0))), "no-zone"),
        (place(("cup", 31)), "short-stock"),
        (place(expected_total=1), "wrong-total"),
        (place(currency="USD"), "wrong-currency"),
        (place(delivery="drone"), "bad-delivery"),
        (place(payment="shells"), "bad-payment"),
        (place(delivery="pickup"), "no-store"),
        (place(delivery="pickup", store_id="s-9"), "unknown-store"),
        (place(store_id="s-9"), "unknown-store"),
        (place(payment="cod", customer=Customer("")), "no-customer"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_order_is_refused_by_name_and_changes_nothing(
    command: order.Place, code: str
) -> None:
    world = World()
    assert refused(world, command).code == code
    assert world.locked_anywhere() == 0


def test_too_many_lines_are_refused() -> None:
    policy = ChannelPolicy("app", lines_max=1)
    assert refused(World(policy=policy), place(("cup", 1), ("tea", 1))).code == "too-many-lines"


def test_a_shortfall_names_the_skus_and_how_many_are_missing() -> None:
    problem = refused(World(), place(("cup", 31), ("tea", 1)))
    assert problem.extra["short"] == {"cup": 1}


def test_an_order_that_exists_is_not_placed_again() -> None:
    assert refused(placed_world(), place()).code == "order-exists"


def test_an_order_is_split_over_stores_with_exact_money() -> None:
    world = World(stock={"s-1": {"tea": 10}, "s-2": {"cup": 10}, "s-3": {}})
    view = world.tell(place(("tea", 1), ("cup", 1)))
    assert {part.store_id for part in view.fulfilments} == {"s-1", "s-2"}
    assert sum(part.freight for part in view.fulfilments) == view.freight == 299
    assert sum(line.amount for line in view.lines) == view.goods == 1333
    assert world.cell("s-1", "tea") == (10, 1)
    assert world.cell("s-2", "cup") == (10, 1)


def test_a_line_that_no_store_has_whole_is_divided_with_exact_amounts() -> None:
    world = World(stock={"s-1": {"tea": 2}, "s-2": {"tea": 2}, "s-3": {}})
    view = world.tell(place(("tea", 3)))
    assert sorted(line.quantity for line in view.lines) == [1, 2]
    assert sum(line.amount for line in view.lines) == 999
    assert {line.line_id for line in view.lines} == {line_id(1), line_id(2)}
    assert world.locked_anywhere() == 3


def _buy_up(world: World, store_id: str, sku: str, units: int) -> None:
    item = LockItem("rival/1", sku, units)
    rival = Lock(f"rival-{store_id}", "rival", (item,), world.now + 900)
    state = world.states[f"inventory/{store_id}"]
    assert state is not None
    world.ask(f"inventory/{store_id}", rival)


def test_a_lost_race_falls_through_to_the_next_store_in_the_same_request() -> None:
    world = World()
    seen = world.views.candidate("s-1", world.now, HOME)
    assert seen is not None

    def rival(world: World, store_id: str, lock: Lock) -> None:
        _buy_up(world, store_id, "cup", 10)

    world.before_lock = rival
    view = world.tell(place(("cup", 2)))
    assert [part.store_id for part in view.fulfilments] == ["s-2"]
    assert world.cell("s-1", "cup") == (10, 10)
    assert world.cell("s-2", "cup") == (10, 2)
    assert view.fulfilments[0].fulfilment_id == part_id(2)
    assert world.order.number == 2


def test_a_lost_race_learns_what_is_left_though_the_read_model_is_stale() -> None:
    world = World()

    def rival(world: World, store_id: str, lock: Lock) -> None:
        stale = world.views
        world.views = World().views
        _buy_up(world, store_id, "cup", 10)
        world.views = stale

    world.before_lock = rival
    view = world.tell(place(("cup", 2)))
    assert [part.store_id for part in view.fulfilments] == ["s-2"]


def test_a_lost_race_of_one_part_keeps_the_other_and_leaves_no_lock_behind() -> None:
    world = World(stock={"s-1": {"tea": 1}, "s-2": {"cup": 5}, "s-3": {"cup": 5}})

    def rival(world: World, store_id: str, lock: Lock) -> None:
        _buy_up(world, "s-2", "cup", 5)

    world.before_lock = rival
    view = world.tell(place(("tea", 1), ("cup", 1)))
    assert {part.store_id for part in view.fulfilments} == {"s-1", "s-3"}
    assert world.cell("s-1", "tea") == (1, 1)
    assert world.locked_anywhere() == 5 + 2


def test_when_every_store_is_bought_up_the_order_is_refused_and_holds_nothing() -> None:
    world = World(stock={"s-1": {"tea": 5}, "s-2": {"cup": 5}, "s-3": {}})

    def rival(world: World, store_id: str, lock: Lock) -> None:
        _buy_up(world, "s-2", "cup", 5)

    world.before_lock = rival
    problem = refused(world, place(("tea", 1), ("cup", 1)))
    assert problem.code == "short-stock"
    assert "cup" in problem.extra["short"]
    assert world.locked_anywhere() == 5


def test_a_partial_order_serves_what_there_is_only_if_the_customer_asked() -> None:
    stock: dict[str, dict[str, int]] = {"s-1": {"tea": 5, "cup": 1}, "s-2": {}, "s-3": {}}
    assert refused(World(stock=stock), place(("tea", 2), ("cup", 3))).code == "short-stock"
    view = World(stock=stock).tell(place(("tea", 2), ("cup", 3), partial_ok=True))
    assert {line.sku: line.quantity for line in view.lines} == {"tea": 2, "cup": 1}
    assert view.goods == 666 + 1000


def test_freight_is_free_from_an_amount_and_never_charged_for_self_pickup() -> None:
    world = World(freight=Freight(base=299, free_from=2000))
    assert world.tell(place(("cup", 2))).freight == 0
    pickup = place(delivery="pickup", store_id="s-2", address=None)
    assert World().tell(pickup).freight == 0


def test_a_pickup_code_has_six_digits_and_cannot_be_told_without_the_secret() -> None:
    command = place(delivery="pickup", store_id="s-2", address=None)
    codes = []
    for secret in (b"one", b"two", b"three"):
        world = World()
        world.views.pickup_secret = secret
        codes.append(world.tell(command).pickup_code)
    assert all(len(code) == 6 and code.isdigit() for code in codes)
    assert len(set(codes)) == 3


def test_a_cash_order_goes_to_its_store_at_once_with_the_cash_to_collect() -> None:
    world = World()
    view = world.tell_and_run(place(("cup", 2), payment="cod"))
    assert view.state == "cod_confirmed"
    (ticket,) = world.sends_of(store.OpenTicket)
    assert (ticket.cash_due, ticket.phone_ending) == (2299, "5678")
    assert world.cell("s-1", "cup") == (10, 2)
    assert world.states["customer/c-1"].open == {ORDER_ID: True}


@pytest.mark.parametrize(
    "rule",
    [CodRule(limit=0), CodRule(limit=2298), CodRule(limit=99_999, zones_denied=("z-s-1",)),
     CodRule(limit=99_999, open_max=0)],
)  # fmt: skip
def test_cash_is_denied_by_rule_and_nothing_stays_locked(rule: CodRule) -> None:
    world = World(policy=ChannelPolicy("app", cod=rule))
    assert refused(world, place(("cup", 2), payment="cod")).code == "cod-denied"
    assert world.locked_anywhere() == 0


def test_a_free_order_is_paid_at_once() -> None:
    world = World(freight=Freight())
    world.views.skus["cup"] = replace(world.views.skus["cup"], price=0)
    assert world.tell(place()).state == "paid"


def test_an_open_order_of_two_lines_is_stored_in_less_than_a_kilobyte() -> None:
    world = placed_world(("tea", 1), ("cup", 1))
    assert len(msgpack.encode(world.order)) < 1024
    assert world.order.lines[0].line_id == line_id(1)


def test_lines_of_the_wish_keep_their_type() -> None:
    assert place().lines == (PlaceLine("cup", 1),)
