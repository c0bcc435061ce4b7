"""Stock as the monitor sees it: what runs low, and what went below zero."""

from typing import Any

from domain import inventory
from domain.inventory.state import InventoryState
from orchestrator.monitor.anomalies import Anomalies, Remedy
from orchestrator.push.document import time_text

__all__ = ["Shelves"]

_GOODS_IN = (
    inventory.Received, inventory.TransferredIn, inventory.Counted, inventory.Returned,
    inventory.SafetySet, inventory.DamageMarked,
)  # fmt: skip


class Shelves:
    """Cells that need goods or a count; nothing is kept of the others."""

    def __init__(self, anomalies: Anomalies) -> None:
        self._anomalies = anomalies
        self.low: dict[str, dict[str, Any]] = {}
        """``<store>/<sku>`` -> JSON document."""
        self.dirty: set[str] = set()
        """Keys of ``low`` that changed since somebody emptied this set."""

    def load(self, store_id: str, state: InventoryState, now: float) -> None:
        """A store's cells as they are now."""
        for sku, cell in state.cells.items():
            if cell.alerted:
                self._set_low(
                    store_id, sku, now, cell.on_hand, cell.reorder_point, cell.order_quantity,
                    cell.sellable,
                )  # fmt: skip
            if cell.anomalous:
                self._negative(store_id, sku, now, cell.pool, ())

    def apply(self, store_id: str, event: Any, at: float) -> None:
        """One event of a store's stock."""
        match event:
            case inventory.ReplenishmentSuggested():
                self._set_low(
                    store_id,
                    event.sku,
                    at,
                    event.on_hand,
                    event.reorder_point,
                    event.quantity,
                    None,
                )
            case inventory.AnomalyFound():
                self._negative(store_id, event.sku, at, event.sellable, event.documents)
            case _:
                goods_in = isinstance(event, _GOODS_IN)
                for left in getattr(event, "left", ()):
                    self._left(store_id, left, goods_in)

    def _left(self, store_id: str, left: inventory.Left, goods_in: bool) -> None:
        key = f"{store_id}/{left.sku}"
        low = self.low.get(key)
        if low is not None:
            self.dirty.add(key)
            if goods_in and left.sellable > low["reorder_point"]:
                del self.low[key]
            else:
                self.low[key] = low | {"sellable": left.sellable}
        if left.sellable > 0:
            self._anomalies.clear("negative-stock", key)

    def _set_low(
        self,
        store_id: str,
        sku: str,
        at: float,
        on_hand: int,
        reorder_point: int,
        quantity: int,
        sellable: int | None = None,
    ) -> None:
        key = f"{store_id}/{sku}"
        self.dirty.add(key)
        self.low[key] = {
            "store_id": store_id,
            "sku": sku,
            "on_hand": on_hand,
            "reorder_point": reorder_point,
            "suggested_quantity": quantity,
            "since": time_text(at),
        }
        if sellable is not None:
            self.low[key]["sellable"] = sellable

    def _negative(
        self, store_id: str, sku: str, at: float, sellable: int, documents: tuple[str, ...]
    ) -> None:
        led = f" after {', '.join(documents)}" if documents else ""
        self._anomalies.raise_(
            "negative-stock", f"{store_id}/{sku}", at, f"Sellable fell to {sellable}{led}.",
            (
                Remedy(
                    "count", "POST", f"/v1/stores/{store_id}/stock/counts",
                    {"sku": sku, "counted": None, "as_of": None},
                ),
            ),
            facts={"sellable": sellable, "documents": list(documents)}, store_id=store_id, sku=sku,
        )  # fmt: skip
