"""Memory per open order, and how long the shards of a killed process are away.

Open orders are placed through the service: a share is cash on delivery (confirmed at once, so that
a ticket waits at its store), the rest waits for its payment. Memory is the growth of the USS (what
would be freed if the process ended) of all processes that host actors, after they have settled.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import aiohttp
import psutil

from loadtests.generator import Load
from loadtests.processes import BenchError, drive, service
from loadtests.shop import Shop, open_shop

__all__ = ["measure_recovery"]

SLICE = 5_000
"""Orders per run of the generator; each body is used once, by a customer of its own."""
SETTLE_S = 90.0
STEADY_S = 6.0
AWAY_S_MAX = 120.0
PROBES = 24
PROBE_S = 1.0


async def measure_recovery(
    progress: Callable[[str], None], *, orders: int = 100_000, cod_share: float = 0.5
) -> dict[str, Any]:
    """The figures of ``bench recovery``. Memory in bytes, times in real seconds."""
    progress("starting the service")
    async with service() as running:
        shop = await open_shop(running, progress)
        try:
            await _warm(shop)
            progress("settling before")
            before = await _settled_memory(shop)
            locations = await _place(shop, orders, cod_share, progress)
            progress("settling after")
            after = await _settled_memory(shop)
            victim = running.nodes()["node-0"]
            size = victim.memory_info().rss
            progress(f"killing process {victim.pid}, which hosts the orders")
            started = time.monotonic()
            victim.kill()
            orders_s, stock_s = await asyncio.gather(
                _back(shop, [f"/v1/orders/{one.rsplit('/', 1)[-1]}" for one in locations]),
                _back(shop, [f"/v1/stores/{one}/stock?sku=sku-000" for one in shop.stores]),
            )
            progress("comparing with the service's stock")
            books = await shop.check(locations)
        finally:
            await shop.ops.close()
    growth = {name: after[name] - before[name] for name in before}
    return {
        "open_orders": orders,
        "cod_share": cod_share,
        "bytes_per_order": round(sum(growth.values()) / orders),
        "bytes_per_order_by_node": {name: round(it / orders) for name, it in growth.items()},
        "killed_rss_mb": round(size / 1e6),
        "orders_answer_again_s": round(orders_s - started, 2),
        "stock_answers_again_s": round(stock_s - started, 2),
        "orders_read_after": books.sampled,
        "orders_missing": books.missing,
        "oversold": books.oversold,
        "units_unexplained": books.unexplained,
    }


async def _warm(shop: Shop) -> None:
    """Code, buffers and caches that a first order brings shall not count as its memory."""
    for payment in ("cod", "online"):
        bodies = shop.bodies(1_000, payment, seed=7, first=10_000_000)
        await _run(shop, bodies)


async def _run(shop: Shop, bodies: list[str]) -> list[str]:
    seen = await drive(
        Load(
            shop.service.port, bodies, shop.token, f"open-{uuid4().hex}", connections=64,
            seconds=120.0, requests=len(bodies),
        )
    )  # fmt: skip
    if seen.accepted != len(bodies):
        raise BenchError(f"Not all orders were placed: {seen.by_status}, {seen.lost} lost.")
    shop.acknowledged(bodies, seen.accepted_by_body)
    return seen.locations


async def _place(
    shop: Shop, orders: int, cod_share: float, progress: Callable[[str], None]
) -> list[str]:
    """Places the orders; some of their locations."""
    locations: list[str] = []
    placed = 0
    while placed < orders:
        count = min(SLICE, orders - placed)
        cod = round(count * cod_share)
        bodies = shop.bodies(cod, "cod", first=placed) + shop.bodies(
            count - cod, "online", first=placed + cod
        )
        locations += (await _run(shop, bodies))[:100]
        placed += count
        progress(f"{placed:,} of {orders:,} orders are open")
    return locations


async def _settled_memory(shop: Shop) -> dict[str, int]:
    """USS by node once the ledger has caught up and the processes have been steady for a while."""
    until = time.monotonic() + SETTLE_S
    while (await shop.ops.readiness()).ledger_lag and time.monotonic() < until:
        await asyncio.sleep(0.5)
    last: dict[str, int] = {}
    while time.monotonic() < until:
        found = _memory(shop)
        if last and all(abs(found[name] - last[name]) < 1_000_000 for name in found):
            return found
        last = found
        await asyncio.sleep(STEADY_S)
    return _memory(shop)


def _memory(shop: Shop) -> dict[str, int]:
    return {name: _uss(process) for name, process in sorted(shop.service.nodes().items())}


def _uss(process: psutil.Process) -> int:
    return int(process.memory_full_info().uss)


async def _back(shop: Shop, paths: list[str]) -> float:
    """The instant at which all probes (spread over the shards) have been answered."""
    step = max(1, len(paths) // PROBES)
    waiting = paths[::step]
    until = time.monotonic() + AWAY_S_MAX
    headers = {"Authorization": f"Bearer {shop.ops._token}"}
    timeout = aiohttp.ClientTimeout(total=PROBE_S)
    async with aiohttp.ClientSession(shop.service.url, headers=headers, timeout=timeout) as http:
        while waiting:
            if time.monotonic() > until:
                raise BenchError(f"After {AWAY_S_MAX:.0f} s there is no answer to {waiting[0]}.")
            answered = await asyncio.gather(*(_answers(http, path) for path in waiting))
            waiting = [path for path, ok in zip(waiting, answered, strict=True) if not ok]
            if waiting:
                await asyncio.sleep(0.05)
    return time.monotonic()


async def _answers(http: aiohttp.ClientSession, path: str) -> bool:
    try:
        async with http.get(path) as answer:
            await answer.read()
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
