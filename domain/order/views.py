"""What an order answers to whoever asks (also the body of the HTTP API)."""

from msgspec import Struct

from domain.geo import Position

__all__ = ["FulfilmentView", "LineView", "OrderView", "PaymentView", "RefundView"]


class LineView(Struct, frozen=True, array_like=True, gc=False):
    """One line with what it really cost."""

    line_id: str
    sku: str
    name: str
    quantity: int
    unit_price: int
    amount: int
    """Paid for all its units after discounts, minor units, freight not included."""
    fulfilment_id: str
    refunded_quantity: int = 0
    refunded_amount: int = 0
    short_quantity: int = 0
    """Units that were not packed; refunded, or not collected with cash on delivery."""
    list_price: int = 0
    """What a unit costs without the order's campaign; 0: the same."""
    short_amount: int = 0
    """Of a COD order: what the short units would have cost; it was never collected. (Online, the
    refund of them is in ``refunded_amount``.)"""
    short_reason: str = ""
    """Why units are short: ``missing | substitute_refused | unwanted``; "" when none is."""


class FulfilmentView(Struct, frozen=True, array_like=True, gc=False):
    """One store's part."""

    fulfilment_id: str
    store_id: str
    state: str
    due_at: float
    cash_due: int
    freight: int
    rider_id: str = ""
    reason: str = ""
    reason_code: str = ""
    """When *parked*: the code, if any, of what its last store said. See ``domain.reasons``."""
    why: str = ""
    """When *parked*: the code of why no other store serves it."""


class PaymentView(Struct, frozen=True, array_like=True, tag="order.payment_view.v1", gc=False):
    """One payment at a provider; ``state``: ``created | authorised | captured | failed |
    refunding | refunded``."""

    payment_id: str
    provider: str
    state: str
    amount: int
    currency: str


class RefundView(Struct, frozen=True, array_like=True, gc=False):
    """One refund; ``state``: ``requested | done | refused``."""

    refund_id: str
    payment_id: str
    amount: int
    state: str
    reason: str


class OrderView(Struct, frozen=True, array_like=True, tag="order.view.v1", gc=False):
    """An order. ``state``: ``placed | paid | cod_confirmed | cancelling | completed | cancelled |
    closed``. Amounts in minor units of ``currency``; times in epoch seconds."""

    order_id: str
    state: str
    channel: str
    customer_id: str
    currency: str
    goods: int
    freight: int
    total: int
    payment: str
    delivery: str
    lines: tuple[LineView, ...]
    fulfilments: tuple[FulfilmentView, ...]
    payments: tuple[PaymentView, ...]
    refunds: tuple[RefundView, ...]
    placed_at: float
    expires_at: float | None
    pickup_code: str = ""
    reason: str = ""
    drop_off: Position | None = None
    refunded: int = 0
    cash_collected: int = 0
    campaign_id: str = ""
    group_id: str = ""
