"""What may happen to an order and when. DOMAIN, Order life and Payment."""

from collections.abc import Iterable, Sequence

from domain.catalogue.model import CodRule
from domain.errors import Refused
from domain.order.commands import BY_CUSTOMER
from domain.order.events import Cancelled, Completed, Fulfilment
from domain.order.state import FINAL_PARTS, OrderState, Part, Payment

__all__ = [
    "ANSWER_S", "LIVE_STATES", "OPEN_PAYMENTS", "PAYMENTS_MAX", "WITH_STORE",
    "check_cod", "ending", "first_query", "is_late", "need_state", "next_query", "progresses",
    "query_held", "unpaid_until", "wakes_at", "was_left_unpaid",
]  # fmt: skip

ANSWER_S = 15.0
"""How long an unpaid order waits, at its expiry, for the provider's answer to a last query."""
QUERY_AFTER_S = (30.0, 120.0)
"""A payment is first asked about so long after it was opened ..."""
QUERY_PAST_EXPIRY_S = (0.0, 60.0, 600.0, 3600.0)
"""... and then so long after the order's expiry, so that no late capture stays unknown."""
PAYMENTS_MAX = 20
"""Payments that one order may open."""
OPEN_PAYMENTS = frozenset({"created", "authorised"})
"""States of a payment from which its order's money is expected."""
QUERIES_MAX = 12
"""More than the schedule has: money that is held late is asked about beyond it, a few times."""
LIVE_STATES = frozenset({"paid", "cod_confirmed", "cancelling"})
"""States in which stores and riders work on the order."""
WITH_STORE = frozenset({"new", "accepted", "picking", "ready"})
"""States of a fulfilment whose goods are still in the store."""

_NEVER = float("inf")
_RANK = {"new": 0, "accepted": 1, "picking": 2, "ready": 3, "picked_up": 4, "at_customer": 5}
_POSSIBLE = {
    "placed": "pay or cancel it",
    "paid": "cancel it or refund units of it",
    "cod_confirmed": "cancel it",
    "cancelling": "wait for the store's answer",
    "completed": "refund units of it if it was paid online",
    "closed": "only read it",
    "cancelled": "only read it; place a new order",
}


def need_state(state: OrderState, wish: str, allowed: Iterable[str]) -> None:
    """Raise ``Refused`` with ``wrong-state``, saying what is possible, unless allowed now."""
    if state.state not in allowed:
        raise Refused(
            "wrong-state",
            f"Order {state.order_id} is {state.state}: it is too late or too early to {wish}. "
            f"Now you can {_POSSIBLE[state.state]}.",
            state=state.state,
        )


def progresses(part: Part, state: str, rider_id: str, at: float) -> bool:
    """Whether a report is news; older than what is known is not."""
    known = _RANK.get(part.state)
    if known is None:
        return False
    if state in ("rider_assigned", "at_store"):
        if known > _RANK["ready"] or at < part.rider_at:
            return False
        return (part.rider_id, part.rider_state) != (rider_id or part.rider_id, state)
    if state == "collected":
        return True
    if state == "uncollected":
        return known <= _RANK["ready"] and not part.uncollected_at
    return _RANK.get(state, -1) > known


def check_cod(rule: CodRule, total: int, fulfilments: Iterable[Fulfilment]) -> None:
    """Raise ``Refused`` with ``cod-denied`` and the ``rule`` that forbids cash on delivery."""
    if rule.limit <= 0:
        raise Refused("cod-denied", "This channel takes no cash; pay online.", rule="forbidden")
    if total > rule.limit:
        raise Refused(
            "cod-denied",
            f"Cash on delivery is limited to {rule.limit} minor units; pay online.",
            rule="limit",
            limit=rule.limit,
        )
    denied = [each.zone_id for each in fulfilments if each.zone_id in rule.zones_denied]
    if denied:
        raise Refused(
            "cod-denied", "No cash on delivery in this area; pay online.",
            rule="area", zones=denied,
        )  # fmt: skip


def first_query(started_at: float, expires_at: float) -> float:
    """When a new payment is first asked about: never later than the order's expiry."""
    return min(started_at + QUERY_AFTER_S[0], expires_at)


def next_query(payment: Payment, expires_at: float | None, now: float) -> float | None:
    """When a payment that was just asked about is asked about again; None: never."""
    expiry = expires_at if expires_at is not None else payment.started_at
    times = [payment.started_at + after for after in QUERY_AFTER_S]
    times = [time for time in times if time < expiry]
    times += [expiry + after for after in QUERY_PAST_EXPIRY_S]
    return next((time for time in times if time > now), None)


def query_held(payment: Payment, expires_at: float | None, now: float) -> float | None:
    """When a payment whose money is to be taken is asked about, should nothing be heard of that."""
    again = next_query(payment, expires_at, now)
    if again is None and payment.queries < QUERIES_MAX:
        return now + QUERY_AFTER_S[0]
    return again


def unpaid_until(state: OrderState) -> float:
    """When a *placed* order is cancelled: at its expiry, or a little later while a provider that
    was asked about an open payment can still answer."""
    if state.expires_at is None:
        return _NEVER
    if any(payment.state in OPEN_PAYMENTS for payment in state.payments.values()):
        return max(state.expires_at, state.queried_at + ANSWER_S)
    return state.expires_at


def was_left_unpaid(state: OrderState) -> bool:
    """Whether the order held stock and ended unpaid, by its time or because its customer cancelled
    it (DOMAIN, Members, risk: holding stock without paying)."""
    waited = state.expires_at is not None and not state.kept
    return waited and state.state == "cancelled" and state.cancelled_by in ("timeout", BY_CUSTOMER)


def is_late(state: OrderState) -> bool:
    """Whether money for this order comes after it was cancelled for want of payment, so that it
    may be reinstated; one that the customer cancelled may not."""
    return state.state == "cancelled" and state.cancelled_by == "timeout" and not state.kept


def wakes_at(state: OrderState) -> float:
    """The next of: unpaid expiry, a payment's query, a parked fulfilment's end."""
    at = _NEVER
    for payment in state.payments.values():
        if payment.query_at is not None and payment.query_at < at:
            at = payment.query_at
    if state.state == "placed":
        return min(at, unpaid_until(state))
    for part in state.parts:
        if part.state == "parked" and part.until < at:
            at = part.until
    return at


def ending(state: OrderState, at: float) -> Completed | Cancelled | None:
    """The order's end once every fulfilment is final: completed when anything was delivered,
    closed when goods only came back, cancelled when nothing ever left."""
    if state.state not in ("paid", "cod_confirmed"):
        return None
    states = [part.state for part in state.parts]
    if not FINAL_PARTS.issuperset(states):
        return None
    if "delivered" in states or "collected" in states:
        return Completed(at)
    if "returned" in states:
        return Completed(at, closed=True)
    return Cancelled("rule", _last_reason(state.parts), at)


def _last_reason(parts: Sequence[Part]) -> str:
    return next((part.reason for part in reversed(parts) if part.reason), "cancelled")
