"""What a campaign answers to whoever asks."""

from msgspec import Struct

from domain.campaign.commands import Terms
from domain.campaign.events import Tally

__all__ = ["CampaignView", "GroupView", "QuotaView", "Seating"]


class QuotaView(Struct, frozen=True, array_like=True, gc=False):
    """One store's share: ``available + held + sold + returned = set_aside``."""

    store_id: str
    asked: int
    set_aside: int
    available: int
    held: int
    sold: int
    returned: int
    problem: str = ""
    """Why the store set nothing aside."""


class CampaignView(Struct, frozen=True, array_like=True, tag="campaign.view.v1", gc=False):
    """A campaign. ``state``: ``preparing | scheduled | running | ended``."""

    campaign_id: str
    terms: Terms
    state: str
    list_price: int
    remaining: int
    """Units that can be ordered now."""
    tally: Tally
    quota: tuple[QuotaView, ...]
    open_groups: int
    formed_groups: int
    failed_groups: int


class GroupView(Struct, frozen=True, array_like=True, gc=False):
    """An open group. ``seats_free`` counts seats neither paid nor claimed."""

    group_id: str
    size: int
    paid: int
    claimed: int
    missing: int
    """Paid members it still lacks to form."""
    seats_free: int
    price: int
    """What a unit costs with the members it has now."""
    opened_at: float
    closes_at: float


class Seating(Struct, frozen=True, array_like=True, tag="campaign.seating.v1", gc=False):
    """The answer to ``Confirm``. ``outcome``: ``sold`` (deliver it), ``formed`` (deliver it, at
    ``price``), ``waiting`` (its group has not formed yet), ``failed`` (its group did not form: pay
    back)."""

    outcome: str
    group_id: str = ""
    price: int = 0
    store_id: str = ""
    """Of a formed group: the store that has the units, if that was left open until then."""
