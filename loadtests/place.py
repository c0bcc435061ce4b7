"""Placing over HTTP, against endpoints that do nothing and against what people would use instead.

Each round drives, one after the other and with the same generator, bodies and connections: the
empty FastAPI endpoint, the empty ASGI route, FastAPI + PostgreSQL, FastAPI + Redis Lua, and the
service; then the service with a sold-out campaign, with a thousand SKUs and with a single stock
cell. A ratio is made per round and the median of the rounds is told, so that a machine that is
slower for a while does not decide.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from uuid import uuid4

from loadtests.figures import cost_us, ratio, rounded
from loadtests.generator import Load, Seen
from loadtests.processes import BenchError, RunningService, drive, empty_server, service
from loadtests.rivals.servers import KINDS, Rival, rival
from loadtests.shop import Shop, open_shop

__all__ = ["Drive", "Placing", "at_half", "measure_place", "settled", "settled_rate"]

BODIES = 2_000
SKUS = 1_000
FLASH_UNITS = 200
WARM_S = 5.0
WARM_OTHERS_S = 2.0
LEDGER_WAIT_S = 600.0
SAMPLES_MAX = 2_000
GONE, GONE_CODE = 409, "campaign-sold-out"
"""Status and code of a sold-out answer: no other refusal counts as one."""
HALF_RUNS_MIN = 3
"""Runs at half of the maximum rate, or as many as there are rounds: one p99 is chance."""


async def measure_place(
    progress: Callable[[str], None],
    *,
    rounds: int = 5,
    seconds: float = 4.0,
    connections: int = 128,
    workers: int = 1,
) -> dict[str, Any]:
    """The figures of ``bench place``. Rates per second, times in milliseconds. ``workers`` is the
    number of processes of each rival's application."""
    progress("starting the service")
    async with service() as running:
        shop = await open_shop(running, progress, skus=SKUS)
        try:
            progress("starting what it is compared with")
            async with _others(shop, workers) as others:
                found = await _Contest(shop, others, progress, connections).run(rounds, seconds)
        finally:
            await shop.ops.close()
    return found | {
        "connections": connections,
        "rounds": rounds,
        "seconds": seconds,
        "rival_workers": workers,
    }


@dataclass(frozen=True, slots=True)
class _Others:
    fastapi_port: int
    asgi_port: int
    rivals: dict[str, Rival]


@asynccontextmanager
async def _others(shop: Shop, workers: int) -> AsyncIterator[_Others]:
    async with AsyncExitStack() as stack:
        fastapi = await stack.enter_async_context(empty_server("fastapi"))
        asgi = await stack.enter_async_context(empty_server("asgi"))
        goods = shop.catalogue()
        rivals = {
            kind: await stack.enter_async_context(rival(kind, goods, workers)) for kind in KINDS
        }
        yield _Others(fastapi, asgi, rivals)


@dataclass
class Drive:
    """Runs of the generator against one port; one instance per thing that is measured. ``seen`` are
    the runs that count."""

    port: int
    bodies: list[str]
    token: str
    connections: int
    expect: int = 201
    expect_code: str = ""
    seen: list[Seen] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0
    lost: int = 0

    async def run(
        self, seconds: float, rate: float = 0.0, requests: int = 0, sample_every: int = 16
    ) -> Seen:
        """One run; every request has a key of its own. Raises ``BenchError`` if nothing was
        accepted."""
        seen = await drive(
            Load(
                self.port, self.bodies, self.token, f"bench-{uuid4().hex}", expect=self.expect,
                expect_code=self.expect_code, connections=self.connections, seconds=seconds,
                rate=rate, requests=requests, sample_every=sample_every,
            )
        )  # fmt: skip
        self.accepted += seen.accepted
        self.lost += seen.lost
        self.refused += sum(seen.by_status.values()) - seen.accepted
        if not seen.accepted:
            raise BenchError(f"Nothing was accepted: {seen.by_status}, {seen.lost} lost.")
        return seen

    async def measure(self, seconds: float) -> None:
        """One run that counts."""
        self.seen.append(await self.run(seconds))

    @property
    def rates(self) -> list[float]:
        """Accepted per second, by round."""
        return [seen.per_s for seen in self.seen]


class Placing(Drive):
    """Placing at the service: what was acknowledged is told to the shop, for its books."""

    def __init__(self, shop: Shop, bodies: list[str], connections: int) -> None:
        super().__init__(shop.service.port, bodies, shop.token, connections)
        self.shop = shop
        self.locations: list[str] = []

    async def run(
        self, seconds: float, rate: float = 0.0, requests: int = 0, sample_every: int = 16
    ) -> Seen:
        """As of :class:`Drive`."""
        seen = await super().run(seconds, rate, requests, sample_every)
        self.shop.acknowledged(self.bodies, seen.accepted_by_body)
        self.locations += seen.locations
        return seen


class _Contest:
    """Everything that is driven in turns."""

    def __init__(
        self, shop: Shop, others: _Others, progress: Callable[[str], None], connections: int
    ) -> None:
        self.shop = shop
        self.running: RunningService = shop.service
        self.progress = progress
        self.rivals = others.rivals
        self.connections = connections
        bodies = shop.bodies(BODIES, "online")
        wide, hot = shop.single_bodies(BODIES, shop.skus), shop.single_bodies(BODIES, 1)
        self.place = Placing(shop, bodies, connections)
        self.wide = Placing(shop, wide, connections)
        self.hot = Placing(shop, hot, connections)
        self.fastapi = Drive(others.fastapi_port, bodies, shop.token, connections)
        self.asgi = Drive(others.asgi_port, bodies, shop.token, connections)
        self.rival = {
            kind: Drive(one.port, bodies, "", connections) for kind, one in self.rivals.items()
        }
        self.rival_hot = {
            kind: Drive(one.port, hot, "", connections) for kind, one in self.rivals.items()
        }
        self.gone: Drive
        self.gone_empty: Drive
        self.waits: list[float] = []

    async def run(self, rounds: int, seconds: float) -> dict[str, Any]:
        """All rounds, then half of the maximum rate, then the books."""
        await self._sell_out()
        await self._warm()
        spent: dict[str, float] = {}
        warmed = self.place.accepted
        for number in range(rounds):
            self.progress(f"round {number + 1} of {rounds}")
            await settled(self.shop)
            await self.fastapi.measure(seconds)
            await self.asgi.measure(seconds)
            for one in self.rival.values():
                await one.measure(seconds)
            used = self.running.cpu_s()
            await self.place.measure(seconds)
            # What the window put off is part of what its orders cost.
            self.waits.append(await settled(self.shop))
            spent = _added(spent, used, self.running.cpu_s())
            await self.gone_empty.measure(seconds)
            await self.gone.measure(seconds)
            await settled(self.shop)
            await self.wide.measure(seconds)
            await settled(self.shop)
            await self.hot.measure(seconds)
            for one in self.rival_hot.values():
                await one.measure(seconds)
        per_order = cost_us({}, spent, self.place.accepted - warmed)
        rate = median(self.place.rates) / 2
        self.progress(f"half of the maximum rate: {rate:.0f} orders a second")
        half = []
        for _ in range(max(HALF_RUNS_MIN, rounds)):
            await settled(self.shop)
            half.append(await self.place.run(seconds * 2, rate))
        self.progress("comparing with the service's stock")
        return self._figures() | at_half(half, rate) | _costs(per_order) | await self._books()

    async def _sell_out(self) -> None:
        """A flash sale whose quota is gone, and which the gateway has heard to be gone."""
        campaign_id = await self.shop.open_campaign(FLASH_UNITS)
        bodies = self.shop.campaign_bodies(campaign_id, BODIES)
        sale = Drive(self.running.port, bodies, self.shop.token, 16)
        await sale.run(30.0, requests=FLASH_UNITS)
        if sale.accepted != FLASH_UNITS:
            raise BenchError(f"The flash sale sold {sale.accepted} of {FLASH_UNITS} units.")
        self.gone = Drive(
            self.running.port, bodies, self.shop.token, self.connections, GONE, GONE_CODE
        )
        self.gone_empty = Drive(self.asgi.port, bodies, self.shop.token, self.connections)
        await self.gone.run(WARM_OTHERS_S)

    async def _warm(self) -> None:
        self.progress("warming up")
        await self.place.run(WARM_S)
        for one in (self.fastapi, self.asgi, *self.rival.values()):
            await one.run(WARM_OTHERS_S)

    def _figures(self) -> dict[str, Any]:
        place, empty = self.place, self.fastapi
        one = place.seen
        return {
            "place_per_s": round(median(place.rates), 1),
            "place_settled_per_s": settled_rate(place.seen, self.waits),
            "ratio_empty_fastapi": rounded(ratio(place.rates, empty.rates)),
            "ratio_postgres": rounded(ratio(place.rates, self.rival["postgres"].rates)),
            "ratio_redis_lua": rounded(ratio(place.rates, self.rival["redis_lua"].rates)),
            "ratio_empty_asgi": rounded(ratio(place.rates, self.asgi.rates)),
            "soldout_ratio_empty_asgi": rounded(ratio(self.gone.rates, self.gone_empty.rates)),
            "hot_sku_ratio": rounded(ratio(self.hot.rates, self.wide.rates)),
            "p50_ms": round(median(seen.p50_ms for seen in one), 2),
            "p99_ms": round(median(seen.p99_ms for seen in one), 2),
            "empty_fastapi_per_s": round(median(empty.rates), 1),
            "empty_asgi_per_s": round(median(self.asgi.rates), 1),
            **{f"{kind}_per_s": round(median(it.rates), 1) for kind, it in self.rival.items()},
            **{
                f"{kind}_p99_ms": round(median(seen.p99_ms for seen in it.seen), 2)
                for kind, it in self.rival.items()
            },
            "soldout_per_s": round(median(self.gone.rates), 1),
            "soldout_p99_ms": round(median(seen.p99_ms for seen in self.gone.seen), 2),
            "hot_sku_per_s": round(median(self.hot.rates), 1),
            "thousand_skus_per_s": round(median(self.wide.rates), 1),
            **{
                f"{kind}_hot_sku_per_s": round(median(it.rates), 1)
                for kind, it in self.rival_hot.items()
            },
            "ratios_empty_fastapi": _by_round(place, empty),
            "ratios_postgres": _by_round(place, self.rival["postgres"]),
            "ratios_redis_lua": _by_round(place, self.rival["redis_lua"]),
            "generator_cpu_share": round(median(seen.cpu_s / seen.elapsed_s for seen in one), 2),
            "ledger_wait_s": round(median(self.waits), 1),
        }

    async def _books(self) -> dict[str, Any]:
        placed: Sequence[Placing] = (self.place, self.wide, self.hot)
        ours: Sequence[Drive] = (*placed, self.gone)
        others = (self.fastapi, self.asgi, self.gone_empty, *self.rival.values(),
                  *self.rival_hot.values())  # fmt: skip
        locations = [location for one in placed for location in one.locations]
        books = await self.shop.check(locations[:: max(1, len(locations) // SAMPLES_MAX)])
        found = {
            "orders_checked": sum(one.accepted for one in placed),
            "orders_read": books.sampled,
            "orders_missing": books.missing,
            "oversold": books.oversold,
            "units_unexplained": books.unexplained,
            "lost": sum(one.lost for one in ours),
            "refused": sum(one.refused for one in ours),
            "others_failed": sum(one.lost + one.refused for one in others),
        }
        for kind, one in self.rivals.items():
            theirs = await one.books()
            acknowledged = self.rival[kind].accepted + self.rival_hot[kind].accepted
            found[f"{kind}_orders_missing"] = acknowledged - theirs.orders
            found[f"{kind}_oversold"] = theirs.oversold
        return found


async def settled(shop: Shop) -> float:
    """Waits until the ledger has caught up, so that what one round left to do does not slow the
    next one's comparison. Real seconds it took. Raises ``BenchError`` when it does not come to its
    end: what a round cost is unknown then."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while (await shop.ops.readiness()).ledger_lag != 0:
        if loop.time() - started > LEDGER_WAIT_S:
            raise BenchError(f"After {LEDGER_WAIT_S:.0f} s the ledger has not caught up.")
        await asyncio.sleep(0.1)
    return loop.time() - started


def settled_rate(runs: Sequence[Seen], waits: Sequence[float]) -> float:
    """Orders a second over each run and the wait for its books after it: what stood back during
    the run counts. The median of the runs."""
    rates = [
        seen.accepted / (seen.elapsed_s + wait_s) for seen, wait_s in zip(runs, waits, strict=True)
    ]
    return round(median(rates), 1)


def at_half(runs: Sequence[Seen], rate: float) -> dict[str, Any]:
    """The figures at half of the maximum rate: medians of its runs, and each run's p99."""
    return {
        "half_rate_per_s": round(rate, 1),
        "half_runs": len(runs),
        "p50_half_ms": round(median(seen.p50_ms for seen in runs), 2),
        "p99_half_ms": round(median(seen.p99_ms for seen in runs), 2),
        "p99_half_ms_by_run": [round(seen.p99_ms, 2) for seen in runs],
    }


def _costs(per_order: dict[str, int]) -> dict[str, Any]:
    return {
        "cpu_us_per_order": sum(per_order.values()),
        "cpu_us_per_order_by_process": per_order,
    }


def _added(
    spent: dict[str, float], before: dict[str, float], after: dict[str, float]
) -> dict[str, float]:
    return {
        name: spent.get(name, 0.0) + seconds - before.get(name, 0.0)
        for name, seconds in after.items()
    }


def _by_round(mine: Drive, others: Drive) -> list[float]:
    return [rounded(one / other) for one, other in zip(mine.rates, others.rates, strict=True)]
