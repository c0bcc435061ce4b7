"""Sockets over the real engine and store: crashes, an absent journal, old + new = fresh."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from actors.engine.clock import ServiceClock
from actors.engine.local_runtime import LocalRuntime
from domain import store
from domain.catalogue import PutStore, StoreProfile
from domain.errors import Refused, Unavailable
from domain.geo import Position
from orchestrator.bootstrap import make_registry, make_views
from orchestrator.client import DoorstepClient, InboxSnapshot, InboxSocket
from orchestrator.client import sockets as client_sockets
from orchestrator.placement import plan_of
from orchestrator.settings import Settings
from tests.fakes.memory_journal import MemoryJournal
from tests.fakes.push_world import PushWorld, push_world


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_sockets, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(client_sockets, "PAUSE_S_MAX", 0.02)


@asynccontextmanager
async def engine_world() -> AsyncIterator[tuple[PushWorld, LocalRuntime]]:
    settings = Settings(_env_file=None, pickup_secret="pick-up")
    engine = LocalRuntime(
        plan_of(settings),
        make_registry(),
        MemoryJournal(),
        ServiceClock(),
        make_views=lambda: make_views(settings),
    )
    await engine.start()
    try:
        async with push_world(engine) as world:
            yield world, engine
    finally:
        await engine.close()


async def open_ticket(engine: LocalRuntime, number: int) -> None:
    """As an order does: again and again until it is known to be done."""
    now = engine.clock.now()
    line = store.TicketLine(f"o{number}/1", "tea", "Tea", 2)
    command = store.OpenTicket(
        f"o{number}-1", f"o{number}", (line,), "delivery", "EUR", 0, now + 300, now + 2400
    )
    while True:
        try:
            await engine.ask("store/s-1", command, command_id=f"open-{number}", timeout_s=0.5)
            return
        except Unavailable:
            await asyncio.sleep(0.02)


async def accept(engine: LocalRuntime, fulfilment_id: str) -> None:
    """Put the store into the catalogue, and accept as soon as the counter has heard of it."""
    profile = StoreProfile("s-1", "Corner", Position(52.0, 5.0), "EUR", (), "north")
    await engine.ask("catalogue/store:s-1", PutStore(profile), command_id="put")
    for attempt in range(1_000):
        try:
            command = store.AcceptTicket(fulfilment_id)
            await engine.ask("store/s-1", command, command_id=f"accept-{attempt}")
            return
        except Refused as refused:
            if refused.code != "unknown-store":
                raise
            await asyncio.sleep(0.005)


class Tablet:
    """Folds messages as the documentation says."""

    def __init__(self, socket: InboxSocket) -> None:
        self.socket = socket
        self.tickets: dict[str, Any] = {}

    async def follow_until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.tickets) < count:
                self.take(await anext(self.socket))

    def take(self, item: Any) -> None:
        if isinstance(item, InboxSnapshot):
            self.tickets = {one["fulfilment_id"]: one for one in item.data["tickets"]}
        elif item.type == "ticket.opened":
            ticket = item.data["ticket"]
            self.tickets[ticket["fulfilment_id"]] = ticket
        elif "progress" in item.data:
            self.tickets[item.data["fulfilment_id"]]["progress"] = item.data["progress"]


def tablet_of(world: PushWorld) -> Tablet:
    client = DoorstepClient(world.url, world.token(), session=world.http)
    return Tablet(client.store_socket("s-1", "tablet"))


async def fresh(engine: LocalRuntime) -> dict[str, Any]:
    page = await engine.ask("store/s-1", store.GetSnapshot(), command_id="snapshot")
    return {one["fulfilment_id"]: one for one in msgspec.json.decode(page.snapshot)["tickets"]}


async def test_old_state_and_messages_make_the_fresh_state() -> None:
    async with engine_world() as (world, engine):
        tablet = tablet_of(world)
        async with tablet.socket:
            await open_ticket(engine, 1)
            await tablet.follow_until(1)
            await open_ticket(engine, 2)
            await accept(engine, "o1-1")
            await engine.ask("store/s-1", store.StartPicking("o1-1"), command_id="pick")
            await open_ticket(engine, 3)
            await tablet.follow_until(3)
            assert tablet.tickets == await fresh(engine)
            assert tablet.tickets["o1-1"]["progress"]["state"] == "picking"


async def test_nothing_is_missed_while_the_stores_actor_is_killed_again_and_again() -> None:
    async with engine_world() as (world, engine):
        tablet = tablet_of(world)
        node = engine.plan.node_of[engine.plan.shard_of("store", "s-1")]

        async def trade() -> None:
            for number in range(30):
                await open_ticket(engine, number)

        async def kill() -> None:
            for _ in range(4):
                await asyncio.sleep(0.05)
                await engine.crash(node)
                await tablet.socket.drop()
                await engine.restart(node)

        async with tablet.socket:
            trading, killing = asyncio.create_task(trade()), asyncio.create_task(kill())
            await tablet.follow_until(30)
            await asyncio.gather(trading, killing)
            assert tablet.tickets == await fresh(engine)
            assert tablet.socket.stored is not None


async def test_when_the_journal_comes_back_the_tablet_gets_what_it_missed() -> None:
    async with engine_world() as (world, engine):
        tablet = tablet_of(world)
        async with tablet.socket:
            await open_ticket(engine, 1)
            await tablet.follow_until(1)
            journal = engine.journal
            assert isinstance(journal, MemoryJournal)
            journal.away = True
            opening = asyncio.create_task(open_ticket(engine, 2))
            await asyncio.sleep(0.1)
            assert tablet.socket.head == 1
            journal.away = False
            await opening
            await tablet.follow_until(2)
            assert tablet.tickets == await fresh(engine)
