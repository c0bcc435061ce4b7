"""Placing in campaigns, against ordinary placing: with few open seats, and with tens of thousands.

Each round drives, one after the other and with the same generator and connections: ordinary orders
of one unit, orders of a flash sale, orders that each open a group of a group-buy, and orders that
join groups. All are for one address and one store, so that the campaign is the only difference. A
ratio to the ordinary orders is made per round, and the median of the rounds is told. The rounds are
made twice: each with campaigns of its own, and all in two campaigns that hold ``open_seats`` unpaid
seats (of the group-buy: open groups) before they begin. Meanwhile readers look at the campaigns'
pages and at the list of open groups, as customers' apps do, so often whatever is driven.

Then ordinary orders come at a modest rate, alone and beside as many of both crowded campaigns and
the readers: what a campaign does to who wants nothing of it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import aiohttp

from loadtests.figures import quantile, ratio, rounded
from loadtests.generator import Seen
from loadtests.place import Drive, Placing, settled
from loadtests.processes import BenchError, service
from loadtests.shop import Shop, open_shop
from orchestrator.client import models
from orchestrator.client.many import read_many

__all__ = ["Readers", "beside", "compared", "measure_campaigns", "reading", "unexplained"]

BODIES = 2_000
WARM_S = 4.0
UNITS_PER_S = 5_000
"""So many units a campaign has for each second that it is driven: a run ends with them."""
GROUP_SIZE = 20
GROUPS = 1_000
"""Groups that are opened for the joining of one round, which ends once all seats are taken."""
READ_EVERY_S = 0.5
BESIDE_RUNS_MIN = 3
SAMPLES_MAX = 2_000
KINDS = ("flash", "group_open", "group_join")


async def measure_campaigns(
    progress: Callable[[str], None],
    *,
    rounds: int = 3,
    seconds: float = 4.0,
    connections: int = 128,
    open_seats: int = 30_000,
    readers: int = 10,
    rate: float = 100.0,
) -> dict[str, Any]:
    """The figures of ``bench campaigns``. Rates per second, times in milliseconds. ``rate``: of
    each kind of order in the last part."""
    progress("starting the service")
    async with service() as running:
        shop = await open_shop(running, progress)
        try:
            course = _Course(shop, progress, connections, seconds)
            found = await course.run(rounds, open_seats, readers, rate)
        finally:
            await shop.ops.close()
    return found | {
        "connections": connections, "rounds": rounds, "seconds": seconds, "readers": readers
    }  # fmt: skip


class _Theirs(Drive):
    """Orders of one campaign, whose books are its own; ``opens``: each opens a group."""

    def __init__(
        self, shop: Shop, campaign_id: str, bodies: list[str], connections: int, opens: bool
    ) -> None:
        super().__init__(shop.service.port, bodies, shop.token, connections)
        self.campaign_id = campaign_id
        self.opens = opens
        self.locations: list[str] = []

    async def run(
        self, seconds: float, rate: float = 0.0, requests: int = 0, sample_every: int = 16
    ) -> Seen:
        """As of :class:`Drive`."""
        seen = await super().run(seconds, rate, requests, sample_every)
        self.locations += seen.locations
        return seen


@dataclass
class _Pair:
    """A flash sale and a group-buy."""

    flash: _Theirs
    group: _Theirs


@dataclass
class _Rates:
    """Accepted a second, by round."""

    ordinary: list[float] = field(default_factory=list)
    theirs: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})


class _Course:
    """Everything that is driven, in its order."""

    def __init__(
        self, shop: Shop, progress: Callable[[str], None], connections: int, seconds: float
    ) -> None:
        self.shop = shop
        self.progress = progress
        self.connections = connections
        self.seconds = seconds
        self.ordinary = Placing(shop, shop.single_bodies(BODIES, 1), connections)
        self.theirs: list[_Theirs] = []

    async def run(self, rounds: int, open_seats: int, readers: int, rate: float) -> dict[str, Any]:
        """All parts, then the books."""
        self.progress("warming up")
        await self.ordinary.run(WARM_S)
        found: dict[str, Any] = {}
        async with reading(self.shop, readers) as seen:
            few = _Rates()
            for number in range(rounds):
                self.progress(f"few open seats: round {number + 1} of {rounds}")
                await self._round(await self._pair(0), few, seen)
            found |= compared("", few.ordinary, few.theirs) | seen.told("")
            self.progress(f"filling two campaigns with {open_seats:,} open seats each")
            crowded = await self._pair(open_seats + round(rounds * self.seconds * UNITS_PER_S))
            await self._fill(crowded, open_seats)
            many = _Rates()
            for number in range(rounds):
                self.progress(f"many open seats: round {number + 1} of {rounds}")
                await self._round(crowded, many, seen)
            found |= compared("crowded_", many.ordinary, many.theirs) | seen.told("crowded_")
            found |= await self._beside(crowded, seen, rate, max(BESIDE_RUNS_MIN, rounds))
            failed = seen.failed
        self.progress("comparing with the books of stock and campaigns")
        return found | {"open_seats": open_seats} | await self._books() | {"reads_failed": failed}

    async def _pair(self, more: int) -> _Pair:
        """A new flash sale and a new group-buy; with room for ``more`` than one round takes."""
        room = more + round(self.seconds * UNITS_PER_S) + GROUPS * GROUP_SIZE
        sale = await self.shop.open_campaign(room)
        team = await self.shop.open_campaign(room, group_size=GROUP_SIZE)
        return _Pair(
            self._drive(sale, self.shop.campaign_bodies(sale, BODIES)),
            self._drive(team, self.shop.campaign_bodies(team, BODIES), opens=True),
        )

    def _drive(self, campaign_id: str, bodies: list[str], *, opens: bool = False) -> _Theirs:
        drive = _Theirs(self.shop, campaign_id, bodies, self.connections, opens)
        self.theirs.append(drive)
        return drive

    async def _fill(self, pair: _Pair, open_seats: int) -> None:
        for drive in (pair.flash, pair.group):
            while drive.accepted < open_seats:
                await drive.run(self.seconds, requests=open_seats - drive.accepted)
            await settled(self.shop)

    async def _round(self, pair: _Pair, rates: _Rates, seen: "Readers") -> None:
        seen.look_at(pair.flash.campaign_id, pair.group.campaign_id)
        joins = await self._joins(pair.group)
        turns: list[tuple[Drive, list[float], int]] = [
            (self.ordinary, rates.ordinary, 0),
            (pair.flash, rates.theirs["flash"], 0),
            (pair.group, rates.theirs["group_open"], 0),
            (joins, rates.theirs["group_join"], len(joins.bodies)),
        ]
        for drive, kept, requests in turns:
            await settled(self.shop)
            with seen.noting():
                kept.append((await drive.run(self.seconds, requests=requests)).per_s)

    async def _joins(self, group: _Theirs) -> _Theirs:
        """One order for each free seat of some fresh groups."""
        seen = await group.run(60.0, requests=GROUPS, sample_every=1)
        ids = [one.rsplit("/", 1)[-1] for one in seen.locations]
        orders = await read_many(ids, self.shop.ops.order)
        groups = [order.group_id for order in orders.values()]
        bodies = self.shop.campaign_bodies(
            group.campaign_id, len(groups) * (GROUP_SIZE - 1), groups
        )
        return self._drive(group.campaign_id, bodies)

    async def _beside(
        self, crowded: _Pair, seen: "Readers", rate: float, runs: int
    ) -> dict[str, Any]:
        """Ordinary orders at ``rate`` a second, alone and beside as many of each campaign."""
        self.progress(f"{rate:.0f} ordinary orders a second, alone and beside the campaigns'")
        alone, together = [], []
        for _ in range(runs):
            seen.look_at()
            await settled(self.shop)
            alone.append(await self.ordinary.run(self.seconds * 2, rate))
            seen.look_at(crowded.flash.campaign_id, crowded.group.campaign_id)
            await settled(self.shop)
            with seen.noting():
                one, *_ = await asyncio.gather(
                    self.ordinary.run(self.seconds * 2, rate),
                    crowded.flash.run(self.seconds * 2, rate),
                    crowded.group.run(self.seconds * 2, rate),
                )
            together.append(one)
        return beside(alone, together, rate) | seen.told("beside_")

    async def _books(self) -> dict[str, Any]:
        locations = [*self.ordinary.locations]
        for drive in self.theirs:
            locations += drive.locations
        books = await self.shop.check(locations[:: max(1, len(locations) // SAMPLES_MAX)])
        accepted: defaultdict[str, int] = defaultdict(int)
        opened: defaultdict[str, int] = defaultdict(int)
        for drive in self.theirs:
            accepted[drive.campaign_id] += drive.accepted
            opened[drive.campaign_id] += drive.accepted if drive.opens else 0
        pages = await read_many(accepted, self.shop.ops.campaign)
        campaigns = [
            unexplained(page, accepted[name], opened[name]) for name, page in pages.items()
        ]
        drives = (self.ordinary, *self.theirs)
        return {
            "orders_checked": sum(drive.accepted for drive in drives),
            "orders_read": books.sampled,
            "orders_missing": books.missing,
            "oversold": books.oversold + sum(one["oversold"] for one in campaigns),
            "units_unexplained": books.unexplained + sum(one["units"] for one in campaigns),
            "groups_unexplained": sum(one["groups"] for one in campaigns),
            "lost": sum(drive.lost for drive in drives),
            "refused": sum(drive.refused for drive in drives),
        }


def compared(
    prefix: str, ordinary: list[float], theirs: dict[str, list[float]]
) -> dict[str, float]:
    """Rates, and the median of the rounds' ratios to ordinary placing."""
    found = {f"{prefix}ordinary_per_s": round(median(ordinary), 1)}
    for kind, rates in theirs.items():
        found[f"{prefix}{kind}_per_s"] = round(median(rates), 1)
        found[f"{prefix}{kind}_ratio"] = rounded(ratio(rates, ordinary))
    return found


def beside(alone: list[Seen], together: list[Seen], rate: float) -> dict[str, float]:
    """Ordinary placing's times at a modest rate: medians of the runs."""
    found = {"modest_rate_per_s": rate}
    for name, runs in (("alone", alone), ("beside", together)):
        found[f"{name}_p50_ms"] = round(median(seen.p50_ms for seen in runs), 2)
        found[f"{name}_p99_ms"] = round(median(seen.p99_ms for seen in runs), 2)
    return found


def unexplained(campaign: models.Campaign, accepted: int, opened: int) -> dict[str, int]:
    """A campaign's own account against what was acknowledged to its customers, none of whom pays:
    ``oversold`` units beyond its quota, ``units`` and ``groups`` more or fewer than were promised
    or opened."""
    units = campaign.units
    promised = units.held + units.sold
    set_aside = units.available + units.returned + promised
    return {
        "oversold": max(0, promised - set_aside),
        "units": abs(promised - accepted),
        "groups": abs(campaign.open_groups - opened),
    }


class Readers:
    """Customers' apps that look at two campaigns: at the page of each, and at the groups that can
    be joined. Each app looks every :data:`READ_EVERY_S`, however much else there is to do."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.failed = 0
        """Reads that were not answered with 200."""
        self._http = http
        self._pages: list[tuple[str, str]] = []
        self._noting = False
        self._noted_s = 0.0
        self._times: dict[str, list[float]] = {"page": [], "groups": []}

    def look_at(self, flash_id: str = "", group_id: str = "") -> None:
        """From now on at these; without any, at nothing."""
        self._pages = []
        if flash_id:
            page = "/v1/campaigns/"
            self._pages = [("page", f"{page}{flash_id}"), ("page", f"{page}{group_id}"),
                           ("groups", f"{page}{group_id}/groups?limit=50")]  # fmt: skip

    @contextmanager
    def noting(self) -> Iterator[None]:
        """What is read meanwhile is told."""
        started, self._noting = time.perf_counter(), True
        try:
            yield
        finally:
            self._noting = False
            self._noted_s += time.perf_counter() - started

    def told(self, prefix: str) -> dict[str, float | None]:
        """How often was read and how long it took, since the last time."""
        times, self._times = self._times, {"page": [], "groups": []}
        over_s, self._noted_s = self._noted_s, 0.0
        found: dict[str, float | None] = {
            f"{prefix}{kind}_read_p99_ms": round(quantile(took, 0.99) * 1000, 2) if took else None
            for kind, took in times.items()
        }
        reads = sum(map(len, times.values()))
        return found | {f"{prefix}reads_per_s": round(reads / over_s, 1) if over_s else None}

    async def live(self, late_s: float) -> None:
        """One app, for ever; ``late_s`` after the others."""
        due_at = time.perf_counter() + late_s
        while True:
            await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
            due_at += READ_EVERY_S
            for kind, path in self._pages:
                await self._read(kind, path)

    async def _read(self, kind: str, path: str) -> None:
        started = time.perf_counter()
        try:
            async with self._http.get(path) as answer:
                await answer.read()
                ok = answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            ok = False
        self.failed += not ok
        if ok and self._noting:
            self._times[kind].append(time.perf_counter() - started)


@asynccontextmanager
async def reading(shop: Shop, count: int) -> AsyncIterator[Readers]:
    """So many apps of the channel's, until the end of the block."""
    headers = {"Authorization": f"Bearer {shop.token}"}
    async with aiohttp.ClientSession(shop.service.url, headers=headers) as http:
        readers = Readers(http)
        apps = [
            asyncio.create_task(readers.live(READ_EVERY_S * number / count))
            for number in range(count)
        ]
        try:
            yield readers
        finally:
            for app in apps:
                app.cancel()
            found = await asyncio.gather(*apps, return_exceptions=True)
            for error in found:
                if not isinstance(error, asyncio.CancelledError):
                    raise BenchError(f"A reader ended: {error!r}")
