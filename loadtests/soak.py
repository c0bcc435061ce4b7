"""Placing for minutes on end: whether the rate stays, and what memory and the ledger do meanwhile.

Unpaid orders expire after ``unpaid_s``, so that the number of open orders, and with it the memory
that may be used, is steady once the first have expired: about the rate times ``unpaid_s``; expired
ones leave memory ``passivate_s`` later. Only then the minutes begin. Of each minute are told:
orders a second, orders placed in its last ``unpaid_s`` seconds, memory of the processes that host
actors (what would be freed if they ended), of the gateways and of Redis, and how many journal
records the ledger still has to apply. At the end all orders have expired: whatever is still locked
then is unexplained.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from loadtests.figures import rounded
from loadtests.generator import Seen
from loadtests.place import Placing
from loadtests.processes import RunningService, service
from loadtests.shop import Books, Shop, open_shop

__all__ = ["last_to_first", "measure_soak"]

BODIES = 4_000
MINUTE_S = 60.0
CONNECTIONS = 128
EXPIRED_S = 300.0
"""Real seconds for the last orders to expire."""
CATCH_UP_S = 600.0
"""Real seconds that are waited for the ledger."""


async def measure_soak(
    progress: Callable[[str], None],
    *,
    minutes: int = 10,
    rate: float = 0.0,
    unpaid_s: float = 20.0,
    passivate_s: float = 60.0,
    minute_s: float = MINUTE_S,
) -> dict[str, Any]:
    """The figures of ``bench soak``. Memory in megabytes (10^6), rates per second. ``passivate_s``:
    how long finished orders stay in memory; ``minute_s``: how long a minute takes, shorter ones
    are for trying it out."""
    progress("starting the service")
    async with service(passivate_s=str(passivate_s)) as running:
        shop = await open_shop(running, progress, unpaid_s=unpaid_s)
        try:
            place = Placing(shop, shop.bodies(BODIES, "online"), CONNECTIONS)
            empty_mb = _memory(running)["actors_mb"]  # with stock, without orders
            warm_s = unpaid_s + passivate_s
            progress(f"warming up until orders expire and leave memory ({warm_s:.0f} s)")
            await place.run(warm_s, rate)
            rows: list[dict[str, Any]] = []
            for number in range(minutes):
                rows.append(await _minute(place, minute_s, rate, unpaid_s))
                progress(f"minute {number + 1} of {minutes}: {rows[-1]}")
            progress("letting the last orders expire")
            books = await _all_expired(shop, unpaid_s)
            progress("letting the ledger catch up")
            lag, waited_s = await _caught_up(shop)
            after = _memory(running)
        finally:
            await shop.ops.close()
    return _summary(rows, empty_mb, after["actors_mb"]) | {
        "ledger_lag_after": lag,
        "ledger_waited_s": round(waited_s, 1),
        "orders_checked": place.accepted,
        "oversold": books.oversold,
        "units_unexplained": books.unexplained,
        "lost": place.lost,
        "refused": place.refused,
        "unpaid_s": unpaid_s,
        "passivate_s": passivate_s,
        "minutes": rows,
    }


def last_to_first(minutes: Sequence[float]) -> float:
    """What the last minute's figure is over the first one's."""
    return rounded(minutes[-1] / minutes[0])


def _summary(rows: list[dict[str, Any]], empty_mb: float, after_mb: float) -> dict[str, Any]:
    first, last = rows[0], rows[-1]
    rates = [float(row["place_per_s"]) for row in rows]
    return {
        "place_per_s": round(sum(rates) / len(rates), 1),
        "last_to_first": last_to_first(rates),
        "actors_mb_empty": empty_mb,
        "actors_mb_first": first["actors_mb"],
        "actors_mb_last": last["actors_mb"],
        "actors_mb_after": after_mb,
        "memory_last_to_first": last_to_first([float(row["actors_mb"]) for row in rows]),
        "ledger_lag_first": first["ledger_lag"],
        "ledger_lag_last": last["ledger_lag"],
    }


async def _minute(place: Placing, minute_s: float, rate: float, unpaid_s: float) -> dict[str, Any]:
    used, seen = place.shop.service.cpu_s(), await place.run(minute_s, rate)
    cpu_s = sum(place.shop.service.cpu_s().values()) - sum(used.values())
    return _told(seen, unpaid_s) | {
        **_memory(place.shop.service),
        "ledger_lag": (await place.shop.ops.readiness()).ledger_lag or 0,
        "cpu_us_per_order": round(cpu_s / seen.accepted * 1e6),
    }


def _told(seen: Seen, unpaid_s: float) -> dict[str, Any]:
    return {
        "place_per_s": round(seen.per_s, 1),
        "p99_ms": round(seen.p99_ms, 1),
        "open_orders": round(seen.per_s * min(unpaid_s, seen.elapsed_s)),
    }


def _memory(running: RunningService) -> dict[str, float]:
    """Megabytes by sort of process: what would be freed if they ended."""
    found = {"actors_mb": 0.0, "gateway_mb": 0.0, "redis_mb": 0.0}
    for number, name in running.names().items():
        sort = "actors" if name.startswith("node-") else name
        if f"{sort}_mb" in found:
            found[f"{sort}_mb"] += psutil.Process(number).memory_full_info().uss / 1e6
    return {name: round(size, 1) for name, size in found.items()}


async def _all_expired(shop: Shop, unpaid_s: float) -> Books:
    """The books once nothing is locked any more, or time is up: every acknowledged order has
    expired then, so nothing may stay locked."""
    shop.forget()
    until = time.monotonic() + unpaid_s + EXPIRED_S
    while True:
        books = await shop.check(())
        if not books.unexplained or time.monotonic() > until:
            return books
        await asyncio.sleep(1.0)


async def _caught_up(shop: Shop) -> tuple[int, float]:
    """Records the ledger is behind, 0 unless time is up; and the real seconds that were waited."""
    started = time.monotonic()
    while True:
        lag, waited_s = (await shop.ops.readiness()).ledger_lag or 0, time.monotonic() - started
        if not lag or waited_s > CATCH_UP_S:
            return lag, waited_s
        await asyncio.sleep(1.0)
