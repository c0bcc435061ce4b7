"""The effects an order owes to stock, stores, customers and providers."""

from collections.abc import Iterable, Mapping, Sequence

from actors.order.turn import Turn
from domain.campaign.commands import Confirm, Unassign, Unclaim
from domain.customer.commands import RecordOrder, RecordOutcome
from domain.inventory.commands import (
    CorrectShort,
    Deduct,
    KeepOnShelf,
    LockItem,
    RecordSale,
    Release,
    Return,
    ReturnItem,
    SellReserved,
)
from domain.notice import Notify
from domain.order import ids
from domain.order.events import FulfilmentCancelled, Paid, RefundRequested
from domain.order.money import cash_due, refund_parts
from domain.order.placing import stock_items
from domain.order.rules import ending
from domain.order.state import OrderState, Part, due_units, find_part, lines_of, units_due
from domain.payment import QueryPayment, RefundPayment
from domain.store.commands import (
    UNWANTED,
    CloseTicket,
    OpenTicket,
    ReviseTicket,
    TicketLine,
)

__all__ = [
    "abandon",
    "ask_refund",
    "close_ticket",
    "correct_freed",
    "correct_short",
    "deduct",
    "end_parked",
    "finish",
    "give_back",
    "keep",
    "keep_on_shelf",
    "notify_customer",
    "notify_ops",
    "open_ticket",
    "query",
    "record_order",
    "record_sale",
    "refund",
    "refund_cancelled",
    "revise_ticket",
    "sell_reserved",
    "settle",
    "unassign",
    "void_order",
]  # fmt: skip


def keep(turn: Turn, paid: Paid) -> None:
    """The order is paid: its locks become sales and its parts go to their stores. Those of a
    campaign wait until it has confirmed them."""
    turn.record(paid)
    record_order(turn)
    if turn.state.claim_id:
        turn.owe(f"campaign/{turn.state.campaign_id}", Confirm(turn.state.claim_id), True)
        return
    for part in turn.state.parts:
        deduct(turn, part)
        open_ticket(turn, part)


def open_ticket(turn: Turn, part: Part) -> None:
    """The store is to serve the part."""
    fulfilment = part.fulfilment
    turn.owe(f"store/{fulfilment.store_id}", _ticket(turn.state, part, turn.now))


def close_ticket(turn: Turn, part: Part, state: str) -> None:
    """The order is done with the part."""
    fulfilment = part.fulfilment
    turn.owe(f"store/{fulfilment.store_id}", CloseTicket(fulfilment.fulfilment_id, state))


def revise_ticket(turn: Turn, part: Part) -> None:
    """Another sum is to be collected."""
    fulfilment = part.fulfilment
    turn.owe(
        f"store/{fulfilment.store_id}",
        ReviseTicket(fulfilment.fulfilment_id, cash_due(turn.state, part), turn.now),
    )


def deduct(turn: Turn, part: Part) -> None:
    """The part's lock becomes a sale; the answer tells if the lock was gone."""
    fulfilment = part.fulfilment
    turn.owe(f"inventory/{fulfilment.store_id}", Deduct(fulfilment.fulfilment_id), True)


def sell_reserved(turn: Turn, part: Part) -> None:
    """The part's units leave their campaign's quota as a sale; the answer tells if they did."""
    fulfilment = part.fulfilment
    items = _stock_of(turn, part, dict(due_units(turn.state, part)))
    turn.owe(
        f"inventory/{fulfilment.store_id}",
        SellReserved(fulfilment.fulfilment_id, turn.state.order_id, fulfilment.campaign_id, items),
        True,
    )


def _unclaim(turn: Turn, part: Part, reason: str) -> None:
    """Units and seat go back to the campaign, whole and once. An order that was not paid, or still
    waited for its group, came to nothing."""
    state = turn.state
    to, command = f"campaign/{state.campaign_id}", Unclaim(state.claim_id, reason)
    if any(send.to == to and send.command == command for send in turn.sends):
        return
    turn.owe(to, command)
    if state.state == "placed" or part.state == "held":
        void_order(turn)


def unassign(turn: Turn, part: Part) -> None:
    """The part has ended, or left its campaign for normal stock: the campaign may have given it
    another store's units in an answer that was never stored. Call it before the event that changes
    the part."""
    campaign_id = part.fulfilment.campaign_id
    if campaign_id and (part.sold or part.state == "parked"):
        command = Unassign(turn.state.claim_id, part.fulfilment.fulfilment_id)
        turn.owe(f"campaign/{campaign_id}", command)


def record_sale(turn: Turn, part: Part) -> None:
    """The part's goods have left although its lock was gone: the books follow them."""
    fulfilment_id = part.fulfilment.fulfilment_id
    items = _stock_of(turn, part, dict(due_units(turn.state, part)))
    if items:
        turn.owe(
            f"inventory/{part.fulfilment.store_id}",
            RecordSale(fulfilment_id, turn.state.order_id, items),
        )


def end_parked(turn: Turn, fulfilment_id: str, reason: str) -> None:
    """Cancel a parked fulfilment, whose stock is free already, and refund all that it cost."""
    part = find_part(turn.state, fulfilment_id)
    assert part is not None
    unassign(turn, part)
    turn.record(FulfilmentCancelled(fulfilment_id, reason, turn.now))
    refund_cancelled(turn, [fulfilment_id], reason)


def refund_cancelled(turn: Turn, fulfilment_ids: Sequence[str], reason: str) -> None:
    """All that these fulfilments, now cancelled or returned, had cost, in one refund."""
    parts = [part for part in turn.state.parts if part.fulfilment.fulfilment_id in fulfilment_ids]
    refund_id = ids.cancelled_refund_id(fulfilment_ids[0])
    refund(turn, refund_parts(turn.state, parts, refund_id, reason, turn.now))


def give_back(turn: Turn, part: Part, reason: str, damaged: Iterable[tuple[str, int]] = ()) -> None:
    """The part's units are free again: returned if they were sold, else released. Call it before
    the event that changes the part. Units that were short have left the books already."""
    fulfilment = part.fulfilment
    to = f"inventory/{fulfilment.store_id}"
    if not part.sold and fulfilment.campaign_id:
        _unclaim(turn, part, reason)
        return
    if not part.sold:
        turn.owe(to, Release(fulfilment.fulfilment_id, reason))
        return
    broken = dict(damaged)
    items = []
    for line in lines_of(turn.state, part):
        units = units_due(turn.state, line)
        spoiled = min(units, max(0, broken.get(line.line_id, 0)))
        if units:
            items += [
                ReturnItem(line.line_id, unit.sku, units * unit.quantity, spoiled * unit.quantity)
                for unit in line.stock
            ]
    if items:
        fulfilment_id = fulfilment.fulfilment_id
        command = Return(ids.return_id(fulfilment_id), fulfilment_id, tuple(items), reason)
        turn.owe(to, command, True)


def correct_short(turn: Turn, part: Part, short: Iterable[tuple[str, int]]) -> None:
    """Units that the shelf did not have leave the books."""
    _correct(turn, part, short, part.fulfilment.fulfilment_id)


def correct_freed(turn: Turn, part: Part, short: Iterable[tuple[str, int]]) -> None:
    """Units that the shelf did not have, of a part that was cancelled before its store said so,
    leave the books. What was locked still is or was released, and either is corrected; a sale is
    on its way back whole, so that the units are taken from what is free, in a lock of their own
    (see ``mending.correction_answered``)."""
    fulfilment_id = part.fulfilment.fulfilment_id
    apart = part.sold or part.fulfilment.campaign_id
    _correct(turn, part, short, ids.freed_lock_id(fulfilment_id) if apart else fulfilment_id)


def _correct(turn: Turn, part: Part, short: Iterable[tuple[str, int]], holder: str) -> None:
    items = _stock_of(turn, part, dict(short))
    if items:
        turn.owe(
            f"inventory/{part.fulfilment.store_id}",
            CorrectShort(ids.short_id(part.fulfilment.fulfilment_id), holder, items),
            True,
        )


def keep_on_shelf(turn: Turn, part: Part, unwanted: Iterable[tuple[str, int]]) -> None:
    """Units that are there and stay there, for the customer does not want them, are free."""
    fulfilment_id = part.fulfilment.fulfilment_id
    items = _stock_of(turn, part, dict(unwanted))
    if items:
        turn.owe(
            f"inventory/{part.fulfilment.store_id}",
            KeepOnShelf(ids.unwanted_id(fulfilment_id), fulfilment_id, items, UNWANTED),
            True,
        )


def refund(turn: Turn, event: RefundRequested | None) -> None:
    """Record a refund and owe it to the provider that took the money; None: nothing is owed."""
    if event is None or event.refund_id in turn.state.refunds:
        return
    turn.record(event)
    currency = event.currency or turn.state.currency
    turn.owe(
        f"provider/{event.provider}",
        RefundPayment(event.payment_id, event.refund_id, event.amount, currency),
        True,
    )


def ask_refund(turn: Turn, refund_id: str) -> None:
    """Ask the provider once more for a refund that was recorded before."""
    known = turn.state.refunds[refund_id]
    payment = turn.state.payments[known.payment_id]
    turn.owe(
        f"provider/{payment.provider}",
        RefundPayment(
            known.payment_id, refund_id, known.amount, known.currency or payment.currency
        ),
        True,
    )


def query(turn: Turn, payment_id: str) -> None:
    """Ask the provider what became of a payment."""
    provider = turn.state.payments[payment_id].provider
    turn.owe(f"provider/{provider}", QueryPayment(payment_id), True)


def record_order(turn: Turn) -> None:
    """The customer's record learns of a confirmed order."""
    state = turn.state
    if state.customer.customer_id:
        turn.owe(
            f"customer/{state.customer.customer_id}",
            RecordOrder(state.order_id, state.payment == "cod"),
        )


def void_order(turn: Turn) -> None:
    """The customer's record forgets an order of a campaign that came to nothing: its group failed,
    it was cancelled before its group formed, or it was never paid. A newcomer stays one."""
    state = turn.state
    if state.customer.customer_id:
        void = RecordOutcome(state.order_id, "void", state.claim_id)
        turn.owe(f"customer/{state.customer.customer_id}", void)


def abandon(turn: Turn) -> None:
    """The customer's record learns that an unpaid order was cancelled, and for how long it held
    stock (risk: holding stock without paying)."""
    state = turn.state
    if state.customer.customer_id:
        held_s = max(0.0, turn.now - state.placed_at)
        left = RecordOutcome(state.order_id, "abandoned", held_s=held_s)
        turn.owe(f"customer/{state.customer.customer_id}", left)


def finish(turn: Turn, outcome: str) -> None:
    """The customer's record learns of the order's end: ``completed | cancelled | refused``, or that
    it ``expired`` unpaid (risk: holding stock without paying) or ``lapsed`` without their doing."""
    state = turn.state
    if state.customer.customer_id:
        turn.owe(f"customer/{state.customer.customer_id}", RecordOutcome(state.order_id, outcome))


def settle(turn: Turn) -> None:
    """End the order if every fulfilment is final. Call it last."""
    end = ending(turn.state, turn.now)
    if end is None:
        return
    turn.record(end)
    parts = turn.state.parts
    if turn.state.state == "completed":
        finish(turn, "completed")
    elif turn.state.payment == "cod" and any(part.reason == "refused" for part in parts):
        finish(turn, "refused")
    else:
        finish(turn, "cancelled")


def notify_ops(turn: Turn, template: str, **facts: str) -> None:
    """Tell operations."""
    turn.owe("notify/log", Notify("ops", template, {"order_id": turn.state.order_id, **facts}))


def notify_customer(turn: Turn, template: str, **facts: str) -> None:
    """Tell the customer."""
    audience = f"customer:{turn.state.customer.customer_id}"
    turn.owe("notify/log", Notify(audience, template, {"order_id": turn.state.order_id, **facts}))


def _stock_of(turn: Turn, part: Part, units: Mapping[str, int]) -> tuple[LockItem, ...]:
    """So many units per line id, in the SKUs that stock knows."""
    lines = [line for line in lines_of(turn.state, part) if line.line_id in units]
    return stock_items((line, units[line.line_id]) for line in lines)


def _ticket(state: OrderState, part: Part, now: float) -> OpenTicket:
    lines = []
    weight_g = volume_ml = 0
    for line in lines_of(state, part):
        units = units_due(state, line)
        lines.append(
            TicketLine(line.line_id, line.sku, line.name, units, line.barcode, line.unit_price)
        )
        weight_g += units * line.weight_g
        volume_ml += units * line.volume_ml
    fulfilment, address = part.fulfilment, state.address
    delivered = state.delivery == "delivery" and address is not None
    return OpenTicket(
        fulfilment_id=fulfilment.fulfilment_id,
        order_id=state.order_id,
        lines=tuple(lines),
        delivery=state.delivery,
        currency=state.currency,
        cash_due=cash_due(state, part),
        accept_by=now + fulfilment.accept_s,
        due_at=part.due_at,
        drop_off=address.position if address and delivered else None,
        address=address.text if address and delivered else "",
        customer_name=state.customer.name,
        phone_ending=state.customer.phone[-4:],
        pickup_code=state.pickup_code,
        note=state.note,
        weight_g=weight_g,
        volume_ml=volume_ml,
    )
