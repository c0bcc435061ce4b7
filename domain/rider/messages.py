"""What a rider's devices are told: the public messages of the inbox, as JSON documents.

A device that holds a :class:`Snapshot` and folds every later message into it holds what a fresh
snapshot would say: ``offer.opened`` sets the offer and ``offer.ended`` clears it, ``run.changed``
replaces the run, ``cash.changed`` the cash, ``shift.changed`` the shift. ``parcel.cancelled`` and
``parcel.revised`` say what happened to one parcel; the ``run.changed`` beside them has the result.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from domain import inbox as inboxes
from domain.geo import Position
from domain.message import Event
from domain.rider.commands import Offer, OfferedParcel
from domain.rider.events import (
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
from domain.rider.state import State, ahead, headroom
from domain.wire import document, moment

__all__ = [
    "MESSAGES", "Cash", "CashChanged", "OfferClosed", "OfferDocument", "OfferOpened",
    "ParcelCancelled", "ParcelDocument", "ParcelRevision", "Point", "Run", "RunChanged",
    "RunParcel", "ShiftChanged", "ShiftDocument", "Snapshot", "Stop", "noted", "snapshot",
]  # fmt: skip

_RUN = ParcelsTaken | ParcelMoved | ParcelRevised | ParcelDelivered | ParcelRemoved
_CASH = _RUN | Remitted | ShiftStarted | ShiftEnded
_SHIFT = ShiftStarted | ShiftClosing | ShiftEnded


class Point(Struct, frozen=True, gc=False):
    """WGS 84 degrees."""

    lat: float
    lon: float


class ParcelDocument(Struct, frozen=True, gc=False):
    """One parcel. ``cash_due``: the exact cash to collect, minor units of ``currency``."""

    parcel_id: str
    order_id: str
    store_id: str
    store_name: str
    pick_up: Point
    drop_off: Point
    address: str
    customer_name: str
    phone_ending: str
    ready_at: datetime
    due_at: datetime
    cash_due: int
    currency: str


class OfferDocument(Struct, frozen=True, gc=False):
    """A proposal, open until ``expires_at``; ``pay`` in minor units."""

    offer_id: str
    parcels: tuple[ParcelDocument, ...]
    expires_at: datetime
    distance_m: int
    pay: int


class RunParcel(Struct, frozen=True, gc=False):
    """A parcel of the run: ``accepted | at_store | picked_up | at_customer | returning``."""

    parcel: ParcelDocument
    state: str
    reason: str


class Stop(Struct, frozen=True, gc=False):
    """``pick_up | drop_off | return`` of a parcel, and where."""

    kind: str
    parcel_id: str
    at: Point


class Run(Struct, frozen=True, gc=False):
    """Everything accepted and not finished; ``stops`` in riding order."""

    parcels: tuple[RunParcel, ...]
    stops: tuple[Stop, ...]


class Cash(Struct, frozen=True, gc=False):
    """Cash held for the retailer, and how much more may be collected; minor units."""

    held: int
    headroom: int
    currency: str


class ShiftDocument(Struct, frozen=True, gc=False):
    """The working time. ``closing``: no more offers, it ends with the run."""

    dispatch_zone: str
    vehicle: str
    capacity: int
    cash_limit: int
    started_at: datetime
    ends_at: datetime | None
    closing: bool


class OfferOpened(Struct, frozen=True, gc=False):
    """``offer.opened``: accept or decline before it expires."""

    offer: OfferDocument


class OfferClosed(Struct, frozen=True, gc=False):
    """``offer.ended``: ``taken | declined | withdrawn | expired``."""

    offer_id: str
    outcome: str
    reason: str


class RunChanged(Struct, frozen=True, gc=False):
    """``run.changed``: the whole run as it is now."""

    run: Run


class ParcelCancelled(Struct, frozen=True, gc=False):
    """``parcel.cancelled``: it left the run before pick-up (``cancelled | unassigned``)."""

    parcel_id: str
    outcome: str
    reason: str


class ParcelRevision(Struct, frozen=True, gc=False):
    """``parcel.revised``: another exact sum to collect."""

    parcel_id: str
    cash_due: int


class CashChanged(Struct, frozen=True, gc=False):
    """``cash.changed``."""

    cash: Cash


class ShiftChanged(Struct, frozen=True, gc=False):
    """``shift.changed``: None is off shift; ``cash_held`` is still owed then."""

    shift: ShiftDocument | None
    cash_held: int


class Snapshot(Struct, frozen=True, gc=False):
    """Shift, offer, run and cash."""

    rider_id: str
    shift: ShiftDocument | None
    offer: OfferDocument | None
    run: Run
    cash: Cash


MESSAGES: dict[str, type[Struct]] = {
    "offer.opened": OfferOpened,
    "offer.ended": OfferClosed,
    "run.changed": RunChanged,
    "parcel.cancelled": ParcelCancelled,
    "parcel.revised": ParcelRevision,
    "cash.changed": CashChanged,
    "shift.changed": ShiftChanged,
}
"""Message type -> the struct its ``data`` holds (the AsyncAPI file is made from these)."""


def noted(state: State, rider_id: str, events: Sequence[Event], at: float) -> list[Event]:
    """What the devices must be told of these new facts: at most one ``Noted``, to be stored with
    them. ``state`` is as before the facts and is not changed."""
    drafts = [draft for event in events for draft in _said(state, event)]
    future = ahead(state, list(events))
    if any(isinstance(event, _SHIFT) for event in events):
        changed = ShiftChanged(_shift(future), future.cash)
        drafts.append(("shift.changed", changed))
    if any(isinstance(event, _RUN) for event in events):
        drafts.append(("run.changed", RunChanged(_run(future))))
    if any(isinstance(event, _CASH) for event in events) and _cash(future) != _cash(state):
        drafts.append(("cash.changed", CashChanged(_cash(future))))
    if not drafts:
        return []
    encoded = [(kind, document(data)) for kind, data in drafts]
    return [Noted(inboxes.compose(state.inbox, f"rider/{rider_id}", encoded, at))]


def snapshot(state: State, rider_id: str) -> bytes:
    """The :class:`Snapshot` as a JSON document."""
    offer = None if state.offer is None else _offer(state.offer)
    return document(Snapshot(rider_id, _shift(state), offer, _run(state), _cash(state)))


def _said(state: State, event: Event) -> list[tuple[str, Struct]]:
    """What one fact says by itself. The end of an offer never shown is nobody's news."""
    match event:
        case OfferEnded() if state.offer is None or state.offer.offer_id != event.offer_id:
            return []
        case OfferReceived():
            return [("offer.opened", OfferOpened(_offer(event.offer)))]
        case OfferEnded():
            ended = OfferClosed(event.offer_id, event.outcome, event.reason)
            return [("offer.ended", ended)]
        case ParcelsTaken():
            return [("offer.ended", OfferClosed(event.offer_id, "taken", ""))]
        case ParcelRemoved(outcome="cancelled" | "unassigned"):
            gone = ParcelCancelled(event.parcel_id, event.outcome, event.why)
            return [("parcel.cancelled", gone)]
        case ParcelRevised():
            return [("parcel.revised", ParcelRevision(event.parcel_id, event.cash_due))]
    return []


def _offer(offer: Offer) -> OfferDocument:
    return OfferDocument(
        offer.offer_id,
        tuple(_parcel(parcel, parcel.cash_due) for parcel in offer.parcels),
        moment(offer.expires_at),
        offer.distance_m,
        offer.pay,
    )


def _parcel(parcel: OfferedParcel, cash_due: int) -> ParcelDocument:
    return ParcelDocument(
        parcel_id=parcel.parcel_id,
        order_id=parcel.order_id,
        store_id=parcel.store_id,
        store_name=parcel.store_name,
        pick_up=_point(parcel.pick_up),
        drop_off=_point(parcel.drop_off),
        address=parcel.address,
        customer_name=parcel.customer_name,
        phone_ending=parcel.phone_ending,
        ready_at=moment(parcel.ready_at),
        due_at=moment(parcel.due_at),
        cash_due=cash_due,
        currency=parcel.currency,
    )


def _run(state: State) -> Run:
    parcels = tuple(
        RunParcel(_parcel(one.parcel, one.cash_due), one.state, one.reason)
        for one in state.parcels.values()
    )
    stops = []
    for kind, parcel_id in state.stops:
        parcel = state.parcels[parcel_id].parcel
        stops.append(
            Stop(kind, parcel_id, _point(parcel.drop_off if kind == "drop_off" else parcel.pick_up))
        )
    return Run(parcels, tuple(stops))


def _cash(state: State) -> Cash:
    return Cash(state.cash, headroom(state), state.currency)


def _shift(state: State) -> ShiftDocument | None:
    shift = state.shift
    if shift is None:
        return None
    return ShiftDocument(
        shift.dispatch_zone,
        shift.vehicle,
        shift.capacity,
        shift.cash_limit,
        moment(shift.started_at),
        None if shift.ends_at is None else moment(shift.ends_at),
        shift.closing,
    )


def _point(position: Position) -> Point:
    return Point(position.lat, position.lon)
