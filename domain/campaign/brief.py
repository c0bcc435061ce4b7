"""What readers of the feed keep of a campaign: enough to answer *sold out* without asking it."""

from typing import Any

from msgspec import Struct, field

from domain.campaign import rules
from domain.campaign.commands import Terms
from domain.campaign.events import (
    Claimed,
    Ended,
    GroupFailed,
    GroupFormed,
    GroupOpened,
    Opened,
    QuotaRefused,
    QuotaSet,
    Tally,
    Unclaimed,
)
from domain.campaign.state import CampaignState
from domain.errors import Refused

__all__ = ["Brief", "brief_of", "followed"]


class Brief(Struct, gc=False):
    """A campaign as its feed tells. Stale by a moment at most, and nothing depends on that: the
    campaign itself decides."""

    campaign_id: str
    terms: Terms
    list_price: int
    tally: Tally = Tally()
    left: dict[str, int] = field(default_factory=dict)
    """Units available by store."""
    unanswered: set[str] = field(default_factory=set)
    """Stores that have not set their share aside yet."""
    ended: bool = False
    open_groups: int = 0
    formed_groups: int = 0
    failed_groups: int = 0
    orders: set[str] = field(default_factory=set)
    """Orders with a claim: their repeated placing is never answered *sold out*."""

    @property
    def remaining(self) -> int:
        """Units that can be ordered, were it within the campaign's time."""
        return 0 if self.ended else rules.remaining_of(self.terms, self.tally.available)

    def state_at(self, now: float) -> str:
        """``preparing | scheduled | running | ended``."""
        if self.ended or now >= self.terms.ends_at:
            return "ended"
        if self.unanswered:
            return "preparing"
        return "scheduled" if now < self.terms.starts_at else "running"

    def check(self, order_id: str, channel: str, now: float) -> None:
        """Raise what the campaign would refuse this order for, as far as that is known here:
        ``campaign-not-started``, ``campaign-ended``, ``wrong-channel``, ``campaign-sold-out``."""
        if order_id in self.orders:
            return
        rules.check_window(self.terms, self.ended, now)
        rules.check_channel(self.terms, channel)
        if not self.remaining:
            raise Refused(
                "campaign-sold-out",
                "Sold out for now. Units of unpaid orders come back: watch the campaign.",
                sku=self.terms.sku,
            )


def followed(brief: Brief | None, campaign_id: str, event: Any) -> Brief | None:
    """The brief after an event; changed in place. None for a campaign never heard of."""
    if isinstance(event, Opened):
        stores = {share.store_id for share in event.terms.quota}
        return Brief(campaign_id, event.terms, event.list_price, unanswered=stores)
    if brief is None:
        return None
    after = getattr(event, "after", None)
    if after is not None:
        brief.tally = after.tally
        for share in after.left:
            brief.left[share.store_id] = share.units
    match event:
        case Claimed():
            brief.orders.add(event.order_id)
        case Unclaimed():
            brief.orders.discard(event.order_id)
        case QuotaSet() | QuotaRefused():
            brief.unanswered.discard(event.store_id)
        case GroupOpened():
            brief.open_groups += 1
        case GroupFormed():
            brief.open_groups -= 1
            brief.formed_groups += 1
        case GroupFailed():
            brief.open_groups -= 1
            brief.failed_groups += 1
        case Ended():
            brief.ended = True
    return brief


def brief_of(campaign_id: str, state: CampaignState) -> Brief:
    """The brief of a campaign's state; later events are followed on top."""
    outcomes = list(state.closed.values())
    seats = (*state.seats.values(), *state.settled.values(), *state.settled_before.values())
    return Brief(
        campaign_id,
        state.terms,
        state.list_price,
        state.tally,
        {store_id: shelf.available for store_id, shelf in state.shelves.items()},
        {store_id for store_id, shelf in state.shelves.items() if not shelf.answered},
        state.ended,
        len(state.groups),
        outcomes.count("formed"),
        outcomes.count("failed"),
        {seat.order_id for seat in seats},
    )
