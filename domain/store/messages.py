"""What a store's devices are told: the public messages of its inbox, as JSON documents.

A device that holds a :class:`Snapshot` and folds every later message into it holds what a fresh
snapshot would say: ``ticket.opened`` adds a ticket, every message with ``progress`` replaces that
ticket's progress, ``ticket.closed`` moves it to the finished ones (newest :data:`CLOSED_KEPT` are
kept), ``store.paused`` and ``item.paused`` set the pauses. The pick-up code is never in them.
"""

from collections.abc import Iterable
from copy import copy
from datetime import datetime

from msgspec import Struct

from domain import inbox as inboxes
from domain.message import Event
from domain.reasons import code_of
from domain.store.commands import TicketLine
from domain.store.events import (
    CancelAsked,
    Escalated,
    ItemPaused,
    Noted,
    StorePaused,
    TicketClosed,
    TicketMoved,
    TicketOpened,
)
from domain.store.state import CLOSED_KEPT, Closed, State, Ticket, apply, evolve
from domain.store.views import shown_code
from domain.wire import document, moment

__all__ = [
    "CLOSED_KEPT", "MESSAGES", "FinishedTicket", "ItemPause", "Line", "Progress", "ReturnAnnounced",
    "Snapshot", "StorePause", "TicketCancelAsked", "TicketCancelled", "TicketChanged",
    "TicketDocument", "TicketEscalated", "TicketFinished", "TicketIn", "noted", "preview",
    "snapshot",
]  # fmt: skip


class Line(Struct, frozen=True, gc=False):
    """What to pick for one order line. ``unit_price`` in minor units."""

    line_id: str
    sku: str
    name: str
    quantity: int
    barcode: str
    unit_price: int


class Progress(Struct, frozen=True, gc=False):
    """The part of a ticket that changes. ``picked``: units packed per line id; lines not named
    count as fully picked once *ready*. ``short_reasons``: per line id of which not all is packed,
    ``missing`` from the shelf, missing and ``substitute_refused`` by the customer, or there and
    ``unwanted``."""

    state: str
    changed_at: datetime
    cash_due: int
    picked: dict[str, int]
    ready_at: datetime | None
    accepted_by: str
    rider_id: str
    rider_at_store: bool
    cancel_asked: bool
    escalation: int
    reason: str
    code_locked_until: datetime | None
    uncollected: bool = False
    """Nobody has collected it in time."""
    short_reasons: dict[str, str] = {}
    reason_code: str = ""
    """Why, for machines, where ``reason`` is not just somebody's words: ``all-short | not-in-time |
    not-held | unwanted``, or what a tablet offered."""


class TicketDocument(Struct, frozen=True, gc=False):
    """One open ticket. Money in minor units of ``currency``."""

    fulfilment_id: str
    order_id: str
    opened_at: datetime
    accept_by: datetime
    due_at: datetime
    delivery: str
    currency: str
    lines: tuple[Line, ...]
    customer_name: str
    phone_ending: str
    address: str
    note: str
    progress: Progress


class FinishedTicket(Struct, frozen=True, gc=False):
    """What the tablet keeps of a finished ticket."""

    fulfilment_id: str
    order_id: str
    state: str
    at: datetime
    delivery: str
    units: int
    currency: str
    customer_name: str
    rider_id: str
    reason: str
    reason_code: str = ""
    """As in ``Progress``."""


class TicketIn(Struct, frozen=True, gc=False):
    """``ticket.opened``: work came in; accept it before ``accept_by``."""

    ticket: TicketDocument


class TicketChanged(Struct, frozen=True, gc=False):
    """``ticket.changed``: any other step of a ticket."""

    fulfilment_id: str
    progress: Progress


class TicketCancelled(Struct, frozen=True, gc=False):
    """``ticket.cancelled``: stop; goods already picked go back to the shelf."""

    fulfilment_id: str
    progress: Progress
    reason: str


class TicketCancelAsked(Struct, frozen=True, gc=False):
    """``ticket.cancel_asked``: the customer wants out; say whether the goods are held back."""

    fulfilment_id: str
    progress: Progress
    reason: str


class TicketEscalated(Struct, frozen=True, gc=False):
    """``ticket.escalated``: nobody acted. Level 1 pushed again, 2 people notified, 3 given away."""

    fulfilment_id: str
    progress: Progress
    level: int
    next_at: datetime | None


class ReturnAnnounced(Struct, frozen=True, gc=False):
    """``return.announced``: an undelivered parcel is on its way back with ``rider_id``."""

    fulfilment_id: str
    progress: Progress
    rider_id: str
    reason: str


class TicketFinished(Struct, frozen=True, gc=False):
    """``ticket.closed``: the ticket leaves the open ones."""

    closed: FinishedTicket


class StorePause(Struct, frozen=True, gc=False):
    """``store.paused``: the store takes (or no longer takes) orders."""

    paused: bool
    until: datetime | None
    reason: str


class ItemPause(Struct, frozen=True, gc=False):
    """``item.paused``: one SKU is (or is no longer) sold here."""

    sku: str
    paused: bool
    until: datetime | None


class Snapshot(Struct, frozen=True, gc=False):
    """Everything open and the latest finished tickets, oldest first."""

    store_id: str
    tickets: tuple[TicketDocument, ...]
    paused: bool
    paused_until: datetime | None
    paused_reason: str
    paused_items: dict[str, datetime | None]
    closed: tuple[FinishedTicket, ...]


MESSAGES: dict[str, type[Struct]] = {
    "ticket.opened": TicketIn,
    "ticket.changed": TicketChanged,
    "ticket.cancelled": TicketCancelled,
    "ticket.cancel_asked": TicketCancelAsked,
    "ticket.escalated": TicketEscalated,
    "ticket.closed": TicketFinished,
    "return.announced": ReturnAnnounced,
    "store.paused": StorePause,
    "item.paused": ItemPause,
}
"""Message type -> the struct its ``data`` holds (the AsyncAPI file is made from these)."""


def noted(state: State, store_id: str, events: Iterable[Event], at: float) -> list[Event]:
    """What the devices must be told of these new facts: at most one ``Noted``, to be stored with
    them. ``state`` is as before the facts and is not changed."""
    scratch = State(state.inbox)
    drafts: list[tuple[str, bytes]] = []
    for event in events:
        fulfilment_id = getattr(event, "fulfilment_id", "")
        if fulfilment_id and fulfilment_id not in scratch.tickets:
            known = state.tickets.get(fulfilment_id)
            if known is not None:
                scratch.tickets[fulfilment_id] = preview(known, ())
        draft = _draft(scratch, event)
        if draft is not None:
            drafts.append((draft[0], document(draft[1])))
    if not drafts:
        return []
    return [Noted(inboxes.compose(state.inbox, f"store/{store_id}", drafts, at))]


def preview(ticket: Ticket, events: Iterable[Event]) -> Ticket:
    """A copy of the ticket as it will be after these facts about it."""
    ahead = copy(ticket)
    ahead.picked = dict(ticket.picked)
    for event in events:
        apply(ahead, event)
    return ahead


def snapshot(state: State, store_id: str) -> bytes:
    """The :class:`Snapshot` as a JSON document."""
    return document(
        Snapshot(
            store_id,
            tuple(_ticket(ticket) for ticket in state.tickets.values()),
            state.paused,
            _maybe(state.paused_until),
            state.paused_reason,
            {sku: _maybe(until) for sku, until in state.paused_items.items()},
            tuple(_finished(closed) for closed in state.closed.values()),
        )
    )


def _draft(scratch: State, event: Event) -> tuple[str, Struct] | None:
    """The message for one fact; ``scratch`` holds the ticket and is moved on by it."""
    match event:
        case TicketOpened():
            evolve(scratch, event)
            return "ticket.opened", TicketIn(_ticket(scratch.tickets[event.ticket.fulfilment_id]))
        case TicketClosed():
            evolve(scratch, event)
            closed = scratch.closed.get(event.fulfilment_id)
            return None if closed is None else ("ticket.closed", TicketFinished(_finished(closed)))
        case StorePaused():
            until = _maybe(event.until) if event.paused else None
            return "store.paused", StorePause(
                event.paused, until, event.reason if event.paused else ""
            )
        case ItemPaused():
            until = _maybe(event.until) if event.paused else None
            return "item.paused", ItemPause(event.sku, event.paused, until)
    ticket = scratch.tickets.get(getattr(event, "fulfilment_id", ""))
    if ticket is None:
        return None
    apply(ticket, event)
    return _progress_draft(ticket, event)


def _progress_draft(ticket: Ticket, event: Event) -> tuple[str, Struct]:
    fulfilment_id, progress = ticket.opened.fulfilment_id, _progress(ticket)
    match event:
        case TicketMoved(state="cancelled"):
            return "ticket.cancelled", TicketCancelled(fulfilment_id, progress, event.reason)
        case TicketMoved(state="returning"):
            return "return.announced", ReturnAnnounced(
                fulfilment_id, progress, ticket.rider_id, event.reason
            )
        case CancelAsked():
            return "ticket.cancel_asked", TicketCancelAsked(fulfilment_id, progress, event.reason)
        case Escalated():
            return "ticket.escalated", TicketEscalated(
                fulfilment_id, progress, event.level, _maybe(event.next_at)
            )
    return "ticket.changed", TicketChanged(fulfilment_id, progress)


def _ticket(ticket: Ticket) -> TicketDocument:
    opened = ticket.opened
    return TicketDocument(
        fulfilment_id=opened.fulfilment_id,
        order_id=opened.order_id,
        opened_at=moment(ticket.opened_at),
        accept_by=moment(opened.accept_by),
        due_at=moment(opened.due_at),
        delivery=opened.delivery,
        currency=opened.currency,
        lines=tuple(_line(line) for line in opened.lines),
        customer_name=opened.customer_name,
        phone_ending=opened.phone_ending,
        address=opened.address,
        note=opened.note,
        progress=_progress(ticket),
    )


def _line(line: TicketLine) -> Line:
    return Line(line.line_id, line.sku, line.name, line.quantity, line.barcode, line.unit_price)


def _progress(ticket: Ticket) -> Progress:
    return Progress(
        state=ticket.state,
        changed_at=moment(ticket.changed_at),
        cash_due=ticket.cash_due,
        picked=ticket.picked,
        ready_at=_maybe(ticket.ready_at or None),
        accepted_by=ticket.accepted_by,
        rider_id=ticket.rider_id,
        rider_at_store=ticket.rider_at_store,
        cancel_asked=ticket.cancel_asked,
        escalation=ticket.escalation,
        reason=ticket.cancel_reason or ticket.reason,
        code_locked_until=_maybe(ticket.code_locked_until or None),
        uncollected=ticket.uncollected,
        short_reasons=ticket.short_reasons or {},
        reason_code=shown_code(ticket),
    )


def _finished(closed: Closed) -> FinishedTicket:
    return FinishedTicket(
        closed.fulfilment_id,
        closed.order_id,
        closed.state,
        moment(closed.at),
        closed.delivery,
        closed.units,
        closed.currency,
        closed.customer_name,
        closed.rider_id,
        closed.reason,
        code_of(closed.reason, closed.reason_code),
    )


def _maybe(at: float | None) -> datetime | None:
    return None if at is None else moment(at)
