"""What operations mends: flags, refused refunds, goods that left without a lock, lost answers."""

from typing import Any

from actors import store as store_kind
from actors.engine.kind import Context
from domain import order, store
from domain.inventory.commands import Lock, LockItem, RecordSale, Release
from domain.order.view import view
from domain.payment import ProviderAnswer, RefundPayment
from tests.fakes.order_world import (
    World,
    captured,
    line_id,
    paid_world,
    part_id,
    payment_of,
    placed_world,
    refused,
)

RESOLVE = order.ResolveFlag(part_id(), "ops:eve", "the customer paid the rest")


def on_the_way(*goods: tuple[str, int]) -> World:
    """A cash order that its rider carries."""
    world = placed_world(*goods, payment="cod")
    for state in ("accepted", "picking", "ready"):
        world.tell_and_run(order.RecordProgress(part_id(), state, world.now))
    world.tell(order.RecordProgress(part_id(), "picked_up", world.now, "r-1"))
    return world


def short_paid() -> World:
    """Delivered for one cent less than was due."""
    world = on_the_way(("cup", 2))
    world.run()
    due = view(world.order).fulfilments[0].cash_due
    world.tell_and_run(order.RecordDelivered(part_id(), world.now, "r-1", due - 1))
    return world


def test_a_flag_is_closed_once_with_who_and_why() -> None:
    world = short_paid()
    assert world.order.flags == {part_id(): "cash 2298 taken, 2299 due"}
    world.tell_and_run(RESOLVE)
    (closed,) = world.facts_of(order.FlagResolved)
    assert (closed.by, closed.why) == ("ops:eve", "the customer paid the rest")
    assert world.order.flags is None
    assert refused(world, RESOLVE).code == "unknown-flag"


def test_a_flagged_payment_is_closed_and_stays_refused_for_the_order() -> None:
    world = placed_world()
    world.tell_and_run(order.StartPayment(payment_of(), "sandbox"))
    world.tell_and_run(captured(1))
    world.tell_and_run(order.ResolveFlag(payment_of(), "ops:eve", "seen"))
    assert world.order.payments[payment_of()].state == "flagged"
    world.tell_and_run(captured(1))
    assert len(world.facts_of(order.PaymentFlagged)) == 1


def test_nothing_flagged_there_is_nothing_to_resolve() -> None:
    assert refused(paid_world(), RESOLVE).code == "unknown-flag"


def test_a_refused_refund_is_asked_for_again_and_made() -> None:
    world = paid_world()
    world.provider_says = lambda command: ProviderAnswer(
        payment_of(), "refused", refund_id=getattr(command, "refund_id", ""), reason="closed"
    )
    world.tell_and_run(order.Cancel("no"))
    (refund_id,) = world.order.refunds
    assert world.order.refunds[refund_id].state == "refused"
    world.provider_says = None
    retry = order.RetryRefund(refund_id, "ops:eve", "the account is open again")
    world.tell(retry)
    assert world.order.refunds[refund_id].state == "requested"
    world.run()
    assert world.order.refunds[refund_id].state == "done"
    first, again = world.sends_of(RefundPayment)
    assert first == again, "the provider knows it by the same id"
    (fact,) = world.facts_of(order.RefundRetried)
    assert (fact.by, fact.why) == ("ops:eve", "the account is open again")
    assert refused(world, retry).code == "wrong-state"
    assert refused(world, order.RetryRefund("r-9", "ops:eve", "why")).code == "unknown-refund"


def lose_lock(world: World) -> None:
    """The lock is given back behind the order's back, then what is owed arrives."""
    world.ask("inventory/s-1", Release(part_id(), "expired"))
    world.run()


def test_goods_that_left_without_a_lock_leave_the_books_once() -> None:
    world = on_the_way(("cup", 2))
    lose_lock(world)
    assert world.cell("s-1", "cup") == (8, 0)
    (command,) = world.sends_of(RecordSale)
    world.ask("inventory/s-1", command)
    assert world.cell("s-1", "cup") == (8, 0)


def test_a_sale_of_goods_that_still_have_their_lock_takes_it() -> None:
    world = on_the_way(("cup", 2))
    items = (LockItem(line_id(), "cup", 2),)
    world.ask("inventory/s-1", RecordSale(part_id(), world.order.order_id, items))
    world.run()
    assert world.cell("s-1", "cup") == (8, 0)


def test_goods_that_somebody_else_was_promised_meanwhile_are_an_anomaly() -> None:
    world = on_the_way(("cup", 8))
    world.ask("inventory/s-1", Release(part_id(), "expired"))
    world.ask("inventory/s-1", Lock("rival-1", "rival", (LockItem("rival/1", "cup", 9),), None))
    lose_lock(world)
    assert world.cell("s-1", "cup") == (2, 9)
    assert world.states["inventory/s-1"].cells["cup"].anomalous


def test_goods_without_a_lock_that_come_back_end_where_they_began() -> None:
    world = on_the_way(("cup", 2))
    world.tell(order.RecordFailed(part_id(), world.now, "r-1", "absent"))
    back = ((line_id(), 1),)
    world.tell(order.RecordReturned(part_id(), "s-1", world.now, True, back))
    lose_lock(world)
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.states["inventory/s-1"].cells["cup"].damaged == 1


def cancelled_at_store(state: Any, fulfilment_id: str, world: World) -> Any:
    context = Context(world.now, "s-1", "command", "", world.views)
    return store_kind.KIND.decide(state, store.CancelTicket(fulfilment_id, "no"), context)


def test_a_store_that_let_go_heals_an_order_that_died_before_it_could_say_so() -> None:
    world = paid_world(("cup", 2))
    opened = world.sends_of(store.OpenTicket)[0]
    context = Context(world.now, "s-1", "command", "", world.views)
    state: Any = None
    for event in store_kind.KIND.decide(None, opened, context).events:  # type: ignore[union-attr]
        state = store_kind.KIND.evolve(state, event)
    decision = cancelled_at_store(state, part_id(), world)
    assert decision.reply == "cancelled"
    owed = [s.command for s in decision.sends if isinstance(s.command, order.RecordReturned)]
    (told,) = owed  # the order's own append never happened: this is all it will ever hear
    world.tell_and_run(told)
    assert world.order.state == "cancelled"
    assert sum(refund.amount for refund in world.order.refunds.values()) == world.order.total
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.tell(order.Cancel("no")).state == "cancelled", "the customer's retry is answered"


def test_an_order_that_is_cancelled_already_ignores_that_its_store_let_go() -> None:
    world = paid_world(("cup", 2))
    world.tell_and_run(order.Cancel("no"))
    facts = len(world.facts)
    world.tell_and_run(order.RecordReturned(part_id(), "s-1", world.now, True))
    assert len(world.facts) == facts


def test_revisions_of_a_ticket_carry_their_time() -> None:
    world = placed_world(("cup", 2), ("tea", 1), payment="cod")
    world.now += 5
    world.tell_and_run(
        order.RecordPicked(part_id(), "s-1", ((line_id(), 1), (line_id(2), 1)), world.now)
    )
    (revised,) = world.sends_of(store.ReviseTicket)
    assert revised.at == world.now
