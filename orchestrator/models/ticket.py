"""A store's tickets."""

from datetime import datetime

from msgspec import Struct

__all__ = ["Paused", "Ticket", "TicketLine", "TicketPage"]


class TicketLine(Struct, frozen=True, gc=False):
    """One line to pick; ``picked`` is null until somebody said. Where it is fewer than ordered,
    ``short_reason`` is ``missing``, ``substitute_refused`` or ``unwanted``."""

    line_id: str
    sku: str
    name: str
    quantity: int
    picked: int | None
    barcode: str
    unit_price: int
    short_reason: str


class Ticket(Struct, frozen=True, gc=False):
    """One ticket: ``new | accepted | picking | ready | picked_up | returning``, or how it ended:
    ``delivered | collected | rejected | cancelled | returned`` (then without its lines)."""

    fulfilment_id: str
    order_id: str
    state: str
    delivery: str
    currency: str
    cash_due: int
    lines: list[TicketLine]
    opened_at: datetime | None
    changed_at: datetime | None
    accept_by: datetime | None
    due_at: datetime | None
    ready_at: datetime | None
    accepted_by: str
    rider_id: str
    rider_at_store: bool
    cancel_asked: bool
    escalation: int
    reason: str
    customer_name: str
    phone_ending: str
    address: str
    note: str
    reason_code: str = ""
    """What ``reason`` says, for machines: ``all-short | not-in-time | not-held | unwanted``, or
    what a tablet offered: ``items-missing | too-busy | closing | trouble``. Empty where ``reason``
    is somebody's words alone."""


class TicketPage(Struct, frozen=True, gc=False):
    """Every open ticket, oldest first; ``next`` is always null."""

    items: list[Ticket]
    next: str | None


class Paused(Struct, frozen=True, gc=False):
    """What a store does not take (``sku`` null: no orders at all); ``until`` null: until told."""

    store_id: str
    sku: str | None
    paused: bool
    until: datetime | None
