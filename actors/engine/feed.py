"""The journals as a feed: committed events for views, gateways and the projector."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from actors.engine.codec import Registry
from actors.engine.host import Host
from actors.engine.journal_health import JournalHealth, until_journal_answers
from actors.engine.ports import Feed, FeedRecord, Journal, Record, Shard
from actors.engine.recovery import recover

__all__ = ["JournalFeed", "apply_record", "keep_views", "prime_views"]

log = structlog.get_logger(__name__)

WAIT_S = 1.0
"""Real seconds one read waits for news before it looks again."""
GATHER_S = 0.015
GATHER_RUSH_S = 0.04
"""Real seconds between two reads: under load one read then brings the records of several batches,
and a follower costs the same however many batches there are. The second in a rush, which is when
a read brings ``RUSH`` entries or more."""
RUSH = 24
ENTRIES_PER_TURN = 50
"""Entries of records decoded before others have their turn."""
STATES_PER_TURN = 200
"""States decoded before others have their turn."""


class JournalFeed:
    """Reads journals; nothing is polled while nothing happens (see :class:`ports.Feed`)."""

    def __init__(self, journal: Journal, registry: Registry) -> None:
        self._journal = journal
        self._registry = registry
        self._health = JournalHealth()

    async def follow(
        self, shards: Sequence[Shard], after: Mapping[Shard, int]
    ) -> AsyncIterator[list[FeedRecord]]:
        """Batches of records after the given positions, for ever; outages are waited out."""
        cursors = {shard: after.get(shard, 0) for shard in shards}
        codecs = self._registry.codecs
        read = partial(self._journal.follow, cursors, WAIT_S)
        while True:
            found = await until_journal_answers(read, self._health)
            if not found:
                continue
            batch = []
            entries = turn_ends = 0
            for shard, position, payload in found:
                if position != cursors[shard] + 1:
                    log.warning(
                        "feed.gap", shard=str(shard), expected=cursors[shard] + 1, found=position
                    )
                cursors[shard] = position
                record = codecs[shard.kind].seen(payload)
                batch.append(FeedRecord(shard, position, record))
                entries += len(record.entries)
                if entries >= turn_ends + ENTRIES_PER_TURN:
                    turn_ends = entries
                    await asyncio.sleep(0)
            yield batch
            await asyncio.sleep(GATHER_S if entries < RUSH else GATHER_RUSH_S)

    async def states(self, shard: Shard) -> tuple[dict[str, Any], int]:
        """Every live entity's state and the position it is current to."""
        return await until_journal_answers(partial(self._states, shard), self._health)

    async def ended(self, shards: Sequence[Shard], tell: Callable[[list[str]], None]) -> None:
        """Tell the ids of what left memory for the cold store."""

        async def walk() -> None:
            async for _, ids in self._journal.cold_ids(shards):
                tell(ids)
                await asyncio.sleep(0)

        # a long read of its own: whether it works says nothing of the others
        await until_journal_answers(walk, JournalHealth())

    async def _states(self, shard: Shard) -> tuple[dict[str, Any], int]:
        host = Host(shard, self._registry.codecs[shard.kind], self._registry)
        head = (await self._journal.heads([shard]))[shard]
        await recover(host, self._journal, head)
        return await _decoded(host), host.position


async def _decoded(host: Host) -> dict[str, Any]:
    """All states of a host that nobody else uses; a process that serves meanwhile goes on."""
    states = {}
    for number, (entity, state) in enumerate(host.states()):
        states[entity] = state
        if number % STATES_PER_TURN == 0:
            await asyncio.sleep(0)
    return states


async def prime_views(views: Any, feed: Feed, shards: Sequence[Shard]) -> dict[Shard, int]:
    """Load the states of shards into read models; returns where to follow them from."""
    cursors: dict[Shard, int] = {}
    for shard in shards:
        _, cursors[shard] = await _load(views, feed, shard)
    return cursors


async def keep_views(
    views: Any,
    feed: Feed,
    shards: Sequence[Shard],
    cursors: Mapping[Shard, int],
    shard_of: Callable[[str, str], Shard],
) -> None:
    """Keep read models current, for ever. Where records were trimmed before they were read, the
    shard's states are loaded instead; what is not among them any more has ended unseen."""
    known = dict(cursors)
    async for batch in feed.follow(shards, cursors):
        for item in batch:
            if item.position > known.get(item.shard, 0) + 1:
                known[item.shard] = await _load_anew(views, feed, item.shard, shard_of)
            if item.position > known.get(item.shard, 0):
                known[item.shard] = item.position
                apply_record(views, item.shard, item.record)


async def _load_anew(
    views: Any, feed: Feed, shard: Shard, shard_of: Callable[[str, str], Shard]
) -> int:
    states, position = await _load(views, feed, shard)
    views.forget(
        shard.kind,
        lambda entity: entity not in states and shard_of(shard.kind, entity) == shard,
    )
    return position


async def _load(views: Any, feed: Feed, shard: Shard) -> tuple[dict[str, Any], int]:
    states, position = await feed.states(shard)
    for entity, state in states.items():
        views.load(shard.kind, entity, state)
    return states, position


def apply_record(views: Any, shard: Shard, record: Record) -> None:
    """One committed record into the read models."""
    apply, kind, at = views.apply, shard.kind, record.at
    for entry in record.entries:
        for event in entry.events:
            apply(kind, entry.entity, event, at)
