"""A journal in memory, for fast tests and for the simulation. Passes the same conformance suite."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from actors.engine.ports import Append, JournalUnavailable, Shard, SnapshotWrite, Stored


class MemoryJournal:
    """Keeps everything in dictionaries; ``away`` makes every call raise JournalUnavailable."""

    def __init__(self) -> None:
        self.away = False
        self.epochs: dict[Shard, int] = {}
        self.logs: dict[Shard, dict[int, bytes]] = {}
        self.head: dict[Shard, int] = {}
        self.live: dict[Shard, dict[str, Stored]] = {}
        self.cold: dict[Shard, dict[str, Stored]] = {}
        self.parts: dict[tuple[Shard, str], dict[int, bytes]] = {}
        self.covered: dict[Shard, int] = {}
        self.projected: dict[Shard, int] = {}
        self._news: dict[asyncio.Future[None], None] = {}  # in order: woken alike at each run

    def _check(self) -> None:
        if self.away:
            raise JournalUnavailable("the memory journal was told to be away")

    async def claim(self, shard: Shard) -> tuple[int, int]:
        self._check()
        self.epochs[shard] = self.epochs.get(shard, 0) + 1
        return self.epochs[shard], self.head.get(shard, 0)

    async def append(self, appends: Sequence[Append]) -> set[Shard]:
        self._check()
        fenced = self.check(appends)
        if not fenced:
            for append in appends:
                self.store(append)
        return fenced

    def check(self, appends: Sequence[Append]) -> set[Shard]:
        """The shards that another writer owns, or whose records have a gap before them."""
        fenced = {one.shard for one in appends if self.epochs.get(one.shard) != one.epoch}
        heads = dict(self.head)
        for one in appends:
            head = heads.get(one.shard, 0)
            if one.position > head + 1:
                fenced.add(one.shard)
            heads[one.shard] = max(head, one.position)
        return fenced

    def store(self, append: Append) -> None:
        """Apply one append that was checked; one that is stored already changes nothing."""
        if append.position <= self.head.get(append.shard, 0):
            return
        self.logs.setdefault(append.shard, {})[append.position] = append.payload
        self.head[append.shard] = append.position
        for future in self._news:
            if not future.done():
                future.set_result(None)
        self._news.clear()

    async def recover(self, shard: Shard) -> tuple[AsyncIterator[list[Stored]], int]:
        self._check()

        async def pages() -> AsyncIterator[list[Stored]]:
            stored = list(self.live.get(shard, {}).values())
            for start in range(0, len(stored), 100):
                yield stored[start : start + 100]

        return pages(), self.covered.get(shard, 0)

    async def load_parts(
        self, shard: Shard, entity_id: str, numbers: Sequence[int]
    ) -> list[bytes | None]:
        self._check()
        kept = self.parts.get((shard, entity_id), {})
        return [kept.get(number) for number in numbers]

    async def read(self, shard: Shard, after: int, count: int = 500) -> list[tuple[int, bytes]]:
        self._check()
        log = self.logs.get(shard, {})
        positions = sorted(position for position in log if position > after)[:count]
        return [(position, log[position]) for position in positions]

    async def follow(
        self, cursors: Mapping[Shard, int], wait_s: float, count: int = 500
    ) -> list[tuple[Shard, int, bytes]]:
        self._check()
        found = await self._new_ones(cursors, count)
        if not found:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._news[future] = None
            await asyncio.wait([future], timeout=wait_s)
            self._news.pop(future, None)
            found = await self._new_ones(cursors, count)
        return found

    async def _new_ones(
        self, cursors: Mapping[Shard, int], count: int
    ) -> list[tuple[Shard, int, bytes]]:
        return [
            (shard, position, payload)
            for shard, after in cursors.items()
            if self.head.get(shard, 0) > after
            for position, payload in await self.read(shard, after, count)
        ]

    async def load_cold(self, shard: Shard, entity_ids: Sequence[str]) -> list[Stored]:
        self._check()
        cold = self.cold.get(shard, {})
        return [cold[entity] for entity in entity_ids if entity in cold]

    async def cold_ids(self, shards: Sequence[Shard]) -> AsyncIterator[tuple[Shard, list[str]]]:
        for shard in shards:
            self._check()
            yield shard, list(self.cold.get(shard, ()))

    async def write_snapshot(self, write: SnapshotWrite) -> None:
        self._check()
        if self.epochs.get(write.shard) != write.epoch:
            return
        live = self.live.setdefault(write.shard, {})
        for stored in write.live:
            live[stored.entity_id] = stored
        for stored in write.cold:
            self.cold.setdefault(write.shard, {})[stored.entity_id] = stored
            live.pop(stored.entity_id, None)
        for parts in write.parts:
            kept = self.parts.setdefault((write.shard, parts.entity_id), {})
            kept.update(parts.stored)
            for number in list(kept) if parts.dropped is None else parts.dropped:
                kept.pop(number, None)
        if write.covered is not None:
            self.covered[write.shard] = write.covered

    async def mark_projected(self, shard: Shard, position: int) -> None:
        self._check()
        self.projected[shard] = position

    async def trim(self, shard: Shard) -> int:
        self._check()
        newest = self.head.get(shard, 1)  # stays: a follower that slept sees that it missed some
        upto = min(self.covered.get(shard, 0), self.projected.get(shard, 0), newest - 1)
        log = self.logs.get(shard, {})
        for position in [position for position in log if position <= upto]:
            del log[position]
        return upto + 1

    async def heads(self, shards: Sequence[Shard]) -> dict[Shard, int]:
        self._check()
        return {shard: self.head.get(shard, 0) for shard in shards}

    async def ping(self) -> None:
        self._check()

    async def close(self) -> None:
        pass
