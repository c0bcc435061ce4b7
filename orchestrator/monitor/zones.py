"""Dispatch zones as the monitor sees them: parcels whose cash no rider may collect."""

from collections.abc import Callable
from typing import Any

from domain import dispatch
from domain.dispatch.state import State
from domain.order.ids import order_of
from orchestrator.monitor.anomalies import Anomalies, Remedy

__all__ = ["Zones"]


class Zones:
    """What is wrong in the zones. Memory follows the parcels that are blocked."""

    def __init__(self, anomalies: Anomalies, currency_of: Callable[[str], str]) -> None:
        """``currency_of`` a dispatch zone, "" for one without a store."""
        self._anomalies = anomalies
        self._currency_of = currency_of

    def load(self, zone_id: str, state: State, now: float) -> None:
        """A zone as it is now."""
        for parcel_id, one in state.parcels.items():
            if one.escalated_at:
                self._raise(zone_id, parcel_id, one.cash_due, one.room, one.escalated_at)

    def apply(self, zone_id: str, event: Any, at: float) -> None:
        """One event of a zone."""
        match event:
            case dispatch.CashEscalated(parcel_id, cash_due, room, since):
                self._raise(zone_id, parcel_id, cash_due, room, since)
            case dispatch.CashUnblocked(parcel_id) | dispatch.ParcelLeft(parcel_id):
                self._anomalies.clear("cash-over-limits", parcel_id)

    def _raise(self, zone_id: str, parcel_id: str, cash_due: int, room: int, at: float) -> None:
        order_id = order_of(parcel_id)
        self._anomalies.raise_(
            "cash-over-limits", parcel_id, at,
            f"No rider of the zone may collect {cash_due} (minor units); the most that one may is"
            f" {room}. Have riders remit, send one with a higher limit, or cancel the order.",
            (Remedy("cancel", "POST", f"/v1/orders/{order_id}/cancel", {"reason": None}),),
            facts={"cash_due": cash_due, "most": room, "currency": self._currency_of(zone_id)},
            order_id=order_id, fulfilment_id=parcel_id, zone_id=zone_id,
        )  # fmt: skip
