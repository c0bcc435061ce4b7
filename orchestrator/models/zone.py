"""A dispatch zone: what waits, who rides, what is offered."""

from datetime import datetime

from msgspec import Struct

from orchestrator.models.catalogue import Area
from orchestrator.models.common import Position

__all__ = [
    "WorkArea",
    "WorkStore",
    "WorkZone",
    "WorkZonePage",
    "Zone",
    "ZoneOffer",
    "ZoneParcel",
    "ZoneRider",
]


class ZoneParcel(Struct, frozen=True, gc=False):
    """One parcel: ``waiting | offered | assigned | picked_up``; ``offers`` made so far."""

    parcel_id: str
    order_id: str
    store_id: str
    phase: str
    rider_id: str
    offers: int
    added_at: datetime
    ready: bool
    ready_at: datetime | None
    due_at: datetime | None
    cash_due: int
    pick_up: Position
    drop_off: Position
    priority: bool


class ZoneRider(Struct, frozen=True, gc=False):
    """One rider on shift: ``free | offered | engaged | leaving``; money in minor units."""

    rider_id: str
    state: str
    vehicle: str
    position: Position
    seen_at: datetime
    parcels: list[str]
    cash_headroom: int


class ZoneOffer(Struct, frozen=True, gc=False):
    """One open offer; ``pay`` in minor units."""

    offer_id: str
    rider_id: str
    parcel_ids: list[str]
    expires_at: datetime
    pay: int
    distance_m: int


class Zone(Struct, frozen=True, gc=False):
    """A dispatch zone; the next round is at ``round_at`` (null: nothing to match)."""

    zone_id: str
    parcels: list[ZoneParcel]
    riders: list[ZoneRider]
    offers: list[ZoneOffer]
    round_at: datetime | None


class WorkArea(Struct, frozen=True, gc=False):
    """Where a store delivers; tier 1 is the fastest promise."""

    tier: int
    area: Area


class WorkStore(Struct, frozen=True, gc=False):
    """A store that riders of a zone fetch from."""

    store_id: str
    name: str
    position: Position
    areas: list[WorkArea]


class WorkZone(Struct, frozen=True, gc=False):
    """A dispatch zone as a rider sees it. ``time_zone``: IANA name of its stores' clock."""

    zone_id: str
    currency: str
    time_zone: str
    stores: list[WorkStore]


class WorkZonePage(Struct, frozen=True, gc=False):
    """All zones by id; ``next`` is always null."""

    items: list[WorkZone]
    next: str | None
