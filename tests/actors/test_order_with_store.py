"""The order and the store's counter together: what clerks do, as the order and its money see it."""

from typing import Any

import pytest

from actors import store as store_kind
from actors.engine.kind import Context, Wake
from domain import order, store
from tests.fakes.order_world import World, captured, line_id, part_id, payment_of, place

TICKET = part_id()


class Counter(World):
    """A world whose stores are real; dispatch and riders say yes to everything."""

    def ask(self, to: str, command: Any, command_id: str = "") -> Any:
        kind, _, entity = to.partition("/")
        if kind in ("dispatch", "rider"):
            return True
        if kind != "store":
            return super().ask(to, command, command_id)
        context = Context(self.now, entity, "command", "", self.views)
        decision = store_kind.KIND.decide(self.states.get(to), command, context)
        for event in decision.events:  # type: ignore[union-attr]
            self.states[to] = store_kind.KIND.evolve(self.states.get(to), event)
            self.views.apply("store", entity, event, self.now)
        self.queue += [(to, send) for send in decision.sends]  # type: ignore[union-attr]
        return decision.reply  # type: ignore[union-attr]

    def clerk(self, *commands: Any) -> None:
        """What the clerk of ``s-1`` does, and all that follows."""
        for command in commands:
            self.ask("store/s-1", command)
            self.run()


def counter(*goods: tuple[str, int], **changes: Any) -> Counter:
    world = Counter()
    world.tell_and_run(place(*goods, **changes))
    if changes.get("payment") != "cod":
        world.tell_and_run(order.StartPayment(payment_of(), "sandbox"))
        world.tell_and_run(captured(world.order.total))
    return world


def picking(world: Counter) -> Counter:
    world.clerk(store.AcceptTicket(TICKET), store.StartPicking(TICKET))
    return world


def refunded(world: World) -> int:
    return sum(refund.amount for refund in world.order.refunds.values())


def test_a_clerk_takes_an_order_to_ready_and_the_order_follows() -> None:
    world = counter(("cup", 2))
    for command, state in (
        (store.AcceptTicket(TICKET), "accepted"),
        (store.StartPicking(TICKET), "picking"),
        (store.MarkReady(TICKET), "ready"),
    ):
        world.clerk(command)
        assert world.order.parts[0].state == state


def test_a_short_pick_refunds_and_the_rest_can_still_be_cancelled_by_the_clerk() -> None:
    world = picking(counter(("cup", 2), ("tea", 3)))
    world.clerk(store.PickLine(TICKET, line_id(2), 1), store.MarkReady(TICKET))
    assert refunded(world) == 666
    assert world.tell_and_run(order.Cancel("no")).state == "cancelling"
    world.clerk(store.ConfirmHeldBack(TICKET, True))
    assert world.order.state == "cancelled"
    assert refunded(world) == world.order.total
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.cell("s-1", "tea") == (8, 0)


def test_an_accepted_ticket_is_cancelled_without_a_clerk() -> None:
    world = counter(("cup", 2))
    world.clerk(store.AcceptTicket(TICKET))
    assert world.tell_and_run(order.Cancel("no")).state == "cancelled"
    assert world.cell("s-1", "cup") == (10, 0)


def test_goods_the_clerk_cannot_find_any_more_go_on() -> None:
    world = picking(counter(("cup", 2)))
    world.tell_and_run(order.Cancel("no"))
    world.clerk(store.ConfirmHeldBack(TICKET, False))
    assert (world.order.state, refunded(world)) == ("paid", 0)


@pytest.mark.parametrize("empty", [True, False])
def test_a_ticket_refused_or_found_empty_goes_to_the_next_store(empty: bool) -> None:
    world = counter(("cup", 2))
    if empty:
        picking(world)
        world.clerk(store.PickLine(TICKET, line_id(), 0), store.MarkReady(TICKET))
    else:
        world.clerk(store.RejectTicket(TICKET, "too busy"))
    assert world.order.parts[0].fulfilment.store_id == "s-2"
    assert world.cell("s-1", "cup") == ((8, 0) if empty else (10, 0))
    assert world.cell("s-2", "cup") == (8, 0)


def test_a_ticket_nobody_accepts_goes_to_the_next_store() -> None:
    world = counter(("cup", 2))
    for _ in range(4):
        world.now += 400
        world.ask("store/s-1", Wake())
        world.run()
    assert world.order.parts[0].fulfilment.store_id == "s-2"


def test_a_customer_collects_with_the_code_and_pays_at_the_counter() -> None:
    world = counter(("cup", 2), payment="cod", delivery="pickup", store_id="s-1", address=None)
    picking(world).clerk(store.MarkReady(TICKET))
    world.clerk(store.Collect(TICKET, world.order.pickup_code, 2000))
    assert world.order.state == "completed"
    assert world.tell(order.Get()).cash_collected == 2000
    assert not world.facts_of(order.PaymentFlagged)
    assert world.cell("s-1", "cup") == (8, 0)


def test_a_cash_ticket_with_a_short_pick_asks_for_less() -> None:
    world = picking(counter(("cup", 2), payment="cod"))
    world.clerk(store.PickLine(TICKET, line_id(), 1), store.MarkReady(TICKET))
    assert world.ask("store/s-1", store.GetTicket(TICKET)).cash_due == 1299


def test_an_order_cancelled_before_its_ticket_arrived_leaves_no_ghost_at_the_store() -> None:
    world = Counter()
    world.tell_and_run(place(("cup", 2)))
    world.tell_and_run(order.StartPayment(payment_of(), "sandbox"))
    world.tell(captured(world.order.total))
    assert world.tell(order.Cancel("no")).state == "cancelled"
    world.run()
    assert not world.states["store/s-1"].tickets
    assert refunded(world) == world.order.total
    assert world.cell("s-1", "cup") == (10, 0)
