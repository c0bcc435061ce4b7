"""What a dispatch zone decides: who is offered what, and whose parcel it is. DOMAIN, Delivery.

Each function returns the new facts (none when nothing changes). Repeated and reordered commands
are normal: what has left the zone stays gone, news that comes before its parcel is kept for it.
"""

from collections.abc import Iterable
from copy import copy

from msgspec.structs import replace

from domain.dispatch.commands import (
    AddParcel,
    ConfirmOffer,
    DeclineOffer,
    FinishParcel,
    JoinRider,
    MoveRider,
    ReofferParcel,
)
from domain.dispatch.events import (
    Assigned,
    CashBlocked,
    CashEscalated,
    CashUnblocked,
    OfferClosed,
    OfferMade,
    ParcelAdded,
    ParcelLeft,
    ParcelMarkedReady,
    ParcelPickedUp,
    ParcelPrioritised,
    ParcelReturnedToPool,
    ParcelRevised,
    RiderJoined,
    RiderLeft,
    RidersMoved,
    RoundScheduled,
)
from domain.dispatch.state import Parcel, Rider, State
from domain.dispatch.travel import TravelTimes
from domain.errors import Refused
from domain.geo import distance_m
from domain.matching import HAND_OVER_S, Courier, Job, match
from domain.message import Event
from domain.rider.commands import OfferedParcel

__all__ = [
    "CASH_BLOCKED_S", "HORIZON_S", "OFFER_S", "PAY_BASE", "PAY_PER_KM", "PAY_PER_PARCEL", "ROUND_S",
    "SILENT_S", "SOON_FREE_S", "add", "cash_news", "close_offer", "confirm", "confirmed", "current",
    "decline", "drop", "expire", "finish", "join", "mark_ready", "move", "next_round", "pay",
    "picked_up", "reoffer", "revise", "round_offers", "scratch", "withdraw",
]  # fmt: skip

ROUND_S = 5.0
OFFER_S = 45.0
HORIZON_S = 600.0
"""Parcels ready within so many seconds are matched already."""
SOON_FREE_S = 300.0
"""Riders free within so many seconds are matched already."""
SILENT_S = 600.0
"""A rider not heard of for so long is offered nothing."""
CASH_BLOCKED_S = 300.0
"""A parcel whose cash no rider may collect for so long is brought to operations: who only has to
remit has done so by then."""
MOVED_M = 25.0
"""A shorter move is not worth a fact, unless the last one is :data:`SEEN_S` old."""
SEEN_S = 60.0
PAY_BASE = 300
PAY_PER_KM = 100
PAY_PER_PARCEL = 100
"""Minor units: for the run, for each begun kilometre, for each parcel after the first."""


def pay(distance: int, parcels: int) -> int:
    """What an offer of so many metres and parcels pays, minor units."""
    return PAY_BASE + PAY_PER_KM * -(-distance // 1000) + PAY_PER_PARCEL * (parcels - 1)


# -------------------------------------------------------------------- parcels


def add(state: State, command: AddParcel, now: float) -> list[Event]:
    """A parcel comes in; once, and not after it left."""
    parcel_id = command.parcel.parcel_id
    if parcel_id in state.parcels or parcel_id in state.gone:
        return []
    return [ParcelAdded(command, now)]


def mark_ready(state: State, parcel_id: str, at: float) -> list[Event]:
    """Packed; may come before the parcel."""
    known = state.parcels.get(parcel_id)
    if parcel_id in state.gone or (known is not None and known.ready):
        return []
    if known is None and f"ready:{parcel_id}" in state.early:
        return []
    return [ParcelMarkedReady(parcel_id, at)]


def revise(state: State, parcel_id: str, cash_due: int, at: float) -> list[Event]:
    """Another sum to collect, decided at ``at``; may come before the parcel."""
    known = state.parcels.get(parcel_id)
    if parcel_id in state.gone:
        return []
    if known is not None and (known.cash_due == cash_due or at < known.cash_at):
        return []
    early = state.early.get(f"cash:{parcel_id}")
    if known is None and early is not None and at <= early[0]:
        return []
    return [ParcelRevised(parcel_id, cash_due, at)]


def withdraw(state: State, parcel_id: str, now: float) -> list[Event]:
    """Cancelled or rejected. One already with its rider stays: the store never lets go of it."""
    known = state.parcels.get(parcel_id)
    if known is None:
        return [] if parcel_id in state.gone else [ParcelLeft(parcel_id, "withdrawn", now)]
    if known.phase == "picked_up":
        return []
    closed: list[Event] = []
    if known.phase == "offered":
        closed = [OfferClosed(known.offer_id, "withdrawn", now)]
    return [*closed, ParcelLeft(parcel_id, "withdrawn", now)]


def picked_up(state: State, parcel_id: str, rider_id: str, now: float) -> list[Event]:
    """With its rider."""
    known = state.parcels.get(parcel_id)
    if known is None or known.phase != "assigned" or known.rider_id != rider_id:
        return []
    return [ParcelPickedUp(parcel_id, rider_id, now)]


def finish(state: State, command: FinishParcel, now: float) -> list[Event]:
    """Delivered, failed or taken away from its rider; and the cash room left after it."""
    known = state.parcels.get(command.parcel_id)
    events: list[Event] = []
    rider = state.riders.get(command.rider_id)
    if rider is not None:
        moved = (command.rider_id, rider.position, command.cash_headroom, now)
        events.append(RidersMoved((moved,)))
    if known is None or known.rider_id != command.rider_id or known.phase == "offered":
        return events
    if command.offer_id and command.offer_id != known.offer_id:
        return events
    if command.outcome != "unassigned":
        return [*events, ParcelLeft(command.parcel_id, command.outcome, now)]
    if known.phase != "assigned":
        return events
    why = command.why or "unassigned"
    return [*events, ParcelReturnedToPool(command.parcel_id, why, command.by, now)]


def reoffer(state: State, command: ReofferParcel, now: float) -> list[Event]:
    """Operations put a parcel first (``unknown-parcel``; ``wrong-state`` once a rider has it)."""
    known = state.parcels.get(command.parcel_id)
    if known is None:
        gone = state.gone.get(command.parcel_id)
        how = f" It left the zone: {gone[1]}." if gone else ""
        raise Refused("unknown-parcel", f"No parcel {command.parcel_id!r} waits here.{how}")
    if known.phase in ("assigned", "picked_up"):
        raise Refused(
            "wrong-state",
            f"The parcel is {known.phase} to rider {known.rider_id}: unassign it there first.",
            state=known.phase,
            rider_id=known.rider_id,
        )
    closed: list[Event] = []
    if known.phase == "offered":
        closed = [OfferClosed(known.offer_id, "withdrawn", now)]
    return [*closed, ParcelPrioritised(command.parcel_id, command.by, command.why, now)]


# -------------------------------------------------------------------- riders


def join(state: State, command: JoinRider, now: float) -> list[Event]:
    """On shift here; a repeat, or one older than the shift's end, changes nothing."""
    at = command.at or now
    known = state.riders.get(command.rider_id)
    left = state.left.get(command.rider_id)
    if known is not None and not known.leaving and known.joined_at >= at:
        return []
    if left is not None and left[0] >= at:
        return []
    return [
        RiderJoined(
            command.rider_id,
            command.vehicle,
            command.position,
            command.capacity,
            command.cash_headroom,
            at,
        )
    ]


def move(state: State, command: MoveRider) -> list[Event]:
    """A rider was heard of; small moves are not worth a fact each."""
    rider = state.riders.get(command.rider_id)
    if rider is None or command.at < rider.seen_at:
        return []
    small = distance_m(rider.position, command.position) < MOVED_M
    known = rider.cash_headroom == command.cash_headroom
    if small and known and command.at - rider.seen_at < SEEN_S:
        return []
    moved = (command.rider_id, command.position, command.cash_headroom, command.at)
    return [RidersMoved((moved,))]


def drop(state: State, rider_id: str, at: float, now: float) -> list[Event]:
    """Off shift (or about to be): the open offer falls, parcels in the run stay theirs."""
    rider = state.riders.get(rider_id)
    if rider is not None and rider.joined_at > at:
        return []
    if rider is None or rider.leaving:
        left = state.left.get(rider_id)
        return [] if left is not None and left[0] >= at else [RiderLeft(rider_id, at)]
    closed: list[Event] = []
    if rider.offer_id in state.offers:
        closed = [OfferClosed(rider.offer_id, "declined", now)]
    return [*closed, RiderLeft(rider_id, at)]


# -------------------------------------------------------------------- offers


def confirm(state: State, command: ConfirmOffer, now: float) -> list[Event]:
    """The rider takes an open offer; refused with ``offer-gone``. From here on the parcels are
    this rider's. Nothing new when they already are."""
    offer = state.offers.get(command.offer_id)
    if offer is not None and offer.rider_id == command.rider_id:
        return [Assigned(command.offer_id, command.rider_id, offer.parcel_ids, now)]
    if not any(_taken(state, command)):
        raise Refused("offer-gone", "This offer is no longer open; wait for the next.")
    return []


def confirmed(state: State, command: ConfirmOffer) -> tuple[OfferedParcel, ...]:
    """The offer's parcels as they are now."""
    offer = state.offers.get(command.offer_id)
    parcels: Iterable[Parcel] = (
        [state.parcels[parcel_id] for parcel_id in offer.parcel_ids]
        if offer is not None
        else _taken(state, command)
    )
    return tuple(current(one) for one in parcels)


def current(one: Parcel) -> OfferedParcel:
    """The parcel with the cash and the ready time as they are now."""
    return replace(one.parcel, cash_due=one.cash_due, ready_at=one.ready_at)


def decline(state: State, command: DeclineOffer, now: float) -> list[Event]:
    """Declined or let pass. Parcels that were confirmed while the rider's answer got lost, and
    that the rider says they never took, wait again."""
    offer = state.offers.get(command.offer_id)
    if offer is not None and offer.rider_id == command.rider_id:
        outcome = "expired" if command.reason == "expired" else "declined"
        return [OfferClosed(command.offer_id, outcome, now)]
    by = f"rider/{command.rider_id}"
    taken = _taken(state, ConfirmOffer(command.offer_id, command.rider_id))
    return [
        ParcelReturnedToPool(one.parcel.parcel_id, "never taken", by, now)
        for one in taken
        if one.phase == "assigned"
    ]


def close_offer(state: State, offer_id: str, outcome: str, now: float) -> list[Event]:
    """The offer is over."""
    return [OfferClosed(offer_id, outcome, now)] if offer_id in state.offers else []


def expire(state: State, now: float) -> list[OfferClosed]:
    """Offers whose time is over, oldest first."""
    expired = []
    for offer_id, offer in state.offers.items():
        if offer.expires_at > now:
            break
        expired.append(OfferClosed(offer_id, "expired", now))
    return expired


# -------------------------------------------------------------------- rounds


def round_offers(state: State, zone_id: str, now: float, travel: TravelTimes) -> list[OfferMade]:
    """One matching round over the whole zone."""
    jobs = [
        _job(parcel_id, state.parcels[parcel_id], now)
        for parcel_id in state.waiting
        if state.parcels[parcel_id].ready_at <= now + HORIZON_S
    ]
    couriers = [
        courier
        for rider_id, rider in state.riders.items()
        if (courier := _courier(state, rider_id, rider, now, travel)) is not None
    ]
    made = state.offers_made
    return [
        OfferMade(
            f"{zone_id}-{made + number}",
            found.rider_id,
            found.parcel_ids,
            now + OFFER_S,
            pay(found.distance_m, len(found.parcel_ids)),
            found.distance_m,
            now,
        )
        for number, found in enumerate(match(jobs, couriers, now), 1)
    ]


def cash_news(state: State, now: float) -> list[Event]:
    """What a round finds out about cash: waiting parcels whose sum is above what any rider of the
    zone may still collect (DOMAIN, Payment: a cash limit blocks further offers), since when, and
    whether that has lasted for :data:`CASH_BLOCKED_S`."""
    rooms = [one.cash_headroom for one in state.riders.values() if _present(one, now)]
    if not rooms:
        return []  # then it is not the cash that keeps parcels waiting
    room = max(rooms)
    events: list[Event] = []
    for parcel_id, one in state.parcels.items():
        blocked = one.phase == "waiting" and one.cash_due > room
        if not blocked:
            if one.blocked_at:
                events.append(CashUnblocked(parcel_id, now))
        elif not one.blocked_at:
            events.append(CashBlocked(parcel_id, one.cash_due, room, now))
        elif not one.escalated_at and now >= one.blocked_at + CASH_BLOCKED_S:
            events.append(CashEscalated(parcel_id, one.cash_due, room, now))
    return events


def scratch(state: State) -> State:
    """A copy to look ahead on, without the memories that no round looks at."""
    parcels = {}
    for parcel_id, parcel in state.parcels.items():
        parcels[parcel_id] = copy(parcel)
        parcels[parcel_id].barred = dict(parcel.barred)
    riders = {}
    for rider_id, rider in state.riders.items():
        riders[rider_id] = copy(rider)
        riders[rider_id].parcels = list(rider.parcels)
    return State(
        parcels, riders, dict(state.offers), dict(state.waiting), state.offers_made, state.round_at
    )


def next_round(state: State, now: float) -> list[Event]:
    """When to match next: every :data:`ROUND_S` while parcels wait and riders are heard of, at the
    horizon of the first parcel when all are for later, else not before something happens."""
    at = None
    if state.waiting and any(_present(rider, now) for rider in state.riders.values()):
        soonest = min(state.parcels[parcel_id].ready_at for parcel_id in state.waiting)
        at = max(now + ROUND_S, soonest - HORIZON_S)
    if at is not None and state.round_at is not None and now < state.round_at <= at:
        return []
    return [] if at == state.round_at else [RoundScheduled(at)]


def _present(rider: Rider, now: float) -> bool:
    return not rider.leaving and now - rider.seen_at <= SILENT_S


def _job(parcel_id: str, one: Parcel, now: float) -> Job:
    parcel = one.parcel
    return Job(
        parcel_id,
        parcel.store_id,
        parcel.pick_up,
        parcel.drop_off,
        one.ready_at if one.ready else max(one.ready_at, now),
        parcel.due_at,
        one.cash_due,
        one.priority,
        [rider_id for rider_id, until in one.barred.items() if until > now],
    )


def _courier(
    state: State, rider_id: str, rider: Rider, now: float, travel: TravelTimes
) -> Courier | None:
    """The rider as one round sees them; None when nothing may be offered to them now."""
    if rider.offer_id or not _present(rider, now) or rider.resting_until > now:
        return None
    speed = travel.straight_speed(rider.vehicle)
    place, free_at = rider.position, now
    if rider.parcels:
        last = state.parcels[rider.parcels[0]]
        if len(rider.parcels) > 1 or last.phase != "picked_up":
            return None
        place = last.parcel.drop_off
        free_at = now + distance_m(rider.position, place) / speed + HAND_OVER_S
        if free_at > now + SOON_FREE_S:
            return None
    room = rider.capacity - len(rider.parcels)
    if room <= 0:
        return None
    return Courier(rider_id, place, free_at, room, rider.cash_headroom, speed)


def _taken(state: State, command: ConfirmOffer) -> list[Parcel]:
    """Parcels this rider has from this offer."""
    rider = state.riders.get(command.rider_id)
    if rider is None:
        return []
    mine = [state.parcels[parcel_id] for parcel_id in rider.parcels]
    return [one for one in mine if one.offer_id == command.offer_id]
