"""Facts of one rider."""

from domain import inbox
from domain.geo import Position
from domain.message import Event
from domain.rider.commands import Offer, OfferedParcel

__all__ = [
    "DeviceAcknowledged", "DeviceRegistered", "Moved", "Noted", "OfferEnded", "OfferReceived",
    "ParcelDelivered", "ParcelMoved", "ParcelRemoved", "ParcelRevised", "ParcelsTaken", "Remitted",
    "ShiftClosing", "ShiftEnded", "ShiftStarted",
]  # fmt: skip


class Noted(inbox.Noted, tag="rider.noted.v1"):
    """Messages for the rider's devices."""


class ShiftStarted(Event, tag="rider.shift_started.v1"):
    """On shift."""

    dispatch_zone: str
    vehicle: str
    position: Position
    capacity: int
    cash_limit: int
    ends_at: float | None
    at: float
    currencies: tuple[str, ...] = ()
    """Those of the zone's stores; empty: not known."""


class ShiftClosing(Event, tag="rider.shift_closing.v1"):
    """The shift's end has come with parcels still in the run: no more offers; it ends with them."""

    at: float


class ShiftEnded(Event, tag="rider.shift_ended.v1"):
    """Off shift."""

    at: float


class Moved(Event, tag="rider.moved.v1"):
    """Where the rider is now."""

    position: Position
    at: float


class OfferReceived(Event, tag="rider.offer_received.v1"):
    """A proposal is open."""

    offer: Offer
    at: float


class OfferEnded(Event, tag="rider.offer_ended.v1"):
    """``declined | withdrawn | expired``."""

    offer_id: str
    outcome: str
    reason: str
    at: float


class ParcelsTaken(Event, tag="rider.parcels_taken.v1"):
    """An offer was accepted: the parcels join the run, ``stops`` is its new order (parcel ids,
    each pick-up before its drop-off: ``("pick_up" | "drop_off", parcel_id)``)."""

    offer_id: str
    parcels: tuple[OfferedParcel, ...]
    stops: tuple[tuple[str, str], ...]
    at: float


class ParcelMoved(Event, tag="rider.parcel_moved.v1"):
    """``at_store | picked_up | at_customer | returning``."""

    parcel_id: str
    state: str
    at: float
    reason: str = ""


class ParcelRevised(Event, tag="rider.parcel_revised.v1"):
    """Another sum to collect."""

    parcel_id: str
    cash_due: int
    at: float


class ParcelDelivered(Event, tag="rider.parcel_delivered.v1"):
    """At the door; ``cash`` kept (received less change) adds to what the rider owes."""

    parcel_id: str
    order_id: str
    cash: int
    received: int
    change: int
    currency: str
    at: float


class ParcelRemoved(Event, tag="rider.parcel_removed.v1"):
    """Left the run undelivered: ``cancelled | returned | unassigned``."""

    parcel_id: str
    outcome: str
    at: float
    by: str = ""
    why: str = ""


class Remitted(Event, tag="rider.remitted.v1"):
    """Cash handed in: ``owed`` was held, ``amount`` counted; ``difference = amount - owed``, with
    the cashier's ``reason`` for it."""

    remittance_id: str
    owed: int
    amount: int
    difference: int
    received_by: str
    currency: str
    at: float
    reason: str = ""


class DeviceRegistered(inbox.DeviceRegistered, tag="rider.device_registered.v1"):
    """A phone connected."""


class DeviceAcknowledged(inbox.DeviceAcknowledged, tag="rider.device_acknowledged.v1"):
    """A phone has stored messages."""
