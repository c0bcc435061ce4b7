"""Open orders and their fulfilments as the monitor sees them: states, ages, what is stuck.

Per order a few hundred bytes, let go when the order ends. Each event costs O(log n).
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from domain import order
from domain.order.ids import order_of
from domain.order.rules import CASH_DIFFERENCE
from domain.order.state import CASH, FINAL_PARTS, FINAL_STATES, OrderState
from orchestrator.monitor.anomalies import Anomalies, Facts, Remedy
from orchestrator.monitor.rates import Rates
from orchestrator.monitor.stages import Stages

__all__ = ["OrderBook"]

GRACE_S = 60.0
"""A rule that acts at a deadline has so long before its order counts as stuck."""
CANCELLING_S = 900.0
PICKING_GRACE_S = 600.0
READY_S = 900.0
CARRIED_GRACE_S = 1_800.0
RETURNING_S = 3_600.0
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
_CASH_DIFFERENCE = re.compile(CASH_DIFFERENCE.format(taken=r"(\d+)", due=r"(\d+)"))


class _Part(Struct, gc=False):
    store_id: str
    zone_id: str
    due_s: float
    accept_s: float
    prep_s: float
    due_at: float = 0.0
    state: str = "new"
    rider_id: str = ""
    waits: bool = False
    """Once paid it is held until its campaign has confirmed it."""


class _Order(Struct, gc=False):
    state: str
    pickup: bool
    parts: dict[str, _Part]
    before: str = ""


class OrderBook:
    """All open orders."""

    def __init__(self, anomalies: Anomalies, zone_of: Callable[[str], str]) -> None:
        """``zone_of`` tells the dispatch zone of a store ("" when unknown)."""
        self._anomalies = anomalies
        self._zone_of = zone_of
        self._orders: dict[str, _Order] = {}
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

    def load(self, order_id: str, state: OrderState) -> None:
        """An order as it stands; of finished ones only what is wrong with their money. Call
        :meth:`loaded` after the last one."""
        self._load_money(order_id, state)
        if state.state in FINAL_STATES:
            return
        tracked = _Order(state.state, state.delivery == "pickup", {}, state.before)
        self._orders[order_id] = tracked
        self.funnel["placed"] += 1
        self._enter_order(order_id, tracked, state.since or state.placed_at, state.expires_at)
        if state.state != "placed":
            self.funnel["confirmed"] += 1
        for part in state.parts:
            fulfilment = part.fulfilment
            one = tracked.parts[fulfilment.fulfilment_id] = _part(fulfilment)
            one.state, one.rider_id, one.due_at = part.state, part.rider_id, part.due_at
            for step in PART_STEPS[: REACHED.get(part.state, 0)]:
                self.funnel[step] += 1
            if state.state != "placed" and part.state not in FINAL_PARTS:
                since = part.since or part.rider_at or max(part.due_at - one.due_s, state.placed_at)
                self._enter_part(order_id, fulfilment.fulfilment_id, one, since)
                if part.state == "parked":
                    self._park(order_id, fulfilment.fulfilment_id, part.reason, part.why, since)
                if part.uncollected_at:
                    self._wait_for_customer(
                        order_id, tracked, fulfilment.fulfilment_id, part.uncollected_at
                    )

    def loaded(self) -> None:
        """All orders are in: the oldest of each state are known."""
        self.orders.sort()
        self.parts.sort()

    def _load_money(self, order_id: str, state: OrderState) -> None:
        for refund_id, refund in state.refunds.items():
            if refund.state == "refused":
                self._refund_refused(order_id, refund_id, state.placed_at, refund.reason)
        for payment_id, reason in (state.flags or {}).items():
            payment = state.payments.get(payment_id)
            provider = payment.provider if payment is not None else CASH
            self._flag(order_id, payment_id, provider, state.currency, state.placed_at, reason)

    # From the feed

    def apply(self, order_id: str, event: Any, at: float) -> None:
        """One event of an order."""
        if isinstance(event, order.Placed):
            self._placed(order_id, event)
            return
        if isinstance(event, order.PaymentFlagged):
            self._flag(
                order_id, event.payment_id, event.provider, event.currency, event.at or at,
                event.reason,
            )  # fmt: skip
        elif isinstance(event, order.FlagResolved):
            self._anomalies.clear("payment-flagged", event.payment_id)
        elif isinstance(event, order.RefundDone):
            self._refunded(order_id, event)
        elif isinstance(event, order.RefundRetried):
            self._anomalies.clear("refund-refused", event.refund_id)
        tracked = self._orders.get(order_id)
        if tracked is None:
            if isinstance(event, order.Reinstated):
                self._reinstate(order_id, event)
            return
        match event:
            case order.CodConfirmed():
                self._confirm(order_id, tracked, "cod_confirmed", event.at)
            case order.Paid():
                if event.kept:
                    self._confirm(order_id, tracked, "paid", event.at)
            case order.CancelRequested():
                if tracked.state != "cancelling":  # else: fewer stores are waited for
                    tracked.before = tracked.state
                    self._move_order(order_id, tracked, "cancelling", event.at)
            case order.CancelRefused():
                self._move_order(order_id, tracked, tracked.before or tracked.state, event.at)
            case order.Cancelled():
                self._end(order_id, tracked, "cancelled", event.at)
            case order.Completed():
                self._end(order_id, tracked, "closed" if event.closed else "completed", event.at)
            case _:
                self._part_event(order_id, tracked, event)

    def advance(self, now: float) -> None:
        """Find what became stuck or late by ``now``."""
        for order_id, state, since in self.orders.overdue(now):
            self._stuck_order(order_id, state, since)
        for fulfilment_id, state, since in self.parts.overdue(now):
            self._stuck_part(order_of(fulfilment_id), fulfilment_id, state, since)
        for fulfilment_id, _, _ in self._due.overdue(now):
            self.late[fulfilment_id] = None

    # Orders

    def _placed(self, order_id: str, event: order.Placed) -> None:
        parts = {part.fulfilment_id: _part(part) for part in event.fulfilments}
        tracked = self._orders[order_id] = _Order("placed", event.delivery == "pickup", parts)
        self.rates.add("placed", event.at)
        self.funnel["placed"] += 1
        self._enter_order(order_id, tracked, event.at, event.expires_at)

    def _reinstate(self, order_id: str, event: order.Reinstated) -> None:
        self.finished["cancelled"] = max(0, self.finished["cancelled"] - 1)
        self.funnel["cancelled"] = max(0, self.funnel["cancelled"] - 1)
        parts = {part.fulfilment_id: _part(part) for part in event.fulfilments}
        pickup = not any(part.zone_id for part in event.fulfilments)  # those go to no zone
        tracked = self._orders[order_id] = _Order("placed", pickup, parts)
        self._enter_order(order_id, tracked, event.at, None)

    def _enter_order(
        self, order_id: str, tracked: _Order, since: float, expires_at: float | None
    ) -> None:
        deadline = None
        if tracked.state == "placed" and expires_at is not None:
            deadline = expires_at + GRACE_S
        elif tracked.state == "cancelling":
            deadline = since + CANCELLING_S
        self.orders.enter(order_id, tracked.state, since, deadline)

    def _move_order(self, order_id: str, tracked: _Order, state: str, at: float) -> None:
        tracked.state = state
        self._anomalies.clear("stuck-order", order_id)
        self._enter_order(order_id, tracked, at, None)
        self.rates.add(state, at)

    def _confirm(self, order_id: str, tracked: _Order, state: str, at: float) -> None:
        if tracked.state == "placed":
            self.funnel["confirmed"] += 1
        self._move_order(order_id, tracked, state, at)
        for fulfilment_id, part in tracked.parts.items():
            if part.waits:
                part.state = "held"
            else:
                part.due_at = at + part.due_s
            self._enter_part(order_id, fulfilment_id, part, at)

    def _reseat(self, order_id: str, tracked: _Order, event: order.Reseated) -> None:
        for fulfilment_id in tracked.parts:
            self._leave_part(fulfilment_id)
        tracked.parts = {part.fulfilment_id: _part(part) for part in event.fulfilments}
        for fulfilment_id, part in tracked.parts.items():
            part.state = "held"
            self._enter_part(order_id, fulfilment_id, part, event.at)

    def _release(self, order_id: str, tracked: _Order, at: float) -> None:
        """Held fulfilments go to their stores."""
        for fulfilment_id, part in tracked.parts.items():
            if part.state == "held":
                part.due_at = at + part.due_s
                self._move_part(order_id, tracked, fulfilment_id, "new", at)

    def _end(self, order_id: str, tracked: _Order, state: str, at: float) -> None:
        self.finished[state] += 1
        self.rates.add(state, at)
        if state in ("completed", "cancelled"):
            self.funnel[state] += 1
        self.orders.leave(order_id)
        for fulfilment_id in tracked.parts:
            self._leave_part(fulfilment_id)
        self._anomalies.clear_owner(order_id)
        del self._orders[order_id]

    # Fulfilments

    def _part_event(self, order_id: str, tracked: _Order, event: Any) -> None:
        match event:
            case order.FulfilmentMoved():
                self._moved(order_id, tracked, event)
            case order.SeatConfirmed(at):
                self._release(order_id, tracked, at)
            case order.Reseated():
                self._reseat(order_id, tracked, event)
            case order.FulfilmentUncollected(fulfilment_id, at):
                self._wait_for_customer(order_id, tracked, fulfilment_id, at)
            case order.FulfilmentPicked(fulfilment_id, at):
                part = tracked.parts.get(fulfilment_id)
                if part is not None and part.state in ("new", "accepted", "picking"):
                    self._move_part(order_id, tracked, fulfilment_id, "ready", at)
            case order.FulfilmentRerouted():
                self._leave_part(event.fulfilment_id)
                tracked.parts.pop(event.fulfilment_id, None)
                part = tracked.parts[event.to.fulfilment_id] = _part(event.to)
                part.due_at = event.at + part.due_s
                if tracked.state in CONFIRMED:
                    self._enter_part(order_id, event.to.fulfilment_id, part, event.at)
            case order.FulfilmentParked():
                self._move_part(order_id, tracked, event.fulfilment_id, "parked", event.at)
                self._park(order_id, event.fulfilment_id, event.reason, event.why, event.at)
            case order.FulfilmentCancelled(fulfilment_id, _, at):
                self._move_part(order_id, tracked, fulfilment_id, "cancelled", at)
            case order.FulfilmentDelivered(fulfilment_id, at):
                state = "collected" if tracked.pickup else "delivered"
                self._move_part(order_id, tracked, fulfilment_id, state, at)
            case order.FulfilmentFailed(fulfilment_id, at):
                self._move_part(order_id, tracked, fulfilment_id, "returning", at)
            case order.FulfilmentReturned(fulfilment_id, at):
                self._move_part(order_id, tracked, fulfilment_id, "returned", at)

    def _moved(self, order_id: str, tracked: _Order, event: order.FulfilmentMoved) -> None:
        part = tracked.parts.get(event.fulfilment_id)
        if part is None:
            return
        if event.rider_id:
            part.rider_id = event.rider_id
        if event.state not in ("rider_assigned", "at_store"):
            self._move_part(order_id, tracked, event.fulfilment_id, event.state, event.at)

    def _move_part(
        self, order_id: str, tracked: _Order, fulfilment_id: str, state: str, at: float
    ) -> None:
        part = tracked.parts.get(fulfilment_id)
        if part is None or part.state == state:
            return
        part.state = state
        self.rates.add(state, at)
        stage = "delivered" if state == "collected" else state
        if stage in self.funnel and stage != "cancelled":
            self.funnel[stage] += 1
        self._clear_part(fulfilment_id)
        if state in FINAL_PARTS:
            self._leave_part(fulfilment_id)
        else:
            self._enter_part(order_id, fulfilment_id, part, at)

    def _enter_part(self, order_id: str, fulfilment_id: str, part: _Part, since: float) -> None:
        self.parts.enter(
            fulfilment_id, part.state, since, _part_deadline(part, since, self._orders[order_id])
        )
        if part.due_at:
            self._due.enter(fulfilment_id, "open", since, part.due_at)

    def _leave_part(self, fulfilment_id: str) -> None:
        self.parts.leave(fulfilment_id)
        self._due.leave(fulfilment_id)
        self.late.pop(fulfilment_id, None)
        self._clear_part(fulfilment_id)

    # Anomalies

    def _clear_part(self, fulfilment_id: str) -> None:
        for code in ("stuck-fulfilment", "parked", "uncollected"):
            self._anomalies.clear(code, fulfilment_id)

    def _stuck_order(self, order_id: str, state: str, since: float) -> None:
        self._anomalies.raise_(
            "stuck-order", order_id, since, f"The order is {state} beyond its deadline.",
            (_cancel(order_id),), owner=order_id, order_id=order_id, state=state,
        )  # fmt: skip

    def _stuck_part(self, order_id: str, fulfilment_id: str, state: str, since: float) -> None:
        if state == "parked" or order_id not in self._orders:
            return
        part = self._orders[order_id].parts[fulfilment_id]
        remedies: list[Remedy] = []
        zone_id = self._zone_of(part.store_id)
        if state == "ready" and part.rider_id:
            remedies.append(_unassign(part.rider_id, fulfilment_id))
        elif state == "ready" and zone_id:
            remedies.append(_reoffer(zone_id, fulfilment_id))
        remedies.append(_cancel(order_id))
        self._anomalies.raise_(
            "stuck-fulfilment", fulfilment_id, since,
            f"The fulfilment is {state} beyond its deadline.", tuple(remedies), owner=order_id,
            order_id=order_id, fulfilment_id=fulfilment_id, store_id=part.store_id,
            rider_id=part.rider_id, state=state,
        )  # fmt: skip

    def _wait_for_customer(
        self, order_id: str, tracked: _Order, fulfilment_id: str, at: float
    ) -> None:
        part = tracked.parts.get(fulfilment_id)
        if part is None:
            return
        self._anomalies.raise_(
            "uncollected", fulfilment_id, at,
            "Nobody has collected the parcel in time. Call the customer; a cancel puts the goods"
            " back on the shelf once the store has confirmed it.",
            (_cancel(order_id),), owner=order_id, order_id=order_id, fulfilment_id=fulfilment_id,
            store_id=part.store_id,
        )  # fmt: skip

    def _park(self, order_id: str, fulfilment_id: str, reason: str, why: str, at: float) -> None:
        said = reason.rpartition("; ")[0] if why else reason
        path = f"/v1/orders/{order_id}/fulfilments/{fulfilment_id}"
        self._anomalies.raise_(
            "parked", fulfilment_id, at, f"No store serves it ({reason}).",
            (
                Remedy(
                    "re-route", "POST", f"{path}/reroute", {"store_id": "", "why": None},
                    ("store_id",),
                ),
                Remedy("close", "POST", f"{path}/close", {"why": None}),
            ),
            owner=order_id, facts={"reason": said, "others": why}, order_id=order_id,
            fulfilment_id=fulfilment_id,
        )  # fmt: skip

    def _flag(
        self, order_id: str, payment_id: str, provider: str, currency: str, at: float, reason: str
    ) -> None:
        self._anomalies.raise_(
            "payment-flagged", payment_id, at,
            f"The payment at {provider} does not match the order ({reason}).",
            (_resolve(order_id, payment_id),),
            facts={"provider": provider, **_flag_facts(reason, currency)},
            order_id=order_id, payment_id=payment_id, provider=provider,
        )  # fmt: skip

    def _refund_refused(self, order_id: str, refund_id: str, at: float, reason: str) -> None:
        path = f"/v1/orders/{order_id}/refunds/{quote(refund_id, safe='')}/retry"
        self._anomalies.raise_(
            "refund-refused", refund_id, at, f"The provider will not refund: {reason}.",
            (Remedy("refund", "POST", path, {"why": None}),),
            facts={"answer": reason}, order_id=order_id, refund_id=refund_id,
        )  # fmt: skip

    def _refunded(self, order_id: str, event: order.RefundDone) -> None:
        if event.refused:
            self._refund_refused(order_id, event.refund_id, event.at, event.refused)
        else:
            self._anomalies.clear("refund-refused", event.refund_id)


def _flag_facts(reason: str, currency: str) -> Facts:
    cash = _CASH_DIFFERENCE.fullmatch(reason)
    if cash is None:
        return {"reason": reason}
    taken, due = int(cash[1]), int(cash[2])
    return {"reason": "cash-difference", "taken": taken, "due": due, "currency": currency}


def _part(fulfilment: order.Fulfilment) -> _Part:
    return _Part(
        fulfilment.store_id,
        fulfilment.zone_id,
        fulfilment.due_s,
        fulfilment.accept_s,
        fulfilment.prep_s,
        waits=bool(fulfilment.campaign_id),
    )


def _part_deadline(part: _Part, since: float, tracked: _Order) -> float | None:
    """When a fulfilment has been in its state for too long."""
    match part.state:
        case "new":
            return since + part.accept_s + GRACE_S
        case "accepted" | "picking":
            return since + part.prep_s + PICKING_GRACE_S
        case "ready":
            return None if tracked.pickup else since + READY_S  # the store tells of those
        case "picked_up" | "at_customer":
            return max(part.due_at, since) + CARRIED_GRACE_S
        case "returning":
            return since + RETURNING_S
    return None


def _cancel(order_id: str) -> Remedy:
    return Remedy("cancel", "POST", f"/v1/orders/{order_id}/cancel", {"reason": None})


def _resolve(order_id: str, payment_id: str) -> Remedy:
    path = f"/v1/orders/{order_id}/flags/{quote(payment_id, safe='')}/resolve"
    return Remedy("resolve", "POST", path, {"why": None})


def _reoffer(zone_id: str, parcel_id: str) -> Remedy:
    path = f"/v1/dispatch/{quote(zone_id, safe='')}/parcels/{parcel_id}/reoffer"
    return Remedy("re-offer", "POST", path, {"why": None})


def _unassign(rider_id: str, parcel_id: str) -> Remedy:
    path = f"/v1/riders/{rider_id}/parcels/{parcel_id}/unassign"
    return Remedy("re-offer", "POST", path, {"why": None})
