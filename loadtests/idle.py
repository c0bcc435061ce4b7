"""What the idle service takes: all its processes, Redis and Ray's own included."""

import asyncio
from collections.abc import Callable
from typing import Any

import psutil

from loadtests.processes import service

__all__ = ["measure_idle"]

SETTLE_S = 10.0


async def measure_idle(progress: Callable[[str], None]) -> dict[str, Any]:
    """The figures of ``bench idle``, in megabytes (10^6). PSS shares out what processes share;
    RSS counts it in each of them."""
    progress("starting the service")
    async with service() as running:
        progress(f"letting it rest for {SETTLE_S:.0f} s")
        await asyncio.sleep(SETTLE_S)
        rows = [_row(psutil.Process(number), name) for number, name in running.names().items()]
    return {
        "pss_mb": round(sum(row["pss_mb"] for row in rows)),
        "rss_mb": round(sum(row["rss_mb"] for row in rows)),
        "processes": sorted(rows, key=lambda row: -float(row["pss_mb"])),
    }


def _row(process: psutil.Process, name: str) -> dict[str, Any]:
    memory = process.memory_full_info()
    return {"name": name, "pss_mb": round(memory.pss / 1e6), "rss_mb": round(memory.rss / 1e6)}
