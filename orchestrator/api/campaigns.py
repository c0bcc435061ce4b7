"""Campaigns over HTTP: open, read, list groups, end. Orders of a campaign are placed as all others,
with its id."""

import asyncio
from typing import Annotated, Literal
from zlib import crc32

from fastapi import APIRouter, Query, Response
from msgspec.structs import replace
from pydantic import Field

from actors.engine.placement import OWN_SHARDS_MAX, id_on_own_shard
from domain.campaign import commands as campaign
from domain.errors import Refused
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk, derived_id
from orchestrator.api.openapi import answers
from orchestrator.api.plain import (
    Authorised,
    Body,
    Key,
    Moment,
    Money,
    Name,
    SomeUnits,
    Text,
    Units,
    answer,
    seconds,
)  # fmt: skip
from orchestrator.api.queues import QueueRuleBody
from orchestrator.api.show import show_campaign, show_groups

__all__ = ["router"]

STORES_MAX = 1_000


class ShareBody(Body):
    """Units asked of one store's stock."""

    store_id: Name
    units: SomeUnits


class StepBody(Body):
    """From so many members on, a unit costs `price` (minor units)."""

    members: Annotated[int, Field(ge=2, le=1_000)]
    price: Money


class GroupBody(Body):
    """How groups work. `steps` only with a `ladder`; `buffer` only with `on_formation`."""

    kind: Literal["normal", "newcomers", "ladder"] = "normal"
    size: Annotated[int, Field(ge=2, le=1_000)]
    open_s: Annotated[float, Field(ge=1, le=90 * 86_400)] = 86_400.0
    stock: Literal["on_payment", "on_formation"] = "on_payment"
    late: Literal["refund", "head_of_new_group"] = "refund"
    buffer: Units = 0
    steps: list[StepBody] = Field(default_factory=list, max_length=20)


class CampaignBody(Body):
    """One SKU at one price, from units that each store of `quota` sets aside. Orders are taken from
    `starts_at` up to, not including, `ends_at`. `limit_per_customer` counts units over the whole
    campaign (0: no limit); an order unpaid after `pay_s` seconds gives its units back. `group`
    makes it a group-buy; with `queue` its orders need a queue token. A hot one is opened with
    `own_shard`: true for any of the shards that no ordinary campaign is on, or the number of one,
    from 1."""

    name: Name
    sku: Name
    price: Money
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    starts_at: Moment
    ends_at: Moment
    quota: Annotated[list[ShareBody], Field(min_length=1, max_length=STORES_MAX)]
    limit_per_customer: Units = 0
    pay_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    channels: list[Name] = Field(default_factory=list, max_length=100)
    issuer: Literal["platform", "store"] = "platform"
    group: GroupBody | None = None
    queue: QueueRuleBody | None = None
    own_shard: bool | Annotated[int, Field(ge=1, le=OWN_SHARDS_MAX)] = False


class EndBody(Body):
    """Why the campaign is ended before its time."""

    why: Annotated[Text, Field(min_length=1)]


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["campaigns"])

    @routes.post(
        "/v1/campaigns",
        status_code=201,
        responses=answers(
            models.Campaign, examples.CAMPAIGN, "wrong-terms", "unknown-sku", "unknown-store",
            "campaign-exists", "no-own-shard", status=201,
            description="Opened; its stores set the quota aside.",
        ),
    )  # fmt: skip
    async def open_campaign(body: CampaignBody, caller: Authorised, key: Key) -> Response:
        """Open a flash sale or a group-buy. It is `preparing` until every store has set its share
        aside (or told in `problem` why not)."""
        name = derived_id("campaign", caller.subject, key, characters=12)
        campaign_id = await _campaign_id(desk, name, body.own_shard)
        command = campaign.Open(_terms(body), caller.name)
        view = await desk.ask(f"campaign/{campaign_id}", command, f"campaigns:{key}")
        return answer(show_campaign(view), 201)

    @routes.get(
        "/v1/campaigns/{campaign_id}",
        responses=answers(models.Campaign, examples.CAMPAIGN, "unknown-campaign"),
    )
    async def read_campaign(campaign_id: str, caller: Authorised) -> Response:
        """A campaign as it stands. To operations it answers itself, with each store's account in
        `quota`. A channel is answered by the gateway from what that follows, which may be a moment
        old, and `quota` is empty: however many pages count down to its start, its orders do not
        wait behind them. To follow what remains, use its socket."""
        brief = desk.service.views.campaigns.get(campaign_id)
        if caller.role == "channel" and brief is not None:
            return answer(show_campaign(brief.view_at(desk.service.clock.now())))
        view = await desk.read(f"campaign/{campaign_id}", campaign.Get())
        if caller.role == "channel":  # it was opened a moment ago, or is over for long
            view = replace(view, quota=())
        return answer(show_campaign(view))

    @routes.get(
        "/v1/campaigns/{campaign_id}/groups",
        responses=answers(models.CampaignGroups, examples.CAMPAIGN_GROUPS, "unknown-campaign"),
    )
    async def list_groups(
        campaign_id: str,
        caller: Authorised,
        near_completion: Annotated[
            int, Query(ge=0, le=1_000, description="Lacking at most so many members; 0: all.")
        ] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        """Groups that can be joined, the nearest to completion first, then the first to close. The
        gateway answers from what it follows, which may be a moment old: whether a group still has
        a seat is decided when an order joins it."""
        views, now = desk.service.views, desk.service.clock.now()
        brief = views.campaigns.get(campaign_id)
        if brief is not None:
            return answer(show_groups(brief.groups_at(near_completion, limit, now)))
        await desk.read(f"campaign/{campaign_id}", campaign.Get())
        return answer(show_groups(()))  # it was opened a moment ago, or is over for long

    @routes.post(
        "/v1/campaigns/{campaign_id}/end",
        responses=answers(models.Campaign, examples.CAMPAIGN, "unknown-campaign"),
    )
    async def end_campaign(
        campaign_id: str, body: EndBody, caller: Authorised, key: Key
    ) -> Response:
        """End it now: units nobody holds go back to their stores, open groups fail."""
        command = campaign.End(caller.name, body.why)
        view = await desk.ask(f"campaign/{campaign_id}", command, f"end:{key}")
        return answer(show_campaign(view))

    return routes


async def _campaign_id(desk: Desk, name: str, own_shard: bool | int) -> str:
    """The id of the campaign that ``name`` (of an Idempotency-Key) opens, or has opened already: a
    key opens one campaign, on whichever shard, and later shards do not move it.

    Raises ``Refused`` with ``no-own-shard``, or ``idempotency-key-reused`` when the campaign lives
    on another shard than is asked for now.
    """
    count = desk.service.settings.campaign_own_shards
    ids = ["c" + name, *(id_on_own_shard(number, name) for number in range(1, count + 1))]
    opened = await asyncio.gather(*(_is_open(desk, campaign_id) for campaign_id in ids))
    if any(opened):
        number = opened.index(True)
        if not number if own_shard is True else number != own_shard:
            raise Refused(
                "idempotency-key-reused",
                f"This key opened {ids[number]}, for which another shard was asked: use a new key.",
            )
        return ids[number]
    number = crc32(name.encode()) % max(count, 1) + 1 if own_shard is True else int(own_shard)
    if number > count:
        raise Refused(
            "no-own-shard",
            f"There are {count} shards for campaigns of their own; set "
            "DOORSTEP_CAMPAIGN_OWN_SHARDS to have more, or open the campaign without own_shard.",
            own_shards=count,
        )
    return ids[number]


async def _is_open(desk: Desk, campaign_id: str) -> bool:
    try:
        await desk.read(f"campaign/{campaign_id}", campaign.Get())
    except Refused as refusal:
        if refusal.code != "unknown-campaign":
            raise
        return False
    return True


def _terms(body: CampaignBody) -> campaign.Terms:
    group = body.group
    return campaign.Terms(
        name=body.name,
        kind=campaign.FLASH_SALE if group is None else campaign.GROUP_BUY,
        sku=body.sku,
        price=body.price,
        currency=body.currency,
        starts_at=seconds(body.starts_at) or 0.0,
        ends_at=seconds(body.ends_at) or 0.0,
        quota=tuple(campaign.Share(share.store_id, share.units) for share in body.quota),
        limit_per_customer=body.limit_per_customer,
        pay_s=body.pay_s,
        channels=tuple(body.channels),
        issuer=body.issuer,
        group=None
        if group is None
        else campaign.GroupRule(
            group.kind,
            group.size,
            group.open_s,
            group.stock,
            group.late,
            group.buffer,
            tuple(campaign.Step(step.members, step.price) for step in group.steps),
        ),
        queue=None if body.queue is None else body.queue.as_rule(),
    )
