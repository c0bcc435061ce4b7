"""Reads of the ledger: the ``Books`` port of the service (``orchestrator.ports``)."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from msgspec.msgpack import Decoder
from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.engine.page import Page
from actors.engine.ports import JOURNAL_AWAY, Journal, JournalUnavailable, Shard
from adapters.ledger import tables
from adapters.ledger.batch import OrderFold
from adapters.ledger.cursors import PAGE_MAX, Moment, Number, RowId, Step, pack, page_size, unpack
from adapters.ledger.documents import plain
from adapters.ledger.engine import is_away
from adapters.ledger.reconciliation import reconcile
from domain.errors import Unavailable
from domain.order.view import view

__all__ = ["SqlBooks"]

_decode_fold = Decoder(OrderFold).decode


class SqlBooks:
    """All raise ``Unavailable`` with code ``ledger-away`` when SQL cannot be reached, and
    ``Refused`` with ``bad-cursor`` for a cursor they did not make. Nothing is found by a text with
    U+0000, which no row can hold (see ``writing``).

    ``journal`` and ``shards`` are asked for the heads by :meth:`lag`.
    """

    def __init__(
        self, engine: AsyncEngine, journal: Journal | None = None, shards: Sequence[Shard] = ()
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._shards = tuple(shards)

    async def orders(
        self,
        *,
        state: str = "",
        customer_id: str = "",
        store_id: str = "",
        channel: str = "",
        phone_ending: str = "",
        rider_id: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Page:
        """Last projected views of orders, newest first; filters that are empty are left out."""
        last = unpack(after, tuple[Moment, RowId])
        if _in_no_row(state, customer_id, store_id, channel, phone_ending, rider_id):
            return Page([], None)
        table, size = tables.orders, page_size(limit)
        query = _folded(select(table.c.placed_at, table.c.order_id, tables.order_folds.c.data))
        for column, value in (
            (table.c.state, state),
            (table.c.customer_id, customer_id),
            (table.c.channel, channel),
            (table.c.phone_ending, phone_ending),
        ):
            if value:
                query = query.where(column == value)
        if store_id:
            query = query.where(table.c.order_id.in_(_orders_of("store_id", store_id)))
        if rider_id:
            query = query.where(table.c.order_id.in_(_orders_of("rider_id", rider_id)))
        if last is not None:
            query = query.where(tuple_(table.c.placed_at, table.c.order_id) < tuple_(*last))
        query = query.order_by(table.c.placed_at.desc(), table.c.order_id.desc())
        async with self._connection() as connection:
            rows = (await connection.execute(query.limit(size + 1))).all()
        page = rows[:size]
        more = len(rows) > size
        return Page(
            [_view(row.data) for row in page],
            pack(page[-1].placed_at, page[-1].order_id) if more else None,
        )

    async def order(self, order_id: str) -> dict[str, Any] | None:
        """One order's last projected view; None for an order the ledger does not know (yet)."""
        if _in_no_row(order_id):
            return None
        folds = tables.order_folds
        query = select(folds.c.data).where(folds.c.order_id == order_id)
        async with self._connection() as connection:
            data = (await connection.execute(query)).scalar_one_or_none()
        return None if data is None else _view(data)

    async def order_history(self, order_id: str) -> Sequence[dict[str, Any]]:
        """Everything about an order: its events, and every document of money and stock that they
        led to with its postings and stock lines, as ``{at, type, data}``, oldest first."""
        if _in_no_row(order_id):
            return []
        events, documents = tables.order_events, tables.documents
        async with self._connection() as connection:
            facts = await connection.execute(
                select(events.c.at, events.c.type, events.c.data)
                .where(events.c.order_id == order_id)
                .order_by(events.c.position, events.c.step)
            )
            history = [{"at": row.at, "type": row.type, "data": row.data} for row in facts]
            query = select(documents).where(documents.c.order_id == order_id)
            papers = await self._with_legs(connection, query.order_by(documents.c.number))
        history += [
            {"at": paper["at"], "type": f"document.{paper['kind']}", "data": paper}
            for paper in papers
        ]
        return sorted(history, key=lambda step: float(step["at"]))

    async def accounts(self) -> Sequence[dict[str, Any]]:
        """Trial balance: ``{account, currency, debit, credit, balance}``, by account."""
        table = tables.account_balances
        query = select(table).order_by(table.c.account, table.c.currency)
        async with self._connection() as connection:
            rows = await connection.execute(query)
            return [{**row._mapping, "balance": row.debit - row.credit} for row in rows]

    async def documents(self, *, after: str = "", limit: int = 100, kind: str = "") -> Page:
        """Documents of stock and money with their postings and stock lines, oldest first."""
        last = unpack(after, tuple[Number])
        if _in_no_row(kind):
            return Page([], None)
        table, size = tables.documents, page_size(limit)
        query = select(table).order_by(table.c.number)
        if kind:
            query = query.where(table.c.kind == kind)
        if last is not None:
            query = query.where(table.c.number > last[0])
        async with self._connection() as connection:
            papers = await self._with_legs(connection, query.limit(size + 1))
        page = papers[:size]
        return Page(page, pack(page[-1]["number"]) if len(papers) > size else None)

    async def postings(self, *, after: str = "", limit: int = 100, account: str = "") -> Page:
        """Postings, oldest first: ``{document_id, number, kind, at, order_id, account, currency,
        amount}``, debit positive."""
        last = unpack(after, tuple[Number, Step])
        if _in_no_row(account):
            return Page([], None)
        legs, papers, size = tables.postings, tables.documents, page_size(limit)
        query = (
            select(
                papers.c.document_id, legs.c.number, legs.c.step, papers.c.kind, papers.c.at,
                legs.c.order_id, legs.c.account, legs.c.currency, legs.c.amount,
            )
            .join(papers, papers.c.number == legs.c.number)
            .order_by(legs.c.number, legs.c.step)
        )  # fmt: skip
        if account:
            query = query.where(legs.c.account == account)
        if last is not None:
            query = query.where(tuple_(legs.c.number, legs.c.step) > tuple_(*last))
        async with self._connection() as connection:
            rows = [dict(row._mapping) for row in await connection.execute(query.limit(size + 1))]
        page = rows[:size]
        end = pack(page[-1]["number"], page[-1]["step"]) if len(rows) > size else None
        return Page(page, end)

    async def stock(self, store_id: str) -> Sequence[dict[str, Any]]:
        """Per SKU from documents alone: ``{store_id, sku}`` and every measure of
        :data:`adapters.ledger.tables.STOCK_MEASURES`."""
        if _in_no_row(store_id):
            return []
        table = tables.stock_balances
        query = select(table).where(table.c.store_id == store_id).order_by(table.c.sku)
        async with self._connection() as connection:
            return [dict(row._mapping) for row in await connection.execute(query)]

    async def lag(self) -> dict[str, int]:
        """Records not yet projected, per shard; empty without a journal. Raises ``Unavailable``
        with ``journal-away`` when it cannot say."""
        if self._journal is None:
            return {}
        try:
            heads = await self._journal.heads(self._shards)
        except JournalUnavailable as error:
            raise Unavailable(JOURNAL_AWAY, "The journal is away; try again soon.") from error
        table = tables.positions
        async with self._connection() as connection:
            rows = await connection.execute(select(table.c.shard, table.c.position))
            applied = {row.shard: row.position for row in rows}
        return {
            str(shard): max(0, heads.get(shard, 0) - applied.get(str(shard), 0))
            for shard in self._shards
        }

    async def reconciliation(self) -> dict[str, Any]:
        """See :func:`adapters.ledger.reconciliation.reconcile`."""
        with _away():
            return await reconcile(self._engine)

    async def _with_legs(
        self, connection: AsyncConnection, query: Select[Any]
    ) -> list[dict[str, Any]]:
        """Documents as JSON, each with its postings and what its stock lines changed."""
        papers = [dict(row._mapping) for row in await connection.execute(query)]
        numbers = [paper["number"] for paper in papers]
        legs, lines = tables.postings, tables.stock_lines
        postings = await _by_number(
            connection,
            select(legs.c.number, legs.c.account, legs.c.currency, legs.c.amount),
            legs.c.number,
            legs.c.step,
            numbers,
        )
        stock = await _by_number(connection, select(lines), lines.c.number, lines.c.step, numbers)
        return [
            {
                **paper,
                "postings": postings.get(paper["number"], []),
                "stock": [_without_zeros(line) for line in stock.get(paper["number"], [])],
            }
            for paper in papers
        ]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        with _away():
            async with self._engine.connect() as connection:
                yield connection


def _in_no_row(*texts: str) -> bool:
    return any("\0" in text for text in texts)


def _folded(query: Select[Any]) -> Select[Any]:
    """With the fold of each order."""
    orders, folds = tables.orders, tables.order_folds
    return query.join_from(orders, folds, orders.c.order_id == folds.c.order_id)


def _view(fold: bytes) -> dict[str, Any]:
    seen: dict[str, Any] = plain(view(_decode_fold(fold).state))
    return seen


def _orders_of(column: str, value: str) -> Select[Any]:
    table = tables.fulfilments
    return select(table.c.order_id).where(table.c[column] == value)


async def _by_number(
    connection: AsyncConnection,
    query: Select[Any],
    number: ColumnElement[int],
    step: ColumnElement[int],
    numbers: Sequence[int],
) -> dict[int, list[dict[str, Any]]]:
    """Legs or lines of these documents, by document number, in order."""
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for start in range(0, len(numbers), PAGE_MAX):
        chunk = numbers[start : start + PAGE_MAX]
        for row in await connection.execute(query.where(number.in_(chunk)).order_by(number, step)):
            leg = dict(row._mapping)
            found[leg.pop("number")].append(leg)
    return found


def _without_zeros(line: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in line.items()
        if name != "step" and not (name in tables.STOCK_MEASURES and value == 0)
    }


@contextmanager
def _away() -> Iterator[None]:
    """Troubles of the database as the service's own error."""
    try:
        yield
    except Exception as error:
        if not is_away(error):
            raise
        raise Unavailable(
            "ledger-away", "The ledger's database cannot be reached now; try again soon."
        ) from error
