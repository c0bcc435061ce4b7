"""From the store to the door and back: reports, short picks, reroutes, cancels, returns."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain import order, payment, store
from domain.history import History
from domain.inventory.commands import (
    CorrectShort,
    Deduct,
    KeepOnShelf,
    Lock,
    LockItem,
    Release,
    Return,
)
from domain.inventory.rules import LOCK_GONE
from domain.inventory.state import REMEMBERED_S
from domain.notice import Notify
from domain.reasons import ALL_SHORT
from tests.fakes.order_world import (
    STORES,
    World,
    line_id,
    paid_world,
    part_id,
    placed_world,
    refused,
)

EVERYWHERE_OUT: dict[str, dict[str, int]] = {"s-1": {"cup": 5, "tea": 5}, "s-2": {}, "s-3": {}}


def progress(state: str, number: int = 1, at: float = 0.0, rider: str = "") -> order.RecordProgress:
    return order.RecordProgress(part_id(number), state, at, rider)


def picked(*units: tuple[int, int], number: int = 1, store_id: str = "s-1") -> order.RecordPicked:
    return order.RecordPicked(
        part_id(number), store_id, tuple((line_id(line), count) for line, count in units), 0.0
    )


def rejected(
    number: int = 1, store_id: str = "s-1", reason: str = "busy", code: str | None = ""
) -> order.RecordRejected:
    return order.RecordRejected(part_id(number), store_id, reason, 0.0, code)


def delivered(number: int = 1, cash: int = 0) -> order.RecordDelivered:
    return order.RecordDelivered(part_id(number), 0.0, "r-1", cash)


def returned(number: int = 1, store_id: str = "s-1", **changes: Any) -> order.RecordReturned:
    return order.RecordReturned(part_id(number), store_id, 0.0, **changes)


def cod_world(*goods: tuple[str, int], **changes: Any) -> World:
    return placed_world(*goods, payment="cod", **changes)


def split_world(**changes: Any) -> World:
    """Tea from s-1 and a cup from s-2: two fulfilments."""
    stock = {"s-1": {"tea": 5}, "s-2": {"cup": 5}, "s-3": {}}
    make = cod_world if changes.get("payment") == "cod" else paid_world
    return make(("tea", 1), ("cup", 1), stock=stock)


def refunded(world: World) -> int:
    return sum(each.amount for each in world.sends_of(payment.RefundPayment))


def states(world: World) -> list[str]:
    return [part.state for part in world.order.parts]


def through(world: World, *commands: Any) -> World:
    for command in commands:
        world.tell_and_run(command)
    return world


# Progress -----------------------------------------------------------------------------------------


def test_an_order_goes_from_the_store_to_the_door() -> None:
    world = paid_world(("cup", 2))
    for state in ("accepted", "picking"):
        through(world, progress(state))
        assert states(world) == [state]
    through(world, picked((1, 2)))
    assert states(world) == ["ready"]
    through(world, progress("rider_assigned", at=1.0, rider="r-1"), progress("at_store", at=2.0))
    assert (states(world), world.order.parts[0].rider_id) == (["ready"], "r-1")
    through(world, progress("picked_up"), progress("at_customer"), delivered())
    assert world.order.state == "completed"
    assert states(world) == ["completed"]
    assert world.states["customer/c-1"].completed == 1
    assert world.sends_of(store.CloseTicket)[-1].state == "delivered"
    assert not refunded(world)


@pytest.mark.parametrize(
    ("known", "old"),
    [("picking", "accepted"), ("picking", "picking"), ("picked_up", "ready"),
     ("picked_up", "rider_assigned"), ("at_customer", "picked_up"), ("accepted", "odd")],
)  # fmt: skip
def test_an_old_repeated_or_unknown_report_changes_nothing(known: str, old: str) -> None:
    world = through(paid_world(), progress(known))
    before = len(world.facts)
    assert world.tell(progress(old)) is None
    assert len(world.facts) == before


@pytest.mark.parametrize(
    "command",
    [progress("accepted"), picked((1, 0)), rejected(), delivered(), returned(),
     order.RecordFailed(part_id(), 0.0, "r-1", "absent")],
)  # fmt: skip
def test_reports_of_an_unpaid_or_ended_order_or_of_another_fulfilment_are_ignored(
    command: Any,
) -> None:
    unpaid = placed_world()
    cancelled = through(placed_world(), order.Cancel("no"))
    rerouted = through(paid_world(), rejected())
    for world in (unpaid, cancelled, rerouted):
        before = len(world.facts)
        assert world.tell(command) is None
        assert len(world.facts) == before


def test_a_rider_who_is_replaced_is_replaced_here_too() -> None:
    world = through(
        paid_world(),
        progress("rider_assigned", at=1.0, rider="r-1"),
        progress("rider_assigned", at=3.0, rider="r-2"),
        progress("rider_assigned", at=2.0, rider="r-1"),
    )
    assert world.order.parts[0].rider_id == "r-2"


# Cash ---------------------------------------------------------------------------------------------


def test_goods_sold_for_cash_leave_the_books_at_the_hand_over() -> None:
    world = through(cod_world(("cup", 2)), progress("accepted"), picked((1, 2)))
    assert world.cell("s-1", "cup") == (10, 2)
    through(world, progress("picked_up"))
    assert world.cell("s-1", "cup") == (8, 0)
    through(world, delivered(cash=2299))
    assert world.order.state == "completed"
    assert world.tell(order.Get()).cash_collected == 2299
    assert not world.facts_of(order.PaymentFlagged)
    assert len(world.sends_of(Deduct)) == 1


def test_a_delivery_that_overtakes_the_hand_over_still_sells_the_goods_once() -> None:
    world = through(cod_world(("cup", 2)), delivered(cash=2299), progress("picked_up"))
    assert world.cell("s-1", "cup") == (8, 0)
    assert len(world.sends_of(Deduct)) == 1


@pytest.mark.parametrize("cash", [0, 2298, 2300])
def test_cash_that_is_not_what_was_due_is_flagged_for_operations(cash: int) -> None:
    world = through(cod_world(("cup", 2)), delivered(cash=cash))
    (flag,) = world.facts_of(order.PaymentFlagged)
    assert (flag.provider, flag.amount, flag.due) == ("cash", cash, 2299)
    assert flag.reason_code == "cash-difference"
    assert world.sends_of(Notify)[-1].audience == "ops"
    assert world.order.state == "completed"


@pytest.mark.parametrize("packed", [1, 0])
def test_cash_for_units_that_were_not_in_the_parcel_is_flagged_however_late_that_is_told(
    packed: int,
) -> None:
    world = through(cod_world(("cup", 2)), delivered(cash=2299))
    for _ in range(2):
        through(world, picked((1, packed)))
    (flag,) = world.facts_of(order.PaymentFlagged)
    assert (flag.provider, flag.amount) == ("cash", 2299)
    assert world.order.state == "completed"
    assert world.cell("s-1", "cup") == (8, 0)


def test_a_late_pick_opens_a_difference_again_that_operations_had_closed() -> None:
    world = through(cod_world(("cup", 2)), delivered(cash=1299))
    through(world, order.ResolveFlag(part_id(), "eve", "the customer pays tomorrow"))
    assert not world.order.flags
    through(world, picked((1, 1)))  # 1299 was due, and paid: the books had written 1000 off
    assert list(world.order.flags or {}) == [part_id()]


def test_an_order_refused_at_the_door_counts_against_cash_on_delivery() -> None:
    world = through(
        cod_world(("cup", 2)), progress("picked_up"),
        order.RecordFailed(part_id(), 0.0, "r-1", "refused"), returned(),
    )  # fmt: skip
    assert world.order.state == "closed"
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.states["customer/c-1"].refusals == 1
    assert not refunded(world)


def test_a_pickup_paid_at_the_counter_ends_with_its_cash() -> None:
    world = cod_world(("cup", 1), delivery="pickup", store_id="s-2", address=None)
    through(world, progress("collected"))
    assert world.order.state == "cod_confirmed"
    through(world, order.RecordDelivered(part_id(), 0.0, cash=1000))
    assert world.order.state == "completed"
    assert world.cell("s-2", "cup") == (9, 0)
    assert not world.facts_of(order.PaymentFlagged)


def test_a_customer_who_does_not_come_is_reminded_once() -> None:
    world = through(paid_world(), progress("ready"))
    for _ in range(2):
        through(world, progress("uncollected", at=9.0))
    (told,) = [one for one in world.sends_of(Notify) if one.template == "parcel-uncollected"]
    assert told.audience.startswith("customer:")
    assert world.order.parts[0].state == "ready"
    through(world, progress("collected"), delivered())
    assert world.tell(progress("uncollected", at=9.0)) is None


def test_a_paid_pickup_ends_when_it_is_collected() -> None:
    world = paid_world(("cup", 1), delivery="pickup", store_id="s-2", address=None)
    through(world, progress("ready"), progress("collected"), delivered())
    assert world.order.state == "completed"
    assert len(world.facts_of(order.FulfilmentDelivered)) == 1


# Short picks --------------------------------------------------------------------------------------


def test_missing_units_of_a_paid_order_are_refunded_exactly_and_leave_the_books() -> None:
    world = through(paid_world(("tea", 3), ("cup", 1)), picked((1, 1), (2, 1)))
    assert refunded(world) == 666
    assert world.cell("s-1", "tea") == (7 - 0, 0)
    (corrected,) = world.sends_of(CorrectShort)
    assert corrected.items == (LockItem(line_id(1), "tea", 2),)
    through(world, picked((1, 1), (2, 1)), delivered())
    assert (refunded(world), world.order.state) == (666, "completed")
    line = world.tell(order.Get()).lines[0]
    assert (line.short_quantity, line.short_amount, line.refunded_amount) == (2, 0, 666)


def test_missing_units_of_a_cash_order_lower_the_cash() -> None:
    world = through(cod_world(("tea", 3), ("cup", 1)), picked((1, 1), (2, 1)))
    (revised,) = world.sends_of(store.ReviseTicket)
    assert revised.cash_due == 333 + 1000 + 299
    assert world.facts_of(order.FulfilmentPicked)[0].cash_due == revised.cash_due
    through(world, delivered(cash=revised.cash_due))
    assert not world.facts_of(order.PaymentFlagged)
    assert world.cell("s-1", "tea") == (7, 0)
    line = world.tell(order.Get()).lines[0]
    assert (line.short_quantity, line.short_amount, line.refunded_amount) == (2, 666, 0)


def test_a_short_combo_corrects_all_its_components() -> None:
    world = through(paid_world(("set", 2), ("pot", 1)), picked((1, 1), (2, 1)))
    assert refunded(world) == 1499
    assert {(item.sku, item.quantity) for item in world.sends_of(CorrectShort)[0].items} == {
        ("tea", 2), ("cup", 1),
    }  # fmt: skip


def test_a_fulfilment_with_nothing_in_it_is_cancelled_and_refunded_with_its_freight() -> None:
    world = through(paid_world(("cup", 2)), picked((1, 0)))
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total
    assert len(world.sends_of(payment.RefundPayment)) == 1
    assert world.locked_anywhere() == 0


def because(reason: str, *lines: int, of: tuple[tuple[int, int], ...]) -> order.RecordPicked:
    """The pick ``of`` these units; these ``lines`` are short for this reason."""
    reasons = tuple((line_id(line), reason) for line in lines)
    return replace(picked(*of), reasons=reasons)


def reasons(world: World) -> list[str]:
    return [fact.reason for fact in world.facts_of(order.RefundRequested)]


def test_unwanted_units_are_refunded_and_stay_in_stock() -> None:
    world = through(paid_world(("tea", 3), ("cup", 1)), because("unwanted", 1, of=((1, 1), (2, 1))))
    assert (refunded(world), reasons(world)) == (666, ["unwanted"])
    assert world.cell("s-1", "tea") == (7 + 2, 0)
    assert not world.sends_of(CorrectShort)
    through(world, because("unwanted", 1, of=((1, 1), (2, 1))), delivered())
    assert (refunded(world), world.order.state) == (666, "completed")
    line = world.tell(order.Get()).lines[0]
    assert (line.short_quantity, line.short_reason) == (2, "unwanted")


def test_unwanted_units_leave_the_lock_of_a_cash_order() -> None:
    world = through(cod_world(("tea", 3), ("cup", 1)), because("unwanted", 1, of=((1, 1), (2, 1))))
    assert world.cell("s-1", "tea") == (10, 1)
    (revised,) = world.sends_of(store.ReviseTicket)
    assert revised.cash_due == 333 + 1000 + 299
    through(world, delivered(cash=revised.cash_due))
    assert world.cell("s-1", "tea") == (9, 0)


def test_units_of_a_refused_substitute_were_not_there_and_are_not_sold_again() -> None:
    pick = because("substitute_refused", 1, of=((1, 1), (2, 1)))
    world = through(paid_world(("tea", 3), ("cup", 1)), pick)
    assert (refunded(world), reasons(world)) == (666, ["substitute_refused"])
    assert world.cell("s-1", "tea") == (7, 0)
    assert not world.sends_of(KeepOnShelf)
    line = world.tell(order.Get()).lines[0]
    assert (line.short_quantity, line.short_reason) == (2, "substitute_refused")
    world = through(cod_world(("tea", 3), ("cup", 1)), pick)
    assert world.cell("s-1", "tea") == (10 - 2, 1)
    assert world.sends_of(store.ReviseTicket)[0].cash_due == 333 + 1000 + 299


def test_a_short_line_is_missing_unless_the_store_says_otherwise() -> None:
    world = through(paid_world(("tea", 3), ("cup", 2)), picked((1, 1), (2, 2)))
    lines = world.tell(order.Get()).lines
    assert [line.short_reason for line in lines] == ["missing", ""]


def test_the_reasons_of_one_parcel_are_told_apart() -> None:
    pick = replace(
        picked((1, 1), (2, 1), (3, 0)),
        reasons=((line_id(2), "unwanted"), (line_id(3), "substitute_refused")),
    )
    world = through(paid_world(("tea", 3), ("cup", 2), ("pot", 1)), pick)
    assert sorted(reasons(world)) == ["short", "substitute_refused", "unwanted"]
    assert [item.sku for send in world.sends_of(CorrectShort) for item in send.items] == [
        "tea", "pot",
    ]  # fmt: skip
    assert [item.sku for send in world.sends_of(KeepOnShelf) for item in send.items] == ["cup"]


def test_a_parcel_of_which_nothing_is_wanted_is_cancelled_and_refunded_whole() -> None:
    world = paid_world(("cup", 2))
    before = world.cell("s-1", "cup")
    through(world, because("unwanted", 1, of=((1, 0),)))
    assert (world.order.state, refunded(world)) == ("cancelled", world.order.total)
    assert reasons(world) == ["unwanted"]
    assert world.cell("s-1", "cup") == (before[0] + 2, 0)


@pytest.mark.parametrize("make", [paid_world, cod_world])
def test_units_that_were_missing_leave_the_books_although_a_cancel_was_faster(make: Any) -> None:
    world = make(("tea", 3), ("cup", 2))
    through(world, order.Cancel("customer", "changed my mind"))
    assert (world.order.state, world.cell("s-1", "tea")) == ("cancelled", (10, 0))
    money = refunded(world)
    for _ in range(2):
        through(world, because("unwanted", 2, of=((1, 1), (2, 0))))
    assert world.cell("s-1", "tea") == (10 - 2, 0)
    assert world.cell("s-1", "cup") == (10, 0)
    assert (world.order.state, refunded(world)) == ("cancelled", money)
    assert not [notice for notice in world.sends_of(Notify) if notice.template.startswith("stock")]


@pytest.mark.parametrize("make", [paid_world, cod_world])
def test_an_empty_shelf_is_believed_although_a_cancel_was_faster(make: Any) -> None:
    world = make(("cup", 2))
    through(world, order.Cancel("customer", "changed my mind"))
    for _ in range(2):
        through(world, rejected(code=ALL_SHORT))
    assert (world.order.state, world.cell("s-1", "cup")) == ("cancelled", (10 - 2, 0))
    world = make(("cup", 2))
    through(world, order.Cancel("customer", "changed my mind"), rejected(reason="busy"))
    assert world.cell("s-1", "cup") == (10, 0)


@pytest.mark.parametrize("make", [paid_world, cod_world])
@pytest.mark.parametrize("cancelled_first", [False, True])
def test_what_was_packed_was_there_whatever_a_later_refusal_says(
    make: Any, cancelled_first: bool
) -> None:
    world = make(("tea", 2))
    if cancelled_first:
        through(world, order.Cancel("customer", "changed my mind"))
    for _ in range(2):
        through(world, because("missing", 1, of=((1, 1),)))
        through(world, rejected(code=ALL_SHORT))
    assert world.cell("s-1", "tea") == (10 - 1, 0)
    corrected = {each.document_id: each.items for each in world.sends_of(CorrectShort)}
    assert [item.quantity for (item,) in corrected.values()] == [1]


def test_units_kept_after_their_lock_was_released_are_free_already() -> None:
    world = cod_world(("tea", 3), ("cup", 1))
    world.ask("inventory/s-1", Release(part_id(1)))
    through(world, because("unwanted", 1, of=((1, 1), (2, 1))))
    assert len(world.sends_of(KeepOnShelf)) == 1
    assert world.cell("s-1", "tea") == (10, 0)
    assert not [notice for notice in world.sends_of(Notify) if notice.template.startswith("stock")]


def test_units_refunded_before_are_not_refunded_again_when_they_turn_out_short() -> None:
    world = paid_world(("tea", 3), ("cup", 1))
    units = (order.RefundUnits(line_id(1), 2),)
    through(world, order.RefundLines("r-1", units, "late", "ops:eve"), picked((1, 1), (2, 1)))
    assert refunded(world) == 666 + 333


def test_a_pick_report_that_comes_after_the_delivery_still_refunds() -> None:
    world = through(paid_world(("tea", 3), ("cup", 1)), delivered(), picked((1, 2), (2, 1)))
    assert refunded(world) == 333
    assert world.order.state == "completed"


# Rerouting ----------------------------------------------------------------------------------------


def test_a_rejected_fulfilment_goes_to_the_next_store_for_the_same_money() -> None:
    world = through(paid_world(("cup", 2)), rejected())
    (part,) = world.order.parts
    assert (part.fulfilment.store_id, part.fulfilment.fulfilment_id) == ("s-2", part_id(2))
    assert part.fulfilment.freight == 299
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.cell("s-2", "cup") == (8, 0)
    assert world.sends_of(store.OpenTicket)[-1].fulfilment_id == part_id(2)
    through(world, rejected(2, "s-2"))
    assert world.order.parts[0].fulfilment.store_id == "s-3"
    through(world, delivered(3))
    assert world.order.state == "completed"
    assert not refunded(world)


def test_a_rejected_cash_order_moves_its_lock() -> None:
    world = through(cod_world(("cup", 2)), rejected())
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.cell("s-2", "cup") == (10, 2)
    assert world.sends_of(store.OpenTicket)[-1].cash_due == 2299
    assert not world.sends_of(Return)


def test_a_part_that_no_single_store_can_take_over_is_split_exactly() -> None:
    stock = {"s-1": {"tea": 5, "cup": 5}, "s-2": {"tea": 5}, "s-3": {"cup": 5}}
    world = through(paid_world(("tea", 1), ("cup", 1), stock=stock), rejected())
    assert sorted(part.fulfilment.store_id for part in world.order.parts) == ["s-2", "s-3"]
    assert sum(part.fulfilment.freight for part in world.order.parts) == 299
    assert sum(line.amount for line in world.order.lines) == world.order.goods
    assert len(world.facts_of(order.FulfilmentRerouted)) == 2
    through(world, delivered(2), delivered(3))
    assert world.order.state == "completed"


def test_a_line_divided_by_a_reroute_keeps_its_exact_amount() -> None:
    stock = {"s-1": {"tea": 5}, "s-2": {"tea": 2}, "s-3": {"tea": 2}}
    world = through(paid_world(("tea", 3), stock=stock), rejected())
    assert sum(line.quantity for line in world.order.lines) == 3
    assert sum(line.amount for line in world.order.lines) == 999
    assert len({line.line_id for line in world.order.lines}) == len(world.order.lines) == 2
    through(world, order.Cancel("no"))
    assert refunded(world) == world.order.total
    assert world.cell("s-2", "tea") == world.cell("s-3", "tea") == (2, 0)


def test_without_another_store_it_is_parked_then_cancelled_and_refunded_at_its_deadline() -> None:
    world = through(paid_world(("cup", 2), stock=EVERYWHERE_OUT), rejected())
    assert states(world) == ["parked"]
    assert [(fact.why, fact.until) for fact in world.facts_of(order.FulfilmentParked)] == [
        ("short-stock", world.now + 1800)
    ]
    assert world.sends_of(Notify)[-1].template == "fulfilment-parked"
    assert world.cell("s-1", "cup") == (5, 0)
    assert not refunded(world)
    world.wake(world.now + 1799)
    assert states(world) == ["parked"]
    world.wake(world.now + 1)
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total
    assert world.states["customer/c-1"].open == {}


def test_a_pickup_is_never_sent_to_another_store() -> None:
    world = paid_world(("cup", 1), delivery="pickup", store_id="s-2", address=None)
    through(world, rejected(1, "s-2"))
    assert states(world) == ["parked"]
    assert [fact.why for fact in world.facts_of(order.FulfilmentParked)] == ["bound-to-store"]
    other = order.Reroute(part_id(), "s-1", "eve", "try")
    assert refused(world, other).code == "bound-to-store"
    through(world, order.Reroute(part_id(), "", "eve", "they are back"))
    assert world.order.parts[0].fulfilment.store_id == "s-2"


def test_operations_reroutes_a_parked_fulfilment_anywhere_or_to_one_store() -> None:
    world = through(paid_world(("cup", 2), stock=EVERYWHERE_OUT), rejected())
    there = order.Reroute(part_id(), "s-2", "eve", "they found some")
    assert refused(world, there).code == "short-stock"
    anywhere = order.Reroute(part_id(), "", "eve", "s-1 is free again")
    through(world, anywhere)
    assert world.order.parts[0].fulfilment.store_id == "s-1"
    assert world.cell("s-1", "cup") == (3, 0)
    assert refused(world, anywhere).code == "unknown-fulfilment"


def test_operations_gives_a_parked_fulfilment_up() -> None:
    world = through(paid_world(("cup", 2), stock=EVERYWHERE_OUT), rejected())
    through(world, order.CloseParked(part_id(), "eve", "customer was called"))
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total


def test_only_parked_fulfilments_are_rerouted_or_given_up_by_operations() -> None:
    world = paid_world()
    for command in (
        order.Reroute(part_id(), "", "eve", "why"),
        order.CloseParked(part_id(), "eve", "why"),
    ):
        problem = refused(world, command)
        assert (problem.code, problem.extra["state"]) == ("wrong-state", "new")


def test_a_store_whose_shelf_was_empty_does_not_get_the_units_back() -> None:
    world = through(paid_world(("cup", 2)), rejected(code=ALL_SHORT))
    assert world.order.parts[0].fulfilment.store_id == "s-2"
    assert world.cell("s-1", "cup") == (8, 0)
    assert not world.sends_of(Return)
    world = through(cod_world(("cup", 2)), rejected(code=ALL_SHORT))
    assert world.cell("s-1", "cup") == (8, 0)


OLD = "nothing on the list was there"
"""What a counter said of an empty shelf before there were codes."""


@pytest.mark.parametrize(
    ("reason", "code", "on_hand"),
    [("reworded", ALL_SHORT, 8), (OLD, None, 8), (OLD, "", 10), (ALL_SHORT, "", 10)],
)
def test_stock_goes_by_a_refusals_code_and_not_by_what_somebody_typed(
    reason: str, code: str | None, on_hand: int
) -> None:
    world = through(paid_world(("cup", 2)), rejected(reason=reason, code=code))
    assert world.order.parts[0].fulfilment.store_id == "s-2"
    assert world.cell("s-1", "cup") == (on_hand, 0)


def test_a_parked_part_tells_apart_what_its_store_said_and_why_no_other_serves_it() -> None:
    said = "oven broken; call us"
    world = through(paid_world(("cup", 2), stock=EVERYWHERE_OUT), rejected(reason=said))
    (parked,) = world.facts_of(order.FulfilmentParked)
    assert (parked.reason, parked.reason_code, parked.why) == (said, "", "short-stock")
    (part,) = world.ask(f"order/{world.order.order_id}", order.Get()).fulfilments
    assert part.reason == f"{said}; {parked.detail}"
    assert (part.reason_code, part.why) == ("", "short-stock")
    assert world.sends_of(Notify)[-1].facts["reason"] == part.reason


def test_a_store_that_types_the_code_of_a_lost_lock_has_refused_all_the_same() -> None:
    world = through(paid_world(("cup", 2)), rejected(reason=LOCK_GONE))
    assert world.order.refused == ["s-1"]


def test_a_reroute_that_loses_a_race_tries_the_next_store() -> None:
    world = paid_world(("cup", 2))

    def rival(world: World, store_id: str, lock: Lock) -> None:
        assert store_id == "s-2"
        item = LockItem("rival/1", "cup", 10)
        world.ask("inventory/s-2", Lock("rival-1", "rival", (item,), None))

    world.before_lock = rival
    through(world, rejected())
    assert world.order.parts[0].fulfilment.store_id == "s-3"


# Cancelling ---------------------------------------------------------------------------------------


def test_an_unpaid_order_is_cancelled_at_once() -> None:
    world = through(placed_world(("cup", 2)), order.Cancel("no"))
    assert world.order.state == "cancelled"
    assert world.locked_anywhere() == 0
    assert len(world.sends_of(Release)) == 1


@pytest.mark.parametrize("answer", ["cancelled", "unknown"])
def test_a_paid_order_whose_store_lets_go_is_cancelled_refunded_and_restocked(answer: str) -> None:
    world = paid_world(("cup", 2))
    world.cancel_answers[part_id()] = answer
    through(world, order.Cancel("no"))
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total
    assert world.cell("s-1", "cup") == (10, 0)
    assert bool(world.sends_of(store.CancelTicket)) == (answer == "unknown")


def test_a_cash_order_that_is_cancelled_releases_its_lock() -> None:
    world = through(cod_world(("cup", 2)), order.Cancel("no"))
    assert world.order.state == "cancelled"
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.sends_of(Release)
    assert not refunded(world)


def cancelling() -> World:
    world = through(paid_world(("cup", 2)), progress("picking"))
    world.cancel_answers[part_id()] = "confirming"
    through(world, order.Cancel("no"))
    assert world.order.state == "cancelling"
    assert not refunded(world)
    return world


def test_while_picking_the_clerk_decides_held_back_means_cancelled() -> None:
    world = through(cancelling(), returned(damaged=((line_id(), 1),)))
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.states["inventory/s-1"].cells["cup"].damaged == 1


def test_while_picking_the_clerk_decides_already_left_means_the_order_goes_on() -> None:
    world = through(cancelling(), returned(accepted=False))
    assert (world.order.state, world.order.reason) == ("paid", "already-left")
    through(world, delivered())
    assert world.order.state == "completed"
    assert not refunded(world)


def test_an_order_delivered_while_cancelling_is_delivered() -> None:
    world = through(cancelling(), delivered(), returned(accepted=False))
    assert world.order.state == "completed"


def test_a_rejection_while_cancelling_is_a_cancel() -> None:
    world = through(cancelling(), rejected())
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total


def test_goods_that_left_refuse_the_cancel_and_change_nothing() -> None:
    world = through(paid_world(), progress("picked_up"))
    assert refused(world, order.Cancel("no")).code == "already-left"
    world = paid_world()
    world.cancel_answers[part_id()] = "left"
    assert refused(world, order.Cancel("no")).code == "already-left"


def test_of_a_split_order_what_is_still_in_a_store_is_cancelled_and_the_rest_goes_on() -> None:
    world = through(split_world(), progress("picked_up", 1))
    view = world.tell_and_run(order.Cancel("no"))
    assert view.state == "paid"
    assert view.reason.startswith("already-left")
    assert sorted(states(world)) == ["cancelled", "picked_up"]
    gone = next(part for part in world.order.parts if part.state == "cancelled")
    cost = sum(
        line.amount for line in world.order.lines
        if line.fulfilment_id == gone.fulfilment.fulfilment_id
    )  # fmt: skip
    assert refunded(world) == cost + gone.fulfilment.freight
    through(world, delivered(1))
    assert world.order.state == "completed"


def test_a_split_order_waits_for_every_clerk_and_then_ends_as_they_say() -> None:
    def waiting() -> World:
        world = split_world()
        world.cancel_answers = {part_id(1): "confirming", part_id(2): "confirming"}
        return through(world, order.Cancel("no"))

    world = through(waiting(), returned(1, "s-1"))
    assert world.order.state == "cancelling"
    through(world, returned(2, "s-2"))
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total

    world = through(waiting(), returned(1, "s-1", accepted=False), returned(2, "s-2"))
    assert world.order.state == "paid"
    assert sorted(states(world)) == ["cancelled", "new"]
    through(world, delivered(1))
    assert world.order.state == "completed"


def test_cancelling_twice_is_cancelling_once() -> None:
    world = cancelling()
    before = len(world.facts)
    assert world.tell(order.Cancel("again")).state == "cancelling"
    assert len(world.facts) == before


def test_goods_held_back_by_a_store_nobody_asked_are_cancelled_too() -> None:
    world = through(paid_world(("cup", 2)), returned())
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total


# Failed and returned ------------------------------------------------------------------------------


def failed(number: int = 1) -> order.RecordFailed:
    return order.RecordFailed(part_id(number), 0.0, "r-1", "absent")


@pytest.mark.parametrize("commands", [(failed(), returned()), (returned(), failed())])
def test_undelivered_goods_come_back_and_all_that_was_paid_goes_back(commands: Any) -> None:
    world = through(paid_world(("cup", 2)), progress("picked_up"), *commands)
    assert world.order.state == "closed"
    assert states(world) == ["returned"]
    assert refunded(world) == world.order.total
    assert world.cell("s-1", "cup") == (10, 0)
    assert len(world.sends_of(payment.RefundPayment)) == 1


def test_damaged_units_come_back_but_are_not_sold_again() -> None:
    world = through(
        paid_world(("set", 2)), progress("picked_up"), failed(), returned(damaged=((line_id(), 1),))
    )
    cells = world.states["inventory/s-1"].cells
    assert (cells["tea"].on_hand, cells["tea"].damaged) == (10, 2)
    assert (cells["cup"].on_hand, cells["cup"].damaged) == (10, 1)


def test_of_a_split_order_the_undelivered_part_is_refunded_with_its_freight() -> None:
    world = through(split_world(), progress("picked_up", 1), failed(1), delivered(2))
    assert world.order.state == "paid"
    through(world, returned(1, world.order.parts[0].fulfilment.store_id))
    assert world.order.state == "completed"
    kept = sum(line.amount for line in world.order.lines if line.fulfilment_id == part_id(2))
    kept += world.order.parts[1].fulfilment.freight
    assert refunded(world) == world.order.total - kept


def test_goods_that_come_back_after_stock_forgot_their_sale_are_taken_on_the_orders_word() -> None:
    world = through(paid_world(("cup", 2)), progress("picked_up"))
    world.states["inventory/s-1"].sales = History()
    world.now += 2 * REMEMBERED_S
    through(world, failed(), returned())
    assert world.cell("s-1", "cup") == (10, 0)
    assert [one.sold_long_ago for one in world.sends_of(Return)] == [False, True]
    assert not [one for one in world.sends_of(Notify) if one.template == "stock-unexplained"]


def test_a_return_that_overtakes_its_sale_still_frees_the_stock() -> None:
    world = placed_world(("cup", 2))
    world.tell_and_run(order.StartPayment("p", "sandbox"))
    world.tell(order.RecordPayment("p", "sandbox", "ref", "captured", 2299, "EUR"))
    world.tell(order.Cancel("no"))
    while world.queue:
        world.deliver(len(world.queue) - 1)
    assert world.cell("s-1", "cup") == (10, 0)
    assert refunded(world) == 2299


# Every state, every command -----------------------------------------------------------------------


def _completed() -> World:
    return through(paid_world(), delivered())


def _closed() -> World:
    return through(paid_world(), progress("picked_up"), failed(), returned())


def _cancelled() -> World:
    return through(placed_world(), order.Cancel("no"))


WORLDS = {
    "placed": placed_world,
    "paid": paid_world,
    "cod_confirmed": cod_world,
    "cancelling": cancelling,
    "completed": _completed,
    "closed": _closed,
    "cancelled": _cancelled,
}
UNITS = (order.RefundUnits(line_id(), 1),)
COMMANDS = {
    "pay": order.StartPayment("p-new", "sandbox"),
    "cancel": order.Cancel("no"),
    "refund": order.RefundLines("r-new", UNITS, "why", "ops:eve"),
    "reroute": order.Reroute(part_id(), "", "eve", "why"),
    "close": order.CloseParked(part_id(), "eve", "why"),
}
ALLOWED = {
    ("placed", "pay"), ("placed", "cancel"), ("paid", "cancel"), ("paid", "refund"),
    ("cod_confirmed", "cancel"), ("cancelling", "cancel"), ("cancelling", "refund"),
    ("completed", "refund"), ("cancelled", "cancel"),
}  # fmt: skip
OTHERWISE = {("cod_confirmed", "refund"): "refund-by-cash", ("closed", "refund"): "refund-exceeds"}


@pytest.mark.parametrize("state", WORLDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_each_state_takes_what_it_may_and_refuses_the_rest_naming_itself(
    state: str, name: str
) -> None:
    world = WORLDS[state]()
    assert world.order.state == state
    if (state, name) in ALLOWED:
        world.tell_and_run(COMMANDS[name])
        return
    problem = refused(world, COMMANDS[name])
    assert problem.code == OTHERWISE.get((state, name), "wrong-state")
    if problem.code == "wrong-state":
        assert problem.extra["state"] in (state, *states(world))


def test_every_store_of_the_world_is_used_by_name() -> None:
    assert set(World().stock) == set(STORES)


def test_a_release_that_overtakes_a_short_pick_still_corrects_the_books() -> None:
    world = cod_world(("tea", 3), ("cup", 1))
    world.tell(picked((1, 1), (2, 1)))
    world.tell(order.Cancel("no"))
    while world.queue:
        world.deliver(len(world.queue) - 1)
    assert world.cell("s-1", "tea") == (8, 0)
    assert world.cell("s-1", "cup") == (10, 0)
