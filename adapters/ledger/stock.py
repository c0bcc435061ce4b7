"""The rules of stock: every fact of a store's inventory as a document with its lines. Pure.

``on_hand``, ``locked`` and ``damaged`` follow DOMAIN, *Stock*; damaged units are part of
``on_hand``. A short pick out of a sale undoes the sale of the missing units and takes them off the
shelf: the physical count is as it was, and the loss stands in ``short``. Units that stay on the
shelf leave their lock, or come back from their sale as returned ones do.
"""

from collections.abc import Callable
from typing import Any

from adapters.ledger.documents import Document, StockLine, plain
from domain import inventory
from domain.message import Event
from domain.order.ids import order_of

__all__ = ["account_stock"]


def account_stock(store_id: str, event: Event) -> Document | None:
    """The document of one event of a store's stock; None for an event that is not of stock."""
    rule = _RULES.get(type(event))
    if rule is None:
        return None
    kind, lines = rule
    stock = tuple(lines(store_id, event))
    fulfilment_id = getattr(event, "fulfilment_id", "")
    return Document(
        kind=kind,
        reference=getattr(event, "document_id", "") or fulfilment_id,
        order_id=getattr(event, "order_id", "") or order_of(fulfilment_id),
        fulfilment_id=fulfilment_id,
        store_id=store_id,
        data=_facts(event),
        stock=stock,
    )


def _facts(event: Event) -> dict[str, Any]:
    """The event without what its lines and its ids say already."""
    return {
        name: plain(getattr(event, name))
        for name in event.__struct_fields__
        if name not in _SAID_BY_LINES
    }


_SAID_BY_LINES = {"items", "skus", "left", "fulfilment_id", "order_id", "document_id"}


def _locked(store_id: str, event: inventory.Locked) -> list[StockLine]:
    return _per_item(store_id, event, {"locked": 1})


def _released(store_id: str, event: inventory.Released) -> list[StockLine]:
    return _per_item(store_id, event, {"locked": -1})


def _deducted(store_id: str, event: inventory.Deducted) -> list[StockLine]:
    return _per_item(store_id, event, {"on_hand": -1, "locked": -1, "sold": 1})


def _sold(store_id: str, event: inventory.Sold) -> list[StockLine]:
    return _per_item(store_id, event, {"on_hand": -1, "sold": 1})


def _quota_sold(store_id: str, event: inventory.QuotaSold) -> list[StockLine]:
    return _per_item(store_id, event, {"on_hand": -1, "sold": 1})


def _short(store_id: str, event: inventory.ShortCorrected) -> list[StockLine]:
    if event.was_locked:
        return _per_item(store_id, event, {"on_hand": -1, "locked": -1, "short": 1})
    return _per_item(store_id, event, {"sold": -1, "short": 1})


def _kept(store_id: str, event: inventory.KeptOnShelf) -> list[StockLine]:
    if event.was_locked:
        return _per_item(store_id, event, {"locked": -1})
    return _per_item(store_id, event, {"on_hand": 1, "returned": 1})


def _returned(store_id: str, event: inventory.Returned) -> list[StockLine]:
    damaged: dict[str, int] = {}
    for item in event.items:
        damaged[item.sku] = damaged.get(item.sku, 0) + item.damaged
    return [
        StockLine(
            store_id,
            unit.sku,
            {
                "on_hand": unit.quantity,
                "returned": unit.quantity,
                "damaged": damaged.get(unit.sku, 0),
            },
            fulfilment_id=event.fulfilment_id,
        )
        for unit in event.skus
    ]


def _received(store_id: str, event: inventory.Received) -> list[StockLine]:
    return _per_item(store_id, event, {"on_hand": 1, "received": 1})


def _transferred_out(store_id: str, event: inventory.TransferredOut) -> list[StockLine]:
    return _per_item(store_id, event, {"on_hand": -1, "transferred_out": 1})


def _transferred_in(store_id: str, event: inventory.TransferredIn) -> list[StockLine]:
    return _per_item(store_id, event, {"on_hand": 1, "transferred_in": 1})


def _counted(store_id: str, event: inventory.Counted) -> list[StockLine]:
    change = event.difference
    return [StockLine(store_id, event.sku, {"on_hand": change, "counted": change})]


def _damaged(store_id: str, event: inventory.DamageMarked) -> list[StockLine]:
    return [StockLine(store_id, event.sku, {"damaged": event.quantity})]


def _no_lines(_store_id: str, _event: Event) -> list[StockLine]:
    return []


def _per_item(store_id: str, event: Any, signs: dict[str, int]) -> list[StockLine]:
    return [
        StockLine(
            store_id,
            item.sku,
            {measure: sign * item.quantity for measure, sign in signs.items()},
            line_id=getattr(item, "line_id", ""),
            fulfilment_id=getattr(event, "fulfilment_id", ""),
        )
        for item in event.items
    ]


_RULES: dict[type[Event], tuple[str, Callable[[str, Any], list[StockLine]]]] = {
    inventory.Locked: ("lock", _locked),
    inventory.LockConfirmed: ("lock_confirmed", _no_lines),
    inventory.LocksAsked: ("locks_asked", _no_lines),
    inventory.Released: ("release", _released),
    inventory.Deducted: ("sale", _deducted),
    inventory.Sold: ("sale_without_lock", _sold),
    inventory.Returned: ("return", _returned),
    inventory.ShortCorrected: ("short", _short),
    inventory.KeptOnShelf: ("kept_on_shelf", _kept),
    inventory.Received: ("receipt", _received),
    inventory.TransferredOut: ("transfer_out", _transferred_out),
    inventory.TransferredIn: ("transfer_in", _transferred_in),
    inventory.Counted: ("count", _counted),
    inventory.DamageMarked: ("damage", _damaged),
    inventory.SafetySet: ("safety", _no_lines),
    inventory.OversellSet: ("oversell", _no_lines),
    inventory.Allotted: ("allotment", _no_lines),
    inventory.QuotaSetAside: ("quota_set_aside", _no_lines),
    inventory.QuotaGivenBack: ("quota_given_back", _no_lines),
    inventory.QuotaSold: ("sale", _quota_sold),
    inventory.ReplenishmentSuggested: ("replenishment", _no_lines),
    inventory.AnomalyFound: ("anomaly", _no_lines),
}
