"""Interleavings that once lost something, and what a broken part may do to the rest."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.engine import owed, timers
from actors.engine.codec import Registry, encode
from actors.engine.host import Host
from actors.engine.kind import Kind
from actors.engine.local_runtime import LocalRuntime
from actors.engine.placement import Plan
from actors.engine.ports import JournalUnavailable, Shard, SnapshotWrite, Stored
from actors.engine.shell import Shell
from actors.engine.step import Arrival, Deliver, Outgoing, Settled
from domain.errors import Unavailable
from tests.actors.counter_kind import (
    COUNTER,
    Add,
    Added,
    AddVia,
    Finish,
    Get,
    Pay,
    RemindAt,
    SetTo,
)
from tests.fakes.manual_clock import ManualClock
from tests.fakes.memory_journal import MemoryJournal

SHARD = Shard("counter", 0)
PLAN = Plan.spread({"counter": 1}, [["counter"]])


class World:
    """One shard over a journal that a test may slow down or break."""

    def __init__(self, kind: Kind = COUNTER) -> None:
        self.journal = MemoryJournal()
        self.clock = ManualClock(1_000.0)
        self.runtime = LocalRuntime(
            PLAN, Registry([kind]), self.journal, self.clock, passivate_s=10.0
        )

    async def ask(self, entity: str, command: Any, command_id: str = "") -> Any:
        return await self.runtime.ask(
            f"counter/{entity}", command, command_id=command_id, timeout_s=5.0
        )

    @property
    def shell(self) -> Shell:
        (node,) = self.runtime.nodes.values()
        return node.shells[SHARD]


def forget_cold(runtime: LocalRuntime) -> None:
    """As just after a start: each shard asks the cold store for whatever is new to it."""
    for node in runtime.nodes.values():
        for shell in node.shells.values():
            shell.cold.may_hold = lambda _entity: True  # type: ignore[method-assign]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.runtime.start()
    yield world
    await world.runtime.close()


async def test_an_entity_that_leaves_while_its_batch_waits_is_not_forgotten(
    world: World,
) -> None:
    await world.ask("e", Add(5), "e1")
    await world.ask("e", Finish(1_000.0), "e2")
    world.clock.advance(100.0)
    await world.ask("y", Add(1), "y")
    forget_cold(world.runtime)
    entered, go_on = asyncio.Event(), asyncio.Event()
    load_cold = world.journal.load_cold

    async def slow(shard: Shard, ids: list[str]) -> list[Stored]:
        if "other" in ids:
            entered.set()
            await go_on.wait()
        return await load_cold(shard, ids)

    world.journal.load_cold = slow  # type: ignore[method-assign,assignment]
    other = asyncio.ensure_future(world.ask("other", Get()))
    repeat = asyncio.ensure_future(world.ask("e", Add(5), "e1"))
    await entered.wait()
    await world.shell._snapshot()
    assert list(world.journal.cold[SHARD]) == ["e"], "it left while the batch waited"
    go_on.set()
    await other
    assert await repeat == 5, "a repeat is answered, not done again"
    assert await world.ask("e", Get()) == 5


async def test_a_slice_that_could_not_be_written_belongs_to_the_next_pass(world: World) -> None:
    for number in range(150):
        await world.ask(f"k{number}", Add(7), f"c{number}")
    await world.journal.mark_projected(SHARD, 1_000_000)
    write_snapshot, failures = world.journal.write_snapshot, [RuntimeError("no room on the disk")]

    async def failing(write: SnapshotWrite) -> None:
        if failures:
            raise failures.pop()
        await write_snapshot(write)

    world.journal.write_snapshot = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await world.shell._snapshot()
    await world.shell._snapshot()
    (name,) = world.runtime.nodes
    await world.runtime.crash(name)
    await world.runtime.restart(name)
    assert [await world.ask(f"k{number}", Get()) for number in range(150)] == [7] * 150


async def test_a_shard_that_breaks_is_given_up_loudly_and_its_successor_goes_on() -> None:
    def evolve(state: Any, event: Any) -> Any:
        if isinstance(event, Added) and event.amount == 13:
            raise KeyError("a defect in evolve")
        return COUNTER.evolve(state, event)

    world = World(dataclasses.replace(COUNTER, evolve=evolve))
    await world.runtime.start()
    await world.ask("a", Add(1), "one")
    with pytest.raises(Unavailable):
        await world.runtime.ask("counter/a", Add(13), command_id="bad", timeout_s=0.2)
    with pytest.raises(Unavailable, match="shard-moved"):
        await world.ask("b", Add(1), "two")
    assert "a defect in evolve" in world.shell.host.stats.last_failure
    (name,) = world.runtime.nodes
    await world.runtime.crash(name)
    await world.runtime.restart(name)
    assert await world.ask("a", Get()) == 1
    await world.runtime.close()


async def test_with_the_journal_away_new_entities_are_refused_at_once(world: World) -> None:
    forget_cold(world.runtime)
    world.journal.away = True
    with pytest.raises(Unavailable, match="journal-away"):
        await world.ask("never-seen", Add(1), "one")
    world.journal.away = False

    async with asyncio.timeout(5):
        while True:
            try:
                assert await world.ask("never-seen", Add(1), "one") == 1
                break
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_a_question_to_a_part_without_its_journal_is_answered_so_at_once() -> None:
    plan = Plan.spread({"counter": 4}, [["counter"], ["counter"]])
    journal = MemoryJournal()
    runtime = LocalRuntime(plan, Registry([COUNTER]), journal, ManualClock(1_000.0))
    await runtime.start()
    forget_cold(runtime)
    there = plan.shard_of("counter", "bob")
    load_cold = journal.load_cold

    async def partly_away(shard: Shard, ids: list[str]) -> list[Stored]:
        if shard == there:
            raise JournalUnavailable("away for one node")
        return await load_cold(shard, ids)

    journal.load_cold = partly_away  # type: ignore[method-assign,assignment]
    with pytest.raises(Unavailable, match="journal-away"):
        await runtime.ask("counter/alice", AddVia("bob", 2), command_id="one", timeout_s=8.0)
    await runtime.close()


def a_host() -> Host:
    registry = Registry([COUNTER])
    return Host(SHARD, registry.codecs["counter"], registry)


def deliver(entity: str, command: Any) -> Deliver:
    return Deliver(entity, command, f"{entity}-id", 0, "", None)


def test_what_an_entity_owed_another_and_changed_nothing_there_is_not_stored() -> None:
    host = a_host()
    host.handle([Deliver("bank", Add(5), "first", 1, "", None)], 1.0, 1.0)
    effect = Deliver("bank", SetTo(5), "counter/e1:1", 0, "counter/e1", "handle")
    step = host.handle([effect], 2.0, 2.0)
    assert step.record is None
    assert [reply for _, _, reply in step.replies] == [encode(5)]


def test_very_many_due_timers_are_fired_over_several_steps() -> None:
    host = a_host()
    host.handle([deliver(f"e{n}", RemindAt(5.0)) for n in range(1_000)], 1.0, 1.0)
    fired = []
    while host.next_wake()[0] <= 6.0:
        step = host.handle([], 6.0, 1.0)
        assert step.record is not None
        fired.append(len(step.record.entries))
    assert sum(fired) == 1_000
    assert max(fired) <= timers.TIMERS_MAX


def due_together(count: int) -> Host:
    """So many entities whose time is 5.0, each owing one to another then."""
    host = a_host()
    host.handle([deliver(f"e{n}", RemindAt(5.0, "bank")) for n in range(count)], 1.0, 1.0)
    return host


def fired(host: Host, mono: float) -> list[Outgoing]:
    """What is owed by the timers that fire by 6.0, while nobody answers."""
    sent: list[Outgoing] = []
    while host.next_wake()[0] <= 6.0:
        sent += host.handle([], 6.0, mono).later
    return sent


def settled(sent: list[Outgoing]) -> list[Arrival]:
    return [Settled(one.entity, one.owed_id, 1) for one in sent]


def test_timers_that_are_due_together_go_off_as_fast_as_what_they_owe_is_settled() -> None:
    host = due_together(2_000)
    sent = fired(host, 1.0)
    assert len(sent) == timers.UNDER_WAY_MAX
    seen = host.handle(settled(sent[:100]), 6.0, 1.1).later
    seen += fired(host, 1.1)
    assert len(seen) == 100
    waiting = sent[100:] + seen
    while waiting:
        seen = host.handle(settled(waiting), 6.0, 1.2).later + fired(host, 1.2)
        sent, waiting = sent + waiting, seen
    assert host.stats.unsettled == 0
    assert len({one.entity for one in sent}) == 2_000


def test_timers_do_not_wait_long_for_a_receiver_that_is_away() -> None:
    host = due_together(2_000)
    sent, mono = fired(host, 1.0), 1.0
    while len(sent) < 2_000:
        due, mono = mono + timers.UNDER_WAY_S, host.next_wake()[1]
        assert mono <= due
        sent += host.handle([], 6.0, mono).later + fired(host, mono)
    assert mono <= 1.0 + 2_000 / timers.UNDER_WAY_MAX * timers.UNDER_WAY_S
    assert len({one.entity for one in sent}) == 2_000


def test_timers_do_not_wait_for_what_commands_owe() -> None:
    host = due_together(100)
    owing: list[Arrival] = [deliver(f"payer-{n}", Pay("bank", 1)) for n in range(1_000)]
    host.handle(owing, 1.0, 1.0)
    assert len(fired(host, 1.0)) == 100


def test_timers_do_not_wait_for_what_was_answered_with_trouble() -> None:
    host = due_together(2_000)
    away = Unavailable("away", "Not now.").as_problem()
    sent = new = fired(host, 1.0)
    while new:
        troubles: list[Arrival] = [Settled(one.entity, one.owed_id, away) for one in new]
        new = host.handle(troubles, 6.0, 1.0).later + fired(host, 1.0)
        sent = sent + new
    assert len({one.entity for one in sent}) == 2_000
    assert host.stats.unsettled == 2_000


def test_beside_arrivals_few_timers_go_off() -> None:
    host = due_together(100)
    step = host.handle([deliver("new", Add(1))], 6.0, 1.0)
    assert len(step.later) == timers.TIMERS_BESIDE_MAX
    assert step.record is not None
    assert step.record.entries[-1].entity == "new"


def test_very_many_owed_effects_are_sent_again_over_several_steps() -> None:
    host = a_host()
    host.handle([deliver(f"e{n}", Pay("x", 1)) for n in range(1_000)], 1.0, 1.0)
    sent = []
    while host.next_wake()[1] <= 2.5:
        sent.append(len(host.handle([], 1.0, 2.5).now))
    assert sum(sent) == 1_000
    assert max(sent) <= owed.RESENDS_MAX


def test_a_slice_ends_at_its_bytes_however_few_entities_that_are() -> None:
    host = a_host()
    host.handle([deliver(f"e{n}", Add(1)) for n in range(50)], 1.0, 1.0)
    assert host.begin_snapshot()
    write = host.snapshot_slice(1, entities_max=50, bytes_max=1)
    assert len(write.live) == 1
    assert write.covered is None
