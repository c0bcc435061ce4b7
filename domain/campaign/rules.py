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

from collections import deque
from collections.abc import Sequence

from domain.campaign import quota
from domain.campaign.commands import (
    FLASH_SALE,
    GROUP_BUY,
    Claim,
    Confirm,
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
from domain.campaign.quota import Ahead, holds_units
from domain.campaign.state import (
    CampaignEvent,
    CampaignState,
    Group,
    Seat,
    capacity,
    due_entry,
)
from domain.campaign.views import CampaignView, GroupView, QuotaView, Seating
from domain.catalogue.model import Component
from domain.errors import Refused
from domain.waiting.rules import check_rule

__all__ = [
    "ASKED_MAX", "ASK_AGAIN_S", "CLOSE_GRACE_S", "PLACES_MAX", "check_channel", "check_pay",
    "check_terms", "check_window", "claim", "claimed_again", "close_group", "confirm",
    "due_claims", "due_group", "end", "groups", "opened", "quota_set", "reassign", "remaining_of",
    "seating", "sold_out", "store_of", "unassign", "unclaim", "view",
]  # fmt: skip

ASK_AGAIN_S = 300.0
"""A claim still wanted, or whose order did not answer, is asked about again so much later."""
ASKED_MAX = 256
"""Most orders asked at one wake-up; the rest follow at the next, which comes at once."""
CLOSE_GRACE_S = 30.0
"""Payments under way when a group's time is over are waited for so long."""
PLACES_MAX = 1_000
"""Most stores and most members of a group."""
UNITS_MAX = 10_000_000
SEARCH_STEPS_MAX = 20_000
"""Bound of the search for a forming group's stores, in places looked at (some 5 ms). Beyond it a
group may fail that could have been served."""


# Opening ----------------------------------------------------------------------------------------


def check_terms(terms: Terms, now: float) -> None:
    """Raise ``Refused`` with ``wrong-terms`` (and ``field``) for what cannot be a campaign."""
    if terms.kind not in (FLASH_SALE, GROUP_BUY):
        raise _wrong("kind", "The kind is `flash_sale` or `group_buy`.")
    if terms.price < 0:
        raise _wrong("price", "The price is 0 minor units or more.")
    if not terms.starts_at < terms.ends_at or terms.ends_at <= now:
        raise _wrong("ends_at", "The campaign ends after it has started, and not in the past.")
    stores = [share.store_id for share in terms.quota]
    if not 1 <= len(stores) <= PLACES_MAX or len(set(stores)) != len(stores) or "" in stores:
        raise _wrong("quota", f"Name 1 to {PLACES_MAX} stores, each once.")
    if not all(1 <= share.units <= UNITS_MAX for share in terms.quota):
        raise _wrong("quota", f"Ask each store for 1 to {UNITS_MAX} units.")
    if terms.limit_per_customer < 0:
        raise _wrong("limit_per_customer", "The limit is 1 or more, or 0 for none.")
    if not 1 <= terms.pay_s <= 86_400:
        raise _wrong("pay_s", "Leave 1 second to one day for paying.")
    if terms.issuer not in ("platform", "store"):
        raise _wrong("issuer", "The discount is borne by the `platform` or the `store`.")
    if (terms.group is None) != (terms.kind == FLASH_SALE):
        raise _wrong("group", "A group-buy has a group rule, a flash sale has none.")
    if terms.queue is not None and (wrong := check_rule(terms.queue)):
        raise _wrong("queue", wrong)
    _check_group(terms)


def _check_group(terms: Terms) -> None:
    rule = terms.group
    if rule is None:
        return
    if rule.kind not in ("normal", "newcomers", "ladder"):
        raise _wrong("group.kind", "The kind is `normal`, `newcomers` or `ladder`.")
    if not 2 <= rule.size <= PLACES_MAX:
        raise _wrong("group.size", f"A group needs 2 to {PLACES_MAX} members.")
    if not 1 <= rule.open_s <= 90 * 86_400:
        raise _wrong("group.open_s", "A group stays open for 1 second to 90 days.")
    if rule.stock not in ("on_payment", "on_formation"):
        raise _wrong("group.stock", "Units leave `on_payment` or `on_formation`.")
    if rule.late not in ("refund", "head_of_new_group"):
        raise _wrong("group.late", "A late payer gets the `refund`, or is `head_of_new_group`.")
    if rule.buffer < 0 or (rule.buffer and rule.stock == "on_payment"):
        raise _wrong("group.buffer", "A buffer of 0 or more units goes with `on_formation`.")
    if (rule.kind == "ladder") != bool(rule.steps):
        raise _wrong("group.steps", "A ladder has steps, other groups have none.")
    units = sum(share.units for share in terms.quota)
    if rule.size > units:
        raise _wrong("group.size", f"No group of {rule.size} can form of {units} unit(s).")
    if rule.buffer >= units:
        raise _wrong("group.buffer", f"The buffer leaves nothing to order of {units} unit(s).")
    before, price = rule.size - 1, terms.price
    for step in rule.steps:
        if not (before < step.members <= PLACES_MAX and 0 <= step.price <= price):
            raise _wrong(
                "group.steps",
                "Members rise from the group's size on, prices fall from the campaign's.",
            )
        before, price = step.members, step.price


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
            closes_at = min(now + terms.group.open_s, terms.ends_at)
            events.append(GroupOpened(group_id, command.order_id, closes_at, now))
        else:
            group_id, closes_at = command.group_id, group.closes_at
    if sold_out(terms, state.tally.available):
        raise _sold_out(terms)
    parts = _allocate(state, command)
    ahead = _ahead(state)
    quota.hold(ahead, terms, parts)
    events.append(
        Claimed(
            command.claim_id, command.order_id, command.customer_id, parts, group_id,
            min(now + terms.pay_s, closes_at), ahead.after(), now,
            () if holds_units(terms) else _stores(state, command), command.asked_at,
        )
    )  # fmt: skip
    return events


def _stores(state: CampaignState, command: Claim) -> tuple[str, ...]:
    """Those of the campaign that can serve the claim, the preferred first."""
    return tuple([store_id for store_id in command.stores if store_id in state.shelves])


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
    bought = state.bought.get(command.customer_id, 0)
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
    if any(state.seats[name].customer_id == command.customer_id for name in group.claims):
        raise Refused("already-member", "This customer has a seat in the group.")
    if len(group.claims) >= capacity(state.terms):
        raise Refused("group-full", "Every seat is taken; join or open another group.")
    return group


def _allocate(state: CampaignState, command: Claim) -> tuple[Share, ...]:
    """The preferred store that has all; of a flash sale else a split (Routing, rules 2 and 3)."""
    quantity, shelves = command.quantity, state.shelves
    stores = _stores(state, command)
    holds = holds_units(state.terms)
    for store_id in stores:
        shelf = shelves[store_id]
        if (shelf.available if holds else shelf.available - shelf.wanted) >= quantity:
            return (Share(store_id, quantity),)
    if not holds:  # groups compete: whichever forms first gets the units
        for store_id in stores:
            if shelves[store_id].available >= quantity:
                return (Share(store_id, quantity),)
    parts = _split(state, command, stores) if state.terms.group is None else ()
    if not parts:
        raise Refused(
            "campaign-out-of-reach",
            "The campaign's stores that serve this customer have not so many units left, or only "
            "in more parts than an order may have. Order fewer.",
            available=sum(shelves[store_id].available for store_id in stores),
        )
    return parts


def _split(state: CampaignState, command: Claim, stores: Sequence[str]) -> tuple[Share, ...]:
    """The fewest stores of the first tiers in which that is possible, the fullest first; empty if
    there is no way."""
    tiers = dict(zip(command.stores, command.tiers, strict=False))
    fullest = sorted(stores, key=lambda store_id: -state.shelves[store_id].available)
    for tier in sorted({tiers.get(store_id, 0) for store_id in stores}):
        units = {
            store_id: state.shelves[store_id].available
            for store_id in fullest
            if tiers.get(store_id, 0) <= tier
        }
        for count in range(2, min(command.splits_max, len(units)) + 1):
            parts = _shared(command, list(units.items())[:count])
            if parts:
                return parts
    return ()


def _shared(command: Claim, chosen: Sequence[tuple[str, int]]) -> tuple[Share, ...]:
    """The quantity over exactly these stores, with ``part_min`` at each; empty: impossible."""
    least = command.part_min
    left = command.quantity - least * len(chosen)
    if left < 0 or any(units < least for _, units in chosen):
        return ()
    parts = []
    for store_id, units in chosen:
        more = min(left, units - least)
        left -= more
        parts.append(Share(store_id, least + more))
    return () if left else tuple(parts)


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
    paid = [name for name in group.claims if state.seats[name].paid or name == claim_id]
    unpaid = [name for name in group.claims if name not in paid]
    full = len(paid) >= capacity(state.terms)
    if full or (now >= group.closes_at and not unpaid):
        outcome = _outcome(state, seat.group_id, paid, unpaid, ahead, now)
        return [confirmed, outcome], ahead.returned()
    return [confirmed], ()


def seating(state: CampaignState, claim_id: str, events: Sequence[CampaignEvent]) -> Seating:
    """What became of a confirmed claim, ``events`` not yet applied."""
    for event in reversed(events):
        if isinstance(event, GroupFormed):
            store_id = store_of(state, event, claim_id)
            return Seating("formed", event.group_id, event.price, store_id)
        if isinstance(event, GroupFailed):
            return Seating("failed", event.group_id)
        if isinstance(event, Confirmed) and not event.group_id:
            return Seating("sold", "", state.terms.price)
    seat = state.seats.get(claim_id)
    if seat is not None:
        return Seating("waiting", seat.group_id, state.terms.price)
    settled = state.settled_seat(claim_id)
    assert settled is not None
    store_id = settled.parts[0].store_id if settled.stores else ""
    return Seating(settled.outcome, settled.group_id, settled.price, store_id)


def store_of(state: CampaignState, formed: GroupFormed, claim_id: str) -> str:
    """Which store serves a seat of a group that forms now; empty: that was never open."""
    seat = state.seats[claim_id]
    for moved in formed.moved:
        if moved.claim_id == claim_id:
            return moved.store_id
    return seat.parts[0].store_id if seat.stores else ""


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
    freed: list[CampaignEvent] = [
        Unclaimed(claim_id, seat.order_id, command.reason, ahead.after(), now)
    ]
    group = state.groups.get(seat.group_id)
    if group is not None and not settled:
        others = [name for name in group.claims if name != claim_id]
        paid = [name for name in others if state.seats[name].paid]
        unpaid = [name for name in others if not state.seats[name].paid]
        if not others or (now >= group.closes_at and not unpaid):
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
    for at, what in state.timers[:1]:
        if at <= now and what.startswith("group "):
            return what.removeprefix("group ")
    return None


def close_group(
    state: CampaignState, group_id: str, now: float
) -> tuple[list[CampaignEvent], tuple[Share, ...]]:
    """The group's time is over: wait for payments under way, or decide."""
    group = state.groups[group_id]
    paid = [name for name in group.claims if state.seats[name].paid]
    unpaid = [name for name in group.claims if not state.seats[name].paid]
    until = group.closes_at + CLOSE_GRACE_S
    if unpaid and now < until:
        return [GroupClosing(group_id, until)], ()
    ahead = _ahead(state)
    return [_outcome(state, group_id, paid, unpaid, ahead, now)], ahead.returned()


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
    elif (places := _places(state, paid)) is None:
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
    price = _price(terms, len(paid))
    return GroupFormed(group_id, orders, price, ahead.after(), now, tuple(moved))


def _places(state: CampaignState, paid: Sequence[str]) -> dict[str, str] | None:
    """Which store each member's units come from, where that is open until a group forms: its own
    if that still has them, else another that can serve it. None: there are not enough.

    Exact for members who want as many units each. Else the larger wishes choose first, and a way to
    serve all may be missed.
    """
    if holds_units(state.terms):
        return {}
    search = _Places(state)
    largest_first = sorted(paid, key=lambda name: -state.seats[name].parts[0].units)
    for name in largest_first:
        if not search.stay(name) and not search.find(name):
            return None
    return search.at


class _Places:
    """A search for stores: members who have a place make room for others where they can be served
    elsewhere."""

    def __init__(self, state: CampaignState) -> None:
        self._seats = state.seats
        self._left = {name: shelf.available for name, shelf in state.shelves.items()}
        self._steps = SEARCH_STEPS_MAX
        self.at: dict[str, str] = {}

    def stay(self, name: str) -> bool:
        """Take the units where the seat was claimed, if they are there."""
        return self._put(name, self._seats[name].parts[0].store_id)

    def find(self, name: str) -> bool:
        """Take them at any other store; else look, breadth first, for the shortest chain of members
        of whom each takes the place of the next, and the last one a free place."""
        wants = dict.fromkeys(self._seats[name].stores, name)
        if any(self._put(name, store_id) for store_id in wants):
            return True
        queue = deque(wants)
        while queue and self._steps > 0:
            store_id = queue.popleft()
            units = self._units(wants[store_id])
            for other in [one for one, at in self.at.items() if at == store_id]:
                self._steps -= len(self._seats[other].stores)
                if self._units(other) < units:
                    continue
                for to in self._seats[other].stores:
                    if to not in wants:
                        if self._left[to] >= self._units(other):
                            self._shift(other, to)
                            self._close(name, store_id, wants)
                            return True
                        wants[to] = other
                        queue.append(to)
        return False

    def _close(self, name: str, free: str, wants: dict[str, str]) -> None:
        """A member has left ``free``: who wanted it moves there, and so on up to ``name``."""
        while True:
            mover = wants[free]
            origin = self.at.get(mover, "")
            self._shift(mover, free)
            if mover == name:
                return
            free = origin

    def _shift(self, name: str, store_id: str) -> None:
        units = self._units(name)
        if name in self.at:
            self._left[self.at[name]] += units
        self._left[store_id] -= units
        self.at[name] = store_id

    def _put(self, name: str, store_id: str) -> bool:
        enough = self._left[store_id] >= self._units(name)
        if enough:
            self._shift(name, store_id)
        return enough

    def _units(self, name: str) -> int:
        return self._seats[name].parts[0].units


def _free(state: CampaignState, claim_id: str, ahead: Ahead, *, paid: bool) -> None:
    parts = state.seats[claim_id].parts
    quota.free(ahead, state.terms, parts, paid=paid, settled=False, ended=state.ended)


def _price(terms: Terms, members: int) -> int:
    """What a unit costs in a group of so many."""
    price = terms.price
    for step in terms.group.steps if terms.group else ():
        if members >= step.members:
            price = step.price
    return price


# End --------------------------------------------------------------------------------------------


def end(state: CampaignState, by: str, why: str, now: float) -> list[CampaignEvent]:
    """No more orders; units that nobody holds go back. Repeating it changes nothing."""
    if state.ended:
        return []
    ahead = _ahead(state)
    quota.end(ahead, state.shelves)
    return [Ended(by, why, ahead.returned(), ahead.after(), now)]


def due_claims(state: CampaignState, now: float) -> ClaimsAsked | None:
    """Claims whose orders have been silent for too long, at most ``ASKED_MAX``."""
    overdue = [
        what.removeprefix("claim ")
        for at, what in state.timers
        if at <= now and what.startswith("claim ") and due_entry(state, (at, what))
    ]
    if not overdue:
        return None
    return ClaimsAsked(tuple(sorted(set(overdue))[:ASKED_MAX]), now + ASK_AGAIN_S)


# Views ------------------------------------------------------------------------------------------


def view(state: CampaignState, campaign_id: str, now: float) -> CampaignView:
    """The campaign as it stands."""
    terms = state.terms
    phase = "running"
    if state.ended or now >= terms.ends_at:
        phase = "ended"
    elif not all(shelf.answered for shelf in state.shelves.values()):
        phase = "preparing"
    elif now < terms.starts_at:
        phase = "scheduled"
    return CampaignView(
        campaign_id,
        terms,
        phase,
        state.list_price,
        0 if phase == "ended" else remaining_of(terms, state.tally.available),
        state.tally,
        tuple(
            QuotaView(
                store_id, shelf.asked, shelf.set_aside, shelf.available, shelf.held, shelf.sold,
                shelf.returned, shelf.problem,
            )
            for store_id, shelf in state.shelves.items()
        ),
        len(state.groups),
        state.formed,
        state.failed,
    )  # fmt: skip


def groups(
    state: CampaignState, near_completion: int, limit: int, now: float
) -> tuple[GroupView, ...]:
    """Groups with a free seat, the nearest to completion first, then the first to close."""
    terms = state.terms
    if terms.group is None or state.ended or sold_out(terms, state.tally.available):
        return ()
    seats, size = capacity(terms), terms.group.size
    found = []
    for group_id, group in state.groups.items():
        free = seats - len(group.claims)
        missing = max(0, size - group.paid)
        if free <= 0 or now >= group.closes_at:
            continue
        if near_completion and missing > near_completion:
            continue
        found.append(
            GroupView(
                group_id, size, group.paid, len(group.claims) - group.paid, missing, free,
                _price(terms, group.paid), group.opened_at, group.closes_at,
            )
        )  # fmt: skip
    found.sort(key=lambda group: (group.missing, group.closes_at, group.group_id))
    return tuple(found[:limit])


# Small helpers ----------------------------------------------------------------------------------


def claimed_again(seat: Seat, claim_id: str, after: After, now: float) -> Claimed:
    """The answer to a repeated ``Claim``."""
    return Claimed(
        claim_id, seat.order_id, seat.customer_id, seat.parts, seat.group_id, seat.expires_at,
        after, now,
    )  # fmt: skip


def _ahead(state: CampaignState) -> Ahead:
    return Ahead(state.shelves, state.tally)


def _wrong(field: str, detail: str) -> Refused:
    return Refused("wrong-terms", detail, field=field)


def _sold_out(terms: Terms) -> Refused:
    return Refused(
        "campaign-sold-out",
        "Sold out for now. Units of unpaid orders come back: watch the campaign.",
        sku=terms.sku,
    )


def _seat_gone() -> Refused:
    return Refused("seat-gone", "This order's units and seat are no longer held for it.")
