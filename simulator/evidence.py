"""Collecting the books of the service through its public API, for the audit."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from orchestrator.client import DoorstepClient, Refusal, models
from orchestrator.client.many import read_many
from simulator.audit import Evidence
from simulator.day import PATIENT, Day

__all__ = [
    "Books",
    "StatementReader",
    "collect",
    "open_books",
    "read_orders",
    "sandbox_statement",
]

StatementReader = Callable[[], Awaitable[list[Mapping[str, Any]]]]
"""Reads the whole statement of the payment provider (it is not part of the service's API)."""


class Books:
    """Balances before the day, so that only its own changes are judged."""

    def __init__(self, accounts: Mapping[str, int]) -> None:
        self.accounts = accounts


async def open_books(day: Day) -> Books:
    """Read the balances before the first order."""
    accounts, _unbalanced = await _accounts(day.client("ops", "simulator"))
    return Books(accounts)


async def collect(
    day: Day,
    books: Books,
    tablets: Mapping[str, int],
    *,
    anomalies: Iterable[models.Anomaly] = (),
    statement: StatementReader | None = None,
) -> Evidence:
    """Everything the audit needs. ``tablets``: store to the last inbox offset its tablet showed."""
    ops = day.client("ops", "simulator")
    accounts, unbalanced = await _accounts(ops)
    moved = {
        name: balance - books.accounts.get(name, 0)
        for name, balance in accounts.items()
        if balance != books.accounts.get(name, 0)
    }
    stores = [store.store_id for store in day.plan.stores]
    return Evidence(
        orders=await read_orders(day),
        stock=await read_many(stores, lambda store_id: _stock(ops, store_id)),
        ledger_stock=await read_many(stores, lambda store_id: _ledger_stock(ops, store_id)),
        accounts=moved,
        unbalanced=unbalanced,
        statement=await _statement(day, statement),
        riders=await _riders(day, ops),
        unread=await read_many(list(tablets), lambda store_id: _unread(ops, store_id, tablets)),
        anomalies=list(anomalies),
        campaigns=await _campaigns(day, ops),
        reconciliation=await ops.reconciliation(),
    )


async def read_orders(
    day: Day, settled: Mapping[str, models.Order] | None = None
) -> dict[str, models.Order]:
    """Every acknowledged order as it is now; the settled ones are not asked for again."""
    orders = dict(settled or {})
    ops = day.client("ops", "simulator")
    missing = [order_id for order_id in day.world.by_order_id if order_id not in orders]
    found = await read_many(missing, lambda order_id: _order(ops, order_id))
    orders.update((order_id, order) for order_id, order in found.items() if order is not None)
    return orders


async def _campaigns(day: Day, ops: DoorstepClient) -> dict[str, models.Campaign]:
    """By key, those that were opened."""
    ids = {key: campaign_id for key, campaign_id in day.campaign_ids.items() if campaign_id}
    return await read_many(ids, lambda key: ops.campaign(ids[key]))


async def _order(ops: DoorstepClient, order_id: str) -> models.Order | None:
    try:
        return await ops.order(order_id)
    except Refusal as refusal:
        if refusal.status == 404:
            return None
        raise


async def _stock(ops: DoorstepClient, store_id: str) -> dict[str, models.Cell]:
    return {cell.sku: cell for cell in (await ops.stock(store_id)).items}


async def _ledger_stock(ops: DoorstepClient, store_id: str) -> dict[str, models.LedgerCell]:
    return {row.sku: row for row in (await ops.ledger_stock(store_id)).items}


async def _accounts(ops: DoorstepClient) -> tuple[dict[str, int], dict[str, int]]:
    """(account to balance, currency to debits less credits where they differ)."""
    balances: dict[str, int] = {}
    differences: dict[str, int] = {}
    for row in (await ops.ledger_accounts()).items:
        moved = row.debit - row.credit
        balances[row.account] = balances.get(row.account, 0) + moved
        differences[row.currency] = differences.get(row.currency, 0) + moved
    return balances, {currency: off for currency, off in differences.items() if off}


async def _statement(day: Day, statement: StatementReader | None) -> list[Mapping[str, Any]] | None:
    if statement is None:
        return None
    return [row for row in await statement() if row["order_id"] in day.world.by_order_id]


async def _riders(day: Day, ops: DoorstepClient) -> dict[str, models.Rider]:
    """Riders who were on shift (others are unknown to the service)."""

    async def read(rider_id: str) -> models.Rider | None:
        try:
            return await ops.rider(rider_id)
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    found = await read_many([rider.rider_id for rider in day.plan.riders], read)
    return {rider_id: rider for rider_id, rider in found.items() if rider is not None}


async def _unread(ops: DoorstepClient, store_id: str, tablets: Mapping[str, int]) -> int:
    """Messages the inbox holds beyond what the tablet has shown."""
    after = tablets[store_id]
    page = await ops.store_inbox(store_id, after=after, limit=1)
    return max(0, page.head - after)


def sandbox_statement(day: Day, api_key: str) -> StatementReader:
    """Reads the sandbox provider's statement with its own API key."""
    provider = day.wire.client(api_key, PATIENT)
    path = f"{provider.base_url}/sandbox/statement"

    async def read() -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        after = "0"
        while True:
            page = await provider.get(dict[str, Any], path, {"after": after, "limit": 500})
            rows.extend(page["entries"])
            if not page["after"]:
                return rows
            after = page["after"]

    return read
