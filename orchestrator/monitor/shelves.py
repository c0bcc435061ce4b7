"""Stock as the monitor sees it: what runs low, went below zero, or was counted otherwise."""

from bisect import bisect_right
from typing import Any

from domain import inventory
from domain.inventory.state import Cell, InventoryState
from orchestrator.monitor.anomalies import Anomalies, Remedy
from orchestrator.push.document import time_text

__all__ = ["MISMATCHES_MAX", "Shelves"]

MISMATCHES_MAX = 200
"""Most differing counts shown, the latest: a bad full count must not hide what else is wrong."""
COUNT = "count:"
"""What the document ids of stock-takes begin with (see ``orchestrator.api.stock``)."""
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
        self._differed: dict[str, float] = {}
        """``<store>/<sku>`` -> of when the count is that differed."""

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
            found = _last_difference(cell)
            if found is not None:
                self._counted(store_id, sku, cell.counted_as_of, *found)

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
                if isinstance(event, inventory.Counted):
                    self._counted(store_id, event.sku, event.as_of, event.counted, event.difference)
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
            (_count(store_id, sku),),
            facts={"sellable": sellable, "documents": list(documents)}, store_id=store_id, sku=sku,
        )  # fmt: skip

    def _counted(
        self, store_id: str, sku: str, as_of: float, counted: int, difference: int
    ) -> None:
        """A count that is not of a later time than one before changes nothing, nor says anything
        about it."""
        key = f"{store_id}/{sku}"
        if not difference:
            if as_of > self._differed.get(key, as_of):
                self._forget_difference(key)
            return
        if key not in self._differed and len(self._differed) >= MISMATCHES_MAX:
            self._forget_difference(min(self._differed, key=self._differed.__getitem__))
        self._differed[key] = as_of
        self._anomalies.raise_(
            "count-mismatch", key, as_of,
            f"{counted} units were counted: a difference of {difference:+} to the books. Count"
            " again.",
            (_count(store_id, sku),),
            facts={"counted": counted, "difference": difference}, store_id=store_id, sku=sku,
        )  # fmt: skip

    def _forget_difference(self, key: str) -> None:
        del self._differed[key]
        self._anomalies.clear("count-mismatch", key)


def _last_difference(cell: Cell) -> tuple[int, int] | None:
    """(units counted, difference to the books) of a cell's last count, unless they agreed."""
    moves, as_of = cell.moves, cell.counted_as_of
    after = bisect_right(moves, as_of, key=lambda move: move.at)
    for place in range(after - 1, -1, -1):
        move = moves[place]
        if move.at < as_of:
            break
        if move.document.startswith(COUNT):
            since = sum(later.units for later in moves[place + 1 :])
            return cell.on_hand - since, move.units
    return None


def _count(store_id: str, sku: str) -> Remedy:
    return Remedy(
        "count", "POST", f"/v1/stores/{store_id}/stock/counts",
        {"sku": sku, "counted": None, "as_of": None},
    )  # fmt: skip
