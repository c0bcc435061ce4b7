"""Is every unit and every cent explained? Compares the books with what they were made from.

Each check derives the same figure twice, by ways that share as little as possible: balances from
their documents, clearing accounts from the orders' own events, cash from riders and from orders,
stock from the inventories' documents and from what the orders say was delivered. Every difference
is listed; an order that is still open may own money or stock and is not a difference.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.ledger.tables import (
    STOCK_MEASURES,
    account_balances,
    counters,
    documents,
    fulfilments,
    order_events,
    orders,
    positions,
    postings,
    skipped_events,
    stock_balances,
    stock_lines,
)
from domain import order
from domain.message import Event
from domain.order.state import FINAL_STATES

__all__ = ["DIFFERENCES_MAX", "TRANSFER_UNDER_WAY_S", "reconcile"]

DIFFERENCES_MAX = 1_000
"""Most differences listed; ``difference_count`` counts them all."""

TRANSFER_UNDER_WAY_S = 3_600.0
"""Service seconds, by the newest document, for which goods may have left one store and not have
come to the other. The arrival is owed until it is booked, which takes a moment unless the other
store's shard is away."""

CLOSED_BY_THE_END = (
    "customer_prepaid", "customer_receivable", "customer_unallocated", "refunds_payable",
    "suspense",
)  # fmt: skip
"""Accounts that a final order has left at zero."""

Difference = dict[str, Any]
Check = Callable[[AsyncConnection], Awaitable[list[Difference]]]


async def reconcile(engine: AsyncEngine) -> dict[str, Any]:
    """The report, JSON-able: ``balanced`` (no difference), ``difference_count``, ``differences``
    (each with ``check``, what it is about, ``expected`` and ``found``), ``checks`` (differences per
    check), ``orders`` by state, ``accounts`` (balance per currency), ``stock`` (units by measure),
    ``open`` (what open orders own in the accounts of :data:`CLOSED_BY_THE_END`) and ``documents``.

    All checks read one snapshot of the database. Raises the driver's errors when it is away.
    """
    async with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        checks: dict[str, int] = {}
        differences: list[Difference] = []
        for name, check in _CHECKS.items():
            found = await check(connection)
            checks[name] = len(found)
            differences += [{"check": name, **difference} for difference in found]
        return {
            "balanced": not differences,
            "difference_count": len(differences),
            "differences": differences[:DIFFERENCES_MAX],
            "checks": checks,
            **await _totals(connection),
        }


async def _totals(connection: AsyncConnection) -> dict[str, Any]:
    states = select(orders.c.state, func.count().label("orders")).group_by(orders.c.state)
    accounts = select(account_balances).order_by(account_balances.c.account)
    units = select(*(func.coalesce(func.sum(stock_balances.c[m]), 0) for m in STOCK_MEASURES))
    last = select(counters.c.value).where(counters.c.name == "document")
    balances: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.execute(accounts):
        balances[row.account][row.currency] = row.debit - row.credit
    return {
        "orders": {row.state: row.orders for row in await connection.execute(states)},
        "accounts": dict(balances),
        "stock": dict(
            zip(STOCK_MEASURES, map(int, (await connection.execute(units)).one()), strict=True)
        ),
        "open": await _open_amounts(connection),
        "documents": (await connection.execute(last)).scalar_one(),
    }


async def _documents_balance(connection: AsyncConnection) -> list[Difference]:
    """Debits and credits of every document are equal in every currency."""
    total = func.sum(postings.c.amount)
    query = (
        select(documents.c.document_id, postings.c.currency, total.label("total"))
        .join(documents, documents.c.number == postings.c.number)
        .group_by(documents.c.document_id, postings.c.currency)
        .having(total != 0)
    )
    return [
        {
            "document_id": row.document_id,
            "currency": row.currency,
            "expected": 0,
            "found": _int(row.total),
        }
        for row in await connection.execute(query)
    ]


async def _postings_have_a_currency(connection: AsyncConnection) -> list[Difference]:
    """Every amount is of some currency."""
    query = (
        select(documents.c.document_id, postings.c.account, postings.c.amount)
        .join(documents, documents.c.number == postings.c.number)
        .where(postings.c.currency == "")
        .order_by(postings.c.number, postings.c.step)
    )
    return [
        {
            "document_id": row.document_id, "account": row.account, "currency": "",
            "expected": 0, "found": row.amount,
        }
        for row in await connection.execute(query)
    ]  # fmt: skip


async def _documents_are_dense(connection: AsyncConnection) -> list[Difference]:
    """No document number is missing, and no posting or stock line is without its document."""
    last = select(counters.c.value).where(counters.c.name == "document")
    expected = (await connection.execute(last)).scalar_one()
    found = (await connection.execute(select(func.count()).select_from(documents))).scalar_one()
    differences = []
    if found != expected:
        differences.append({"table": "documents", "expected": expected, "found": found})
    for table in (postings, stock_lines):
        orphans = (
            select(func.count())
            .select_from(table.outerjoin(documents, documents.c.number == table.c.number))
            .where(documents.c.number.is_(None))
        )
        count = (await connection.execute(orphans)).scalar_one()
        if count:
            differences.append({"table": table.name, "expected": 0, "found": count})
    return differences


async def _accounts_agree(connection: AsyncConnection) -> list[Difference]:
    """Account balances are the sums of their postings."""
    keys = (postings.c.account, postings.c.currency)
    debit = func.sum(case((postings.c.amount > 0, postings.c.amount), else_=0))
    credit = func.sum(case((postings.c.amount < 0, -postings.c.amount), else_=0))
    sums = await _sums(connection, select(*keys, debit, credit).group_by(*keys))
    kept = await _sums(connection, select(*account_balances.columns))
    return [
        {"account": account, "currency": currency, "expected": expected, "found": found}
        for (account, currency), expected, found in _unequal(sums, kept)
    ]


async def _cells_agree(connection: AsyncConnection) -> list[Difference]:
    """Stock balances are the sums of their documents' lines."""
    keys = (stock_lines.c.store_id, stock_lines.c.sku)
    totals = (func.sum(stock_lines.c[measure]) for measure in STOCK_MEASURES)
    sums = await _sums(connection, select(*keys, *totals).group_by(*keys))
    kept = await _sums(connection, select(*stock_balances.columns))
    return [
        {
            "store_id": store_id, "sku": sku,
            "expected": dict(zip(STOCK_MEASURES, expected or (), strict=False)),
            "found": dict(zip(STOCK_MEASURES, found or (), strict=False)),
        }
        for (store_id, sku), expected, found in _unequal(sums, kept)
    ]  # fmt: skip


async def _cells_are_explained(connection: AsyncConnection) -> list[Difference]:
    """What is on hand is what came in less what went out, and no lock is given back twice. Below
    zero on hand is explained where a SKU may be oversold; beyond its limit the inventory itself
    reports an anomaly."""
    cell = stock_balances.c
    explained = (
        cell.received + cell.transferred_in - cell.transferred_out + cell.counted
        - cell.sold + cell.returned - cell.short
    )  # fmt: skip
    query = select(cell.store_id, cell.sku, cell.on_hand, cell.locked, explained.label("explained"))
    wrong = (cell.on_hand != explained) | (cell.locked < 0)
    return [
        {
            "store_id": row.store_id, "sku": row.sku, "expected": row.explained,
            "found": row.on_hand, "locked": row.locked,
        }
        for row in await connection.execute(query.where(wrong))
    ]  # fmt: skip


async def _transfers_arrive(connection: AsyncConnection) -> list[Difference]:
    """Of each document of a store, what went out to another store is what came in there. One whose
    other side is not told yet is under way, for :data:`TRANSFER_UNDER_WAY_S` at most."""
    newest = select(documents.c.at).order_by(documents.c.number.desc()).limit(1)
    since = ((await connection.execute(newest)).scalar() or 0.0) - TRANSFER_UNDER_WAY_S
    query = (
        select(
            documents.c.kind, documents.c.store_id, documents.c.reference, documents.c.data,
            documents.c.at, stock_lines.c.sku, stock_lines.c.transferred_out,
            stock_lines.c.transferred_in,
        )
        .join(stock_lines, stock_lines.c.number == documents.c.number)
        .where(documents.c.kind.in_(("transfer_out", "transfer_in")))
        .order_by(documents.c.number, stock_lines.c.step)
    )  # fmt: skip
    moved: dict[tuple[str, str, str], _Transfer] = {}
    async for row in await connection.stream(query):
        if row.kind == "transfer_out":
            key = row.store_id, row.data["to_store"], row.reference
        else:
            key = row.data["from_store"], row.store_id, row.reference
        transfer = moved.setdefault(key, _Transfer(row.at))
        transfer.sides.add(row.kind)
        transfer.sent[row.sku] += row.transferred_out
        transfer.arrived[row.sku] += row.transferred_in
        if transfer.sent == transfer.arrived:
            del moved[key]  # what is kept is what is under way, and what is wrong
    return [
        {
            "document_id": document_id, "store_id": from_store, "to_store": to_store, "sku": sku,
            "expected": transfer.sent[sku], "found": transfer.arrived[sku],
        }
        for (from_store, to_store, document_id), transfer in moved.items()
        if len(transfer.sides) == 2 or transfer.at < since
        for sku in transfer.sent
        if transfer.sent[sku] != transfer.arrived[sku]
    ]  # fmt: skip


@dataclass(slots=True)
class _Transfer:
    """Goods of one document between two stores: units by SKU, as either store told."""

    at: float
    """When the first of them told."""
    sides: set[str] = field(default_factory=set)
    sent: Counter[str] = field(default_factory=Counter)
    arrived: Counter[str] = field(default_factory=Counter)


async def _final_orders_hold_no_stock(connection: AsyncConnection) -> list[Difference]:
    """A final order has no lock left, and exactly what it delivered has left its stores."""
    out = func.sum(stock_lines.c.sold - stock_lines.c.returned).label("units_out")
    locked = func.sum(stock_lines.c.locked).label("locked")
    moved = (
        select(stock_lines.c.fulfilment_id, documents.c.order_id, out, locked)
        .join(documents, documents.c.number == stock_lines.c.number)
        .where(stock_lines.c.fulfilment_id != "")
        .group_by(stock_lines.c.fulfilment_id, documents.c.order_id)
        .subquery()
    )
    expected = func.coalesce(fulfilments.c.units_out, 0).label("expected")
    query = (
        select(moved.c.fulfilment_id, moved.c.units_out, moved.c.locked, expected)
        .join(orders, orders.c.order_id == moved.c.order_id)
        .outerjoin(fulfilments, fulfilments.c.fulfilment_id == moved.c.fulfilment_id)
        .where(orders.c.state.in_(FINAL_STATES))
        .where((moved.c.locked != 0) | (moved.c.units_out != expected))
    )
    differences = [
        {
            "fulfilment_id": row.fulfilment_id, "expected": _int(row.expected),
            "found": _int(row.units_out), "locked": _int(row.locked),
        }
        for row in await connection.execute(query)
    ]  # fmt: skip
    never_moved = (
        select(fulfilments.c.fulfilment_id, fulfilments.c.units_out)
        .outerjoin(moved, moved.c.fulfilment_id == fulfilments.c.fulfilment_id)
        .where(moved.c.fulfilment_id.is_(None), fulfilments.c.units_out != 0)
    )
    differences += [
        {"fulfilment_id": row.fulfilment_id, "expected": row.units_out, "found": 0}
        for row in await connection.execute(never_moved)
    ]
    return differences


async def _locks_belong_to_orders(connection: AsyncConnection) -> list[Difference]:
    """Stock is locked for orders that exist: a lock whose order was never stored is given back when
    it expires, and is a difference only while it is held."""
    query = (
        select(documents.c.order_id, func.sum(stock_lines.c.locked).label("locked"))
        .join(documents, documents.c.number == stock_lines.c.number)
        .outerjoin(orders, orders.c.order_id == documents.c.order_id)
        .where(documents.c.order_id != "", orders.c.order_id.is_(None))
        .group_by(documents.c.order_id)
        .having(func.sum(stock_lines.c.locked) != 0)
    )
    return [
        {"order_id": row.order_id, "expected": 0, "found": _int(row.locked)}
        for row in await connection.execute(query)
    ]


async def _final_orders_hold_no_money(connection: AsyncConnection) -> list[Difference]:
    """Whatever a final order was paid has become income or has gone back."""
    return [
        {
            "order_id": row.order_id, "account": row.account, "currency": row.currency,
            "expected": 0, "found": _int(row.total),
        }
        for row in await connection.execute(_left_on_orders(final=True))
    ]  # fmt: skip


async def _providers_agree(connection: AsyncConnection) -> list[Difference]:
    """A provider's clearing account is what orders say it captured less what it refunded."""
    expected = await _provider_sums(connection)
    found = await _balances(connection, "provider_clearing:")
    return _compare(expected, found, "provider")


async def _riders_agree(connection: AsyncConnection) -> list[Difference]:
    """What riders hold is what orders say they collected less what they remitted."""
    expected: Counter[tuple[str, str]] = Counter()
    currency = ""
    async for kind, event in _events(connection, (order.Placed, order.FulfilmentDelivered)):
        if kind is order.Placed:
            currency = event["currency"]
        elif event["cash"] and event["rider_id"]:
            expected[event["rider_id"], currency] += event["cash"]
    query = select(documents.c.rider_id, documents.c.data).where(documents.c.kind == "remittance")
    for row in await connection.execute(query):
        expected[row.rider_id, row.data["currency"]] -= row.data["owed"]
    return _compare(expected, await _balances(connection, "rider_cash:"), "rider_id")


async def _cash_clearing_is_zero(connection: AsyncConnection) -> list[Difference]:
    """Riders and orders tell the same story of the cash taken at the door."""
    found = await _balances(connection, "cash_clearing:")
    return _compare({}, found, "rider_id")


async def _nothing_was_left_out(connection: AsyncConnection) -> list[Difference]:
    """Every event was projected, and no record of the feed is missing."""
    skipped = await connection.execute(select(skipped_events).where(skipped_events.c["count"] != 0))
    lost = await connection.execute(select(positions).where(positions.c.missing != 0))
    return [
        {"event_type": row.type, "expected": 0, "found": row.count} for row in skipped.mappings()
    ] + [{"shard": row.shard, "expected": 0, "found": row.missing} for row in lost]


_CHECKS: Mapping[str, Check] = {
    "every document balances": _documents_balance,
    "every posting has a currency": _postings_have_a_currency,
    "document numbers are dense": _documents_are_dense,
    "account balances equal their postings": _accounts_agree,
    "provider clearing equals captured less refunded": _providers_agree,
    "rider cash equals collected less remitted": _riders_agree,
    "riders and orders agree on cash": _cash_clearing_is_zero,
    "final orders hold no money": _final_orders_hold_no_money,
    "stock balances equal their documents": _cells_agree,
    "stock on hand is explained": _cells_are_explained,
    "transfers arrive as they left": _transfers_arrive,
    "final orders hold no stock": _final_orders_hold_no_stock,
    "locks belong to orders": _locks_belong_to_orders,
    "nothing was left out": _nothing_was_left_out,
}


async def _provider_sums(connection: AsyncConnection) -> Counter[tuple[str, str]]:
    """Captured less refunded by (provider, currency), from the orders' events alone."""
    sums: Counter[tuple[str, str]] = Counter()
    currency = ""
    flagged: dict[str, tuple[str, str, int]] = {}
    refunds: dict[str, tuple[str, str, int]] = {}
    kinds = (
        order.Placed, order.Paid, order.PaymentFlagged, order.RefundRequested, order.RefundDone,
    )  # fmt: skip
    async for kind, event in _events(connection, kinds):
        if kind is order.Placed:
            currency = event["currency"]
        elif kind is order.Paid:
            sums[event["provider"], currency] += event["amount"]
        elif kind is order.PaymentFlagged:
            flagged[event["payment_id"]] = event["provider"], event["currency"], event["amount"]
        elif kind is order.RefundRequested:
            of = event["provider"], event["currency"] or currency, event["amount"]
            refunds[event["refund_id"]] = of
            if event["payment_id"] in flagged:  # it had been captured after all
                provider, its_currency, amount = flagged.pop(event["payment_id"])
                sums[provider, its_currency] += amount
        elif not event["refused"] and event["refund_id"] in refunds:
            provider, its_currency, amount = refunds.pop(event["refund_id"])
            sums[provider, its_currency] -= amount
    return sums


async def _events(
    connection: AsyncConnection, kinds: tuple[type[Event], ...]
) -> AsyncIterator[tuple[type[Event], dict[str, Any]]]:
    """(kind, event as stored) of these kinds, order by order (each begins with its Placed), oldest
    first."""
    by_name = {str(kind.__struct_config__.tag): kind for kind in kinds}
    query = (
        select(order_events.c.type, order_events.c.data)
        .where(order_events.c.type.in_(by_name))
        .order_by(order_events.c.order_id, order_events.c.position, order_events.c.step)
    )
    rows = await connection.stream(query)
    async for name, data in rows:
        yield by_name[name], data


async def _balances(connection: AsyncConnection, prefix: str) -> Counter[tuple[str, str]]:
    """(what follows the prefix, currency) -> balance of the accounts with that prefix."""
    table = account_balances
    query = select(table).where(table.c.account.startswith(prefix, autoescape=True))
    return Counter(
        {
            (row.account.removeprefix(prefix), row.currency): row.debit - row.credit
            for row in await connection.execute(query)
        }
    )


def _compare(
    expected: Mapping[tuple[str, str], int], found: Mapping[tuple[str, str], int], name: str
) -> list[Difference]:
    return [
        {
            name: key[0], "currency": key[1], "expected": expected.get(key, 0),
            "found": found.get(key, 0),
        }
        for key in sorted({*expected, *found})
        if expected.get(key, 0) != found.get(key, 0)
    ]  # fmt: skip


async def _open_amounts(connection: AsyncConnection) -> dict[str, dict[str, int]]:
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in await connection.execute(_left_on_orders(final=False)):
        sums[row.account][row.currency] += _int(row.total)
    return {account: dict(by_currency) for account, by_currency in sums.items()}


def _left_on_orders(*, final: bool) -> Select[Any]:
    """What each final (or open) order still owns in the accounts that must end at zero."""
    total = func.sum(postings.c.amount)
    keys = (postings.c.order_id, postings.c.account, postings.c.currency)
    in_state = orders.c.state.in_(FINAL_STATES)
    return (
        select(*keys, total.label("total"))
        .join(orders, orders.c.order_id == postings.c.order_id)
        .where(postings.c.account.in_(CLOSED_BY_THE_END), in_state if final else ~in_state)
        .group_by(*keys)
        .having(total != 0)
    )


async def _sums(
    connection: AsyncConnection, query: Select[Any]
) -> dict[tuple[str, str], tuple[int, ...]]:
    """(first two columns) -> the others, as integers."""
    rows = await connection.execute(query)
    return {(row[0], row[1]): tuple(_int(value) for value in row[2:]) for row in rows}


def _unequal(
    left: Mapping[tuple[str, str], tuple[int, ...]],
    right: Mapping[tuple[str, str], tuple[int, ...]],
) -> list[tuple[tuple[str, str], tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Keys whose figures differ; figures that are all zero are the same as none."""
    return [
        (key, left.get(key), right.get(key))
        for key in sorted({*left, *right})
        if any(left.get(key, ())) != any(right.get(key, ()))
        or (key in left and key in right and left[key] != right[key])
    ]


def _int(value: Any) -> int:
    """Sums come back as Decimal from PostgreSQL."""
    return int(value or 0)
