"""An order as its channel sees it."""

from typing import Any

import msgspec

from domain.order.views import FulfilmentView, LineView, OrderView, PaymentView, RefundView
from domain.wire import moment
from orchestrator.api.show.common import maybe_moment, show_position, show_row
from orchestrator.models.order import Fulfilment, Order, OrderLine, Payment, PaymentOpened, Refund

__all__ = ["show_order", "show_order_row", "show_payment_opened"]


def show_order(view: OrderView) -> Order:
    """An order, from its own answer."""
    return Order(
        order_id=view.order_id,
        state=view.state,
        channel=view.channel,
        customer_id=view.customer_id,
        currency=view.currency,
        goods=view.goods,
        freight=view.freight,
        total=view.total,
        refunded=view.refunded,
        cash_collected=view.cash_collected,
        payment=view.payment,
        delivery=view.delivery,
        lines=[_show_line(line) for line in view.lines],
        fulfilments=[_show_fulfilment(part) for part in view.fulfilments],
        payments=[_show_payment(payment) for payment in view.payments],
        refunds=[_show_refund(refund) for refund in view.refunds],
        placed_at=moment(view.placed_at),
        expires_at=maybe_moment(view.expires_at),
        pickup_code=view.pickup_code,
        drop_off=show_position(view.drop_off),
        reason=view.reason,
        campaign_id=view.campaign_id,
        group_id=view.group_id,
    )


def show_order_row(row: dict[str, Any]) -> Order:
    """An order, from the books (the members of ``OrderView`` by name)."""
    return msgspec.convert(show_row(row), Order)


def show_payment_opened(view: PaymentView, pay_url: str | None) -> PaymentOpened:
    """A payment and where the customer pays it."""
    return PaymentOpened(
        view.payment_id, view.provider, view.state, view.amount, view.currency, pay_url
    )


def _show_line(line: LineView) -> OrderLine:
    return OrderLine(
        line.line_id, line.sku, line.name, line.quantity, line.unit_price, line.amount,
        line.fulfilment_id, line.refunded_quantity, line.refunded_amount, line.short_quantity,
        line.short_amount, line.short_reason,
    )  # fmt: skip


def _show_fulfilment(part: FulfilmentView) -> Fulfilment:
    return Fulfilment(
        part.fulfilment_id, part.store_id, part.state, maybe_moment(part.due_at),
        part.cash_due, part.freight, part.rider_id, part.reason,
        part.reason_code, part.why,
    )  # fmt: skip


def _show_payment(payment: PaymentView) -> Payment:
    return Payment(
        payment.payment_id, payment.provider, payment.state, payment.amount, payment.currency
    )


def _show_refund(refund: RefundView) -> Refund:
    return Refund(refund.refund_id, refund.payment_id, refund.amount, refund.state, refund.reason)
