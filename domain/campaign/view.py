"""A campaign as its readers see it, built from its state."""

from collections.abc import Sequence
from copy import copy

from msgspec.structs import replace

from domain.campaign.events import Confirmed, Ended, GroupFailed, GroupFormed
from domain.campaign.places import store_of
from domain.campaign.rules import remaining_of, sold_out
from domain.campaign.state import CampaignEvent, CampaignState, capacity, evolve, price_of
from domain.campaign.views import CampaignView, GroupView, QuotaView, Seating

__all__ = ["ended_view", "groups", "seating", "view"]


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


def ended_view(state: CampaignState, event: Ended, campaign_id: str) -> CampaignView:
    """The campaign as it will be once ``event``, its end, is applied; ``state`` stays as it is."""
    after = replace(
        state,  # and of its own whatever an end changes
        shelves={store_id: copy(shelf) for store_id, shelf in state.shelves.items()},
        groups={group_id: copy(group) for group_id, group in state.groups.items()},
        timers=list(state.timers),
    )
    return view(evolve(after, event), campaign_id, event.at)


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
                price_of(terms, group.paid), group.opened_at, group.closes_at,
            )
        )  # fmt: skip
    found.sort(key=lambda group: (group.missing, group.closes_at, group.group_id))
    return tuple(found[:limit])


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
