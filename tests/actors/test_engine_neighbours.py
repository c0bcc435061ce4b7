"""Shards of one process share their way to the disk, and need not wait there for each other."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from actors.engine import shell
from actors.engine.codec import Registry
from actors.engine.local_runtime import LocalRuntime
from actors.engine.placement import Plan
from actors.engine.ports import Append, Shard
from domain.errors import Refused
from tests.actors.counter_kind import COUNTER, Add, AddVia, Both, Get, SeeVia
from tests.fakes.manual_clock import ManualClock
from tests.fakes.memory_journal import MemoryJournal

PLAN = Plan.spread({"counter": 2}, [["counter"]])
HERE = "here"
THERE = next(
    name
    for name in map(str, range(100))
    if PLAN.shard_of("counter", name) != PLAN.shard_of("counter", HERE)
)


class SlowJournal(MemoryJournal):
    """Appends wait until the test opens the disk; each is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = asyncio.Event()
        self.disk.set()
        self.arrived = asyncio.Event()
        self.batches: list[Sequence[Append]] = []

    async def append(self, appends: Sequence[Append]) -> set[Shard]:
        self.batches.append(tuple(appends))
        self.arrived.set()
        await self.disk.wait()
        return await super().append(appends)


class World:
    def __init__(self) -> None:
        self.journal = SlowJournal()
        self.runtime = LocalRuntime(
            PLAN, Registry([COUNTER]), self.journal, ManualClock(1_000.0), passivate_s=10.0
        )

    async def ask(self, entity: str, command: Any, command_id: str = "", timeout_s: float = 5.0):
        return await self.runtime.ask(
            f"counter/{entity}", command, command_id=command_id, timeout_s=timeout_s
        )

    async def turns(self) -> None:
        """Whatever can happen without the disk has happened."""
        for _ in range(200):
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.runtime.start()
    yield world
    world.journal.disk.set()
    await world.runtime.close()


async def test_a_shard_finishes_what_it_has_begun_before_it_begins_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "BATCH_MAX", 1)
    others = [
        f"{HERE}-{number}"
        for number in range(400)
        if PLAN.shard_of("counter", f"{HERE}-{number}") == PLAN.shard_of("counter", HERE)
    ]
    done: list[str] = []

    async def ask(entity: str, command: Any) -> None:
        await world.ask(entity, command, "one")
        done.append(entity)

    begun = asyncio.ensure_future(ask(HERE, AddVia(THERE, 3)))
    await asyncio.sleep(0)
    await asyncio.gather(begun, *(ask(entity, Add(1)) for entity in others))
    assert done.index(HERE) < len(others) / 2, "it need not wait for those who came after it"
    assert len(done) == len(others) + 1


async def test_what_two_shards_do_for_one_command_goes_to_disk_together(world: World) -> None:
    assert await world.ask(HERE, AddVia(THERE, 3), "one") == Both(3, 3)
    (batch,) = world.journal.batches
    assert {append.shard for append in batch} == set(PLAN.shards_of("counter"))


async def test_the_answer_leaves_only_when_both_are_on_disk(world: World) -> None:
    world.journal.disk.clear()
    asked = asyncio.ensure_future(world.ask(HERE, AddVia(THERE, 3), "one"))
    await world.journal.arrived.wait()
    await world.turns()
    assert not asked.done()
    world.journal.disk.set()
    assert await asked == Both(3, 3)


async def test_who_stores_nothing_speaks_of_a_neighbours_change_only_once_that_is_on_disk(
    world: World,
) -> None:
    world.journal.disk.clear()
    asked = asyncio.ensure_future(world.ask(HERE, SeeVia(THERE, 3)))
    await world.journal.arrived.wait()
    await world.turns()
    assert not asked.done()
    world.journal.disk.set()
    assert await asked == Both(3, 0)


async def test_that_a_key_was_used_is_said_only_once_that_use_is_on_disk(world: World) -> None:
    world.journal.disk.clear()
    first = asyncio.ensure_future(world.ask(HERE, Add(3), "one"))
    await world.journal.arrived.wait()
    other = asyncio.ensure_future(world.ask(HERE, Add(5), "one"))
    await world.turns()
    assert not other.done()
    world.journal.disk.set()
    assert await first == 3
    with pytest.raises(Refused, match="idempotency-key-reused"):
        await other


async def test_a_crash_before_the_disk_takes_both_changes_away(world: World) -> None:
    world.journal.disk.clear()
    asked = asyncio.ensure_future(world.ask(HERE, AddVia(THERE, 3), "one", 0.2))
    await world.journal.arrived.wait()
    await world.turns()
    (name,) = world.runtime.nodes
    await world.runtime.crash(name)
    world.journal.disk.set()
    await asyncio.gather(asked, return_exceptions=True)
    await world.runtime.restart(name)
    assert [await world.ask(one, Get()) for one in (HERE, THERE)] == [0, 0]
    assert await world.ask(HERE, AddVia(THERE, 3), "one") == Both(3, 3)


async def test_with_one_shard_fenced_nothing_is_stored_and_nobody_is_answered(
    world: World,
) -> None:
    await world.ask(HERE, Add(1), "first")
    await world.journal.claim(PLAN.shard_of("counter", THERE))
    heads = dict(world.journal.head)
    with pytest.raises(Exception, match=r"outcome-unknown|shard-moved"):
        await world.ask(HERE, AddVia(THERE, 3), "one", 0.3)
    assert world.journal.head == heads


async def test_while_the_cold_store_is_asked_for_one_entity_the_others_are_served(
    world: World,
) -> None:
    await world.ask(HERE, Add(1), "first")
    load_cold, go_on = world.journal.load_cold, asyncio.Event()

    async def slow(shard: Shard, ids: Sequence[str]) -> Any:
        await go_on.wait()
        return await load_cold(shard, ids)

    world.journal.load_cold = slow  # type: ignore[method-assign]
    neighbour = next(
        name
        for name in map(str, range(1_000, 1_100))
        if PLAN.shard_of("counter", name) == PLAN.shard_of("counter", HERE)
    )
    unknown = [
        asyncio.ensure_future(world.ask(neighbour, Add(amount), f"add {amount}"))
        for amount in (1, 2, 3)
    ]
    assert await world.ask(HERE, Add(1), "second") == 2
    assert not any(asked.done() for asked in unknown)
    go_on.set()
    assert await asyncio.gather(*unknown) == [1, 3, 6], "in their order"


async def test_after_a_fence_nothing_queued_behind_it_is_stored_either(world: World) -> None:
    await world.ask(HERE, Add(1), "first")
    (node,) = world.runtime.nodes.values()
    fenced = PLAN.shard_of("counter", THERE)
    other = PLAN.shard_of("counter", HERE)
    await world.journal.claim(fenced)
    heads = dict(world.journal.head)
    shell, queue = node.shells[other], node._appends
    first = queue.put(Append(fenced, node.shells[fenced].epoch, 1, b"one"))
    world.journal.disk.clear()
    await world.journal.arrived.wait()
    second = queue.put(Append(other, shell.epoch, shell.committed + 1, b"two"))
    world.journal.disk.set()
    assert [await first, await second] == [False, False]
    assert await queue.put(Append(other, shell.epoch, shell.committed + 1, b"late")) is False
    assert world.journal.head == heads


async def test_commands_for_an_entity_stay_in_order_while_it_is_looked_up(world: World) -> None:
    """It is being decided, not in memory and not in the cold store: later ones wait behind it."""
    world.journal.disk.clear()
    asked = asyncio.ensure_future(world.ask(HERE, AddVia(THERE, 3), "one"))
    later = [asyncio.ensure_future(world.ask(HERE, Add(n), f"add {n}")) for n in (10, 100)]
    await world.turns()
    world.journal.disk.set()
    assert await asked == Both(3, 3)
    assert await asyncio.gather(*later) == [13, 113]
