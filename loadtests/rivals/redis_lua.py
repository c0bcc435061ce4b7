"""FastAPI + Redis Lua: one script locks the stock and stores the order, fsynced before it answers.

What keeps it honest and quick: one round trip for an order, the nearest stores first and the rest
only if those are short, hiredis, a pool of connections, and an append-only file with
``appendfsync always``, which all commands of one turn of Redis's loop share. The application is run
by ``loadtests.rivals.servers``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import redis.asyncio as redis
from fastapi import FastAPI, Header

from loadtests.empty import PlaceBody
from loadtests.rivals.job import STORE_VARIABLE, Answer, Books, Catalogue, Wish, short_stock

__all__ = ["application", "prepare"]

CONNECTIONS = 128
"""Per worker."""
STORES_FIRST = 5
"""Stores the script looks at before the others are sent to it."""
UNPAID = "unpaid"

PLACE = """
local before = redis.call('HMGET', KEYS[1], 'store', 'order')
if before[1] then return before end
local lines = tonumber(ARGV[4])
for at = 3, #KEYS do
  local cells = {}
  for i = 0, lines - 1 do
    cells[#cells + 1] = ARGV[5 + 2 * i] .. ':on_hand'
    cells[#cells + 1] = ARGV[5 + 2 * i] .. ':locked'
  end
  local found = redis.call('HMGET', KEYS[at], unpack(cells))
  local enough = true
  for i = 0, lines - 1 do
    local free = tonumber(found[2 * i + 1] or '0') - tonumber(found[2 * i + 2] or '0')
    if free < tonumber(ARGV[6 + 2 * i]) then enough = false break end
  end
  if enough then
    for i = 0, lines - 1 do
      redis.call('HINCRBY', KEYS[at], ARGV[5 + 2 * i] .. ':locked', ARGV[6 + 2 * i])
    end
    redis.call('HSET', KEYS[1], 'store', KEYS[at], 'order', ARGV[1], 'customer', ARGV[2])
    redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
    return {KEYS[at], false}
  end
end
return false
"""
"""KEYS: order, unpaid orders by expiry, stock of each store to try.
ARGV: order, customer and address, expiry, number of lines, then SKU and quantity of each."""


async def prepare(url: str, catalogue: Catalogue) -> None:
    """Stock as the catalogue says."""
    client: Any = redis.Redis.from_url(url)
    cells = {f"{sku}:on_hand": catalogue.stock for sku in catalogue.prices}
    for store in catalogue.stores:
        await client.hset(_stock(store.store_id), mapping=cells)
    await client.aclose()


def application() -> FastAPI:
    """The application; uvicorn's factory."""
    catalogue = Catalogue.from_environment()
    client: Any = None
    script: Any = None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal client, script
        pool: Any = redis.BlockingConnectionPool.from_url(
            os.environ[STORE_VARIABLE], max_connections=CONNECTIONS, timeout=30
        )
        client = redis.Redis(connection_pool=pool)
        script = client.register_script(PLACE)
        await client.script_load(PLACE)
        yield
        await client.aclose()
        await pool.disconnect()

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.post("/v1/orders", status_code=201)
    async def place(body: PlaceBody, idempotency_key: Annotated[str, Header()]) -> Answer:
        wish = catalogue.wish(body, idempotency_key)
        for stores in (wish.stores[:STORES_FIRST], wish.stores[STORES_FIRST:]):
            if not stores:
                continue
            keys, arguments = _call(wish, body, stores)
            done = await script(keys=keys, args=arguments)
            if done is not None:
                answer = wish.answer if done[1] is None else Answer.model_validate_json(done[1])
                answer.store_id = done[0].decode().partition(":")[2]
                return answer
        raise short_stock()

    @app.get("/books")
    async def books() -> Books:
        units = over = 0
        for store in catalogue.stores:
            cells = await client.hgetall(_stock(store.store_id))
            for name, value in cells.items():
                if name.endswith(b":locked"):
                    units += int(value)
                    on_hand = int(cells[name.replace(b":locked", b":on_hand")])
                    over += max(0, int(value) - on_hand)
        return Books(orders=await client.zcard(UNPAID), units=units, oversold=over)

    return app


def _call(wish: Wish, body: PlaceBody, stores: Any) -> tuple[list[str], list[Any]]:
    answer, address = wish.answer, body.address
    assert address is not None
    who = f"{body.customer.model_dump_json()}{address.model_dump_json()}"
    arguments: list[Any] = [answer.model_dump_json(), who, answer.expires_at, len(answer.lines)]
    for line in answer.lines:
        arguments += (line.sku, line.quantity)
    return [f"order:{wish.order_id}", UNPAID, *map(_stock, stores)], arguments


def _stock(store_id: str) -> str:
    return f"stock:{store_id}"
