"""Commands to one store's stock (entity id = store id). DOMAIN, Stock.

Each carries the id of what causes it (fulfilment, order line or document): repeating a command
changes nothing and gives the same answer.
"""

from domain.message import Command, Value

__all__ = [
    "Allot", "CorrectShort", "Count", "Deduct", "Get", "GiveBack", "KeepOnShelf", "Lock",
    "LockItem", "MarkDamaged", "Receive", "RecordSale", "Release", "Return", "ReturnItem",
    "SellReserved", "SetAside", "SetOversell", "SetSafety", "StockItem", "Transfer", "TransferIn",
]  # fmt: skip


class LockItem(Value):
    """``quantity`` units of a (component) SKU for an order line."""

    line_id: str
    sku: str
    quantity: int


class StockItem(Value):
    """``quantity`` units of a SKU."""

    sku: str
    quantity: int


class ReturnItem(Value):
    """Units of one order line coming back; ``damaged`` of them are not sellable again."""

    line_id: str
    sku: str
    quantity: int
    damaged: int = 0


class Lock(Command, tag="inventory.lock.v1"):
    """Lock all items of a fulfilment or none. Reply: ``Locked``; refused with ``short-stock``
    (``extra={"short": {sku: sellable}}``) or ``unknown-sku``.

    Past ``expires_at`` the stock asks the order (``order.ConfirmLock``) and releases if told so;
    None: never expires (COD, confirmed at placing).
    """

    fulfilment_id: str
    order_id: str
    items: tuple[LockItem, ...]
    expires_at: float | None
    channel: str = ""


class Release(Command, tag="inventory.release.v1"):
    """Give a fulfilment's locked units back to sale; legal only from *locked*, once."""

    fulfilment_id: str
    reason: str = ""


class Deduct(Command, tag="inventory.deduct.v1"):
    """Turn a fulfilment's lock into a sale. Refused with ``lock-gone`` if it was released."""

    fulfilment_id: str


class RecordSale(Command, tag="inventory.record_sale.v1"):
    """The goods of a fulfilment have left the store, whatever became of its lock: with a lock as
    ``Deduct``, without one they leave ``on_hand`` all the same, below zero if need be (an anomaly
    that a count mends). Once per fulfilment; never refused for want of stock."""

    fulfilment_id: str
    order_id: str
    items: tuple[LockItem, ...]


class Return(Command, tag="inventory.return.v1"):
    """Units of a deducted fulfilment came back and were accepted."""

    document_id: str
    fulfilment_id: str
    items: tuple[ReturnItem, ...]
    reason: str = ""
    sold_long_ago: bool = False
    """The order vouches for a sale that stock may have forgotten."""


class CorrectShort(Command, tag="inventory.correct_short.v1"):
    """The shelf held less than the books (a short pick): the missing units of a fulfilment leave
    its lock (or sale) and the physical count, in documents. Net effect on sellable: none."""

    document_id: str
    fulfilment_id: str
    items: tuple[LockItem, ...]


class KeepOnShelf(Command, tag="inventory.keep_on_shelf.v1"):
    """Units of a fulfilment that are on the shelf, and will not be packed (the customer does not
    want them), leave its lock (or its sale) and can be sold again. Refused with ``lock-gone``
    when it holds neither, ``exceeds-lock``."""

    document_id: str
    fulfilment_id: str
    items: tuple[LockItem, ...]
    reason: str = ""


class Receive(Command, tag="inventory.receive.v1"):
    """Goods in. Lists the SKU at the store if it was not; quantity 0 only lists it."""

    document_id: str
    items: tuple[StockItem, ...]
    actor: str = ""


class Transfer(Command, tag="inventory.transfer.v1"):
    """Goods leave for another store, which is sent a ``TransferIn``. Refused if not sellable."""

    document_id: str
    to_store: str
    items: tuple[StockItem, ...]
    actor: str = ""


class TransferIn(Command, tag="inventory.transfer_in.v1"):
    """Goods arrive from another store."""

    document_id: str
    from_store: str
    items: tuple[StockItem, ...]


class Count(Command, tag="inventory.count.v1"):
    """A stock-take: the shelf held ``counted`` units ``as_of``; later documents are kept."""

    document_id: str
    sku: str
    counted: int
    as_of: float
    actor: str = ""


class MarkDamaged(Command, tag="inventory.mark_damaged.v1"):
    """Move units between sellable and damaged (negative mends); on_hand is unchanged."""

    document_id: str
    sku: str
    quantity: int
    actor: str = ""


class SetSafety(Command, tag="inventory.set_safety.v1"):
    """Safety stock and the fixed-quantity replenishment model of a cell."""

    sku: str
    safety: int
    lead_time_days: float = 1.0
    daily_demand: float = 0.0
    demand_deviation: float = 0.0
    """Standard deviation of daily demand, units."""
    service_level: float = 0.95
    order_quantity: int = 0


class SetOversell(Command, tag="inventory.set_oversell.v1"):
    """Units that may be locked beyond sellable (default none)."""

    sku: str
    limit: int


class Allot(Command, tag="inventory.allot.v1"):
    """Hold ``quantity`` units exclusively for a channel (0 gives them back to the pool)."""

    sku: str
    channel: str
    quantity: int


class SetAside(Command, tag="inventory.set_aside.v1"):
    """From a campaign: take its quota out of the pool, all items or none, for it alone. Reply:
    ``Accepted``; refused with ``short-stock`` or ``unknown-sku``."""

    document_id: str
    campaign_id: str
    items: tuple[StockItem, ...]


class GiveBack(Command, tag="inventory.give_back.v1"):
    """From a campaign: units it will not sell return to the pool. Reply: ``Accepted``."""

    document_id: str
    campaign_id: str
    items: tuple[StockItem, ...]


class SellReserved(Command, tag="inventory.sell_reserved.v1"):
    """From an order that its campaign has confirmed: units leave the campaign's quota and the
    stock. Refused with ``lock-gone`` if the quota does not hold them."""

    fulfilment_id: str
    order_id: str
    campaign_id: str
    items: tuple[LockItem, ...]


class Get(Command, tag="inventory.get.v1"):
    """Read cells. Reply: ``StockView``. Empty ``skus`` means all."""

    skus: tuple[str, ...] = ()
