"""A small retail day, drawn from one seed and played through ``runtime.ask`` as people would.

Several stores hold few units, so that every order is a race. People are impatient, mistaken and
slow by chance; clients repeat a command under the same id until they have an answer. After the
storm the weather is calm and everybody works diligently, until nothing is left to do.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

from actors.engine.codec import Registry, answer_of, encode
from actors.engine.feed import JournalFeed
from actors.engine.kind import Kind
from actors.engine.local_runtime import LocalRuntime
from actors.engine.node import Node
from actors.engine.placement import Plan
from actors.engine.ports import Record, Shard
from actors.views import Views
from domain import campaign
from domain.catalogue.commands import PutChannel, PutSku, PutStore
from domain.catalogue.model import (
    ChannelPolicy,
    CodRule,
    Component,
    Freight,
    Sku,
    StoreProfile,
    Zone,
)
from domain.errors import DoorstepError, Problem, Refused, Unavailable
from domain.geo import Circle, Position
from domain.inventory import commands as stock
from domain.message import Command
from domain.notice import Notify
from domain.order import commands as orders
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)
from domain.rider import commands as riders
from domain.store import commands as counter
from orchestrator.bootstrap import KINDS
from tests.fakes.memory_journal import MemoryJournal
from tests.simulation import town
from tests.simulation.auditor import Auditor
from tests.simulation.faults import (
    Chance,
    FaultyJournal,
    Network,
    Nodes,
    Notices,
    Provider,
    Weather,
)
from tests.simulation.loop import LoopClock
from tests.simulation.people import Clerk, Customer, Desk, Keeper, Rider
from tests.simulation.shoppers import Organiser, Shopper, drawn_campaigns
from tests.simulation.town import GOODS, HOME, RIDERS, STORES, STORM_S, ZONE

__all__ = ["KINDS", "STORES", "World"]

SHARDS = {
    kind.name: 2 if kind.name in ("inventory", "order", "rider", "store") else 1 for kind in KINDS
}
QUESTIONS = (
    orders.Get, stock.Get, campaign.Get, riders.GetRider, counter.GetTicket, counter.GetSnapshot,
    counter.ReadInbox,
)  # fmt: skip
GIVE_UP_S = 1_500.0
"""Whatever is not final by then never will be."""
REST_S = 4_500.0
"""The last query of a silent payment is an hour after its order's expiry."""


class World:
    """One seed's world. ``await play()`` plays the day; the auditor watches all of it."""

    def __init__(
        self,
        seed: int,
        *,
        kinds: Sequence[Kind] = KINDS,
        weather: Weather | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.seed = seed
        self.chance = Chance(seed)
        self.loop = asyncio.get_running_loop()
        self.clock = LoopClock(self.loop)
        self.weather = weather or Weather.drawn(self.chance.stream("weather"))
        self.history: list[str] = []
        self.registry = Registry(
            kinds,
            CreatePayment | CapturePayment | RefundPayment | QueryPayment | Notify,
            ProviderAnswer | None,
        )
        self.plan = plan or _plan(self.chance.stream("plan"))
        self.auditor = Auditor()
        self.memory = MemoryJournal()
        self.nodes = Nodes(self.weather, self.chance.stream("nodes"), self.tell)
        self.journal = FaultyJournal(
            self.memory, self.weather, self.chance.stream("journal"), self._stored,
            self.nodes.at_stage,
        )  # fmt: skip
        self.provider = Provider(
            self.weather, self.chance.stream("provider"), self.clock.now, self._webhook
        )
        self.provider.plan = self._payer(self.chance.stream("payers"))
        self.network = Network(self.weather, self.chance, self.nodes)
        self.runtime = LocalRuntime(
            self.plan,
            self.registry,
            self.journal,
            self.clock,
            make_views=lambda: Views(pickup_secret=b"secret of pick-up codes"),
            effects={
                "provider": self.provider,
                "notify": Notices(self.weather, self.chance.stream("notices")),
            },
            network=self.network,
            passivate_s=self.weather.passivate_s,
        )
        self.nodes.runtime = self.runtime
        self.parked: list[tuple[float, str, str]] = []
        self.uncollected: list[str] = []
        """Orders whose customer did not come, for the desk."""
        self.called: set[str] = set()
        """Orders whose customer was called and comes now."""
        self.cash_limit = self.chance.stream("cash limits").choice(town.CASH_LIMITS)
        """Of riders who come on shift; the desk raises it when it keeps parcels waiting."""
        self.diligent = False
        self.closing = False
        self.rest_s = REST_S
        self.campaigns: dict[str, campaign.Terms] = {}
        self.read: dict[str, Any] = {}
        """Everything as it was read after the last restart, by entity."""
        self._client = self.chance.stream("client")
        self._watchers: dict[str, list[tuple[int, asyncio.Future[None]]]] = {}
        self._seen: dict[str, int] = {}
        self._asked = 0
        self._people: list[asyncio.Task[Any]] = []
        self._lasting: list[asyncio.Task[Any]] = []

    # ---------------------------------------------------------------- history

    def tell(self, line: str) -> None:
        """One line of history."""
        self.history.append(f"{self.loop.time():10.3f} {line}")

    def digest(self) -> str:
        """A fingerprint of the whole history."""
        return blake2b("\n".join(self.history).encode(), digest_size=16).hexdigest()

    def _stored(self, shard: Shard, position: int, payload: bytes) -> None:
        record: Record = self.registry.codecs[shard.kind].record(payload)
        for entry in record.entries:
            facts = ", ".join(_short(event) for event in entry.events)
            owes = "".join(f" owes {owed.to} {type(owed.command).__name__}" for owed in entry.owed)
            self.tell(f"{shard}#{position} {entry.entity}: {facts}{owes} [{entry.command_id}]")
        self.tell(blake2b(payload, digest_size=8).hexdigest())
        self.auditor.stored(shard, position, record)
        for entry in record.entries:
            self._watch(entry.entity, entry.events)

    def _watch(self, entity: str, events: Sequence[Any]) -> None:
        for event in events:
            name = type(event).__name__
            if name == "FulfilmentParked":
                self.parked.append((self.loop.time(), entity, event.fulfilment_id))
            elif name == "FulfilmentUncollected":
                self.uncollected.append(entity)
            elif name == "CashEscalated":
                self.cash_limit = 9_000
            about = _order_of(entity, event)
            if about:
                seen = self._seen[about] = self._seen.get(about, 0) + 1
                for count, future in self._watchers.get(about, ()):
                    if count == seen and not future.done():
                        future.set_result(None)

    async def step_of(self, order_id: str, count: int, patience_s: float) -> None:
        """Wait for the ``count``-th fact, of whichever entity, about an order."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._watchers.setdefault(order_id, []).append((count, future))
        await asyncio.wait([future], timeout=patience_s)

    # ---------------------------------------------------------------- asking

    async def ask(self, to: str, command: Command, command_id: str | None = None) -> Any:
        """Ask until there is an answer, always under the same id; a refusal is returned as a
        Problem. Now and then the command is sent twice, or an answer gets lost on its way.
        Questions carry no id, as those of the API carry none."""
        if command_id is None and isinstance(command, QUESTIONS):
            command_id = ""
        if command_id is None:
            self._asked += 1
            command_id = f"c-{self._asked}"
        random = self._client
        if random.random() < 0.04 and not self.weather.calm:
            self._spawn(self._again(to, command, command_id, random.uniform(0.0, 3.0)))
        pause = 0.2
        while True:
            lost = random.random() < 0.04 and not self.weather.calm
            stale = random.random() < 0.5
            await asyncio.sleep(random.expovariate(200.0))
            old = self._isolated(to) if stale else None
            try:
                if old is None:
                    reply = await self._ask(to, command, command_id)
                else:
                    reply = await self._ask_at(old, to, command, command_id)
            except Refused as refused:
                reply = refused.as_problem()
                lost |= old is not None  # what it does not know yet is no lasting refusal
            except DoorstepError:
                lost = True
            if not lost:
                break
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 5.0)
        answer = reply.code if isinstance(reply, Problem) else _short(reply)
        self.tell(f"  {to} {_short(command)} [{command_id}] -> {answer}")
        self.auditor.acknowledged(to, command, command_id, reply)
        return reply

    async def _ask(self, to: str, command: Command, command_id: str) -> Any:
        return await self.runtime.ask(to, command, command_id=command_id, timeout_s=5.0)

    def _isolated(self, to: str) -> Node | None:
        """A node that still thinks that this entity is its own."""
        kind, _, entity = to.partition("/")
        return self.nodes.isolated.get(self.plan.node_of[self.plan.shard_of(kind, entity)])

    async def _ask_at(self, node: Node, to: str, command: Command, command_id: str) -> Any:
        """As ``runtime.ask``, by a client that has not heard of the node's successor."""
        future: asyncio.Future[Any] = self.loop.create_future()
        node.deliver(
            to, encode(command), command_id, "",
            lambda reply: None if future.done() else future.set_result(reply),
        )  # fmt: skip
        await asyncio.wait([future], timeout=5.0)
        if not future.done():
            raise Unavailable("outcome-unknown", "No answer in time.")
        codec = self.registry.codecs[to.partition("/")[0]]
        return answer_of(codec.reply, future.result())

    async def _again(self, to: str, command: Command, command_id: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            reply = await self._ask(to, command, command_id)
        except DoorstepError:
            return
        self.auditor.acknowledged(to, command, command_id, reply)

    def groups(self, campaign_id: str, near_completion: int) -> Sequence[campaign.GroupView]:
        """The open groups of a campaign, as any process that follows it lists them."""
        for node in self.runtime.nodes.values():
            brief = node.views.campaigns.get(campaign_id)
            if brief is not None:
                listed: Sequence[campaign.GroupView] = brief.groups_at(
                    near_completion, 50, self.clock.now()
                )
                return listed
        return ()

    async def ask_or_none(self, to: str, command: Command) -> Any:
        """The reply, or None if it was refused."""
        reply = await self.ask(to, command)
        return None if isinstance(reply, Problem) else reply

    async def _webhook(self, name: str, answer: ProviderAnswer) -> None:
        command = orders.RecordPayment(
            answer.payment_id, name, answer.reference, answer.status, answer.amount,
            answer.currency, answer.event_id,
        )  # fmt: skip
        order_id = answer.payment_id.rsplit("-p", 1)[0]
        await self.ask(f"order/{order_id}", command, f"{name}:{answer.event_id}")

    # ---------------------------------------------------------------- the day

    async def play(self) -> None:
        """The whole day, then the audit. Raises ``AuditFailed`` or TimeoutError."""
        random = self.chance.stream("shop")
        await self.open_shops(random)
        self.campaigns = drawn_campaigns(self.chance.stream("campaigns"), self.clock.now())
        for campaign_id, terms in self.campaigns.items():
            if random.random() < 0.8:  # else what is there must do
                await self.stock_up(campaign_id, terms)
        self.weather.calm = False
        self.tell(f"the storm begins: {self.weather}")
        for work in (self.nodes.trouble(), self.journal.outages(), self._projector()):
            self._spawn(work, lasting=True)
        self._spawn(self.network.cuts(sorted(self.plan.hosts)), lasting=True)
        await self._work()
        await self.rest()
        await self.audit()
        self.auditor.final(self.read, self.provider.accounts)

    async def rest(self) -> None:
        """Wait until nothing is owed, no payment is asked about any more, no campaign is open."""
        await self._until(lambda: self.auditor.at_rest and self.provider.idle, "rest")
        await asyncio.sleep(self.rest_s)
        await self._until(
            lambda: self.auditor.at_rest and not self.auditor.campaigns.open,
            "rest after the last queries",
        )

    async def _work(self) -> None:
        random = self.chance.stream("day")
        customers = [
            self._spawn(Customer(self, number, f"c-{number % 6}").live())
            for number in range(random.randint(12, 26))
        ]
        for campaign_id, terms in self.campaigns.items():
            self._spawn(Organiser(self, campaign_id, terms).live())
            customers += [
                self._spawn(Shopper(self, campaign_id, terms, number).live())
                for number in range(random.randint(6, 16))
            ]
        for name in STORES:
            self._spawn(Clerk(self, name).live())
        for name in RIDERS:
            self._spawn(Rider(self, name).live())
        self._spawn(Desk(self).live())
        self._spawn(Keeper(self).live())
        over = self.loop.time() + STORM_S
        while self.loop.time() < over:
            await asyncio.sleep(5.0)
            self._raise_deaths()
        self.weather.calm = True
        self.diligent = True
        self.tell("the storm is over")
        await self._until(
            lambda: all(task.done() for task in customers) and not self.auditor.open_orders,
            "every order to be final",
        )
        self.closing = True
        await self._until(lambda: all(task.done() for task in self._people), "people to go home")

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = self.loop.time() + GIVE_UP_S
        while not holds() or not self.nodes.settled:
            self._raise_deaths()
            if self.loop.time() > deadline:
                raise TimeoutError(f"waited in vain for {what}: {self.auditor.unrest()}")
            await asyncio.sleep(5.0)
        self._raise_deaths()

    def _raise_deaths(self) -> None:
        """An exception in somebody's life, or a broken invariant, ends the run at once."""
        self.auditor.check()
        for failure in self.nodes.failures:
            raise failure
        for task in (*self._people, *self._lasting):
            if task.done() and not task.cancelled() and task.exception() is not None:
                task.result()

    def _spawn(
        self, work: Coroutine[Any, Any, None], *, lasting: bool = False
    ) -> "asyncio.Task[None]":
        """Start somebody's life; what is ``lasting`` never ends by itself."""
        task = self.loop.create_task(work)
        (self._lasting if lasting else self._people).append(task)
        return task

    async def _projector(self) -> None:
        """Follows the feed as the ledger does, so that journals are trimmed."""
        feed = JournalFeed(self.memory, self.registry)
        async for batch in feed.follow(self.plan.all_shards(), {}):
            for item in batch:
                self.auditor.fed(item)
                await self.memory.mark_projected(item.shard, item.position)

    # ---------------------------------------------------------------- before and after

    async def open_shops(self, random: Random) -> None:
        """In calm weather: nodes, goods, stores, and some units on every shelf."""
        self.weather.calm = True
        for name in sorted(self.plan.hosts):
            await self.nodes.start(name)
        for sku in (
            Sku("tea", "Tea", 333, weight_g=100),
            Sku("cup", "Cup", 1009, weight_g=300),
            Sku("pot", "Pot", 2551, weight_g=900),
            Sku("set", "Tea set", 1497, components=(Component("tea", 2), Component("cup", 1))),
        ):
            await self.ask(f"catalogue/sku:{sku.sku}", PutSku(sku))
        policy = ChannelPolicy(
            "app",
            unpaid_s=random.choice((45.0, 120.0)),
            parked_s=random.choice((60.0, 200.0)),
            cod=CodRule(limit=8_000, open_max=random.choice((1, 3)), refusals_max=2),
        )
        await self.ask("catalogue/channel:app", PutChannel(policy))
        for number, name in enumerate(STORES):
            await self.ask(f"catalogue/store:{name}", PutStore(_profile(name, number, random)))
            items = tuple(stock.StockItem(sku, random.randint(1, 8)) for sku in GOODS)
            await self.ask(f"inventory/{name}", stock.Receive(f"open-{name}", items))
        await asyncio.sleep(1.0)

    async def stock_up(self, campaign_id: str, terms: campaign.Terms) -> None:
        """What a campaign sets aside arrives before it."""
        for share in terms.quota:
            parts = {"tea": 2, "cup": 1} if terms.sku == "set" else {terms.sku: 1}
            items = tuple(stock.StockItem(sku, each * share.units) for sku, each in parts.items())
            command = stock.Receive(f"for-{campaign_id}", items)
            await self.ask(f"inventory/{share.store_id}", command)

    async def audit(self) -> None:
        """Everything is at rest: read it, restart everything, read it again, and compare."""
        first = await self._read_all()
        for name, node in self.runtime.nodes.items():
            views = node.views
            assert isinstance(views, Views)
            self.auditor.views(name, first, views.sellable, views.campaigns)
        for name in sorted(self.plan.hosts):
            await self.runtime.crash(name)
        for name in sorted(self.plan.hosts):
            await self.runtime.restart(name)
        second = await self._read_all()
        self.auditor.compare("after a restart", first, second)
        states = {}
        feed = JournalFeed(self.memory, self.registry)
        for shard in self.plan.all_shards():
            found, _ = await feed.states(shard)
            states[shard] = found
        self.auditor.replayed(self.registry, states)
        self.read = second

    async def _read_all(self) -> dict[str, Any]:
        found = {}
        for order_id in self.auditor.order_ids:
            found[f"order/{order_id}"] = await self.ask(f"order/{order_id}", orders.Get())
        for name in STORES:
            found[f"inventory/{name}"] = await self.ask(f"inventory/{name}", stock.Get())
            found[f"store/{name}"] = await self.ask(f"store/{name}", counter.GetSnapshot())
        for name in self.auditor.campaigns.books:
            found[f"campaign/{name}"] = await self.ask(f"campaign/{name}", campaign.Get())
        for name in RIDERS:
            found[f"rider/{name}"] = await self.ask(f"rider/{name}", riders.GetRider())
        return found

    def _payer(self, random: Random) -> Callable[[CreatePayment], tuple[float | None, str]]:
        def plan(command: CreatePayment) -> tuple[float | None, str]:
            left = (command.expires_at or self.clock.now()) - self.clock.now()
            how = random.random()
            near = max(0.0, left + random.uniform(-2.0, 2.0))
            late = max(0.0, left + random.uniform(0.0, 90.0))
            soon = random.uniform(0.0, 20.0)
            if how < 0.08:
                return None, "pending"
            if how < 0.14:
                return soon, "failed"
            if how < 0.26:
                return near, "captured"
            if how < 0.36:
                return late, "captured"
            return soon, "captured"

        return plan


# ------------------------------------------------------------------ helpers


def _plan(random: Random) -> Plan:
    """Every shard on one of up to three nodes, by chance."""
    names = [f"node-{number}" for number in range(random.choice((1, 2, 3, 3)))]
    hosts: dict[str, list[Shard]] = {}
    for kind, count in SHARDS.items():
        for number in range(count):
            hosts.setdefault(random.choice(names), []).append(Shard(kind, number))
    return Plan(SHARDS, {name: hosts[name] for name in sorted(hosts)})


def _profile(name: str, number: int, random: Random) -> StoreProfile:
    where = Position(HOME.lat + 0.004 * number, HOME.lon)
    zone = Zone(f"z-{name}", 1 + number // 2, Circle(where, 4_000.0), 1_800)
    return StoreProfile(
        name, name, where, "EUR", (zone,), ZONE,
        freight=Freight(base=299, free_from=5_000), prep_s=20,
        accept_s=random.choice((25, 60)), capacity_per_slot=random.choice((2, 100)),
        collect_s=90,
    )  # fmt: skip


def _short(value: Any) -> str:
    """A message in one line of history."""
    text = repr(value)
    return text if len(text) <= 230 else text[:230] + "…"


def _order_of(entity: str, event: Any) -> str:
    """The order that a fact of any entity is about."""
    for name in ("fulfilment_id", "parcel_id"):
        about = getattr(event, name, "")
        if about:
            return str(about).rsplit("-", 1)[0]
    return entity if entity.startswith("o") else ""
