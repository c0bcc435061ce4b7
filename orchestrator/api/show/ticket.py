"""A store's tickets."""

from domain.store.messages import TicketDocument
from domain.store.views import TicketView
from orchestrator.api.show.common import maybe_moment
from orchestrator.models.ticket import Ticket, TicketLine

__all__ = ["show_open_ticket", "show_ticket"]


_PACKED = ("ready", "picked_up", "returning")


def show_ticket(view: TicketView) -> Ticket:
    """A ticket, from the counter's answer."""
    return Ticket(
        fulfilment_id=view.fulfilment_id,
        order_id=view.order_id,
        state=view.state,
        delivery=view.delivery,
        currency=view.currency,
        cash_due=view.cash_due,
        lines=[
            TicketLine(
                line.line_id, line.sku, line.name, line.quantity, line.picked, line.barcode,
                line.unit_price, line.short_reason,
            )
            for line in view.lines
        ],
        opened_at=maybe_moment(view.opened_at),
        changed_at=maybe_moment(view.changed_at),
        accept_by=maybe_moment(view.accept_by),
        due_at=maybe_moment(view.due_at),
        ready_at=maybe_moment(view.ready_at),
        accepted_by=view.accepted_by,
        rider_id=view.rider_id,
        rider_at_store=view.rider_at_store,
        cancel_asked=view.cancel_asked,
        escalation=view.escalation,
        reason=view.reason,
        customer_name=view.customer_name,
        phone_ending=view.phone_ending,
        address=view.address,
        note=view.note,
        reason_code=view.reason_code,
    )  # fmt: skip


def show_open_ticket(document: TicketDocument) -> Ticket:
    """The same ticket, from the counter's snapshot."""
    progress = document.progress
    packed = progress.state in _PACKED
    return Ticket(
        fulfilment_id=document.fulfilment_id,
        order_id=document.order_id,
        state=progress.state,
        delivery=document.delivery,
        currency=document.currency,
        cash_due=progress.cash_due,
        lines=[
            TicketLine(
                line.line_id, line.sku, line.name, line.quantity,
                progress.picked.get(line.line_id, line.quantity if packed else None),
                line.barcode, line.unit_price, progress.short_reasons.get(line.line_id, ""),
            )
            for line in document.lines
        ],
        opened_at=document.opened_at,
        changed_at=progress.changed_at,
        accept_by=document.accept_by,
        due_at=document.due_at,
        ready_at=progress.ready_at,
        accepted_by=progress.accepted_by,
        rider_id=progress.rider_id,
        rider_at_store=progress.rider_at_store,
        cancel_asked=progress.cancel_asked,
        escalation=progress.escalation,
        reason=progress.reason,
        customer_name=document.customer_name,
        phone_ending=document.phone_ending,
        address=document.address,
        note=document.note,
        reason_code=progress.reason_code,
    )  # fmt: skip
