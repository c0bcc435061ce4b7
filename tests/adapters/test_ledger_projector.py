"""The projector: each event once, whatever is repeated, dies or is away. On both databases."""

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.engine.ports import FeedRecord, JournalUnavailable, Shard
from adapters.ledger import tables
from adapters.ledger.books import SqlBooks
from adapters.ledger.engine import open_engine
from adapters.ledger.projector import Projector
from adapters.ledger.reconciliation import reconcile
from domain import order, rider
from domain.geo import Position
from tests.fakes.list_feed import ListFeed
from tests.fakes.memory_journal import MemoryJournal
from tests.fakes.order_tales import SHARDS, Tale, opening_stock, random_tales, tell

pytest_plugins = ("tests.ledger_databases",)


@asynccontextmanager
async def running(projector: Projector) -> AsyncIterator[Projector]:
    """The projector at work; failures of its task are shown at once."""
    task = asyncio.create_task(projector.run())
    try:
        yield projector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def project(feed: ListFeed, engine: AsyncEngine, **options: Any) -> Projector:
    """Project everything that is in the feed."""
    projector = Projector(feed, None, engine, SHARDS, **options)
    if isinstance(feed, Trickle):
        feed.projector = projector
    async with running(projector):
        await reached(projector, feed.heads())
    return projector


async def reached(projector: Projector, heads: Mapping[Shard, int]) -> None:
    """Wait for the projector; a test that hangs says where."""
    async with asyncio.timeout(30):
        await projector.reached(heads)


async def picture(engine: AsyncEngine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; what two ledgers that saw the same facts must share. Document
    numbers depend on how shards interleave, so documents are compared by their id."""
    shown: dict[str, list[tuple[Any, ...]]] = {}
    async with engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            if table.name in ("postings", "stock_lines"):
                query = select(tables.documents.c.document_id, *table.c).join(
                    tables.documents, tables.documents.c.number == table.c.number
                )
            else:
                query = select(table)
            rows = (await connection.execute(query)).mappings()
            shown[table.name] = sorted(
                tuple((key, _shown(row[key])) for key in row if key != "number") for row in rows
            )
    return shown


def _shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else repr(value)


async def count(engine: AsyncEngine, table: Any) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_a_day_of_orders_is_explained_to_the_unit_and_the_cent(ledger: AsyncEngine) -> None:
    feed = ListFeed()
    tales = random_tales(7, 60)
    tell(feed, *tales, facts=opening_stock())
    await project(feed, ledger)
    report = await reconcile(ledger)
    assert report["differences"] == []
    assert sum(report["orders"].values()) == 60
    assert report["documents"] == await count(ledger, tables.documents)
    books = SqlBooks(ledger)
    for tale in tales:
        view = await books.order(tale.order_id)
        assert view is not None
        assert view["state"] == tale.now.state


@pytest.fixture
async def undisturbed(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Any]:
    """``await undisturbed(feed)``: how a ledger looks that saw the same facts once, in one go."""
    engines: list[AsyncEngine] = []

    async def see(feed: ListFeed) -> dict[str, list[tuple[Any, ...]]]:
        path = tmp_path / "undisturbed.db"
        shutil.copy(sqlite_template, path)
        engines.append(open_engine(f"sqlite+aiosqlite:///{path}"))
        once = ListFeed()
        once.records = feed.records
        await project(once, engines[0])
        return await picture(engines[0])

    yield see
    for engine in engines:
        await engine.dispose()


async def test_records_seen_again_change_nothing(ledger: AsyncEngine, undisturbed: Any) -> None:
    feed = ListFeed(batch_max=7, repeats=True)
    tell(feed, *random_tales(11, 25), facts=opening_stock())
    await project(feed, ledger)
    assert await picture(ledger) == await undisturbed(feed)


async def test_a_projector_that_dies_between_batches_goes_on_where_it_was(
    ledger: AsyncEngine,
) -> None:
    feed = ListFeed(batch_max=5)
    tell(feed, *random_tales(3, 20), facts=opening_stock())
    head = feed.heads()[Shard("inventory", 0)]
    for position in range(1, head, 17):
        projector = Projector(feed, None, ledger, SHARDS)
        async with running(projector):
            await reached(projector, {Shard("inventory", 0): position})
    await project(feed, ledger)
    report = await reconcile(ledger)
    assert report["differences"] == []
    events = sum(len(records) for shard, records in feed.records.items() if shard.kind == "order")
    assert await count(ledger, tables.order_events) == events


async def test_a_batch_that_fails_at_its_commit_leaves_nothing_behind(
    ledger: AsyncEngine, undisturbed: Any
) -> None:
    feed = ListFeed(batch_max=10)
    tell(feed, *random_tales(5, 20), facts=opening_stock())
    commits = itertools.count()

    def fail(_connection: Any) -> None:
        if next(commits) % 4 == 3:
            raise OperationalError("COMMIT", {}, Exception("the disk is full"))

    sql_event.listen(ledger.sync_engine, "commit", fail)
    waits: list[float] = []
    await project(Trickle(feed), ledger, sleep=remember(waits))
    assert len(waits) >= 5
    sql_event.remove(ledger.sync_engine, "commit", fail)
    assert await picture(ledger) == await undisturbed(feed)


class Trickle(ListFeed):
    """The same records, ten to a list, each list only when the one before is applied: every list
    is a batch of its own, however fast the machine."""

    def __init__(self, feed: ListFeed) -> None:
        super().__init__(batch_max=10)
        self.records = feed.records
        self.projector: Projector | None = None

    async def follow(
        self, shards: Sequence[Shard], after: Mapping[Shard, int]
    ) -> AsyncIterator[list[FeedRecord]]:
        async for records in super().follow(shards, after):
            yield records
            assert self.projector is not None
            await self.projector.reached({one.shard: one.position for one in records})


async def test_while_sql_is_away_it_waits_ever_longer_and_then_catches_up(
    ledger: AsyncEngine,
) -> None:
    feed = ListFeed()
    away = True

    def refuse(*_: Any) -> None:
        if away:
            raise OperationalError("connect", {}, Exception("connection refused"))

    sql_event.listen(ledger.sync_engine, "begin", refuse)
    waits: list[float] = []
    tried = asyncio.Event()

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) >= 8:
            tried.set()
        await asyncio.sleep(0)

    projector = Projector(feed, None, ledger, SHARDS, sleep=wait)
    async with running(projector):
        await tried.wait()
        tell(feed, *random_tales(9, 10), facts=opening_stock())
        await feed.announce()
        away = False
        await reached(projector, feed.heads())
    assert waits[:8] == sorted(waits[:8])
    assert waits[7] <= 5.0
    assert (await reconcile(ledger))["differences"] == []


async def test_two_projectors_at_once_apply_each_event_once(ledger_url: str) -> None:
    feed = ListFeed(batch_max=3)
    tell(feed, *random_tales(13, 20), facts=opening_stock())
    engines = [open_engine(ledger_url) for _ in range(2)]
    waits: list[float] = []
    projectors = [
        Projector(feed, None, engine, SHARDS, sleep=remember(waits)) for engine in engines
    ]
    async with running(projectors[0]), running(projectors[1]):
        for projector in projectors:
            await reached(projector, feed.heads())
    assert (await reconcile(engines[0]))["differences"] == []
    applied = sum(projector.events for projector in projectors)
    assert applied == sum(len(records) for records in feed.records.values())
    assert waits == []
    for engine in engines:
        await engine.dispose()


async def test_orders_that_left_memory_are_read_back(ledger: AsyncEngine) -> None:
    feed = ListFeed(batch_max=1)
    tell(feed, *random_tales(17, 12), facts=opening_stock())
    projector = Projector(feed, None, ledger, SHARDS, folds_max=2)
    async with running(projector):
        await reached(projector, feed.heads())
        assert len(projector._folds) <= 2
    assert (await reconcile(ledger))["differences"] == []


async def test_unknown_events_are_counted_and_skipped(ledger: AsyncEngine) -> None:
    feed = ListFeed()
    tale = Tale("o1", [("s-1", 0, [(500, 1)])])
    feed.put(SHARDS[1], "o1", ["order.gift_wrapped.v1", "red"])
    tell(feed, tale, facts=opening_stock())
    feed.put(SHARDS[0], "o9", order.RefundDone("of an order never placed", 1.0))
    feed.put(SHARDS[2], "s-1", ["inventory.blessed.v1"])
    projector = await project(feed, ledger)
    assert projector.skipped["order.gift_wrapped.v1"] == 1
    report = await reconcile(ledger)
    left_out = {
        row["event_type"]: row["found"]
        for row in report["differences"]
        if row["check"] == "nothing was left out"
    }
    assert left_out == {
        "order.gift_wrapped.v1": 1, "order.refund_done.v1": 1, "inventory.blessed.v1": 1,
    }  # fmt: skip
    assert await SqlBooks(ledger).order("o1") is not None


async def test_an_event_that_breaks_a_rule_does_not_stop_the_others(ledger: AsyncEngine) -> None:
    feed = ListFeed()
    good, bad = (Tale(name, [("s-1", 0, [(500, 1)])]) for name in ("o1", "o2"))
    bad.facts.append(("order", "o2", good.facts[0][2]))  # a fact of the stock, in an order
    bad.facts.append(("order", "o2", order.RefundDone("never-asked", 1.0)))
    good.paid()
    tell(feed, bad, good, facts=opening_stock())
    projector = await project(feed, ledger)
    assert sum(projector.skipped.values()) == 2
    view = await SqlBooks(ledger).order("o1")
    assert view is not None
    assert view["state"] == "paid"


async def test_positions_of_riders_are_passed_over(ledger: AsyncEngine) -> None:
    feed = ListFeed()
    for at in range(50):
        feed.put(Shard("rider", 0), "r-1", rider.Moved(Position(1.0, 2.0), float(at)))
    projector = await project(feed, ledger)
    assert (await projector.positions())[Shard("rider", 0)] == 50
    assert projector.skipped == {}
    assert await count(ledger, tables.documents) == 0


async def test_a_gap_is_believed_only_when_the_feed_repeats_it_and_is_reported(
    ledger: AsyncEngine,
) -> None:
    class Gappy(ListFeed):
        follows = 0

        async def follow(
            self, shards: Sequence[Shard], after: Mapping[Shard, int]
        ) -> AsyncIterator[list[FeedRecord]]:
            self.follows += 1
            async for records in super().follow(shards, after):
                yield [one for one in records if one.position != 3]

    feed = Gappy()
    for at in range(5):
        feed.put(Shard("rider", 0), "r-1", rider.Moved(Position(1.0, 2.0), float(at)))
    await project(feed, ledger)
    assert feed.follows == 2
    report = await reconcile(ledger)
    assert report["differences"] == [
        {"check": "nothing was left out", "shard": "rider.0", "expected": 0, "found": 1}
    ]


async def test_the_journal_hears_what_is_applied_and_may_trim_no_further(
    ledger: AsyncEngine,
) -> None:
    feed, journal = ListFeed(), MemoryJournal()
    tell(feed, *random_tales(19, 5), facts=opening_stock())
    projector = Projector(feed, journal, ledger, SHARDS)
    async with running(projector):
        await reached(projector, feed.heads())
    assert {shard: journal.projected[shard] for shard in feed.heads()} == feed.heads()
    assert await projector.positions() == feed.heads()


async def test_a_journal_that_is_away_hears_of_it_later(ledger: AsyncEngine) -> None:
    feed, journal = ListFeed(), MemoryJournal()
    tell(feed, *random_tales(23, 3), facts=opening_stock())
    journal.away = True
    projector = Projector(feed, journal, ledger, SHARDS)
    async with running(projector):
        await reached(projector, feed.heads())
        with pytest.raises(JournalUnavailable):
            await projector.lag()
        journal.away = False
        tell(feed, *random_tales(29, 1))
        await feed.announce()
        await reached(projector, feed.heads())
    async with running(Projector(feed, journal, ledger, SHARDS)) as restarted:
        await reached(restarted, feed.heads())
    assert {shard: journal.projected[shard] for shard in feed.heads()} == feed.heads()


async def test_the_lag_counts_records_not_yet_applied(ledger: AsyncEngine) -> None:
    feed, journal = ListFeed(), MemoryJournal()
    tell(feed, *random_tales(31, 2), facts=opening_stock())
    heads = feed.heads()
    journal.head = {shard: head + 4 for shard, head in heads.items()}
    projector = Projector(feed, journal, ledger, SHARDS)
    async with running(projector):
        await reached(projector, heads)
    assert await projector.lag() == dict.fromkeys(map(str, SHARDS), 4)
    assert await SqlBooks(ledger, journal, SHARDS).lag() == dict.fromkeys(map(str, SHARDS), 4)


def remember(waits: list[float]) -> Any:
    """A sleep that only takes notes."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    return sleep


async def test_connections_that_break_in_the_middle_are_replaced(
    postgres_url: str, ledger: AsyncEngine, undisturbed: Any
) -> None:
    if ledger.dialect.name != "postgresql":
        pytest.skip("SQLite has no connections that another can break")
    feed = ListFeed(batch_max=10)
    tell(feed, *random_tales(37, 20), facts=opening_stock())
    admin = open_engine(postgres_url)
    name = ledger.url.database
    slowly = Trickle(feed)
    projector = slowly.projector = Projector(slowly, None, ledger, SHARDS, sleep=remember([]))
    async with running(projector):
        for position in (20, 50, 90):
            await reached(projector, {Shard("inventory", 0): position})
            async with admin.begin() as connection:
                await connection.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname=:n"),
                    {"n": name},
                )
        await reached(projector, feed.heads())
    await admin.dispose()
    assert await picture(ledger) == await undisturbed(feed)
