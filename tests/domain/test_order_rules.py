"""The order's pure rules: state, money, pieces of a plan, deadlines."""

import inspect
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.order import KIND
from domain.bounds import MONEY_MAX, QUANTITY_MAX, TOTAL_MAX
from domain.catalogue.model import (
    ChannelPolicy,
    Component,
    Freight,
    Sku,
    StoreProfile,
    Zone,
)
from domain.errors import Refused
from domain.geo import Circle, Position
from domain.message import Event
from domain.order import events, rules
from domain.order import state as order_state
from domain.order.commands import Customer, PlaceLine, RefundUnits
from domain.order.events import Fulfilment, Line, Paid, PaymentStarted, Placed, Unit
from domain.order.money import cash_due, refund_parts, refund_short, refund_units
from domain.order.placing import (
    order_freight,
    pickup_code,
    price,
    share_freight,
    share_out,
    stock_items,
)
from domain.order.state import Mark, OrderState, Payment, evolve
from domain.routing import Part

HERE = Position(52.5, 13.4)


def store(name: str = "s-1", freight: Freight = Freight(299)) -> StoreProfile:  # noqa: B008
    zone = Zone(f"z-{name}", 1, Circle(HERE, 5000.0), 1800)
    return StoreProfile(name, name, HERE, "EUR", (zone,), "d-1", freight=freight)


def part(*lines: tuple[str, int], at: StoreProfile | None = None, distance: float = 0.0) -> Part:
    profile = at or store()
    return Part(profile, profile.zones[0], tuple(lines), distance)


def line(number: int, quantity: int, amount: int, fulfilment_id: str = "o-1") -> Line:
    return Line(
        f"o/{number}", f"sku-{number}", "Goods", quantity, amount // quantity, amount,
        fulfilment_id, (Unit(f"sku-{number}", 1),),
    )  # fmt: skip


def paid_state(*lines: Line, freight: int = 299) -> OrderState:
    goods = sum(each.amount for each in lines)
    state = evolve(None, placed(*lines, freight=freight))
    state = evolve(state, PaymentStarted("p", "sandbox", goods + freight, 30.0, 0.0))
    return evolve(state, Paid(1.0, "p", "sandbox", "ref", goods + freight))


def placed(*lines: Line, freight: int = 299, payment: str = "online") -> Placed:
    goods = sum(each.amount for each in lines)
    return Placed(
        "o", 0.0, "app", Customer("c"), "EUR", "delivery", payment, None, lines,
        (Fulfilment("o-1", "s-1", "z", freight, 1800, 300, 600),), goods, freight,
        goods + freight, 900.0,
    )  # fmt: skip


def test_every_fact_of_an_order_changes_the_state_in_a_stated_way() -> None:
    facts = {
        kind for _, kind in inspect.getmembers(events, inspect.isclass)
        if issubclass(kind, Event) and kind is not Event
    }  # fmt: skip
    assert facts - {Placed} == set(order_state._APPLY)
    assert facts == set(KIND.events.__args__)


def test_prices_are_list_prices_and_a_discount_is_shared_exactly() -> None:
    skus = {"a": Sku("a", "A", 333), "b": Sku("b", "B", 1000)}
    wishes = (PlaceLine("a", 1), PlaceLine("b", 2), PlaceLine("a", 2))
    lines = price("o", wishes, skus, ChannelPolicy("app"), discount=100)
    assert [(each.sku, each.quantity, each.unit_price) for each in lines] == [
        ("a", 3, 333), ("b", 2, 1000),
    ]  # fmt: skip
    assert sum(each.amount for each in lines) == 2999 - 100
    assert lines[0].amount == 999 - 33


def test_a_combo_with_a_component_that_nobody_knows_is_refused() -> None:
    skus = {"set": Sku("set", "Set", 1, components=(Component("ghost", 1),))}
    with pytest.raises(Refused, match="unknown-sku"):
        price("o", (PlaceLine("set", 1),), skus, ChannelPolicy("app"))


@given(
    quantity=st.integers(1, 50), amount=st.integers(0, 100_000),
    cuts=st.lists(st.integers(1, 20), max_size=5),
)  # fmt: skip
def test_pieces_of_a_divided_line_add_up_to_it(quantity: int, amount: int, cuts: list[int]) -> None:
    whole = line(1, quantity, amount)
    counts = []
    left = quantity
    for cut in cuts:
        if cut < left:
            counts.append(cut)
            left -= cut
    counts.append(left)
    parts = [part(("o/1", count)) for count in counts]
    shares = share_out([whole], {"o/1": quantity}, parts, 2)
    pieces = [piece for share in shares for piece, _ in share]
    assert sum(piece.quantity for piece in pieces) == quantity
    assert sum(piece.amount for piece in pieces) == amount
    ids = [piece.line_id for piece in pieces]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "o/1"


def test_a_line_that_must_stay_whole_is_not_divided() -> None:
    parts = [part(("o/1", 1)), part(("o/1", 1))]
    with pytest.raises(Refused, match="line-not-divisible"):
        share_out([line(1, 2, 100)], {"o/1": 2}, parts, 2, whole=("o/1",))


def test_locks_take_components_and_only_the_units_still_due() -> None:
    combo = Line("o/1", "set", "Set", 3, 1, 3, "", (Unit("tea", 2), Unit("cup", 1)))
    items = stock_items([(combo, 2)])
    assert [(item.sku, item.quantity) for item in items] == [("tea", 4), ("cup", 2)]


def test_one_delivery_fee_is_the_highest_asked_and_is_shared_by_goods() -> None:
    far = store("s-2", Freight(base=100, per_km=100))
    parts = [part(("o/1", 1)), part(("o/2", 1), at=far, distance=2500.0)]
    assert order_freight(parts, 1000) == 400
    pickup = Part(far, None, (("o/1", 1),))
    assert order_freight([pickup], 1000) == 0
    assert share_freight(400, [[(line(1, 1, 100), 1)], [(line(2, 1, 200), 1)]]) == [133, 267]


def test_a_pickup_code_is_the_same_for_the_same_command_and_secret_only() -> None:
    assert pickup_code("c", "o", b"k") == pickup_code("c", "o", b"k")
    others = {pickup_code("c", "o", b""), pickup_code("d", "o", b"k"), pickup_code("c", "q", b"k")}
    assert pickup_code("c", "o", b"k") not in others


# Money --------------------------------------------------------------------------------------------


@given(
    quantity=st.integers(1, 30), amount=st.integers(0, 10_000),
    wanted=st.lists(st.integers(1, 10), max_size=8),
)  # fmt: skip
def test_partial_refunds_and_the_rest_give_back_exactly_what_was_paid(
    quantity: int, amount: int, wanted: list[int]
) -> None:
    state = paid_state(line(1, quantity, amount))
    back = 0
    for number, units in enumerate(wanted):
        with suppress(Refused):
            event = refund_units(state, [RefundUnits("o/1", units)], f"r-{number}", "why", 2.0)
            if event is not None:
                back += event.amount
                state = evolve(state, event)
    rest = refund_parts(state, state.parts, "rest", "why", 3.0)
    if rest is not None:
        assert rest.freight == 299
        back += rest.amount
        state = evolve(state, rest)
    assert back == amount + 299
    assert refund_parts(state, state.parts, "again", "why", 4.0) is None


@given(quantity=st.integers(1, 30), amount=st.integers(0, 10_000), data=st.data())
def test_cash_falls_by_exactly_what_missing_units_cost(
    quantity: int, amount: int, data: st.DataObject
) -> None:
    state = evolve(None, placed(line(1, quantity, amount), payment="cod"))
    first = data.draw(st.integers(0, quantity))
    second = data.draw(st.integers(0, quantity - first))
    due = cash_due(state, state.parts[0], [("o/1", first)])
    state.marks["o/1"] = Mark(short=first)
    assert cash_due(state, state.parts[0]) == due
    assert cash_due(state, state.parts[0], [("o/1", second)]) <= due
    assert cash_due(state, state.parts[0], [("o/1", quantity - first)]) == 299


def test_an_order_that_nobody_paid_online_has_nothing_to_refund() -> None:
    state = evolve(None, placed(line(1, 2, 100), payment="cod"))
    assert refund_parts(state, state.parts, "r", "why", 1.0) is None
    assert refund_short(state, [("o/1", 1)], "r", 1.0) is None


# Time ---------------------------------------------------------------------------------------------


def test_a_silent_payment_is_asked_about_on_a_fixed_schedule_that_ends() -> None:
    payment = Payment("sandbox", 1, "EUR", started_at=100.0)
    at: float | None = rules.first_query(100.0, 1000.0)
    times = []
    while at is not None:
        times.append(at)
        at = rules.next_query(payment, 1000.0, at)
    assert times == [130.0, 220.0, 1000.0, 1060.0, 1600.0, 4600.0]


def test_a_payment_opened_just_before_the_expiry_is_asked_about_at_the_expiry() -> None:
    payment = Payment("sandbox", 1, "EUR", started_at=995.0)
    assert rules.next_query(payment, 1000.0, 996.0) == 1000.0


def test_an_order_wakes_for_its_expiry_and_not_after_its_end() -> None:
    state = evolve(None, placed(line(1, 1, 100)))
    assert rules.wakes_at(state) == 900.0
    state = evolve(state, events.Cancelled("timeout", "unpaid", 900.0))
    assert rules.wakes_at(state) == float("inf")
    assert order_state.finished_at(state) == 900.0


@pytest.mark.parametrize(
    ("known", "report", "news"),
    [("new", "accepted", True), ("new", "picked_up", True), ("ready", "picking", False),
     ("parked", "accepted", False), ("returning", "at_customer", False),
     ("delivered", "picked_up", False), ("picked_up", "at_customer", True),
     ("ready", "collected", True), ("new", "nonsense", False)],
)  # fmt: skip
def test_only_news_moves_a_fulfilment(known: str, report: str, news: bool) -> None:
    state = evolve(None, placed(line(1, 1, 100)))
    state.parts[0].state = known
    assert rules.progresses(state.parts[0], report, "", 5.0) is news


def test_an_order_that_costs_more_than_can_be_told_is_refused() -> None:
    """However far a channel's limits were raised."""
    policy = ChannelPolicy("app", quantity_max=QUANTITY_MAX)
    skus = {"ship": Sku("ship", "A ship", MONEY_MAX)}
    most = TOTAL_MAX // MONEY_MAX
    (one,) = price("o", (PlaceLine("ship", most),), skus, policy)
    assert one.amount == MONEY_MAX * most
    with pytest.raises(Refused, match="bad-quantity"):
        price("o", (PlaceLine("ship", most + 1),), skus, policy)
