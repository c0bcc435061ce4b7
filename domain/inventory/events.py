"""Facts of one store's stock. Each is a document of DOMAIN's table (*Stock*).

``left`` in an event is the SKU's sellable quantity (online, shared pool) after it: routing and
sold-out answers read it from the feed, nobody walks the cells.
"""

from domain.inventory.commands import LockItem, ReturnItem, StockItem
from domain.message import Event, Value

__all__ = [
    "Allotted",
    "AnomalyFound",
    "Counted",
    "DamageMarked",
    "Deducted",
    "KeptOnShelf",
    "Left",
    "LockConfirmed",
    "Locked",
    "LocksAsked",
    "OversellSet",
    "QuotaGivenBack",
    "QuotaSetAside",
    "QuotaSold",
    "Received",
    "Released",
    "ReplenishmentSuggested",
    "Returned",
    "SafetySet",
    "ShortCorrected",
    "Sold",
    "TransferredIn",
    "TransferredOut",
]  # fmt: skip


class Left(Value):
    """Sellable units of a SKU after the event: what a lock from the shared pool would still get,
    units that may be oversold included."""

    sku: str
    sellable: int
    channels: tuple[tuple[str, int], ...] = ()
    """(channel, units held exclusively for it), on top of ``sellable`` for that channel."""


class Locked(Event, tag="inventory.locked.v1"):
    """Units were promised to a fulfilment. Also the reply to ``Lock``."""

    fulfilment_id: str
    order_id: str
    items: tuple[LockItem, ...]
    expires_at: float | None
    left: tuple[Left, ...] = ()
    channel: str = ""


class LockConfirmed(Event, tag="inventory.lock_confirmed.v1"):
    """The order still wants an expired lock; it is asked again at ``ask_at`` (None: never)."""

    fulfilment_id: str
    ask_at: float | None


class LocksAsked(Event, tag="inventory.locks_asked.v1"):
    """The orders of overdue locks were asked; without an answer, again at ``ask_at``."""

    fulfilment_ids: tuple[str, ...]
    ask_at: float


class Released(Event, tag="inventory.released.v1"):
    """A lock was given back."""

    fulfilment_id: str
    items: tuple[LockItem, ...]
    reason: str
    left: tuple[Left, ...] = ()
    at: float = 0.0


class Deducted(Event, tag="inventory.deducted.v1"):
    """A lock became a sale."""

    fulfilment_id: str
    items: tuple[LockItem, ...]
    left: tuple[Left, ...] = ()
    at: float = 0.0


class Sold(Event, tag="inventory.sold.v1"):
    """Units were sold that no lock held."""

    fulfilment_id: str
    order_id: str
    items: tuple[LockItem, ...]
    left: tuple[Left, ...] = ()
    at: float = 0.0


class Returned(Event, tag="inventory.returned.v1"):
    """Sold units came back."""

    document_id: str
    fulfilment_id: str
    items: tuple[ReturnItem, ...]
    skus: tuple[StockItem, ...]
    """The same units by SKU."""
    reason: str
    left: tuple[Left, ...] = ()
    at: float = 0.0


class ShortCorrected(Event, tag="inventory.short_corrected.v1"):
    """Missing units left the lock (``was_locked``) or the sale, and the physical count."""

    document_id: str
    fulfilment_id: str
    items: tuple[LockItem, ...]
    was_locked: bool
    left: tuple[Left, ...] = ()
    at: float = 0.0


class KeptOnShelf(Event, tag="inventory.kept_on_shelf.v1"):
    """Units that were not packed left the lock (``was_locked``), or the sale and came back to the
    physical count; they can be sold again."""

    document_id: str
    fulfilment_id: str
    items: tuple[LockItem, ...]
    was_locked: bool
    reason: str = ""
    left: tuple[Left, ...] = ()
    at: float = 0.0


class Received(Event, tag="inventory.received.v1"):
    """Goods in."""

    document_id: str
    items: tuple[StockItem, ...]
    actor: str
    left: tuple[Left, ...] = ()
    at: float = 0.0


class TransferredOut(Event, tag="inventory.transferred_out.v1"):
    """Goods left for another store."""

    document_id: str
    to_store: str
    items: tuple[StockItem, ...]
    actor: str
    left: tuple[Left, ...] = ()
    at: float = 0.0


class TransferredIn(Event, tag="inventory.transferred_in.v1"):
    """Goods arrived from another store."""

    document_id: str
    from_store: str
    items: tuple[StockItem, ...]
    left: tuple[Left, ...] = ()
    at: float = 0.0


class Counted(Event, tag="inventory.counted.v1"):
    """A stock-take changed on_hand by ``difference`` (may be 0)."""

    document_id: str
    sku: str
    counted: int
    as_of: float
    difference: int
    actor: str
    left: tuple[Left, ...] = ()
    at: float = 0.0


class DamageMarked(Event, tag="inventory.damage_marked.v1"):
    """Units became damaged (negative: mended)."""

    document_id: str
    sku: str
    quantity: int
    actor: str
    left: tuple[Left, ...] = ()
    at: float = 0.0


class SafetySet(Event, tag="inventory.safety_set.v1"):
    """Safety stock and reorder model of a cell."""

    sku: str
    safety: int
    reorder_point: int
    order_quantity: int
    left: tuple[Left, ...] = ()


class OversellSet(Event, tag="inventory.oversell_set.v1"):
    """How far a SKU may be sold beyond stock."""

    sku: str
    limit: int
    left: tuple[Left, ...] = ()


class Allotted(Event, tag="inventory.allotted.v1"):
    """Units held exclusively for a channel from now on."""

    sku: str
    channel: str
    quantity: int
    left: tuple[Left, ...] = ()


class QuotaSetAside(Event, tag="inventory.quota_set_aside.v1"):
    """Units held exclusively for a campaign from now on."""

    document_id: str
    campaign_id: str
    units: tuple[StockItem, ...]
    left: tuple[Left, ...] = ()
    at: float = 0.0


class QuotaGivenBack(Event, tag="inventory.quota_given_back.v1"):
    """A campaign's units are in the pool again."""

    document_id: str
    campaign_id: str
    units: tuple[StockItem, ...]
    left: tuple[Left, ...] = ()
    at: float = 0.0


class QuotaSold(Event, tag="inventory.quota_sold.v1"):
    """Units of a campaign's quota were sold."""

    fulfilment_id: str
    order_id: str
    campaign_id: str
    items: tuple[LockItem, ...]
    left: tuple[Left, ...] = ()
    at: float = 0.0


class ReplenishmentSuggested(Event, tag="inventory.replenishment_suggested.v1"):
    """Stock fell to the reorder point or below safety: one alert, one suggestion, until it rose."""

    sku: str
    on_hand: int
    reorder_point: int
    quantity: int


class AnomalyFound(Event, tag="inventory.anomaly_found.v1"):
    """Sellable fell below zero; ``documents`` led to it (newest last)."""

    sku: str
    sellable: int
    documents: tuple[str, ...]
