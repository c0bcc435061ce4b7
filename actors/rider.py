"""The rider as an actor kind: who is told of what the rules decide.

Facts come from ``domain.rider.rules``; here each decision gets its answer, the messages for the
rider's devices, and what is owed to dispatch, to the store and to the order.
"""

from functools import partial
from typing import Any

from actors import inbox
from actors.engine.kind import Answered, Ask, Context, Decision, Kind, Send, Tell, Wake
from actors.inbox import InboxCommand
from domain import dispatch, order, rider, store
from domain.dispatch.views import OfferConfirmed
from domain.errors import Problem, Refused, error_of
from domain.inbox import InboxPage
from domain.message import Command, Event
from domain.rider import messages, rules
from domain.rider.state import State, ahead, born, evolve, headroom, wake_at
from domain.rider.views import RiderView, view
from domain.store.views import TicketView

__all__ = ["KIND", "decide"]


def decide(state: State | None, command: Command, context: Context) -> Decision | Ask:
    """See each command's docstring in ``domain.rider.commands``."""
    state = state if state is not None else born(context.now)
    now = context.now
    match command:
        case rider.MoveTo():
            return _move(state, command, context)
        case rider.Offer():
            return _told(state, rules.receive_offer(state, command, now), context)
        case rider.WithdrawOffer():
            return _withdraw_offer(state, command, context)
        case rider.RecordHandOver():
            rules.check_holds(state, command.parcel_id, command.at)
            events = rules.picked_up(state, command.parcel_id, now, None)
            return _picked_up(state, command.parcel_id, events, context)
        case rider.FinishReturn():
            events = rules.finish_return(state, command.parcel_id, now)
            return _left_run(state, events, [], context)
        case rider.CancelParcel():
            events = rules.cancel_parcel(state, command.parcel_id, command.reason, now)
            return _left_run(state, events, [], context)
        case rider.ReviseParcel():
            at = command.at or now
            events = rules.revise_parcel(state, command.parcel_id, command.cash_due, at)
            return _told(state, events, context)
        case (
            rider.RegisterDevice() | rider.AcknowledgeInbox() | rider.ReadInbox()
            | rider.GetSnapshot()
        ):  # fmt: skip
            return _inbox(state, command, context)
        case Wake():
            return _wake(state, context)
        case Answered():
            return Decision()
    return _act(state, command, context)


def _act(state: State, command: Command, context: Context) -> Decision | Ask:
    """The rider (or operations, or a cashier) acts; the answer is the ``RiderView``."""
    now = context.now
    match command:
        case rider.GetRider():
            return Decision(reply=view(state, context.entity_id))
        case rider.StartShift():
            return _start(state, command, context)
        case rider.EndShift():
            return _left_run(state, rules.end_shift(state, now), [], context)
        case rider.AcceptOffer():
            return _accept(state, command, context)
        case rider.DeclineOffer():
            return _decline(state, command, context)
        case rider.ArriveAtStore():
            return _arrive_at_store(state, command, context)
        case rider.PickUp():
            return _pick_up(state, command, context)
        case rider.ArriveAtCustomer():
            events = rules.step(state, command.parcel_id, "at_customer", now)
            sends = [_progress(state, command.parcel_id, "at_customer", context)] if events else []
            return _acted(state, events, sends, context)
        case rider.Deliver():
            return _deliver(state, command, context)
        case rider.Fail():
            return _fail(state, command, context)
        case rider.Unassign():
            return _unassign(state, command, context)
        case rider.Remit():
            return _remit(state, command, context)
    raise TypeError(f"A rider does not know {type(command).__name__}.")


# -------------------------------------------------------------------- shift and position


def _start(state: State, command: rider.StartShift, context: Context) -> Decision:
    events = rules.start_shift(state, command, context.now)
    sends: list[Send] = []
    if events:
        join = dispatch.JoinRider(
            context.entity_id,
            command.vehicle,
            command.position,
            command.capacity,
            headroom(ahead(state, events)),
            context.now,
        )
        sends = [Send(f"dispatch/{command.dispatch_zone}", join)]
    return _acted(state, events, sends, context)


def _move(state: State, command: rider.MoveTo, context: Context) -> Decision:
    events = rules.move_to(state, command.position, context.now)
    return Decision(events, tells=[_whereabouts(ahead(state, events), context)])


def _whereabouts(state: State, context: Context) -> Tell:
    shift, position = rules.on_shift(state), state.position
    assert position is not None, "a shift starts at a position"
    moved = dispatch.MoveRider(context.entity_id, position, headroom(state), context.now)
    return Tell(f"dispatch/{shift.dispatch_zone}", moved)


def _leaving(state: State, events: list[Event], context: Context) -> list[Send]:
    """What dispatch is owed when an offer or the shift ended among the facts."""
    shift = state.shift
    if shift is None:
        return []
    to = f"dispatch/{shift.dispatch_zone}"
    sends = []
    for event in events:
        match event:
            case rider.OfferEnded(outcome="declined" | "expired"):
                declined = dispatch.DeclineOffer(
                    event.offer_id, context.entity_id, event.reason or event.outcome
                )
                sends.append(Send(to, declined))
            case rider.ShiftEnded() | rider.ShiftClosing():
                sends.append(Send(to, dispatch.DropRider(context.entity_id, context.now)))
    return sends


# -------------------------------------------------------------------- offers


def _accept(state: State, command: rider.AcceptOffer, context: Context) -> Decision | Ask:
    """Dispatch decides whose parcels they are; only then do they join the run."""
    if state.ended_offers.get(command.offer_id, (0.0, ""))[1] == "taken":
        return Decision(reply=view(state, context.entity_id))
    offer = rules.open_offer(state, command.offer_id)
    if not context.answers:
        confirm = dispatch.ConfirmOffer(command.offer_id, context.entity_id)
        return Ask([(f"dispatch/{offer.dispatch_zone}", confirm)])
    answer = context.answers[0]
    if isinstance(answer, OfferConfirmed):
        events = rules.take(state, command.offer_id, answer.parcels, context.now)
        return _acted(state, events, [], context)
    problem = _problem(answer)
    if problem.code != "offer-gone":
        raise error_of(problem)
    ended = rules.end_offer(state, command.offer_id, "withdrawn", "offer gone", context.now)
    decision = _told(state, ended, context)
    decision.reply = problem
    return decision


def _decline(state: State, command: rider.DeclineOffer, context: Context) -> Decision:
    if state.ended_offers.get(command.offer_id, (0.0, ""))[1] == "declined":
        return Decision(reply=view(state, context.entity_id))
    rules.open_offer(state, command.offer_id)
    reason = command.reason or "declined"
    events = rules.end_offer(state, command.offer_id, "declined", reason, context.now)
    return _acted(state, events, _leaving(state, events, context), context)


def _withdraw_offer(state: State, command: rider.WithdrawOffer, context: Context) -> Decision:
    outcome = "expired" if command.reason == "expired" else "withdrawn"
    events = rules.end_offer(state, command.offer_id, outcome, command.reason, context.now)
    return _told(state, events, context)


# -------------------------------------------------------------------- the run


def _arrive_at_store(state: State, command: rider.ArriveAtStore, context: Context) -> Decision:
    parcel_id = command.parcel_id
    events = rules.step(state, parcel_id, "at_store", context.now)
    sends: list[Send] = []
    if events:
        arrived = store.RecordParcel(parcel_id, "at_store", context.entity_id, context.now)
        sends = [
            _progress(state, parcel_id, "at_store", context),
            Send(f"store/{state.parcels[parcel_id].parcel.store_id}", arrived),
        ]
    return _acted(state, events, sends, context)


def _pick_up(state: State, command: rider.PickUp, context: Context) -> Decision | Ask:
    """The store decides whether the goods may leave; asking it twice is harmless."""
    parcel_id = command.parcel_id
    if not rules.step(state, parcel_id, "picked_up", context.now):
        return Decision(reply=view(state, context.entity_id))
    if not context.answers:
        hand_over = store.HandOver(parcel_id, context.entity_id)
        return Ask([(f"store/{state.parcels[parcel_id].parcel.store_id}", hand_over)])
    answer = context.answers[0]
    if not isinstance(answer, TicketView):
        raise error_of(_problem(answer))
    events = rules.picked_up(state, parcel_id, context.now, answer.cash_due)
    decision = _picked_up(state, parcel_id, events, context)
    decision.reply = view(ahead(state, events), context.entity_id)
    return decision


def _picked_up(state: State, parcel_id: str, events: list[Event], context: Context) -> Decision:
    decision = _told(state, events, context)
    if events:
        picked_up = dispatch.MarkPickedUp(parcel_id, context.entity_id)
        decision.sends = [
            Send(_dispatch(state), picked_up),
            _progress(state, parcel_id, "picked_up", context),
        ]
    return decision


def _deliver(state: State, command: rider.Deliver, context: Context) -> Decision:
    events = rules.deliver(state, command, context.now)
    sends: list[Send] = []
    if events:
        carried = state.parcels[command.parcel_id]
        delivered = order.RecordDelivered(
            command.parcel_id, context.now, context.entity_id, carried.cash_due
        )
        sends = [
            Send(f"order/{carried.parcel.order_id}", delivered),
            _finish(state, command.parcel_id, "delivered", events, context),
        ]
    return _left_run(state, events, sends, context)


def _fail(state: State, command: rider.Fail, context: Context) -> Decision:
    events = rules.fail(state, command, context.now)
    sends: list[Send] = []
    if events:
        parcel = state.parcels[command.parcel_id].parcel
        failed = order.RecordFailed(
            command.parcel_id, context.now, context.entity_id, command.reason
        )
        announced = store.AnnounceReturn(command.parcel_id, context.entity_id, command.reason)
        sends = [
            Send(f"order/{parcel.order_id}", failed),
            Send(f"store/{parcel.store_id}", announced),
            _finish(state, command.parcel_id, "failed", events, context),
        ]
    return _acted(state, events, sends, context)


def _unassign(state: State, command: rider.Unassign, context: Context) -> Decision:
    events = rules.unassign(state, command, context.now)
    sends: list[Send] = []
    if events:
        back = dispatch.FinishParcel(
            command.parcel_id,
            context.entity_id,
            "unassigned",
            headroom(ahead(state, events)),
            command.by,
            command.why,
            state.parcels[command.parcel_id].offer_id,
        )
        sends = [Send(_dispatch(state), back)]
    return _left_run(state, events, sends, context)


def _remit(state: State, command: rider.Remit, context: Context) -> Decision:
    events = rules.remit(state, command, context.now)
    decision = _acted(state, events, [], context)
    if events and state.shift is not None:
        decision.tells = [_whereabouts(ahead(state, events), context)]
    return decision


# -------------------------------------------------------------------- time


def _wake(state: State, context: Context) -> Decision:
    """The open offer has expired, or the shift's end has come."""
    now = context.now
    events: list[Event] = []
    if state.offer is not None and state.offer.expires_at <= now:
        events = rules.end_offer(state, state.offer.offer_id, "expired", "", now)
    events += rules.shift_end_due(ahead(state, events), now)
    decision = _told(state, events, context)
    decision.sends = _leaving(state, events, context)
    return decision


# -------------------------------------------------------------------- helpers


def _inbox(state: State, command: InboxCommand, context: Context) -> Decision:
    snapshot = partial(messages.snapshot, state, context.entity_id)
    return inbox.decide(state.inbox, command, context.now, _INBOX_FACTS, snapshot)


def _told(state: State, events: list[Event], context: Context) -> Decision:
    """The facts, and the messages that tell the devices of them, in one append."""
    noted = messages.noted(state, context.entity_id, events, context.now) if events else []
    return Decision([*events, *noted])


def _acted(state: State, events: list[Event], sends: list[Send], context: Context) -> Decision:
    decision = _told(state, events, context)
    decision.reply = view(ahead(state, events), context.entity_id)
    decision.sends = sends
    return decision


def _left_run(state: State, events: list[Event], sends: list[Send], context: Context) -> Decision:
    """As ``_acted``; a closing shift may have ended with the parcel."""
    return _acted(state, events, [*sends, *_leaving(state, events, context)], context)


def _dispatch(state: State) -> str:
    return f"dispatch/{rules.on_shift(state).dispatch_zone}"


def _finish(
    state: State, parcel_id: str, outcome: str, events: list[Event], context: Context
) -> Send:
    room = headroom(ahead(state, events))
    offer_id = state.parcels[parcel_id].offer_id
    finished = dispatch.FinishParcel(parcel_id, context.entity_id, outcome, room, offer_id=offer_id)
    return Send(_dispatch(state), finished)


def _progress(state: State, parcel_id: str, to: str, context: Context) -> Send:
    progress = order.RecordProgress(parcel_id, to, context.now, context.entity_id)
    return Send(f"order/{state.parcels[parcel_id].parcel.order_id}", progress)


def _problem(answer: Any) -> Problem:
    if isinstance(answer, Problem):
        return answer
    return Refused("unexpected-answer", f"Not an answer to this: {answer!r}.").as_problem()


_INBOX_FACTS = inbox.Facts(rider.DeviceRegistered, rider.DeviceAcknowledged)
COMMANDS: Any = (
    rider.StartShift | rider.EndShift | rider.MoveTo | rider.Offer | rider.WithdrawOffer
    | rider.AcceptOffer | rider.DeclineOffer | rider.ArriveAtStore | rider.PickUp
    | rider.RecordHandOver | rider.ArriveAtCustomer | rider.Deliver | rider.Fail
    | rider.FinishReturn | rider.CancelParcel | rider.Unassign | rider.ReviseParcel | rider.Remit
    | rider.RegisterDevice | rider.AcknowledgeInbox | rider.ReadInbox | rider.GetSnapshot
    | rider.GetRider
)  # fmt: skip
EVENTS: Any = (
    rider.Noted | rider.ShiftStarted | rider.ShiftClosing | rider.ShiftEnded | rider.Moved
    | rider.OfferReceived | rider.OfferEnded | rider.ParcelsTaken | rider.ParcelMoved
    | rider.ParcelRevised | rider.ParcelDelivered | rider.ParcelRemoved | rider.Remitted
    | rider.DeviceRegistered | rider.DeviceAcknowledged
)  # fmt: skip

KIND = Kind(
    name="rider",
    state=State,
    commands=COMMANDS,
    events=EVENTS,
    replies=RiderView | InboxPage | None,
    decide=decide,
    evolve=evolve,
    wake_at=wake_at,
)
"""Riders never finish: the cash they owe must not be forgotten with them."""
