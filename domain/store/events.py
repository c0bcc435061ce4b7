"""Facts of one store's counter."""

from domain import inbox
from domain.message import Event
from domain.store.commands import OpenTicket

__all__ = [
    "CancelAnswered", "CancelAsked", "CodeMistyped", "DeviceAcknowledged", "DeviceRegistered",
    "Escalated", "HandOverAnswered", "ItemPaused", "LinePicked", "Noted", "StorePaused",
    "TicketClosed", "TicketMoved", "TicketOpened", "TicketRevised", "Uncollected",
]  # fmt: skip


class Noted(inbox.Noted, tag="store.noted.v1"):
    """Messages for the store's devices."""


class TicketOpened(Event, tag="store.ticket_opened.v1"):
    """A fulfilment came in (*new*)."""

    ticket: OpenTicket
    at: float


class TicketMoved(Event, tag="store.ticket_moved.v1"):
    """*accepted, picking, ready, picked_up, collected, rejected, cancelled, returning, returned*;
    ``by`` is a device, a rider or a rule."""

    fulfilment_id: str
    state: str
    at: float
    by: str = ""
    reason: str = ""
    rider_id: str = ""
    ready_at: float = 0.0
    damaged: tuple[tuple[str, int], ...] = ()
    dispatch_zone: str = ""
    """At *accepted*: the zone whose riders were asked for."""
    collect_by: float = 0.0
    """At *ready*, of a ticket to be collected: nobody came by then, and people are told."""
    reason_code: str | None = None
    """See ``domain.reasons``; None in what was stored before there were codes."""


class LinePicked(Event, tag="store.line_picked.v1"):
    """Units packed of one line; ``reason`` says why the rest is not, empty without a rest."""

    fulfilment_id: str
    line_id: str
    quantity: int
    at: float
    reason: str = ""


class CancelAsked(Event, tag="store.cancel_asked.v1"):
    """The customer wants out while the goods are being picked; a clerk must answer."""

    fulfilment_id: str
    reason: str
    at: float


class CancelAnswered(Event, tag="store.cancel_answered.v1"):
    """A clerk (or the goods leaving) answered a cancel: held back or already gone."""

    fulfilment_id: str
    held_back: bool
    at: float
    by: str = ""


class HandOverAnswered(Event, tag="store.hand_over_answered.v1"):
    """The rider's run has the goods (``taken``), or they were never the rider's to carry: then the
    ticket is *ready* again."""

    fulfilment_id: str
    rider_id: str
    taken: bool
    at: float


class Uncollected(Event, tag="store.uncollected.v1"):
    """Nobody has collected a ready ticket in time."""

    fulfilment_id: str
    at: float


class CodeMistyped(Event, tag="store.code_mistyped.v1"):
    """A wrong pick-up code was given; no code is tried before ``locked_until``."""

    fulfilment_id: str
    at: float
    locked_until: float = 0.0


class TicketRevised(Event, tag="store.ticket_revised.v1"):
    """Cash to collect changed, or a rider was assigned (``rider_id``; "" takes one away) or
    arrived. ``rider_at`` is when dispatch decided so: older news is ignored."""

    fulfilment_id: str
    cash_due: int
    rider_id: str
    at: float
    rider_at: float = 0.0
    rider_at_store: bool = False
    cash_at: float = 0.0
    settles_cash: bool = False
    """The order has said what to collect after a short pick."""


class TicketClosed(Event, tag="store.ticket_closed.v1"):
    """The ticket leaves the store's work. Without a ticket: the fulfilment was cancelled before it
    came in, and a late ``OpenTicket`` must not bring it back."""

    fulfilment_id: str
    state: str
    at: float


class Escalated(Event, tag="store.escalated.v1"):
    """Nobody acted: ``level`` 1 pushed again, 2 notified, 3 given to the next store; next at
    ``next_at`` (None: no more)."""

    fulfilment_id: str
    level: int
    at: float
    next_at: float | None


class StorePaused(Event, tag="store.paused.v1"):
    """The store takes (or no longer takes) orders."""

    paused: bool
    until: float | None
    reason: str
    at: float


class ItemPaused(Event, tag="store.item_paused.v1"):
    """One SKU is (or is no longer) sold here."""

    sku: str
    paused: bool
    at: float
    until: float | None = None


class DeviceRegistered(inbox.DeviceRegistered, tag="store.device_registered.v1"):
    """A tablet connected."""


class DeviceAcknowledged(inbox.DeviceAcknowledged, tag="store.device_acknowledged.v1"):
    """A tablet has stored messages."""
