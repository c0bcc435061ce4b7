"""The dispatch zone as an actor kind: rounds, and who is told of what the rules decide.

Facts come from ``domain.dispatch.rules``; here each decision gets what is owed to riders, stores
and orders, and the next round.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from actors.engine.kind import Answered, Context, Decision, Kind, Send, Wake
from domain import dispatch, notice, order, rider, store
from domain.dispatch import rules
from domain.dispatch.state import State, born, evolve, wake_at
from domain.dispatch.travel import TravelTimes
from domain.dispatch.views import OfferConfirmed, ZoneView, view
from domain.message import Command, Event

__all__ = ["decide", "make_kind"]


def decide(
    state: State | None, command: Command, context: Context, travel: TravelTimes
) -> Decision:
    """See each command's docstring in ``domain.dispatch.commands``."""
    state = state if state is not None else born()
    now = context.now
    match command:
        case dispatch.GetZone():
            return Decision(reply=view(state, context.entity_id))
        case Wake():
            return _wake(state, context, travel)
        case Answered():
            return _answered(state, command, context)
        case dispatch.AddParcel():
            return _then_round(state, rules.add(state, command, now), now)
        case dispatch.MarkReady():
            return _then_round(state, rules.mark_ready(state, command.parcel_id, command.at), now)
        case dispatch.ReviseParcel():
            return _revise(state, command, context)
        case dispatch.WithdrawParcel():
            return _withdraw(state, command, context)
        case dispatch.JoinRider():
            return _then_round(state, rules.join(state, command, now), now)
        case dispatch.MoveRider():
            return _then_round(state, rules.move(state, command), now)
        case dispatch.DropRider():
            at = command.at or now
            return _then_round(state, rules.drop(state, command.rider_id, at, now), now)
        case dispatch.ConfirmOffer():
            return _confirm(state, command, context)
        case dispatch.DeclineOffer():
            return _decline(state, command, context)
        case dispatch.MarkPickedUp():
            events = rules.picked_up(state, command.parcel_id, command.rider_id, now)
            return Decision(events)
        case dispatch.FinishParcel():
            return _finish(state, command, context)
        case dispatch.ReofferParcel():
            return _reoffer(state, command, context)
    raise TypeError(f"A dispatch zone does not know {type(command).__name__}.")


# -------------------------------------------------------------------- rounds


def _wake(state: State, context: Context, travel: TravelTimes) -> Decision:
    """Offers expire, then, if a round is due, the zone is matched anew."""
    now = context.now
    expired = rules.expire(state, now)
    sends = _withdrawn(state, expired, "expired")
    if state.round_at is None or state.round_at > now:
        decision = _then_round(state, list(expired), now)
        decision.sends = sends
        return decision
    seen = _after(state, expired)
    made = rules.round_offers(seen, context.entity_id, now, travel)
    for offer in made:
        sends.append(Send(f"rider/{offer.rider_id}", _proposal(seen, offer, context), True))
    events: list[Event] = [*expired, *made]
    after = _after(state, events)
    cash = rules.cash_news(after, now)
    sends += [
        _cash_alarm(state, event, context)
        for event in cash
        if isinstance(event, dispatch.CashEscalated)
    ]
    return Decision([*events, *cash, *rules.next_round(after, now)], sends=sends)


def _cash_alarm(state: State, event: dispatch.CashEscalated, context: Context) -> Send:
    facts = {
        "zone_id": context.entity_id,
        "parcel_id": event.parcel_id,
        "order_id": state.parcels[event.parcel_id].parcel.order_id,
        "cash_due": str(event.cash_due),
        "room": str(event.room),
    }
    return Send("notify/log", notice.Notify("ops", "cash-over-limits", facts))


def _proposal(state: State, made: dispatch.OfferMade, context: Context) -> rider.Offer:
    parcels = [state.parcels[parcel_id] for parcel_id in made.parcel_ids]
    return rider.Offer(
        made.offer_id,
        context.entity_id,
        tuple(rules.current(one) for one in parcels),
        made.expires_at,
        made.distance_m,
        made.pay,
    )


def _answered(state: State, command: Answered, context: Context) -> Decision:
    """A rider could not take the offer: its parcels go into the next round."""
    offer = command.command
    if command.problem is None or not isinstance(offer, rider.Offer):
        return Decision()
    events = rules.close_offer(state, offer.offer_id, "refused", context.now)
    return _then_round(state, events, context.now)


# -------------------------------------------------------------------- offers


def _confirm(state: State, command: dispatch.ConfirmOffer, context: Context) -> Decision:
    events = rules.confirm(state, command, context.now)
    parcels = rules.confirmed(state, command)
    sends: list[Send] = []
    if events:
        for parcel in parcels:
            sends += _rider_news(
                parcel.parcel_id, state, "rider_assigned", command.rider_id, context
            )
            progress = order.RecordProgress(
                parcel.parcel_id, "rider_assigned", context.now, command.rider_id
            )
            sends.append(Send(f"order/{parcel.order_id}", progress))
    return Decision(events, reply=OfferConfirmed(parcels), sends=sends)


def _decline(state: State, command: dispatch.DeclineOffer, context: Context) -> Decision:
    events = rules.decline(state, command, context.now)
    decision = _then_round(state, events, context.now)
    decision.sends = _back_in_pool(state, events, context)
    return decision


# -------------------------------------------------------------------- parcels


def _revise(state: State, command: dispatch.ReviseParcel, context: Context) -> Decision:
    at = command.at or context.now
    events = rules.revise(state, command.parcel_id, command.cash_due, at)
    known = state.parcels.get(command.parcel_id)
    sends = []
    if events and known is not None and known.phase in ("assigned", "picked_up"):
        revised = rider.ReviseParcel(command.parcel_id, command.cash_due, at)
        sends = [Send(f"rider/{known.rider_id}", revised)]
    return Decision(events, sends=sends)


def _withdraw(state: State, command: dispatch.WithdrawParcel, context: Context) -> Decision:
    known = state.parcels.get(command.parcel_id)
    events = rules.withdraw(state, command.parcel_id, context.now)
    decision = _then_round(state, events, context.now)
    sends = _withdrawn(state, events, command.reason)
    if events and known is not None and known.phase == "assigned":
        cancel = rider.CancelParcel(command.parcel_id, command.reason)
        sends.append(Send(f"rider/{known.rider_id}", cancel))
    decision.sends = sends
    return decision


def _finish(state: State, command: dispatch.FinishParcel, context: Context) -> Decision:
    events = rules.finish(state, command, context.now)
    decision = _then_round(state, events, context.now)
    decision.sends = _back_in_pool(state, events, context)
    return decision


def _reoffer(state: State, command: dispatch.ReofferParcel, context: Context) -> Decision:
    events = rules.reoffer(state, command, context.now)
    decision = _then_round(state, events, context.now)
    decision.sends = _withdrawn(state, events, command.why)
    return decision


# -------------------------------------------------------------------- helpers


def _then_round(state: State, events: list[Event], now: float) -> Decision:
    """The facts, and a round soon if they gave it something to match."""
    soon = now + rules.ROUND_S
    if not events or (state.round_at is not None and state.round_at <= soon):
        return Decision(events)
    if state.round_at is not None and not any(isinstance(event, _URGENT) for event in events):
        return Decision(events)
    waits = bool(state.waiting) or any(isinstance(event, _WAITS_AGAIN) for event in events)
    if not waits or not _has_riders(state, events):
        return Decision(events)
    return Decision([*events, dispatch.RoundScheduled(soon)])


_WAITS_AGAIN = dispatch.ParcelAdded | dispatch.OfferClosed | dispatch.ParcelReturnedToPool
_URGENT = _WAITS_AGAIN | dispatch.ParcelMarkedReady
"""Facts that bring forward a round planned for the horizon of later parcels."""


def _has_riders(state: State, events: list[Event]) -> bool:
    return bool(state.riders) or any(isinstance(event, dispatch.RiderJoined) for event in events)


def _after(state: State, events: Iterable[Event]) -> State:
    """The state as it will be after these facts, as far as a round looks at it."""
    future = rules.scratch(state)
    for event in events:
        evolve(future, event)
    return future


def _withdrawn(state: State, events: Iterable[Event], reason: str) -> list[Send]:
    """Tell riders whose open offer ended among these facts."""
    return [
        Send(
            f"rider/{state.offers[event.offer_id].rider_id}",
            rider.WithdrawOffer(event.offer_id, reason),
        )
        for event in events
        if isinstance(event, dispatch.OfferClosed)
    ]


def _back_in_pool(state: State, events: Iterable[Event], context: Context) -> list[Send]:
    """Tell the stores whose parcels lost their rider."""
    sends: list[Send] = []
    for event in events:
        if isinstance(event, dispatch.ParcelReturnedToPool):
            rider_id = state.parcels[event.parcel_id].rider_id
            sends += _rider_news(event.parcel_id, state, "rider_unassigned", rider_id, context)
    return sends


def _rider_news(
    parcel_id: str, state: State, news: str, rider_id: str, context: Context
) -> list[Send]:
    store_id = state.parcels[parcel_id].parcel.store_id
    told = store.RecordParcel(parcel_id, news, rider_id, context.now)
    return [Send(f"store/{store_id}", told)]


COMMANDS: Any = (
    dispatch.AddParcel | dispatch.MarkReady | dispatch.ReviseParcel | dispatch.WithdrawParcel
    | dispatch.JoinRider | dispatch.MoveRider | dispatch.DropRider | dispatch.ConfirmOffer
    | dispatch.DeclineOffer | dispatch.MarkPickedUp | dispatch.FinishParcel
    | dispatch.ReofferParcel | dispatch.GetZone
)  # fmt: skip
EVENTS: Any = (
    dispatch.ParcelAdded | dispatch.ParcelMarkedReady | dispatch.ParcelRevised
    | dispatch.ParcelLeft | dispatch.ParcelPickedUp | dispatch.ParcelPrioritised
    | dispatch.ParcelReturnedToPool | dispatch.RiderJoined | dispatch.RidersMoved
    | dispatch.RiderLeft | dispatch.OfferMade | dispatch.OfferClosed | dispatch.Assigned
    | dispatch.RoundScheduled | dispatch.CashBlocked | dispatch.CashEscalated
    | dispatch.CashUnblocked
)  # fmt: skip


def make_kind(travel: TravelTimes) -> Kind:
    """Zones whose rounds reckon with these travel times. They never finish."""
    return Kind(
        name="dispatch",
        never_packed=True,
        state=State,
        commands=COMMANDS,
        events=EVENTS,
        replies=ZoneView | OfferConfirmed | None,
        decide=partial(decide, travel=travel),
        evolve=evolve,
        wake_at=wake_at,
    )
