"""Facts of one campaign. DOMAIN, Group-buy and Flash sale."""

from domain.campaign.commands import Share, Terms
from domain.catalogue.model import Component
from domain.message import Event, Value

__all__ = [
    "After", "ClaimKept", "Claimed", "ClaimsAsked", "Confirmed", "Ended", "GroupClosing",
    "GroupFailed", "GroupFormed", "GroupOpened", "Moved", "Opened", "QuotaRefused", "QuotaSet",
    "Reassigned", "Tally", "Unassigned", "Unclaimed",
]  # fmt: skip


class Tally(Value):
    """Where the campaign's units are; together they are what the stores set aside."""

    available: int = 0
    held: int = 0
    """Claimed and not paid yet."""
    sold: int = 0
    returned: int = 0
    """Given back to the stores."""


class After(Value):
    """The quota after an event: readers of the feed need no sums of their own."""

    left: tuple[Share, ...]
    """Units available at each store that changed."""
    tally: Tally


class Opened(Event, tag="campaign.opened.v1"):
    """The campaign exists; its stores were asked for the quota."""

    terms: Terms
    stock: tuple[Component, ...]
    """Stock units behind one unit of the campaign."""
    list_price: int
    by: str
    at: float


class QuotaSet(Event, tag="campaign.quota_set.v1"):
    """A store has set its share aside."""

    store_id: str
    units: int
    after: After
    at: float


class QuotaRefused(Event, tag="campaign.quota_refused.v1"):
    """A store could not."""

    store_id: str
    code: str
    detail: str
    at: float


class GroupOpened(Event, tag="campaign.group_opened.v1"):
    """A group was opened by its head."""

    group_id: str
    order_id: str
    closes_at: float
    at: float


class Claimed(Event, tag="campaign.claimed.v1"):
    """Units (and a seat) were promised to an order until it pays or gives them back."""

    claim_id: str
    order_id: str
    customer_id: str
    parts: tuple[Share, ...]
    group_id: str
    expires_at: float
    """When the order, unpaid, gives them back."""
    after: After
    at: float
    stores: tuple[str, ...] = ()
    """Stores that can serve it, the preferred first; of a seat whose units leave as its group
    forms."""
    asked_at: float = 0.0
    """When its order first asked for it."""


class Confirmed(Event, tag="campaign.confirmed.v1"):
    """The claim's order is paid."""

    claim_id: str
    order_id: str
    group_id: str
    after: After
    at: float


class Unclaimed(Event, tag="campaign.unclaimed.v1"):
    """Units and seat are free again."""

    claim_id: str
    order_id: str
    reason: str
    after: After
    at: float
    group_id: str = ""
    """The open group that the seat was in ..."""
    paid: bool = False
    """... as one of its paid members."""


class Reassigned(Event, tag="campaign.reassigned.v1"):
    """A part that its store did not serve, though it was sold, has units of another one. Those that
    it had before stay *sold*: they are in that store's normal stock."""

    claim_id: str
    fulfilment_id: str
    share: Share
    after: After
    at: float


class Unassigned(Event, tag="campaign.unassigned.v1"):
    """A sold part has ended, and gets no units any more; those it got and did not take are free."""

    claim_id: str
    fulfilment_id: str
    after: After
    at: float


class ClaimsAsked(Event, tag="campaign.claims_asked.v1"):
    """The orders of overdue claims were asked; without an answer, again at ``ask_at``."""

    claim_ids: tuple[str, ...]
    ask_at: float


class ClaimKept(Event, tag="campaign.claim_kept.v1"):
    """The order still wants an overdue claim."""

    claim_id: str
    ask_at: float


class GroupClosing(Event, tag="campaign.group_closing.v1"):
    """The group's time is over; payments under way are waited for until ``until``."""

    group_id: str
    until: float


class Moved(Value):
    """A seat whose units come from another store than the one it was claimed at."""

    claim_id: str
    store_id: str


class GroupFormed(Event, tag="campaign.group_formed.v1"):
    """Its paid members' orders go to the stores together. ``price`` is the final one; unpaid seats
    are void."""

    group_id: str
    order_ids: tuple[str, ...]
    price: int
    after: After
    at: float
    moved: tuple[Moved, ...] = ()
    """Seats whose own store had too few units by then, and those that made room for them."""


class GroupFailed(Event, tag="campaign.group_failed.v1"):
    """It did not form: every payment of ``order_ids`` goes back, every seat is void."""

    group_id: str
    order_ids: tuple[str, ...]
    reason: str
    after: After
    at: float


class Ended(Event, tag="campaign.ended.v1"):
    """No more orders; ``returned`` went back to the stores at once."""

    by: str
    why: str
    returned: tuple[Share, ...]
    after: After
    at: float
