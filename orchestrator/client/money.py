"""What an order's document says about its money and its end. Pure; minor units throughout.

Whoever judges the books from outside (the simulated city's audit, the load tests' verdict) reads
an order in this one way. ``tests/simulation/auditor.py`` has its own, so that a mistake here does
not hide one there.
"""

from orchestrator.models import Order

__all__ = [
    "FINAL_STATES", "HANDED_OVER", "OVER", "TAKEN", "WITH_TICKET", "captured", "is_settled", "kept",
    "refunded", "taken_payments", "units", "worth",
]  # fmt: skip

FINAL_STATES = frozenset({"completed", "cancelled", "closed"})
"""Of an order (DOMAIN, Order life): nothing more is done for it, but money may be on its way."""
TAKEN = frozenset({"captured", "refunding", "refunded"})
"""States of a payment whose money the provider took, whether or not it went back later."""
HANDED_OVER = frozenset({"delivered", "collected", "completed"})
"""States of a fulfilment whose goods the customer has."""
OVER = HANDED_OVER | {"cancelled", "returned"}
"""States of a fulfilment with which its store has nothing more to do."""
WITH_TICKET = HANDED_OVER | {
    "accepted", "picking", "ready", "rider_assigned", "at_store", "picked_up", "at_customer",
    "rejected", "returning", "returned",
}  # fmt: skip
"""States that a fulfilment reaches only when its store's ticket was acted on."""


def taken_payments(order: Order) -> dict[str, int]:
    """Payment id to what its provider took."""
    return {one.payment_id: one.amount for one in order.payments if one.state in TAKEN}


def captured(order: Order) -> int:
    """What providers took for the order."""
    return sum(payment.amount for payment in order.payments if payment.state in TAKEN)


def refunded(order: Order) -> int:
    """What providers gave back."""
    return sum(refund.amount for refund in order.refunds if refund.state == "done")


def kept(order: Order) -> int:
    """What the retailer has of the order's money in the end, cash included."""
    return captured(order) - refunded(order) + order.cash_collected


def worth(order: Order) -> int:
    """What the delivered part costs: its lines less what was given back of them or, with cash on
    delivery, was missing and never collected; and freight. A final order keeps exactly this.

    Freight given back is not on any line, so it is what the refunds hold beyond lines and surplus
    payments.
    """
    out = {part.fulfilment_id for part in order.fulfilments if part.state in HANDED_OVER}
    lines = sum(
        line.amount - line.refunded_amount - line.short_amount
        for line in order.lines
        if line.fulfilment_id in out
    )
    return lines + sum(p.freight for p in order.fulfilments if p.fulfilment_id in out)


def units(order: Order) -> int:
    """Units ordered, over all lines."""
    return sum(line.quantity for line in order.lines)


def is_settled(order: Order) -> bool:
    """The order is final, and no money of it is on its way: no refund that a provider has not
    answered, no payment that is held. A refused refund waits for operations, not for time."""
    on_its_way = any(refund.state == "requested" for refund in order.refunds)
    on_its_way |= any(payment.state == "authorised" for payment in order.payments)
    return order.state in FINAL_STATES and not on_its_way
