"""What the retailer sets: SKUs, stores with zones and freight, the rules of each channel."""

from domain.geo import Area, Position
from domain.message import Value
from domain.waiting.model import SkuQueue

__all__ = [
    "ChannelPolicy",
    "CodRule",
    "Component",
    "Freight",
    "Sku",
    "StoreProfile",
    "Zone",
]


class Component(Value):
    """One part of a combo SKU: ``quantity`` units of ``sku`` in each combo."""

    sku: str
    quantity: int


class Sku(Value):
    """One sellable unit. ``price`` in minor units of the store's currency."""

    sku: str
    name: str
    price: int
    barcode: str = ""
    weight_g: int = 0
    volume_ml: int = 0
    handling: str = "normal"
    """``normal | fragile | chilled | oversize``: lines of different handling are split (rule 4)."""
    owner: str = ""
    """Owner of the goods; lines of different owners are split (rule 4)."""
    group: str = ""
    """Lines of the same non-empty group are never split over stores (rule 3)."""
    components: tuple[Component, ...] = ()
    """Non-empty for a combo: it explodes into these before stock is touched."""


class Zone(Value):
    """A delivery area of a store. Tier 1 is the fastest promise."""

    zone_id: str
    tier: int
    area: Area
    promise_s: int
    """Promised time from payment to the door, in seconds."""


class Freight(Value):
    """A store's delivery fee: ``base`` + ``per_km`` for each begun kilometre beyond
    ``included_m``; nothing from ``free_from`` (goods amount) on. All minor units."""

    base: int = 0
    free_from: int | None = None
    per_km: int = 0
    included_m: int = 0


COLLECT_S = 86_400


class StoreProfile(Value):
    """A store as routing, dispatch and its tablet know it."""

    store_id: str
    name: str
    position: Position
    currency: str
    zones: tuple[Zone, ...]
    dispatch_zone: str
    """Id of the dispatch zone whose riders serve this store."""
    freight: Freight = Freight()
    priority: int = 100
    """Lower is preferred (rule 2)."""
    capacity_per_slot: int = 1000
    """Orders per slot the store can work on (rule 2's load)."""
    slot_s: int = 900
    prep_s: int = 600
    """Usual time from acceptance to ready, in seconds."""
    accept_s: int = 300
    """A ticket not accepted for so long goes to the next store."""
    opens_s: int = 0
    """Seconds of the day on the store's clock; ``opens_s == closes_s`` means always open."""
    closes_s: int = 0
    time_zone: str = "UTC"
    """IANA name of the zone whose clock the opening hours mean, such as ``Europe/Berlin``."""
    parcel_weight_g: int = 0
    """Heaviest parcel, 0 for no limit (rule 4)."""
    parcel_volume_ml: int = 0
    pickup: bool = True
    """Whether customers may collect here."""
    active: bool = True
    collect_s: int = COLLECT_S
    """A ready parcel nobody collected for so long is brought to operations' notice."""


class CodRule(Value):
    """When cash on delivery is confirmed (DOMAIN, Payment)."""

    limit: int
    """Highest order total, minor units; 0 forbids COD."""
    refusals_max: int = 2
    """A customer with so many refused COD deliveries must pay online."""
    open_max: int = 3
    """Open COD orders one customer may have at once."""
    zones_denied: tuple[str, ...] = ()
    """Ids of delivery zones without COD."""


class ChannelPolicy(Value):
    """Rules of one sales channel."""

    channel: str
    unpaid_s: float = 900.0
    """An unpaid online order is cancelled, and its lock released, after so long."""
    max_splits: int = 3
    """Most fulfilments per order (rule 3)."""
    min_part_value: int = 0
    """Least goods amount of one part of a split (rule 3)."""
    cod: CodRule = CodRule(limit=50_000)
    parked_s: float = 1800.0
    """A fulfilment without a store is auto-cancelled after so long (rule 6)."""
    quantity_max: int = 999
    """Most units of one line."""
    lines_max: int = 100
    queues: tuple[SkuQueue, ...] = ()
    """SKUs whose orders need a queue token."""
    challenge: str = "channel"
    """How a customer passes a challenge of risk: ``channel`` (the channel's word is taken) or
    ``code`` (a one-time code is sent to the customer)."""
