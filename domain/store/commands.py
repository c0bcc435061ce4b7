"""Commands to one store's counter (entity id = store id): tickets, devices, inbox.

The store's ticket is the authority on a fulfilment from payment to hand-over (DOMAIN, Order life);
the order mirrors it through ``order.Record*``.
"""

from domain import inbox
from domain.geo import Position
from domain.message import Command, Value

__all__ = [
    "MISSING",
    "SHORT_REASONS",
    "SUBSTITUTE_REFUSED",
    "UNWANTED",
    "AcceptReturn",
    "AcceptTicket",
    "AcknowledgeInbox",
    "AnnounceReturn",
    "CancelTicket",
    "CloseTicket",
    "Collect",
    "ConfirmHeldBack",
    "GetSnapshot",
    "GetTicket",
    "HandOver",
    "MarkReady",
    "OpenTicket",
    "PauseItem",
    "PauseStore",
    "PickLine",
    "ReadInbox",
    "RecordParcel",
    "RegisterDevice",
    "RejectTicket",
    "ReviseTicket",
    "StartPicking",
    "TicketLine",
]  # fmt: skip

MISSING = "missing"
"""The shelf did not hold the units: they leave the books."""
SUBSTITUTE_REFUSED = "substitute_refused"
"""The shelf did not hold the units, and the customer did not want what was offered instead: they
leave the books all the same, for the next customer would not get them either."""
UNWANTED = "unwanted"
"""The shelf holds the units, and the customer does not want them: they stay there, free to sell."""
SHORT_REASONS = (MISSING, SUBSTITUTE_REFUSED, UNWANTED)


class TicketLine(Value):
    """What to pick for one order line."""

    line_id: str
    sku: str
    name: str
    quantity: int
    barcode: str = ""
    unit_price: int = 0


class OpenTicket(Command, tag="store.open_ticket.v1"):
    """From the order: serve this fulfilment. Idempotent per fulfilment."""

    fulfilment_id: str
    order_id: str
    lines: tuple[TicketLine, ...]
    delivery: str
    """``delivery | pickup``."""
    currency: str
    cash_due: int
    """Cash to collect at the door for this fulfilment; 0 when paid."""
    accept_by: float
    due_at: float
    """Promised time at the door (or ready to collect)."""
    drop_off: Position | None = None
    address: str = ""
    customer_name: str = ""
    phone_ending: str = ""
    pickup_code: str = ""
    note: str = ""
    weight_g: int = 0
    volume_ml: int = 0


class CancelTicket(Command, tag="store.cancel_ticket.v1"):
    """The order asks to cancel. Reply: ``"cancelled"`` (was new or accepted), ``"confirming"``
    (picking or ready: the clerk must confirm, answer follows as ``order.RecordReturned``),
    ``"left"`` (handed over), or ``"unknown"``."""

    fulfilment_id: str
    reason: str


class ReviseTicket(Command, tag="store.revise_ticket.v1"):
    """The order changed the cash to collect (short pick, refund). ``at``, when given, orders
    revisions: an older one is ignored."""

    fulfilment_id: str
    cash_due: int
    at: float = 0.0


class CloseTicket(Command, tag="store.close_ticket.v1"):
    """The order is done with the fulfilment: ``delivered | cancelled | returned``."""

    fulfilment_id: str
    state: str


class RecordParcel(Command, tag="store.record_parcel.v1"):
    """From dispatch: ``rider_assigned | rider_unassigned | at_store``."""

    fulfilment_id: str
    state: str
    rider_id: str
    at: float


class AnnounceReturn(Command, tag="store.announce_return.v1"):
    """From the rider: an undelivered parcel is on its way back."""

    fulfilment_id: str
    rider_id: str
    reason: str


class AcceptTicket(Command, tag="store.accept_ticket.v1"):
    """A person acts on a new ticket. Reply of this and the following: ``TicketView``."""

    fulfilment_id: str
    device_id: str = ""
    prep_s: int | None = None


class RejectTicket(Command, tag="store.reject_ticket.v1"):
    """Refuse a ticket that is new or accepted; ``reason`` is required, in the clerk's words or in
    those of what the tablet offered: then ``reason_code`` is one of ``reasons.OFFERED``."""

    fulfilment_id: str
    reason: str
    device_id: str = ""
    reason_code: str = ""


class StartPicking(Command, tag="store.start_picking.v1"):
    """Begin to pick."""

    fulfilment_id: str
    device_id: str = ""


class PickLine(Command, tag="store.pick_line.v1"):
    """Set how many units of a line are packed. Fewer than ordered is a short, and ``reason`` (one
    of :data:`SHORT_REASONS`) says why the rest is not; without a rest it is of no account."""

    fulfilment_id: str
    line_id: str
    quantity: int
    device_id: str = ""
    reason: str = MISSING


class MarkReady(Command, tag="store.mark_ready.v1"):
    """Packed. Lines never touched by ``PickLine`` count as fully picked. Nothing packed: rejected,
    so that the next store is tried; but cancelled if the customer does not want something of it."""

    fulfilment_id: str
    device_id: str = ""


class HandOver(Command, tag="store.hand_over.v1"):
    """The goods leave with a rider; asked by the rider's app or pressed at the counter. Needs
    *ready* and that rider assigned (``wrong-rider`` otherwise). Idempotent. Reply
    ``TicketView``. The rider's run must confirm it; if it does not hold the parcel (any more), the
    ticket is *ready* again a moment later."""

    fulfilment_id: str
    rider_id: str
    device_id: str = ""


class Collect(Command, tag="store.collect.v1"):
    """The customer collects with the one-time code (``wrong-code``); COD cash is taken here, to the
    exact sum (``wrong-cash``). Wrong codes lock the ticket for a while (``code-locked``)."""

    fulfilment_id: str
    code: str
    cash: int = 0
    device_id: str = ""


class ConfirmHeldBack(Command, tag="store.confirm_held_back.v1"):
    """The clerk answers a cancel: goods held back (True) or already gone (False)."""

    fulfilment_id: str
    held_back: bool
    device_id: str = ""


class AcceptReturn(Command, tag="store.accept_return.v1"):
    """Undelivered goods are back at the counter and checked."""

    fulfilment_id: str
    damaged: tuple[tuple[str, int], ...] = ()
    device_id: str = ""


class PauseStore(Command, tag="store.pause_store.v1"):
    """Stop (or resume) taking orders, until a time or until resumed."""

    paused: bool
    until: float | None = None
    reason: str = ""


class PauseItem(Command, tag="store.pause_item.v1"):
    """Stop (or resume) selling one SKU here, until a time or until resumed."""

    sku: str
    paused: bool
    until: float | None = None


class RegisterDevice(inbox.RegisterDevice, tag="store.register_device.v1"):
    """A tablet (re)connects."""


class AcknowledgeInbox(inbox.AcknowledgeInbox, tag="store.acknowledge_inbox.v1"):
    """A tablet has stored messages."""


class ReadInbox(inbox.ReadInbox, tag="store.read_inbox.v1"):
    """Read messages."""


class GetSnapshot(inbox.GetSnapshot, tag="store.get_snapshot.v1"):
    """What is open."""


class GetTicket(Command, tag="store.get_ticket.v1"):
    """One ticket. Reply: ``TicketView``."""

    fulfilment_id: str
