"""A campaign as its readers see it, built from its state."""

from collections.abc import Mapping, Sequence
from copy import copy

from domain.campaign import quota
from domain.campaign.events import Confirmed, Ended, GroupFailed, GroupFormed, Tally
from domain.campaign.places import store_of
from domain.campaign.quota import Shelf
from domain.campaign.rules import remaining_of
from domain.campaign.state import CampaignEvent, CampaignState
from domain.campaign.views import CampaignView, QuotaView, Seating

__all__ = ["ended_view", "seating", "view"]


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
    return _view(state, campaign_id, phase, state.shelves, state.tally)


def ended_view(state: CampaignState, event: Ended, campaign_id: str) -> CampaignView:
    """The campaign as it will be once ``event``, its end, is applied; ``state`` stays as it is."""
    shelves = {store_id: copy(shelf) for store_id, shelf in state.shelves.items()}
    quota.end(shelves, shelves)
    return _view(state, campaign_id, "ended", shelves, event.after.tally)


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


def _view(
    state: CampaignState, campaign_id: str, phase: str, shelves: Mapping[str, Shelf], tally: Tally
) -> CampaignView:
    return CampaignView(
        campaign_id,
        state.terms,
        phase,
        state.list_price,
        0 if phase == "ended" else remaining_of(state.terms, tally.available),
        tally,
        tuple(
            QuotaView(
                store_id, shelf.asked, shelf.set_aside, shelf.available, shelf.held, shelf.sold,
                shelf.returned, shelf.problem,
            )
            for store_id, shelf in shelves.items()
        ),
        len(state.groups),
        state.formed,
        state.failed,
    )  # fmt: skip
