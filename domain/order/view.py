"""The order as its readers see it, built from its state."""

from domain.order.commands import Address
from domain.order.events import Line
from domain.order.ids import whole_refund_id
from domain.order.money import cash_due, short_amount
from domain.order.state import OrderState, Part, Payment, words_of
from domain.order.views import FulfilmentView, LineView, OrderView, PaymentView, RefundView
from domain.reasons import parked_for

__all__ = ["payment_view", "view"]


def view(state: OrderState, reason: str = "") -> OrderView:
    """The order's view; ``reason`` overrides the state's own."""
    address: Address | None = state.address
    return OrderView(
        order_id=state.order_id,
        state=state.state,
        channel=state.channel,
        customer_id=state.customer.customer_id,
        currency=state.currency,
        goods=state.goods,
        freight=state.freight,
        total=state.total,
        payment=state.payment,
        delivery=state.delivery,
        lines=tuple([_line(state, line) for line in state.lines]),
        fulfilments=tuple([_part(state, part) for part in state.parts]),
        payments=tuple([payment_view(state, payment_id) for payment_id in state.payments]),
        refunds=tuple(
            [
                RefundView(refund_id, refund.payment_id, refund.amount, refund.state, refund.reason)
                for refund_id, refund in state.refunds.items()
            ]
        ),
        placed_at=state.placed_at,
        expires_at=state.expires_at,
        pickup_code=state.pickup_code,
        reason=reason or state.reason,
        drop_off=address.position if address else None,
        refunded=sum(
            [refund.amount for refund in state.refunds.values() if refund.state != "refused"]
        ),
        cash_collected=sum([part.cash for part in state.parts]),
        campaign_id=state.campaign_id,
        group_id=state.group_id,
    )


def payment_view(state: OrderState, payment_id: str) -> PaymentView:
    """One payment's view."""
    payment = state.payments[payment_id]
    return PaymentView(
        payment_id, payment.provider, _payment_state(state, payment_id, payment),
        payment.captured or payment.amount, payment.currency,
    )  # fmt: skip


def _line(state: OrderState, line: Line) -> LineView:
    mark = state.marks.get(line.line_id)
    if mark is None:
        return LineView(
            line.line_id, line.sku, line.name, line.quantity, line.unit_price, line.amount,
            line.fulfilment_id, list_price=line.list_price,
        )  # fmt: skip
    return LineView(
        line.line_id, line.sku, line.name, line.quantity, line.unit_price, line.amount,
        line.fulfilment_id, mark.refunded, mark.amount, mark.short, line.list_price,
        short_amount(state, line), mark.short_reason,
    )  # fmt: skip


def _part(state: OrderState, part: Part) -> FulfilmentView:
    fulfilment, code, why = part.fulfilment, "", ""
    if part.state == "parked":
        why = part.why
        _, code, _ = parked_for(part.reason, part.reason_code, why, part.detail)
    return FulfilmentView(
        fulfilment.fulfilment_id, fulfilment.store_id, part.state, part.due_at,
        cash_due(state, part), fulfilment.freight, part.rider_id, words_of(part),
        code, why,
    )  # fmt: skip


def _payment_state(state: OrderState, payment_id: str, payment: Payment) -> str:
    if not state.refunds or payment.state not in ("captured", "flagged"):
        return payment.state
    flagged = len(payment.flagged) if payment.state == "captured" else 0
    others = {whole_refund_id(payment_id, number) for number in range(flagged)}
    own = [
        refund
        for refund_id, refund in state.refunds.items()
        if refund.payment_id == payment_id and refund_id not in others
    ]
    if any(refund.state == "requested" for refund in own):
        return "refunding"
    done = sum(refund.amount for refund in own if refund.state == "done")
    return "refunded" if own and done >= payment.captured else payment.state
