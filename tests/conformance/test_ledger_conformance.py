"""The ledger's port (``orchestrator.ports.Books``) on SQLite and on PostgreSQL."""

import asyncio
import inspect
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, delete, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.ledger import tables
from adapters.ledger.books import SqlBooks
from adapters.ledger.cursors import pack
from adapters.ledger.engine import open_engine
from adapters.ledger.migrations import config_for, migrate
from adapters.ledger.projector import Projector
from adapters.ledger.reconciliation import TRANSFER_UNDER_WAY_S, reconcile
from domain import inventory, order, rider
from domain.errors import Refused, Unavailable
from orchestrator.ports import Books, Page
from tests.fakes.list_feed import ListFeed
from tests.fakes.memory_journal import MemoryJournal
from tests.fakes.order_tales import SHARDS, Tale, opening_stock, random_tales, tell

pytest_plugins = ("tests.ledger_databases",)


CURSORS_OF_NOBODY = (
    "[99999999999999999999999999]", "[99999999999999999999999999,1]", "[1e400]", "[-1]", "[-1,0]",
    "[1,-1]", "[1.5]", "[1.0]", "[1.5,2]", "[-1.0,\"o\"]", "[1.0,\"\\u0000\"]", "[1, 2]", "[true]",
    "[1,4294967296]", "[9223372036854775808]", "[null,\"o\"]", "{\"a\":1}", "[" * 3_000,
)  # fmt: skip


class Desk:
    """A ledger, its books, and a way to let things happen."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.feed = ListFeed()
        self.books: Books = SqlBooks(engine)

    async def project(self, *tales: Tale, facts: list[Any] | None = None) -> None:
        """Tell and project."""
        tell(self.feed, *tales, facts=facts or [])
        projector = Projector(self.feed, None, self.engine, SHARDS)
        task = asyncio.create_task(projector.run())
        async with asyncio.timeout(30):
            await projector.reached(self.feed.heads())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def write(self, statement: Any) -> None:
        """Change the database behind the ledger's back."""
        async with self.engine.begin() as connection:
            await connection.execute(statement)


@pytest.fixture
def desk(ledger: AsyncEngine) -> Desk:
    return Desk(ledger)


async def every_row(read: Any, **filters: Any) -> list[dict[str, Any]]:
    """All pages of a read."""
    rows: list[dict[str, Any]] = []
    after = ""
    for _ in range(1000):
        page = await read(after=after, **filters)
        rows += page.rows
        if page.after is None:
            return rows
        after = page.after
    raise AssertionError("the pages never end")


def a_sale(order_id: str = "o1", *, at: float = 1000.0, **options: Any) -> Tale:
    """One order of one line, paid online and delivered by r-1."""
    tale = Tale(order_id, [("s-1", 300, [(1000, 2)])], at=at, **options)
    tale.paid()
    tale.picked(f"{order_id}-1")
    tale.delivered(f"{order_id}-1")
    tale.completed()
    return tale


# Structure


def test_the_books_have_every_method_of_the_port_with_its_parameters() -> None:
    for name, method in inspect.getmembers(Books, inspect.isfunction):
        if name.startswith("_"):
            continue
        own = inspect.signature(getattr(SqlBooks, name)).parameters
        assert list(own) == list(inspect.signature(method).parameters), name


async def test_a_migrated_database_has_exactly_the_tables_of_the_code(ledger: AsyncEngine) -> None:
    def differences(connection: Connection) -> Any:
        return compare_metadata(MigrationContext.configure(connection), tables.metadata)

    async with ledger.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_processes_that_migrate_at_once_and_again_do_no_harm(empty_url: str) -> None:
    await asyncio.gather(*(migrate(empty_url) for _ in range(3)))
    await migrate(empty_url)
    engine = open_engine(empty_url)
    assert (await reconcile(engine))["balanced"]
    await engine.dispose()


async def test_a_migration_can_be_undone(ledger: AsyncEngine) -> None:
    async with ledger.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(config_for(sync), "base"))
        await connection.run_sync(lambda sync: command.upgrade(config_for(sync), "head"))
    assert (await reconcile(ledger))["balanced"]


@pytest.mark.parametrize("table", ["documents", "postings", "stock_lines", "order_events"])
async def test_what_is_written_once_cannot_be_edited_or_deleted(desk: Desk, table: str) -> None:
    await desk.project(a_sale(), facts=opening_stock())
    rows = tables.metadata.tables[table]
    column = next(column for column in rows.columns if not column.primary_key)
    for change in (update(rows).values({column.name: column}), delete(rows)):
        with pytest.raises(DBAPIError, match="append-only"):
            await desk.write(change)


# Reads


async def test_an_order_is_shown_as_it_was_last_projected(desk: Desk) -> None:
    tale = a_sale()
    await desk.project(tale, facts=opening_stock())
    view = await desk.books.order("o1")
    assert view is not None
    assert (view["order_id"], view["state"], view["total"]) == ("o1", "completed", 1300)
    assert view["lines"][0]["amount"] == 1000
    assert view["fulfilments"][0]["store_id"] == "s-1"
    assert await desk.books.order("o2") is None
    json.dumps(view)


async def test_orders_are_paged_newest_first_and_new_ones_do_not_disturb(desk: Desk) -> None:
    await desk.project(*(a_sale(f"o{number}", at=float(number)) for number in range(10, 20)))
    first = await desk.books.orders(limit=4)
    assert [row["order_id"] for row in first.rows] == ["o19", "o18", "o17", "o16"]
    await desk.project(a_sale("o99", at=99.0))
    second = await desk.books.orders(limit=4, after=first.after or "")
    assert [row["order_id"] for row in second.rows] == ["o15", "o14", "o13", "o12"]
    third = await desk.books.orders(limit=4, after=second.after or "")
    assert [row["order_id"] for row in third.rows] == ["o11", "o10"]
    assert third.after is None


async def test_orders_placed_at_the_same_instant_are_all_shown_once(desk: Desk) -> None:
    await desk.project(*(a_sale(f"o{number}") for number in range(7)))
    rows = await every_row(desk.books.orders, limit=2)
    assert sorted(row["order_id"] for row in rows) == [f"o{number}" for number in range(7)]


async def test_orders_are_found_by_state_customer_channel_and_store(desk: Desk) -> None:
    await desk.project(
        a_sale("o1"),
        Tale("o2", [("s-2", 0, [(5, 1)])], customer_id="c-2"),
        Tale("o3", [("s-1", 0, [(5, 1)]), ("s-2", 0, [(5, 1)])], channel="pos"),
    )

    async def found(**filters: Any) -> set[str]:
        return {row["order_id"] for row in await every_row(desk.books.orders, limit=1, **filters)}

    assert await found(state="completed") == {"o1"}
    assert await found(customer_id="c-2") == {"o2"}
    assert await found(channel="pos") == {"o3"}
    assert await found(store_id="s-2") == {"o2", "o3"}
    assert await found(store_id="s-2", state="placed", channel="app") == {"o2"}
    assert await found(store_id="s-9") == set()


async def test_orders_are_found_by_the_ending_of_a_phone_and_by_rider(desk: Desk) -> None:
    mine = Tale("o1", [("s-1", 0, [(5, 1)])], phone="+4930123456")
    mine.paid()
    mine.delivered("o1-1", rider_id="r-7")
    await desk.project(mine, Tale("o2", [("s-1", 0, [(5, 1)])], phone="+4930126543"))

    async def found(**filters: Any) -> set[str]:
        return {row["order_id"] for row in await every_row(desk.books.orders, limit=1, **filters)}

    assert await found(phone_ending="3456") == {"o1"}
    assert await found(phone_ending="3456", rider_id="r-7") == {"o1"}
    assert await found(rider_id="r-8") == set()
    assert await found(phone_ending="0000") == set()


async def test_a_history_explains_each_cent_and_each_unit(desk: Desk) -> None:
    tale = a_sale()
    await desk.project(tale, facts=opening_stock())
    history = await desk.books.order_history("o1")
    assert [step["at"] for step in history] == sorted(step["at"] for step in history)
    events = [step["type"] for step in history if not step["type"].startswith("document.")]
    assert events == [
        "order.placed.v1", "order.paid.v1", "order.fulfilment_picked.v1",
        "order.fulfilment_delivered.v1", "order.completed.v1",
    ]  # fmt: skip
    papers = {step["type"]: step["data"] for step in history if step["type"].startswith("doc")}
    assert set(papers) == {
        "document.lock", "document.sale", "document.payment", "document.delivery",
    }  # fmt: skip
    assert papers["document.payment"]["postings"] == [
        {"account": "provider_clearing:sandbox", "currency": "EUR", "amount": 1300},
        {"account": "customer_prepaid", "currency": "EUR", "amount": -1300},
    ]
    (line,) = papers["document.sale"]["stock"]
    assert (line["sku"], line["on_hand"], line["locked"], line["sold"]) == ("sku-1", -2, -2, 2)
    assert await desk.books.order_history("nobody") == []


async def test_debits_and_credits_of_the_trial_balance_are_equal(desk: Desk) -> None:
    await desk.project(*random_tales(1, 20), facts=opening_stock())
    rows = await desk.books.accounts()
    assert len(rows) > 5
    for currency in {row["currency"] for row in rows}:
        own = [row for row in rows if row["currency"] == currency]
        assert sum(row["debit"] for row in own) == sum(row["credit"] for row in own)
        assert sum(row["balance"] for row in own) == 0


async def test_documents_are_paged_in_order_with_what_they_changed(desk: Desk) -> None:
    await desk.project(*random_tales(2, 8), facts=opening_stock())
    rows = await every_row(desk.books.documents, limit=7)
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert len({row["document_id"] for row in rows}) == len(rows)
    assert all(sum(leg["amount"] for leg in row["postings"]) == 0 for row in rows)
    sales = await every_row(desk.books.documents, limit=3, kind="sale")
    assert sales == [row for row in rows if row["kind"] == "sale"]
    assert all(row["stock"] for row in sales)


async def test_postings_are_paged_in_order_and_name_their_document(desk: Desk) -> None:
    await desk.project(*random_tales(3, 8), facts=opening_stock())
    rows = await every_row(desk.books.postings, limit=3)
    assert [(row["number"], row["step"]) for row in rows] == sorted(
        (row["number"], row["step"]) for row in rows
    )
    documents = await every_row(desk.books.documents, limit=1000)
    assert {row["document_id"] for row in rows} <= {row["document_id"] for row in documents}
    prepaid = await every_row(desk.books.postings, limit=2, account="customer_prepaid")
    assert prepaid == [row for row in rows if row["account"] == "customer_prepaid"]
    assert sum(row["amount"] for row in prepaid) == 0


async def test_stock_follows_every_operation_of_the_domain(desk: Desk) -> None:
    item = (inventory.StockItem("tea", 10),)
    lock = (inventory.LockItem("l-1", "tea", 4),)
    short = (inventory.LockItem("l-1", "tea", 1),)
    back = (inventory.ReturnItem("l-1", "tea", 2, 1),)
    for fact in (
        inventory.Received("d-1", item, "erp"),
        inventory.TransferredIn("d-2", "s-2", item),
        inventory.TransferredOut("d-3", "s-3", (inventory.StockItem("tea", 3),), "ops"),
        inventory.Counted("d-4", "tea", 16, 5.0, -1, "clerk"),
        inventory.DamageMarked("d-5", "tea", 2, "clerk"),
        inventory.Locked("o1-1", "o1", lock, 9.0),
        inventory.ShortCorrected("d-6", "o1-1", short, True),
        inventory.Deducted("o1-1", (inventory.LockItem("l-1", "tea", 3),)),
        inventory.ShortCorrected("d-7", "o1-1", short, False),
        inventory.Returned("d-8", "o1-1", back, (inventory.StockItem("tea", 2),), "absent"),
        inventory.Locked("o2-1", "o2", lock, 9.0),
        inventory.KeptOnShelf("d-9", "o2-1", short, True, "unwanted"),
        inventory.Released("o2-1", (inventory.LockItem("l-1", "tea", 3),), "expired"),
        inventory.KeptOnShelf("d-10", "o1-1", short, False, "unwanted"),
        inventory.SafetySet("tea", 5, 8, 20),
        inventory.OversellSet("tea", 2),
        inventory.Allotted("tea", "app", 3),
        inventory.LockConfirmed("o2-1", None),
        inventory.ReplenishmentSuggested("tea", 3, 8, 20),
        inventory.AnomalyFound("tea", -1, ("d-1",)),
    ):
        desk.feed.put(SHARDS[2], "s-1", fact)
    await desk.project()
    (row,) = await desk.books.stock("s-1")
    assert row == {
        "store_id": "s-1", "sku": "tea", "on_hand": 15, "locked": 0, "damaged": 3, "sold": 2,
        "returned": 3, "received": 10, "transferred_in": 10, "transferred_out": 3, "counted": -1,
        "short": 2,
    }  # fmt: skip
    kinds = [paper["kind"] for paper in await every_row(desk.books.documents)]
    assert kinds == [
        "receipt", "transfer_in", "transfer_out", "count", "damage", "lock", "short", "sale",
        "short", "return", "lock", "kept_on_shelf", "release", "kept_on_shelf", "safety",
        "oversell", "allotment", "lock_confirmed", "replenishment", "anomaly",
    ]  # fmt: skip
    assert await desk.books.stock("s-9") == []


async def test_a_lock_of_nobody_is_found(desk: Desk) -> None:
    items = (inventory.LockItem("l", "sku-1", 4),)
    facts = [*opening_stock(), ("inventory", "s-1", inventory.Locked("o7-1", "o7", items, 9.0))]
    await desk.project(facts=facts)
    report = await desk.books.reconciliation()
    assert report["differences"] == [
        {"check": "locks belong to orders", "order_id": "o7", "expected": 0, "found": 4}
    ]


@pytest.mark.parametrize("cursor", ["x", "!!", "WyJhIl0", "bnVsbA", "W10", "é"])
@pytest.mark.parametrize("read", ["orders", "documents", "postings"])
async def test_a_cursor_it_did_not_make_is_refused(desk: Desk, read: str, cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        await getattr(desk.books, read)(after=cursor)
    assert refused.value.code == "bad-cursor"


@pytest.mark.parametrize("keys", CURSORS_OF_NOBODY)
@pytest.mark.parametrize("read", ["orders", "documents", "postings"])
async def test_a_cursor_of_keys_that_no_row_has_is_refused(
    desk: Desk, read: str, keys: str
) -> None:
    cursor = urlsafe_b64encode(keys.encode()).decode().rstrip("=")
    with pytest.raises(Refused) as refused:
        await getattr(desk.books, read)(after=cursor)
    assert refused.value.code == "bad-cursor"


async def test_the_greatest_keys_that_a_row_may_have_are_a_cursor(desk: Desk) -> None:
    await desk.project(a_sale())
    assert (await desk.books.documents(after=pack(2**63 - 1))).rows == []
    assert (await desk.books.postings(after=pack(2**63 - 1, 2**31 - 1))).rows == []
    assert (await desk.books.orders(after=pack(0.0, ""))).rows == []


async def customer_told(desk: Desk, order_id: str) -> Any:
    """The customer of an order, as its history tells it from a JSON document."""
    history = await desk.books.order_history(order_id)
    (placed,) = [step for step in history if step["type"].startswith("order.placed")]
    return placed["data"]["customer"]["customer_id"]


async def test_u0000_in_a_journal_does_not_stop_the_books(desk: Desk) -> None:
    """A release that let it in may have written it; a journal keeps it for ever."""
    goods = ("inventory", "s-1", inventory.Received("d\0", (inventory.StockItem("t\0", 3),), "erp"))
    marked = a_sale("o1", customer_id="c\0d")
    await desk.project(marked, a_sale("o2", at=1001.0), facts=[*opening_stock(), goods])
    assert (await desk.books.reconciliation())["balanced"]
    assert {row["sku"]: row["on_hand"] for row in await desk.books.stock("s-1")}["t\ufffd"] == 3
    assert {row["order_id"] for row in await every_row(desk.books.orders)} == {"o1", "o2"}
    (found,) = await every_row(desk.books.orders, customer_id="c\ufffdd")
    assert found["order_id"] == "o1"
    assert await customer_told(desk, "o1") == "c\ufffdd"


async def test_a_text_that_only_looks_like_u0000_is_stored_as_it_is(desk: Desk) -> None:
    customer = "c\\u0000\\\0\\\\u0000"
    await desk.project(a_sale("o1", customer_id=customer), facts=opening_stock())
    assert await customer_told(desk, "o1") == customer.replace("\0", "\ufffd")


async def test_nothing_is_found_by_a_text_with_u0000(desk: Desk) -> None:
    await desk.project(a_sale("o1", customer_id="c\0d"), facts=opening_stock())
    books = desk.books
    for name in ("state", "customer_id", "store_id", "channel", "phone_ending", "rider_id"):
        assert await every_row(books.orders, **{name: "c\0d"}) == []
    assert await books.order("o1\0") is None
    assert await books.order_history("o1\0") == []
    assert await every_row(books.documents, kind="sale\0") == []
    assert await every_row(books.postings, account="revenue\0") == []
    assert await books.stock("s-1\0") == []


@pytest.mark.parametrize("limit", [-5, 0, 10**9])
async def test_a_page_has_at_least_one_row_and_at_most_a_thousand(desk: Desk, limit: int) -> None:
    await desk.project(*(a_sale(f"o{number}") for number in range(3)))
    page: Page = await desk.books.orders(limit=limit)
    assert len(page.rows) == (1 if limit <= 0 else 3)


async def test_a_database_that_is_away_is_said_to_be_away(ledger: AsyncEngine) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("connect", {}, Exception("connection refused"))

    event.listen(ledger.sync_engine, "begin", refuse)
    books = SqlBooks(ledger, MemoryJournal(), SHARDS)
    for call in (
        books.orders(), books.order("o1"), books.order_history("o1"), books.accounts(),
        books.documents(), books.postings(), books.stock("s-1"), books.lag(),
        books.reconciliation(),
    ):  # fmt: skip
        with pytest.raises(Unavailable) as away:
            await call
        assert away.value.code == "ledger-away"


async def test_a_server_that_cannot_be_reached_is_said_to_be_away() -> None:
    engine = open_engine("postgresql+asyncpg://nobody@127.0.0.1:9/none")
    with pytest.raises(Unavailable):
        await SqlBooks(engine).accounts()
    await engine.dispose()


# Reconciliation


async def test_a_day_with_cash_remitted_is_balanced_and_its_report_is_json(desk: Desk) -> None:
    tales = random_tales(4, 40)
    await desk.project(*tales, facts=opening_stock())
    rows = await desk.books.accounts()
    held = {row["account"]: row["balance"] for row in rows}
    riders = {name: held[name] for name in held if name.startswith("rider_cash:") and held[name]}
    assert riders
    for name, owed in riders.items():
        rider_id = name.removeprefix("rider_cash:")
        handed_in = rider.Remitted(f"m-{rider_id}", owed, owed - 7, -7, "clerk", "EUR", 9.0)
        desk.feed.put(SHARDS[3], rider_id, handed_in)
    await desk.project()
    report = await desk.books.reconciliation()
    assert report["differences"] == []
    assert report["balanced"] is True
    for name in riders:
        assert report["accounts"][name] == {"EUR": 0}
        assert report["accounts"][name.replace("rider_cash", "cash_difference")] == {"EUR": 7}
    assert report["accounts"]["cash_in_hand"]["EUR"] == sum(riders.values()) - 7 * len(riders)
    assert report["stock"]["locked"] == 0
    assert report["open"] == {}
    json.dumps(report)


async def test_open_orders_are_listed_as_open_and_are_no_difference(desk: Desk) -> None:
    tale = Tale("o1", [("s-1", 0, [(900, 1)])])
    tale.paid()
    await desk.project(tale, facts=opening_stock())
    report = await desk.books.reconciliation()
    assert report["differences"] == []
    assert report["open"] == {"customer_prepaid": {"EUR": -900}}
    assert report["orders"] == {"paid": 1}


async def test_a_refund_still_owed_by_a_final_order_is_a_difference(desk: Desk) -> None:
    tale = Tale("o1", [("s-1", 0, [(900, 1)])])
    tale.paid()
    tale.cancelled()
    await desk.project(tale, facts=opening_stock())
    report = await desk.books.reconciliation()
    assert report["differences"] == [
        {
            "check": "final orders hold no money", "order_id": "o1", "account": "refunds_payable",
            "currency": "EUR", "expected": 0, "found": -900,
        }
    ]  # fmt: skip


async def test_goods_sold_for_an_order_that_was_not_delivered_are_a_difference(desk: Desk) -> None:
    tale = Tale("o1", [("s-1", 0, [(900, 3)])])
    tale.paid()
    tale.cancelled()
    tale.refunds_made()
    tale.facts = [fact for fact in tale.facts if not isinstance(fact[2], inventory.Returned)]
    await desk.project(tale, facts=opening_stock())
    report = await desk.books.reconciliation()
    assert report["differences"] == [
        {
            "check": "final orders hold no stock", "fulfilment_id": "o1-1", "expected": 0,
            "found": 3, "locked": 0,
        }
    ]  # fmt: skip


async def test_goods_that_left_a_store_and_reached_no_other_are_a_difference(desk: Desk) -> None:
    ten = (inventory.StockItem("tea", 10),)
    for store_id, fact in (
        ("s-1", inventory.TransferredOut("t", "s-3", ten, "ops")),
        ("s-2", inventory.TransferredOut("t", "s-3", ten, "ops")),
        ("s-3", inventory.TransferredIn("t", "s-1", ten)),
    ):
        desk.feed.put(SHARDS[2], store_id, fact, at=1000.0)
    await desk.project()
    assert (await desk.books.reconciliation())["differences"] == []  # the second is under way
    later = 1001.0 + TRANSFER_UNDER_WAY_S
    desk.feed.put(SHARDS[2], "s-1", inventory.Received("d", ten, "erp"), at=later)
    await desk.project()
    assert (await desk.books.reconciliation())["differences"] == [
        {
            "check": "transfers arrive as they left", "document_id": "t", "store_id": "s-2",
            "to_store": "s-3", "sku": "tea", "expected": 10, "found": 0,
        }
    ]  # fmt: skip
    desk.feed.put(SHARDS[2], "s-3", inventory.TransferredIn("t", "s-2", ten), at=later)
    await desk.project()
    assert (await desk.books.reconciliation())["balanced"]


async def test_goods_that_arrive_as_others_than_left_are_a_difference_at_once(desk: Desk) -> None:
    tea, cup = inventory.StockItem("tea", 10), inventory.StockItem("cup", 2)
    out = inventory.TransferredOut("t", "s-3", (tea, cup), "ops")
    desk.feed.put(SHARDS[2], "s-1", out)
    desk.feed.put(SHARDS[2], "s-3", inventory.TransferredIn("t", "s-1", (tea,)))
    await desk.project()
    (difference,) = (await desk.books.reconciliation())["differences"]
    assert (difference["sku"], difference["expected"], difference["found"]) == ("cup", 2, 0)


async def test_money_of_no_currency_is_a_difference(desk: Desk) -> None:
    await desk.project(
        facts=[("rider", "r-1", rider.Remitted("m", 0, 100, 100, "clerk", "", 9.0, "found"))]
    )
    differences = (await desk.books.reconciliation())["differences"]
    found = [one for one in differences if one["check"] == "every posting has a currency"]
    assert sorted((one["account"], one["found"]) for one in found) == [
        ("cash_difference:r-1", -100), ("cash_in_hand", 100),
    ]  # fmt: skip


@pytest.mark.parametrize("sold", [12, 13])
async def test_what_was_oversold_is_explained_whatever_the_limit(desk: Desk, sold: int) -> None:
    tale = Tale("o1", [("s-1", 0, [(900, sold)])])
    tale.paid()
    tale.picked("o1-1")
    tale.delivered("o1-1")
    tale.completed()
    limit = ("inventory", "s-1", inventory.OversellSet("sku-1", 2))
    await desk.project(tale, facts=[*opening_stock(10), limit])
    (cell,) = [row for row in await desk.books.stock("s-1") if row["sku"] == "sku-1"]
    assert cell["on_hand"] == 10 - sold
    report = await desk.books.reconciliation()
    assert report["differences"] == []
    assert report["balanced"] is True


async def test_below_zero_a_unit_that_no_document_took_is_a_difference(desk: Desk) -> None:
    limit = ("inventory", "s-1", inventory.OversellSet("sku-1", 2))
    await desk.project(a_sale(), facts=[*opening_stock(1), limit])
    assert (await desk.books.reconciliation())["balanced"] is True
    cells = tables.stock_balances
    await desk.write(
        update(cells).where(cells.c.store_id == "s-1", cells.c.sku == "sku-1").values(on_hand=-2)
    )
    differences = (await desk.books.reconciliation())["differences"]
    found = {row["check"]: (row["expected"], row["found"]) for row in differences}
    assert found.pop("stock on hand is explained") == (-1, -2)
    assert set(found) == {"stock balances equal their documents"}


async def test_a_lock_given_back_twice_is_a_difference(desk: Desk) -> None:
    items = (inventory.LockItem("l", "sku-1", 4),)
    facts = [
        *opening_stock(),
        ("inventory", "s-1", inventory.Locked("o1-1", "o1", items, 9.0)),
        ("inventory", "s-1", inventory.Released("o1-1", items, "expired")),
        ("inventory", "s-1", inventory.Released("o1-1", items, "expired")),
    ]
    await desk.project(facts=facts)
    report = await desk.books.reconciliation()
    assert [row["locked"] for row in report["differences"] if "locked" in row] == [-4]


async def test_goods_delivered_that_no_store_sold_are_a_difference(desk: Desk) -> None:
    tale = a_sale()
    tale.facts = [fact for fact in tale.facts if fact[0] != "inventory"]
    await desk.project(tale)
    report = await desk.books.reconciliation()
    assert report["differences"] == [
        {
            "check": "final orders hold no stock", "fulfilment_id": "o1-1", "expected": 2,
            "found": 0,
        }
    ]  # fmt: skip


async def test_cash_a_rider_never_reported_is_a_difference(desk: Desk) -> None:
    tale = Tale("o1", [("s-1", 0, [(900, 3)])], cod=True)
    tale.picked("o1-1")
    tale.delivered("o1-1", "r-5")
    tale.completed()
    tale.facts = [fact for fact in tale.facts if fact[0] != "rider"]
    await desk.project(tale, facts=opening_stock())
    report = await desk.books.reconciliation()
    assert {row["check"]: row["found"] for row in report["differences"]} == {
        "rider cash equals collected less remitted": 0,
        "riders and orders agree on cash": 900,
    }


def _a_posting() -> Any:
    return insert(tables.postings).values(
        number=1, step=77, account="customer_prepaid", currency="EUR", amount=5, order_id=""
    )


def _a_document() -> Any:
    return insert(tables.documents).values(
        number=10_000, document_id="forged", kind="sale", at=0.0, order_id="", fulfilment_id="",
        store_id="", rider_id="", reference="", data={},
    )  # fmt: skip


def _a_paid_event() -> Any:
    paid = order.Paid(1.0, "o1-p9", "sandbox", "x", 50)
    data = {name: getattr(paid, name) for name in paid.__struct_fields__}
    return insert(tables.order_events).values(
        order_id="o1", position=999, step=0, at=1.0, type="order.paid.v1", data=data
    )


TAMPERING: dict[str, tuple[Any, set[str]]] = {
    "a posting": (
        _a_posting(),
        {"every document balances", "account balances equal their postings"},
    ),
    "a document": (_a_document(), {"document numbers are dense"}),
    "an account's balance": (
        update(tables.account_balances)
        .where(tables.account_balances.c.account == "provider_clearing:sandbox")
        .values(debit=tables.account_balances.c.debit + 1),
        {
            "account balances equal their postings",
            "provider clearing equals captured less refunded",
        },
    ),
    "a payment": (_a_paid_event(), {"provider clearing equals captured less refunded"}),
    "a cell": (
        update(tables.stock_balances)
        .where(tables.stock_balances.c.sku == "sku-1", tables.stock_balances.c.store_id == "s-1")
        .values(on_hand=tables.stock_balances.c.on_hand - 1),
        {"stock balances equal their documents", "stock on hand is explained"},
    ),
    "a skipped event": (
        insert(tables.skipped_events).values(type="x.v1", count=2),
        {"nothing was left out"},
    ),
    "a lost record": (update(tables.positions).values(missing=1), {"nothing was left out"}),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_the_reconciliation_finds_what_does_not_belong(desk: Desk, what: str) -> None:
    await desk.project(a_sale(), facts=opening_stock())
    assert (await desk.books.reconciliation())["balanced"]
    statement, checks = TAMPERING[what]
    await desk.write(statement)
    report = await desk.books.reconciliation()
    assert {row["check"] for row in report["differences"]} == checks
    assert report["balanced"] is False
    assert report["difference_count"] == len(report["differences"])


async def test_sqlite_keeps_what_it_has_committed(sqlite_template: Any) -> None:
    engine = open_engine(f"sqlite:///{sqlite_template}")
    async with engine.connect() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == 2
        assert (await connection.execute(select(tables.positions))).all() == []
    await engine.dispose()
