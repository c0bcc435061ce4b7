"""Stock: what is sellable, and a store's cells."""

from domain.inventory.views import CellView, StockView
from orchestrator.models.stock import Cell, Stock, StockDocument

__all__ = ["show_stock", "show_stock_document"]


def show_stock(view: StockView) -> Stock:
    """A store's stock."""
    return Stock(view.store_id, [_show_cell(cell) for cell in view.cells], view.locks)


def show_stock_document(document_id: str, view: StockView) -> StockDocument:
    """A document with the cells it touched."""
    return StockDocument(document_id, view.store_id, [_show_cell(cell) for cell in view.cells])


def _show_cell(cell: CellView) -> Cell:
    return Cell(
        cell.sku, cell.on_hand, cell.locked, cell.reserved, cell.safety, cell.damaged,
        cell.sellable, cell.oversell, cell.reorder_point, cell.order_quantity, cell.allotments,
    )  # fmt: skip
