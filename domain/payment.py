"""Payment providers as the business sees them: requests, answers, signed webhooks.

An order owes these commands to ``provider/<name>``; the effect id is the provider's idempotency
key. A provider is never called while stock is being decided (DOMAIN, Payment).
"""

from msgspec import ValidationError, convert

from domain.message import Command, Value

__all__ = [
    "CapturePayment", "CreatePayment", "ProviderAnswer", "QueryPayment", "RefundPayment",
    "provider_answer",
]  # fmt: skip


class CreatePayment(Command, tag="payment.create.v1"):
    """Open a payment that the customer can pay until ``expires_at``."""

    payment_id: str
    order_id: str
    amount: int
    currency: str
    expires_at: float | None


class CapturePayment(Command, tag="payment.capture.v1"):
    """Take an authorised amount."""

    payment_id: str
    amount: int
    currency: str


class RefundPayment(Command, tag="payment.refund.v1"):
    """Give ``amount`` back; once per ``refund_id`` however often it is asked."""

    payment_id: str
    refund_id: str
    amount: int
    currency: str


class QueryPayment(Command, tag="payment.query.v1"):
    """What became of a payment?"""

    payment_id: str


class ProviderAnswer(Value, tag="payment.answer.v1"):
    """The provider's answer to any of these, and the content of a verified webhook.

    ``status`` of a payment: ``pending | authorised | captured | failed | expired | unknown`` (of an
    authorised one the money is reserved, and taken by ``CapturePayment``); of a refund:
    ``refunded | refused``.
    """

    payment_id: str
    status: str
    reference: str = ""
    amount: int = 0
    currency: str = ""
    refund_id: str = ""
    event_id: str = ""
    """Webhooks: the provider's own id of this event, the same at each repeat."""
    occurred_at: float = 0.0
    reason: str = ""


def provider_answer(answer: object) -> ProviderAnswer | None:
    """The answer as a struct, whether it came as one or as its decoded array; None: it is none."""
    if isinstance(answer, ProviderAnswer):
        return answer
    try:
        return convert(answer, ProviderAnswer, from_attributes=False)
    except (ValidationError, TypeError):
        return None
