"""What a store's counter decides: from the state and a wish to facts, or to a clear refusal.

Each function returns the new facts (none when the wish already holds; those that callers look at
by their place are typed by it) and raises ``Refused``:
``unknown-ticket``, ``wrong-state`` and the codes named in its docstring. DOMAIN, Order life.
"""

from hmac import compare_digest
from typing import TypeAlias

from domain.errors import Refused, Unavailable
from domain.message import Event
from domain.reasons import ALL_SHORT, NOT_IN_TIME, OFFERED, WORDS
from domain.store.commands import (
    SHORT_REASONS,
    UNWANTED,
    AcceptReturn,
    AcceptTicket,
    AnnounceReturn,
    Collect,
    ConfirmHeldBack,
    HandOver,
    MarkReady,
    OpenTicket,
    PauseItem,
    PauseStore,
    PickLine,
    RecordParcel,
    RejectTicket,
    ReviseTicket,
    StartPicking,
)
from domain.store.events import (
    CancelAnswered,
    CancelAsked,
    CodeMistyped,
    Escalated,
    HandOverAnswered,
    ItemPaused,
    LinePicked,
    StorePaused,
    TicketClosed,
    TicketMoved,
    TicketOpened,
    TicketRevised,
    Uncollected,
)
from domain.store.state import CANCEL_ANSWER_S, State, Ticket
from domain.wire import moment

__all__ = [
    "CASH_SETTLED_S", "CODE_LOCK_S", "NEXT", "PAUSE_MAX_S",
    "PREP_MAX_S", "WRONG_CODES_MAX", "Ended", "accept", "accept_return", "announce_return",
    "cancel", "close", "collect", "confirm_held_back", "escalate", "find", "hand_over",
    "hand_over_answered", "mark_ready", "move", "open_ticket", "parcel", "pause_item",
    "pause_store", "pick", "picked_units", "reject", "resume", "revise", "short_reasons",
    "start_picking",
]  # fmt: skip

NEXT: dict[str, tuple[str, ...]] = {
    "new": ("accepted", "rejected", "cancelled"),
    "accepted": ("picking", "rejected", "cancelled"),
    "picking": ("ready", "rejected", "cancelled"),
    "ready": ("picked_up", "collected", "cancelled"),
    "picked_up": ("returning",),
    "returning": ("returned",),
}
"""The ticket's state machine; what is not here is final."""
Ended: TypeAlias = tuple[TicketMoved, TicketClosed]
"""A ticket's last step."""
LEFT = ("picked_up", "returning", "collected", "delivered", "returned")
"""States in which the goods have (or had) left the store: a cancel comes too late."""

PREP_MAX_S = 4 * 3_600
PAUSE_MAX_S = 366 * 86_400.0
WRONG_CODES_MAX = 5
CASH_SETTLED_S = 60.0
"""Longest that goods wait for the sum to collect after a short pick."""
CODE_LOCK_S = 900.0
"""After :data:`WRONG_CODES_MAX` wrong codes, and after each further one, no code is tried for so
many seconds: a six-digit code then stands for years of guessing."""


def find(state: State, fulfilment_id: str) -> Ticket:
    """The open ticket. A finished one is ``wrong-state``, one never seen ``unknown-ticket``."""
    ticket = state.tickets.get(fulfilment_id)
    if ticket is not None:
        return ticket
    gone = state.gone.get(fulfilment_id)
    if gone is not None:
        raise Refused(
            "wrong-state", f"This ticket ended as {gone[1]}; nothing more can be done with it.",
            state=gone[1],
        )  # fmt: skip
    raise Refused("unknown-ticket", f"There is no ticket {fulfilment_id!r} at this store.")


def move(
    ticket: Ticket, to: str, at: float, *, by: str = "", reason: str = "", rider_id: str = "",
    ready_at: float = 0.0, damaged: tuple[tuple[str, int], ...] = (), dispatch_zone: str = "",
    collect_by: float = 0.0, reason_code: str = "",
) -> TicketMoved:  # fmt: skip
    """One step of the state machine; every other is refused with ``wrong-state``."""
    possible = NEXT.get(ticket.state, ())
    if to not in possible:
        raise Refused(
            "wrong-state",
            f"The ticket is {ticket.state}: it cannot become {to}."
            f" Possible from here: {', '.join(possible) or 'nothing'}.",
            state=ticket.state,
            possible=list(possible),
        )
    return TicketMoved(
        ticket.opened.fulfilment_id, to, at, by, reason, rider_id, ready_at, damaged, dispatch_zone,
        collect_by, reason_code,
    )  # fmt: skip


def open_ticket(state: State, command: OpenTicket, now: float) -> list[Event]:
    """A fulfilment comes in; once, and not after it ended."""
    fulfilment_id = command.fulfilment_id
    if fulfilment_id in state.tickets or fulfilment_id in state.gone:
        return []
    return [TicketOpened(command, now)]


def accept(
    state: State, command: AcceptTicket, now: float, prep_s: int, dispatch_zone: str
) -> tuple[TicketMoved] | None:
    """A person takes the ticket on; the goods will be ready in ``command.prep_s`` (else
    ``prep_s``) seconds. Refused with ``wrong-prep`` beyond 0 to :data:`PREP_MAX_S`."""
    ticket = find(state, command.fulfilment_id)
    if ticket.state in ("accepted", "picking", "ready") and _same(ticket, command.device_id):
        return None
    prep_s = prep_s if command.prep_s is None else command.prep_s
    if not 0 <= prep_s <= PREP_MAX_S:
        raise Refused("wrong-prep", f"Preparation takes 0 to {PREP_MAX_S} seconds.")
    return (
        move(
            ticket, "accepted", now, by=command.device_id, ready_at=now + prep_s,
            dispatch_zone=dispatch_zone,
        ),
    )  # fmt: skip


def reject(state: State, command: RejectTicket, now: float) -> Ended | None:
    """Refuse a ticket that is new or accepted. Refused with ``reason-required`` or
    ``wrong-reason``: the codes of the service's own reasons are not a person's to give."""
    if not command.reason.strip():
        raise Refused("reason-required", "Say why the store cannot serve this ticket.")
    if command.reason_code not in ("", *OFFERED):
        raise Refused("wrong-reason", f"A reason's code is one of: {', '.join(OFFERED)}; or none.")
    if _ended_as(state, command.fulfilment_id, "rejected"):
        return None
    ticket = find(state, command.fulfilment_id)
    if ticket.state == "picking":
        raise Refused(
            "wrong-state",
            "The ticket is picking: set what is missing to 0 and mark it ready instead.",
            state=ticket.state,
            possible=["ready"],
        )
    return _end(
        move(
            ticket, "rejected", now, by=command.device_id, reason=command.reason,
            reason_code=command.reason_code,
        )
    )  # fmt: skip


def start_picking(state: State, command: StartPicking, now: float) -> list[Event]:
    """Begin to pick an accepted ticket."""
    ticket = find(state, command.fulfilment_id)
    if ticket.state == "picking":
        return []
    return [move(ticket, "picking", now, by=command.device_id)]


def pick(state: State, command: PickLine, now: float) -> list[Event]:
    """Units packed of one line, 0 to what was ordered, and why the rest is not
    (``wrong-quantity``, ``unknown-line``, ``wrong-reason``)."""
    ticket = find(state, command.fulfilment_id)
    ordered = next((line for line in ticket.opened.lines if line.line_id == command.line_id), None)
    if ordered is None:
        raise Refused("unknown-line", f"The ticket has no line {command.line_id!r}.")
    if not 0 <= command.quantity <= ordered.quantity:
        raise Refused("wrong-quantity", f"Between 0 and {ordered.quantity} units were ordered.")
    if command.reason not in SHORT_REASONS:
        raise Refused("wrong-reason", f"A line is short for: {', '.join(SHORT_REASONS)}.")
    reason = command.reason if command.quantity < ordered.quantity else ""
    said = ticket.picked.get(command.line_id), (ticket.short_reasons or {}).get(command.line_id, "")
    if ticket.state == "picking" and said == (command.quantity, reason):
        return []
    if ticket.state != "picking":
        raise Refused(
            "wrong-state",
            f"The ticket is {ticket.state}: units are counted while picking.",
            state=ticket.state,
            possible=list(NEXT[ticket.state]),
        )
    return [LinePicked(command.fulfilment_id, command.line_id, command.quantity, now, reason)]


def picked_units(ticket: Ticket) -> tuple[tuple[str, int], ...]:
    """(line id, units packed) of every line; lines nobody touched were packed in full."""
    return tuple(
        (line.line_id, ticket.picked.get(line.line_id, line.quantity))
        for line in ticket.opened.lines
    )


def short_reasons(ticket: Ticket) -> tuple[tuple[str, str], ...]:
    """(line id, one of ``SHORT_REASONS``) of every line of which not all is packed."""
    reasons = ticket.short_reasons or {}
    return tuple(
        (line.line_id, reasons[line.line_id])
        for line in ticket.opened.lines
        if line.line_id in reasons
    )


def mark_ready(
    state: State, command: MarkReady, now: float, collect_s: float
) -> tuple[TicketMoved] | Ended | None:
    """Packed; with not one unit in it, the ticket is rejected instead, so that a store that has the
    goods is tried; or cancelled if the customer does not want some that are there: they expect
    their money, and nothing from elsewhere. One to be collected is expected to be so within
    ``collect_s`` seconds."""
    ticket = find(state, command.fulfilment_id)
    if ticket.state == "ready":
        return None
    collect_by = now + collect_s if ticket.opened.delivery == "pickup" else 0.0
    ready = move(ticket, "ready", now, by=command.device_id, ready_at=now, collect_by=collect_by)
    if any(units for _line, units in picked_units(ticket)):
        return (ready,)
    if UNWANTED in (ticket.short_reasons or {}).values():
        return _end(_ended_by_rule(ticket, "cancelled", now, command.device_id, UNWANTED))
    return _end(_ended_by_rule(ticket, "rejected", now, command.device_id, ALL_SHORT))


def hand_over(state: State, command: HandOver, now: float) -> list[Event]:
    """The goods leave with the assigned rider (``wrong-rider``), and not while the cash
    is being worked out (``cash-unsettled``, retryable). A cancel still waiting for the clerk's
    answer is answered by it: they left."""
    ticket = find(state, command.fulfilment_id)
    if ticket.state in ("picked_up", "returning") and ticket.rider_id == command.rider_id:
        return []
    moved = move(
        ticket, "picked_up", now, by=command.device_id or f"rider/{command.rider_id}",
        rider_id=command.rider_id,
    )  # fmt: skip
    if ticket.opened.delivery != "delivery":
        raise Refused(
            "wrong-state", "This ticket is collected by the customer: ask for the code.",
            state=ticket.state, possible=["collected"],
        )  # fmt: skip
    if ticket.rider_id != command.rider_id:
        expected = f"it waits for rider {ticket.rider_id}" if ticket.rider_id else "none is yet"
        raise Refused("wrong-rider", f"This rider is not assigned to the ticket; {expected}.")
    _check_cash_settled(ticket, now)
    return [*_left_meanwhile(ticket, now), moved]


def hand_over_answered(
    state: State, fulfilment_id: str, rider_id: str, taken: bool, now: float
) -> list[Event]:
    """The rider's run holds the parcel, or not: its word decides, for dispatch may just have given
    the parcel to somebody else."""
    ticket = state.tickets.get(fulfilment_id)
    if ticket is None or ticket.handing_to != rider_id:
        return []
    return [HandOverAnswered(fulfilment_id, rider_id, taken, now)]


def collect(state: State, command: Collect, now: float) -> tuple[list[Event], Refused | None]:
    """The customer collects. Refused with ``wrong-cash`` or ``code-locked``; a wrong code is a
    fact that counts, so it comes back as the second value instead of being raised.

    A code is good once: what was collected already is refused with ``wrong-state``, whatever the
    code. The same command sent again gets its first answer before it comes here."""
    if _ended_as(state, command.fulfilment_id, "collected"):
        at, _how = state.gone[command.fulfilment_id]
        raise Refused(
            "wrong-state",
            f"This ticket was collected already, at {moment(at):%Y-%m-%d %H:%M:%S} UTC:"
            " hand nothing out.",
            state="collected",
        )
    ticket = find(state, command.fulfilment_id)
    moved = move(ticket, "collected", now, by=command.device_id)
    if ticket.opened.delivery != "pickup":
        raise Refused(
            "wrong-state", "This ticket is delivered by a rider: hand it over to them.",
            state=ticket.state, possible=list(NEXT.get(ticket.state, ())),
        )  # fmt: skip
    if now < ticket.code_locked_until:
        seconds = int(ticket.code_locked_until - now) + 1
        raise Refused("code-locked", f"Too many wrong codes; try again in {seconds} s.")
    expected = ticket.opened.pickup_code
    if not expected or not compare_digest(expected.encode(), command.code.strip().encode()):
        return _mistyped(ticket, now)
    _check_cash_settled(ticket, now)
    if command.cash != ticket.cash_due:
        raise Refused(
            "wrong-cash",
            f"Take exactly {ticket.cash_due} (minor units of {ticket.opened.currency}).",
            cash_due=ticket.cash_due,
            currency=ticket.opened.currency,
        )
    return [*_left_meanwhile(ticket, now), *_end(moved)], None


def cancel(state: State, fulfilment_id: str, reason: str, now: float) -> tuple[list[Event], str]:
    """The order asks to cancel; facts and answer (see ``CancelTicket``)."""
    ticket = state.tickets.get(fulfilment_id)
    if ticket is None:
        gone = state.gone.get(fulfilment_id)
        if gone is None:
            return [TicketClosed(fulfilment_id, "cancelled", now)], "unknown"
        return [], "left" if gone[1] in LEFT else "cancelled"
    if ticket.state in LEFT:
        return [], "left"
    if ticket.state in ("new", "accepted"):
        ended = _end(move(ticket, "cancelled", now, by="order", reason=reason))
        return [*ended], "cancelled"
    if ticket.cancel_asked:
        return [], "confirming"
    return [CancelAsked(fulfilment_id, reason, now)], "confirming"


def confirm_held_back(state: State, command: ConfirmHeldBack, now: float) -> list[Event]:
    """The clerk answers a cancel; refused with ``no-cancel-asked`` when none waits."""
    if command.held_back and _ended_as(state, command.fulfilment_id, "cancelled"):
        return []
    ticket = find(state, command.fulfilment_id)
    if not ticket.cancel_asked:
        raise Refused("no-cancel-asked", "No cancel of this ticket waits for an answer.")
    answered = CancelAnswered(command.fulfilment_id, command.held_back, now, command.device_id)
    if not command.held_back:
        return [answered]
    reason = ticket.cancel_reason
    moved = move(ticket, "cancelled", now, by=command.device_id, reason=reason)
    return [answered, *_end(moved)]


def revise(state: State, command: ReviseTicket, now: float) -> list[Event]:
    """Another sum to collect."""
    ticket = state.tickets.get(command.fulfilment_id)
    if ticket is None or (ticket.cash_due == command.cash_due and ticket.cash_settled):
        return []
    if command.at and command.at < ticket.cash_at:
        return []
    settles = ticket.state not in ("new", "accepted", "picking")
    return [_revised(ticket, now, cash_due=command.cash_due, cash_at=command.at, settles=settles)]


def close(state: State, fulfilment_id: str, how: str, now: float) -> list[Event]:
    """The order is done with the fulfilment, whatever the counter thought of it."""
    if fulfilment_id in state.tickets or fulfilment_id not in state.gone:
        return [TicketClosed(fulfilment_id, how, now)]
    return []


def parcel(state: State, command: RecordParcel, now: float) -> list[Event]:
    """News of the parcel's rider from dispatch; older news than known is ignored."""
    ticket = state.tickets.get(command.fulfilment_id)
    if ticket is None or command.at < ticket.rider_at:
        return []
    if ticket.state in LEFT and not ticket.handing_to:
        return []
    match command.state:
        case "rider_assigned":
            if ticket.rider_id == command.rider_id:
                return []
            return [_revised(ticket, now, rider_id=command.rider_id, rider_at=command.at)]
        case "rider_unassigned":
            if ticket.rider_id != command.rider_id:
                return []
            return [_revised(ticket, now, rider_id="", rider_at=command.at)]
        case "at_store":
            if ticket.rider_id != command.rider_id or ticket.rider_at_store:
                return []
            return [
                _revised(ticket, now, rider_id=command.rider_id, rider_at=command.at, at_store=True)
            ]
    return []


def announce_return(state: State, command: AnnounceReturn, now: float) -> list[Event]:
    """An undelivered parcel is on its way back."""
    ticket = state.tickets.get(command.fulfilment_id)
    if ticket is None or ticket.state != "picked_up":
        return []
    return [
        move(
            ticket, "returning", now, by=f"rider/{command.rider_id}", reason=command.reason,
            rider_id=command.rider_id,
        )
    ]  # fmt: skip


def accept_return(state: State, command: AcceptReturn, now: float) -> list[Event]:
    """Goods are back and checked; ``damaged`` names units that cannot be sold again
    (``unknown-line``, ``wrong-quantity``)."""
    if _ended_as(state, command.fulfilment_id, "returned"):
        return []
    ticket = find(state, command.fulfilment_id)
    sent = dict(picked_units(ticket))
    for line_id, units in command.damaged:
        if line_id not in sent:
            raise Refused("unknown-line", f"The ticket has no line {line_id!r}; name each once.")
        left = sent.pop(line_id)
        if not 0 <= units <= left:
            raise Refused("wrong-quantity", f"{left} units of line {line_id} were sent out.")
    return [*_end(move(ticket, "returned", now, by=command.device_id, damaged=command.damaged))]


def pause_store(state: State, command: PauseStore, now: float) -> list[Event]:
    """Stop or resume taking orders (``wrong-time`` for an end that is past or beyond a year)."""
    until = _pause_end(command.paused, command.until, now)
    if (state.paused, state.paused_until) == (command.paused, until):
        return []
    return [StorePaused(command.paused, until, command.reason if command.paused else "", now)]


def pause_item(state: State, command: PauseItem, now: float) -> list[Event]:
    """Stop or resume selling one SKU (``wrong-time`` as above)."""
    until = _pause_end(command.paused, command.until, now)
    known = command.sku in state.paused_items
    if known == command.paused and state.paused_items.get(command.sku) == until:
        return []
    return [ItemPaused(command.sku, command.paused, now, until)]


def resume(state: State, now: float) -> list[Event]:
    """Pauses whose end has come."""
    events: list[Event] = []
    if state.paused and state.paused_until is not None and state.paused_until <= now:
        events.append(StorePaused(False, None, "", now))
    events += [
        ItemPaused(sku, False, now)
        for sku, until in state.paused_items.items()
        if until is not None and until <= now
    ]
    return events


def escalate(
    ticket: Ticket, now: float
) -> tuple[Uncollected] | tuple[Escalated] | tuple[Escalated, TicketMoved, TicketClosed]:
    """Nobody acted on a ticket whose alarm is due. A new one: at half of its time level 1 (pushed
    again), at three quarters level 2 (people are notified), at its end level 3 (the next store).
    A cancel without an answer: levels 1 and 2, and then it stays open in operations' sight. One
    that nobody collected is said so once."""
    fulfilment_id = ticket.opened.fulfilment_id
    if ticket.cancel_asked:
        level = ticket.escalation + 1
        next_at = now + CANCEL_ANSWER_S if level == 1 else None
        return (Escalated(fulfilment_id, level, now, next_at),)
    if ticket.collect_by:
        return (Uncollected(fulfilment_id, now),)
    accept_by = ticket.opened.accept_by
    notify_at = ticket.opened_at + (accept_by - ticket.opened_at) * 0.75
    if now >= accept_by:
        rejected = _ended_by_rule(ticket, "rejected", now, "rule:accept-by", NOT_IN_TIME)
        return (Escalated(fulfilment_id, 3, now, None), *_end(rejected))
    if now >= notify_at:
        return (Escalated(fulfilment_id, 2, now, accept_by),)
    return (Escalated(fulfilment_id, 1, now, notify_at),)


def _ended_by_rule(ticket: Ticket, to: str, now: float, by: str, code: str) -> TicketMoved:
    return move(ticket, to, now, by=by, reason=WORDS[code], reason_code=code)


def _check_cash_settled(ticket: Ticket, now: float) -> None:
    """Goods with cash to collect wait a moment for the sum after a short pick; not for ever, for
    the order also accepts (and flags) an older sum."""
    if not ticket.cash_settled and now < ticket.ready_at + CASH_SETTLED_S:
        raise Unavailable(
            "cash-unsettled", "The sum to collect is being worked out; try again in a moment."
        )


def _same(ticket: Ticket, device_id: str) -> bool:
    return not device_id or ticket.accepted_by in ("", device_id)


def _ended_as(state: State, fulfilment_id: str, how: str) -> bool:
    return state.gone.get(fulfilment_id, (0.0, ""))[1] == how


def _end(moved: TicketMoved) -> Ended:
    return moved, TicketClosed(moved.fulfilment_id, moved.state, moved.at)


def _left_meanwhile(ticket: Ticket, now: float) -> list[Event]:
    if not ticket.cancel_asked:
        return []
    return [CancelAnswered(ticket.opened.fulfilment_id, False, now, "rule:left")]


def _mistyped(ticket: Ticket, now: float) -> tuple[list[Event], Refused]:
    tries_left = WRONG_CODES_MAX - ticket.wrong_codes - 1
    locked_until = now + CODE_LOCK_S if tries_left <= 0 else 0.0
    text = f"{tries_left} tries left." if tries_left > 0 else f"Locked for {CODE_LOCK_S:.0f} s."
    refused = Refused("wrong-code", f"This is not the code of the order. {text}")
    return [CodeMistyped(ticket.opened.fulfilment_id, now, locked_until)], refused


def _revised(
    ticket: Ticket, now: float, *, cash_due: int | None = None, rider_id: str | None = None,
    rider_at: float = 0.0, at_store: bool | None = None, cash_at: float = 0.0,
    settles: bool = False,
) -> TicketRevised:  # fmt: skip
    same_rider = rider_id is None
    return TicketRevised(
        ticket.opened.fulfilment_id,
        ticket.cash_due if cash_due is None else cash_due,
        ticket.rider_id if rider_id is None else rider_id,
        now,
        rider_at,
        (ticket.rider_at_store if same_rider else False) if at_store is None else at_store,
        cash_at,
        settles,
    )


def _pause_end(paused: bool, until: float | None, now: float) -> float | None:
    if not paused or until is None:
        return None
    if not now < until <= now + PAUSE_MAX_S:
        raise Refused("wrong-time", "Pause until a time within the coming year, or leave it out.")
    return until
