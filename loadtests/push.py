"""From a commit to the tablet's socket, while all stores are connected and orders come steadily.

Clock: a message carries ``at``, the service time at which its batch was decided, before it was
written to disk; the service runs at speed 1.0 on this machine, so that is this machine's clock.
A latency is the tablet's clock when the message was decoded, minus ``at``. It therefore includes
the journal's fsync and is an upper bound of commit to socket.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from loadtests.fanout import fan_out
from loadtests.figures import quantile
from loadtests.processes import service
from loadtests.shop import Shop, open_shop
from orchestrator.client import DoorstepClient, InboxMessage

__all__ = ["arrived", "measure_push"]

ARRIVE_S = 30.0
WARM_S = 4.0


async def measure_push(
    progress: Callable[[str], None],
    *,
    rate: float = 500.0,
    seconds: float = 20.0,
    sockets: int = 5_000,
) -> dict[str, Any]:
    """The figures of ``bench push``. Times in milliseconds. ``sockets``: of the fan-out, 0 leaves
    it out."""
    progress("starting the service")
    async with service() as running:
        shop = await open_shop(running, progress)
        tablets = _Tablets(shop)
        try:
            progress(f"connecting {len(shop.stores)} tablets")
            await tablets.connect()
            progress(f"warming up at {rate:.0f} orders a second")
            expected = (await shop.steady(rate, WARM_S, 0)).accepted
            await tablets.heard(expected)
            tablets.latencies_ms.clear()
            progress(f"measuring {seconds:.0f} s")
            seen = await shop.steady(rate, seconds, 1)
            expected += seen.accepted
            await tablets.heard(expected)
            await tablets.close()
            fanned = await fan_out(shop, progress, sockets) if sockets else {}
        finally:
            await tablets.close()
            await shop.ops.close()
    return {
        "orders_per_s": round(seen.per_s, 1),
        "tablets": len(shop.stores),
        **arrived(tablets.latencies_ms, expected - tablets.tickets),
        "place_p50_ms": round(seen.p50_ms, 2),
        "place_p99_ms": round(seen.p99_ms, 2),
        "clock": "tablet's receipt minus service time of the decision, one machine, speed 1.0",
        **fanned,
    }


def arrived(latencies_ms: Sequence[float], missing: int) -> dict[str, Any]:
    """The figures of what came, and of what did not: without a message there are no times."""
    times: dict[str, float | None] = {"p50_ms": None, "p99_ms": None, "max_ms": None}
    if latencies_ms:
        times = {
            "p50_ms": round(quantile(latencies_ms, 0.5), 2),
            "p99_ms": round(quantile(latencies_ms, 0.99), 2),
            "max_ms": round(max(latencies_ms), 2),
        }
    return {"messages": len(latencies_ms), "missing": missing, **times}


class _Tablets:
    """One tablet per store, each on its socket, acknowledging as it reads."""

    def __init__(self, shop: Shop) -> None:
        self.latencies_ms: list[float] = []
        self.tickets = 0
        self._shop = shop
        self._clients: list[DoorstepClient] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Every tablet has caught up."""
        tokens = await self._shop.service.tokens("store", self._shop.stores)
        live = []
        for store, its in zip(self._shop.stores, tokens, strict=True):
            client = DoorstepClient(self._shop.service.url, its)
            self._clients.append(client)
            caught_up = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._read(client, store, caught_up)))
            live.append(caught_up.wait())
        await asyncio.wait_for(asyncio.gather(*live), ARRIVE_S)

    async def heard(self, expected: int) -> None:
        """Wait (bounded) until so many tickets came; what is missing is told, not hidden."""
        until = time.monotonic() + ARRIVE_S
        while self.tickets < expected and time.monotonic() < until:
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Disconnect; repeating it changes nothing."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        clients, self._clients = self._clients, []
        for client in clients:
            await client.close()

    async def _read(self, client: DoorstepClient, store: str, caught_up: asyncio.Event) -> None:
        async with client.store_socket(store, f"tablet-{store}") as socket:
            async for item in socket:
                if not isinstance(item, InboxMessage):
                    caught_up.set()
                elif item.type == "ticket.opened":
                    self.tickets += 1
                    self.latencies_ms.append((time.time() - item.at.timestamp()) * 1000)
