"""Campaigns and their open groups."""

from datetime import datetime

from msgspec import Struct

from orchestrator.models.risk import QueueRule

__all__ = [
    "Campaign",
    "CampaignGroup",
    "CampaignGroups",
    "CampaignNow",
    "CampaignQuota",
    "GroupTerms",
    "PriceStep",
    "UnitTally",
]


class PriceStep(Struct, frozen=True, gc=False):
    """From so many ``members`` on, a ladder's unit costs ``price``."""

    members: int
    price: int


class GroupTerms(Struct, frozen=True, gc=False):
    """How groups work. ``kind``: ``normal | newcomers | ladder``; ``stock``: ``on_payment |
    on_formation``; ``late``: ``refund | head_of_new_group``; ``open_s`` in seconds."""

    kind: str
    size: int
    open_s: float
    stock: str
    late: str
    buffer: int
    steps: list[PriceStep]


class UnitTally(Struct, frozen=True, gc=False):
    """Where the quota is: ``available + held + sold + returned`` is what stores set aside."""

    available: int
    held: int
    sold: int
    returned: int


class CampaignQuota(Struct, frozen=True, gc=False):
    """One store's share; ``problem``: why it set nothing aside."""

    store_id: str
    asked: int
    set_aside: int
    available: int
    held: int
    sold: int
    returned: int
    problem: str


class Campaign(Struct, frozen=True, gc=False):
    """A campaign: ``preparing | scheduled | running | ended``. ``remaining`` units can be ordered
    now; ``pay_s``: an unpaid order gives its units back after so long. ``quota`` is each store's
    account, for operations; a channel's is empty. With a
    ``queue`` its orders need a queue token. ``own_shard``: the number of the shard that it has for
    its own; 0: it shares one."""

    campaign_id: str
    name: str
    kind: str
    state: str
    sku: str
    price: int
    list_price: int
    currency: str
    starts_at: datetime
    ends_at: datetime
    limit_per_customer: int
    pay_s: float
    channels: list[str]
    issuer: str
    group: GroupTerms | None
    remaining: int
    units: UnitTally
    quota: list[CampaignQuota]
    open_groups: int
    formed_groups: int
    failed_groups: int
    queue: QueueRule | None = None
    own_shard: int = 0


class CampaignGroup(Struct, frozen=True, gc=False):
    """A group that can be joined. ``missing``: paid members it lacks to form; ``seats_free`` are
    neither paid nor claimed; ``price`` with the members it has."""

    group_id: str
    size: int
    paid: int
    claimed: int
    missing: int
    seats_free: int
    price: int
    opened_at: datetime
    closes_at: datetime


class CampaignGroups(Struct, frozen=True, gc=False):
    """Open groups, the nearest to completion first."""

    items: list[CampaignGroup]
    next: str | None


class CampaignNow(Struct, frozen=True, gc=False):
    """What a campaign's topic pushes."""

    campaign_id: str
    state: str
    sku: str
    price: int
    currency: str
    starts_at: datetime
    ends_at: datetime
    remaining: int
    open_groups: int
    formed_groups: int
