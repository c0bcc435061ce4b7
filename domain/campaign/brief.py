"""What readers of the feed keep of a campaign: enough to answer *sold out*, what is left of it and
which groups can be joined without asking it."""

from typing import Any

from msgspec import Struct, field

from domain.campaign import rules
from domain.campaign.commands import Terms
from domain.campaign.events import (
    Claimed,
    Confirmed,
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
from domain.campaign.open_groups import OpenGroups
from domain.campaign.order_filter import OrderFilter
from domain.campaign.state import CampaignState
from domain.campaign.views import CampaignView, GroupView
from domain.catalogue.model import Component
from domain.errors import Refused

__all__ = ["REPEATS_S", "Brief", "brief_of", "followed", "orders_of"]

REPEATS_S = 86_400.0
"""So long after its end a campaign's orders are told from others without asking them."""


class Brief(Struct, gc=False):
    """A campaign as its feed tells. Stale by a moment at most, and nothing depends on that: the
    campaign itself decides."""

    campaign_id: str
    terms: Terms
    list_price: int
    stock: tuple[Component, ...]
    """Stock units behind one unit, as they were set aside."""
    tally: Tally = Tally()
    left: dict[str, int] = field(default_factory=dict)
    """Units available by store."""
    unanswered: set[str] = field(default_factory=set)
    """Stores that have not set their share aside yet."""
    ended: bool = False
    open_groups: int = 0
    formed_groups: int = 0
    failed_groups: int = 0
    orders: OrderFilter | None = None
    """Orders that had a claim: their repeated placing gets its first answer, which is with them,
    and is never told *sold out*. None: nobody here asks, or it ended long ago."""
    groups: OpenGroups | None = None
    """None: nobody here lists them, or it ended long ago."""
    ended_at: float = 0.0
    rested: bool = False
    """It ended long ago: see :meth:`rest`."""

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

    def view_at(self, now: float) -> CampaignView:
        """As the campaign itself would answer, but for each store's account, which is not kept."""
        state = self.state_at(now)
        return CampaignView(
            self.campaign_id, self.terms, state, self.list_price,
            0 if state == "ended" else self.remaining, self.tally, (),
            self.open_groups, self.formed_groups, self.failed_groups,
        )  # fmt: skip

    def groups_at(self, near_completion: int, limit: int, now: float) -> tuple[GroupView, ...]:
        """Groups that can be joined, the nearest to completion first (see :class:`OpenGroups`)."""
        if self.groups is None or not self.remaining:
            return ()
        return self.groups.listed(near_completion, limit, now)

    def check(self, order_id: str, channel: str, now: float) -> None:
        """Raise what the campaign would refuse this order for, as far as that is known here:
        ``campaign-not-started``, ``campaign-ended``, ``wrong-channel``, ``campaign-sold-out``.
        Nothing for an order that may have been placed before: it must be asked. Nor *sold out* as
        long as a store may still be setting its units aside: that news can be on its way here."""
        if self.orders is None or order_id in self.orders:
            return
        rules.check_window(self.terms, self.ended, now)
        rules.check_channel(self.terms, channel)
        if not self.remaining and not self.unanswered:
            raise Refused(
                "campaign-sold-out",
                "Sold out for now. Units of unpaid orders come back: watch the campaign.",
                sku=self.terms.sku,
            )

    @property
    def over(self) -> bool:
        """Nothing more will happen to it."""
        return self.ended and not self.tally.held and not self.open_groups

    def rest(self, now: float) -> None:
        """Keep of a campaign that ended ``REPEATS_S`` ago little more than that it ended: from then
        on each order is asked whether it was placed."""
        if self.ended and now - self.ended_at > REPEATS_S:
            self.orders, self.groups, self.rested = None, None, True
            self.left.clear()


def followed(brief: Brief | None, campaign_id: str, event: Any) -> Brief | None:
    """The brief after an event; changed in place. None for a campaign never heard of. Who answers
    for its orders keeps :attr:`Brief.orders` (see :func:`orders_of`), who lists its groups
    :attr:`Brief.groups`."""
    if isinstance(event, Opened):
        stores = {share.store_id for share in event.terms.quota}
        return Brief(campaign_id, event.terms, event.list_price, event.stock, unanswered=stores)
    if brief is None:
        return None
    after = getattr(event, "after", None)
    if after is not None:
        brief.tally = after.tally
        for share in after.left:
            brief.left[share.store_id] = share.units
    if brief.groups is not None:
        _follow_groups(brief.groups, event)
    match event:
        case Claimed() if brief.orders is not None:
            brief.orders.add(event.order_id)
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
            brief.ended, brief.ended_at = True, event.at
    return brief


def _follow_groups(groups: OpenGroups, event: Any) -> None:
    match event:
        case GroupOpened():
            groups.opened(event.group_id, event.at, event.closes_at)
        case Claimed() if event.group_id:
            groups.counted(event.group_id, paid=0, claimed=1)
        case Confirmed() if event.group_id:
            groups.counted(event.group_id, paid=1, claimed=-1)
        case Unclaimed() if event.group_id:
            groups.counted(event.group_id, paid=-event.paid, claimed=event.paid - 1)
        case GroupFormed() | GroupFailed():
            groups.gone(event.group_id)


def brief_of(campaign_id: str, state: CampaignState) -> Brief:
    """The brief of a campaign's state, without its orders and groups; later events are followed on
    top."""
    return Brief(
        campaign_id,
        state.terms,
        state.list_price,
        state.stock,
        state.tally,
        {store_id: shelf.available for store_id, shelf in state.shelves.items()},
        {store_id for store_id, shelf in state.shelves.items() if not shelf.answered},
        state.ended,
        len(state.groups),
        state.formed,
        state.failed,
        ended_at=state.ended_at,
    )


def orders_of(state: CampaignState) -> OrderFilter:
    """:attr:`Brief.orders` of a campaign's state: all that bought, and all that have a seat now."""
    bought = state.buyers
    orders = OrderFilter(
        bought.expected, [bytearray(layer) for layer in bought.layers], bought.room
    )
    for seat in (*state.seats.values(), *state.settled_seats()):
        orders.add(seat.order_id)
    return orders
