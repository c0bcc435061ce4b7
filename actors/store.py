"""The store's counter as an actor kind: who is told of what the rules decide.

Facts come from ``domain.store.rules``; here each decision gets its answer, the messages for the
store's devices, and what is owed to the order, to dispatch and to the rider.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from actors import inbox
from actors.engine.kind import Answered, Context, Decision, Kind, Send, Wake
from actors.inbox import InboxCommand
from domain import dispatch, notice, order, rider, store
from domain.catalogue.model import COLLECT_S, StoreProfile
from domain.errors import Refused
from domain.inbox import InboxPage
from domain.message import Command, Event
from domain.reasons import NOT_IN_TIME, WORDS
from domain.rider.commands import OfferedParcel
from domain.store import messages, rules
from domain.store.state import State, Ticket, born, evolve, next_alarm_at
from domain.store.views import TicketView, view, view_closed

__all__ = ["KIND", "decide"]

ESCALATIONS_PER_WAKE_MAX = 200
"""Tickets one timer looks at; the rest follow with the next, so that no batch grows too long."""


def decide(state: State | None, command: Command, context: Context) -> Decision:
    """See each command's docstring in ``domain.store.commands``."""
    state = state if state is not None else born(context.now)
    now = context.now
    match command:
        case store.OpenTicket():
            return _told(state, rules.open_ticket(state, command, now), context)
        case store.CancelTicket():
            return _cancel(state, command, context)
        case store.ReviseTicket():
            return _revise(state, command, context)
        case store.CloseTicket():
            return _close(state, command, context)
        case store.RecordParcel():
            return _told(state, rules.parcel(state, command, now), context)
        case store.AnnounceReturn():
            return _told(state, rules.announce_return(state, command, now), context)
        case (
            store.RegisterDevice() | store.AcknowledgeInbox() | store.ReadInbox()
            | store.GetSnapshot()
        ):  # fmt: skip
            return _inbox(state, command, context)
        case store.PauseStore():
            return _told(state, rules.pause_store(state, command, now), context)
        case store.PauseItem():
            return _told(state, rules.pause_item(state, command, now), context)
        case Wake():
            return _wake(state, context)
        case Answered():
            return _answered(state, command, context)
    return _act(state, command, context)


def _act(state: State, command: Command, context: Context) -> Decision:
    """A person (or a rider's app) acts on one ticket; the answer is its ``TicketView``."""
    now = context.now
    match command:
        case store.GetTicket():
            return Decision(reply=_view(state, command.fulfilment_id, []))
        case store.AcceptTicket():
            return _accept(state, command, context)
        case store.RejectTicket():
            ended = rules.reject(state, command, now)
            return _rejected(state, command.fulfilment_id, ended, context)
        case store.StartPicking():
            events = rules.start_picking(state, command, now)
            sends = _progress(state, command.fulfilment_id, "picking", now) if events else []
            return _acted(state, command.fulfilment_id, events, sends, context)
        case store.PickLine():
            events = rules.pick(state, command, now)
            return _acted(state, command.fulfilment_id, events, [], context)
        case store.MarkReady():
            return _ready(state, command, context)
        case store.HandOver():
            return _hand_over(state, command, context)
        case store.Collect():
            return _collect(state, command, context)
        case store.ConfirmHeldBack():
            return _held_back(state, command, context)
        case store.AcceptReturn():
            return _returned(state, command, context)
    raise TypeError(f"A store does not know {type(command).__name__}.")


# -------------------------------------------------------------------- people's acts


def _accept(state: State, command: store.AcceptTicket, context: Context) -> Decision:
    ticket = rules.find(state, command.fulfilment_id)
    profile = _profile(context)
    accepted = rules.accept(state, command, context.now, profile.prep_s, profile.dispatch_zone)
    sends: list[Send] = []
    if accepted is not None:
        (moved,) = accepted
        sends = _progress(state, command.fulfilment_id, "accepted", context.now)
        if ticket.opened.delivery == "delivery":
            parcel = _parcel(ticket, profile, moved.ready_at)
            add = dispatch.AddParcel(parcel, ticket.opened.weight_g)
            sends.append(Send(f"dispatch/{profile.dispatch_zone}", add))
    return _acted(state, command.fulfilment_id, accepted or (), sends, context)


def _rejected(
    state: State, fulfilment_id: str, ended: rules.Ended | None, context: Context
) -> Decision:
    """A rejection by a person or a rule: the order tries the next store, no rider is needed."""
    sends: list[Send] = []
    if ended is not None:
        moved, _closed = ended
        ticket = state.tickets[fulfilment_id]
        sends = _rejection(ticket, moved.reason, moved.reason_code or "", context)
    return _acted(state, fulfilment_id, ended or (), sends, context)


def _ready(state: State, command: store.MarkReady, context: Context) -> Decision:
    profile = context.views.stores.get(context.entity_id)
    collect_s = COLLECT_S if profile is None else profile.collect_s
    packed = rules.mark_ready(state, command, context.now, collect_s)
    match packed:
        case None:
            return _acted(state, command.fulfilment_id, (), [], context)
        case (moved, _closed) if moved.state == "rejected":
            return _rejected(state, command.fulfilment_id, packed, context)
    ticket = state.tickets[command.fulfilment_id]
    picked = order.RecordPicked(
        command.fulfilment_id, context.entity_id, rules.picked_units(ticket), context.now,
        rules.short_reasons(ticket),
    )  # fmt: skip
    sends = [Send(_order_of(ticket), picked)]
    if packed[0].state == "cancelled":
        sends += _withdrawal(ticket, store.UNWANTED)
    elif ticket.dispatch_zone and ticket.opened.delivery == "delivery":
        marked = dispatch.MarkReady(command.fulfilment_id, context.now)
        sends.append(Send(f"dispatch/{ticket.dispatch_zone}", marked))
    return _acted(state, command.fulfilment_id, packed, sends, context)


def _hand_over(state: State, command: store.HandOver, context: Context) -> Decision:
    if context.sender.startswith("rider/") and context.sender != f"rider/{command.rider_id}":
        raise Refused("wrong-rider", "A rider can take goods only for themselves.")
    closed = state.closed.get(command.fulfilment_id)
    if closed is not None and closed.state == "delivered" and closed.rider_id == command.rider_id:
        return Decision(reply=view_closed(closed))
    events = rules.hand_over(state, command, context.now)
    sends: list[Send] = []
    if events:
        ticket = state.tickets[command.fulfilment_id]
        told = rider.RecordHandOver(command.fulfilment_id, context.now)
        confirm = Send(f"rider/{command.rider_id}", told, wants_answer=True)
        sends = [*_refusing_cancel(ticket, context), confirm]
    return _acted(state, command.fulfilment_id, events, sends, context)


def _answered(state: State, command: Answered, context: Context) -> Decision:
    """A rider's run has confirmed a hand-over, or does not hold the parcel."""
    told = command.command
    if not isinstance(told, rider.RecordHandOver):
        return Decision()
    rider_id = command.to.split("/", 1)[1]
    taken = command.problem is None
    events = rules.hand_over_answered(state, told.parcel_id, rider_id, taken, context.now)
    return _told(state, events, context)


def _collect(state: State, command: store.Collect, context: Context) -> Decision:
    events, refused = rules.collect(state, command, context.now)
    if refused is not None:
        decision = _told(state, events, context)
        decision.reply = refused.as_problem()
        return decision
    sends: list[Send] = []
    if events:
        ticket = state.tickets[command.fulfilment_id]
        delivered = order.RecordDelivered(command.fulfilment_id, context.now, cash=ticket.cash_due)
        sends = [*_refusing_cancel(ticket, context), Send(_order_of(ticket), delivered)]
    return _acted(state, command.fulfilment_id, events, sends, context)


def _held_back(state: State, command: store.ConfirmHeldBack, context: Context) -> Decision:
    events = rules.confirm_held_back(state, command, context.now)
    sends: list[Send] = []
    if events:
        ticket = state.tickets[command.fulfilment_id]
        sends = [_back(ticket, context, accepted=command.held_back)]
        if command.held_back:
            sends += _withdrawal(ticket, ticket.cancel_reason)
    return _acted(state, command.fulfilment_id, events, sends, context)


def _returned(state: State, command: store.AcceptReturn, context: Context) -> Decision:
    events = rules.accept_return(state, command, context.now)
    sends: list[Send] = []
    if events:
        ticket = state.tickets[command.fulfilment_id]
        sends = [
            _back(ticket, context, accepted=True, damaged=command.damaged),
            Send(f"rider/{ticket.rider_id}", rider.FinishReturn(command.fulfilment_id)),
        ]
    return _acted(state, command.fulfilment_id, events, sends, context)


# -------------------------------------------------------------------- the order's wishes


def _cancel(state: State, command: store.CancelTicket, context: Context) -> Decision:
    events, reply = rules.cancel(state, command.fulfilment_id, command.reason, context.now)
    decision = _told(state, events, context)
    decision.reply = reply
    if events and reply == "cancelled":
        ticket = state.tickets[command.fulfilment_id]
        # an order that dies between this answer and its own append hears of it all the same
        told = _back(ticket, context, accepted=True)
        decision.sends = [told, *_withdrawal(ticket, command.reason)]
    return decision


def _revise(state: State, command: store.ReviseTicket, context: Context) -> Decision:
    decision = _told(state, rules.revise(state, command, context.now), context)
    if decision.events:
        ticket = state.tickets[command.fulfilment_id]
        if ticket.dispatch_zone and ticket.opened.delivery == "delivery":
            revised = dispatch.ReviseParcel(command.fulfilment_id, command.cash_due, context.now)
            decision.sends = [Send(f"dispatch/{ticket.dispatch_zone}", revised)]
    return decision


def _close(state: State, command: store.CloseTicket, context: Context) -> Decision:
    ticket = state.tickets.get(command.fulfilment_id)
    events = rules.close(state, command.fulfilment_id, command.state, context.now)
    decision = _told(state, events, context)
    if ticket is not None and ticket.state in ("accepted", "picking", "ready"):
        decision.sends = _withdrawal(ticket, f"order {command.state}")
    return decision


# -------------------------------------------------------------------- time


def _wake(state: State, context: Context) -> Decision:
    """Whatever is due: pauses end, tickets nobody acted on escalate."""
    now = context.now
    events: list[Event] = list(rules.resume(state, now))
    sends: list[Send] = []
    due = sorted(alarm for alarm in set(state.alarms) if alarm[0] <= now)
    for at, fulfilment_id in due[:ESCALATIONS_PER_WAKE_MAX]:
        ticket = state.tickets.get(fulfilment_id)
        if ticket is None or ticket.alarm_at != at:
            continue
        escalated = rules.escalate(ticket, now)
        events += escalated
        sends += _escalation(ticket, escalated[0], context)
    decision = _told(state, events, context)
    decision.sends = sends
    return decision


def _escalation(
    ticket: Ticket, escalated: store.Escalated | store.Uncollected, context: Context
) -> list[Send]:
    if isinstance(escalated, store.Uncollected):
        return _progress_of(ticket, "uncollected", context.now)
    if escalated.level == 2:
        template = "cancel-unanswered" if ticket.cancel_asked else "ticket-not-accepted"
        facts = {
            "fulfilment_id": ticket.opened.fulfilment_id,
            "order_id": ticket.opened.order_id,
            "store_id": context.entity_id,
        }
        notify = notice.Notify(f"store:{context.entity_id}", template, facts)
        return [Send("notify/log", notify)]
    if escalated.level == 3:
        return _rejection(ticket, WORDS[NOT_IN_TIME], NOT_IN_TIME, context)
    return []


# -------------------------------------------------------------------- helpers


def _inbox(state: State, command: InboxCommand, context: Context) -> Decision:
    snapshot = partial(messages.snapshot, state, context.entity_id)
    return inbox.decide(state.inbox, command, context.now, _INBOX_FACTS, snapshot)


def _told(state: State, events: Sequence[Event], context: Context) -> Decision:
    """The facts, and the messages that tell the devices of them, in one append."""
    noted = messages.noted(state, context.entity_id, events, context.now)
    return Decision([*events, *noted])


def _acted(
    state: State, fulfilment_id: str, events: Sequence[Event], sends: list[Send], context: Context
) -> Decision:
    decision = _told(state, events, context)
    decision.reply = _view(state, fulfilment_id, events)
    decision.sends = sends
    return decision


def _view(state: State, fulfilment_id: str, events: Sequence[Event]) -> TicketView:
    """The ticket as it will be after ``events``."""
    known = state.tickets.get(fulfilment_id)
    if known is None:
        closed = state.closed.get(fulfilment_id)
        if closed is None:
            rules.find(state, fulfilment_id)
            raise AssertionError("find refuses what is not open")
        return view_closed(closed)
    return view(messages.preview(known, events))


def _profile(context: Context) -> StoreProfile:
    profile: StoreProfile | None = context.views.stores.get(context.entity_id)
    if profile is None:
        raise Refused(
            "unknown-store", f"The catalogue has no store {context.entity_id!r}: put it first."
        )
    return profile


def _parcel(ticket: Ticket, profile: StoreProfile, ready_at: float) -> OfferedParcel:
    opened = ticket.opened
    return OfferedParcel(
        parcel_id=opened.fulfilment_id,
        order_id=opened.order_id,
        store_id=profile.store_id,
        store_name=profile.name,
        pick_up=profile.position,
        drop_off=opened.drop_off or profile.position,
        address=opened.address,
        customer_name=opened.customer_name,
        phone_ending=opened.phone_ending,
        ready_at=ready_at,
        due_at=opened.due_at,
        cash_due=ticket.cash_due,
        currency=opened.currency,
    )


def _order_of(ticket: Ticket) -> str:
    return f"order/{ticket.opened.order_id}"


def _progress(state: State, fulfilment_id: str, to: str, now: float) -> list[Send]:
    return _progress_of(state.tickets[fulfilment_id], to, now)


def _progress_of(ticket: Ticket, to: str, now: float) -> list[Send]:
    progress = order.RecordProgress(ticket.opened.fulfilment_id, to, now)
    return [Send(_order_of(ticket), progress)]


def _rejection(ticket: Ticket, reason: str, code: str, context: Context) -> list[Send]:
    rejected = order.RecordRejected(
        ticket.opened.fulfilment_id, context.entity_id, reason, context.now, code
    )
    return [Send(_order_of(ticket), rejected), *_withdrawal(ticket, reason)]


def _withdrawal(ticket: Ticket, reason: str) -> list[Send]:
    if not ticket.dispatch_zone or ticket.opened.delivery != "delivery":
        return []
    withdraw = dispatch.WithdrawParcel(ticket.opened.fulfilment_id, reason)
    return [Send(f"dispatch/{ticket.dispatch_zone}", withdraw)]


def _refusing_cancel(ticket: Ticket, context: Context) -> list[Send]:
    return [_back(ticket, context, accepted=False)] if ticket.cancel_asked else []


def _back(
    ticket: Ticket,
    context: Context,
    *,
    accepted: bool,
    damaged: tuple[tuple[str, int], ...] = (),
) -> Send:
    returned = order.RecordReturned(
        ticket.opened.fulfilment_id, context.entity_id, context.now, accepted, damaged
    )
    return Send(_order_of(ticket), returned)


_INBOX_FACTS = inbox.Facts(store.DeviceRegistered, store.DeviceAcknowledged)
COMMANDS: Any = (
    store.OpenTicket | store.CancelTicket | store.ReviseTicket | store.CloseTicket
    | store.RecordParcel | store.AnnounceReturn | store.AcceptTicket | store.RejectTicket
    | store.StartPicking | store.PickLine | store.MarkReady | store.HandOver | store.Collect
    | store.ConfirmHeldBack | store.AcceptReturn | store.PauseStore | store.PauseItem
    | store.RegisterDevice | store.AcknowledgeInbox | store.ReadInbox | store.GetSnapshot
    | store.GetTicket
)  # fmt: skip
EVENTS: Any = (
    store.Noted | store.TicketOpened | store.TicketMoved | store.LinePicked | store.CancelAsked
    | store.CancelAnswered | store.HandOverAnswered | store.CodeMistyped
    | store.TicketRevised | store.TicketClosed | store.Escalated | store.StorePaused
    | store.ItemPaused | store.Uncollected | store.DeviceRegistered | store.DeviceAcknowledged
)  # fmt: skip

KIND = Kind(
    name="store",
    never_packed=True,
    state=State,
    commands=COMMANDS,
    events=EVENTS,
    replies=TicketView | InboxPage | str | None,
    decide=decide,
    evolve=evolve,
    wake_at=next_alarm_at,
    answers_kept=256,  # an hour of a busy counter: sixty tickets of four steps
)
"""Stores never finish: their inbox and today's list stay."""
