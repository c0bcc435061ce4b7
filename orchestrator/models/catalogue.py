"""SKUs, stores and channels."""

from msgspec import Struct

from orchestrator.models.common import Position
from orchestrator.models.risk import SkuQueue

__all__ = [
    "Area",
    "Channel",
    "Circle",
    "Cod",
    "ComboPart",
    "DeliveryZone",
    "FreightTemplate",
    "Polygon",
    "Sku",
    "SkuPage",
    "Store",
    "StorePage",
]


class ComboPart(Struct, frozen=True, gc=False):
    """``quantity`` units of ``sku`` in each combo."""

    sku: str
    quantity: int


class Sku(Struct, frozen=True, gc=False):
    """One sellable unit; ``price`` in minor units of the store's currency."""

    sku: str
    name: str
    price: int
    barcode: str
    weight_g: int
    volume_ml: int
    handling: str
    owner: str
    group: str
    components: list[ComboPart]


class SkuPage(Struct, frozen=True, gc=False):
    """SKUs by id; ``next`` is the cursor of the page after it."""

    items: list[Sku]
    next: str | None


class Circle(Struct, frozen=True, tag_field="type", tag="circle", gc=False):
    """All positions within ``radius_m`` metres."""

    centre: Position
    radius_m: float


class Polygon(Struct, frozen=True, tag_field="type", tag="polygon", gc=False):
    """A simple polygon, not closed."""

    corners: list[Position]


Area = Circle | Polygon


class DeliveryZone(Struct, frozen=True, gc=False):
    """A delivery area; tier 1 is the fastest. ``promise_s``: seconds from payment to the door."""

    zone_id: str
    tier: int
    area: Area
    promise_s: int


class FreightTemplate(Struct, frozen=True, gc=False):
    """``base`` + ``per_km`` per begun kilometre beyond ``included_m``; nothing from
    ``free_from`` on. Minor units."""

    base: int
    free_from: int | None
    per_km: int
    included_m: int


class Store(Struct, frozen=True, gc=False):
    """A store's profile. ``opens_s`` and ``closes_s``: seconds of the day on the clock of
    ``time_zone`` (IANA name); equal: always.
    ``collect_s``: a ready parcel nobody collected for so long is an anomaly."""

    store_id: str
    name: str
    position: Position
    currency: str
    zones: list[DeliveryZone]
    dispatch_zone: str
    freight: FreightTemplate
    priority: int
    capacity_per_slot: int
    slot_s: int
    prep_s: int
    accept_s: int
    opens_s: int
    closes_s: int
    time_zone: str
    parcel_weight_g: int
    parcel_volume_ml: int
    pickup: bool
    active: bool
    collect_s: int = 86_400


class StorePage(Struct, frozen=True, gc=False):
    """Stores by id; ``next`` is the cursor of the page after it."""

    items: list[Store]
    next: str | None


class Cod(Struct, frozen=True, gc=False):
    """When cash on delivery is confirmed; ``limit`` 0 forbids it."""

    limit: int
    refusals_max: int
    open_max: int
    zones_denied: list[str]


class Channel(Struct, frozen=True, gc=False):
    """Rules of a sales channel; durations in seconds."""

    channel: str
    unpaid_s: float
    max_splits: int
    min_part_value: int
    cod: Cod
    parked_s: float
    quantity_max: int
    lines_max: int
    queues: list[SkuQueue] = []
    challenge: str = "channel"
