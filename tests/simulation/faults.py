"""What goes wrong: a journal, a network, nodes and a payment provider that fail by chance.

Everything is drawn from named streams of one seed, so that a change in one part of the world does
not change the luck of another. A fate is drawn before the first wait, never while something is
being cancelled: the order in which a crash cancels its tasks must not matter.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from actors.engine.local_runtime import LocalRuntime
from actors.engine.mailbox import PeerLost
from actors.engine.node import Node
from actors.engine.ports import Append, JournalUnavailable, Shard, SnapshotWrite, Stored
from domain.errors import Refused, Unavailable
from domain.message import Command
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)
from tests.fakes.memory_journal import MemoryJournal

__all__ = ["Chance", "FaultyJournal", "Network", "Nodes", "Notices", "Provider", "Weather"]


class Chance:
    """The luck of one seed, as independent named streams."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> Random:
        """Always the same numbers for the same seed and name, on every machine."""
        return Random(f"doorstep {self.seed} {name}")


@dataclass
class Weather:
    """How bad it is. Probabilities per occasion, times in seconds; ``calm`` ends all of it."""

    append_s: float = 0.003
    append_fails: float = 0.0
    append_unknown: float = 0.0
    read_fails: float = 0.0
    away_every_s: float = 0.0
    """Mean time between outages of the journal; 0 for none."""
    network_s: float = 0.002
    network_slow: float = 0.0
    request_lost: float = 0.0
    answer_lost: float = 0.0
    repeated: float = 0.0
    cut_every_s: float = 0.0
    crash_every_s: float = 0.0
    crash_at_append: float = 0.0
    crash_at_snapshot: float = 0.0
    isolate: float = 0.0
    """Share of crashes in which the old process lives on for a while beside its successor."""
    effect_fails: float = 0.0
    snapshot_every_s: float = 20.0
    snapshot_every_records: int = 40
    snapshot_slice: int = 3
    """Entities per slice: so few that crashes and changes fall between two slices."""
    passivate_s: float = 30.0
    calm: bool = False

    @classmethod
    def drawn(cls, random: Random) -> "Weather":
        """Each kind of trouble is absent, mild or wild by chance, so that seeds differ in kind."""

        def some(mild: float, wild: float) -> float:
            return random.choice((0.0, mild, mild, wild))

        return cls(
            append_s=random.choice((0.001, 0.005, 0.05)),
            append_fails=some(0.01, 0.08),
            append_unknown=some(0.01, 0.08),
            read_fails=some(0.01, 0.1),
            away_every_s=random.choice((0.0, 300.0, 90.0)),
            network_s=random.choice((0.001, 0.01, 0.1)),
            network_slow=some(0.01, 0.05),
            request_lost=some(0.01, 0.06),
            answer_lost=some(0.01, 0.06),
            repeated=some(0.01, 0.06),
            cut_every_s=random.choice((0.0, 240.0, 80.0)),
            crash_every_s=random.choice((0.0, 180.0, 60.0)),
            crash_at_append=some(0.001, 0.006),
            crash_at_snapshot=some(0.02, 0.1),
            isolate=random.choice((0.0, 0.3)),
            effect_fails=some(0.05, 0.3),
            snapshot_every_s=random.choice((3.0, 15.0, 60.0)),
            snapshot_every_records=random.choice((5, 30, 200)),
            snapshot_slice=random.choice((1, 1, 3)),
            passivate_s=random.choice((0.5, 20.0, 120.0)),
        )


def _luck(random: Random, weather: Weather, probability: float) -> bool:
    """One throw; always thrown, so that calm weather does not shift later throws."""
    return random.random() < probability and not weather.calm


def _quietly(task: "asyncio.Task[Any]") -> None:
    """Take note of a task's end that nobody waits for."""
    if not task.cancelled():
        task.exception()


# ------------------------------------------------------------------ the journal


@dataclass(frozen=True)
class _Fate:
    """What becomes of one call to the journal."""

    before_s: float
    after_s: float
    lost_if_cut: bool
    """Whether a request on its way dies with its sender."""
    fails: bool
    stored: bool | None
    """Of an append whose outcome stays unknown, whether it is stored; None: it is, and told so."""


class FaultyJournal:
    """``actors.engine.ports.Journal`` over a memory journal. What an append stores is shown to
    ``on_stored`` at that moment, in the order of truth; ``on_stage`` may make a node crash."""

    def __init__(
        self,
        inner: MemoryJournal,
        weather: Weather,
        random: Random,
        on_stored: Callable[[Shard, int, bytes], None],
        on_stage: Callable[[str, Shard], None],
    ) -> None:
        self.inner = inner
        self.away = False
        self._weather = weather
        self._random = random
        self._on_stored = on_stored
        self._on_stage = on_stage

    def _fate(self) -> _Fate:
        random, weather = self._random, self._weather
        slow = 20.0 if random.random() < 0.02 else 1.0
        before_s = random.expovariate(1.0 / (weather.append_s * slow))
        after_s = random.expovariate(1.0 / (weather.append_s * slow))
        lost_if_cut = random.random() < 0.5
        fails = _luck(random, weather, weather.append_fails)
        arrived = random.random() < 0.5
        unknown = _luck(random, weather, weather.append_unknown)
        return _Fate(before_s, after_s, lost_if_cut, fails, arrived if unknown else None)

    def _check(self) -> None:
        if self.away and not self._weather.calm:
            raise JournalUnavailable("the journal is away")

    async def _read(self) -> None:
        """Any call that is not an append."""
        fails = _luck(self._random, self._weather, self._weather.read_fails)
        await asyncio.sleep(self._random.expovariate(1.0 / self._weather.append_s))
        self._check()
        if fails:
            raise JournalUnavailable("a read failed")

    async def append(self, appends: Sequence[Append]) -> set[Shard]:
        """As the memory journal's; it may fail before, midway or after. A request on its way may
        arrive although its sender has died."""
        fate = self._fate()
        task = asyncio.get_running_loop().create_task(self._append(appends, fate))
        task.add_done_callback(_quietly)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if fate.lost_if_cut:
                task.cancel()
            raise

    async def _append(self, appends: Sequence[Append], fate: _Fate) -> set[Shard]:
        for append in appends:
            self._on_stage("before append", append.shard)
        await asyncio.sleep(fate.before_s)
        self._check()
        if fate.fails:
            raise JournalUnavailable("the append did not arrive")
        fenced = self.inner.check(appends)
        if not fenced and fate.stored is not False:
            for append in appends:
                head = self.inner.head.get(append.shard, 0)
                self.inner.store(append)
                if append.position == head + 1:
                    self._on_stored(append.shard, append.position, append.payload)
        for append in appends:
            self._on_stage("after append", append.shard)
        await asyncio.sleep(fate.after_s)
        if fate.stored is not None:
            raise JournalUnavailable("the answer to an append was lost")
        return fenced

    async def claim(self, shard: Shard) -> tuple[int, int]:
        await self._read()
        return await self.inner.claim(shard)

    async def recover(self, shard: Shard) -> tuple[AsyncIterator[list[Stored]], int]:
        await self._read()
        return await self.inner.recover(shard)

    async def load_parts(
        self, shard: Shard, entity_id: str, numbers: Sequence[int]
    ) -> list[bytes | None]:
        await self._read()
        return await self.inner.load_parts(shard, entity_id, numbers)

    async def read(self, shard: Shard, after: int, count: int = 500) -> list[tuple[int, bytes]]:
        await self._read()
        return await self.inner.read(shard, after, count)

    async def follow(
        self, cursors: Mapping[Shard, int], wait_s: float, count: int = 500
    ) -> list[tuple[Shard, int, bytes]]:
        """Now and then a follower falls asleep for so long that records are trimmed meanwhile."""
        asleep_s = self._random.choice((0.0, 5.0, 60.0))
        if _luck(self._random, self._weather, self._weather.read_fails):
            await asyncio.sleep(asleep_s)
        await self._read()
        return await self.inner.follow(cursors, wait_s, count)

    async def load_cold(self, shard: Shard, entity_ids: Sequence[str]) -> list[Stored]:
        await self._read()
        return await self.inner.load_cold(shard, entity_ids)

    async def cold_ids(self, shards: Sequence[Shard]) -> AsyncIterator[tuple[Shard, list[str]]]:
        for shard in shards:
            await self._read()
            async for found in self.inner.cold_ids([shard]):
                yield found

    async def write_snapshot(self, write: SnapshotWrite) -> None:
        self._on_stage("before snapshot", write.shard)
        await self._read()
        await self.inner.write_snapshot(write)
        self._on_stage("after snapshot", write.shard)
        await asyncio.sleep(self._weather.append_s)

    async def mark_projected(self, shard: Shard, position: int) -> None:
        await self.inner.mark_projected(shard, position)

    async def trim(self, shard: Shard) -> int:
        await self._read()
        return await self.inner.trim(shard)

    async def heads(self, shards: Sequence[Shard]) -> dict[Shard, int]:
        await self._read()
        return await self.inner.heads(shards)

    async def ping(self) -> None:
        await self._read()

    async def close(self) -> None:
        await self.inner.close()

    async def outages(self) -> None:
        """Be away now and then, for ever."""
        random, every_s = self._random, self._weather.away_every_s
        while every_s:
            await asyncio.sleep(random.expovariate(1.0 / every_s))
            self.away = True
            await asyncio.sleep(random.choice((0.5, 3.0, 25.0)))
            self.away = False


# ------------------------------------------------------------------ the nodes


class Nodes:
    """Kills and revives the nodes of a local runtime. A killed node answers nobody any more; one
    that is isolated instead works on for a while, unaware that its successor has taken over."""

    def __init__(self, weather: Weather, random: Random, tell: Callable[[str], None]) -> None:
        self.runtime: LocalRuntime
        self.crashes = 0
        self._weather = weather
        self._random = random
        self._tell = tell
        self.isolated: dict[str, Node] = {}
        """Nodes that work on although their successors have taken over."""
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._deaths: dict[str, asyncio.Future[None]] = {}
        self._down: dict[str, float] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.failures: list[BaseException] = []
        """Of nodes that could not start: no crash explains that."""
        self.ambush: Callable[[str, Shard], bool] = lambda _stage, _shard: False
        """A test's own choice of the moment at which a node dies."""

    def death(self, name: str) -> "asyncio.Future[None]":
        """Done when the process that answers to this name now has died."""
        future = self._deaths.get(name)
        if future is None:
            future = self._deaths[name] = asyncio.get_running_loop().create_future()
        return future

    async def trouble(self) -> None:
        """Crash some node now and then, for ever."""
        every_s = self._weather.crash_every_s
        while every_s:
            await asyncio.sleep(self._random.expovariate(1.0 / every_s))
            self.crash_some("by chance", self._random.choice(sorted(self.runtime.plan.hosts)))

    def at_stage(self, stage: str, shard: Shard) -> None:
        """The journal is at work for a shard: its node may die just now."""
        weather = self._weather
        probability = weather.crash_at_append
        if stage.endswith("snapshot"):
            probability = weather.crash_at_snapshot
        if _luck(self._random, weather, probability) or self.ambush(stage, shard):
            self.crash_some(f"{stage} of {shard}", self.runtime.plan.node_of[shard])

    def crash_some(self, why: str, name: str) -> None:
        """Crash a node, and start its successor some time later."""
        down_s = self._random.choice((0.0, 0.2, 2.0, 12.0))
        isolated_s = self._random.uniform(0.1, 8.0)
        isolate = self._random.random() < self._weather.isolate
        if self._weather.calm or name in self._down or name not in self.runtime.nodes:
            return
        if isolate:
            down_s = 0.0
        self.crashes += 1
        self._tell(f"{name} {'is isolated' if isolate else 'crashes'} {why}, down {down_s} s")
        self._down[name] = down_s
        self._spawn(self._crash(name, down_s, isolated_s if isolate else 0.0))

    async def _crash(self, name: str, down_s: float, isolated_s: float) -> None:
        starting = self._starting.pop(name, None)
        if starting is not None:
            starting.cancel()
        old = self.runtime.nodes.pop(name)
        if isolated_s and starting is None and name not in self.isolated:
            self.isolated[name] = old
            self._spawn(self._end(name, old, isolated_s))
        else:
            death = self._deaths.pop(name, None)
            if death is not None:
                death.set_result(None)
            await old.stop()
        await asyncio.sleep(down_s)
        del self._down[name]
        self._tell(f"{name} starts")
        self.start(name)

    async def _end(self, name: str, old: Node, after_s: float) -> None:
        await asyncio.sleep(after_s)
        del self.isolated[name]
        await old.stop()

    def start(self, name: str) -> "asyncio.Task[None]":
        """Start a node; it may be killed before it is ready."""
        task = asyncio.get_running_loop().create_task(self.runtime.restart(name))
        task.add_done_callback(_quietly)
        self._starting[name] = task
        task.add_done_callback(lambda done: self._started(name, done))
        return task

    def _started(self, name: str, task: "asyncio.Task[None]") -> None:
        if self._starting.get(name) is task:
            del self._starting[name]
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.failures.append(failure)

    @property
    def settled(self) -> bool:
        """Every node is up."""
        return not self._down and not self._starting and not self.isolated

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


# ------------------------------------------------------------------ the network


@dataclass(frozen=True)
class _Journey:
    """What becomes of one exchange."""

    there_s: float
    back_s: float
    lost: bool
    answer_lost: bool
    again_s: float | None


class Network:
    """Carries exchanges between nodes: late, out of order, lost, twice, or not at all while a link
    is cut. A sender's death does not stop what is on its way; a receiver's death is noticed."""

    def __init__(self, weather: Weather, chance: Chance, nodes: Nodes) -> None:
        self._weather = weather
        self._chance = chance
        self._nodes = nodes
        self._links: dict[tuple[str, str], Random] = {}
        self._cut: set[tuple[str, str]] = set()
        self._tasks: dict[asyncio.Task[Any], None] = {}

    async def __call__(
        self, origin: str, to: str, payload: bytes, deliver: Callable[[bytes], Awaitable[bytes]]
    ) -> bytes:
        journey = self._journey(origin, to)
        task = asyncio.get_running_loop().create_task(
            self._carry((origin, to), payload, deliver, journey)
        )
        self._keep(task)
        return await asyncio.shield(task)

    def _journey(self, origin: str, to: str) -> _Journey:
        weather = self._weather
        random = self._links.get((origin, to))
        if random is None:
            random = self._links[origin, to] = self._chance.stream(f"link {origin} {to}")
        there_s = random.expovariate(1.0 / weather.network_s)
        back_s = random.expovariate(1.0 / weather.network_s)
        if _luck(random, weather, weather.network_slow):
            there_s += random.uniform(0.0, 4.0)
        if _luck(random, weather, weather.network_slow):
            back_s += random.uniform(0.0, 4.0)
        again_s = random.choice((0.0, 0.05, 1.0, 30.0))
        return _Journey(
            there_s,
            back_s,
            _luck(random, weather, weather.request_lost),
            _luck(random, weather, weather.answer_lost),
            again_s if _luck(random, weather, weather.repeated) else None,
        )

    async def _carry(
        self,
        link: tuple[str, str],
        payload: bytes,
        deliver: Callable[[bytes], Awaitable[bytes]],
        journey: _Journey,
    ) -> bytes:
        death = self._nodes.death(link[1])
        await asyncio.sleep(journey.there_s)
        if (link in self._cut and not self._weather.calm) or journey.lost:
            raise PeerLost("the request was lost")
        if death.done():
            raise PeerLost("the receiver has died")
        if journey.again_s is not None:
            again = asyncio.get_running_loop().create_task(
                self._again(payload, deliver, journey.again_s, death)
            )
            self._keep(again)
        answers = await self._until(death, deliver(payload))
        await asyncio.sleep(journey.back_s)
        if journey.answer_lost:
            raise PeerLost("the answer was lost")
        return answers

    async def _until(self, death: "asyncio.Future[None]", work: Awaitable[bytes]) -> bytes:
        task = asyncio.ensure_future(work)
        self._keep(task)
        either: list[asyncio.Future[Any]] = [task, death]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        raise PeerLost("the receiver died meanwhile")

    async def _again(
        self,
        payload: bytes,
        deliver: Callable[[bytes], Awaitable[bytes]],
        after_s: float,
        death: "asyncio.Future[None]",
    ) -> None:
        """A copy that arrives, too; nobody gets its answer."""
        await asyncio.sleep(after_s)
        if not death.done():
            await self._until(death, deliver(payload))

    def _keep(self, task: "asyncio.Task[Any] | asyncio.Future[Any]") -> None:
        self._tasks[task] = None  # type: ignore[index]
        task.add_done_callback(lambda done: self._tasks.pop(done, None))  # type: ignore[call-overload]
        task.add_done_callback(_quietly)  # type: ignore[arg-type]

    async def cuts(self, names: Sequence[str]) -> None:
        """Cut some link, in one direction, now and then, for ever."""
        random, every_s = self._chance.stream("cuts"), self._weather.cut_every_s
        while every_s and len(names) > 1:
            await asyncio.sleep(random.expovariate(1.0 / every_s))
            origin, to = random.sample(sorted(names), 2)
            self._cut.add((origin, to))
            await asyncio.sleep(random.choice((0.3, 4.0, 30.0)))
            self._cut.discard((origin, to))


# ------------------------------------------------------------------ the outside


@dataclass
class Account:
    """One payment as the provider's books have it."""

    created: CreatePayment
    status: str = "pending"
    captured: int = 0
    held: int = 0
    refunds: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


class Provider:
    """Payment providers with their customers: they pay early, late or never; some money is held
    first and taken when we ask for it; webhooks come more than once, late, in any order or not at
    all; calls fail before or after they took effect."""

    def __init__(
        self,
        weather: Weather,
        random: Random,
        now: Callable[[], float],
        webhook: Callable[[str, ProviderAnswer], Coroutine[Any, Any, None]],
    ) -> None:
        self.accounts: dict[str, Account] = {}
        self.plan: Callable[[CreatePayment], tuple[float | None, str]]
        """When and how the customer acts: (seconds from now or None for never, status)."""
        self.refuses = 0.02
        """Share of refunds that a provider will not make."""
        self._weather = weather
        self._random = random
        self._now = now
        self._webhook = webhook
        self._tasks: dict[asyncio.Task[Any], None] = {}

    async def __call__(self, name: str, command: Command, effect_id: str) -> ProviderAnswer:
        """The effect handler of ``provider/<name>``."""
        random, weather = self._random, self._weather
        before_s, after_s = random.expovariate(20.0), random.expovariate(20.0)
        fails = _luck(random, weather, weather.effect_fails)
        unknown = _luck(random, weather, weather.effect_fails)
        task = asyncio.get_running_loop().create_task(
            self._call(name, command, before_s, after_s, fails, unknown)
        )
        self._keep(task)
        return await asyncio.shield(task)

    async def _call(
        self, name: str, command: Command, before_s: float, after_s: float, fails: bool,
        unknown: bool,
    ) -> ProviderAnswer:  # fmt: skip
        await asyncio.sleep(before_s)
        if fails:
            raise Unavailable("provider-away", "The call did not arrive.")
        answer = self._answer(name, command)
        await asyncio.sleep(after_s)
        if unknown:
            raise Unavailable("provider-away", "The answer was lost.")
        return answer

    def _answer(self, name: str, command: Command) -> ProviderAnswer:
        match command:
            case CreatePayment():
                return self._create(name, command)
            case QueryPayment(payment_id):
                return self._state(payment_id)
            case CapturePayment():
                return self._take(name, command)
            case RefundPayment():
                return self._refund(command)
        raise Refused("unknown-call", f"{command!r} is no call of a provider.")

    def _create(self, name: str, command: CreatePayment) -> ProviderAnswer:
        if command.payment_id not in self.accounts:
            self.accounts[command.payment_id] = Account(command)
            after_s, status = self.plan(command)
            if after_s is not None:
                self._keep(asyncio.ensure_future(self._act(name, command, after_s, status)))
        return self._state(command.payment_id)

    def capture(self, payment_id: str) -> ProviderAnswer:
        """The customer of a test pays now; whoever has the answer may tell of it."""
        account = self.accounts[payment_id]
        account.status, account.captured = "captured", account.created.amount
        return self._state(payment_id, "captured")

    async def _act(self, name: str, command: CreatePayment, after_s: float, status: str) -> None:
        """The customer acts, and webhooks tell of it."""
        random = self._random
        copies = random.choice((0, 1, 1, 2, 3))
        delays = [random.choice((0.0, 0.5, 20.0, 90.0)) + random.random() for _ in range(copies)]
        early = random.random() < 0.3
        mismatch = random.random() < 0.03
        held = random.random() < 0.3 and status == "captured"
        by_itself_s = random.choice((None, None, None, 1.0, 40.0))
        if early:
            self._tell(name, self._state(command.payment_id, "early"), random.uniform(0.0, 150.0))
        await asyncio.sleep(after_s)
        account = self.accounts[command.payment_id]
        sum_ = command.amount - 1 if mismatch else command.amount
        if held:
            account.status, account.held = "authorised", sum_
        else:
            account.status = status
            account.captured = sum_ if status == "captured" else 0
        for number, delay_s in enumerate(delays):
            told = self._state(command.payment_id, f"{account.status} {number}")
            self._tell(name, told, delay_s)
        if held and by_itself_s is not None:  # some do not wait to be asked
            await asyncio.sleep(by_itself_s)
            self._take_held(name, account)

    def _take(self, name: str, command: CapturePayment) -> ProviderAnswer:
        account = self.accounts[command.payment_id]
        if account.status == "authorised":
            if command.amount != account.held:
                raise Refused("wrong-amount", "Take what is held.")
            self._take_held(name, account)
        elif account.status != "captured":
            raise Refused("payment-not-authorised", f"It is {account.status}.")
        return self._state(command.payment_id)

    def _take_held(self, name: str, account: Account) -> None:
        if account.status == "authorised":
            account.status, account.captured = "captured", account.held
            answer = self._state(account.created.payment_id, "taken")
            if self._random.random() < 0.7:
                self._tell(name, answer, self._random.choice((0.0, 30.0)))

    def _tell(self, name: str, answer: ProviderAnswer, after_s: float) -> None:
        async def later() -> None:
            await asyncio.sleep(after_s)
            await self._webhook(name, answer)

        self._keep(asyncio.ensure_future(later()))

    def _state(self, payment_id: str, event_id: str = "") -> ProviderAnswer:
        account = self.accounts.get(payment_id)
        if account is None:
            return ProviderAnswer(payment_id, "unknown")
        amount = account.captured or account.held or account.created.amount
        return ProviderAnswer(
            payment_id, account.status, f"ref {payment_id}", amount, account.created.currency, "",
            f"{payment_id} {event_id}", self._now(),
        )  # fmt: skip

    def _refund(self, command: RefundPayment) -> ProviderAnswer:
        account = self.accounts.get(command.payment_id)
        if account is None or account.status != "captured":
            raise Refused("not-captured", "There is no money to give back.")
        if command.refund_id not in account.refunds:
            if command.refund_id in account.refused or self._random.random() < self.refuses:
                account.refused.add(command.refund_id)
                return self._refunded(command, "refused")
            if sum(account.refunds.values()) + command.amount > account.captured:
                raise Refused("exceeds", "More than was captured would go back.")
            account.refunds[command.refund_id] = command.amount
        return self._refunded(command, "refunded")

    def _refunded(self, command: RefundPayment, status: str) -> ProviderAnswer:
        return ProviderAnswer(
            command.payment_id, status, amount=command.amount, currency=command.currency,
            refund_id=command.refund_id,
        )  # fmt: skip

    def _keep(self, task: "asyncio.Future[Any]") -> None:
        self._tasks[task] = None  # type: ignore[index]
        task.add_done_callback(lambda done: self._tasks.pop(done, None))  # type: ignore[call-overload]
        task.add_done_callback(_quietly)  # type: ignore[arg-type]

    @property
    def idle(self) -> bool:
        """Nothing is on its way and no customer is going to pay."""
        return not self._tasks


class Notices:
    """``notify/<name>``: takes notices, sometimes not at the first try."""

    def __init__(self, weather: Weather, random: Random) -> None:
        self.taken: list[Command] = []
        self._weather = weather
        self._random = random

    async def __call__(self, name: str, command: Command, effect_id: str) -> None:
        """The effect handler of ``notify/<name>``."""
        fails = _luck(self._random, self._weather, self._weather.effect_fails)
        await asyncio.sleep(self._random.expovariate(50.0))
        if fails:
            raise Unavailable("notify-away", "Try again.")
        self.taken.append(command)
