"""The feed's states and what follows them: nothing is missed, and nothing is told twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.engine.codec import Registry
from actors.engine.feed import ENTRIES_PER_TURN, JournalFeed
from actors.engine.local_runtime import LocalRuntime
from actors.engine.placement import Plan
from actors.engine.ports import Record, Shard, Stored
from tests.actors.counter_kind import COUNTER, Add, Added
from tests.fakes.manual_clock import ManualClock
from tests.fakes.memory_journal import MemoryJournal

SHARD = Shard("counter", 0)


class BusyJournal(MemoryJournal):
    """Between telling what its snapshot covers and giving its pages, ``meanwhile`` happens."""

    meanwhile: Any = None

    async def recover(self, shard: Shard) -> tuple[AsyncIterator[list[Stored]], int]:
        pages, covered = await super().recover(shard)
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            await happens()
        return pages, covered


class World:
    """One shard, and a follower of it."""

    def __init__(self) -> None:
        self.journal = BusyJournal()
        self.clock = ManualClock(1_000.0)
        plan = Plan({"counter": 1}, {"node": [SHARD]})
        self.registry = Registry([COUNTER])
        self.runtime = LocalRuntime(plan, self.registry, self.journal, self.clock, passivate_s=60.0)
        self.feed = JournalFeed(self.journal, self.registry)

    async def add(self, amount: int, name: str) -> None:
        await self.runtime.ask("counter/e", Add(amount), command_id=name)

    async def snapshot(self) -> None:
        await self.runtime.nodes["node"].shells[SHARD]._snapshot()

    async def followed(self) -> int:
        """The total of a reader who loads the states and applies what follows."""
        states, position = await self.feed.states(SHARD)
        total = states["e"].total if "e" in states else 0
        head = (await self.journal.heads([SHARD]))[SHARD]
        assert position <= head
        if position == head:
            return int(total)
        async for batch in self.feed.follow([SHARD], {SHARD: position}):
            for item in batch:
                for entry in item.record.entries:
                    total += sum(one.amount for one in entry.events if isinstance(one, Added))
            if batch[-1].position == head:
                return int(total)
        raise AssertionError("the feed never ends")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.runtime.start()
    yield made
    await made.runtime.close()


async def test_states_stored_anew_while_they_are_read_are_not_applied_twice(world: World) -> None:
    await world.add(1, "one")
    await world.snapshot()

    async def goes_on() -> None:
        await world.add(10, "two")
        await world.add(100, "three")
        await world.snapshot()

    world.journal.meanwhile = goes_on
    assert await world.followed() == 111


async def test_events_after_the_states_are_told_once(world: World) -> None:
    await world.add(1, "one")
    await world.snapshot()
    await world.add(10, "two")
    assert await world.followed() == 11


async def test_others_have_their_turn_while_a_long_read_is_decoded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4 * ENTRIES_PER_TURN):
        await world.add(1, f"add-{number}")
    codec = world.registry.codecs["counter"]
    seen, decoded_in, turns = codec.seen, [], 0

    def noted(payload: bytes) -> Record:
        record = seen(payload)
        decoded_in.extend([turns] * len(record.entries))
        return record

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(codec, "seen", noted)
    busy = asyncio.create_task(others())
    batch = await anext(aiter(world.feed.follow([SHARD], {})))
    busy.cancel()
    positions = [item.position for item in batch]
    assert positions == list(range(1, len(positions) + 1))
    assert len(decoded_in) == 4 * ENTRIES_PER_TURN
    assert max(map(decoded_in.count, decoded_in)) == ENTRIES_PER_TURN


async def test_what_left_memory_is_told_by_its_ids_though_the_journal_is_away_meanwhile(
    world: World,
) -> None:
    world.journal.cold[SHARD] = {name: Stored(name, 1, b"") for name in ("e", "f")}
    world.journal.away = True
    told: list[str] = []
    walk = asyncio.create_task(world.feed.ended([SHARD], told.extend))
    await asyncio.sleep(0)
    assert not told
    world.journal.away = False
    await walk
    assert told == ["e", "f"]
