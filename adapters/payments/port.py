"""What the service needs of a payment provider, and the effect handler that calls it."""

from collections.abc import Mapping
from typing import Any, Protocol, assert_never

from actors.engine.ports import Effect
from domain.errors import Refused, Unavailable
from domain.message import Command
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)

__all__ = ["PaymentProvider", "ProviderCommand", "provider_effect"]

ProviderCommand = CreatePayment | CapturePayment | RefundPayment | QueryPayment


class PaymentProvider(Protocol):
    """One provider. Conformance: ``tests/conformance/test_payment_provider_conformance.py``.

    Every call may be repeated with the same ``effect_id`` and then changes nothing further. Raises
    ``Unavailable`` when the outcome is unknown (network, time-out, a provider in trouble, a key it
    does not accept): call again. Raises ``Refused`` only for what the provider itself decided.
    """

    async def create(self, command: CreatePayment, effect_id: str) -> ProviderAnswer:
        """Open the payment, or tell its present status if it exists. Refused with
        ``idempotency-conflict`` when it exists with another amount, currency or order."""
        ...

    async def capture(self, command: CapturePayment, effect_id: str) -> ProviderAnswer:
        """Take an authorised amount; a captured payment is answered as captured. Refused with
        ``unknown-payment``, ``payment-not-authorised``, ``wrong-amount``."""
        ...

    async def refund(self, command: RefundPayment, effect_id: str) -> ProviderAnswer:
        """Give money back, once per payment and ``refund_id``; never more in all than was
        captured. Status ``refunded``. Refused with ``unknown-payment``, ``payment-not-captured``,
        ``refund-exceeds-captured``, ``wrong-currency``, ``idempotency-conflict``."""
        ...

    async def query(self, command: QueryPayment, effect_id: str) -> ProviderAnswer:
        """The payment's status now; ``unknown`` when the provider never heard of it."""
        ...

    def verify(self, body: bytes, headers: dict[str, str], now: float) -> ProviderAnswer:
        """The content of a signed webhook; header names in lower case, ``now`` in service time.

        With ``refund_id`` empty it tells of the payment, otherwise of that refund. Raises
        ``Refused`` with ``bad-signature``, ``stale-webhook`` or ``malformed-webhook``.
        """
        ...

    def pay_url(self, payment_id: str) -> str:
        """Where the customer pays; "" for a provider without a page."""
        ...


def provider_effect(providers: Mapping[str, PaymentProvider]) -> Effect:
    """The handler of sends to ``provider/<name>`` (see :data:`actors.engine.ports.Effect`).

    A name that is not configured ends a payment that was to be opened or asked about (the customer
    chooses another way to pay), but keeps a capture or refund owed: that money is real, and the
    configuration must be mended.
    """

    async def handle(name: str, command: Command, effect_id: str) -> Any:
        if not isinstance(command, ProviderCommand):
            raise Refused(
                "unknown-command", f"A provider does not understand {type(command).__name__}."
            )
        provider = providers.get(name)
        if provider is None:
            raise _not_configured(name, command)
        match command:
            case CreatePayment():
                return await provider.create(command, effect_id)
            case CapturePayment():
                return await provider.capture(command, effect_id)
            case RefundPayment():
                return await provider.refund(command, effect_id)
            case QueryPayment():
                return await provider.query(command, effect_id)
            case _:
                assert_never(command)

    return handle


def _not_configured(name: str, command: ProviderCommand) -> Refused | Unavailable:
    detail = f"No payment provider named {name!r} is configured; add it or use another."
    if isinstance(command, CapturePayment | RefundPayment):
        return Unavailable("unknown-provider", detail)
    return Refused("unknown-provider", detail)
