"""Which stores a claim's units come from (DOMAIN, Routing and splitting, rules 2 and 3)."""

from collections.abc import Sequence

from domain.campaign.commands import Claim, Share
from domain.campaign.quota import holds_units
from domain.campaign.state import CampaignState
from domain.errors import Refused

__all__ = ["allocate", "stores_of"]


def allocate(state: CampaignState, command: Claim) -> tuple[Share, ...]:
    """The preferred store that has all; of a flash sale else a split. Raises ``Refused`` with
    ``campaign-out-of-reach``."""
    quantity, shelves = command.quantity, state.shelves
    stores = stores_of(state, command)
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


def stores_of(state: CampaignState, command: Claim) -> tuple[str, ...]:
    """Those of the campaign that can serve the claim, the preferred first."""
    return tuple([store_id for store_id in command.stores if store_id in state.shelves])


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
