"""A feed from lists in memory: records are added by the test, followers see them at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from actors.engine.ports import Entry, FeedRecord, Record, Shard


class ListFeed:
    """``batch_max`` records per list; with ``repeats`` every list is seen twice."""

    def __init__(self, *, batch_max: int = 100, repeats: bool = False) -> None:
        self.records: dict[Shard, list[FeedRecord]] = {}
        self.batch_max = batch_max
        self.repeats = repeats
        self._news = asyncio.Condition()

    def put(self, shard: Shard, entity: str, *events: Any, at: float = 0.0) -> FeedRecord:
        """Commit one record with one entry. Call before followers run, or call ``announce``."""
        known = self.records.setdefault(shard, [])
        record = FeedRecord(shard, len(known) + 1, Record(at, (Entry(entity, tuple(events)),)))
        known.append(record)
        return record

    async def announce(self) -> None:
        """Wake the followers."""
        async with self._news:
            self._news.notify_all()

    def heads(self) -> dict[Shard, int]:
        """The newest position of each shard."""
        return {shard: records[-1].position for shard, records in self.records.items() if records}

    async def follow(
        self, shards: Sequence[Shard], after: Mapping[Shard, int]
    ) -> AsyncIterator[list[FeedRecord]]:
        cursors = {shard: after.get(shard, 0) for shard in shards}
        while True:
            fresh = self._after(cursors)
            for start in range(0, len(fresh), self.batch_max):
                batch = fresh[start : start + self.batch_max]
                yield batch
                if self.repeats:
                    yield batch
            for record in fresh:
                cursors[record.shard] = record.position
            async with self._news:
                if not self._after(cursors):
                    await self._news.wait()

    async def states(self, shard: Shard) -> tuple[dict[str, Any], int]:
        raise NotImplementedError("the ledger reads no states")

    async def ended(self, shards: Sequence[Shard], tell: Callable[[list[str]], None]) -> None:
        raise NotImplementedError("the ledger has every order itself")

    def _after(self, cursors: Mapping[Shard, int]) -> list[FeedRecord]:
        """What is new, the shards taking turns as they do in a real feed."""
        fresh = [
            record
            for shard, position in cursors.items()
            for record in self.records.get(shard, [])
            if record.position > position
        ]
        return sorted(fresh, key=lambda record: record.position)
