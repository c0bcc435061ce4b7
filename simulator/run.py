"""Living a day: set the city up, let its people act, wait until all is final, audit, report."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, time
from typing import Any

from rich.console import Console

from orchestrator.client import models, money
from orchestrator.client.findings import Finding
from simulator.audit import Evidence, audit, is_unpaid
from simulator.city import CityOptions, equivalent_day, generate
from simulator.clock import ServiceClock
from simulator.day import Day, TokenMaker
from simulator.evidence import (
    Books,
    StatementReader,
    collect,
    open_books,
    read_orders,
    sandbox_statement,
)
from simulator.live import LiveSummary, Progress
from simulator.people.clerk import Clerk
from simulator.people.customer import Customer
from simulator.people.operator import Operator
from simulator.people.organiser import Organiser
from simulator.people.rider import Rider
from simulator.plan import Plan
from simulator.recorded import RecordedOptions, read_day
from simulator.report import Report, make_report, show_report
from simulator.setup import set_up
from simulator.wire import HttpWire, Wire
from simulator.world import World

__all__ = ["Options", "fresh_tag", "replay", "run", "simulate"]

DRAIN_S = 4 * 3_600.0
"""Service seconds after the last placing within which every order must be final."""
DRAIN_REAL_S_MIN = 60.0
"""The same in real time: at high speed the machine, not the plan, sets the pace."""
LOOK_EVERY_S = 60.0
LOOK_EVERY_REAL_S_MIN = 2.0
OPENING_REAL_S = 2.0
"""The people get at least this long to take their places before the first order."""
GOING_HOME_REAL_S = 90.0
SETTLING_REAL_S = 40.0
"""The ledger and the inboxes may be so far behind before a difference counts."""
SYNC_EVERY_REAL_S = 20.0
TICK_REAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """How ``simulate`` and ``replay`` reach the service and tell about it."""

    base_url: str
    token: TokenMaker
    """(role, subject) to a bearer token; the command line knows the secret."""
    seed: int = 7
    tag: str | None = None
    """Put before every id; None makes one of the present time, so that days never meet."""
    city: CityOptions = field(default_factory=CityOptions)
    folder: Path | None = None
    """``replay``: the recorded day; None lives a generated day of the same size and shape."""
    orders_max: int | None = None
    sandbox_key: str = ""
    """API key of the sandbox provider, to check its statement; "" leaves that out."""
    addresses: Sequence[tuple[str, str]] = ()
    """(name, address) lines of the live summary."""
    as_json: bool = False
    """Print the report as JSON on standard output, and everything else on standard error."""
    drain_s: float = DRAIN_S


async def simulate(options: Options) -> Report:
    """A day in a generated city, with a live summary; prints and returns the report.

    The caller exits with an error unless ``report.explained``.
    """
    plan = generate(options.seed, replace(options.city, tag=_tag(options)))
    return await _shown(plan, options)


async def replay(options: Options) -> Report:
    """A recorded day (or its generated equivalent) through the public API, as ``simulate``.

    Raises :class:`simulator.recorded.RecordingError` when the folder cannot be read.
    """
    tag = _tag(options)
    if options.folder is None:
        plan = equivalent_day(options.seed, tag)
    else:
        recorded = RecordedOptions(orders_max=options.orders_max, tag=tag)
        plan = read_day(options.folder, options.seed, recorded)
    return await _shown(plan, options)


async def run(
    plan: Plan,
    base_url: str,
    token: TokenMaker,
    *,
    progress: Progress | None = None,
    sandbox_key: str = "",
    drain_s: float = DRAIN_S,
) -> Report:
    """Live the plan on the service at ``base_url`` and audit it.

    ``token(role, subject)`` gives bearer tokens. ``progress`` is kept up to date, about
    twice a second. Raises ``Unanswered`` when the service is not there.
    """
    async with HttpWire(base_url, seed=plan.seed) as wire:
        life = _Life(plan, wire, token, progress or Progress())
        return await life.live(sandbox_key, drain_s)


def fresh_tag() -> str:
    """A short prefix that no earlier day has had (base 36 of the seconds of now)."""
    digits, number = "", int(time())
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"{digits}-"


def _tag(options: Options) -> str:
    return fresh_tag() if options.tag is None else options.tag


async def _shown(plan: Plan, options: Options) -> Report:
    progress = Progress()
    console = Console(stderr=options.as_json)
    async with LiveSummary(
        lambda: progress, title=plan.name, addresses=options.addresses, console=console
    ):
        report = await run(
            plan,
            options.base_url,
            options.token,
            progress=progress,
            sandbox_key=options.sandbox_key,
            drain_s=options.drain_s,
        )
    if options.as_json:
        print(report.as_json())
    else:
        show_report(report, console)
    return report


class _Life:
    """One day under way: who is where, and what is still to be waited for."""

    def __init__(
        self,
        plan: Plan,
        wire: Wire,
        token: TokenMaker,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._wire = wire
        self._token = token
        self._progress = progress
        self._began_real = monotonic()
        self._began_service = 0.0
        self._orders: dict[str, models.Order] = {}

    async def live(self, sandbox_key: str, drain_s: float) -> Report:
        """The whole day."""
        day = await self._wake_up()
        books = await open_books(day)
        await set_up(day, self._step)
        await day.clock.sync(day.client("ops", "simulator").clock)
        opening_s = max(0.0, OPENING_REAL_S * day.clock.speed - 60.0)
        day.began_at = day.clock.now() + opening_s - self._plan.starts_s
        clerks = [Clerk(store, day) for store in self._plan.stores]
        operator = Operator(day)
        organisers = [
            self._start(Organiser(one, day).work(), day, one.key) for one in self._plan.campaigns
        ]
        staff = [self._start(clerk.work(), day, clerk.store_id) for clerk in clerks]
        staff.append(self._start(operator.work(), day, "operations"))
        staff.append(self._start(self._keep_time(day), day, "clock"))
        staff.append(self._start(self._tick(day, operator), day, "progress"))
        riders = [self._start(Rider(r, day).work(), day, r.rider_id) for r in self._plan.riders]
        customers = self._start(self._let_order(day), day, "customers")
        try:
            await self._drain(day, customers, drain_s)
            await self._send_home(day, riders)
            statement = sandbox_statement(day, sandbox_key) if sandbox_key else None
            evidence, findings = await self._audit(day, books, clerks, operator, statement)
            return self._report(day, evidence, findings)
        finally:
            await _stop([*staff, *organisers, *riders, customers, *day.watchers])

    async def _wake_up(self) -> Day:
        self._step("reading the clock", 0, 0)
        world = World(self._plan)
        asleep = Day(self._plan, world, ServiceClock(0.0, 1.0), self._wire, self._token)
        await asleep.clock.sync(asleep.client("ops", "simulator").clock)
        self._began_service = asleep.clock.now()
        return asleep

    async def _let_order(self, day: Day) -> None:
        """Every customer at their time; returns when the last has nothing left to do."""
        async with asyncio.TaskGroup() as customers:
            for order in sorted(self._plan.orders, key=lambda order: order.at_s):
                await day.clock.sleep_until(day.at(order.at_s))
                customers.create_task(_guarded(Customer(order, day).live(), day, order.key))

    # --- The end of the day

    async def _drain(self, day: Day, customers: asyncio.Task[None], drain_s: float) -> None:
        """Wait until nothing can change any more, or until it has taken too long."""
        self._step("living the day", 0, len(self._plan.orders))
        last_at = day.at(self._plan.ends_s)
        latest_at = last_at + max(drain_s, DRAIN_REAL_S_MIN * day.clock.speed)
        while day.clock.now() < latest_at:
            pause_s = day.clock.real_s(LOOK_EVERY_S)
            await asyncio.sleep(max(LOOK_EVERY_REAL_S_MIN, pause_s))
            if day.clock.now() < last_at:
                continue
            self._progress.step = "waiting until every order is final"
            gone = customers.done()
            self._orders = await read_orders(day, self._settled(day, gone))
            if gone and not unsettled(day, self._orders):
                break
        day.over.set()

    def _settled(self, day: Day, customers_gone: bool) -> dict[str, models.Order]:
        """Orders that cannot change any more. A cancelled one can while its customer is about: a
        late payment brings it back to life."""
        waiting = set(unsettled(day, self._orders))
        return {
            order_id: order
            for order_id, order in self._orders.items()
            if order_id not in waiting and (customers_gone or order.state == "completed")
        }

    async def _send_home(self, day: Day, riders: Sequence[asyncio.Task[None]]) -> None:
        self._progress.step = "riders bring their cash home"
        if riders:
            _home, still_out = await asyncio.wait(riders, timeout=GOING_HOME_REAL_S)
            for number, task in enumerate(riders):
                if task in still_out:
                    rider_id = self._plan.riders[number].rider_id
                    day.world.wonders.append(f"{rider_id} did not come home")

    async def _audit(
        self,
        day: Day,
        books: Books,
        clerks: Sequence[Clerk],
        operator: Operator,
        statement: StatementReader | None,
    ) -> tuple[Evidence, list[Finding]]:
        """Audit until nothing is unexplained, or until waiting no longer helps."""
        self._progress.step = "auditing stock and cash"
        give_up = monotonic() + SETTLING_REAL_S
        while True:
            tablets = {clerk.store_id: clerk.last_offset for clerk in clerks}
            evidence = await collect(
                day,
                books,
                tablets,
                anomalies=_of_this_day(day, await operator.look()),
                statement=statement,
            )
            findings = audit(day.world, evidence)
            if not findings or monotonic() >= give_up:
                return evidence, findings
            await asyncio.sleep(2.0)

    def _report(self, day: Day, evidence: Evidence, findings: Sequence[Finding]) -> Report:
        return make_report(
            day.world,
            evidence,
            findings,
            speed=day.clock.speed,
            service_s=day.clock.now() - self._began_service,
            real_s=monotonic() - self._began_real,
            first_delivered_real_s=self._progress.first_delivered_real_s,
        )

    # --- Meanwhile

    async def _keep_time(self, day: Day) -> None:
        """A service that was restarted may have another idea of the time."""
        ops = day.hasty("ops", "simulator")
        while True:
            await asyncio.sleep(SYNC_EVERY_REAL_S)
            with suppress(Exception):
                await day.clock.sync(ops.clock)

    async def _tick(self, day: Day, operator: Operator) -> None:
        """Keep the progress up to date."""
        while True:
            self._look(day, operator)
            await asyncio.sleep(TICK_REAL_S)

    def _look(self, day: Day, operator: Operator) -> None:
        progress, world = self._progress, day.world
        states: Counter[str] = Counter()
        for trace in world.traces.values():
            if trace.order_id:
                known = self._orders.get(trace.order_id)
                seen = "delivered" if trace.delivered_at else "placed"
                states[known.state if known else seen] += 1
            elif trace.refused:
                states["refused"] += 1
        progress.states = states
        progress.placed = len(world.by_order_id)
        progress.done = sum(1 for trace in world.traces.values() if trace.wanted_at)
        progress.total = len(world.traces)
        progress.riders_on_shift = len(day.on_shift)
        progress.riders_busy = len(day.carrying)
        progress.anomalies = len(operator.open_anomalies)
        progress.service_now, progress.speed = day.clock.now(), day.clock.speed
        progress.counts = world.counts
        if progress.first_delivered_real_s is None and world.first_delivered_at is not None:
            since_s = world.first_delivered_at - self._began_service
            progress.first_delivered_real_s = round(since_s / day.clock.speed, 1)

    def _step(self, step: str, done: int, total: int) -> None:
        self._progress.step, self._progress.done, self._progress.total = step, done, total

    def _start(self, living: Coroutine[Any, Any, None], day: Day, who: str) -> asyncio.Task[None]:
        return asyncio.create_task(_guarded(living, day, who))


def unsettled(day: Day, orders: Mapping[str, models.Order]) -> list[str]:
    """Orders that may still change: not final, money on its way back, a payment not heard of."""
    waiting = []
    for order_id, trace in day.world.by_order_id.items():
        order = orders.get(order_id)
        if order is None or not money.is_settled(order):
            waiting.append(order_id)
            continue
        expected = set(trace.paid)
        if trace.held and is_unpaid(order):
            expected |= set(trace.held)
        if not expected <= set(money.taken_payments(order)):
            waiting.append(order_id)
    return waiting


async def _guarded(living: Coroutine[Any, Any, None], day: Day, who: str) -> None:
    """A person whose life goes wrong does not end everybody's day; the audit will tell."""
    try:
        await living
    except Exception as error:
        causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
        for cause in causes:
            day.world.wonders.append(f"{who}: {type(cause).__name__}: {cause}")


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _of_this_day(day: Day, anomalies: Sequence[models.Anomaly]) -> list[models.Anomaly]:
    """Anomalies about this day's orders (the service may have others)."""
    return [
        anomaly for anomaly in anomalies if anomaly.ids.get("order_id") in day.world.by_order_id
    ]
