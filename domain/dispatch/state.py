"""What one dispatch zone remembers, and how each fact changes it.

The zone is the authority on who may carry a parcel: a parcel is *waiting*, *offered* (to one
rider), *assigned* (to one rider) or *picked_up*, never two of these and never with two riders.
"""

from msgspec import Struct, field

from domain.dispatch.commands import AddParcel
from domain.dispatch.events import (
    Assigned,
    CashBlocked,
    CashEscalated,
    CashUnblocked,
    OfferClosed,
    OfferMade,
    ParcelAdded,
    ParcelLeft,
    ParcelMarkedReady,
    ParcelPickedUp,
    ParcelPrioritised,
    ParcelReturnedToPool,
    ParcelRevised,
    RiderJoined,
    RiderLeft,
    RidersMoved,
    RoundScheduled,
)
from domain.geo import Position
from domain.memory import remember
from domain.message import Event
from domain.rider.commands import OfferedParcel

__all__ = [
    "BARRED_S", "NEVER", "REST_MAX_S", "REST_S", "OpenOffer", "Parcel", "Rider", "State", "born",
    "evolve", "wake_at",
]  # fmt: skip

NEVER = float("inf")
BARRED_S = 300.0
"""A rider who declined or let pass an offer is not offered its parcels again for so long."""
REST_S = 60.0
REST_MAX_S = 600.0
"""A rider who let an offer pass, or could not take it, is offered nothing for so long; doubling
with each further one until they answer. Offers nobody looks at must not keep the zone busy."""


class Parcel(Struct, array_like=True, gc=False):
    """One parcel. ``phase``: ``waiting | offered | assigned | picked_up``."""

    parcel: OfferedParcel
    weight_g: int
    added_at: float
    ready_at: float
    cash_due: int
    ready: bool = False
    phase: str = "waiting"
    offer_id: str = ""
    """The open offer, or the one that was taken."""
    rider_id: str = ""
    offers: int = 0
    priority: bool = False
    cash_at: float = 0.0
    """When the store decided on ``cash_due``."""
    barred: dict[str, float] = field(default_factory=dict)
    """Rider -> until when it is not offered to them."""
    blocked_at: float = 0.0
    """Since when no rider here may collect its cash; 0 while one may."""
    escalated_at: float = 0.0
    """When operations was told of that."""
    room: int = 0
    """While it is blocked: the most cash that a rider here could have collected."""


class Rider(Struct, array_like=True, gc=False):
    """One rider on shift here. ``leaving``: no more offers, only the run to its end."""

    vehicle: str
    position: Position
    capacity: int
    cash_headroom: int
    joined_at: float
    seen_at: float
    parcels: list[str] = field(default_factory=list)
    offer_id: str = ""
    resting_until: float = 0.0
    leaving: bool = False
    headroom_at: float = 0.0
    unanswered: int = 0
    """Offers in a row that this rider let pass."""


class OpenOffer(Struct, array_like=True, gc=False):
    """Proposed to one rider; excludes all others while it is open."""

    rider_id: str
    parcel_ids: tuple[str, ...]
    expires_at: float
    pay: int
    distance_m: int
    made_at: float


class State(Struct, array_like=True, gc=False):
    """One dispatch zone."""

    parcels: dict[str, Parcel] = field(default_factory=dict)
    riders: dict[str, Rider] = field(default_factory=dict)
    offers: dict[str, OpenOffer] = field(default_factory=dict)
    """Oldest first; all stay open equally long, so the first one expires first."""
    waiting: dict[str, bool] = field(default_factory=dict)
    """Ids of waiting parcels, in the order they began to wait."""
    offers_made: int = 0
    round_at: float | None = None
    gone: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Parcels that left: (when, how). A late ``AddParcel`` does not bring them back."""
    left: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Riders who went off shift: a late ``JoinRider`` of that shift does not bring them back."""
    early: dict[str, tuple[float, str]] = field(default_factory=dict)
    """News of parcels that have not come in yet: ``ready`` and ``cash`` by ``<what>:<parcel>``."""


def born() -> State:
    """A zone nobody has addressed before."""
    return State()


def evolve(state: State | None, event: Event) -> State:
    """Apply one fact, in place."""
    if state is None:
        state = born()
    match event:
        case RidersMoved():
            _move_riders(state, event)
        case RoundScheduled():
            state.round_at = event.at
        case OfferMade():
            _open(state, event)
        case OfferClosed():
            _close(state, event)
        case Assigned():
            _assign(state, event)
        case RiderJoined():
            _join(state, event)
        case RiderLeft():
            _leave(state, event)
        case _:
            _parcel(state, event)
    return state


def wake_at(state: State) -> float:
    """The next round or the next expiry, whichever is first. O(1)."""
    at = NEVER if state.round_at is None else state.round_at
    for offer in state.offers.values():
        return min(at, offer.expires_at)
    return at


def _parcel(state: State, event: Event) -> None:
    """Facts about one parcel."""
    match event:
        case ParcelAdded():
            _add(state, event.added, event.at)
        case ParcelMarkedReady():
            known = state.parcels.get(event.parcel_id)
            if known is None:
                remember(state.early, f"ready:{event.parcel_id}", event.at, "")
            else:
                known.ready, known.ready_at = True, event.at
        case ParcelRevised():
            known = state.parcels.get(event.parcel_id)
            if known is None:
                cash = str(event.cash_due)
                remember(state.early, f"cash:{event.parcel_id}", event.at, cash)
            else:
                known.cash_due, known.cash_at = event.cash_due, event.at
        case ParcelLeft():
            _detach(state, event.parcel_id)
            state.parcels.pop(event.parcel_id, None)
            state.waiting.pop(event.parcel_id, None)
            remember(state.gone, event.parcel_id, event.at, event.outcome)
        case ParcelReturnedToPool():
            _return(state, event)
        case ParcelPickedUp():
            known = state.parcels.get(event.parcel_id)
            if known is not None:
                known.phase = "picked_up"
        case CashBlocked() | CashEscalated() | CashUnblocked():
            _block(state, event)
        case ParcelPrioritised():
            known = state.parcels.get(event.parcel_id)
            if known is not None:
                known.priority = True
                known.barred.clear()


def _block(state: State, event: CashBlocked | CashEscalated | CashUnblocked) -> None:
    known = state.parcels.get(event.parcel_id)
    if known is None:
        return
    match event:
        case CashBlocked():
            known.blocked_at, known.room = event.at, event.room
        case CashEscalated():
            known.escalated_at, known.room = event.at, event.room
        case CashUnblocked():
            known.blocked_at, known.escalated_at, known.room = 0.0, 0.0, 0


def _add(state: State, added: AddParcel, at: float) -> None:
    parcel = added.parcel
    parcel_id = parcel.parcel_id
    known = Parcel(parcel, added.weight_g, at, parcel.ready_at, parcel.cash_due)
    ready = state.early.pop(f"ready:{parcel_id}", None)
    if ready is not None:
        known.ready, known.ready_at = True, ready[0]
    cash = state.early.pop(f"cash:{parcel_id}", None)
    if cash is not None:
        known.cash_due, known.cash_at = int(cash[1]), cash[0]
    state.parcels[parcel_id] = known
    state.waiting[parcel_id] = True


def _open(state: State, event: OfferMade) -> None:
    state.offers_made += 1
    state.offers[event.offer_id] = OpenOffer(
        event.rider_id, event.parcel_ids, event.expires_at, event.pay, event.distance_m, event.at
    )
    rider = state.riders.get(event.rider_id)
    if rider is not None:
        rider.offer_id = event.offer_id
    for parcel_id in event.parcel_ids:
        parcel = state.parcels[parcel_id]
        parcel.phase, parcel.offer_id, parcel.rider_id = "offered", event.offer_id, event.rider_id
        parcel.offers += 1
        state.waiting.pop(parcel_id, None)


def _close(state: State, event: OfferClosed) -> None:
    offer = state.offers.pop(event.offer_id, None)
    if offer is None:
        return
    rider = state.riders.get(offer.rider_id)
    if rider is not None and rider.offer_id == event.offer_id:
        rider.offer_id = ""
        if event.outcome in ("expired", "refused"):
            rider.resting_until = event.at + min(REST_S * 2**rider.unanswered, REST_MAX_S)
            rider.unanswered += 1
        elif event.outcome == "declined":
            rider.unanswered = 0
    for parcel_id in offer.parcel_ids:
        parcel = state.parcels.get(parcel_id)
        if parcel is not None and parcel.offer_id == event.offer_id:
            _wait_again(state, parcel_id, parcel)
            if event.outcome in ("declined", "expired"):
                _bar(parcel, offer.rider_id, event.at)


def _assign(state: State, event: Assigned) -> None:
    state.offers.pop(event.offer_id, None)
    rider = state.riders.get(event.rider_id)
    for parcel_id in event.parcel_ids:
        parcel = state.parcels[parcel_id]
        parcel.phase, parcel.rider_id, parcel.offer_id = "assigned", event.rider_id, event.offer_id
        parcel.priority = False
        if rider is not None:
            rider.parcels.append(parcel_id)
            rider.cash_headroom -= parcel.cash_due
    if rider is not None:
        rider.headroom_at = event.at
        rider.unanswered = 0
        if rider.offer_id == event.offer_id:
            rider.offer_id = ""


def _return(state: State, event: ParcelReturnedToPool) -> None:
    parcel = state.parcels.get(event.parcel_id)
    if parcel is None:
        return
    rider_id = parcel.rider_id
    _detach(state, event.parcel_id)
    _wait_again(state, event.parcel_id, parcel)
    if rider_id:
        _bar(parcel, rider_id, event.at)


def _wait_again(state: State, parcel_id: str, parcel: Parcel) -> None:
    parcel.phase, parcel.offer_id, parcel.rider_id = "waiting", "", ""
    state.waiting[parcel_id] = True


def _bar(parcel: Parcel, rider_id: str, at: float) -> None:
    for name in [name for name, until in parcel.barred.items() if until <= at]:
        del parcel.barred[name]
    parcel.barred[rider_id] = at + BARRED_S


def _detach(state: State, parcel_id: str) -> None:
    """Take a parcel off its rider; a leaving rider goes with the last one."""
    parcel = state.parcels.get(parcel_id)
    rider = None if parcel is None else state.riders.get(parcel.rider_id)
    if parcel is None or rider is None or parcel_id not in rider.parcels:
        return
    rider.parcels.remove(parcel_id)
    if rider.leaving and not rider.parcels:
        del state.riders[parcel.rider_id]


def _move_riders(state: State, event: RidersMoved) -> None:
    for rider_id, position, cash_headroom, at in event.moves:
        rider = state.riders.get(rider_id)
        if rider is None:
            continue
        if at >= rider.seen_at:
            rider.position, rider.seen_at = position, at
        if at >= rider.headroom_at:
            rider.cash_headroom, rider.headroom_at = cash_headroom, at


def _join(state: State, event: RiderJoined) -> None:
    known = state.riders.get(event.rider_id)
    joined = Rider(
        event.vehicle,
        event.position,
        event.capacity,
        event.cash_headroom,
        event.at,
        event.at,
        headroom_at=event.at,
    )
    if known is not None:
        joined.parcels, joined.offer_id = known.parcels, known.offer_id
    state.riders[event.rider_id] = joined


def _leave(state: State, event: RiderLeft) -> None:
    remember(state.left, event.rider_id, event.at, "")
    rider = state.riders.get(event.rider_id)
    if rider is None:
        return
    if rider.parcels:
        rider.leaving = True
    else:
        del state.riders[event.rider_id]
