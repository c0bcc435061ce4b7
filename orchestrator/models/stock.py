"""Stock: what is sellable, and a store's cells."""

from datetime import datetime

from msgspec import Struct

__all__ = ["Availability", "Cell", "Sellable", "Stock", "StockDocument"]


class Sellable(Struct, frozen=True, gc=False):
    """Units of a SKU sellable around a position; ``known``: it is in the catalogue."""

    sku: str
    known: bool
    sellable: int


class Availability(Struct, frozen=True, gc=False):
    """What can be sold around a position, as known at ``at``. The lock decides when placing."""

    at: datetime
    items: list[Sellable]


class Cell(Struct, frozen=True, gc=False):
    """One SKU at one store. ``sellable`` = on_hand - locked - reserved - safety - damaged (plus
    what may be oversold), never below zero; ``allotments``: units still free by channel."""

    sku: str
    on_hand: int
    locked: int
    reserved: int
    safety: int
    damaged: int
    sellable: int
    oversell: int
    reorder_point: int
    order_quantity: int
    allotments: dict[str, int]


class Stock(Struct, frozen=True, gc=False):
    """Cells of one store, by SKU; ``locks``: fulfilments that hold a lock."""

    store_id: str
    items: list[Cell]
    locks: int


class StockDocument(Struct, frozen=True, gc=False):
    """A document that was recorded, and the cells it touched as they are now."""

    document_id: str
    store_id: str
    items: list[Cell]
