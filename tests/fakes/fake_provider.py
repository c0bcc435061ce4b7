"""A payment provider in memory: the port's rules and nothing else. No I/O, no randomness.

It passes the same conformance suite as every real adapter, and serves tests and simulations that
need no HTTP. ``away`` makes every call raise ``Unavailable``; ``pay`` and ``decline`` are the
customer; ``take_webhooks`` hands over what a real provider would have sent by now.
"""

from dataclasses import dataclass

import msgspec

from actors.engine.ports import Clock
from adapters.payments.signature import SIGNATURE_HEADER, check, sign
from domain.errors import Refused, Unavailable
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)

__all__ = ["FakeProvider"]


@dataclass
class _Payment:
    created: CreatePayment
    status: str = "pending"
    refunded: int = 0


class FakeProvider:
    """See the module and ``adapters.payments.port.PaymentProvider``."""

    def __init__(self, clock: Clock, webhook_secret: str = "fake-secret") -> None:
        self.away = False
        self.calls: list[tuple[str, str]] = []
        """(command's class name, effect id) of every call."""
        self._clock = clock
        self._secret = webhook_secret
        self._payments: dict[str, _Payment] = {}
        self._refunds: dict[tuple[str, str], RefundPayment] = {}
        self._events: list[ProviderAnswer] = []

    async def create(self, command: CreatePayment, effect_id: str) -> ProviderAnswer:
        self._note(command, effect_id)
        known = self._payments.get(command.payment_id)
        if known is None:
            self._payments[command.payment_id] = _Payment(command)
            self._announce(command.payment_id)
        elif (known.created.order_id, known.created.amount, known.created.currency) != (
            command.order_id, command.amount, command.currency,
        ):  # fmt: skip
            raise Refused("idempotency-conflict", "Exists with another content.")
        return self._answer(command.payment_id)

    async def capture(self, command: CapturePayment, effect_id: str) -> ProviderAnswer:
        self._note(command, effect_id)
        payment = self._get(command.payment_id)
        if (payment.created.amount, payment.created.currency) != (
            command.amount, command.currency,
        ):  # fmt: skip
            raise Refused("wrong-amount", "Capture the amount of the payment.")
        if payment.status != "captured":
            raise Refused("payment-not-authorised", f"It is {payment.status}.")
        return self._answer(command.payment_id)

    async def refund(self, command: RefundPayment, effect_id: str) -> ProviderAnswer:
        self._note(command, effect_id)
        payment = self._get(command.payment_id)
        if command.currency != payment.created.currency:
            raise Refused("wrong-currency", f"Paid in {payment.created.currency}.")
        known = self._refunds.get((command.payment_id, command.refund_id))
        if known is not None and known != command:
            raise Refused("idempotency-conflict", "Exists with another content.")
        answer = _changed(
            self._answer(command.payment_id), status="refunded",
            refund_id=command.refund_id, amount=command.amount,
        )  # fmt: skip
        if known is None:
            if payment.status != "captured":
                raise Refused("payment-not-captured", f"It is {payment.status}.")
            if payment.refunded + command.amount > payment.created.amount:
                raise Refused("refund-exceeds-captured", "More than was captured.")
            payment.refunded += command.amount
            self._refunds[command.payment_id, command.refund_id] = command
            self._events.append(self._event(answer))
        return answer

    async def query(self, command: QueryPayment, effect_id: str) -> ProviderAnswer:
        self._note(command, effect_id)
        if command.payment_id not in self._payments:
            return ProviderAnswer(command.payment_id, "unknown")
        return self._answer(command.payment_id)

    def verify(self, body: bytes, headers: dict[str, str], now: float) -> ProviderAnswer:
        check(body, headers.get(SIGNATURE_HEADER, ""), [self._secret], now, self._clock.speed)
        try:
            return msgspec.json.decode(body, type=ProviderAnswer)
        except (msgspec.ValidationError, msgspec.DecodeError) as problem:
            raise Refused("malformed-webhook", str(problem)) from None

    def pay_url(self, payment_id: str) -> str:
        return f"https://pay.test/{payment_id}"

    def pay(self, payment_id: str, late: bool = False) -> None:
        self._expire()
        payment = self._payments[payment_id]
        if payment.status == "pending" or (late and payment.status == "expired"):
            payment.status = "captured"
            self._announce(payment_id)

    def decline(self, payment_id: str) -> None:
        self._expire()
        if self._payments[payment_id].status == "pending":
            self._payments[payment_id].status = "failed"
            self._announce(payment_id)

    def take_webhooks(self) -> list[tuple[bytes, dict[str, str]]]:
        self._expire()
        events, self._events = self._events, []
        return [self._signed(msgspec.json.encode(event)) for event in events]

    def sign(self, body: bytes) -> dict[str, str]:
        return self._signed(body)[1]

    def _signed(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        return body, {SIGNATURE_HEADER: sign(body, self._secret, self._clock.now())}

    def _note(self, command: object, effect_id: str) -> None:
        if self.away:
            raise Unavailable("provider-away", "Away on purpose.")
        self.calls.append((type(command).__name__, effect_id))
        self._expire()

    def _expire(self) -> None:
        for payment_id, payment in self._payments.items():
            expires_at = payment.created.expires_at
            if payment.status == "pending" and expires_at and expires_at <= self._clock.now():
                payment.status = "expired"
                self._announce(payment_id)

    def _get(self, payment_id: str) -> _Payment:
        if payment_id not in self._payments:
            raise Refused("unknown-payment", "No such payment.")
        return self._payments[payment_id]

    def _answer(self, payment_id: str) -> ProviderAnswer:
        payment = self._payments[payment_id]
        return ProviderAnswer(
            payment_id, payment.status, f"fake_{payment_id}",
            payment.created.amount, payment.created.currency,
        )  # fmt: skip

    def _announce(self, payment_id: str) -> None:
        self._events.append(self._event(self._answer(payment_id)))

    def _event(self, answer: ProviderAnswer) -> ProviderAnswer:
        return _changed(
            answer, event_id=f"{answer.payment_id}/{answer.status}/{answer.refund_id}",
            occurred_at=self._clock.now(),
        )  # fmt: skip


def _changed(answer: ProviderAnswer, **changes: object) -> ProviderAnswer:
    return msgspec.structs.replace(answer, **changes)
