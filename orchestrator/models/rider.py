"""Riders: shift, offer, run and cash."""

from datetime import datetime

from msgspec import Struct

from orchestrator.models.common import Position

__all__ = ["Offer", "Parcel", "Rider", "RiderCash", "RiderCashPage", "RunParcel", "Stop"]


class Parcel(Struct, frozen=True, gc=False):
    """One parcel (its id is the fulfilment's). ``cash_due`` is what was offered or agreed."""

    parcel_id: str
    order_id: str
    store_id: str
    store_name: str
    pick_up: Position
    drop_off: Position
    address: str
    customer_name: str
    phone_ending: str
    ready_at: datetime
    due_at: datetime
    cash_due: int
    currency: str


class Offer(Struct, frozen=True, gc=False):
    """A proposal that is open until ``expires_at``; ``pay`` in minor units."""

    offer_id: str
    parcels: list[Parcel]
    expires_at: datetime
    distance_m: int
    pay: int


class RunParcel(Struct, frozen=True, gc=False):
    """A parcel of the run: ``accepted | at_store | picked_up | at_customer | returning``;
    ``cash_due`` is what to collect now."""

    parcel: Parcel
    state: str
    cash_due: int
    changed_at: datetime | None
    reason: str


class Stop(Struct, frozen=True, gc=False):
    """``pick_up | drop_off | return`` of a parcel."""

    kind: str
    parcel_id: str


class Rider(Struct, frozen=True, gc=False):
    """A rider: ``off | free | offered | engaged``. ``stops`` in riding order; COD offers stop when
    ``cash_headroom`` is used up."""

    rider_id: str
    state: str
    dispatch_zone: str
    vehicle: str
    capacity: int
    position: Position | None
    moved_at: datetime | None
    shift_started_at: datetime | None
    shift_ends_at: datetime | None
    offer: Offer | None
    parcels: list[RunParcel]
    stops: list[Stop]
    cash_held: int
    cash_limit: int
    cash_headroom: int
    currency: str


class RiderCash(Struct, frozen=True, gc=False):
    """What a rider holds for the retailer, in minor units. COD offers stop at ``cash_limit``."""

    rider_id: str
    on_shift: bool
    cash_held: int
    cash_limit: int
    currency: str


class RiderCashPage(Struct, frozen=True, gc=False):
    """Riders of a store's dispatch zone, who owes most first; ``next`` is always null."""

    items: list[RiderCash]
    next: str | None
