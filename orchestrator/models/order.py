"""An order as its channel sees it."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from orchestrator.models.common import Position

__all__ = [
    "Fulfilment",
    "HistoryPage",
    "HistoryStep",
    "Order",
    "OrderLine",
    "OrderPage",
    "Payment",
    "PaymentOpened",
    "Received",
    "Refund",
    "WebhookBody",
    "WebhookPayment",
]


class OrderLine(Struct, frozen=True, gc=False):
    """One SKU at one frozen price. ``amount`` is what all its units cost after discounts."""

    line_id: str
    sku: str
    name: str
    quantity: int
    unit_price: int
    amount: int
    fulfilment_id: str
    refunded_quantity: int
    refunded_amount: int
    short_quantity: int
    """Units that were not packed."""
    short_amount: int
    """With cash on delivery: what these would have cost, never collected."""
    short_reason: str = ""
    """Why units are short: the store did not have them (``missing``); nor did the customer want
    what was offered instead (``substitute_refused``); or it had them, and the customer did not want
    them (``unwanted``). Empty when none is."""


class Fulfilment(Struct, frozen=True, gc=False):
    """The part of an order that one store serves. ``due_at`` is null until it is promised."""

    fulfilment_id: str
    store_id: str
    state: str
    due_at: datetime | None
    cash_due: int
    freight: int
    rider_id: str
    reason: str
    reason_code: str = ""
    """While *parked*: the code of what its last store said, empty if that is in words alone."""
    why: str = ""
    """While *parked*: the code of why no other store serves it."""


class Payment(Struct, frozen=True, gc=False):
    """One payment at a provider: ``created | authorised | captured | failed | refunding |
    refunded``."""

    payment_id: str
    provider: str
    state: str
    amount: int
    currency: str


class PaymentOpened(Struct, frozen=True, gc=False):
    """A payment just opened. Send the customer to ``pay_url`` (null: the provider has none)."""

    payment_id: str
    provider: str
    state: str
    amount: int
    currency: str
    pay_url: str | None


class Refund(Struct, frozen=True, gc=False):
    """Money given back through the provider that took it: ``requested | done | refused``."""

    refund_id: str
    payment_id: str
    amount: int
    state: str
    reason: str


class Order(Struct, frozen=True, gc=False):
    """An order: ``placed | paid | cod_confirmed | cancelling | completed | cancelled | closed``.
    ``expires_at`` is when it is cancelled if it stays unpaid."""

    order_id: str
    state: str
    channel: str
    customer_id: str
    currency: str
    goods: int
    freight: int
    total: int
    refunded: int
    cash_collected: int
    payment: str
    delivery: str
    lines: list[OrderLine]
    fulfilments: list[Fulfilment]
    payments: list[Payment]
    refunds: list[Refund]
    placed_at: datetime
    expires_at: datetime | None
    pickup_code: str
    drop_off: Position | None
    reason: str
    campaign_id: str = ""
    group_id: str = ""


class OrderPage(Struct, frozen=True, gc=False):
    """One page of orders, newest first; ``next`` is the cursor of the page after it."""

    items: list[Order]
    next: str | None


class HistoryStep(Struct, frozen=True, gc=False):
    """An event (``order.placed.v1`` …) or a document (``document.sale`` …) of an order."""

    at: datetime
    type: str
    data: dict[str, Any]


class HistoryPage(Struct, frozen=True, gc=False):
    """All steps of an order, oldest first."""

    items: list[HistoryStep]
    next: str | None


AMOUNT_MAX = 2**53
"""``domain.bounds.TOTAL_MAX``: these documents need nothing of the servers."""


class WebhookPayment(Struct, frozen=True, gc=False):
    """What happened to a payment, or (with ``refund_id``) to a refund. ``status``: ``pending |
    authorised | captured | failed | expired | refunded``; ``amount`` in minor units."""

    payment_id: str
    order_id: str
    status: str
    amount: Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
    currency: str
    reference: str
    reason: str
    refund_id: str


class WebhookBody(Struct, frozen=True, gc=False):
    """An event as the sandbox provider sends it; ``id`` is the same at each repeat. Other
    providers have their own form, which their adapter reads."""

    id: str
    type: str
    occurred_at: Annotated[datetime, Meta(tz=True, description="From 2000 to before 2200 (UTC).")]
    data: WebhookPayment


class Received(Struct, frozen=True, gc=False):
    """The event is stored; it need not be sent again."""

    received: bool
