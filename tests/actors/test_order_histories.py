"""Whatever happens to an order, in whatever order the news comes: no cent and no unit is lost."""

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actors.engine.kind import Wake
from actors.order import KIND
from domain import order
from domain.errors import DoorstepError, Refused
from domain.inventory.commands import CorrectShort, Lock, LockItem
from domain.inventory.state import Deed
from domain.notice import Notify
from domain.order.money import cash_due
from domain.order.state import FINAL_PARTS, FINAL_STATES, Part, lines_of, units_due
from domain.reasons import ALL_SHORT
from domain.store.commands import SHORT_REASONS
from tests.fakes.order_world import START, World, captured, payment_of, place

STOCK = {
    "s-1": {"tea": 9, "cup": 4, "pot": 3},
    "s-2": {"tea": 5, "cup": 3},
    "s-3": {"tea": 4, "pot": 6, "cup": 1},
}
REPORTS = ("accepted", "picking", "ready", "rider_assigned", "at_store", "picked_up", "at_customer")
ANSWERS = ("cancelled", "unknown", "confirming", "left")
STEPS = (
    "pay", "capture", "capture", "capture", "misfit", "fail", "cancel", "report", "report",
    "picked", "rejected", "delivered", "undelivered", "returned", "refund", "reroute", "close",
    "time", "time", "deliver", "deliver", "deliver", "run", "confirm", "rival", "wake",
)  # fmt: skip

step = st.tuples(st.sampled_from(STEPS), st.integers(0, 7), st.integers(0, 7), st.booleans())
wish = st.lists(
    st.tuples(st.sampled_from(["tea", "cup", "pot", "set"]), st.integers(1, 4)),
    min_size=1, max_size=3,
)  # fmt: skip


class History:
    """Plays random steps on a world and knows what was captured and what rivals hold."""

    def __init__(self, goods: list[tuple[str, int]], cod: bool) -> None:
        self.world = World(stock={name: dict(units) for name, units in STOCK.items()})
        self.rivals = 0
        self.world.tell_and_run(place(*goods, payment="cod" if cod else "online"))

    def play(self, name: str, a: int, b: int, flag: bool) -> None:
        world = self.world
        world.now += 1.0
        number = 1 + a % 3
        match name:
            case "pay":
                self.try_(order.StartPayment(payment_of(number), "sandbox"))
            case "capture":
                self.try_(captured(world.order.total, number))
            case "misfit":
                self.try_(captured(world.order.total + b + 1, number))
            case "fail":
                self.try_(captured(0, number, status="failed"))
            case "cancel":
                for part in world.order.parts:
                    world.cancel_answers[part.fulfilment.fulfilment_id] = ANSWERS[b % 4]
                    b += a
                self.try_(order.Cancel("random"))
            case "time":
                world.now += (1.0, 20.0, 100.0, 400.0)[b % 4]
            case "wake":
                if KIND.wake_at(world.order) <= world.now:
                    self.try_(Wake())
            case "deliver":
                if world.queue:
                    world.deliver((a * 8 + b) % len(world.queue), repeat=flag)
            case "run":
                world.run()
            case "rival":
                self.rival(f"s-{1 + a % 3}", ("tea", "cup", "pot")[b % 3])
            case _:
                part = world.order.parts[a % len(world.order.parts)]
                self.report(name, part, b, flag)

    def report(self, name: str, part: Part, b: int, flag: bool) -> None:
        world = self.world
        fulfilment_id, store_id = part.fulfilment.fulfilment_id, part.fulfilment.store_id
        lines = lines_of(world.order, part)
        at = world.now
        commands: dict[str, Any] = {
            "report": order.RecordProgress(fulfilment_id, REPORTS[b % 7], at, "r-1"),
            "picked": order.RecordPicked(
                fulfilment_id, store_id,
                tuple((line.line_id, max(0, line.quantity - b % 3)) for line in lines), at,
                tuple(
                    (line.line_id, SHORT_REASONS[(b + at_line) % 3])
                    for at_line, line in enumerate(lines)
                ) if flag else (),
            ),
            "rejected": order.RecordRejected(
                fulfilment_id, store_id, "busy", at, ALL_SHORT if flag else ""
            ),
            "delivered": order.RecordDelivered(
                fulfilment_id, at, "r-1", cash_due(world.order, part) + (b == 7)
            ),
            "undelivered": order.RecordFailed(fulfilment_id, at, "r-1", "absent"),
            "returned": order.RecordReturned(
                fulfilment_id, store_id, at, flag,
                tuple((line.line_id, 1) for line in lines if b % 2),
            ),
            "confirm": order.ConfirmLock(fulfilment_id, store_id),
            "reroute": order.Reroute(fulfilment_id, store_id if flag else "", "eve", "random"),
            "close": order.CloseParked(fulfilment_id, "eve", "random"),
            "refund": order.RefundLines(
                f"refund-{b}",
                tuple(order.RefundUnits(line.line_id, 1) for line in lines), "random", "ops:eve",
            ),
        }  # fmt: skip
        self.try_(commands[name])

    def try_(self, command: Any) -> None:
        with suppress(Refused):
            self.world.tell(command)

    def rival(self, store_id: str, sku: str) -> None:
        lock = Lock(f"rival-{self.world.commands}", "rival", (LockItem("r/1", sku, 1),), None)
        try:
            self.world.ask(f"inventory/{store_id}", lock)
            self.rivals += 1
        except DoorstepError:
            pass

    def finish(self) -> None:
        """Deliver what is owed, let time pass, and bring every part to its end."""
        world = self.world
        world.run()
        world.wake(START + 100_000)
        for _ in range(len(world.order.parts) * 3):
            for part in world.order.parts:
                name = "returned" if part.state == "returning" else "delivered"
                self.report(name, part, 0, True)
                world.run()
            world.wake(world.now + 100_000)

    # What must hold -------------------------------------------------------------------------------

    def check_money(self) -> None:
        state = self.world.order
        refunds = self.world.facts_of(order.RefundRequested)
        assert len({refund.refund_id for refund in refunds}) == len(refunds)
        for payment_id, payment in state.payments.items():
            back = sum(each.amount for each in refunds if each.payment_id == payment_id)
            taken = [
                fact.amount
                for kind in (order.Paid, order.PaymentFlagged)
                for fact in self.world.facts_of(kind)
                if fact.payment_id == payment_id
            ]
            assert len(set(taken)) == len(taken)  # none counted twice
            if payment.kept:
                assert sum(taken) == self.kept() + back
            else:
                assert back == sum(taken)
        assert sum(payment.kept for payment in state.payments.values()) <= 1
        assert sum(line.amount for line in state.lines) == state.goods
        assert sum(part.fulfilment.freight for part in state.parts) == state.freight
        for refund in refunds:
            assert refund.amount == refund.freight + sum(line.amount for line in refund.lines) or (
                not refund.lines
            )

    def kept(self) -> int:
        """What the order's one payment still pays for."""
        state = self.world.order
        goods = 0
        for line in state.lines:
            mark = state.marks.get(line.line_id)
            amount, units = (mark.amount, mark.refunded) if mark else (0, 0)
            assert 0 <= units <= line.quantity
            assert amount == line.amount * units // line.quantity
            goods += line.amount - amount
        freight = sum(part.fulfilment.freight for part in state.parts if not part.freight_refunded)
        return goods + freight

    def check_end(self) -> None:
        world = self.world
        state = world.order
        assert state.state in FINAL_STATES
        assert all(part.state in FINAL_PARTS for part in state.parts)
        assert all(refund.state == "done" for refund in state.refunds.values())
        assert KIND.wake_at(state) == float("inf")
        assert (KIND.finished_at(state) < float("inf")) == (not state.flags)
        for part in state.parts:
            if part.state in ("cancelled", "returned") and state.kept:
                left = [
                    line for line in lines_of(state, part)
                    if line.amount and (state.marks[line.line_id].refunded != line.quantity)
                ]  # fmt: skip
                assert not left
        assert world.locked_anywhere() == self.rivals
        on_hand = sum(
            cell.on_hand for name in STOCK
            for cell in world.states[f"inventory/{name}"].cells.values()
        )  # fmt: skip
        delivered = sum(
            units_due(state, line) * sum(unit.quantity for unit in line.stock)
            for part in state.parts if part.state in ("completed", "delivered", "collected")
            for line in lines_of(state, part)
        )  # fmt: skip
        missing = 0
        for command in {each.document_id: each for each in world.sends_of(CorrectShort)}.values():
            if any(
                world.states[f"inventory/{name}"].has_seen(Deed.SHORT, command.document_id)
                for name in STOCK
            ):
                missing += sum(item.quantity for item in command.items)
            else:  # a rival was promised them in the meantime: operations count the shelf
                assert "stock-unexplained" in [each.template for each in world.sends_of(Notify)]
        received = sum(sum(goods.values()) for goods in STOCK.values())
        assert received == on_hand + delivered + missing


def _history(goods: list[tuple[str, int]], cod: bool) -> History | None:
    try:
        return History(goods, cod)
    except DoorstepError:
        return None


@settings(
    max_examples=250, deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip
@given(goods=wish, cod=st.booleans(), steps=st.lists(step, max_size=40), paid=st.booleans())
@example([("tea", 2)], True, [("picked", 0, 1, False), ("rejected", 0, 0, True)], False)
@example([("tea", 2)], False, [("picked", 0, 1, False), ("rejected", 0, 0, True)], True)
@example(
    [("pot", 4)], True,
    [("rejected", 0, 0, True), ("cancel", 0, 0, False), ("picked", 0, 1, False),
     ("deliver", 1, 1, False)],
    False,
)  # fmt: skip
@example(
    [("tea", 1), ("set", 4)], True,
    [("cancel", 0, 0, False), ("rejected", 0, 0, True), ("deliver", 0, 0, False),
     ("rival", 0, 0, False)],
    False,
)  # fmt: skip
@example(
    [("tea", 3)],
    False,
    [
        ("cancel", 0, 0, False),
        ("run", 0, 0, False),
        ("picked", 0, 1, False),
        ("rejected", 0, 0, True),
        ("picked", 0, 2, False),
    ],
    True,
)
def test_no_cent_and_no_unit_is_lost(
    goods: list[tuple[str, int]], cod: bool, steps: list[Any], paid: bool
) -> None:
    history = _history(goods, cod)
    if history is None:
        return
    if paid and not cod:
        history.play("pay", 0, 0, False)
        history.play("capture", 0, 0, False)
    for name, a, b, flag in steps:
        history.play(name, a, b, flag)
        history.check_money()
    history.finish()
    history.check_money()
    history.check_end()
