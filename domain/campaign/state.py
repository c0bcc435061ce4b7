"""One campaign as it stands: its quota per store, seats, groups, and what each customer took.

``evolve`` changes it in place, in constant time for a claim. A settled seat is remembered for a
day, so that a repeated message finds what became of it. What may have tens of thousands of entries
is kept in parts (:func:`parts_of`), and what follows from them (timers, who is in a group) is not
stored at all.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, TypeAlias, assert_never

from msgspec import Struct, field
from msgspec.msgpack import Decoder
from msgspec.structs import replace

from domain.campaign import quota
from domain.campaign.commands import Share, Terms
from domain.campaign.events import (
    Claimed,
    ClaimKept,
    ClaimsAsked,
    Confirmed,
    Ended,
    GroupClosing,
    GroupFailed,
    GroupFormed,
    GroupOpened,
    Opened,
    QuotaRefused,
    QuotaSet,
    Reassigned,
    Tally,
    Unassigned,
    Unclaimed,
)
from domain.campaign.order_filter import OrderFilter, expecting
from domain.campaign.quota import Shelf
from domain.campaign.timers import Timer
from domain.catalogue.model import Component
from domain.history import History, Page, entries, recall, remember
from domain.parts import Leaf, Paged

__all__ = [
    "ASK_GRACE_S", "PART_TYPES", "CampaignEvent", "CampaignState", "Group", "Seat", "capacity",
    "due_entry", "evolve", "parts_of", "price_of", "units_of",
]  # fmt: skip

ASK_GRACE_S = 30.0
"""An order gives an unpaid claim back by itself; it is asked only if it has not by then."""
SETTLED_S = 86_400.0
"""Settled seats are remembered for at least so long ..."""
SETTLED_PAGES = 400
"""... unless more than so many pages of them came since."""

CampaignEvent: TypeAlias = (
    Opened | QuotaSet | QuotaRefused | GroupOpened | Claimed | Confirmed | Unclaimed | ClaimsAsked
    | ClaimKept | GroupClosing | GroupFormed | GroupFailed | Reassigned | Unassigned | Ended
)  # fmt: skip


class Seat(Struct, array_like=True, gc=False):
    """One order's claim. ``outcome`` once settled: ``sold | formed``, or ``failed``: its group did,
    or the order gave its units back."""

    order_id: str
    customer_id: str
    parts: tuple[Share, ...]
    group_id: str
    ask_at: float
    expires_at: float
    paid: bool = False
    outcome: str = ""
    price: int = 0
    stores: tuple[str, ...] = ()
    """Where its units may come from when its group forms; empty if that was decided before."""
    asked_at: float = 0.0
    reassigned: tuple[tuple[str, Share], ...] = ()
    """What sold parts, by fulfilment, got of another store; no units: they get none any more."""

    def units_for(self, fulfilment_id: str) -> Share | None:
        """What a part was reassigned; None: nothing was decided about it."""
        return next((share for name, share in self.reassigned if name == fulfilment_id), None)


class Group(Struct, array_like=True, gc=False):
    """An open group. ``CampaignState.members`` holds its seats, ``paid`` of them are paid."""

    opened_at: float
    closes_at: float
    wake_at: float
    paid: int = 0


class CampaignState(Struct, array_like=True, dict=True):
    """One campaign. Beside its fields it has what follows from them, which is not stored:
    ``timers``, ``claims`` and ``members`` (see :meth:`rejoin`)."""

    terms: Terms
    stock: tuple[Component, ...]
    list_price: int
    shelves: dict[str, Shelf]
    tally: Tally = Tally()
    seats: Paged[Seat] = field(default_factory=Paged)
    """By claim id: unpaid ones, and paid ones whose group is open."""
    settled: History[Seat] = field(default_factory=History)
    bought: Paged[int] = field(default_factory=Paged)
    """Customer -> units claimed or bought over the whole campaign."""
    groups: Paged[Group] = field(default_factory=Paged)
    formed: int = 0
    """Groups that formed ..."""
    failed: int = 0
    """... and that did not."""
    number: int = 0
    """Groups opened so far; their ids end in 1 to this."""
    ended: bool = False
    ended_at: float = 0.0
    buyers: OrderFilter = field(default_factory=OrderFilter)
    """Orders that bought: ``settled`` forgets them sooner than they are asked about."""

    def __post_init__(self) -> None:
        self.rejoin()

    def rejoin(self) -> None:
        """Work out what follows from the parts, once they are there."""
        for pages in (self.seats, self.bought, self.groups):
            pages.reindex()
        self.timers = [] if self.ended else [Timer(self.terms.ends_at, "end")]
        """A heap. Entries that no longer hold stay until they come to the top, which is always
        live."""
        self.claims: dict[str, str] = {}
        """Order -> the claim by which it has an unpaid one of ``seats``."""
        self.members: dict[str, list[str]] = {}
        """Open group -> the claims that hold its seats, in the order they came."""
        for group_id, group in self.groups.items():
            self.members[group_id] = []
            self.timers.append(Timer(group.wake_at, "group", group_id))
        for claim_id, seat in self.seats.items():
            if seat.group_id in self.members:
                self.members[seat.group_id].append(claim_id)
            if not seat.paid:
                self.claims[seat.order_id] = claim_id
                self.timers.append(Timer(seat.ask_at, "claim", claim_id))
        heapify(self.timers)

    def settled_seat(self, claim_id: str, since: float = 0.0) -> Seat | None:
        """A settled seat that is still remembered; ``since``: only if it was settled after that."""
        return recall(self.settled, claim_id, _seats, since)

    def settled_seats(self) -> Iterator[Seat]:
        """All of them."""
        return entries(self.settled, _seats)


_seats: Decoder[list[Seat]] = Decoder(list[Seat])


# Parts ------------------------------------------------------------------------------------------


def parts_of(state: CampaignState) -> tuple[Paged[Seat], History[Seat], Paged[int], Paged[Group]]:
    """What is stored in parts; of the same types as in :data:`PART_TYPES`."""
    return state.seats, state.settled, state.bought, state.groups


PART_TYPES = (Leaf[Seat], Page, Leaf[int], Leaf[Group])


# Evolving ---------------------------------------------------------------------------------------


def capacity(terms: Terms) -> int:
    """The most members a group takes."""
    rule = terms.group
    if rule is None:
        return 0
    return rule.steps[-1].members if rule.steps else rule.size


def price_of(terms: Terms, members: int) -> int:
    """What a unit costs in a group of so many."""
    price = terms.price
    for step in terms.group.steps if terms.group else ():
        if members >= step.members:
            price = step.price
    return price


def units_of(parts: Iterable[Share]) -> int:
    """All units of a claim."""
    return sum([part.units for part in parts])


def evolve(state: CampaignState | None, event: CampaignEvent) -> CampaignState:
    """The state after ``event``; changes ``state`` in place."""
    if state is None:
        assert isinstance(event, Opened)
        return _opened(event)
    _APPLY[type(event)](state, event)
    return state


def due_entry(state: CampaignState, timer: Timer) -> bool:
    """Whether a timer still holds."""
    match timer.kind:
        case "claim":
            seat = state.seats.get(timer.id)
            return seat is not None and not seat.paid and seat.ask_at == timer.at
        case "group":
            group = state.groups.get(timer.id)
            return group is not None and group.wake_at == timer.at
        case "end":
            return not state.ended
        case _:
            assert_never(timer.kind)


def _opened(event: Opened) -> CampaignState:
    terms = event.terms
    return CampaignState(
        terms,
        event.stock,
        event.list_price,
        {share.store_id: Shelf(share.units) for share in terms.quota},
        buyers=expecting(terms),
    )


def _quota_set(state: CampaignState, event: QuotaSet) -> None:
    quota.fill(state.shelves, event.store_id, event.units, state.ended)
    state.tally = event.after.tally


def _quota_refused(state: CampaignState, event: QuotaRefused) -> None:
    shelf = state.shelves[event.store_id]
    shelf.answered, shelf.problem = True, event.code


def _group_opened(state: CampaignState, event: GroupOpened) -> None:
    state.number += 1
    state.groups[event.group_id] = Group(event.at, event.closes_at, event.closes_at)
    state.members[event.group_id] = []
    heappush(state.timers, Timer(event.closes_at, "group", event.group_id))


def _claimed(state: CampaignState, event: Claimed) -> None:
    ask_at = event.expires_at + ASK_GRACE_S
    state.seats[event.claim_id] = Seat(
        event.order_id, event.customer_id, event.parts, event.group_id, ask_at, event.expires_at,
        stores=event.stores, asked_at=event.asked_at,
    )  # fmt: skip
    state.claims[event.order_id] = event.claim_id
    units = units_of(event.parts)
    state.bought[event.customer_id] = (state.bought.get(event.customer_id) or 0) + units
    quota.hold(state.shelves, state.terms, event.parts)
    if event.group_id:
        state.members[event.group_id].append(event.claim_id)
    state.tally = event.after.tally
    heappush(state.timers, Timer(ask_at, "claim", event.claim_id))


def _confirmed(state: CampaignState, event: Confirmed) -> None:
    seat = state.seats.edit(event.claim_id)
    seat.paid = True
    quota.pay(state.shelves, state.terms, seat.parts)
    state.tally = event.after.tally
    if seat.group_id:
        state.groups.edit(seat.group_id).paid += 1
        _no_more_unpaid(state, seat.order_id, event.claim_id)
    else:
        _settle(state, event.claim_id, "sold", state.terms.price, event.at)
    _tidy(state)


def _unclaimed(state: CampaignState, event: Unclaimed) -> None:
    if event.claim_id not in state.seats:
        seat = state.settled_seat(event.claim_id)
        assert seat is not None, event.claim_id
        _free(state, seat, settled=True)
        _remember(state, event.claim_id, replace(seat, outcome="failed"), event.at)
    else:
        seat = _leave(state, event.claim_id)
        if seat.group_id in state.groups:
            state.members[seat.group_id].remove(event.claim_id)
            if seat.paid:
                state.groups.edit(seat.group_id).paid -= 1
        _free(state, seat, settled=False)
    state.tally = event.after.tally
    _tidy(state)


def _reassigned(state: CampaignState, event: Reassigned) -> None:
    quota.reassign(state.shelves, event.share)
    _decide(state, event, event.share)


def _unassigned(state: CampaignState, event: Unassigned) -> None:
    seat = state.settled_seat(event.claim_id)
    share = None if seat is None else seat.units_for(event.fulfilment_id)
    if share is not None:
        quota.unassign(state.shelves, share, ended=state.ended)
    _decide(state, event, Share("", 0))


def _decide(state: CampaignState, event: Reassigned | Unassigned, share: Share) -> None:
    seat = state.settled_seat(event.claim_id)
    assert seat is not None, event.claim_id
    others = [one for one in seat.reassigned if one[0] != event.fulfilment_id]
    seat = replace(seat, reassigned=(*others, (event.fulfilment_id, share)))
    _remember(state, event.claim_id, seat, event.at)
    state.tally = event.after.tally


def _claims_asked(state: CampaignState, event: ClaimsAsked) -> None:
    for claim_id in event.claim_ids:
        _ask_later(state, claim_id, event.ask_at)
    _tidy(state)


def _claim_kept(state: CampaignState, event: ClaimKept) -> None:
    _ask_later(state, event.claim_id, event.ask_at)
    _tidy(state)


def _group_closing(state: CampaignState, event: GroupClosing) -> None:
    state.groups.edit(event.group_id).wake_at = event.until
    heappush(state.timers, Timer(event.until, "group", event.group_id))
    _tidy(state)


def _group_formed(state: CampaignState, event: GroupFormed) -> None:
    state.groups.pop(event.group_id)
    state.formed += 1
    moves = [(state.seats[moved.claim_id].parts[0], moved.store_id) for moved in event.moved]
    quota.move(state.shelves, moves, ended=state.ended)
    for moved, (part, store_id) in zip(event.moved, moves, strict=True):
        state.seats.edit(moved.claim_id).parts = (Share(store_id, part.units),)
    for claim_id in state.members.pop(event.group_id):
        seat = state.seats[claim_id]
        if not seat.paid:
            _free(state, _leave(state, claim_id), settled=False)
            continue
        quota.take(state.shelves, state.terms, seat.parts)
        _settle(state, claim_id, "formed", event.price, event.at)
    state.tally = event.after.tally
    _tidy(state)


def _group_failed(state: CampaignState, event: GroupFailed) -> None:
    state.groups.pop(event.group_id)
    state.failed += 1
    for claim_id in state.members.pop(event.group_id):
        seat = state.seats[claim_id]
        _free(state, seat, settled=False)
        _settle(state, claim_id, "failed", 0, event.at)
    state.tally = event.after.tally
    _tidy(state)


def _ended(state: CampaignState, event: Ended) -> None:
    state.ended, state.ended_at = True, event.at
    quota.end(state.shelves, state.shelves)
    for group_id in state.groups:
        if state.groups[group_id].closes_at > event.at:
            group = state.groups.edit(group_id)
            group.closes_at = group.wake_at = event.at
            heappush(state.timers, Timer(event.at, "group", group_id))
    state.tally = event.after.tally
    _tidy(state)


def _free(state: CampaignState, seat: Seat, *, settled: bool) -> None:
    """The seat's units and the customer's count are given back."""
    bought = state.bought.get(seat.customer_id) or 0
    left = bought - units_of(seat.parts)
    if left > 0:
        state.bought[seat.customer_id] = left
    elif bought:
        state.bought.pop(seat.customer_id)
    quota.free(
        state.shelves, state.terms, seat.parts, paid=seat.paid, settled=settled, ended=state.ended
    )


def _leave(state: CampaignState, claim_id: str) -> Seat:
    """The seat, which is no longer one of ``seats``."""
    seat = state.seats.pop(claim_id)
    _no_more_unpaid(state, seat.order_id, claim_id)
    return seat


def _no_more_unpaid(state: CampaignState, order_id: str, claim_id: str) -> None:
    if state.claims.get(order_id) == claim_id:
        del state.claims[order_id]


def _settle(state: CampaignState, claim_id: str, outcome: str, price: int, at: float) -> None:
    seat = _leave(state, claim_id)
    seat.outcome, seat.price = outcome, price
    if outcome != "failed":
        state.buyers.add(seat.order_id)
    _remember(state, claim_id, seat, at)


def _remember(state: CampaignState, claim_id: str, seat: Seat, at: float) -> None:
    remember(state.settled, claim_id, seat, at, SETTLED_S, SETTLED_PAGES)


def _ask_later(state: CampaignState, claim_id: str, ask_at: float) -> None:
    if claim_id in state.seats:
        state.seats.edit(claim_id).ask_at = ask_at
        heappush(state.timers, Timer(ask_at, "claim", claim_id))


def _tidy(state: CampaignState) -> None:
    """Keep the heap's top live, and the heap not much larger than what it is about."""
    timers = state.timers
    while timers and not due_entry(state, timers[0]):
        heappop(timers)
    if len(timers) > 2 * (len(state.seats) + len(state.groups)) + 1_000:
        timers[:] = [timer for timer in set(timers) if due_entry(state, timer)]
        heapify(timers)


_APPLY: dict[type, Callable[[CampaignState, Any], None]] = {
    QuotaSet: _quota_set,
    QuotaRefused: _quota_refused,
    GroupOpened: _group_opened,
    Claimed: _claimed,
    Confirmed: _confirmed,
    Unclaimed: _unclaimed,
    ClaimsAsked: _claims_asked,
    ClaimKept: _claim_kept,
    GroupClosing: _group_closing,
    GroupFormed: _group_formed,
    GroupFailed: _group_failed,
    Reassigned: _reassigned,
    Unassigned: _unassigned,
    Ended: _ended,
}
