"""What the stock answers to whoever asks."""

from msgspec import Struct, field

__all__ = ["Accepted", "CellView", "StockView"]


class Accepted(Struct, frozen=True, array_like=True, tag="inventory.accepted.v1", gc=False):
    """The answer to a document of stock; a repeat of the document gets the same."""

    document_id: str


class CellView(Struct, frozen=True, array_like=True, gc=False):
    """One SKU at one store (DOMAIN, Stock)."""

    sku: str
    on_hand: int
    locked: int
    reserved: int
    """Units held for channels and not yet locked, and for campaigns and not yet sold."""
    safety: int
    damaged: int
    sellable: int
    """What an order of any channel would still get; never below zero."""
    oversell: int
    reorder_point: int
    order_quantity: int
    allotments: dict[str, int]
    """Units still free by channel."""
    campaigns: dict[str, int] = field(default_factory=dict)
    """Units set aside by campaign."""


class StockView(Struct, frozen=True, array_like=True, tag="inventory.stock_view.v1", gc=False):
    """Cells of one store, by SKU."""

    store_id: str
    cells: tuple[CellView, ...]
    locks: int = 0
    """Fulfilments that hold a lock."""
