"""What a store's counter answers to whoever asks."""

from msgspec import Struct

from domain.reasons import code_of
from domain.store.state import Closed, Ticket

__all__ = ["TicketLineView", "TicketView", "shown_code", "view", "view_closed"]


class TicketLineView(Struct, frozen=True, array_like=True, gc=False):
    """One line to pick. ``picked`` is None until a clerk (or *ready*) has said; ``short_reason``
    says why it is fewer than ordered."""

    line_id: str
    sku: str
    name: str
    quantity: int
    picked: int | None = None
    barcode: str = ""
    unit_price: int = 0
    short_reason: str = ""


class TicketView(Struct, frozen=True, array_like=True, tag="store.ticket_view.v1", gc=False):
    """One ticket. ``state``: ``new | accepted | picking | ready | picked_up | returning``, or how
    it ended: ``delivered | collected | rejected | cancelled | returned`` (then without its lines).
    Money in minor units of ``currency``; times in epoch seconds, 0 for not yet."""

    fulfilment_id: str
    order_id: str
    state: str
    delivery: str
    currency: str
    cash_due: int
    lines: tuple[TicketLineView, ...] = ()
    opened_at: float = 0.0
    changed_at: float = 0.0
    accept_by: float = 0.0
    due_at: float = 0.0
    ready_at: float = 0.0
    accepted_by: str = ""
    rider_id: str = ""
    rider_at_store: bool = False
    cancel_asked: bool = False
    escalation: int = 0
    reason: str = ""
    customer_name: str = ""
    phone_ending: str = ""
    address: str = ""
    note: str = ""
    reason_code: str = ""
    """Of ``reason``: see ``domain.reasons``."""


def view(ticket: Ticket) -> TicketView:
    """An open ticket. The pick-up code is the customer's secret and is never shown."""
    opened = ticket.opened
    packed = ticket.state not in ("new", "accepted", "picking")
    return TicketView(
        fulfilment_id=opened.fulfilment_id,
        order_id=opened.order_id,
        state=ticket.state,
        delivery=opened.delivery,
        currency=opened.currency,
        cash_due=ticket.cash_due,
        lines=tuple(
            TicketLineView(
                line.line_id,
                line.sku,
                line.name,
                line.quantity,
                ticket.picked.get(line.line_id, line.quantity if packed else None),
                line.barcode,
                line.unit_price,
                (ticket.short_reasons or {}).get(line.line_id, ""),
            )
            for line in opened.lines
        ),
        opened_at=ticket.opened_at,
        changed_at=ticket.changed_at,
        accept_by=opened.accept_by,
        due_at=opened.due_at,
        ready_at=ticket.ready_at,
        accepted_by=ticket.accepted_by,
        rider_id=ticket.rider_id,
        rider_at_store=ticket.rider_at_store,
        cancel_asked=ticket.cancel_asked,
        escalation=ticket.escalation,
        reason=ticket.cancel_reason or ticket.reason,
        customer_name=opened.customer_name,
        phone_ending=opened.phone_ending,
        address=opened.address,
        note=opened.note,
        reason_code=shown_code(ticket),
    )


def shown_code(ticket: Ticket) -> str:
    """The code of the reason that is shown: a cancel's, while it waits for an answer, has none."""
    return "" if ticket.cancel_reason else code_of(ticket.reason, ticket.reason_code)


def view_closed(closed: Closed) -> TicketView:
    """A finished ticket, as far as it is still remembered."""
    return TicketView(
        fulfilment_id=closed.fulfilment_id,
        order_id=closed.order_id,
        state=closed.state,
        delivery=closed.delivery,
        currency=closed.currency,
        cash_due=0,
        changed_at=closed.at,
        rider_id=closed.rider_id,
        reason=closed.reason,
        customer_name=closed.customer_name,
        reason_code=code_of(closed.reason, closed.reason_code),
    )
