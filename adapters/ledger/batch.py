"""One batch of feed records as rows: pure, no SQL. The projector loads what it needs before and
writes what it leaves after."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import structlog
from msgspec import Struct

from actors.engine.ports import FeedRecord
from adapters.ledger.campaigns import account_campaign
from adapters.ledger.documents import Document, plain
from adapters.ledger.postings import OrderAccount, account_order, account_rider
from adapters.ledger.stock import account_stock
from adapters.ledger.tables import STOCK_MEASURES
from domain import order
from domain.message import Event
from domain.order.state import OrderState, evolve
from domain.order.view import view

__all__ = ["Batch", "OrderFold", "orders_in"]

log = structlog.get_logger()
Row = dict[str, Any]


class OrderFold(Struct, array_like=True, gc=False):
    """What is kept of an order between batches: its money, and its state for the view."""

    account: OrderAccount
    state: OrderState


def orders_in(records: Iterable[FeedRecord]) -> set[str]:
    """The orders that these records change."""
    return {
        entry.entity
        for record in records
        if record.shard.kind == "order"
        for entry in record.record.entries
        if entry.events
    }


class Batch:
    """Collects rows. ``folds`` holds every known order of the batch; it is changed."""

    def __init__(self, folds: dict[str, OrderFold], last_document: int) -> None:
        self.folds = folds
        self.last_document = last_document
        """Number of the last document given out."""
        self.order_events: list[Row] = []
        self.documents: list[Row] = []
        self.postings: list[Row] = []
        self.stock_lines: list[Row] = []
        self.skipped: Counter[str] = Counter()
        self.events = 0
        self._accounts: dict[tuple[str, str], list[int]] = {}
        self._cells: dict[tuple[str, str], dict[str, int]] = {}
        self._touched: dict[str, float] = {}
        self._rerouted: list[Row] = []

    def add(self, record: FeedRecord) -> Iterator[None]:
        """Apply the events of a record in order, one per step: exhaust it. (A step is the caller's
        chance to let others run.)"""
        step = 0
        for entry in record.record.entries:
            for event in entry.events:
                self._apply(record, step, entry.entity, event)
                step += 1
                self.events += 1
                yield

    def current_rows(self) -> tuple[list[Row], list[Row]]:
        """``orders`` and ``fulfilments`` as they are now; a fulfilment that was rerouted keeps its
        last row."""
        orders = []
        fulfilments = {row["fulfilment_id"]: row for row in self._rerouted}
        for order_id in self.touched():
            fold = self.folds[order_id]
            seen = view(fold.state)
            phone = fold.state.customer.phone
            orders.append(_order_row(seen, self._touched[order_id], phone))
            fulfilments.update(_fulfilment_rows(seen, fold.account))
        return orders, list(fulfilments.values())

    def touched(self) -> list[str]:
        """Ids of the orders that changed."""
        return [order_id for order_id in self._touched if order_id in self.folds]

    def account_rows(self) -> list[Row]:
        """What to add to ``account_balances``."""
        return [
            {"account": account, "currency": currency, "debit": debit, "credit": credit}
            for (account, currency), (debit, credit) in sorted(self._accounts.items())
        ]

    def cell_rows(self) -> list[Row]:
        """What to add to ``stock_balances``."""
        return [
            {"store_id": store_id, "sku": sku, **sums}
            for (store_id, sku), sums in sorted(self._cells.items())
        ]

    def _apply(self, record: FeedRecord, step: int, entity: str, event: Any) -> None:
        """An event that cannot be applied is counted and left out: one bad event must not stop the
        books of all the others. The reconciliation lists what was left out."""
        try:
            known = isinstance(event, Event) and self._book(record, step, entity, event)
        except Exception:
            log.exception(
                "ledger.event_failed", shard=str(record.shard), position=record.position,
                entity=entity, event_type=_name(event),
            )  # fmt: skip
            known = False
        if not known:
            self.skipped[_name(event)] += 1

    def _book(self, record: FeedRecord, step: int, entity: str, event: Event) -> bool:
        match record.shard.kind:
            case "order":
                return self._book_order(record, step, entity, event)
            case "inventory":
                document = account_stock(entity, event)
                if document is not None:
                    self._file(record, step, [document])
                return document is not None
            case "campaign":
                document = account_campaign(entity, event)
                if document is not None:
                    self._file(record, step, [document])
            case "rider":
                self._file(record, step, account_rider(entity, event))
        return True

    def _book_order(self, record: FeedRecord, step: int, order_id: str, event: Event) -> bool:
        fold = self.folds.get(order_id)
        if fold is None and not isinstance(event, order.Placed):
            return False
        self._touched[order_id] = record.record.at
        self.order_events.append(
            {
                "order_id": order_id, "position": record.position, "step": step,
                "at": record.record.at, "type": _name(event), "data": plain(event),
            }
        )  # fmt: skip
        if fold is not None and isinstance(event, order.FulfilmentRerouted):
            self._remember_rerouted(fold, event)
        account, documents = account_order(fold.account if fold else None, event)
        self._file(record, step, documents)
        state = evolve(fold.state if fold else None, event)
        if fold is None and account is not None:
            self.folds[order_id] = OrderFold(account, state)
        return True

    def _remember_rerouted(self, fold: OrderFold, event: order.FulfilmentRerouted) -> None:
        rows = _fulfilment_rows(view(fold.state), fold.account)
        row = rows.get(event.fulfilment_id)
        if row is not None:
            row |= {"state": "rerouted", "reason": event.reason, "cash_due": 0}
            self._rerouted.append(row)

    def _file(self, record: FeedRecord, step: int, documents: Iterable[Document]) -> None:
        for part, document in enumerate(documents):
            self.last_document += 1
            number = self.last_document
            self.documents.append(
                {
                    "number": number,
                    "document_id": f"{record.shard}:{record.position}:{step}:{part}",
                    "kind": document.kind, "at": record.record.at, "order_id": document.order_id,
                    "fulfilment_id": document.fulfilment_id, "store_id": document.store_id,
                    "rider_id": document.rider_id, "reference": document.reference,
                    "data": document.data,
                }
            )  # fmt: skip
            self._file_postings(number, document)
            self._file_stock(number, document)

    def _file_postings(self, number: int, document: Document) -> None:
        for step, leg in enumerate(document.postings):
            self.postings.append(
                {
                    "number": number, "step": step, "account": leg.account,
                    "currency": leg.currency, "amount": leg.amount,
                    "order_id": document.order_id,
                }
            )  # fmt: skip
            sums = self._accounts.setdefault((leg.account, leg.currency), [0, 0])
            sums[0 if leg.amount > 0 else 1] += abs(leg.amount)

    def _file_stock(self, number: int, document: Document) -> None:
        for step, line in enumerate(document.stock):
            self.stock_lines.append(
                {
                    "number": number, "step": step, "store_id": line.store_id, "sku": line.sku,
                    "line_id": line.line_id, "fulfilment_id": line.fulfilment_id,
                    **_NO_CHANGE, **line.deltas,
                }
            )  # fmt: skip
            sums = self._cells.setdefault((line.store_id, line.sku), dict(_NO_CHANGE))
            for measure, change in line.deltas.items():
                sums[measure] += change


_NO_CHANGE = dict.fromkeys(STOCK_MEASURES, 0)


def _name(event: Any) -> str:
    """An event's stored name; an event this release does not know may come as its raw array."""
    if isinstance(event, Struct):
        return str(event.__struct_config__.tag)
    return str(event[0]) if isinstance(event, list | tuple) and event else type(event).__name__


def _order_row(seen: order.OrderView, at: float, phone: str) -> Row:
    return {
        "order_id": seen.order_id, "state": seen.state, "channel": seen.channel,
        "customer_id": seen.customer_id, "currency": seen.currency, "payment": seen.payment,
        "delivery": seen.delivery, "goods": seen.goods, "freight": seen.freight,
        "total": seen.total, "refunded": seen.refunded, "cash_collected": seen.cash_collected,
        "placed_at": seen.placed_at, "updated_at": at, "phone_ending": phone[-4:],
    }  # fmt: skip


def _fulfilment_rows(seen: order.OrderView, account: OrderAccount) -> dict[str, Row]:
    return {
        part.fulfilment_id: {
            "fulfilment_id": part.fulfilment_id, "order_id": seen.order_id,
            "store_id": part.store_id, "state": part.state, "freight": part.freight,
            "cash_due": part.cash_due, "due_at": part.due_at, "rider_id": part.rider_id,
            "reason": part.reason, "units_out": account.units_out(part.fulfilment_id),
        }
        for part in seen.fulfilments
    }  # fmt: skip
