"""Riders as the monitor sees them: where they are, what they carry, what cash they hold."""

from typing import Any

from domain import rider
from domain.rider.state import State
from orchestrator.monitor.anomalies import Anomalies, Remedy
from orchestrator.push.document import time_text

__all__ = ["Fleet"]


class Fleet:
    """Everybody on shift, and everybody who holds cash."""

    def __init__(self, anomalies: Anomalies) -> None:
        self._anomalies = anomalies
        self.riders: dict[str, dict[str, Any]] = {}
        """Rider id -> JSON document."""
        self.dirty: set[str] = set()
        """Ids of riders whose document changed since somebody emptied this set."""

    def load(self, rider_id: str, state: State, now: float) -> None:
        """A rider as it is now."""
        shift = state.shift
        if shift is None and not state.cash:
            return
        known = self._known(rider_id)
        known["cash"], known["currency"] = state.cash, state.currency
        if state.last_zone:
            known["zone_id"] = state.last_zone
        if shift is not None:
            known |= {
                "on_shift": True, "zone_id": shift.dispatch_zone, "vehicle": shift.vehicle,
                "cash_limit": shift.cash_limit,
            }  # fmt: skip
        if state.position is not None:
            known |= _place(state.position, state.moved_at)
        if state.offer is not None:
            known["offer_id"] = state.offer.offer_id
        known["run"] = {
            parcel_id: _stop(one.parcel, one.state) for parcel_id, one in state.parcels.items()
        }
        self._check_cash(rider_id, known, state.moved_at)

    def apply(self, rider_id: str, event: Any, at: float) -> None:
        """One event of a rider."""
        if isinstance(event, rider.Noted | rider.DeviceAcknowledged | rider.DeviceRegistered):
            return
        known = self._known(rider_id)
        match event:
            case rider.Moved(position, moved_at):
                known |= _place(position, moved_at)
            case rider.ShiftStarted():
                known |= {
                    "on_shift": True, "zone_id": event.dispatch_zone, "vehicle": event.vehicle,
                    "cash_limit": event.cash_limit, **_place(event.position, event.at),
                }  # fmt: skip
            case rider.ShiftEnded():
                known["on_shift"] = False
            case rider.OfferReceived(offer):
                known["offer_id"] = offer.offer_id
            case rider.OfferEnded():
                known.pop("offer_id", None)
            case rider.ParcelsTaken():
                known.pop("offer_id", None)
                for parcel in event.parcels:
                    known["run"][parcel.parcel_id] = _stop(parcel, "accepted")
            case rider.ParcelMoved(parcel_id, state):
                if parcel_id in known["run"]:
                    known["run"][parcel_id] = known["run"][parcel_id] | {"state": state}
            case rider.ParcelDelivered():
                known["run"].pop(event.parcel_id, None)
                known["cash"] += event.cash
                if event.cash:
                    known["currency"] = event.currency
            case rider.ParcelRemoved(parcel_id):
                known["run"].pop(parcel_id, None)
            case rider.Remitted():
                known["cash"] = 0
        self._check_cash(rider_id, known, at)
        if not known["on_shift"] and not known["cash"]:
            del self.riders[rider_id]

    def of_zone(self, zone_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Who works in the zone, or did last and still holds cash; who owes most first."""
        found = [(key, one) for key, one in self.riders.items() if one.get("zone_id") == zone_id]
        return sorted(found, key=lambda each: (-each[1]["cash"], each[0]))

    def counts(self) -> dict[str, int]:
        """On shift, free (no run, no offer), carrying, offline but holding cash."""
        on_shift = [one for one in self.riders.values() if one["on_shift"]]
        return {
            "on_shift": len(on_shift),
            "free": sum(1 for one in on_shift if not one["run"] and "offer_id" not in one),
            "busy": sum(1 for one in on_shift if one["run"]),
            "owing": sum(1 for one in self.riders.values() if one["cash"]),
        }

    def _known(self, rider_id: str) -> dict[str, Any]:
        self.dirty.add(rider_id)
        return self.riders.setdefault(
            rider_id,
            {"on_shift": False, "cash": 0, "currency": "", "cash_limit": 0, "run": {}},
        )

    def _check_cash(self, rider_id: str, known: dict[str, Any], at: float) -> None:
        cash, limit = known["cash"], known["cash_limit"]
        if cash > limit > 0:
            self._anomalies.raise_(
                "rider-over-cash-limit", rider_id, at,
                f"The rider holds {cash} {known['currency']} (minor units); the limit is {limit}.",
                (
                    Remedy(
                        "remit", "POST", f"/v1/riders/{rider_id}/remittances",
                        {"amount": cash, "owed": cash}, optional=("reason",),
                    ),
                ),
                facts={"cash": cash, "limit": limit, "currency": known["currency"]},
                rider_id=rider_id,
            )  # fmt: skip
        else:
            self._anomalies.clear("rider-over-cash-limit", rider_id)


def _place(position: Any, at: float) -> dict[str, Any]:
    return {"lat": position.lat, "lon": position.lon, "moved_at": time_text(at)}


def _stop(parcel: rider.OfferedParcel, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "order_id": parcel.order_id,
        "store_id": parcel.store_id,
        "due_at": time_text(parcel.due_at),
        "drop_off": {"lat": parcel.drop_off.lat, "lon": parcel.drop_off.lon},
    }
