"""Worlds whose day a test has written: one campaign, its orders, and the moment of a crash.

The engine, its faults and the auditor are those of the drawn days. Stores accept every ticket at
once and do nothing more, so that nothing but the campaign moves an order.
"""

import asyncio
from base64 import b32encode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any

import pytest
from msgspec.structs import replace

from actors.engine import feed, shell
from actors.engine.placement import Plan, id_on_own_shard
from actors.engine.ports import Shard
from domain import campaign, parts
from domain.errors import Problem
from domain.inventory import commands as stock
from domain.message import Command
from domain.order import commands as orders
from domain.order.views import OrderView
from domain.payment import ProviderAnswer
from domain.store import commands as counter
from domain.store.events import TicketOpened
from tests.simulation.faults import Account, Weather
from tests.simulation.loop import run
from tests.simulation.town import HOME, STORES
from tests.simulation.world import KINDS, SHARDS, World

__all__ = [
    "CAMPAIGN",
    "ONE_NODE",
    "ON_OWN_SHARD",
    "OWN_SHARD",
    "STOCK_APART",
    "Stage",
    "flash_terms",
    "group_terms",
    "order_id",
    "perform",
    "rejected_while_stock_is_away",
    "wish_of",
]

CAMPAIGN = "c-1"
NODES = {
    "sales": ("campaign", "customer", "risk", "catalogue"),
    "orders": ("order", "queue", "device"),
    "shops": ("inventory", "store", "rider", "dispatch"),
}
"""The campaign, its orders and their stock die apart."""
RUNS_S = 100.0
"""Seconds from the start of a script to the end of its campaign, unless it says otherwise."""


def _plan(nodes: dict[str, tuple[str, ...]], own: str = "") -> Plan:
    """``own`` is a further node that hosts one campaign's own shard and nothing else."""
    hosts: dict[str, list[Shard]] = {name: [] for name in nodes}
    for kind, count in SHARDS.items():
        home = next((name for name, kinds in nodes.items() if kind in kinds), min(nodes))
        hosts[home] += [Shard(kind, number) for number in range(count)]
    if not own:
        return Plan(SHARDS, hosts)
    return Plan(SHARDS, {**hosts, own: [Shard("campaign", SHARDS["campaign"])]}, {"campaign": 1})


ONE_NODE = _plan({"all": ()})
THREE_NODES = _plan(NODES)
OWN_SHARD = _plan(NODES, own="hot")
STOCK_APART = _plan({**NODES, "shops": ("store", "rider", "dispatch"), "stock": ("inventory",)})
ON_OWN_SHARD = id_on_own_shard(1, "c-1")
"""The campaign's id where it has a shard of its own."""


def flash_terms(**changes: Any) -> campaign.Terms:
    """One cup at each of two stores, for 801 instead of 1009. Times are seconds after the
    script's start."""
    facts: dict[str, Any] = {
        "name": "Cups", "kind": "flash_sale", "sku": "cup", "price": 801, "currency": "EUR",
        "starts_at": 0.0, "ends_at": RUNS_S, "pay_s": 10.0,
        "quota": (campaign.Share("s-1", 1), campaign.Share("s-2", 1)),
    }  # fmt: skip
    return campaign.Terms(**{**facts, **changes})


def group_terms(rule: dict[str, Any] | None = None, **changes: Any) -> campaign.Terms:
    """Groups of two that stay open for 40 s; eight cups."""
    group = campaign.GroupRule(**{"open_s": 40.0, **(rule or {})})
    quota = (campaign.Share("s-1", 8),)
    return flash_terms(**{"kind": "group_buy", "group": group, "quota": quota, **changes})


def order_id(number: int) -> str:
    """Of a script's ``number``-th order."""
    token = blake2b(f"stage {number}".encode(), digest_size=13).digest()
    return "o" + b32encode(token).decode().lower()[:20]


def wish_of(
    customer_id: str, group_id: str = "", quantity: int = 1, *, campaign_id: str = CAMPAIGN
) -> orders.Place:
    """Cups of the campaign, to be delivered."""
    return orders.Place(
        "app",
        orders.Customer(customer_id, "Ada", "+4915112345678"),
        (orders.PlaceLine("cup", quantity),),
        "EUR",
        address=orders.Address(HOME, "1 Harbour Street"),
        campaign_id=campaign_id,
        group_id=group_id,
    )


class Stage(World):
    """``perform`` runs a script on one. Nobody pays but by :meth:`pay`."""

    def __init__(self, seed: int, terms: campaign.Terms, *, crash: int = 0, **changes: Any) -> None:
        facts: dict[str, Any] = {
            "weather": Weather(snapshot_every_s=900.0, snapshot_every_records=8),
            "plan": THREE_NODES,
            **changes,
        }
        self.campaign_id = facts.pop("campaign_id", CAMPAIGN)
        super().__init__(seed, kinds=facts.pop("kinds", KINDS), **facts)
        self.provider.plan = lambda _: (None, "pending")
        self.provider.refuses = 0.0
        self.rest_s = 700.0  # the next query of a payment tells nothing new
        self.began_at = 0.0
        self.busy: frozenset[str] = frozenset()
        """Stores that reject every ticket."""
        self.moments = 0
        """At which a crash could have come since :meth:`arm`."""
        self.events: list[tuple[str, Any]] = []
        """Every stored fact with its entity, in the order of truth."""
        self._crash = crash
        self._terms = terms

    @property
    def terms(self) -> campaign.Terms:
        """With times on the clock."""
        starts, ends = self._terms.starts_at, self._terms.ends_at
        return replace(self._terms, starts_at=self.began_at + starts, ends_at=self.began_at + ends)

    async def open(self) -> None:
        """Shops with the campaign's goods, and the campaign itself, about to start."""
        await self.open_shops(self.chance.stream("shop"))
        for store_id in STORES:
            tablet = counter.RegisterDevice("tablet", "tablet:1", None, "")
            await self.sure(f"store/{store_id}", tablet)
        self.began_at = self.clock.now() + 5.0
        await self.stock_up(self.campaign_id, self._terms)
        await self.sure(f"campaign/{self.campaign_id}", campaign.Open(self.terms, "ops"))
        await self.at(0.0)
        self.weather.calm = False
        self._spawn(self._projector(), lasting=True)

    async def close(self) -> None:
        """Everything owed arrives; then everything is audited."""
        self.weather.calm = True
        await self.at(self._terms.ends_at)
        await self.rest()
        await self.audit()
        self.auditor.rested(self.read, self.provider.accounts)
        self.auditor.check()

    def _watch(self, entity: str, events: Sequence[Any]) -> None:
        super()._watch(entity, events)
        self.events += [(entity, event) for event in events]
        for event in events:
            if isinstance(event, TicketOpened):
                name = event.ticket.fulfilment_id
                answer: Command = counter.AcceptTicket(name, "tablet")
                if entity in self.busy:
                    answer = counter.RejectTicket(name, "too busy", "tablet")
                self._spawn(self.ask(f"store/{entity}", answer))

    # ---------------------------------------------------------------- acting

    async def at(self, seconds: float) -> None:
        """Wait until so long after the script's start, exact to 10 µs and never early."""
        moment = self.began_at + seconds
        while self.clock.now() < moment:
            await self.clock.sleep(max(moment - self.clock.now(), 1e-5))

    def arm(self) -> None:
        """From now on count the moments just before and just after each append. In one of them,
        if the test has named it, the node at work is killed."""

        def ambush(stage: str, _shard: Shard) -> bool:
            if self.weather.calm or not stage.endswith("append"):
                return False
            self.moments += 1
            return self.moments == self._crash

        self.nodes.ambush = ambush

    async def sure(self, to: str, command: Command, command_id: str | None = None) -> Any:
        """As ``ask``, of something that must not be refused."""
        reply = await self.ask(to, command, command_id)
        assert not isinstance(reply, Problem), reply
        return reply

    async def try_to_place(
        self, number: int, *, group_id: str = "", customer: str = "", quantity: int = 1
    ) -> OrderView | Problem:
        """Order ``number`` of the campaign; each is of a customer of its own unless told."""
        wish = wish_of(customer or f"k-{number}", group_id, quantity, campaign_id=self.campaign_id)
        reply: OrderView | Problem = await self.ask(f"order/{order_id(number)}", wish)
        return reply

    async def place(self, number: int, **changes: Any) -> OrderView:
        """It must not be refused."""
        placed = await self.try_to_place(number, **changes)
        assert isinstance(placed, OrderView), placed
        return placed

    async def open_payment(self, number: int) -> None:
        """The provider knows of it when this returns."""
        name = f"{order_id(number)}-p1"
        start = orders.StartPayment(name, "sandbox")
        await self.sure(f"order/{order_id(number)}", start, f"start {name}")
        while name not in self.provider.accounts:
            await asyncio.sleep(0.05)

    async def pay(self, number: int) -> None:
        """The customer pays, and the provider tells it until it is heard."""
        answer: ProviderAnswer = self.provider.capture(f"{order_id(number)}-p1")
        await self._webhook("sandbox", answer)

    async def buy(self, number: int, **changes: Any) -> OrderView:
        """Place and pay at once."""
        placed = await self.place(number, **changes)
        await self.open_payment(number)
        await self.pay(number)
        return placed

    async def away(self, node: str, seconds: float) -> None:
        """A node dies now, and its successor starts so much later."""
        await self.runtime.crash(node)
        await self.clock.sleep(seconds)
        await self.runtime.restart(node)

    # ---------------------------------------------------------------- looking

    def order(self, number: int) -> OrderView:
        """As it was read after the last restart."""
        view: OrderView = self.read[f"order/{order_id(number)}"]
        return view

    def account(self, number: int) -> Account:
        """The provider's account of an order's payment."""
        return self.provider.accounts[f"{order_id(number)}-p1"]

    def served(self, number: int) -> bool:
        """Whether the order's goods are at work in a store; else every cent must be back, in one
        refund."""
        view = self.order(number)
        if view.state == "paid":
            assert {part.state for part in view.fulfilments} == {"accepted"}, view
            return True
        assert view.state == "cancelled", view
        account = self.provider.accounts.get(f"{order_id(number)}-p1")
        if account is not None and account.captured:
            assert list(account.refunds.values()) == [account.captured], account
        return False

    def told(self, number: int, template: str) -> int:
        """How often the order's customer was told."""
        return self.auditor.campaigns.told[order_id(number), template]

    def tally(self) -> campaign.Tally:
        """The campaign's units at the end."""
        view: campaign.CampaignView = self.read[f"campaign/{self.campaign_id}"]
        return view.tally


def perform(
    script: Callable[[Stage], Awaitable[None]],
    terms: campaign.Terms,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seed: int = 0,
    **changes: Any,
) -> Stage:
    """Open the campaign, play the script, let everything come to rest, audit it."""
    monkeypatch.setattr(feed, "WAIT_S", 60.0)
    stages: list[Stage] = []

    async def day() -> None:
        stage = Stage(seed, terms, **changes)
        stages.append(stage)
        monkeypatch.setattr(shell, "SNAPSHOT_EVERY_S", stage.weather.snapshot_every_s)
        monkeypatch.setattr(shell, "SNAPSHOT_EVERY_RECORDS", stage.weather.snapshot_every_records)
        monkeypatch.setattr(shell, "SNAPSHOT_SLICE_BYTES", 1)
        monkeypatch.setattr(parts, "PAGE_ENTRIES", 2)
        await stage.open()
        await script(stage)
        await stage.close()

    try:
        run(day())
    except BaseException:
        print("\n".join(line for stage in stages for line in stage.history[-40:]))
        raise
    return stages[0]


async def rejected_while_stock_is_away(stage: Stage, away_s: float) -> None:
    """Order 1 has a unit from each of two stores. Both reject their ticket and a third one takes
    over, while the stock (on a node of its own) is away, so that the sales come late."""
    more = stock.Receive("more", (stock.StockItem("cup", 2),))
    await stage.sure("inventory/s-3", more)
    stage.busy = frozenset({"s-1", "s-2"})
    await stage.place(1, quantity=2)
    await stage.open_payment(1)
    await asyncio.gather(stage.away("stock", away_s), stage.pay(1))
    await asyncio.sleep(20.0)
