"""What one rider's entity remembers, and how each fact changes it."""

from copy import copy

from msgspec import Struct, field

from domain import inbox as inboxes
from domain.geo import Position
from domain.inbox import Inbox
from domain.memory import remember
from domain.message import Event
from domain.rider.commands import Offer, OfferedParcel
from domain.rider.events import (
    DeviceAcknowledged,
    DeviceRegistered,
    Moved,
    Noted,
    OfferEnded,
    OfferReceived,
    ParcelDelivered,
    ParcelMoved,
    ParcelRemoved,
    ParcelRevised,
    ParcelsTaken,
    Remitted,
    ShiftClosing,
    ShiftEnded,
    ShiftStarted,
)

__all__ = [
    "NEVER", "PICKED_UP", "Carried", "Shift", "State", "ahead", "born", "evolve", "headroom",
    "wake_at",
]  # fmt: skip

NEVER = float("inf")
PICKED_UP = ("picked_up", "at_customer", "returning")
"""States in which the goods are in the rider's hands."""


class Shift(Struct, array_like=True, frozen=True, gc=False):
    """One rider's working time. ``closing``: its end has come, the run is brought to its end."""

    dispatch_zone: str
    vehicle: str
    capacity: int
    cash_limit: int
    started_at: float
    ends_at: float | None = None
    closing: bool = False


class Carried(Struct, array_like=True, gc=False):
    """One parcel of the run. ``state``: ``accepted | at_store | picked_up | at_customer |
    returning``."""

    parcel: OfferedParcel
    state: str
    cash_due: int
    changed_at: float
    reason: str = ""
    offer_id: str = ""
    cash_at: float = 0.0
    """When the store decided on ``cash_due``."""
    taken_at: float = 0.0


class State(Struct, array_like=True, gc=False):
    """One rider."""

    inbox: Inbox
    shift: Shift | None = None
    position: Position | None = None
    moved_at: float = 0.0
    offer: Offer | None = None
    parcels: dict[str, Carried] = field(default_factory=dict)
    stops: list[tuple[str, str]] = field(default_factory=list)
    """``("pick_up" | "drop_off" | "return", parcel id)`` in riding order."""
    cash: int = 0
    """Cash held for the retailer, minor units of ``currency``."""
    currency: str = ""
    """That of the cash held; while none is held, that of the latest parcel."""
    ended_offers: dict[str, tuple[float, str]] = field(default_factory=dict)
    """``taken | declined | withdrawn | expired``: a late repeat does not open them again."""
    done: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Parcels that left the run: ``delivered | returned | cancelled | unassigned``."""
    remittances: dict[str, tuple[float, str]] = field(default_factory=dict)
    last_zone: str = ""
    """Where the shift is, or was last; empty for somebody who never came on shift."""
    zone_currencies: tuple[str, ...] = ()
    """What the stores of ``last_zone`` take, as the shift began; empty: not known."""


def born(at: float) -> State:
    """A rider nobody has addressed before."""
    return State(Inbox(inboxes.epoch_of(at)))


def evolve(state: State | None, event: Event) -> State:
    """Apply one fact, in place."""
    if state is None:
        state = born(event.messages[0].at if isinstance(event, Noted) else event.at)  # type: ignore[attr-defined]
    match event:
        case Moved():
            state.position, state.moved_at = event.position, event.at
        case Noted() | DeviceRegistered() | DeviceAcknowledged():
            inboxes.evolve(state.inbox, event)
        case ShiftStarted() | ShiftClosing() | ShiftEnded():
            _shift(state, event)
        case OfferReceived():
            state.offer = event.offer
        case OfferEnded():
            _end_offer(state, event.offer_id, event.at, event.outcome)
        case Remitted():
            state.cash, state.currency = 0, event.currency
            remember(state.remittances, event.remittance_id, event.at, str(event.amount))
        case _:
            _run(state, event)
    return state


def wake_at(state: State) -> float:
    """When the open offer expires or the shift ends. O(1)."""
    at = NEVER if state.offer is None else state.offer.expires_at
    shift = state.shift
    if shift is not None and shift.ends_at is not None and not shift.closing:
        at = min(at, shift.ends_at)
    return at


def headroom(state: State) -> int:
    """Cash that may still be collected: the limit less what is held and what the run brings."""
    if state.shift is None:
        return 0
    due = sum(one.cash_due for one in state.parcels.values() if one.state != "returning")
    return max(0, state.shift.cash_limit - state.cash - due)


def ahead(state: State, events: list[Event]) -> State:
    """A copy as it will be after these facts; inbox and memories are left out."""
    future = State(Inbox(state.inbox.epoch))
    future.shift, future.position, future.moved_at = state.shift, state.position, state.moved_at
    future.offer, future.cash, future.currency = state.offer, state.cash, state.currency
    future.parcels = {key: copy(one) for key, one in state.parcels.items()}
    future.stops = list(state.stops)
    for event in events:
        if not isinstance(event, Noted | DeviceRegistered | DeviceAcknowledged):
            evolve(future, event)
    return future


def _shift(state: State, event: ShiftStarted | ShiftClosing | ShiftEnded) -> None:
    match event:
        case ShiftStarted():
            state.shift = Shift(
                event.dispatch_zone,
                event.vehicle,
                event.capacity,
                event.cash_limit,
                event.at,
                event.ends_at,
            )
            state.position, state.moved_at = event.position, event.at
            state.last_zone, state.zone_currencies = event.dispatch_zone, event.currencies
        case ShiftClosing():
            shift = state.shift
            if shift is not None:
                state.shift = Shift(
                    shift.dispatch_zone,
                    shift.vehicle,
                    shift.capacity,
                    shift.cash_limit,
                    shift.started_at,
                    shift.ends_at,
                    True,
                )
        case ShiftEnded():
            state.shift = None


def _end_offer(state: State, offer_id: str, at: float, outcome: str) -> None:
    if state.offer is not None and state.offer.offer_id == offer_id:
        state.offer = None
    remember(state.ended_offers, offer_id, at, outcome)


def _run(state: State, event: Event) -> None:
    """Facts about the parcels of the run."""
    match event:
        case ParcelsTaken():
            _end_offer(state, event.offer_id, event.at, "taken")
            for parcel in event.parcels:
                state.parcels[parcel.parcel_id] = Carried(
                    parcel,
                    "accepted",
                    parcel.cash_due,
                    event.at,
                    offer_id=event.offer_id,
                    taken_at=event.at,
                )
                if not state.cash:
                    state.currency = parcel.currency
            state.stops = list(event.stops)
        case ParcelMoved():
            _move_parcel(state, event)
        case ParcelRevised():
            revised = state.parcels.get(event.parcel_id)
            if revised is not None:
                revised.cash_due = event.cash_due
                revised.cash_at = max(revised.cash_at, event.at)
        case ParcelDelivered():
            state.cash += event.cash
            if event.cash:
                state.currency = event.currency
            _leave(state, event.parcel_id, event.at, "delivered")
        case ParcelRemoved():
            _leave(state, event.parcel_id, event.at, event.outcome)


def _move_parcel(state: State, event: ParcelMoved) -> None:
    parcel_id = event.parcel_id
    moved = state.parcels.get(parcel_id)
    if moved is None:
        return
    moved.state, moved.changed_at = event.state, event.at
    if event.state in PICKED_UP:
        state.stops = [stop for stop in state.stops if stop != ("pick_up", parcel_id)]
    if event.state == "returning":
        moved.reason = event.reason
        state.stops = [stop for stop in state.stops if stop[1] != parcel_id]
        state.stops.append(("return", parcel_id))


def _leave(state: State, parcel_id: str, at: float, outcome: str) -> None:
    state.parcels.pop(parcel_id, None)
    state.stops = [stop for stop in state.stops if stop[1] != parcel_id]
    remember(state.done, parcel_id, at, outcome)
