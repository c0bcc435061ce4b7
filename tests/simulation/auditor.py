"""An independent auditor: from stored facts and answers alone, without the kinds' rules.

It sees every record at the moment it is stored, in the order of truth, and keeps its own books of
stock, money, parcels, tickets and inboxes. It knows the names of events and what DOMAIN says of
them; how the kinds decide and keep their state, it does not know.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import convert

from actors.engine.codec import Registry, encode
from actors.engine.ports import FeedRecord, Record, Shard
from domain import campaign, order, rider, store
from domain.dispatch.rules import CASH_BLOCKED_S
from domain.errors import Problem
from domain.inbox import InboxMessage, InboxPage
from domain.inventory import commands as stock
from domain.inventory import events as goods
from domain.message import Command
from domain.notice import Notify
from tests.simulation.campaign_auditor import Campaigns
from tests.simulation.faults import Account

__all__ = ["AuditFailed", "Auditor"]


class AuditFailed(AssertionError):
    """What the service promises did not hold."""


ORDER_STEPS: dict[str, set[str]] = {
    "": {"placed"},
    "placed": {"paid", "cod_confirmed", "cancelled"},
    "paid": {"cancelling", "completed", "closed", "cancelled"},
    "cod_confirmed": {"cancelling", "completed", "closed", "cancelled"},
    "cancelling": {"paid", "cod_confirmed", "cancelled"},
    "cancelled": {"placed"},  # reinstated: paid after expiry, and locked again
}
ORDER_FINAL = {"completed", "closed", "cancelled"}

PART_STEPS: dict[str, set[str]] = {
    "new": {"accepted", "picking", "ready", "picked_up", "at_customer", "delivered", "returning",
            "parked", "cancelled", "rerouted"},
    "accepted": {"picking", "ready", "picked_up", "at_customer", "delivered", "returning", "parked",
                 "cancelled", "rerouted"},
    "picking": {"ready", "picked_up", "at_customer", "delivered", "returning", "parked",
                "cancelled", "rerouted"},
    "ready": {"picked_up", "at_customer", "delivered", "returning", "parked", "cancelled",
              "rerouted"},
    "picked_up": {"at_customer", "delivered", "returning"},
    "at_customer": {"delivered", "returning"},
    "parked": {"rerouted", "cancelled"},
    "returning": {"returned"},
}  # fmt: skip
"""An order mirrors what others report, so it may skip steps; it never goes back."""
PART_FINAL = {"delivered", "returned", "cancelled", "rerouted"}

TICKET_STEPS: dict[str, set[str]] = {
    "": {"new"},
    "new": {"accepted", "rejected", "cancelled"},
    "accepted": {"picking", "ready", "rejected", "cancelled"},
    "picking": {"ready", "rejected", "cancelled"},
    "ready": {"picked_up", "collected", "cancelled"},
    "picked_up": {"returning", "ready"},
    "returning": {"returned"},
}

CARRIED_STEPS: dict[str, set[str]] = {
    "accepted": {"at_store"},
    "at_store": {"picked_up"},
    "picked_up": {"at_customer", "returning"},
    "at_customer": {"delivered", "returning"},
    "returning": {"returned"},
}


@dataclass
class Cell:
    """One SKU at one store, by the documents."""

    on_hand: int = 0
    locked: int = 0
    damaged: int = 0
    received: int = 0
    """Units in less units out that no order explains: receipts, transfers, counts, shorts."""


@dataclass
class Held:
    """What a fulfilment has of a store's stock: per (line, sku) units."""

    state: str
    order_id: str
    items: dict[tuple[str, str], int]


@dataclass
class Part:
    """One fulfilment by the order's facts."""

    store_id: str
    freight: int
    state: str = "new"
    cash: int = 0
    rider_id: str = ""
    damaged: dict[str, int] = field(default_factory=dict)
    freight_back: int = 0


@dataclass
class LineBook:
    """One line and what went back of it."""

    line: Any
    short: int = 0
    why: str = ""
    """Why units are short; only unwanted ones are on the shelf."""
    back: int = 0
    back_amount: int = 0
    ops_back: int = 0
    cut: int = 0
    """By how much the whole line became cheaper after it was paid (a ladder)."""
    cut_back: int = 0
    """What was given back for that."""


@dataclass
class OrderBook:
    """One order by its facts."""

    placed: Any
    state: str = ""
    before: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    lines: dict[str, LineBook] = field(default_factory=dict)
    captured: dict[str, int] = field(default_factory=dict)
    kept: str = ""
    refunds: dict[str, Any] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    cash_flags: dict[str, int] = field(default_factory=dict)
    cancel_asked: bool = False
    cancelled_by: str = ""


@dataclass
class Run:
    """One rider by their facts."""

    cash: int = 0
    parcels: dict[str, str] = field(default_factory=dict)
    on_shift: bool = False


class Auditor:
    """``stored`` takes every record; ``acknowledged`` every answer that a client really got."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.orders: dict[str, OrderBook] = {}
        self.campaigns = Campaigns(self._must)
        self.cells: dict[tuple[str, str], Cell] = defaultdict(Cell)
        self.held: dict[tuple[str, str], Held] = {}
        """(store, fulfilment) -> what it holds. An attempt to place that died may have left a lock
        of the same fulfilment at another store: that one must be given back."""
        self.runs: dict[str, Run] = defaultdict(Run)
        self._records: dict[Shard, dict[int, Record]] = defaultdict(dict)
        self._fed: dict[Shard, int] = defaultdict(int)
        self._commands: dict[tuple[str, str], bytes] = {}
        self._outboxes: dict[str, str] = {}
        self._settled: set[str] = set()
        self._now = 0.0
        self._tickets: dict[tuple[str, str], str] = {}
        self._inboxes: dict[str, list[InboxMessage]] = defaultdict(list)
        self._assigned: dict[str, tuple[str, str]] = {}
        """Parcel -> (rider, offer) by dispatch."""
        self._assignments: set[tuple[str, str, str]] = set()
        self._holder: dict[str, str] = {}
        """Parcel -> rider by the riders' runs."""
        self._offers: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._offered: dict[str, str] = {}
        self._delivered: dict[str, tuple[str, int]] = {}
        self._documents: set[tuple[str, str]] = set()
        self._transfers_out: dict[tuple[str, str], tuple[str, Any]] = {}
        """(Sending store, document) -> receiving store and items."""
        self._transfers_in: dict[tuple[str, str], tuple[str, Any]] = {}
        self._collect_by: dict[tuple[str, str], float] = {}
        self._overdue: set[str] = set()
        """Fulfilments that a store said nobody collected."""
        self._blocked: dict[str, float] = {}
        """Parcel -> since when dispatch finds its cash above every rider's room."""

    # ---------------------------------------------------------------- for the world

    @property
    def order_ids(self) -> list[str]:
        """Orders that were placed, oldest first."""
        return list(self.orders)

    @property
    def open_orders(self) -> list[str]:
        """Orders that are not final."""
        return [name for name, book in self.orders.items() if book.state not in ORDER_FINAL]

    @property
    def carried(self) -> list[tuple[str, str]]:
        """(parcel, rider) in riders' runs."""
        return list(self._holder.items())

    @property
    def at_rest(self) -> bool:
        """Nothing is owed to anybody."""
        return not self._outboxes

    def unrest(self) -> str:
        """What is still open, for the message of a run that does not end."""
        owed = list(self._outboxes.items())[:5]
        orders = {name: self.orders[name].state for name in self.open_orders}
        parts = {
            part_id: part.state
            for name in orders
            for part_id, part in self.orders[name].parts.items()
        }
        return f"orders {orders}, parts {parts}, owed {owed}"

    def on_hand(self, store_id: str, sku: str) -> int:
        """Units on a shelf, by the documents."""
        return self.cells[store_id, sku].on_hand

    def check(self) -> None:
        """Raise ``AuditFailed`` if anything was wrong so far."""
        if self.problems:
            raise AuditFailed("\n".join(self.problems[:8]))

    def _wrong(self, text: str) -> None:
        self.problems.append(f"at {self._now:.3f}: {text}")

    def _must(self, holds: bool, text: str) -> None:
        if not holds:
            self._wrong(text)

    # ---------------------------------------------------------------- records

    def stored(self, shard: Shard, position: int, record: Record) -> None:
        """A record has just become true."""
        records = self._records[shard]
        self._must(position == len(records) + 1, f"{shard} jumps to position {position}")
        records[position] = record
        self._now = record.at
        for entry in record.entries:
            owner = f"{shard.kind}/{entry.entity}"
            self._engine(owner, entry)
            for event in entry.events:
                self._event(shard.kind, entry.entity, event)

    def fed(self, item: FeedRecord) -> None:
        """The feed gave a record to its follower."""
        expected = self._fed[item.shard] + 1
        self._must(item.position == expected, f"the feed of {item.shard} has a gap at {expected}")
        self._fed[item.shard] = item.position
        same = _story(item.record) == _story(self._records[item.shard][item.position])
        self._must(same, f"the feed tells another story of {item.shard}#{item.position}")

    def _engine(self, owner: str, entry: Any) -> None:
        if entry.command_id:
            key = (owner, entry.command_id)
            self._must(key not in self._commands, f"{owner} did {entry.command_id} twice")
            self._commands[key] = entry.reply
        for owed in entry.owed:
            known = owed.id in self._outboxes or owed.id in self._settled
            self._must(not known, f"{owner} owes {owed.id} twice")
            self._outboxes[owed.id] = f"{owed.to} {owed.command!r}"[:200]
            if owed.to.startswith("notify/"):
                notice = convert(owed.command, Notify)
                if notice.audience.startswith("customer:"):
                    self.campaigns.told[owner.partition("/")[2], notice.template] += 1
        for owed_id in entry.settled:
            self._must(owed_id in self._outboxes, f"{owner} settles {owed_id}, which it never owed")
            self._outboxes.pop(owed_id, None)
            self._settled.add(owed_id)

    def _event(self, kind: str, entity: str, event: Any) -> None:
        match kind:
            case "inventory":
                self._stock(entity, event)
            case "order":
                self._order(entity, event)
            case "store":
                self._store(entity, event)
            case "dispatch":
                self._dispatch(event)
            case "rider":
                self._rider(entity, event)
            case "campaign":
                self.campaigns.event(entity, event)
            case "customer":
                self.campaigns.customer(entity, event)

    # ---------------------------------------------------------------- stock

    def _stock(self, store_id: str, event: Any) -> None:
        match event:
            case goods.Received() | goods.TransferredIn() | goods.TransferredOut():
                sender, name = store_id, event.document_id
                if isinstance(event, goods.TransferredIn):
                    sender = event.from_store
                    name = f"{sender} {name}"
                self._document(store_id, f"{type(event).__name__} {name}")
                sign = -1 if isinstance(event, goods.TransferredOut) else 1
                for item in event.items:
                    self._in(store_id, item.sku, sign * item.quantity)
                if isinstance(event, goods.TransferredOut):
                    self._transfers_out[sender, event.document_id] = event.to_store, event.items
                if isinstance(event, goods.TransferredIn):
                    self._transfers_in[sender, event.document_id] = store_id, event.items
            case goods.Counted():
                self._document(store_id, f"count {event.document_id}")
                self._in(store_id, event.sku, event.difference)
            case goods.DamageMarked():
                self._document(store_id, f"damage {event.document_id}")
                self.cells[store_id, event.sku].damaged += event.quantity
            case goods.Locked():
                self._locked(store_id, event)
            case goods.Released() | goods.Deducted():
                self._unlocked(store_id, event)
            case goods.Returned():
                self._came_back(store_id, event)
            case goods.ShortCorrected():
                self._was_short(store_id, event)
            case goods.KeptOnShelf():
                self._was_kept(store_id, event)
            case goods.QuotaSetAside() | goods.QuotaGivenBack() | goods.QuotaSold():
                self._quota(store_id, event)

    def _quota(self, store_id: str, event: Any) -> None:
        """Units of a campaign are set aside, given back, or sold."""
        self.campaigns.stock(store_id, event)
        if isinstance(event, goods.QuotaSold):
            name = event.fulfilment_id
            self._must((store_id, name) not in self.held, f"{name} is sold twice")
            items: Counter[tuple[str, str]] = Counter()
            for item in event.items:
                items[item.line_id, item.sku] += item.quantity
                self.cells[store_id, item.sku].on_hand -= item.quantity
            self.held[store_id, name] = Held("sold", event.order_id, dict(items))
            return
        self._document(store_id, f"{type(event).__name__} {event.document_id}")
        if isinstance(event, goods.QuotaSetAside):
            for item in event.units:
                free = self._free(store_id, item.sku)
                self._must(free >= 0, f"{store_id} sets aside {item.sku} it has not: {free}")

    def _free(self, store_id: str, sku: str) -> int:
        """Units that nobody has been promised."""
        cell = self.cells[store_id, sku]
        promised = cell.locked + cell.damaged + self.campaigns.reserved(store_id, sku)
        return cell.on_hand - promised

    def _document(self, store_id: str, name: str) -> None:
        key = (store_id, name)
        self._must(key not in self._documents, f"{store_id} booked {name} twice")
        self._documents.add(key)

    def _in(self, store_id: str, sku: str, units: int) -> None:
        cell = self.cells[store_id, sku]
        cell.on_hand += units
        cell.received += units

    def _locked(self, store_id: str, event: goods.Locked) -> None:
        known = self.held.get((store_id, event.fulfilment_id))
        if known is not None and known.state in ("locked", "sold"):
            self._wrong(f"{event.fulfilment_id} locked while {known.state}")
        items: Counter[tuple[str, str]] = Counter()
        for item in event.items:
            items[item.line_id, item.sku] += item.quantity
            self.cells[store_id, item.sku].locked += item.quantity
        for sku in dict.fromkeys(item.sku for item in event.items):
            free = self._free(store_id, sku)
            self._must(free >= 0, f"{store_id} oversells {sku}: {free} after {event.fulfilment_id}")
        self.held[store_id, event.fulfilment_id] = Held("locked", event.order_id, dict(items))

    def _holding(self, store_id: str, fulfilment_id: str, states: Sequence[str]) -> Held:
        held = self.held.get((store_id, fulfilment_id), Held("not held", "", {}))
        self._must(
            held.state in states, f"{store_id}: {fulfilment_id} is {held.state}, not {states}"
        )
        return held

    def _unlocked(self, store_id: str, event: goods.Released | goods.Deducted) -> None:
        held = self._holding(store_id, event.fulfilment_id, ("locked",))
        sold = isinstance(event, goods.Deducted)
        items: Counter[tuple[str, str]] = Counter()
        for item in event.items:
            items[item.line_id, item.sku] += item.quantity
            cell = self.cells[store_id, item.sku]
            cell.locked -= item.quantity
            cell.on_hand -= item.quantity if sold else 0
            self._must(cell.locked >= 0, f"{store_id}: less than nothing locked of {item.sku}")
        has = {key: units for key, units in held.items.items() if units}
        self._must(dict(items) == has, f"{event.fulfilment_id} held {has}, gave {dict(items)}")
        held.state = "sold" if sold else "released"

    def _came_back(self, store_id: str, event: goods.Returned) -> None:
        self._document(store_id, f"return {event.document_id}")
        held = self._holding(store_id, event.fulfilment_id, ("sold",))
        for item in event.items:
            key = (item.line_id, item.sku)
            held.items[key] = held.items.get(key, 0) - item.quantity
            cell = self.cells[store_id, item.sku]
            cell.on_hand += item.quantity
            cell.damaged += item.damaged
            self._must(held.items[key] >= 0, f"{event.fulfilment_id} returned more than it had")

    def _was_short(self, store_id: str, event: goods.ShortCorrected) -> None:
        """The shelf did not have them: the order never said of them that they are there."""
        self._document(store_id, f"short {event.document_id}")
        states = ("locked",) if event.was_locked else ("sold",)
        held = self._holding(store_id, event.fulfilment_id, states)
        lines = self.orders[held.order_id].lines if held.order_id else {}
        for item in event.items:
            entry = lines.get(item.line_id)
            there = entry is not None and entry.why == "unwanted"
            self._must(not there, f"{event.document_id}: {item.sku} is there, only unwanted")
            key = (item.line_id, item.sku)
            held.items[key] = held.items.get(key, 0) - item.quantity
            self._must(held.items[key] >= 0, f"{event.fulfilment_id}: more short than it had")
            cell = self.cells[store_id, item.sku]
            if event.was_locked:
                cell.locked -= item.quantity
                cell.on_hand -= item.quantity
            cell.received -= item.quantity

    def _was_kept(self, store_id: str, event: goods.KeptOnShelf) -> None:
        """The order said so of the same units, and they are in the store still."""
        self._document(store_id, f"kept {event.document_id}")
        states = ("locked",) if event.was_locked else ("sold",)
        held = self._holding(store_id, event.fulfilment_id, states)
        lines = self.orders[held.order_id].lines if held.order_id else {}
        for item in event.items:
            key = (item.line_id, item.sku)
            held.items[key] = held.items.get(key, 0) - item.quantity
            self._must(held.items[key] >= 0, f"{event.fulfilment_id}: more kept than it had")
            entry = lines.get(item.line_id)
            each = sum(u.quantity for u in entry.line.stock if u.sku == item.sku) if entry else 0
            said = each * entry.short if entry and entry.why == "unwanted" else 0
            self._must(said == item.quantity, f"{event.document_id}: {said} were unwanted")
            cell = self.cells[store_id, item.sku]
            if event.was_locked:
                cell.locked -= item.quantity
            else:
                cell.on_hand += item.quantity

    # ---------------------------------------------------------------- orders

    def _order(self, order_id: str, event: Any) -> None:
        if isinstance(event, order.Placed):
            self._must(order_id not in self.orders, f"{order_id} was placed twice")
            book = self.orders[order_id] = OrderBook(event)
            self._becomes(order_id, "placed")
            self._plan(book, event.fulfilments, event.lines)
            amounts = sum(line.amount for line in event.lines) + event.freight
            freight = sum(part.freight for part in event.fulfilments)
            exact = amounts == event.total and freight == event.freight
            self._must(exact, f"{order_id}: the parts of its total do not add up")
            if event.campaign_id:
                self.campaigns.seated(order_id, event.campaign_id, event)
            return
        book = self.orders[order_id]
        match event:
            case order.CodConfirmed():
                self._becomes(order_id, "cod_confirmed")
            case order.Paid() | order.PaymentFlagged():
                self._money_in(order_id, book, event)
            case order.Reinstated():
                self._becomes(order_id, "placed")
                self._planned_anew(order_id, book, event)
            case order.Reseated():
                self._planned_anew(order_id, book, event)
            case order.SeatConfirmed():
                self._confirmed(order_id, book, event)
            case order.CancelRequested():
                book.cancel_asked = True
                if book.state != "cancelling":
                    book.before = book.state
                    self._becomes(order_id, "cancelling")
            case order.CancelRefused():
                if book.state == "cancelling":
                    self._becomes(order_id, book.before)
            case order.Cancelled():
                book.cancel_asked = True
                book.cancelled_by = event.by
                self._becomes(order_id, "cancelled")
                for part in book.parts.values():
                    if part.state not in PART_FINAL:
                        part.state = "cancelled"
            case order.Completed():
                self._becomes(order_id, "closed" if event.closed else "completed")
            case order.RefundRequested():
                self._refund(order_id, book, event)
            case order.RefundDone():
                self._must(event.refund_id in book.refunds, f"{event.refund_id} was never asked")
                self._must(event.refund_id not in book.settled, f"{event.refund_id} done twice")
                book.settled[event.refund_id] = event.refused
            case _:
                self._part(order_id, book, event)

    def _becomes(self, order_id: str, state: str) -> None:
        book = self.orders[order_id]
        legal = state in ORDER_STEPS.get(book.state, set())
        self._must(legal, f"{order_id} went from {book.state!r} to {state!r}")
        book.state = state

    def _planned_anew(self, order_id: str, book: OrderBook, event: Any) -> None:
        book.parts.clear()
        self._plan(book, event.fulfilments, event.lines)
        if book.placed.campaign_id:
            self.campaigns.seated(order_id, book.placed.campaign_id, event)

    def _confirmed(self, order_id: str, book: OrderBook, event: order.SeatConfirmed) -> None:
        """The price may have fallen; the difference was given back before, to the cent."""
        price = self.campaigns.confirmed(order_id, event)
        cuts = dict(event.cuts)
        for line_id, entry in book.lines.items():
            fallen = entry.line.unit_price - price
            whole = fallen * entry.line.quantity
            self._must(cuts.pop(line_id, 0) == whole, f"{line_id} became {whole} cheaper")
            left = fallen * (entry.line.quantity - entry.back)
            text = f"{line_id}: {entry.cut_back} of {left} went back as the price fell"
            self._must(entry.cut_back == left, text)
            entry.cut = whole
        self._must(not cuts, f"{order_id}: prices of {cuts} fell")

    def _plan(self, book: OrderBook, parts: Sequence[Any], lines: Sequence[Any]) -> None:
        for part in parts:
            book.parts[part.fulfilment_id] = Part(part.store_id, part.freight)
        kept, book.lines = book.lines, {}
        for line in lines:
            entry = kept.get(line.line_id, LineBook(line))
            entry.line = line
            book.lines[line.line_id] = entry

    def _part(self, order_id: str, book: OrderBook, event: Any) -> None:
        fulfilment_id = getattr(event, "fulfilment_id", "")
        if not fulfilment_id:
            return
        part = book.parts.get(fulfilment_id)
        if part is None:
            self._wrong(f"{order_id}: {type(event).__name__} of {fulfilment_id}, unknown")
            return
        match event:
            case order.FulfilmentMoved(state=state):
                if state not in ("rider_assigned", "at_store"):
                    self._part_becomes(part, fulfilment_id, state)
            case order.FulfilmentUncollected():
                explained = event.fulfilment_id in self._overdue
                self._must(explained, f"{event.fulfilment_id}: no store misses its customer")
            case order.FulfilmentPicked():
                if part.state in ("new", "accepted", "picking"):
                    part.state = "ready"
                for line_id, units in event.short:
                    book.lines[line_id].short += units
                for line_id, why in event.reasons:
                    book.lines[line_id].why = why
            case order.FulfilmentParked():
                self._part_becomes(part, fulfilment_id, "parked")
            case order.FulfilmentCancelled():
                self._part_becomes(part, fulfilment_id, "cancelled")
            case order.FulfilmentFailed():
                self._part_becomes(part, fulfilment_id, "returning")
            case order.FulfilmentReturned():
                self._part_becomes(part, fulfilment_id, "returned")
                part.damaged = dict(event.damaged)
            case order.FulfilmentDelivered():
                self._part_becomes(part, fulfilment_id, "delivered")
                part.cash, part.rider_id = event.cash, event.rider_id
            case order.FulfilmentRerouted():
                self._rerouted(book, fulfilment_id, part, event)
                self.campaigns.rerouted(order_id, event)

    def _rerouted(self, book: OrderBook, fulfilment_id: str, part: Part, event: Any) -> None:
        if part.state != "rerouted":
            self._part_becomes(part, fulfilment_id, "rerouted")
        to = event.to
        self._must(to.fulfilment_id not in book.parts, f"{to.fulfilment_id} was used before")
        book.parts[to.fulfilment_id] = Part(to.store_id, to.freight)
        for line in event.lines:
            entry = book.lines.setdefault(line.line_id, LineBook(line))
            entry.line = line

    def _part_becomes(self, part: Part, fulfilment_id: str, state: str) -> None:
        legal = state in PART_STEPS.get(part.state, set())
        self._must(legal, f"{fulfilment_id} went from {part.state!r} to {state!r}")
        part.state = state

    def _money_in(self, order_id: str, book: OrderBook, event: Any) -> None:
        flagged = isinstance(event, order.PaymentFlagged)
        if flagged and event.provider == "cash":
            book.cash_flags[event.payment_id] = event.amount
            return
        if flagged and not event.amount:  # held, not taken
            return
        once = event.payment_id not in book.captured
        self._must(once, f"{event.payment_id} was taken twice")
        book.captured[event.payment_id] = event.amount
        if flagged or not event.kept:
            return
        self._must(not book.kept, f"{order_id} keeps {book.kept} and {event.payment_id}")
        self._must(
            event.amount == book.placed.total, f"{order_id} keeps another sum than its total"
        )
        book.kept = event.payment_id
        self._becomes(order_id, "paid")

    def _refund(self, order_id: str, book: OrderBook, event: Any) -> None:
        self._must(event.refund_id not in book.refunds, f"{event.refund_id} was asked twice")
        book.refunds[event.refund_id] = event
        back = sum(
            each.amount for each in book.refunds.values() if each.payment_id == event.payment_id
        )
        taken = book.captured.get(event.payment_id, 0)
        self._must(back <= taken, f"{order_id}: {back} goes back of {taken} of {event.payment_id}")
        parts = sum(line.amount for line in event.lines) + event.freight
        if event.payment_id == book.kept:
            self._must(parts == event.amount, f"{event.refund_id} is not the sum of its parts")
        else:
            self._must(
                event.amount == taken, f"{event.refund_id}: an unused payment goes back whole"
            )
        for each in event.lines:
            entry = book.lines[each.line_id]
            entry.back += each.quantity
            entry.back_amount += each.amount
            if "-ops" in event.refund_id:
                entry.ops_back += each.quantity
            if book.placed.campaign_id:
                self._exact_in_campaign(entry, each)
            else:
                self._exact(entry)
        for fulfilment_id in event.freight_of:
            book.parts[fulfilment_id].freight_back += book.parts[fulfilment_id].freight

    def _exact_in_campaign(self, entry: LineBook, each: Any) -> None:
        """Units of a campaign have a price each, which may have fallen."""
        line = entry.line
        self._must(entry.back <= line.quantity, f"{line.line_id}: more units went back than sold")
        if not each.quantity:
            self._must(not entry.cut_back, f"{line.line_id} became cheaper twice")
            entry.cut_back = each.amount
            return
        cost = (line.amount - entry.cut) // line.quantity * each.quantity
        self._must(each.amount == cost, f"{line.line_id}: {each.amount} is not its cost {cost}")

    def _exact(self, entry: LineBook) -> None:
        line = entry.line
        self._must(entry.back <= line.quantity, f"{line.line_id}: more units went back than sold")
        # never a cent away from what those units really cost, and exact for all of them
        error = abs(entry.back_amount * line.quantity - line.amount * entry.back)
        self._must(error < line.quantity, f"{line.line_id}: {entry.back_amount} is not its cost")
        if entry.back == line.quantity:
            whole = entry.back_amount == line.amount
            self._must(whole, f"{line.line_id}: all units went back, but not the whole amount")

    # ---------------------------------------------------------------- stores

    def _store(self, store_id: str, event: Any) -> None:
        match event:
            case store.Noted():
                self._noted(f"store/{store_id}", event.messages)
            case store.TicketOpened():
                self._ticket_becomes(store_id, event.ticket.fulfilment_id, "new")
                self.campaigns.ticket(event.ticket.fulfilment_id)
            case store.TicketMoved():
                self._ticket_becomes(store_id, event.fulfilment_id, event.state)
                self._collect_by.pop((store_id, event.fulfilment_id), None)
                if event.collect_by:
                    self._collect_by[store_id, event.fulfilment_id] = event.collect_by
            case store.Uncollected():
                by = self._collect_by.pop((store_id, event.fulfilment_id), float("inf"))
                early = f"{event.fulfilment_id} is called uncollected at {event.at}, due by {by}"
                self._must(event.at >= by, early)
                self._overdue.add(event.fulfilment_id)
            case store.HandOverAnswered(taken=False):
                if self._tickets.get((store_id, event.fulfilment_id)) == "picked_up":
                    self._ticket_becomes(store_id, event.fulfilment_id, "ready")
            case store.TicketClosed():
                self._tickets[store_id, event.fulfilment_id] = f"closed {event.state}"

    def _ticket_becomes(self, store_id: str, fulfilment_id: str, state: str) -> None:
        key = (store_id, fulfilment_id)
        known = self._tickets.get(key, "")
        legal = state in TICKET_STEPS.get(known, set())
        self._must(legal, f"ticket {fulfilment_id} of {store_id} went from {known!r} to {state!r}")
        self._tickets[key] = state

    def _noted(self, owner: str, messages: Sequence[InboxMessage]) -> None:
        known = self._inboxes[owner]
        for message in messages:
            dense = message.offset == len(known) + 1
            self._must(dense, f"inbox of {owner} jumps from {len(known)} to {message.offset}")
            known.append(message)

    def read_inbox(self, owner: str, after: int, page: InboxPage) -> None:
        """A device read ``page`` after the offset ``after``."""
        known = self._inboxes[owner]
        self._must(page.head <= len(known), f"{owner}: a device saw what was never stored")
        for message in page.messages:
            after += 1
            self._must(message.offset == after, f"{owner}: a device misses message {after}")
            same = message.offset <= len(known) and known[message.offset - 1] == message
            self._must(same, f"{owner}: a device read another message {message.offset}")

    # ---------------------------------------------------------------- dispatch and riders

    def _dispatch(self, event: Any) -> None:
        match type(event).__name__:
            case "OfferMade":
                self._offers[event.offer_id] = (event.rider_id, event.parcel_ids)
                for parcel in event.parcel_ids:
                    free = parcel not in self._offered and parcel not in self._assigned
                    self._must(free, f"{parcel} is offered twice")
                    self._offered[parcel] = event.offer_id
            case "OfferClosed":
                self._unoffer(event.offer_id)
            case "Assigned":
                for parcel in event.parcel_ids:
                    mine = self._offered.get(parcel) == event.offer_id
                    self._must(mine, f"{parcel} is assigned without its offer")
                    taken = self._assigned.get(parcel)
                    self._must(taken is None, f"{parcel} is given to {event.rider_id}, has {taken}")
                    self._assigned[parcel] = (event.rider_id, event.offer_id)
                    self._assignments.add((event.offer_id, event.rider_id, parcel))
                self._unoffer(event.offer_id)
            case "ParcelReturnedToPool":
                self._must(event.parcel_id in self._assigned, f"{event.parcel_id} had no rider")
                self._assigned.pop(event.parcel_id, None)
            case "ParcelLeft":
                self._assigned.pop(event.parcel_id, None)
                self._offered.pop(event.parcel_id, None)
                self._blocked.pop(event.parcel_id, None)
            case "CashBlocked":
                self._must(event.cash_due > event.room, f"{event.parcel_id}: there is room")
                self._blocked[event.parcel_id] = event.at
            case "CashEscalated":
                since = self._blocked.get(event.parcel_id, float("inf"))
                early = f"{event.parcel_id}: its cash is escalated at {event.at}, since {since}"
                self._must(event.at >= since + CASH_BLOCKED_S, early)
                self._must(event.cash_due > event.room, f"{event.parcel_id}: there is room")
            case "CashUnblocked":
                known = event.parcel_id in self._blocked
                self._must(known, f"{event.parcel_id} was not blocked")
                self._blocked.pop(event.parcel_id, None)

    def _unoffer(self, offer_id: str) -> None:
        for parcel in self._offers.get(offer_id, ("", ()))[1]:
            if self._offered.get(parcel) == offer_id:
                del self._offered[parcel]

    def _rider(self, rider_id: str, event: Any) -> None:
        run = self.runs[rider_id]
        match event:
            case rider.Noted():
                self._noted(f"rider/{rider_id}", event.messages)
            case rider.ShiftStarted():
                self._must(not run.on_shift, f"{rider_id} is on shift twice")
                run.on_shift = True
            case rider.ShiftEnded():
                self._must(not run.parcels, f"{rider_id} went home with {list(run.parcels)}")
                run.on_shift = False
            case rider.ParcelsTaken():
                self._taken(rider_id, run, event)
            case rider.ParcelMoved():
                self._carried(rider_id, event.parcel_id, event.state)
            case rider.ParcelDelivered():
                self._carried(rider_id, event.parcel_id, "delivered")
                self._left(rider_id, event.parcel_id)
                run.cash += event.cash
                once = event.parcel_id not in self._delivered
                self._must(once, f"{event.parcel_id} was delivered twice")
                self._delivered[event.parcel_id] = (rider_id, event.cash)
                exact = event.received - event.change == event.cash
                self._must(exact, f"{event.parcel_id}: the cash kept is not received less change")
            case rider.ParcelRemoved():
                before = run.parcels.get(event.parcel_id)
                legal = before in ("returning",) if event.outcome == "returned" else before in (
                    "accepted", "at_store",
                )  # fmt: skip
                self._must(legal, f"{event.parcel_id} was {before} and left {event.outcome}")
                self._left(rider_id, event.parcel_id)
            case rider.Remitted():
                self._document(rider_id, f"remittance {event.remittance_id}")
                self._must(event.owed == run.cash, f"{rider_id} held {run.cash}, not {event.owed}")
                exact = event.difference == event.amount - event.owed
                self._must(exact, f"{event.remittance_id}: a wrong difference")
                run.cash -= event.owed

    def _taken(self, rider_id: str, run: Run, event: rider.ParcelsTaken) -> None:
        for parcel in event.parcels:
            name = parcel.parcel_id
            holder = self._holder.get(name)
            self._must(holder is None, f"{name} is with {holder} and taken by {rider_id}")
            theirs = (event.offer_id, rider_id, name) in self._assignments
            self._must(theirs, f"{rider_id} took {name}, which dispatch never gave them")
            self._holder[name] = rider_id
            run.parcels[name] = "accepted"

    def _carried(self, rider_id: str, parcel: str, state: str) -> None:
        run = self.runs[rider_id]
        before = run.parcels.get(parcel, "")
        legal = state in CARRIED_STEPS.get(before, set())
        handed = state == "picked_up" and before == "accepted"  # at the counter, without arriving
        self._must(legal or handed, f"{parcel} of {rider_id} went from {before!r} to {state!r}")
        run.parcels[parcel] = state

    def _left(self, rider_id: str, parcel: str) -> None:
        self.runs[rider_id].parcels.pop(parcel, None)
        self._must(self._holder.pop(parcel, None) == rider_id, f"{parcel} was not with {rider_id}")

    # ---------------------------------------------------------------- answers

    def acknowledged(self, to: str, command: Command, command_id: str, reply: Any) -> None:
        """A client got ``reply``: what it acknowledges must be stored by now."""
        if isinstance(reply, Problem):
            return
        stored = self._commands.get((to, command_id))
        if stored is not None:
            same = stored == encode(reply)
            self._must(same, f"{to} {command_id} was answered otherwise than it was stored")
            return
        kind, _, entity = to.partition("/")
        done = self._done(kind, entity, command, reply)
        self._must(done, f"{to} acknowledged {command!r}, and nothing stored explains it")

    def _done(self, kind: str, entity: str, command: Any, reply: Any) -> bool:
        """Whether what a command asks for holds by the facts, though it stored nothing itself."""
        name = getattr(command, "fulfilment_id", getattr(command, "parcel_id", ""))
        match command:
            case order.Place():
                return entity in self.orders
            case campaign.Open():
                return entity in self.campaigns.books
            case campaign.End():
                return self.campaigns.books[entity].ended
            case order.Cancel():
                return self.orders[entity].cancel_asked
            case order.StartPayment() | order.RefundLines() | order.RecordPayment():
                return entity in self.orders
            case store.AcceptTicket() | store.StartPicking() | store.MarkReady():
                return bool(self._tickets.get((entity, name), "new") != "new")
            case store.HandOver():
                known = self._tickets.get((entity, name), "")
                return known in ("picked_up", "returning", "closed delivered", "closed returned")
            case store.AcceptReturn():
                return self._tickets.get((entity, name)) == "closed returned"
            case store.RejectTicket():
                return self._tickets.get((entity, name)) == "closed rejected"
            case rider.Deliver():
                return self._delivered.get(name, ("", 0))[0] == entity
            case stock.Receive():
                return (entity, f"Received {command.document_id}") in self._documents
            case stock.Transfer():
                return (entity, f"TransferredOut {command.document_id}") in self._documents
            case stock.Count():
                return (entity, f"count {command.document_id}") in self._documents
            case rider.Remit():
                return (entity, f"remittance {command.remittance_id}") in self._documents
        return True

    # ---------------------------------------------------------------- at the end

    def compare(self, what: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        """Two readings of everything must be the same."""
        for name, value in first.items():
            same = encode(value) == encode(second[name])
            self._must(same, f"{name} differs {what}: {value!r} and {second[name]!r}")

    def views(
        self,
        node: str,
        read: Mapping[str, Any],
        sellable: Callable[[str, str], int],
        briefs: Mapping[str, Any],
    ) -> None:
        """A node's read models have caught up with the stock and the campaigns."""
        for name, reply in read.items():
            if name.startswith("campaign/"):
                self._same_brief(node, name, briefs.get(name.removeprefix("campaign/")), reply)
            if name.startswith("inventory/"):
                store_id = name.removeprefix("inventory/")
                for cell in reply.cells:
                    seen = sellable(store_id, cell.sku)
                    text = f"{node} sees {seen} of {cell.sku} at {store_id}, not {cell.sellable}"
                    self._must(seen == cell.sellable, text)

    def _same_brief(self, node: str, name: str, brief: Any, view: Any) -> None:
        if brief is None:  # it was over, and forgotten, before the node started
            self._must(view.state == "ended", f"{node} does not know {name}")
            return
        seen = (brief.tally, brief.ended, brief.open_groups, brief.formed_groups)
        told = (view.tally, view.state == "ended", view.open_groups, view.formed_groups)
        self._must(seen == told, f"{node} sees {name} as {seen}, it is {told}")

    def replayed(self, registry: Registry, states: Mapping[Shard, Mapping[str, Any]]) -> None:
        """What snapshots and tails gave must be what all records give, from the first one on."""
        for shard, records in self._records.items():
            kind = registry.codecs[shard.kind].kind
            fresh: dict[str, Any] = {}
            for position in sorted(records):
                for entry in records[position].entries:
                    for event in entry.events:
                        fresh[entry.entity] = kind.evolve(fresh.get(entry.entity), event)
            for entity, state in states[shard].items():
                same = encode(state) == encode(fresh.get(entity))
                self._must(same, f"{shard.kind}/{entity} was recovered otherwise than replayed")

    def rested(self, read: Mapping[str, Any], accounts: Mapping[str, Account]) -> None:
        """Nothing is owed to anybody and every campaign is over; stores may still be at work."""
        self._must(not self._outboxes, f"still owed: {list(self._outboxes.items())[:5]}")
        self._final_payments(accounts)
        self.campaigns.final(read, self.orders)
        for name, reply in read.items():
            if name.startswith("inventory/"):
                self._same_cells(name.removeprefix("inventory/"), reply)

    def final(self, read: Mapping[str, Any], accounts: Mapping[str, Account]) -> None:
        """The day is over and everything is at rest."""
        self.rested(read, accounts)
        self._must(not self.open_orders, f"orders that never ended: {self.open_orders}")
        self._must(not self._holder, f"parcels still with riders: {self._holder}")
        self._must(not self._assigned, f"parcels still assigned: {self._assigned}")
        for rider_id, run in self.runs.items():
            self._must(run.cash == 0, f"{rider_id} still holds {run.cash}")
        open_tickets = [key for key, state in self._tickets.items() if "closed" not in state]
        self._must(not open_tickets, f"tickets still open: {open_tickets}")
        self._final_stock(read)
        for order_id, book in self.orders.items():
            self._final_order(order_id, book, accounts)
        for shard, records in self._records.items():
            self._must(self._fed[shard] == len(records), f"the feed of {shard} lacks its end")
        for name, reply in read.items():
            if name.startswith("order/"):
                self._final_view(name.removeprefix("order/"), reply)
        self.check()

    def _final_stock(self, read: Mapping[str, Any]) -> None:
        for (store_id, fulfilment_id), held in self.held.items():
            self._must(held.state != "locked", f"{fulfilment_id} is still locked at {store_id}")
        self._must(self._transfers_in == self._transfers_out, "goods between stores were lost")
        sold: Counter[tuple[str, str]] = Counter()
        for (store_id, _fulfilment), held in self.held.items():
            if held.state == "sold":
                for (_line, sku), units in held.items.items():
                    sold[store_id, sku] += units
        handed = self._handed_over()
        self._must(+sold == +handed, f"sold by stock {dict(+sold)}, handed over {dict(+handed)}")
        for (store_id, sku), cell in self.cells.items():
            explained = cell.received - sold[store_id, sku]
            same = cell.on_hand == explained
            self._must(same, f"{store_id} {sku}: {cell.on_hand} on hand, explained {explained}")

    def _same_cells(self, store_id: str, reply: Any) -> None:
        for view in reply.cells:
            cell = self.cells[store_id, view.sku]
            reserved = self.campaigns.reserved(store_id, view.sku)
            read = (view.on_hand, view.locked, view.damaged, sum(view.campaigns.values()))
            kept = (cell.on_hand, cell.locked, cell.damaged, reserved)
            self._must(read == kept, f"{store_id} says {read} of {view.sku}, documents say {kept}")

    def _handed_over(self) -> Counter[tuple[str, str]]:
        """Units that customers have, by store and SKU, as the orders tell."""
        units: Counter[tuple[str, str]] = Counter()
        for book in self.orders.values():
            for entry in book.lines.values():
                part = book.parts[entry.line.fulfilment_id]
                if part.state == "delivered":
                    for unit in entry.line.stock:
                        count = entry.line.quantity - entry.short
                        units[part.store_id, unit.sku] += count * unit.quantity
        return units

    def _final_order(self, order_id: str, book: OrderBook, accounts: Mapping[str, Account]) -> None:
        live = {name: part for name, part in book.parts.items() if part.state != "rerouted"}
        undone = {name: part.state for name, part in live.items() if part.state not in PART_FINAL}
        self._must(not undone, f"{order_id} ended as {book.state} with {undone}")
        delivered = any(part.state == "delivered" for part in live.values())
        self._must(delivered == (book.state == "completed"), f"{order_id} is {book.state}")
        for payment_id, taken in book.captured.items():
            back = sum(
                each.amount for each in book.refunds.values() if each.payment_id == payment_id
            )
            if payment_id != book.kept:
                self._must(back == taken, f"{payment_id}: {taken} taken, {back} given back")
        for refund_id in book.refunds:
            self._must(refund_id in book.settled, f"{refund_id} was never settled")
        if book.kept:
            self._final_kept(order_id, book, live)
        if book.placed.payment == "cod":
            self._final_cash(book, live)

    def _final_kept(self, order_id: str, book: OrderBook, live: Mapping[str, Part]) -> None:
        """Every cent that was kept is for goods or freight that arrived."""
        for entry in book.lines.values():
            line, part = entry.line, live[entry.line.fulfilment_id]
            if part.state == "delivered":
                most = entry.short + entry.ops_back
                fair = min(entry.short, line.quantity) <= entry.back <= most
                self._must(fair, f"{line.line_id}: {entry.back} back, {entry.short} short")
            else:
                self._must(entry.back == line.quantity, f"{line.line_id} was not given back")
        for name, part in live.items():
            due = 0 if part.state == "delivered" else part.freight
            self._must(part.freight_back == due, f"{name}: freight back {part.freight_back}")

    def _final_cash(self, book: OrderBook, live: Mapping[str, Part]) -> None:
        for name, part in live.items():
            if part.state != "delivered":
                continue
            due = part.freight
            for entry in book.lines.values():
                line = entry.line
                if line.fulfilment_id == name:
                    due += line.amount - line.amount * entry.short // line.quantity
            taken = part.cash
            flagged = name in book.cash_flags
            self._must(taken == due or flagged, f"{name}: {taken} taken at the door, {due} due")
            if part.rider_id:
                told = self._delivered.get(name)
                same = told == (part.rider_id, taken)
                self._must(same, f"{name}: the order says {taken}, the rider {told}")

    def _final_payments(self, accounts: Mapping[str, Account]) -> None:
        """The provider's books and ours tell the same."""
        for payment_id, account in accounts.items():
            book = self.orders[account.created.order_id]
            ours = book.captured.get(payment_id, 0)
            theirs = account.captured if account.status == "captured" else 0
            self._must(ours == theirs, f"{payment_id}: {theirs} taken there, {ours} known here")
            lapsed = account.status == "authorised" and account.held == account.created.amount
            wanted = book.state == "cancelled" and book.cancelled_by == "timeout"
            self._must(not (lapsed and wanted), f"{payment_id} was held for its order, not taken")
            done = {
                refund_id: each.amount
                for refund_id, each in book.refunds.items()
                if each.payment_id == payment_id and not book.settled.get(refund_id, "?")
            }
            same = done == account.refunds
            self._must(same, f"{payment_id}: refunded there {account.refunds}, here {done}")

    def _final_view(self, order_id: str, view: Any) -> None:
        book = self.orders[order_id]
        if isinstance(view, Problem):
            self._wrong(f"{order_id} is gone: {view.code}")
            return
        self._must(view.state == book.state, f"{order_id} reads {view.state}, is {book.state}")
        for line in view.lines:
            entry = book.lines[line.line_id]
            same = (line.refunded_quantity, line.refunded_amount) == (entry.back, entry.back_amount)
            self._must(same, f"{line.line_id} reads {line.refunded_amount} back")


def _story(record: Record) -> bytes:
    """What a record says to those who follow: what happened to whom, and when."""
    return encode((record.at, [(entry.entity, entry.events) for entry in record.entries]))
