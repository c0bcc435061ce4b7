"""Open orders and their fulfilments as the monitor sees them: states, ages, what is stuck.

Per order a few hundred bytes, let go when the order ends. Each event costs O(log n).
"""

from collections.abc import Callable
from typing import Any

from domain import order
from domain.order.ids import order_of
from domain.order.state import CASH, FINAL_PARTS, FINAL_STATES, OrderState
from domain.reasons import CASH_DIFFERENCE, cash_difference_before
from orchestrator.monitor.anomalies import Anomalies
from orchestrator.monitor.order_anomalies import OrderAnomalies
from orchestrator.monitor.rates import Rates
from orchestrator.monitor.stages import Stages
from orchestrator.monitor.tracked import GRACE_S, TrackedOrder, TrackedPart, tracked_parts

__all__ = ["OrderBook"]

CANCELLING_S = 900.0
FUNNEL = (
    "placed", "confirmed", "accepted", "picking", "ready", "picked_up", "delivered", "completed",
    "cancelled",
)  # fmt: skip
CONFIRMED = frozenset({"paid", "cod_confirmed"})
REACHED = {
    "accepted": 1, "picking": 2, "ready": 3, "picked_up": 4, "at_customer": 4, "returning": 4,
    "returned": 4, "delivered": 5, "collected": 5, "completed": 5,
}  # fmt: skip
"""How many steps from ``accepted`` on a fulfilment in this state has reached."""
PART_STEPS = FUNNEL[2:7]


class OrderBook:
    """All open orders."""

    def __init__(self, anomalies: Anomalies, zone_of: Callable[[str], str]) -> None:
        """``zone_of`` tells the dispatch zone of a store ("" when unknown)."""
        self._anomalies = OrderAnomalies(anomalies, zone_of)
        self._orders: dict[str, TrackedOrder] = {}
        self.orders = Stages()
        self.parts = Stages()
        self._due = Stages()
        self.late: dict[str, None] = {}
        """Open fulfilments whose promised time has passed, in that order."""
        self.rates = Rates()
        self.funnel = dict.fromkeys(FUNNEL, 0)
        self.finished = dict.fromkeys(sorted(FINAL_STATES), 0)

    def __len__(self) -> int:
        return len(self._orders)

    # From a snapshot

    def load(self, order_id: str, state: OrderState, now: float) -> None:
        """An order as it stands; of finished ones only what is wrong with their money. Call
        :meth:`loaded` after the last one."""
        self._load_money(order_id, state)
        if state.state in FINAL_STATES:
            return
        parts = tracked_parts(order_id, [part.fulfilment for part in state.parts])
        pickup = state.delivery == "pickup"
        tracked = TrackedOrder(order_id, state.state, pickup, parts, state.before)
        self._orders[order_id] = tracked
        self.funnel["placed"] += 1
        self._enter_order(tracked, state.since or state.placed_at, state.expires_at)
        if state.state != "placed":
            self.funnel["confirmed"] += 1
        for part in state.parts:
            one = parts[part.fulfilment.fulfilment_id]
            one.state, one.rider_id, one.due_at = part.state, part.rider_id, part.due_at
            for step in PART_STEPS[: REACHED.get(part.state, 0)]:
                self.funnel[step] += 1
            if state.state != "placed" and part.state not in FINAL_PARTS:
                since = part.since or part.rider_at or max(part.due_at - one.due_s, state.placed_at)
                self._enter_part(tracked, one, since)
                if part.state == "parked":
                    self._anomalies.parked(order_id, one.fulfilment_id, part, since)
                if part.uncollected_at:
                    self._anomalies.uncollected(one, part.uncollected_at)

    def loaded(self) -> None:
        """All orders are in: the oldest of each state are known."""
        self.orders.sort()
        self.parts.sort()

    def _load_money(self, order_id: str, state: OrderState) -> None:
        for refund_id, refund in state.refunds.items():
            if refund.state == "refused":
                self._anomalies.refund_refused(order_id, refund_id, state.placed_at, refund.reason)
        for payment_id, reason in (state.flags or {}).items():
            payment = state.payments.get(payment_id)
            provider = payment.provider if payment is not None else CASH
            sums = (state.cash_flags or {}).get(payment_id) or cash_difference_before(reason)
            self._anomalies.flagged(
                order_id, payment_id, provider, state.currency, state.placed_at, reason, sums
            )

    # From the feed

    def apply(self, order_id: str, event: Any, at: float) -> None:
        """One event of an order."""
        if isinstance(event, order.Placed):
            self._placed(order_id, event)
            return
        if isinstance(event, order.PaymentFlagged):
            self._anomalies.flagged(
                order_id, event.payment_id, event.provider, event.currency, event.at or at,
                event.reason, _sums(event),
            )  # fmt: skip
        elif isinstance(event, order.FlagResolved):
            self._anomalies.flag_resolved(event.payment_id)
        elif isinstance(event, order.RefundDone):
            self._anomalies.refunded(order_id, event)
        elif isinstance(event, order.RefundRetried):
            self._anomalies.refund_retried(event.refund_id)
        tracked = self._orders.get(order_id)
        if tracked is None:
            if isinstance(event, order.Reinstated):
                self._reinstate(order_id, event)
            return
        match event:
            case order.CodConfirmed():
                self._confirm(tracked, "cod_confirmed", event.at)
            case order.Paid():
                if event.kept:
                    self._confirm(tracked, "paid", event.at)
            case order.CancelRequested():
                if tracked.state != "cancelling":  # else: fewer stores are waited for
                    tracked.before = tracked.state
                    self._move_order(tracked, "cancelling", event.at)
            case order.CancelRefused():
                self._move_order(tracked, tracked.before or tracked.state, event.at)
            case order.Cancelled():
                self._end(tracked, "cancelled", event.at)
            case order.Completed():
                self._end(tracked, "closed" if event.closed else "completed", event.at)
            case _:
                self._part_event(tracked, event)

    def advance(self, now: float) -> None:
        """Find what became stuck or late by ``now``."""
        for order_id, state, since in self.orders.overdue(now):
            self._anomalies.stuck_order(order_id, state, since)
        for fulfilment_id, state, since in self.parts.overdue(now):
            self._stuck_part(order_of(fulfilment_id), fulfilment_id, state, since)
        for fulfilment_id, _, _ in self._due.overdue(now):
            self.late[fulfilment_id] = None

    # Orders

    def _placed(self, order_id: str, event: order.Placed) -> None:
        parts = tracked_parts(order_id, event.fulfilments)
        tracked = TrackedOrder(order_id, "placed", event.delivery == "pickup", parts)
        self._orders[order_id] = tracked
        self.rates.add("placed", event.at)
        self.funnel["placed"] += 1
        self._enter_order(tracked, event.at, event.expires_at)

    def _reinstate(self, order_id: str, event: order.Reinstated) -> None:
        self.finished["cancelled"] = max(0, self.finished["cancelled"] - 1)
        self.funnel["cancelled"] = max(0, self.funnel["cancelled"] - 1)
        parts = tracked_parts(order_id, event.fulfilments)
        pickup = not any(part.zone_id for part in event.fulfilments)  # those go to no zone
        tracked = self._orders[order_id] = TrackedOrder(order_id, "placed", pickup, parts)
        self._enter_order(tracked, event.at, None)

    def _enter_order(self, tracked: TrackedOrder, since: float, expires_at: float | None) -> None:
        deadline = None
        if tracked.state == "placed" and expires_at is not None:
            deadline = expires_at + GRACE_S
        elif tracked.state == "cancelling":
            deadline = since + CANCELLING_S
        self.orders.enter(tracked.order_id, tracked.state, since, deadline)

    def _move_order(self, tracked: TrackedOrder, state: str, at: float) -> None:
        tracked.state = state
        self._anomalies.order_moved(tracked.order_id)
        self._enter_order(tracked, at, None)
        self.rates.add(state, at)

    def _confirm(self, tracked: TrackedOrder, state: str, at: float) -> None:
        if tracked.state == "placed":
            self.funnel["confirmed"] += 1
        self._move_order(tracked, state, at)
        for part in tracked.parts.values():
            if part.waits:
                part.state = "held"
            else:
                part.due_at = at + part.due_s
            self._enter_part(tracked, part, at)

    def _reseat(self, tracked: TrackedOrder, event: order.Reseated) -> None:
        for fulfilment_id in tracked.parts:
            self._leave_part(fulfilment_id)
        tracked.parts = tracked_parts(tracked.order_id, event.fulfilments)
        for part in tracked.parts.values():
            part.state = "held"
            self._enter_part(tracked, part, event.at)

    def _release(self, tracked: TrackedOrder, at: float) -> None:
        """Held fulfilments go to their stores."""
        for part in tracked.parts.values():
            if part.state == "held":
                part.due_at = at + part.due_s
                self._move_part(tracked, part.fulfilment_id, "new", at)

    def _end(self, tracked: TrackedOrder, state: str, at: float) -> None:
        self.finished[state] += 1
        self.rates.add(state, at)
        if state in ("completed", "cancelled"):
            self.funnel[state] += 1
        self.orders.leave(tracked.order_id)
        for fulfilment_id in tracked.parts:
            self._leave_part(fulfilment_id)
        self._anomalies.order_ended(tracked.order_id)
        del self._orders[tracked.order_id]

    # Fulfilments

    def _part_event(self, tracked: TrackedOrder, event: Any) -> None:
        match event:
            case order.FulfilmentMoved():
                self._moved(tracked, event)
            case order.SeatConfirmed(at):
                self._release(tracked, at)
            case order.Reseated():
                self._reseat(tracked, event)
            case order.FulfilmentUncollected(fulfilment_id, at):
                part = tracked.parts.get(fulfilment_id)
                if part is not None:
                    self._anomalies.uncollected(part, at)
            case order.FulfilmentPicked(fulfilment_id, at):
                part = tracked.parts.get(fulfilment_id)
                if part is not None and part.state in ("new", "accepted", "picking"):
                    self._move_part(tracked, fulfilment_id, "ready", at)
            case order.FulfilmentRerouted():
                self._leave_part(event.fulfilment_id)
                tracked.parts.pop(event.fulfilment_id, None)
                tracked.parts |= tracked_parts(tracked.order_id, [event.to])
                part = tracked.parts[event.to.fulfilment_id]
                part.due_at = event.at + part.due_s
                if tracked.state in CONFIRMED:
                    self._enter_part(tracked, part, event.at)
            case order.FulfilmentParked():
                self._move_part(tracked, event.fulfilment_id, "parked", event.at)
                self._anomalies.parked(tracked.order_id, event.fulfilment_id, event, event.at)
            case order.FulfilmentCancelled(fulfilment_id, _, at):
                self._move_part(tracked, fulfilment_id, "cancelled", at)
            case order.FulfilmentDelivered(fulfilment_id, at):
                state = "collected" if tracked.pickup else "delivered"
                self._move_part(tracked, fulfilment_id, state, at)
            case order.FulfilmentFailed(fulfilment_id, at):
                self._move_part(tracked, fulfilment_id, "returning", at)
            case order.FulfilmentReturned(fulfilment_id, at):
                self._move_part(tracked, fulfilment_id, "returned", at)

    def _moved(self, tracked: TrackedOrder, event: order.FulfilmentMoved) -> None:
        part = tracked.parts.get(event.fulfilment_id)
        if part is None:
            return
        if event.rider_id:
            part.rider_id = event.rider_id
        if event.state not in ("rider_assigned", "at_store"):
            self._move_part(tracked, event.fulfilment_id, event.state, event.at)

    def _move_part(self, tracked: TrackedOrder, fulfilment_id: str, state: str, at: float) -> None:
        part = tracked.parts.get(fulfilment_id)
        if part is None or part.state == state:
            return
        part.state = state
        self.rates.add(state, at)
        stage = "delivered" if state == "collected" else state
        if stage in self.funnel and stage != "cancelled":
            self.funnel[stage] += 1
        self._anomalies.part_moved(fulfilment_id)
        if state in FINAL_PARTS:
            self._leave_part(fulfilment_id)
        else:
            self._enter_part(tracked, part, at)

    def _enter_part(self, tracked: TrackedOrder, part: TrackedPart, since: float) -> None:
        deadline = part.deadline(since, pickup=tracked.pickup)
        self.parts.enter(part.fulfilment_id, part.state, since, deadline)
        if part.due_at:
            self._due.enter(part.fulfilment_id, "open", since, part.due_at)

    def _leave_part(self, fulfilment_id: str) -> None:
        self.parts.leave(fulfilment_id)
        self._due.leave(fulfilment_id)
        self.late.pop(fulfilment_id, None)
        self._anomalies.part_moved(fulfilment_id)

    def _stuck_part(self, order_id: str, fulfilment_id: str, state: str, since: float) -> None:
        tracked = self._orders.get(order_id)
        if state != "parked" and tracked is not None:
            self._anomalies.stuck_part(tracked.parts[fulfilment_id], state, since)


def _sums(event: order.PaymentFlagged) -> tuple[int, int] | None:
    """What was taken and what was due at the door, if that is what differs."""
    if event.reason_code is None:
        return cash_difference_before(event.reason)
    return (event.amount, event.due) if event.reason_code == CASH_DIFFERENCE else None
