"""What a rider's entity decides: from the state and a wish to facts, or to a clear refusal.

Each function returns the new facts (none when the wish already holds) and raises ``Refused`` with
``off-shift``, ``unknown-parcel``, ``wrong-state`` and the codes named in its docstring. DOMAIN,
Delivery and Payment (COD).
"""

from collections.abc import Sequence

from domain.errors import Refused
from domain.geo import Position
from domain.message import Event
from domain.rider.commands import (
    Deliver,
    Fail,
    Offer,
    OfferedParcel,
    Remit,
    StartShift,
    Unassign,
)
from domain.rider.events import (
    Moved,
    OfferEnded,
    OfferReceived,
    ParcelDelivered,
    ParcelMoved,
    ParcelRemoved,
    ParcelRevised,
    ParcelsTaken,
    Remitted,
    ShiftClosing,
    ShiftEnded,
    ShiftStarted,
)
from domain.rider.run import with_parcels
from domain.rider.state import PICKED_UP, Carried, Shift, State, headroom

__all__ = [
    "CAPACITY_MAX", "FAILURES", "NEXT", "cancel_parcel", "check_holds", "deliver", "end_offer",
    "end_shift", "fail", "find", "finish_return", "finished_already", "move_to", "on_shift",
    "open_offer", "picked_up", "receive_offer", "remit", "revise_parcel", "shift_end_due",
    "shift_over", "start_shift", "step", "take", "unassign",
]  # fmt: skip

NEXT: dict[str, tuple[str, ...]] = {
    "accepted": ("at_store",),
    "at_store": ("picked_up",),
    "picked_up": ("at_customer", "returning"),
    "at_customer": ("delivered", "returning"),
    "returning": ("returned",),
}
"""A parcel's states in the rider's hands; before *picked_up* it can also be taken away."""
FAILURES = ("refused", "absent", "damaged", "address")
CAPACITY_MAX = 20


def on_shift(state: State) -> Shift:
    """The current shift; refused with ``off-shift``."""
    if state.shift is None:
        raise Refused("off-shift", "Start a shift first.")
    return state.shift


def start_shift(state: State, command: StartShift, now: float) -> list[Event]:
    """Come on shift, from off only (``already-on-shift``). Refused with ``wrong-shift`` for a
    capacity, limit or end that makes no sense, ``wrong-position``, or ``remit-first`` while cash is
    held that no store of the zone takes."""
    if state.shift is not None:
        if state.shift.dispatch_zone == command.dispatch_zone:
            return []
        raise Refused(
            "already-on-shift",
            f"On shift in {state.shift.dispatch_zone}: end that shift before starting another.",
        )
    check_position(command.position)
    if not command.dispatch_zone:
        raise Refused("wrong-shift", "Name the dispatch zone of the shift.")
    if not 1 <= command.capacity <= CAPACITY_MAX:
        raise Refused("wrong-shift", f"A rider carries 1 to {CAPACITY_MAX} parcels at once.")
    if command.cash_limit < 0:
        raise Refused("wrong-shift", "The cash limit is 0 or more.")
    if command.ends_at is not None and command.ends_at <= now:
        raise Refused("wrong-shift", "The shift's end must be in the future.")
    if state.cash and command.currencies and state.currency not in command.currencies:
        raise Refused(
            "remit-first",
            f"Hand in the {state.cash} held (minor units of {state.currency}) first: the stores of"
            f" {command.dispatch_zone} take {', '.join(command.currencies)}.",
            owed=state.cash,
            currency=state.currency,
        )
    return [
        ShiftStarted(
            command.dispatch_zone,
            command.vehicle,
            command.position,
            command.capacity,
            command.cash_limit,
            command.ends_at,
            now,
            command.currencies,
        )
    ]


def end_shift(state: State, now: float) -> list[Event]:
    """Go off shift; refused with ``run-not-empty``. Cash held stays owed; an open offer is
    declined by it."""
    if state.shift is None:
        return []
    if state.parcels:
        raise Refused(
            "run-not-empty",
            f"Finish the run first: {len(state.parcels)} parcels are still in it.",
            parcels=list(state.parcels),
        )
    ended: list[Event] = []
    if state.offer is not None:
        ended.append(OfferEnded(state.offer.offer_id, "declined", "shift ended", now))
    return [*ended, ShiftEnded(now)]


def shift_end_due(state: State, now: float) -> list[Event]:
    """The planned end of the shift has come: it ends, or closes while parcels are in the run."""
    shift = state.shift
    if shift is None or shift.ends_at is None or shift.closing or now < shift.ends_at:
        return []
    if not state.parcels:
        return end_shift(state, now)
    events: list[Event] = [ShiftClosing(now)]
    if state.offer is not None:
        events.insert(0, OfferEnded(state.offer.offer_id, "declined", "shift ended", now))
    return events


def shift_over(state: State, now: float, leaving: str) -> list[Event]:
    """A closing shift ends when its last parcel (``leaving``) leaves the run."""
    shift = state.shift
    if shift is None or not shift.closing or set(state.parcels) - {leaving}:
        return []
    return [ShiftEnded(now)]


def move_to(state: State, position: Position, now: float) -> list[Event]:
    """A new position (``wrong-position``)."""
    on_shift(state)
    check_position(position)
    return [Moved(position, now)]


def check_position(position: Position) -> None:
    """Refused with ``wrong-position`` unless these are degrees on the earth."""
    if not (-90 <= position.lat <= 90 and -180 <= position.lon <= 180):
        raise Refused("wrong-position", "Latitude is -90 to 90, longitude -180 to 180 degrees.")


def receive_offer(state: State, offer: Offer, now: float) -> list[Event]:
    """A proposal from dispatch. Refused with ``rider-unavailable`` (off shift, engaged with another
    offer, full, too late) or ``cash-limit``."""
    if offer.offer_id in state.ended_offers:
        return []
    if state.offer is not None and state.offer.offer_id == offer.offer_id:
        return []
    shift = state.shift
    reason = _unavailable(state, shift, offer, now)
    if reason or shift is None:
        raise Refused("rider-unavailable", reason)
    cash = sum(parcel.cash_due for parcel in offer.parcels)
    if cash and cash > headroom(state):
        raise Refused(
            "cash-limit", f"Only {headroom(state)} more may be collected before remitting.",
            cash_headroom=headroom(state),
        )  # fmt: skip
    return [OfferReceived(offer, now)]


def open_offer(state: State, offer_id: str) -> Offer:
    """The open offer; refused with ``offer-gone`` when it is not this one."""
    if state.offer is None or state.offer.offer_id != offer_id:
        ended = state.ended_offers.get(offer_id)
        how = f" ({ended[1]})" if ended else ""
        raise Refused("offer-gone", f"This offer is no longer open{how}; wait for the next.")
    return state.offer


def end_offer(state: State, offer_id: str, outcome: str, reason: str, now: float) -> list[Event]:
    """The offer is over without being taken. One that has not come in yet is remembered, so that
    it does not open when it comes late."""
    if offer_id in state.ended_offers:
        return []
    return [OfferEnded(offer_id, outcome, reason, now)]


def take(state: State, offer_id: str, parcels: Sequence[OfferedParcel], now: float) -> list[Event]:
    """The confirmed parcels join the run by cheapest insertion."""
    fresh = [parcel for parcel in parcels if parcel.parcel_id not in state.parcels]
    where = {one.parcel.parcel_id: one.parcel for one in state.parcels.values()}
    where |= {parcel.parcel_id: parcel for parcel in fresh}

    def place(stop: tuple[str, str]) -> Position:
        parcel = where[stop[1]]
        return parcel.drop_off if stop[0] == "drop_off" else parcel.pick_up

    stops = with_parcels(state.stops, fresh, state.position, place)
    return [ParcelsTaken(offer_id, tuple(fresh), tuple(stops), now)]


def find(state: State, parcel_id: str) -> Carried:
    """The parcel of the run; refused with ``unknown-parcel``, or ``wrong-state`` once it left."""
    carried = state.parcels.get(parcel_id)
    if carried is not None:
        return carried
    done = state.done.get(parcel_id)
    if done is not None:
        raise Refused("wrong-state", f"This parcel is {done[1]} and has left the run.")
    raise Refused("unknown-parcel", f"The run has no parcel {parcel_id!r}.")


def step(state: State, parcel_id: str, to: str, now: float, reason: str = "") -> list[Event]:
    """One step of a parcel; repeating the last one changes nothing."""
    carried = find(state, parcel_id)
    if carried.state == to:
        return []
    _check_next(carried, to)
    return [ParcelMoved(parcel_id, to, now, reason)]


def picked_up(state: State, parcel_id: str, now: float, cash_due: int | None) -> list[Event]:
    """The store has handed the parcel over: a fact, whatever the rider had pressed before.
    ``cash_due`` is the store's latest sum."""
    carried = state.parcels.get(parcel_id)
    if carried is None or carried.state in PICKED_UP:
        return []
    events: list[Event] = [ParcelMoved(parcel_id, "picked_up", now)]
    if cash_due is not None and cash_due != carried.cash_due:
        events.insert(0, ParcelRevised(parcel_id, cash_due, now))
    return events


def check_holds(state: State, parcel_id: str, at: float) -> None:
    """Refused with ``unknown-parcel`` unless the run holds (or has finished) the parcel, and has
    taken it no later than ``at`` (0: any time)."""
    ended = state.done.get(parcel_id, (0.0, ""))[1]
    carried = state.parcels.get(parcel_id)
    holds = carried is not None and (not at or at >= carried.taken_at)
    if not holds and ended not in ("delivered", "returned"):
        raise Refused("unknown-parcel", f"The run does not hold the parcel {parcel_id!r}.")


def finished_already(state: State, parcel_id: str, outcome: str) -> bool:
    """Whether the parcel has left the run that way."""
    return state.done.get(parcel_id, (0.0, ""))[1] == outcome


def deliver(state: State, command: Deliver, now: float) -> list[Event]:
    """At the door, with the exact cash; refused with ``wrong-cash``, which names the sum."""
    if finished_already(state, command.parcel_id, "delivered"):
        return []
    carried = find(state, command.parcel_id)
    _check_next(carried, "delivered")
    due, kept = carried.cash_due, command.cash_received - command.change
    if kept != due or command.cash_received < 0 or command.change < 0:
        raise Refused(
            "wrong-cash",
            f"Collect exactly {due} (minor units of {carried.parcel.currency}): received less"
            f" change is {kept}."
            if due
            else "This parcel is paid: collect nothing.",
            cash_due=due,
            currency=carried.parcel.currency,
        )
    delivered = ParcelDelivered(
        command.parcel_id,
        carried.parcel.order_id,
        due,
        command.cash_received,
        command.change,
        carried.parcel.currency,
        now,
    )
    return [delivered, *shift_over(state, now, command.parcel_id)]


def fail(state: State, command: Fail, now: float) -> list[Event]:
    """Not delivered; the parcel goes back to its store. Refused with ``wrong-reason``."""
    if command.reason not in FAILURES:
        raise Refused("wrong-reason", f"Give one of these reasons: {', '.join(FAILURES)}.")
    return step(state, command.parcel_id, "returning", now, command.reason)


def finish_return(state: State, parcel_id: str, now: float) -> list[Event]:
    """The store has the failed parcel back."""
    if parcel_id not in state.parcels:
        return []
    return [ParcelRemoved(parcel_id, "returned", now), *shift_over(state, now, parcel_id)]


def cancel_parcel(state: State, parcel_id: str, reason: str, now: float) -> list[Event]:
    """A parcel not yet picked up was cancelled; what is in the rider's hands stays."""
    carried = state.parcels.get(parcel_id)
    if carried is None or carried.state in PICKED_UP:
        return []
    removed = ParcelRemoved(parcel_id, "cancelled", now, "dispatch", reason)
    return [removed, *shift_over(state, now, parcel_id)]


def unassign(state: State, command: Unassign, now: float) -> list[Event]:
    """Operations takes a parcel away before it is picked up."""
    if finished_already(state, command.parcel_id, "unassigned"):
        return []
    carried = find(state, command.parcel_id)
    if carried.state in PICKED_UP:
        raise Refused(
            "wrong-state",
            f"The parcel is {carried.state}: only one not yet picked up can be taken away.",
            state=carried.state,
        )
    removed = ParcelRemoved(command.parcel_id, "unassigned", now, command.by, command.why)
    return [removed, *shift_over(state, now, command.parcel_id)]


def revise_parcel(state: State, parcel_id: str, cash_due: int, at: float) -> list[Event]:
    """Another exact sum to collect, decided at ``at``."""
    carried = state.parcels.get(parcel_id)
    if carried is None or carried.state == "returning" or carried.cash_due == cash_due:
        return []
    return [ParcelRevised(parcel_id, cash_due, at)] if at >= carried.cash_at else []


def remit(state: State, command: Remit, now: float) -> list[Event]:
    """Cash handed in; whatever is missing or over is in the document, and the debt is closed.
    Refused with ``unknown-rider`` (never on shift, so nothing was ever owed), ``foreign-resource``,
    ``owed-changed`` when the cashier saw another sum than is owed now (a delivery, or another
    cashier, came between), ``wrong-amount``, ``nothing-to-remit``, ``reason-required`` for a
    difference, or ``unknown-currency`` (see :func:`_currency_of_cash`)."""
    if command.remittance_id in state.remittances:
        return []
    if not state.last_zone:
        raise Refused("unknown-rider", "Nobody of this number has ever been on shift.")
    if command.dispatch_zone not in ("", state.last_zone):
        raise Refused("foreign-resource", "This rider works in the zone of other stores.")
    if command.amount < 0:
        raise Refused("wrong-amount", "Count the cash handed in: 0 or more, in minor units.")
    if command.owed is not None and command.owed != state.cash:
        raise Refused(
            "owed-changed",
            f"The rider owes {state.cash} now (minor units of {state.currency or 'no currency'}),"
            f" not {command.owed}: nothing was booked. Look anew, then count.",
            owed=state.cash,
            currency=state.currency,
        )
    if not command.amount and not state.cash:
        raise Refused("nothing-to-remit", "No cash is held and none was handed in.")
    difference = command.amount - state.cash
    if difference and not command.reason.strip():
        raise Refused(
            "reason-required",
            f"The rider owes {state.cash} (minor units of {state.currency}): count anew, or say why"
            " it is another sum.",
            owed=state.cash,
            currency=state.currency,
        )
    return [
        Remitted(
            command.remittance_id,
            state.cash,
            command.amount,
            difference,
            command.received_by,
            _currency_of_cash(state),
            now,
            command.reason.strip() if difference else "",
        )
    ]


def _currency_of_cash(state: State) -> str:
    """What a rider's cash is counted in: theirs; of one who never carried a parcel, the only
    currency of the zone's stores. Refused with ``unknown-currency`` where that is not one."""
    known = (state.currency,) if state.currency else state.zone_currencies
    if len(known) != 1:
        raise Refused(
            "unknown-currency",
            f"The rider never carried a parcel, and the stores of {state.last_zone} take"
            f" {' and '.join(known) or 'a currency that is not known'}: nobody can say what this"
            " cash is. Book it once the rider holds cash, or is on shift where one currency is"
            " taken.",
        )
    return known[0]


def _unavailable(state: State, shift: Shift | None, offer: Offer, now: float) -> str:
    if shift is None or shift.closing:
        return "The rider is off shift."
    if shift.dispatch_zone != offer.dispatch_zone:
        return f"The rider is on shift in {shift.dispatch_zone}."
    if state.offer is not None:
        return "The rider is considering another offer."
    if offer.expires_at <= now:
        return "The offer has expired."
    if len(state.parcels) + len(offer.parcels) > shift.capacity:
        return "The run is full."
    if any(parcel.parcel_id in state.parcels for parcel in offer.parcels):
        return "The run already holds a parcel of this offer."
    collected = _collected(state)
    if any(parcel.currency not in collected for parcel in offer.parcels) and collected:
        return f"The rider holds or collects cash in {', '.join(collected)}; remit it first."
    return ""


def _collected(state: State) -> list[str]:
    """Currencies of the cash held and of the cash that the run brings: one at most, since one
    rider's debt is one sum."""
    found = {one.parcel.currency for one in state.parcels.values() if one.cash_due}
    return sorted(found | ({state.currency} if state.cash else set()))


def _check_next(carried: Carried, to: str) -> None:
    possible = NEXT[carried.state]
    if to not in possible:
        raise Refused(
            "wrong-state",
            f"The parcel is {carried.state}: it cannot become {to}."
            f" Possible from here: {', '.join(possible)}.",
            state=carried.state,
            possible=list(possible),
        )
