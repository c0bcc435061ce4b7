"""The designs that placing is compared with do the job: no order twice, no unit sold twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from loadtests.processes import BenchError
from loadtests.rivals.job import Catalogue
from loadtests.rivals.servers import KINDS, Rival, rival

STOCK = 5
STORES = [
    {"store_id": "near", "lat": 52.50, "lon": 13.40, "radius_m": 3_000},
    {"store_id": "far", "lat": 52.52, "lon": 13.40, "radius_m": 3_000},
    {"store_id": "elsewhere", "lat": 48.10, "lon": 11.50, "radius_m": 3_000},
]
CATALOGUE = {"currency": "EUR", "prices": {"tea": 300, "cup": 1_000}, "stock": STOCK,
             "stores": STORES}  # fmt: skip


@pytest.fixture(params=KINDS)
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Rival]:
    try:
        async with rival(request.param, CATALOGUE) as started:
            yield started
    except BenchError as error:
        pytest.skip(str(error))


def wish(*lines: tuple[str, int]) -> dict[str, Any]:
    return {
        "customer": {"customer_id": "c-1"}, "currency": "EUR",
        "lines": [{"sku": sku, "quantity": units} for sku, units in lines],
        "address": {"position": {"lat": 52.501, "lon": 13.40}, "text": "Torstr. 1"},
    }  # fmt: skip


async def place(rival: Rival, key: str, *lines: tuple[str, int]) -> tuple[int, dict[str, Any]]:
    url = f"http://127.0.0.1:{rival.port}/v1/orders"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, json=wish(*lines), headers={"Idempotency-Key": key}) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def test_an_order_is_priced_routed_to_the_nearest_store_and_kept_once(
    running: Rival,
) -> None:
    status, first = await place(running, "k-1", ("tea", 2), ("cup", 1))
    assert (status, first["store_id"], first["total"]) == (201, "near", 1_600)
    again = await place(running, "k-1", ("tea", 2), ("cup", 1))
    assert again == (201, first)
    books = await running.books()
    assert (books.orders, books.units) == (1, 3)


async def test_the_next_store_serves_what_the_nearest_lacks_and_nothing_is_oversold(
    running: Rival,
) -> None:
    found = await asyncio.gather(*(place(running, f"k-{n}", ("tea", 1)) for n in range(14)))
    statuses = sorted(status for status, _ in found)
    assert statuses == [201] * 10 + [409] * 4
    stores = sorted(order["store_id"] for status, order in found if status == 201)
    assert stores == ["far"] * STOCK + ["near"] * STOCK
    books = await running.books()
    assert (books.orders, books.units, books.oversold) == (10, 10, 0)


async def test_an_order_that_lacks_one_line_locks_none(running: Rival) -> None:
    assert (await place(running, "k-1", ("tea", 1), ("cup", STOCK + 1)))[0] == 409
    assert (await running.books()).units == 0


def test_stores_within_reach_come_the_nearest_first() -> None:
    catalogue = Catalogue(CATALOGUE)
    assert catalogue.reachable(52.501, 13.40) == ["near", "far"]
    assert catalogue.reachable(52.515, 13.40) == ["far", "near"]
    assert catalogue.reachable(0.0, 0.0) == []
