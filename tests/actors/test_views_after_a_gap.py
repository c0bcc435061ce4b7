"""Read models whose follower fell so far behind that records were trimmed before it read them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from actors.engine.feed import keep_views
from actors.engine.placement import Plan
from actors.engine.ports import FeedRecord, Record, Shard
from actors.views import Views
from domain import campaign
from domain.catalogue.model import Component
from domain.risk.commands import Block
from domain.risk.events import BlockPut
from tests.fakes.campaign_world import flash_terms
from tests.fakes.order_world import START

PLAN = Plan.spread({"campaign": 2, "risk": 1}, [("campaign", "risk")])


class Gap:
    """A feed whose first record comes after many that are gone, with nothing left alive."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard

    async def follow(
        self, shards: Sequence[Shard], after: Mapping[Shard, int]
    ) -> AsyncIterator[list[FeedRecord]]:
        yield [FeedRecord(self.shard, 90, Record(START, ()))]
        raise EOFError

    async def states(self, shard: Shard) -> tuple[dict[str, Any], int]:
        return {}, 90


async def follow(views: Views, shard: Shard) -> None:
    feed: Any = Gap(shard)
    with suppress(EOFError):
        await keep_views(views, feed, [shard], {shard: 3}, PLAN.shard_of)


async def test_a_campaign_that_ended_unseen_is_no_longer_sold() -> None:
    views = Views(pickup_secret=b"pick-up")
    names = [f"c-{number}" for number in range(8)]
    opened = campaign.Opened(flash_terms(), (Component("cup", 1),), 1000, "ops", START)
    for name in names:
        views.apply("campaign", name, opened, START)
    shard = PLAN.shard_of("campaign", names[0])
    await follow(views, shard)
    elsewhere = [name for name in names if PLAN.shard_of("campaign", name) != shard]
    assert list(views.campaigns) == elsewhere, "those of other shards are still followed"


async def test_a_block_that_was_removed_unseen_holds_nobody_up() -> None:
    views = Views(pickup_secret=b"pick-up")
    block = Block("customer", "c-1", "bot", "ops")
    views.apply("risk", "block:customer:c-1", BlockPut(block, START), START)
    assert views.blocks.covers("customer", "c-1", START)
    await follow(views, PLAN.shard_of("risk", "block:customer:c-1"))
    assert not views.blocks.covers("customer", "c-1", START)
