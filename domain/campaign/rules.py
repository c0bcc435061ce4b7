"""The rules of campaigns (DOMAIN, Group-buy and Flash sale): events a command leads to, or why not.

Each function returns the events to store, none when the command was seen before. Rules stated here:

- **Time**: orders are taken from ``starts_at`` up to, not including, ``ends_at``.
- **A claim** lasts until its order pays or gives it back. The order keeps the time; the campaign
  only asks an order that stays silent long past it.
- **A group** that is full forms at once, a ladder closes then. When its time is over it takes no
  more members; payments under way are waited for ``CLOSE_GRACE_S`` at most. Then a ladder with
  enough members forms at the price they reached; any other group fails.
- **A late payer** (paid when the seat was gone) gets a free seat of the same group if there is
  one, else what the campaign's policy says: the refund, or a new group of which they are the head.
- **A failed group** counts for nothing: its units and its customers' counts are given back.
"""

from collections.abc import Sequence
from itertools import islice

from domain.campaign import quota
from domain.campaign.allocation import allocate, stores_of
from domain.campaign.commands import (
    Claim,
    Confirm,
    GroupRule,
    Open,
    Reassign,
    Share,
    Terms,
    Unassign,
    Unclaim,
)
from domain.campaign.events import (
    After,
    Claimed,
    ClaimsAsked,
    Confirmed,
    Ended,
    GroupClosing,
    GroupFailed,
    GroupFormed,
    GroupOpened,
    Moved,
    Opened,
    QuotaSet,
    Reassigned,
    Unassigned,
    Unclaimed,
)
from domain.campaign.places import find_places
from domain.campaign.quota import Ahead, holds_units
from domain.campaign.state import (
    CampaignEvent,
    CampaignState,
    Group,
    Seat,
    capacity,
    due_entry,
    price_of,
)
from domain.campaign.timers import due
from domain.catalogue.model import Component
from domain.errors import Refused

__all__ = [
    "ASKED_MAX", "ASK_AGAIN_S", "CLOSE_GRACE_S", "check_channel", "check_pay", "check_window",
    "claim", "claimed_again", "close_group", "confirm", "due_claims", "due_group", "end", "opened",
    "quota_set", "reassign", "remaining_of", "sold_out", "unassign", "unclaim",
]  # fmt: skip

ASK_AGAIN_S = 300.0
"""A claim still wanted, or whose order did not answer, is asked about again so much later."""
ASKED_MAX = 256
"""Most orders asked at one wake-up; the rest follow at the next, which comes at once."""
TIMERS_SEEN_MAX = 4 * ASKED_MAX
"""Most timers looked at for that: some no longer hold."""
CLOSE_GRACE_S = 30.0
"""Payments under way when a group's time is over are waited for so long."""


# Opening ----------------------------------------------------------------------------------------


def opened(command: Open, stock: tuple[Component, ...], list_price: int, now: float) -> Opened:
    """The campaign's first event; checked before."""
    return Opened(command.terms, stock, list_price, command.by, now)


def quota_set(state: CampaignState, store_id: str, now: float) -> tuple[QuotaSet, Ahead] | None:
    """A store has set aside what it was asked for; None if that is known."""
    shelf = state.shelves[store_id]
    if shelf.answered:
        return None
    ahead = _ahead(state)
    quota.fill(ahead, store_id, shelf.asked, state.ended)
    return QuotaSet(store_id, shelf.asked, ahead.after(), now), ahead


# Claiming: the hot path -------------------------------------------------------------------------


def claim(
    state: CampaignState, command: Claim, campaign_id: str, now: float
) -> list[CampaignEvent]:
    """Units and a seat, or a refusal that changes nothing. The last event is ``Claimed``.

    Raises ``Refused``: ``campaign-not-started``, ``campaign-ended``, ``wrong-channel``,
    ``bad-quantity``, ``customer-limit``, ``campaign-sold-out``, ``campaign-out-of-reach``,
    ``unknown-group``, ``group-closed``, ``group-full``, ``already-member``.
    """
    terms = state.terms
    check_window(terms, state.ended, now)
    check_channel(terms, command.channel)
    if command.quantity < 1:
        raise Refused("bad-quantity", "Order 1 or more units.", minimum=1)
    _check_limit(state, command)
    events: list[CampaignEvent] = []
    group_id, closes_at = "", float("inf")
    if terms.group is None:
        if command.group_id:
            raise Refused("unknown-group", "A flash sale has no groups.")
    else:
        group = _group_to_join(state, command, campaign_id, now)
        if group is None:
            group_id = f"{campaign_id}:{state.number + 1}"
            closes_at = _opened_until(terms, terms.group, now)
            events.append(GroupOpened(group_id, command.order_id, closes_at, now))
        else:
            group_id, closes_at = command.group_id, group.closes_at
    if sold_out(terms, state.tally.available):
        raise _sold_out(terms)
    parts = allocate(state, command)
    ahead = _ahead(state)
    quota.hold(ahead, terms, parts)
    events.append(
        Claimed(
            command.claim_id, command.order_id, command.customer_id, parts, group_id,
            min(now + terms.pay_s, closes_at), ahead.after(), now,
            () if holds_units(terms) else stores_of(state, command), command.asked_at,
        )
    )  # fmt: skip
    return events


def closes_at_of(terms: Terms, expires_at: float) -> float:
    """Until when a group takes members that was opened by a claim with this ``expires_at``. A
    repeated answer keeps that time, and only that."""
    rule = terms.group
    assert rule is not None
    return _opened_until(terms, rule, expires_at - min(terms.pay_s, rule.open_s))


def _opened_until(terms: Terms, rule: GroupRule, now: float) -> float:
    return min(now + rule.open_s, terms.ends_at)


def check_window(terms: Terms, ended: bool, now: float) -> None:
    """Raise ``campaign-not-started`` or ``campaign-ended``."""
    if now < terms.starts_at:
        raise Refused(
            "campaign-not-started", "The campaign has not started yet.", starts_at=terms.starts_at
        )
    if ended or now >= terms.ends_at:
        raise Refused("campaign-ended", "The campaign is over; order at the normal price.")


def check_channel(terms: Terms, channel: str) -> None:
    """Raise ``wrong-channel`` if this channel may not sell it."""
    if terms.channels and channel not in terms.channels:
        raise Refused("wrong-channel", f"This campaign is not sold through {channel}.")


def sold_out(terms: Terms, available: int) -> bool:
    """Whether nothing can be ordered any more, for now."""
    return available <= (terms.group.buffer if terms.group else 0)


def remaining_of(terms: Terms, available: int) -> int:
    """Units that can be ordered now."""
    return max(0, available - (terms.group.buffer if terms.group else 0))


def _check_limit(state: CampaignState, command: Claim) -> None:
    limit = state.terms.limit_per_customer
    bought = state.bought.get(command.customer_id) or 0
    if limit and bought + command.quantity > limit:
        raise Refused(
            "customer-limit",
            f"One customer may buy {limit} unit(s) in this campaign; {bought} are bought or being "
            "paid for.",
            limit=limit,
            left=max(0, limit - bought),
        )


def _group_to_join(
    state: CampaignState, command: Claim, campaign_id: str, now: float
) -> Group | None:
    """The group asked for; None to open one."""
    if not command.group_id:
        return None
    group = state.groups.get(command.group_id)
    if group is None and not _was_opened(state, campaign_id, command.group_id):
        raise Refused("unknown-group", f"There is no group {command.group_id} here.")
    try:
        return _joinable(state, command, group, now)
    except Refused:
        rule = state.terms.group
        if not command.late or rule is None or rule.late != "head_of_new_group":
            raise
        return None


def _was_opened(state: CampaignState, campaign_id: str, group_id: str) -> bool:
    name, _, number = group_id.rpartition(":")
    return name == campaign_id and number.isdecimal() and 1 <= int(number) <= state.number


def _joinable(state: CampaignState, command: Claim, group: Group | None, now: float) -> Group:
    if group is None or now >= group.closes_at:
        raise Refused("group-closed", "This group takes no more members; join or open another.")
    if any(
        state.seats[name].customer_id == command.customer_id
        for name in state.members[command.group_id]
    ):
        raise Refused("already-member", "This customer has a seat in the group.")
    if len(state.members[command.group_id]) >= capacity(state.terms):
        raise Refused("group-full", "Every seat is taken; join or open another group.")
    return group


# Paying, giving back ----------------------------------------------------------------------------


def check_pay(state: CampaignState, claim_id: str) -> None:
    """Raise ``seat-gone``, or ``campaign-sold-out`` if formed groups have used the quota up."""
    seat = state.seats.get(claim_id)
    if seat is None:
        raise _seat_gone()
    if not holds_units(state.terms) and sold_out(state.terms, state.tally.available):
        raise _sold_out(state.terms)


def confirm(
    state: CampaignState, command: Confirm, now: float
) -> tuple[list[CampaignEvent], tuple[Share, ...]]:
    """The claim is paid; the group may form by it, or fail if it only waited for this one: then
    also what goes back to which store. Raises ``seat-gone``."""
    claim_id = command.claim_id
    seat = state.seats.get(claim_id)
    if seat is None:
        known = state.settled_seat(claim_id)
        if known is None or known.outcome == "failed":
            raise _seat_gone()
        return [], ()
    if seat.paid:
        return [], ()
    ahead = _ahead(state)
    quota.pay(ahead, state.terms, seat.parts)
    confirmed = Confirmed(claim_id, seat.order_id, seat.group_id, ahead.after(), now)
    group = state.groups.get(seat.group_id)
    if group is None:
        return [confirmed], ()
    members = group.paid + 1
    full = members >= capacity(state.terms)
    if full or (now >= group.closes_at and members == len(state.members[seat.group_id])):
        paid, unpaid = _members(state, seat.group_id, now_paid=claim_id)
        outcome = _outcome(state, seat.group_id, paid, unpaid, ahead, now)
        return [confirmed, outcome], ahead.returned()
    return [confirmed], ()


def unclaim(
    state: CampaignState, command: Unclaim, now: float
) -> tuple[list[CampaignEvent], tuple[Share, ...]]:
    """Units and seat are free; what goes back to which store. Nothing happens to a claim that is
    gone. A group that has nobody left, or that only waited for this one, is decided."""
    claim_id = command.claim_id
    seat = state.seats.get(claim_id)
    settled = seat is None
    if seat is None:
        seat = state.settled_seat(claim_id)
        if seat is None or seat.outcome == "failed":
            return [], ()
    if command.asked_at and seat.asked_at > command.asked_at:
        return [], ()  # it means an earlier claim of the same wish, given back before
    ahead = _ahead(state)
    quota.free(ahead, state.terms, seat.parts, paid=seat.paid, settled=settled, ended=state.ended)
    group = None if settled else state.groups.get(seat.group_id)
    group_id = "" if group is None else seat.group_id
    freed: list[CampaignEvent] = [
        Unclaimed(
            claim_id, seat.order_id, command.reason, ahead.after(), now, group_id,
            group is not None and seat.paid,
        )
    ]  # fmt: skip
    if group is not None:
        others = len(state.members[group_id]) - 1
        if not others or (now >= group.closes_at and group.paid - seat.paid == others):
            paid, unpaid = _members(state, group_id, gone=claim_id)
            freed.append(_outcome(state, seat.group_id, paid, unpaid, ahead, now))
    return freed, ahead.returned()


def reassign(state: CampaignState, command: Reassign, now: float) -> tuple[Reassigned, bool]:
    """Units of another store for a sold part; whether that is new. Raises ``Refused``:
    ``seat-gone`` (the part has ended, or was sold too long ago), ``campaign-out-of-reach``."""
    seat = _bought(state, command.claim_id)
    known = None if seat is None else seat.units_for(command.fulfilment_id)
    if seat is None or (known is not None and not known.units):
        raise _seat_gone()
    ahead = _ahead(state)
    if known is not None:
        return _reassigned(command, known, ahead, now), False
    for store_id in command.stores:
        shelf = state.shelves.get(store_id)
        if shelf is not None and shelf.available - shelf.wanted >= command.units:
            share = Share(store_id, command.units)
            quota.reassign(ahead, share)
            return _reassigned(command, share, ahead, now), True
    raise Refused("campaign-out-of-reach", "No other store of the campaign has so many units left.")


def _reassigned(command: Reassign, share: Share, ahead: Ahead, now: float) -> Reassigned:
    return Reassigned(command.claim_id, command.fulfilment_id, share, ahead.after(), now)


def unassign(
    state: CampaignState, command: Unassign, now: float
) -> tuple[list[CampaignEvent], tuple[Share, ...]]:
    """The part gets nothing from now on; what it had been given goes back, and to which store."""
    seat = _bought(state, command.claim_id)
    known = None if seat is None else seat.units_for(command.fulfilment_id)
    if seat is None or (known is not None and not known.units):
        return [], ()
    ahead = _ahead(state)
    if known is not None:
        quota.unassign(ahead, known, ended=state.ended)
    event = Unassigned(command.claim_id, command.fulfilment_id, ahead.after(), now)
    return [event], ahead.returned()


def _bought(state: CampaignState, claim_id: str) -> Seat | None:
    seat = state.settled_seat(claim_id)
    return None if seat is None or seat.outcome == "failed" else seat


# Groups -----------------------------------------------------------------------------------------


def due_group(state: CampaignState, now: float) -> str | None:
    """A group whose time is over, one at a time."""
    for timer in state.timers[:1]:
        if timer.at <= now and timer.kind == "group":
            return timer.id
    return None


def close_group(
    state: CampaignState, group_id: str, now: float
) -> tuple[list[CampaignEvent], tuple[Share, ...]]:
    """The group's time is over: wait for payments under way, or decide."""
    group = state.groups[group_id]
    paid, unpaid = _members(state, group_id)
    until = group.closes_at + CLOSE_GRACE_S
    if unpaid and now < until:
        return [GroupClosing(group_id, until)], ()
    ahead = _ahead(state)
    return [_outcome(state, group_id, paid, unpaid, ahead, now)], ahead.returned()


def _members(
    state: CampaignState, group_id: str, *, now_paid: str = "", gone: str = ""
) -> tuple[list[str], list[str]]:
    """The group's paid claims and its unpaid ones, one of them paid just now or given back."""
    paid: list[str] = []
    unpaid: list[str] = []
    for name in state.members[group_id]:
        if name != gone:
            settled = name == now_paid or state.seats[name].paid
            (paid if settled else unpaid).append(name)
    return paid, unpaid


def _outcome(
    state: CampaignState,
    group_id: str,
    paid: Sequence[str],
    unpaid: Sequence[str],
    ahead: Ahead,
    now: float,
) -> GroupFormed | GroupFailed:
    """Formed or failed; ``ahead`` holds the quota so far and gets what follows."""
    terms = state.terms
    orders = tuple([state.seats[name].order_id for name in paid])
    reason, places = "", None
    if terms.group is None or len(paid) < terms.group.size:
        reason = "too-few-members" if paid or unpaid else "nobody-left"
    elif (places := find_places(state, paid)) is None:
        reason = "sold-out"
    parts = {name: state.seats[name].parts for name in paid}
    moved = [
        Moved(name, store_id)
        for name, store_id in (places or {}).items()
        if parts[name][0].store_id != store_id
    ]
    moves = [(parts[one.claim_id][0], one.store_id) for one in moved]
    # As ``evolve`` does it. Of a campaign that has ended, what is freed is given back at once: by
    # then everybody must be known to want what they will take.
    quota.move(ahead, moves, ended=state.ended)
    for name in unpaid:
        _free(state, name, ahead, paid=False)
    if reason:
        for name in paid:
            _free(state, name, ahead, paid=True)
        return GroupFailed(group_id, orders, reason, ahead.after(), now)
    parts |= {
        one.claim_id: (Share(store_id, part.units),)
        for one, (part, store_id) in zip(moved, moves, strict=True)
    }
    for taken in parts.values():
        quota.take(ahead, terms, taken)
    price = price_of(terms, len(paid))
    return GroupFormed(group_id, orders, price, ahead.after(), now, tuple(moved))


def _free(state: CampaignState, claim_id: str, ahead: Ahead, *, paid: bool) -> None:
    parts = state.seats[claim_id].parts
    quota.free(ahead, state.terms, parts, paid=paid, settled=False, ended=state.ended)


# End --------------------------------------------------------------------------------------------


def end(state: CampaignState, by: str, why: str, now: float) -> Ended | None:
    """No more orders; units that nobody holds go back. None if it has ended before."""
    if state.ended:
        return None
    ahead = _ahead(state)
    quota.end(ahead, state.shelves)
    return Ended(by, why, ahead.returned(), ahead.after(), now)


def due_claims(state: CampaignState, now: float) -> ClaimsAsked | None:
    """Claims whose orders have been silent for too long, the longest first, at most ``ASKED_MAX``;
    there is one whenever the heap's top is one, for that is always live."""
    overdue: dict[str, None] = {}
    for timer in islice(due(state.timers, now), TIMERS_SEEN_MAX):
        if timer.kind == "claim" and due_entry(state, timer):
            overdue[timer.id] = None
            if len(overdue) == ASKED_MAX:
                break
    return ClaimsAsked(tuple(overdue), now + ASK_AGAIN_S) if overdue else None


# Small helpers ----------------------------------------------------------------------------------


def claimed_again(seat: Seat, claim_id: str, after: After, now: float) -> Claimed:
    """The answer to a repeated ``Claim``."""
    return Claimed(
        claim_id, seat.order_id, seat.customer_id, seat.parts, seat.group_id, seat.expires_at,
        after, now,
    )  # fmt: skip


def _ahead(state: CampaignState) -> Ahead:
    return Ahead(state.shelves, state.tally)


def _sold_out(terms: Terms) -> Refused:
    return Refused(
        "campaign-sold-out",
        "Sold out for now. Units of unpaid orders come back: watch the campaign.",
        sku=terms.sku,
    )


def _seat_gone() -> Refused:
    return Refused("seat-gone", "This order's units and seat are no longer held for it.")
