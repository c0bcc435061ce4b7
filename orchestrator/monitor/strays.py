"""Captured payments that no order has, as the monitor sees them.

No journal holds them: they are what providers told this gateway. Their webhooks are refused, so
that the provider tells again, also after a restart.
"""

from domain.payment import ProviderAnswer
from orchestrator.monitor.anomalies import Anomalies

__all__ = ["STRAYS_MAX", "Strays"]

STRAYS_MAX = 200
"""Most payments shown, the latest: a provider gone wild must not hide what else is wrong."""


class Strays:
    """One anomaly per payment, until an order has it or the provider gave it back whole."""

    def __init__(self, anomalies: Anomalies) -> None:
        self._anomalies = anomalies
        self._captured: dict[str, tuple[str, ProviderAnswer, float]] = {}
        """``<provider>/<payment id>`` -> what was told, and when."""

    def told_as(self, before: "Strays") -> None:
        """Take over what ``before`` was told."""
        for provider, event, at in before._captured.values():
            self._stray(provider, event, at)

    def heard(self, provider: str, event: ProviderAnswer, has_order: bool, now: float) -> None:
        """A provider told of captured or refunded money; ``has_order``: an order knows of it."""
        if has_order or self._gave_back(provider, event):
            self._forget(f"{provider}/{event.payment_id}")
        elif not event.refund_id:
            self._stray(provider, event, event.occurred_at or now)

    def _gave_back(self, provider: str, event: ProviderAnswer) -> bool:
        known = self._captured.get(f"{provider}/{event.payment_id}")
        return (
            known is not None
            and event.status == "refunded"
            and event.currency == known[1].currency
            and event.amount >= known[1].amount
        )

    def _stray(self, provider: str, event: ProviderAnswer, at: float) -> None:
        about = f"{provider}/{event.payment_id}"
        if about not in self._captured and len(self._captured) >= STRAYS_MAX:
            self._forget(next(iter(self._captured)))
        self._captured[about] = (provider, event, at)
        self._anomalies.raise_(
            "payment-without-order", about, at,
            f"{provider} captured {event.amount} {event.currency} (minor units) for an order that"
            " nobody knows. Look for it in the books; else give the money back at the provider.",
            facts={"provider": provider, "taken": event.amount, "currency": event.currency},
            payment_id=event.payment_id, provider=provider,
        )  # fmt: skip

    def _forget(self, about: str) -> None:
        if self._captured.pop(about, None) is not None:
            self._anomalies.clear("payment-without-order", about)
