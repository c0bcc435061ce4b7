"""What one store's counter remembers, and how each fact changes it."""

from heapq import heappop, heappush

from msgspec import Struct, field

from domain import inbox as inboxes
from domain.inbox import Inbox
from domain.memory import remember
from domain.message import Event
from domain.reasons import NOT_HELD, WORDS
from domain.store.commands import OpenTicket
from domain.store.events import (
    CancelAnswered,
    CancelAsked,
    CodeMistyped,
    DeviceAcknowledged,
    DeviceRegistered,
    Escalated,
    HandOverAnswered,
    ItemPaused,
    LinePicked,
    Noted,
    StorePaused,
    TicketClosed,
    TicketMoved,
    TicketOpened,
    TicketRevised,
    Uncollected,
)

__all__ = [
    "CLOSED_KEPT", "NEVER", "Closed", "State", "Ticket", "apply", "born", "evolve",
    "next_alarm_at",
]  # fmt: skip

NEVER = float("inf")
CLOSED_KEPT = 200
"""Finished tickets the tablet can still look up."""
FIRST_PUSH_SHARE = 0.5
"""Share of the time to accept after which a ticket nobody accepted is pushed again."""
CANCEL_ANSWER_S = 120.0
"""A clerk who has not answered a cancel is reminded after so many seconds, then notified."""
STORE_ALARM = ""
"""The key under which the end of a pause waits among the tickets' alarms."""


class Ticket(Struct, array_like=True, gc=False):
    """One open fulfilment. ``opened`` never changes; the rest does."""

    opened: OpenTicket
    state: str
    opened_at: float
    changed_at: float
    cash_due: int
    alarm_at: float
    """When somebody must be told that nobody acts; NEVER when nothing is waited for."""
    escalation: int = 0
    picked: dict[str, int] = field(default_factory=dict)
    """Units packed per line id; lines not named count as fully picked."""
    ready_at: float = 0.0
    """Expected, from *ready* on real; 0 before acceptance."""
    accepted_by: str = ""
    dispatch_zone: str = ""
    rider_id: str = ""
    rider_at: float = 0.0
    rider_at_store: bool = False
    cancel_reason: str = ""
    """Not empty while a clerk must say whether the goods were held back."""
    cancel_asked: bool = False
    reason: str = ""
    wrong_codes: int = 0
    code_locked_until: float = 0.0
    cash_at: float = 0.0
    """When the order decided on ``cash_due``; older revisions are ignored."""
    cash_settled: bool = True
    """False after a short pick with cash to collect, until the order has said the new sum."""
    handing_to: str = ""
    """The rider whose run has not yet confirmed the hand-over."""
    collect_by: float = 0.0
    """When people are told that nobody collects it; 0 when it is not waiting to be collected, or
    when they were told."""
    uncollected: bool = False
    short_reasons: dict[str, str] | None = None
    """Why not all of a line is packed, per line id; None for none: rare."""
    reason_code: str | None = None
    """Of ``reason``; None in what was stored before there were codes."""


class Closed(Struct, array_like=True, gc=False):
    """What is kept of a finished ticket, for today's list and for repeated questions."""

    fulfilment_id: str
    order_id: str
    state: str
    at: float
    delivery: str
    units: int
    currency: str
    customer_name: str = ""
    rider_id: str = ""
    reason: str = ""
    reason_code: str | None = None
    """Of ``reason``; None in what was stored before there were codes."""


class State(Struct, array_like=True, gc=False):
    """One store's counter."""

    inbox: Inbox
    tickets: dict[str, Ticket] = field(default_factory=dict)
    paused: bool = False
    paused_until: float | None = None
    paused_reason: str = ""
    paused_items: dict[str, float | None] = field(default_factory=dict)
    """SKU -> when it is sold again (None: until resumed)."""
    closed: dict[str, Closed] = field(default_factory=dict)
    """The last :data:`CLOSED_KEPT`, oldest first."""
    gone: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Fulfilments that ended here: (when, how). A late ``OpenTicket`` does not revive them."""
    alarms: list[tuple[float, str]] = field(default_factory=list)
    """Heap of (time, fulfilment id or :data:`STORE_ALARM`); stale entries are dropped at the
    top."""


def born(at: float) -> State:
    """The counter of a store nobody has addressed before."""
    return State(Inbox(inboxes.epoch_of(at)))


def evolve(state: State | None, event: Event) -> State:
    """Apply one fact, in place."""
    if state is None:
        state = born(event.messages[0].at if isinstance(event, Noted) else event.at)  # type: ignore[attr-defined]
    match event:
        case Noted() | DeviceRegistered() | DeviceAcknowledged():
            inboxes.evolve(state.inbox, event)
        case TicketOpened():
            ticket = _opened(event)
            state.tickets[event.ticket.fulfilment_id] = ticket
            _set_alarm(state, ticket.alarm_at, event.ticket.fulfilment_id)
        case TicketClosed():
            _close(state, event)
        case StorePaused():
            state.paused, state.paused_until = event.paused, event.until if event.paused else None
            state.paused_reason = event.reason if event.paused else ""
            _set_store_alarm(state)
        case ItemPaused():
            if event.paused:
                state.paused_items[event.sku] = event.until
            else:
                state.paused_items.pop(event.sku, None)
            _set_store_alarm(state)
        case _:
            fulfilment_id: str = event.fulfilment_id  # type: ignore[attr-defined]
            changed = state.tickets.get(fulfilment_id)
            if changed is not None:
                before = changed.alarm_at
                apply(changed, event)
                if changed.alarm_at != before:
                    _set_alarm(state, changed.alarm_at, fulfilment_id)
    _drop_stale_alarms(state)
    return state


def apply(ticket: Ticket, event: Event) -> None:
    """Apply one fact to the ticket it is about, in place."""
    match event:
        case TicketMoved():
            _move(ticket, event)
        case LinePicked():
            ticket.picked[event.line_id] = event.quantity
            reasons = {**(ticket.short_reasons or {}), event.line_id: event.reason}
            ticket.short_reasons = {key: why for key, why in reasons.items() if why} or None
        case CancelAsked():
            ticket.cancel_asked, ticket.cancel_reason = True, event.reason
            ticket.escalation, ticket.alarm_at = 0, event.at + CANCEL_ANSWER_S
        case CancelAnswered():
            ticket.cancel_asked, ticket.cancel_reason = False, ""
            ticket.escalation, ticket.alarm_at = 0, ticket.collect_by or NEVER
        case HandOverAnswered():
            ticket.handing_to = ""
            if not event.taken and ticket.state == "picked_up":
                ticket.state = "ready"
                ticket.reason, ticket.reason_code = WORDS[NOT_HELD], NOT_HELD
            elif event.taken:
                ticket.rider_id = event.rider_id
        case CodeMistyped():
            ticket.wrong_codes += 1
            ticket.code_locked_until = event.locked_until
        case TicketRevised():
            ticket.cash_due = event.cash_due
            ticket.rider_id = event.rider_id
            ticket.rider_at = max(ticket.rider_at, event.rider_at)
            ticket.rider_at_store = event.rider_at_store
            ticket.cash_at = max(ticket.cash_at, event.cash_at)
            ticket.cash_settled = ticket.cash_settled or event.settles_cash
        case Uncollected():
            ticket.uncollected, ticket.collect_by, ticket.alarm_at = True, 0.0, NEVER
        case Escalated():
            ticket.escalation = event.level
            ticket.alarm_at = NEVER if event.next_at is None else event.next_at
    ticket.changed_at = event.at  # type: ignore[attr-defined]


def next_alarm_at(state: State) -> float:
    """When the counter wants to be woken. O(1)."""
    return state.alarms[0][0] if state.alarms else NEVER


def _opened(event: TicketOpened) -> Ticket:
    opened = event.ticket
    first_push_at = event.at + max(0.0, opened.accept_by - event.at) * FIRST_PUSH_SHARE
    return Ticket(opened, "new", event.at, event.at, opened.cash_due, first_push_at)


def _move(ticket: Ticket, event: TicketMoved) -> None:
    ticket.state = event.state
    if event.reason:
        ticket.reason, ticket.reason_code = event.reason, event.reason_code
    ticket.ready_at = event.ready_at or ticket.ready_at
    ticket.rider_id = event.rider_id or ticket.rider_id
    if event.state == "accepted":
        ticket.accepted_by, ticket.dispatch_zone = event.by, event.dispatch_zone
    if event.state == "ready":
        ordered = {line.line_id: line.quantity for line in ticket.opened.lines}
        short = any(units < ordered[line_id] for line_id, units in ticket.picked.items())
        ticket.cash_settled = not (short and ticket.cash_due)
    if event.state == "picked_up":
        ticket.handing_to = event.rider_id
    ticket.collect_by = event.collect_by
    if not ticket.cancel_asked:
        ticket.escalation, ticket.alarm_at = 0, event.collect_by or NEVER


def _close(state: State, event: TicketClosed) -> None:
    ticket = state.tickets.pop(event.fulfilment_id, None)
    remember(state.gone, event.fulfilment_id, event.at, event.state)
    if ticket is None:
        return
    opened = ticket.opened
    state.closed[event.fulfilment_id] = Closed(
        opened.fulfilment_id,
        opened.order_id,
        event.state,
        event.at,
        opened.delivery,
        sum(ticket.picked.get(line.line_id, line.quantity) for line in opened.lines),
        opened.currency,
        opened.customer_name,
        ticket.rider_id,
        ticket.reason,
        ticket.reason_code,
    )
    if len(state.closed) > CLOSED_KEPT:
        del state.closed[next(iter(state.closed))]


def _set_alarm(state: State, at: float, key: str) -> None:
    if at < NEVER:
        heappush(state.alarms, (at, key))


def _set_store_alarm(state: State) -> None:
    _set_alarm(state, _pause_ends_at(state), STORE_ALARM)


def _pause_ends_at(state: State) -> float:
    ends = [until for until in state.paused_items.values() if until is not None]
    if state.paused and state.paused_until is not None:
        ends.append(state.paused_until)
    return min(ends, default=NEVER)


def _drop_stale_alarms(state: State) -> None:
    alarms = state.alarms
    while alarms:
        at, key = alarms[0]
        if key == STORE_ALARM:
            wanted = _pause_ends_at(state)
        else:
            ticket = state.tickets.get(key)
            wanted = NEVER if ticket is None else ticket.alarm_at
        if at == wanted:
            return
        heappop(alarms)
