"""One order as it stands, and how each fact changes it. DOMAIN, Order life.

The state keeps the frozen values of the events (lines, fulfilments) and small counters beside them,
so that an open order is about a kilobyte. ``evolve`` changes it in place.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from domain.geo import Position
from domain.inventory.rules import LOCK_GONE
from domain.message import Event
from domain.order.commands import Address, Customer
from domain.order.events import (
    Cancelled,
    CancelRefused,
    CancelRequested,
    CodConfirmed,
    Completed,
    FlagResolved,
    Fulfilment,
    FulfilmentCancelled,
    FulfilmentDelivered,
    FulfilmentFailed,
    FulfilmentMoved,
    FulfilmentParked,
    FulfilmentPicked,
    FulfilmentRerouted,
    FulfilmentReturned,
    FulfilmentUncollected,
    Line,
    Paid,
    PaymentAuthorised,
    PaymentFailed,
    PaymentFlagged,
    PaymentStarted,
    Placed,
    ProviderQueried,
    RefundDone,
    RefundRequested,
    RefundRetried,
    Reinstated,
    Reseated,
    SeatConfirmed,
)
from domain.order.ids import number_of
from domain.reasons import CASH_DIFFERENCE, code_of

__all__ = [
    "CASH", "FINAL_PARTS", "FINAL_STATES", "Mark", "OrderState", "Part", "Payment", "Refund",
    "destination", "due_units", "evolve", "find_part", "finished_at", "lines_of", "units_due",
    "words_of",
]  # fmt: skip

CASH = "cash"
"""The ``provider`` of a flag about cash taken at the door."""
FINAL_STATES = frozenset({"completed", "cancelled", "closed"})
FINAL_PARTS = frozenset({"delivered", "collected", "completed", "returned", "cancelled"})


class Part(Struct, array_like=True, gc=False):
    """A current fulfilment. ``state``: ``held | new | accepted | picking | ready | picked_up |
    at_customer | delivered | collected | completed | parked | returning | returned |
    cancelled``."""

    fulfilment: Fulfilment
    state: str = "new"
    sold: bool = False
    """Its lock was (or is owed to be) turned into a sale."""
    picked: bool = False
    rider_id: str = ""
    rider_state: str = ""
    rider_at: float = 0.0
    due_at: float = 0.0
    until: float = 0.0
    """When *parked*: auto-cancelled then. It stays when the part is cancelled: it was parked."""
    cash: int = 0
    freight_refunded: bool = False
    reason: str = ""
    uncollected_at: float = 0.0
    """Since when it is overdue at the counter; 0 while it is not."""
    why: str = ""
    """When *parked*: the code of why no other store serves it."""
    since: float = 0.0
    """When ``state`` began; 0 before its order was confirmed, or where it was not kept yet."""
    reason_code: str | None = None
    """Of ``reason``; None in what was stored before there were codes."""
    detail: str = ""
    """When *parked*: what ``why`` means, in words."""


class Mark(Struct, array_like=True, gc=False):
    """What became of single units of a line."""

    short: int = 0
    refunded: int = 0
    amount: int = 0
    """Money of the refunded units."""
    cut: int = 0
    """By how much the whole line became cheaper after it was paid (a ladder's price fell)."""
    short_reason: str = ""
    """Why units are short: ``missing | substitute_refused | unwanted``."""


class Payment(Struct, array_like=True, gc=False):
    """One payment at a provider. ``state``: ``created | authorised | captured | failed |
    flagged``."""

    provider: str
    amount: int
    currency: str
    state: str = "created"
    kept: bool = False
    reference: str = ""
    started_at: float = 0.0
    query_at: float | None = None
    queries: int = 0
    captured: int = 0
    flagged: list[tuple[int, str, str]] = []
    """Captures that were not what was asked for: amount, currency, provider's reference. Each goes
    back by a refund of its own; ``captured`` is the last of them, or the payment's right one."""


class Refund(Struct, array_like=True, gc=False):
    """One refund. ``state``: ``requested | done | refused``."""

    payment_id: str
    amount: int
    reason: str
    state: str = "requested"
    currency: str = ""
    """Empty: the order's."""


class OrderState(Struct, array_like=True, gc=False):
    """``state``: ``placed | paid | cod_confirmed | cancelling | completed | cancelled |
    closed``."""

    order_id: str
    state: str
    placed_at: float
    channel: str
    customer: Customer
    currency: str
    delivery: str
    payment: str
    address: Address | None
    lines: list[Line]
    parts: list[Part]
    goods: int
    freight: int
    total: int
    expires_at: float | None
    pickup_code: str = ""
    note: str = ""
    parked_s: float = 1800.0
    number: int = 0
    """Highest fulfilment number used."""
    bound: bool = False
    marks: dict[str, Mark] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    kept: str = ""
    """The payment that pays this order."""
    refused: list[str] = field(default_factory=list)
    """Stores that refused a part of it."""
    awaiting: list[str] = field(default_factory=list)
    """Fulfilments whose store must still answer a cancel."""
    before: str = ""
    """The state to go back to when a cancel is refused."""
    reason: str = ""
    cancelled_by: str = ""
    queried_at: float = 0.0
    ended_at: float = 0.0
    flags: dict[str, str] | None = None
    """Open flags by payment (or fulfilment, for cash), with their reason; None for none: rare."""
    campaign_id: str = ""
    claim_id: str = ""
    group_id: str = ""
    since: float = 0.0
    """When ``state`` began; 0 where it was not kept yet."""
    heads_group: bool = False
    """Its customer opened the group ``group_id``."""
    from_quota: tuple[str, ...] = ()
    """Fulfilments whose units came from the campaign's quota and which others have replaced since;
    of those in ``parts``, the fulfilment itself says so."""
    cash_flags: dict[str, tuple[int, int]] | None = None
    """Of ``flags``, those for cash: (taken, due) by fulfilment."""


def evolve(state: OrderState | None, event: Event) -> OrderState:
    """The state after ``event``; changes ``state`` in place."""
    if state is None:
        assert isinstance(event, Placed)
        return _placed(event)
    _APPLY[type(event)](state, event)
    return state


def destination(state: OrderState) -> Position | None:
    """Where to deliver; None if the customer comes to the store."""
    if state.delivery == "pickup" or state.address is None:
        return None
    return state.address.position


def find_part(state: OrderState, fulfilment_id: str) -> Part | None:
    """The current fulfilment with this id; None for one that was rerouted or never was."""
    for part in state.parts:
        if part.fulfilment.fulfilment_id == fulfilment_id:
            return part
    return None


def words_of(part: Part) -> str:
    """Why the part is as it is; of a parked one also why no other store serves it."""
    return f"{part.reason}; {part.detail}" if part.detail else part.reason


def lines_of(state: OrderState, part: Part) -> list[Line]:
    """The lines that a fulfilment serves."""
    fulfilment_id = part.fulfilment.fulfilment_id
    return [line for line in state.lines if line.fulfilment_id == fulfilment_id]


def units_due(state: OrderState, line: Line) -> int:
    """Units of a line that its store is to hand over: those ordered less the short ones."""
    mark = state.marks.get(line.line_id)
    return line.quantity - mark.short if mark else line.quantity


def due_units(state: OrderState, part: Part) -> tuple[tuple[str, int], ...]:
    """(line id, units due) of every line of a fulfilment of which any are."""
    due = [(line.line_id, units_due(state, line)) for line in lines_of(state, part)]
    return tuple([(line_id, units) for line_id, units in due if units])


def finished_at(state: OrderState) -> float:
    """Since when nothing is left to do: final, every refund made, no payment left to ask about and
    none that operations must look at; infinity while something is: whoever loads the open orders
    must find it, however long operations take."""
    if state.state not in FINAL_STATES or state.flags:
        return float("inf")
    if any(refund.state != "done" for refund in state.refunds.values()):
        return float("inf")
    if any(payment.query_at is not None for payment in state.payments.values()):
        return float("inf")
    return state.ended_at


def _placed(event: Placed) -> OrderState:
    last = event.fulfilments[-1].fulfilment_id if event.fulfilments else "-0"
    return OrderState(
        order_id=event.order_id,
        state="placed",
        placed_at=event.at,
        channel=event.channel,
        customer=event.customer,
        currency=event.currency,
        delivery=event.delivery,
        payment=event.payment,
        address=event.address,
        lines=list(event.lines),
        parts=[Part(fulfilment) for fulfilment in event.fulfilments],
        goods=event.goods,
        freight=event.freight,
        total=event.total,
        expires_at=event.expires_at,
        pickup_code=event.pickup_code,
        note=event.note,
        parked_s=event.parked_s,
        number=event.attempted or number_of(last),
        bound=event.bound,
        campaign_id=event.campaign_id,
        claim_id=event.claim_id,
        group_id=event.group_id,
        since=event.at,
        heads_group=event.heads_group,
    )


def _confirmed(state: OrderState, event: CodConfirmed) -> None:
    _enter(state, "cod_confirmed", event.at)
    for part in state.parts:
        part.since = event.at
        part.due_at = event.at + part.fulfilment.due_s


def _payment_started(state: OrderState, event: PaymentStarted) -> None:
    state.payments[event.payment_id] = Payment(
        event.provider, event.amount, state.currency, query_at=event.query_at,
        started_at=event.at or event.query_at,
    )  # fmt: skip


def _authorised(state: OrderState, event: PaymentAuthorised) -> None:
    payment = state.payments[event.payment_id]
    payment.state = "authorised"
    payment.query_at = event.query_at
    _asked(state, event.at)


def _queried(state: OrderState, event: ProviderQueried) -> None:
    payment = state.payments[event.payment_id]
    payment.query_at = event.query_at
    payment.queries += 1
    _asked(state, event.at)


def _asked(state: OrderState, at: float) -> None:
    """A provider was asked for something: its answer is waited for a little."""
    state.queried_at = at
    if state.ended_at:
        state.ended_at = max(state.ended_at, at)


def _paid(state: OrderState, event: Paid) -> None:
    payment = state.payments.get(event.payment_id)
    if payment is None:
        payment = Payment(event.provider, event.amount, state.currency)
        state.payments[event.payment_id] = payment
    payment.state = "captured"
    payment.kept = event.kept
    payment.captured = event.amount
    payment.currency = state.currency
    payment.reference = event.provider_reference
    payment.query_at = None
    if not event.kept:
        return
    state.kept = event.payment_id
    _enter(state, "paid", event.at)
    for part in state.parts:
        part.since = event.at
        if part.fulfilment.campaign_id:  # the campaign must confirm its units first
            part.state = "held"
            continue
        part.sold = True
        part.due_at = event.at + part.fulfilment.due_s


def _seat_confirmed(state: OrderState, event: SeatConfirmed) -> None:
    state.group_id = event.group_id or state.group_id
    for part in state.parts:
        if part.state == "held":
            _enter(part, "new", event.at)
            part.sold = True
            part.due_at = event.at + part.fulfilment.due_s
    for line_id, amount in event.cuts:
        state.marks.setdefault(line_id, Mark()).cut += amount


def _reseated(state: OrderState, event: Reseated) -> None:
    _seat(state, event)
    for part in state.parts:
        _enter(part, "held", event.at)


def _seat(state: OrderState, event: Reinstated | Reseated) -> None:
    state.lines = list(event.lines)
    state.parts = [Part(fulfilment) for fulfilment in event.fulfilments]
    for part in state.parts:
        state.number = max(state.number, number_of(part.fulfilment.fulfilment_id))
    if event.group_id != state.group_id:  # whom no other group takes is the head of a new one
        state.heads_group = True
    state.claim_id, state.group_id = event.claim_id, event.group_id


def _payment_failed(state: OrderState, event: PaymentFailed) -> None:
    payment = state.payments[event.payment_id]
    if event.reason != PaymentFailed.EXPIRED and payment.state == "created":
        payment.query_at = None
    payment.state = "failed"


def _payment_flagged(state: OrderState, event: PaymentFlagged) -> None:
    state.reason = event.reason
    state.flags = {**(state.flags or {}), event.payment_id: event.reason}
    if event.provider == CASH:
        if event.reason_code == CASH_DIFFERENCE:
            sums = {event.payment_id: (event.amount, event.due)}
            state.cash_flags = {**(state.cash_flags or {}), **sums}
        return
    payment = state.payments.get(event.payment_id)
    if payment is None:
        payment = Payment(event.provider, event.amount, event.currency)
        state.payments[event.payment_id] = payment
    payment.state = "flagged"
    payment.captured = event.amount
    payment.currency = event.currency
    payment.flagged.append((event.amount, event.currency, event.provider_reference))
    if event.amount:  # else nothing was taken yet: it may still be
        payment.query_at = None


def _flag_resolved(state: OrderState, event: FlagResolved) -> None:
    left = {key: why for key, why in (state.flags or {}).items() if key != event.payment_id}
    state.flags = left or None
    if state.cash_flags and event.payment_id in state.cash_flags:
        sums = {key: each for key, each in state.cash_flags.items() if key != event.payment_id}
        state.cash_flags = sums or None


def _reinstated(state: OrderState, event: Reinstated) -> None:
    _enter(state, "placed", event.at)
    state.cancelled_by = state.reason = ""
    state.ended_at = 0.0
    _seat(state, event)


def _moved(state: OrderState, event: FulfilmentMoved) -> None:
    part = _part(state, event.fulfilment_id)
    if event.rider_id:
        part.rider_id = event.rider_id
    if event.state in ("rider_assigned", "at_store"):
        part.rider_state = event.state
        part.rider_at = event.at
        return
    _enter(part, event.state, event.at)
    if event.state in ("picked_up", "at_customer", "collected"):
        part.sold = True


def _uncollected(state: OrderState, event: FulfilmentUncollected) -> None:
    _part(state, event.fulfilment_id).uncollected_at = event.at


def _picked(state: OrderState, event: FulfilmentPicked) -> None:
    part = _part(state, event.fulfilment_id)
    part.picked = True
    if part.state in ("new", "accepted", "picking"):
        _enter(part, "ready", event.at)
    for line_id, units in event.short:
        state.marks.setdefault(line_id, Mark()).short += units
    for line_id, reason in event.reasons:
        state.marks.setdefault(line_id, Mark()).short_reason = reason


def _rerouted(state: OrderState, event: FulfilmentRerouted) -> None:
    paid = bool(state.kept)
    to = event.to
    new = Part(to, sold=paid, due_at=event.at + to.due_s, since=event.at)
    state.number = max(state.number, number_of(to.fulfilment_id))
    old = find_part(state, event.fulfilment_id)
    if old is None:  # one fulfilment became several: this is not the first of them
        state.parts.append(new)
    else:
        at_fault = code_of(event.reason, event.reason_code) != LOCK_GONE
        if old.state != "parked" and at_fault:
            state.refused.append(old.fulfilment.store_id)
        if old.fulfilment.campaign_id and at_fault:  # else it had nothing of it
            state.from_quota += (event.fulfilment_id,)
        state.parts[state.parts.index(old)] = new
    changed = {line.line_id: line for line in event.lines}
    state.lines = [changed.pop(line.line_id, line) for line in state.lines]
    state.lines.extend(changed.values())


def _parked(state: OrderState, event: FulfilmentParked) -> None:
    part = _part(state, event.fulfilment_id)
    if code_of(event.reason, event.reason_code) != LOCK_GONE:
        state.refused.append(part.fulfilment.store_id)
    _enter(part, "parked", event.at)
    part.sold = False
    part.until = event.until
    part.reason, part.reason_code = event.reason, event.reason_code
    part.why, part.detail = event.why, event.detail


def _part_cancelled(state: OrderState, event: FulfilmentCancelled) -> None:
    part = _part(state, event.fulfilment_id)
    _enter(part, "cancelled", event.at)
    _say(part, event.reason)
    _stop_awaiting(state, event.fulfilment_id)


def _delivered(state: OrderState, event: FulfilmentDelivered) -> None:
    part = _part(state, event.fulfilment_id)
    _enter(part, "collected" if state.delivery == "pickup" else "delivered", event.at)
    part.sold = True
    part.cash = event.cash
    part.rider_id = event.rider_id or part.rider_id
    _stop_awaiting(state, event.fulfilment_id)


def _failed(state: OrderState, event: FulfilmentFailed) -> None:
    part = _part(state, event.fulfilment_id)
    _enter(part, "returning", event.at)
    part.sold = True
    _say(part, event.reason)
    part.rider_id = event.rider_id or part.rider_id
    _stop_awaiting(state, event.fulfilment_id)


def _returned(state: OrderState, event: FulfilmentReturned) -> None:
    _enter(_part(state, event.fulfilment_id), "returned", event.at)


def _refund_requested(state: OrderState, event: RefundRequested) -> None:
    state.refunds[event.refund_id] = Refund(
        event.payment_id, event.amount, event.reason, currency=event.currency
    )
    for line in event.lines:
        mark = state.marks.setdefault(line.line_id, Mark())
        mark.refunded += line.quantity
        mark.amount += line.amount
    for fulfilment_id in event.freight_of:
        _part(state, fulfilment_id).freight_refunded = True


def _refund_done(state: OrderState, event: RefundDone) -> None:
    state.refunds[event.refund_id].state = "refused" if event.refused else "done"
    if state.ended_at:
        state.ended_at = max(state.ended_at, event.at)


def _refund_retried(state: OrderState, event: RefundRetried) -> None:
    state.refunds[event.refund_id].state = "requested"


def _cancel_requested(state: OrderState, event: CancelRequested) -> None:
    if state.state != "cancelling":  # else: fewer stores are waited for
        state.before = state.state
    _enter(state, "cancelling", event.at)
    state.cancelled_by = event.by
    state.reason = event.reason
    state.awaiting = list(event.fulfilment_ids)


def _cancel_refused(state: OrderState, event: CancelRefused) -> None:
    _enter(state, state.before or state.state, event.at)
    state.before = ""
    state.cancelled_by = ""
    state.reason = event.reason
    state.awaiting = []


def _cancelled(state: OrderState, event: Cancelled) -> None:
    _enter(state, "cancelled", event.at)
    state.cancelled_by = event.by
    state.reason = event.reason
    state.ended_at = event.at
    state.awaiting = []
    for part in state.parts:
        if part.state not in FINAL_PARTS:
            _enter(part, "cancelled", event.at)


def _completed(state: OrderState, event: Completed) -> None:
    _enter(state, "closed" if event.closed else "completed", event.at)
    state.ended_at = event.at
    for part in state.parts:
        if part.state in ("delivered", "collected"):
            _enter(part, "completed", event.at)


def _part(state: OrderState, fulfilment_id: str) -> Part:
    part = find_part(state, fulfilment_id)
    assert part is not None, fulfilment_id
    return part


def _enter(one: OrderState | Part, state: str, at: float) -> None:
    """``one`` is in ``state`` from ``at`` on, unless it is already."""
    if one.state != state:
        one.state, one.since = state, at


def _say(part: Part, reason: str) -> None:
    part.reason, part.reason_code, part.detail = reason, "", ""


def _stop_awaiting(state: OrderState, fulfilment_id: str) -> None:
    if fulfilment_id in state.awaiting:
        state.awaiting.remove(fulfilment_id)


_APPLY: dict[type, Callable[[OrderState, Any], None]] = {
    CodConfirmed: _confirmed,
    PaymentStarted: _payment_started,
    PaymentAuthorised: _authorised,
    ProviderQueried: _queried,
    Paid: _paid,
    PaymentFailed: _payment_failed,
    PaymentFlagged: _payment_flagged,
    FlagResolved: _flag_resolved,
    Reinstated: _reinstated,
    Reseated: _reseated,
    SeatConfirmed: _seat_confirmed,
    FulfilmentMoved: _moved,
    FulfilmentPicked: _picked,
    FulfilmentUncollected: _uncollected,
    FulfilmentRerouted: _rerouted,
    FulfilmentParked: _parked,
    FulfilmentCancelled: _part_cancelled,
    FulfilmentDelivered: _delivered,
    FulfilmentFailed: _failed,
    FulfilmentReturned: _returned,
    RefundRequested: _refund_requested,
    RefundDone: _refund_done,
    RefundRetried: _refund_retried,
    CancelRequested: _cancel_requested,
    CancelRefused: _cancel_refused,
    Cancelled: _cancelled,
    Completed: _completed,
}
