"""Facts of one dispatch zone."""

from domain.dispatch.commands import AddParcel
from domain.geo import Position
from domain.message import Event

__all__ = [
    "Assigned", "CashBlocked", "CashEscalated", "CashUnblocked", "OfferClosed", "OfferMade",
    "ParcelAdded", "ParcelLeft", "ParcelMarkedReady",
    "ParcelPickedUp", "ParcelPrioritised", "ParcelReturnedToPool", "ParcelRevised",
    "RiderJoined", "RiderLeft", "RidersMoved", "RoundScheduled",
]  # fmt: skip


class ParcelAdded(Event, tag="dispatch.parcel_added.v1"):
    """Waits for a rider."""

    added: AddParcel
    at: float


class ParcelMarkedReady(Event, tag="dispatch.parcel_marked_ready.v1"):
    """Packed."""

    parcel_id: str
    at: float


class ParcelRevised(Event, tag="dispatch.parcel_revised.v1"):
    """Another sum to collect."""

    parcel_id: str
    cash_due: int
    at: float = 0.0


class ParcelLeft(Event, tag="dispatch.parcel_left.v1"):
    """``withdrawn | delivered | failed | returned``; leaves the zone."""

    parcel_id: str
    outcome: str
    at: float


class RiderJoined(Event, tag="dispatch.rider_joined.v1"):
    """On shift here."""

    rider_id: str
    vehicle: str
    position: Position
    capacity: int
    cash_headroom: int
    at: float


class RidersMoved(Event, tag="dispatch.riders_moved.v1"):
    """(rider_id, position, cash_headroom, at) of riders heard of."""

    moves: tuple[tuple[str, Position, int, float], ...]


class RiderLeft(Event, tag="dispatch.rider_left.v1"):
    """Off shift."""

    rider_id: str
    at: float


class OfferMade(Event, tag="dispatch.offer_made.v1"):
    """Proposed to one rider; nobody else is offered these parcels until it is closed."""

    offer_id: str
    rider_id: str
    parcel_ids: tuple[str, ...]
    expires_at: float
    pay: int
    distance_m: int
    at: float


class OfferClosed(Event, tag="dispatch.offer_closed.v1"):
    """``declined | expired | withdrawn | refused``; its parcels wait again."""

    offer_id: str
    outcome: str
    at: float


class Assigned(Event, tag="dispatch.assigned.v1"):
    """The rider took the offer: these parcels are theirs."""

    offer_id: str
    rider_id: str
    parcel_ids: tuple[str, ...]
    at: float


class ParcelReturnedToPool(Event, tag="dispatch.parcel_returned_to_pool.v1"):
    """Taken from its rider before pick-up; waits again."""

    parcel_id: str
    why: str
    by: str
    at: float


class ParcelPickedUp(Event, tag="dispatch.parcel_picked_up.v1"):
    """With its rider; it can no longer be taken away."""

    parcel_id: str
    rider_id: str
    at: float


class ParcelPrioritised(Event, tag="dispatch.parcel_prioritised.v1"):
    """Operations put it first in the next round: ``by`` whom and ``why``."""

    parcel_id: str
    by: str
    why: str
    at: float


class CashBlocked(Event, tag="dispatch.cash_blocked.v1"):
    """No rider here may collect a waiting parcel's cash; ``room`` is the most that one of them may
    collect before remitting."""

    parcel_id: str
    cash_due: int
    room: int
    at: float


class CashEscalated(Event, tag="dispatch.cash_escalated.v1"):
    """That has lasted too long: operations must act."""

    parcel_id: str
    cash_due: int
    room: int
    at: float


class CashUnblocked(Event, tag="dispatch.cash_unblocked.v1"):
    """Somebody may collect it now."""

    parcel_id: str
    at: float


class RoundScheduled(Event, tag="dispatch.round_scheduled.v1"):
    """The next matching round; None when there is nothing to match."""

    at: float | None
