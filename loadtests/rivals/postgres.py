"""FastAPI + PostgreSQL row updates: stock is rows, an order is a transaction.

What keeps it honest and quick: a pool of prepared connections, rows locked in one order (no
deadlocks) and only where there is enough, one statement for the order and its lines, an order id
made from the Idempotency-Key so that the primary key refuses repeats, room in the pages for
updates in place, and a commit that is on disk (``synchronous_commit``) and shared by all who
commit at that moment. The application is run by ``loadtests.rivals.servers``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from fastapi import FastAPI, Header

from loadtests.empty import PlaceBody
from loadtests.rivals.job import (
    STORE_VARIABLE,
    Answer,
    Books,
    Catalogue,
    Line,
    Wish,
    short_stock,
)

__all__ = ["SETTINGS", "application", "prepare"]

CONNECTIONS = 32
"""Per worker. More make the rows' locks wait longer for each other; measured."""

SETTINGS = {
    "synchronous_commit": "on", "fsync": "on", "full_page_writes": "on",
    "shared_buffers": "256MB", "wal_level": "minimal", "max_wal_senders": "0",
    "wal_compression": "on", "max_wal_size": "4GB", "checkpoint_timeout": "15min",
    "max_connections": "100", "jit": "off",
}  # fmt: skip
"""The server's settings: durable, and else tuned for short transactions."""

SCHEMA = """
CREATE TABLE stock (
    store_id text NOT NULL, sku text NOT NULL, on_hand int NOT NULL,
    locked int NOT NULL DEFAULT 0 CHECK (locked BETWEEN 0 AND on_hand),
    PRIMARY KEY (store_id, sku)
) WITH (fillfactor = 50);
CREATE TABLE orders (
    order_id text PRIMARY KEY, customer_id text NOT NULL, store_id text NOT NULL,
    state text NOT NULL, currency text NOT NULL, total bigint NOT NULL,
    lat double precision NOT NULL, lon double precision NOT NULL, address text NOT NULL,
    expires_at double precision NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX unpaid ON orders (expires_at) WHERE state = 'placed';
CREATE TABLE order_lines (
    order_id text NOT NULL, sku text NOT NULL, quantity int NOT NULL, unit_price bigint NOT NULL,
    PRIMARY KEY (order_id, sku)
);
"""

LOCK = """
WITH wish AS (SELECT * FROM unnest($2::text[], $3::int[]) AS w (sku, quantity)),
held AS (
    SELECT sku FROM stock WHERE store_id = $1 AND sku = ANY ($2) ORDER BY sku FOR UPDATE
)
UPDATE stock SET locked = locked + wish.quantity
FROM wish JOIN held USING (sku)
WHERE stock.store_id = $1 AND stock.sku = wish.sku AND on_hand - locked >= wish.quantity
RETURNING 1
"""

STORE = """
WITH placed AS (
    INSERT INTO orders
        (order_id, customer_id, store_id, state, currency, total, lat, lon, address, expires_at)
    VALUES ($1, $2, $3, 'placed', $4, $5, $6, $7, $8, $9)
    ON CONFLICT DO NOTHING RETURNING order_id
)
INSERT INTO order_lines
SELECT order_id, line.* FROM placed, unnest($10::text[], $11::int[], $12::bigint[]) AS line
RETURNING 1
"""

READ = "SELECT * FROM orders WHERE order_id = $1"
READ_LINES = "SELECT sku, quantity, unit_price FROM order_lines WHERE order_id = $1 ORDER BY sku"


class _Undone(Exception):
    """The transaction changes nothing: stock is short, or the order exists."""


async def prepare(url: str, catalogue: Catalogue) -> None:
    """Tables, and stock as the catalogue says."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SCHEMA)
        await connection.copy_records_to_table(
            "stock",
            records=[
                (store.store_id, sku, catalogue.stock)
                for store in catalogue.stores
                for sku in catalogue.prices
            ],
            columns=["store_id", "sku", "on_hand"],
        )
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def application() -> FastAPI:
    """The application; uvicorn's factory."""
    catalogue = Catalogue.from_environment()
    pool: Any = None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal pool
        async with asyncpg.create_pool(
            os.environ[STORE_VARIABLE], min_size=CONNECTIONS, max_size=CONNECTIONS
        ) as pool:
            yield

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.post("/v1/orders", status_code=201)
    async def place(body: PlaceBody, idempotency_key: Annotated[str, Header()]) -> Answer:
        wish = catalogue.wish(body, idempotency_key)
        async with pool.acquire() as connection:
            for store_id in wish.stores:
                try:
                    async with connection.transaction():
                        if await _lock(connection, wish, store_id):
                            return await _store(connection, wish, body, store_id)
                        raise _Undone
                except _Undone:
                    # Its store had enough the first time; now another one may be asked.
                    if (before := await _read(connection, wish.order_id)) is not None:
                        return before
        raise short_stock()

    @app.get("/books")
    async def books() -> Books:
        orders = await pool.fetchval("SELECT count(*) FROM orders")
        units = await pool.fetchval("SELECT coalesce(sum(locked), 0) FROM stock")
        over = await pool.fetchval(
            "SELECT coalesce(sum(locked - on_hand), 0) FROM stock WHERE locked > on_hand"
        )
        return Books(orders=orders, units=units, oversold=over)

    return app


async def _lock(connection: Any, wish: Wish, store_id: str) -> bool:
    """Whether the store had enough of every line; they are locked then."""
    lines = wish.answer.lines
    locked = await connection.fetch(
        LOCK, store_id, [line.sku for line in lines], [line.quantity for line in lines]
    )
    return len(locked) == len(lines)


async def _store(connection: Any, wish: Wish, body: PlaceBody, store_id: str) -> Answer:
    """Raises ``_Undone`` if the order exists."""
    answer, address = wish.answer, body.address
    assert address is not None
    stored = await connection.fetch(
        STORE, wish.order_id, body.customer.customer_id, store_id, answer.currency, answer.total,
        address.position.lat, address.position.lon, address.text, answer.expires_at,
        [line.sku for line in answer.lines], [line.quantity for line in answer.lines],
        [line.unit_price for line in answer.lines],
    )  # fmt: skip
    if not stored:
        raise _Undone
    answer.store_id = store_id
    return answer


async def _read(connection: Any, order_id: str) -> Answer | None:
    row = await connection.fetchrow(READ, order_id)
    if row is None:
        return None
    lines = await connection.fetch(READ_LINES, order_id)
    return Answer(
        order_id=order_id, state=row["state"], store_id=row["store_id"], currency=row["currency"],
        total=row["total"], expires_at=row["expires_at"], lines=[Line(**line) for line in lines],
    )  # fmt: skip
