"""The process beside Locust that lives on asyncio: scene, tablets, riders, verdict.

Locust's users are greenlets; the service's sockets need the typed client, which is asyncio. Both in
one process would patch each other's sockets, so the crew is a process of its own:
``python -m loadtests.crew`` reads one JSON object a line from standard input and writes answers and
measurements to standard output (:mod:`loadtests.stage` is the other end). It ends, with everything
that it started, when its input does.

- ``open {wishes}``: starts the service if none is named, puts the goods; answers the scene
- ``begin``: opens the campaigns; answers the scene
- ``tablet {number}``, ``rider {number}``: one more device; answers when it is live
- ``close {customers}``: waits until all is final, answers the :class:`loadtests.outcome.Outcome`
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadtests.devices import Rider, Tablet, note_fault
from loadtests.evidence import collect, read_orders, unsettled
from loadtests.outcome import Outcome
from loadtests.processes import BenchError, service
from loadtests.scene import Scene, Wishes, fresh_tag, open_campaigns, put_goods
from loadtests.tokens import DataTokens, PairedTokens, TokenMaker
from loadtests.verdict import CustomersSaw, RiderSaw, TabletSaw, figures, judge
from orchestrator.client import DoorstepClient, ProblemError, Retries, models
from orchestrator.client.findings import Finding
from orchestrator.client.opening import NotSellable

__all__ = ["Answer", "Demand", "Measured"]

LOOK_EVERY_S = 0.5
STEADY_S = 5.0
"""Findings that stay the same so long after everything is final will not go away."""
TELL_EVERY_S = 0.1
LINE_BYTES_MAX = 256 * 1024 * 1024
"""A record of every order that the customers placed comes in one line."""
FINDINGS_MAX = 200


class Demand(Struct, kw_only=True, omit_defaults=True):
    """One line in."""

    id: int
    do: str
    wishes: Wishes | None = None
    number: int = 0
    customers: CustomersSaw | None = None


class Measured(Struct, array_like=True):
    """One measurement: request type, name, milliseconds, what went wrong ("": nothing)."""

    kind: str
    name: str
    ms: float
    error: str


class Answer(Struct, kw_only=True, omit_defaults=True):
    """One line out: the answer to demand ``id``, or (0) measurements alone."""

    id: int = 0
    error: str = ""
    scene: Scene | None = None
    outcome: Outcome | None = None
    measured: list[Measured] = msgspec.field(default_factory=list)


class Crew:
    """Everything that one Locust process has on asyncio."""

    def __init__(self, say: Callable[[Answer], None]) -> None:
        self._say = say
        self._left = contextlib.AsyncExitStack()
        self._url = ""
        self._makes: TokenMaker | None = None
        self._reached: tuple[str, ...] | None = None
        self._ops: DoorstepClient | None = None
        self._wishes: Wishes | None = None
        self._run: _Run | None = None
        self._measured: list[Measured] = []

    async def do(self, demand: Demand) -> Answer:
        """Carry one demand out. Raises :class:`BenchError`, ``NotSellable``,
        ``ProblemError``."""
        if demand.do == "open":
            assert demand.wishes is not None
            return Answer(scene=await self._open(demand.wishes))
        assert self._run is not None
        assert self._wishes is not None
        run = self._run
        if demand.do == "begin":
            await open_campaigns(run.ops, self._wishes, run.scene)
            return Answer(scene=run.scene)
        if demand.do == "tablet":
            await run.tablet(demand.number)
        elif demand.do == "rider":
            await run.rider(demand.number)
        elif demand.do == "close":
            assert demand.customers is not None
            outcome = await run.close(demand.customers, self._wishes)
            self.tell()
            return Answer(outcome=outcome)
        else:
            raise BenchError(f"The crew cannot do {demand.do!r}.")
        return Answer()

    def tell(self) -> None:
        """Hand over what was measured since the last time."""
        if self._measured:
            measured, self._measured = self._measured, []
            self._say(Answer(measured=measured))

    async def leave(self) -> None:
        """End everything that was started."""
        if self._run is not None:
            await self._run.switch_off()
        await self._left.aclose()

    async def _open(self, wishes: Wishes) -> Scene:
        if self._run is not None:
            await self._run.switch_off()
            self._run = None
        self._wishes = wishes
        wanted = (wishes.url, wishes.data, wishes.token, wishes.channel_token)
        if wanted != self._reached:
            await self._left.aclose()
            self._reached = None
            await self._reach(wishes)
            self._reached = wanted
        makes, ops = self._makes, self._ops
        assert makes is not None
        assert ops is not None
        tag = fresh_tag()
        channel = tag
        [token] = await makes.tokens("channel", [channel])
        if not wishes.data and wishes.url:  # the token that was given says which channel it is
            async with DoorstepClient(self._url, token) as known:
                channel = (await known.identity()).subject
        scene = await put_goods(ops, wishes, tag, channel, token)
        stores = [spot.store_id for spot in scene.stores]
        self._run = _Run(
            scene,
            ops,
            await makes.tokens("store", stores),
            await makes.tokens("rider", scene.riders),
            self._report,
        )
        return scene

    async def _reach(self, wishes: Wishes) -> None:
        """The service that is named, or one of its own."""
        if not wishes.url:
            running = await self._left.enter_async_context(service())
            self._url, self._makes = running.url, DataTokens(running.data)
        else:
            self._url = wishes.url.rstrip("/")
            if wishes.data:
                self._makes = DataTokens(Path(wishes.data))
            else:
                self._makes = PairedTokens(self._url, wishes.token, wishes.channel_token)
        [token] = await self._makes.tokens("ops", ["loadtest"])
        async with DoorstepClient(self._url, token, retries=Retries(attempts=2)) as first:
            await first.readiness()
        self._ops = await self._left.enter_async_context(DoorstepClient(self._url, token))

    def _report(self, kind: str, name: str, ms: float, error: str = "") -> None:
        self._measured.append(Measured(kind, name, ms, error))


class _Run:
    """One run: its devices, and how it ends."""

    def __init__(
        self, scene: Scene, ops: DoorstepClient, stores: list[str], riders: list[str], report: Any
    ) -> None:
        self.scene = scene
        self.ops = ops
        self._store_tokens = stores
        self._rider_tokens = riders
        self._report = report
        self._tablets: dict[str, Tablet] = {}
        self._riders: dict[str, Rider] = {}
        self._tablets_saw: dict[str, TabletSaw] = {}
        self._riders_saw: dict[str, RiderSaw] = {}

    async def tablet(self, number: int) -> None:
        """Switch the tablet of one store on."""
        spot = self.scene.stores[number]
        saw = self._tablets_saw[spot.store_id] = TabletSaw()
        client = self._client(self._store_tokens[number], saw)
        tablet = self._tablets[spot.store_id] = Tablet(self.scene, spot, client, saw, self._report)
        await tablet.switch_on()

    async def rider(self, number: int) -> None:
        """Have one rider come on shift."""
        rider_id = self.scene.riders[number]
        saw = self._riders_saw[rider_id] = RiderSaw()
        client = self._client(self._rider_tokens[number], saw)
        rider = self._riders[rider_id] = Rider(
            self.scene, rider_id, client, saw, self._report, self._remit, self._give_back
        )
        await rider.switch_on()

    def _client(self, token: str, saw: TabletSaw | RiderSaw) -> DoorstepClient:
        """For one device, which notes also the failures that a repeated call gets over."""
        retries = Retries(on_retry=partial(note_fault, saw))
        return DoorstepClient(self.scene.url, token, retries=retries)

    async def close(self, customers: CustomersSaw, wishes: Wishes) -> Outcome:
        """Wait until everything is final and explained, or until waiting no longer helps."""
        await self._all_on_duty()
        give_up = time.monotonic() + wishes.settle_s
        for spot in self.scene.campaigns:
            await self.ops.end_campaign(
                spot.campaign_id, "the load test is over", key=f"{spot.campaign_id}-end"
            )
        orders: dict[str, models.Order] = {}
        while True:
            orders = await read_orders(self.ops, self.scene, customers.acknowledged, orders)
            if not unsettled(orders, customers.paid) or time.monotonic() > give_up:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        for rider in self._riders.values():
            await rider.go_home()
        findings: list[Finding] = []
        since = time.monotonic()
        while True:
            orders = await read_orders(self.ops, self.scene, customers.acknowledged, orders)
            evidence = await collect(
                self.ops, self.scene, customers, orders, self._tablets_saw, self._riders_saw
            )
            before, findings = findings, judge(evidence)
            now = time.monotonic()
            if findings != before or (await self.ops.readiness()).ledger_lag:
                since = now
            settled = not unsettled(orders, customers.paid) and now - since > STEADY_S
            if not findings or settled or now > give_up:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        await self.switch_off()
        return Outcome(
            wishes.scenario, not findings, len(findings), findings[:FINDINGS_MAX],
            figures(evidence),
        )  # fmt: skip

    async def _all_on_duty(self) -> None:
        """A run with few users may have left some stores without a tablet: they get one now, so
        that whatever was ordered there is still served (and seen)."""
        for number, spot in enumerate(self.scene.stores):
            if spot.store_id not in self._tablets:
                await self.tablet(number)
        if not self._riders:
            await self.rider(0)

    async def switch_off(self) -> None:
        """All devices off."""
        for device in [*self._tablets.values(), *self._riders.values()]:
            await device.switch_off()
        self._tablets, self._riders = {}, {}

    async def _remit(self, rider_id: str, owed: int, key: str) -> None:
        await self.ops.remit(rider_id, owed, owed=owed, key=key)

    async def _give_back(self, store_id: str, parcel_id: str) -> None:
        await self._tablets[store_id].take_back(parcel_id)


async def main() -> None:
    """Serve demands until standard input ends."""
    loop = asyncio.get_running_loop()
    # An interrupt in the terminal reaches every process; Locust says when it is over.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    encode = msgspec.json.Encoder().encode

    def say(answer: Answer) -> None:
        sys.stdout.buffer.write(encode(answer) + b"\n")
        sys.stdout.buffer.flush()

    crew = Crew(say)
    lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer)
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    telling = asyncio.create_task(_every(TELL_EVERY_S, crew.tell))
    doing: set[asyncio.Task[None]] = set()
    try:
        while line := await lines.readline():
            demand = msgspec.json.decode(line, type=Demand)
            job = asyncio.create_task(_answered(demand, crew.do, say))
            doing.add(job)
            job.add_done_callback(doing.discard)
    finally:
        for one in [telling, *doing]:
            one.cancel()
        await asyncio.gather(telling, *doing, return_exceptions=True)
        await crew.leave()


async def _answered(
    demand: Demand, do: Callable[[Demand], Awaitable[Answer]], say: Callable[[Answer], None]
) -> None:
    try:
        answer = await do(demand)
    except (BenchError, NotSellable, ProblemError) as error:
        answer = Answer(error=str(error))
    except Exception as error:
        answer = Answer(error=repr(error))
    answer.id = demand.id
    say(answer)


async def _every(seconds: float, act: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        act()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError, BrokenPipeError):
        asyncio.run(main())
