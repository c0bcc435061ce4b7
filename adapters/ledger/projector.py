"""Projects the feed into SQL: each event applied exactly once, whatever dies on the way.

How exactly once holds: a batch's rows and the positions it ends at are one transaction. Every
batch first updates the counter of document numbers, which makes batches of all projectors wait for
each other, then compares the positions in SQL with those it starts from. A second projector that
lags behind finds them moved on, throws its batch away and continues from there; so two at once (a
deployment's overlap) are harmless. After a crash the projector starts from the positions in SQL.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import structlog
from msgspec.msgpack import Decoder, Encoder
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.engine.ports import Feed, FeedRecord, Journal, JournalUnavailable, Shard
from adapters.ledger import tables
from adapters.ledger.batch import Batch, OrderFold, orders_in
from adapters.ledger.engine import is_away
from adapters.ledger.writing import add, append, insert_of, replace

__all__ = ["Projector"]

log = structlog.get_logger()

EVENTS_MAX = 400
"""A batch is closed when it holds so many events (or :data:`RECORDS_MAX` records). Measured:
five times as many gain a fifth of throughput and hold the event loop several times as long."""
RECORDS_MAX = 200
EVENTS_PER_TURN = 20
"""After so many events the event loop may do something else (sockets share it)."""
FOLDS_MAX = 4_096
"""Orders kept in memory between batches; the others are read back when they change."""
IDS_MAX = 500
"""Ids in one IN query."""
WAITING_MAX = 16
"""Lists of records read ahead of the writer."""
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between tries while SQL is away (the last is repeated)."""

_encode = Encoder().encode
_decode_fold = Decoder(OrderFold).decode


class _MovedOn(Exception):
    """Another projector has applied records after those this one knows of."""


class _Gap(Exception):
    """The feed skipped records."""


async def _at_once(_at: float) -> None:
    pass


class Projector:
    """Applies the feed of ``shards`` to the ledger behind ``engine`` (see the module).

    ``journal`` is told up to where each shard is applied, so that it may trim; and asked for its
    heads by :meth:`lag`. ``sleep`` waits between tries (for tests); ``turn`` is awaited before each
    batch, with the service time of its first record.
    """

    def __init__(
        self,
        feed: Feed,
        journal: Journal | None,
        engine: AsyncEngine,
        shards: Sequence[Shard],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        turn: Callable[[float], Awaitable[None]] = _at_once,
        folds_max: int = FOLDS_MAX,
    ) -> None:
        self._feed = feed
        self._journal = journal
        self._engine = engine
        self._shards = tuple(shards)
        self._by_name = {str(shard): shard for shard in shards}
        self._sleep = sleep
        self._turn = turn
        self._folds: OrderedDict[str, OrderFold] = OrderedDict()
        self._folds_max = folds_max
        self._applied: dict[Shard, int] = {}
        self._progress = asyncio.Condition()
        self._gaps: dict[Shard, int] = {}
        self._failures = 0
        self.events = 0
        """Events applied since the start."""
        self.skipped: Counter[str] = Counter()
        """Events this release could not project, by name, since the start."""

    async def run(self) -> None:
        """Project for ever. SQL or the journal being away is waited out; nothing else stops it.
        Cancel to stop: what was committed is kept, the rest is read again at the next start."""
        while True:
            try:
                await self._resume()
                await self._follow()
                await self._sleep(BACKOFF_S[0])  # a feed that ended is asked again
            except _MovedOn:
                log.info("ledger.moved_on_by_another")
            except _Gap:
                pass
            except Exception as error:
                await self._wait_out(error)

    async def positions(self) -> dict[Shard, int]:
        """Up to where each shard is applied, from SQL. Raises the driver's errors when away."""
        async with self._engine.connect() as connection:
            return await self._read_positions(connection)

    async def lag(self) -> dict[str, int]:
        """Records not yet applied, per shard. Without a journal nothing is known: empty."""
        if self._journal is None:
            return {}
        heads = await self._journal.heads(self._shards)
        positions = await self.positions()
        return {str(shard): max(0, heads.get(shard, 0) - at) for shard, at in positions.items()}

    async def reached(self, positions: Mapping[Shard, int]) -> None:
        """Wait until at least these positions are applied."""
        async with self._progress:
            await self._progress.wait_for(
                lambda: all(
                    self._applied.get(shard, 0) >= position for shard, position in positions.items()
                )
            )

    async def _resume(self) -> None:
        """Forget what is only in memory; start from what SQL says."""
        self._folds.clear()
        async with self._engine.begin() as connection:
            rows = [{"shard": name, "position": 0, "missing": 0} for name in self._by_name]
            if rows:
                insert = insert_of(connection.dialect, tables.positions).on_conflict_do_nothing()
                await connection.execute(insert, rows)
            positions = await self._read_positions(connection)
        await self._advance(positions)

    async def _wait_out(self, error: Exception) -> None:
        wait_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        if is_away(error) or isinstance(error, JournalUnavailable):
            log.warning("ledger.away", error=str(error), retry_s=wait_s)
        else:
            log.exception("ledger.batch_failed", retry_s=wait_s)
        await self._sleep(wait_s)

    async def _follow(self) -> None:
        """Read ahead while writing: whatever arrived during a commit becomes the next batch."""
        queue: asyncio.Queue[list[FeedRecord] | None] = asyncio.Queue(WAITING_MAX)
        reader = asyncio.create_task(self._read(queue))
        try:
            while (records := await queue.get()) is not None:
                while len(records) < RECORDS_MAX and not queue.empty():
                    more = queue.get_nowait()
                    if more is None:
                        queue.put_nowait(None)
                        break
                    records = [*records, *more]
                for batch in _batches(records):
                    await self._turn(batch[0].record.at)
                    await self._apply(batch)
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, queue: "asyncio.Queue[list[FeedRecord] | None]") -> None:
        try:
            async for records in self._feed.follow(self._shards, dict(self._applied)):
                await queue.put(records)
        except Exception:
            await queue.put(None)
            raise
        await queue.put(None)

    async def _apply(self, records: Sequence[FeedRecord]) -> None:
        """One transaction: the new ones among ``records``, and the positions they lead to."""
        fresh, ends, missing = self._fresh(records)
        if not fresh:
            return
        async with self._engine.begin() as connection:
            last_document = await self._lock(connection)
            if await self._read_positions(connection) != self._applied:
                raise _MovedOn
            folds = await self._load(connection, orders_in(fresh))
            batch = Batch(folds, last_document)
            await _fill(batch, fresh)
            await _write(connection, batch)
            await self._write_positions(connection, ends, missing)
        self._keep(batch)
        self._failures = 0
        self.events += batch.events
        self.skipped.update(batch.skipped)
        await self._advance(ends)

    def _fresh(
        self, records: Sequence[FeedRecord]
    ) -> tuple[list[FeedRecord], dict[Shard, int], Counter[Shard]]:
        """Records not applied yet, the positions after them, and how many records are missing.

        A gap is believed only when the feed, asked again, shows the same one: then the journal has
        really lost these records (this database was replaced after the journal was trimmed), and
        going on with an open account of it is better than standing still.
        """
        fresh: list[FeedRecord] = []
        ends: dict[Shard, int] = {}
        missing: Counter[Shard] = Counter()
        for record in records:
            shard = record.shard
            at = ends.get(shard, self._applied.get(shard, 0))
            if record.position <= at:
                continue
            gap = record.position - at - 1
            if gap:
                if self._gaps.get(shard) != record.position:
                    self._gaps[shard] = record.position
                    raise _Gap
                log.error("ledger.records_missing", shard=str(shard), after=at, count=gap)
                missing[shard] += gap
            fresh.append(record)
            ends[shard] = record.position
        return fresh, ends, missing

    async def _lock(self, connection: AsyncConnection) -> int:
        """Keep other projectors waiting until this transaction ends; the last document number."""
        counters = tables.counters
        result = await connection.execute(
            update(counters)
            .where(counters.c.name == "document")
            .values(value=counters.c.value)
            .returning(counters.c.value)
        )
        return int(result.scalar_one())

    async def _read_positions(self, connection: AsyncConnection) -> dict[Shard, int]:
        rows = await connection.execute(
            select(tables.positions.c.shard, tables.positions.c.position)
        )
        known = {row.shard: row.position for row in rows}
        return {shard: known.get(name, 0) for name, shard in self._by_name.items()}

    async def _write_positions(
        self, connection: AsyncConnection, ends: Mapping[Shard, int], missing: Counter[Shard]
    ) -> None:
        insert = insert_of(connection.dialect, tables.positions)
        missing_so_far = tables.positions.c.missing + insert.excluded.missing
        await connection.execute(
            insert.on_conflict_do_update(
                index_elements=["shard"],
                set_={"position": insert.excluded.position, "missing": missing_so_far},
            ),
            [
                {"shard": str(shard), "position": position, "missing": missing[shard]}
                for shard, position in ends.items()
            ],
        )

    async def _load(self, connection: AsyncConnection, order_ids: set[str]) -> dict[str, OrderFold]:
        """The folds of these orders: from memory, the others in as few queries as possible."""
        folds = {one: self._folds[one] for one in order_ids if one in self._folds}
        unknown = sorted(order_ids - folds.keys())
        table = tables.order_folds
        for start in range(0, len(unknown), IDS_MAX):
            chunk = unknown[start : start + IDS_MAX]
            query = select(table.c.order_id, table.c.data).where(table.c.order_id.in_(chunk))
            for order_id, data in await connection.execute(query):
                folds[order_id] = _decode_fold(data)
        return folds

    def _keep(self, batch: Batch) -> None:
        for order_id in batch.touched():
            self._folds[order_id] = batch.folds[order_id]
            self._folds.move_to_end(order_id)
        while len(self._folds) > self._folds_max:
            self._folds.popitem(last=False)

    async def _advance(self, positions: Mapping[Shard, int]) -> None:
        async with self._progress:
            self._applied.update(positions)
            self._progress.notify_all()
        await self._report(positions)

    async def _report(self, positions: Mapping[Shard, int]) -> None:
        """Let the journal trim. If it is away it will hear of it with the next batch."""
        if self._journal is None:
            return
        try:
            for shard, position in positions.items():
                await self._journal.mark_projected(shard, position)
        except JournalUnavailable:
            log.warning("ledger.journal_away")


def _batches(records: Sequence[FeedRecord]) -> Iterator[Sequence[FeedRecord]]:
    """Cut by number of records and of events, so that a transaction stays short."""
    start = events = 0
    for index, record in enumerate(records):
        if index > start and (events >= EVENTS_MAX or index - start >= RECORDS_MAX):
            yield records[start:index]
            start, events = index, 0
        events += sum(len(entry.events) for entry in record.record.entries)
    if start < len(records):
        yield records[start:]


async def _fill(batch: Batch, records: Sequence[FeedRecord]) -> None:
    for record in records:
        for _ in batch.add(record):
            if batch.events % EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)


async def _write(connection: AsyncConnection, batch: Batch) -> None:
    """All rows of a batch: one statement per table."""
    for table, rows in (
        (tables.documents, batch.documents),
        (tables.postings, batch.postings),
        (tables.stock_lines, batch.stock_lines),
        (tables.order_events, batch.order_events),
    ):
        await append(connection, table, rows)
    orders, fulfilments = batch.current_rows()
    await replace(connection, tables.orders, orders)
    await replace(connection, tables.fulfilments, fulfilments)
    await replace(
        connection,
        tables.order_folds,
        [{"order_id": one, "data": _encode(batch.folds[one])} for one in batch.touched()],
    )
    await add(connection, tables.account_balances, batch.account_rows())
    await add(connection, tables.stock_balances, batch.cell_rows())
    counts = [{"type": name, "count": count} for name, count in sorted(batch.skipped.items())]
    await add(connection, tables.skipped_events, counts)
    counters = tables.counters
    await connection.execute(
        update(counters).where(counters.c.name == "document").values(value=batch.last_document)
    )
