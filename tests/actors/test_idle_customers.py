"""Customers without open orders leave memory, and are known again when they come back."""

from collections.abc import AsyncIterator

import pytest

from actors.customer import KIND
from actors.engine.codec import Registry
from actors.engine.local_runtime import LocalRuntime
from actors.engine.placement import Plan
from actors.engine.ports import Shard
from domain.customer import CheckCod, GetStanding, RecordOrder, RecordOutcome, Standing
from domain.errors import Refused
from domain.message import Command
from tests.fakes.manual_clock import ManualClock
from tests.fakes.memory_journal import MemoryJournal

SHARD = Shard("customer", 0)
IDLE_S = 60.0


class World:
    """One shard of customers."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_000.0)
        plan = Plan({"customer": 1}, {"node": [SHARD]})
        self.runtime = LocalRuntime(
            plan, Registry([KIND]), MemoryJournal(), self.clock, passivate_s=IDLE_S
        )

    async def ask(self, who: str, command: Command, command_id: str = "") -> object:
        return await self.runtime.ask(f"customer/{who}", command, command_id=command_id)

    async def in_memory(self) -> list[str]:
        """Who is there after the next snapshot."""
        await self.ask("somebody", GetStanding())
        shell = self.runtime.nodes["node"].shells[SHARD]
        await shell._snapshot()
        return sorted(who for who, _ in shell.host.states())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.runtime.start()
    yield made
    await made.runtime.close()


async def test_idle_customers_leave_memory_and_those_with_open_orders_stay(world: World) -> None:
    for who in ("ann", "bob"):
        await world.ask(who, RecordOrder(f"o-{who}", True), f"record {who}")
    await world.ask("ann", RecordOutcome("o-ann", "refused"), "outcome ann")
    assert await world.in_memory() == ["ann", "bob"]
    world.clock.advance(IDLE_S + 1.0)
    assert await world.in_memory() == ["bob"]


def test_what_is_known_of_them_is_never_dropped() -> None:
    assert KIND.lasting


async def test_who_comes_back_is_known_again(world: World) -> None:
    for order_id in ("o1", "o2"):
        await world.ask("ann", RecordOrder(order_id, True), f"record {order_id}")
        await world.ask("ann", RecordOutcome(order_id, "refused"), f"outcome {order_id}")
    world.clock.advance(IDLE_S + 1.0)
    assert await world.in_memory() == []
    with pytest.raises(Refused, match="refused at the door"):
        await world.ask("ann", CheckCod("o3", 2, 3), "check")
    assert await world.ask("ann", GetStanding()) == Standing(2, 0, 2)
    assert await world.ask("ann", RecordOrder("o1", True), "record o1") is True
    assert await world.ask("ann", GetStanding()) == Standing(2, 0, 2), "counted once"
