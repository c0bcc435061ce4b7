"""The engine on the local runtime: what it promises whoever uses it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from actors.engine import owed, shell
from actors.engine.codec import Registry
from actors.engine.entities import ANSWERS_FADE_S
from actors.engine.kind import Context, Wake
from actors.engine.local_runtime import LocalRuntime
from actors.engine.node import ViewsPort
from actors.engine.placement import Plan
from actors.engine.ports import Append, Shard, Stored
from actors.engine.step import Deliver
from domain.errors import Busy, Refused, Unavailable
from domain.message import ONCE
from tests.actors.counter_kind import (
    COUNTER,
    Add,
    AddVia,
    Both,
    Explode,
    Finish,
    Get,
    Hint,
    Overflow,
    Pay,
    RemindAt,
    SetTo,
)
from tests.fakes.manual_clock import ManualClock
from tests.fakes.memory_journal import MemoryJournal

PLAN = Plan.spread({"counter": 4}, [["counter"], ["counter"]])
HERE, THERE = "alice", "bob"
assert PLAN.node_of[PLAN.shard_of("counter", HERE)] != PLAN.node_of[PLAN.shard_of("counter", THERE)]


class World:
    """A local runtime over a journal that survives it."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.clock = ManualClock(1_000.0)
        self.runtime = self._runtime()

    def _runtime(self) -> LocalRuntime:
        return LocalRuntime(PLAN, Registry([COUNTER]), self.journal, self.clock, passivate_s=60.0)

    async def restart(self) -> None:
        await self.runtime.close()
        self.runtime = self._runtime()
        await self.runtime.start()

    async def ask(self, entity: str, command: object, command_id: str = "") -> object:
        return await self.runtime.ask(
            f"counter/{entity}",
            command,  # type: ignore[arg-type]
            command_id=command_id,
            timeout_s=5.0,
        )

    async def total(self, entity: str) -> object:
        return await self.ask(entity, Get())

    async def eventually(self, entity: str, total: int) -> None:
        await until(lambda: self._is(entity, total))

    async def _is(self, entity: str, total: int) -> bool:
        return await self.total(entity) == total

    def node_of(self, entity: str) -> str:
        return PLAN.node_of[PLAN.shard_of("counter", entity)]

    async def snapshot(self) -> None:
        for node in self.runtime.nodes.values():
            for shard_shell in node.shells.values():
                await shard_shell._snapshot()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.002)


async def until_true(condition: Callable[[], bool]) -> None:
    async def check() -> bool:
        return condition()

    await until(check)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.runtime.start()
    yield world
    await world.runtime.close()


async def test_an_acknowledged_command_survives_the_death_of_its_process(world: World) -> None:
    assert await world.ask(HERE, Add(3), "one") == 3
    await world.runtime.crash(world.node_of(HERE))
    await world.runtime.restart(world.node_of(HERE))
    assert await world.total(HERE) == 3


async def test_a_repeated_command_id_gets_the_first_answer_and_changes_nothing(
    world: World,
) -> None:
    assert await world.ask(HERE, Add(3), "one") == 3
    assert await world.ask(HERE, Add(4), "two") == 7
    assert await world.ask(HERE, Add(3), "one") == 3
    await world.restart()
    assert await world.ask(HERE, Add(3), "one") == 3, "the answer is stored with the events"
    assert await world.total(HERE) == 7


async def crowd_out(world: World, entity: str, command_id: str) -> None:
    """Do a command under this id, and so many others after it that its answer makes room."""
    await world.ask(entity, Add(3), command_id)
    for number in range(COUNTER.answers_kept):
        await world.ask(entity, Add(1), f"later-{number}")


@pytest.mark.parametrize("meanwhile", ["nothing", "restart", "snapshot", "rest"])
async def test_a_command_whose_answer_made_room_is_not_done_again(
    world: World, meanwhile: str
) -> None:
    await crowd_out(world, HERE, "one")
    total = await world.total(HERE)
    if meanwhile in ("snapshot", "rest"):
        await world.snapshot()
    if meanwhile == "rest":
        host = world.runtime.nodes[world.node_of(HERE)].shells[PLAN.shard_of("counter", HERE)].host
        host._entities.pack(HERE)
    if meanwhile in ("restart", "snapshot"):
        await world.restart()
    world.clock.advance(ANSWERS_FADE_S - 1.0)
    with pytest.raises(Refused, match="already-done"):
        await world.ask(HERE, Add(3), "one")
    with pytest.raises(Refused, match="idempotency-key-reused"):
        await world.ask(HERE, Add(4), "one")
    assert await world.total(HERE) == total


@pytest.mark.parametrize("meanwhile", ["nothing", "crash", "snapshot", "rest", "cold"])
async def test_a_command_that_changed_nothing_is_remembered_like_one_that_did(
    world: World, meanwhile: str
) -> None:
    assert await world.ask(HERE, SetTo(0), "one") == 0
    host = world.runtime.nodes[world.node_of(HERE)].shells[PLAN.shard_of("counter", HERE)].host
    if meanwhile in ("snapshot", "cold"):
        world.clock.advance(61.0 if meanwhile == "cold" else 1.0)
        await world.total(THERE)
        await world.snapshot()
        await world.restart()
    if meanwhile == "crash":
        await world.runtime.crash(world.node_of(HERE))
        await world.runtime.restart(world.node_of(HERE))
    if meanwhile == "rest":
        host._entities.pack(HERE)
        assert dict(host.states()) == {}, "it has no state that a view could load"
    with pytest.raises(Refused, match="idempotency-key-reused"):
        await world.ask(HERE, SetTo(7), "one")
    assert await world.ask(HERE, SetTo(5), "another") == 5
    assert await world.ask(HERE, SetTo(0), "one") == 0, "the first answer, late"
    assert await world.total(HERE) == 5, "a late repeat undoes nothing"


async def test_an_answer_of_a_command_that_changed_nothing_makes_room_as_others_do(
    world: World,
) -> None:
    await world.ask(HERE, SetTo(0), "one")
    for number in range(COUNTER.answers_kept):
        await world.ask(HERE, Add(1), f"later-{number}")
    with pytest.raises(Refused, match="already-done"):
        await world.ask(HERE, SetTo(0), "one")
    with pytest.raises(Refused, match="idempotency-key-reused"):
        await world.ask(HERE, SetTo(9), "one")
    assert await world.total(HERE) == COUNTER.answers_kept


async def test_what_has_nothing_but_answers_leaves_memory_with_them(world: World) -> None:
    assert await world.ask(HERE, SetTo(0), "one") == 0
    world.clock.advance(61.0)
    await world.total(HERE)
    await world.snapshot()
    shard = PLAN.shard_of("counter", HERE)
    host = world.runtime.nodes[world.node_of(HERE)].shells[shard].host
    assert host.missing([Deliver(HERE, Get(), "", 0, "", None)]) == [HERE]
    with pytest.raises(Refused, match="idempotency-key-reused"):
        await world.ask(HERE, SetTo(7), "one")


async def test_a_question_stores_nothing(world: World) -> None:
    await world.ask(HERE, Add(3), "one")
    heads = dict(world.journal.head)
    assert await world.total(HERE) == 3
    assert await world.ask(HERE, SetTo(3)) == 3, "and who sends no id wants no memory of it"
    assert world.journal.head == heads


async def test_old_commands_are_recognised_for_a_day_and_not_for_ever(world: World) -> None:
    await crowd_out(world, HERE, "one")
    for number in range(3):
        world.clock.advance(ANSWERS_FADE_S + 1.0)
        for other in range(COUNTER.answers_kept + 1):
            await world.ask(HERE, Add(1), f"day-{number}-{other}")
    assert isinstance(await world.ask(HERE, Add(3), "one"), int)


async def test_commands_of_other_entities_leave_nothing_behind(world: World) -> None:
    for number in range(3 * COUNTER.answers_kept):
        await world.ask(THERE, Pay(HERE, 1), f"pay-{number}")
    await world.eventually(HERE, 3 * COUNTER.answers_kept)
    host = world.runtime.nodes[world.node_of(HERE)].shells[PLAN.shard_of("counter", HERE)].host
    assert host._entities.get(HERE).past is None  # type: ignore[union-attr]


@pytest.mark.parametrize("meanwhile", ["nothing", "restart", "snapshot", "rest"])
async def test_commands_sent_without_a_key_crowd_out_no_answer_of_one_with_a_key(
    world: World, meanwhile: str
) -> None:
    assert await world.ask(HERE, Add(3), "one") == 3
    for number in range(3 * COUNTER.answers_kept):
        await world.ask(HERE, Add(1), f"{ONCE}{number}")
    host = world.runtime.nodes[world.node_of(HERE)].shells[PLAN.shard_of("counter", HERE)].host
    assert host._entities.get(HERE).past is None, "nobody will ever repeat them"  # type: ignore[union-attr]
    if meanwhile == "snapshot":
        await world.snapshot()
    if meanwhile == "rest":
        host._entities.pack(HERE)
    if meanwhile in ("restart", "snapshot"):
        await world.restart()
    assert await world.ask(HERE, Add(3), "one") == 3


async def test_a_command_sent_without_a_key_is_done_once_though_its_way_repeats_it(
    world: World,
) -> None:
    assert await world.ask(HERE, Add(3), f"{ONCE}1") == 3
    assert await world.ask(HERE, Add(1), "other") == 4
    await world.restart()
    assert await world.ask(HERE, Add(3), f"{ONCE}1") == 3
    assert await world.total(HERE) == 4


async def test_the_same_command_id_with_another_body_is_refused(world: World) -> None:
    await world.ask(HERE, Add(3), "one")
    with pytest.raises(Refused, match="idempotency-key-reused"):
        await world.ask(HERE, Add(5), "one")


async def test_simultaneous_repeats_are_done_once(world: World) -> None:
    answers = await asyncio.gather(*(world.ask(HERE, AddVia(THERE, 2), "one") for _ in range(5)))
    assert answers == [Both(2, 2)] * 5
    assert await world.total(THERE) == 2


async def test_a_refusal_changes_nothing_and_is_not_remembered(world: World) -> None:
    with pytest.raises(Refused, match="nothing-to-add"):
        await world.ask(HERE, Add(0), "one")
    assert not world.journal.logs


async def test_a_question_to_another_process_is_answered_before_anything_is_stored(
    world: World,
) -> None:
    assert await world.ask(HERE, AddVia(THERE, 2), "one") == Both(2, 2)


async def test_a_refused_question_reaches_whoever_asked(world: World) -> None:
    with pytest.raises(Refused, match="nothing-to-add"):
        await world.ask(HERE, AddVia(THERE, 0), "one")
    assert await world.total(HERE) == 0


async def test_commands_wait_while_their_entity_asks_another(world: World) -> None:
    via = asyncio.ensure_future(world.ask(HERE, AddVia(THERE, 2), "one"))
    await asyncio.sleep(0)
    assert await world.ask(HERE, Add(1), "two") == 3
    assert await via == Both(2, 2)


async def test_an_owed_effect_arrives_once_although_its_receiver_was_down(world: World) -> None:
    await world.runtime.crash(world.node_of(THERE))
    await world.ask(HERE, Pay(THERE, 5), "one")
    await world.runtime.restart(world.node_of(THERE))
    await world.eventually(THERE, 5)


async def test_an_owed_effect_is_sent_again_after_a_restart_of_its_sender(world: World) -> None:
    await world.runtime.crash(world.node_of(THERE))
    await world.ask(HERE, Pay(THERE, 5), "one")
    await world.restart()
    await world.eventually(THERE, 5)
    await world.restart()
    assert await world.total(THERE) == 5, "settled or repeated: never done twice"


async def test_an_owed_effect_never_leaves_before_what_owes_it_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owed, "RESEND_FIRST_S", 0.001)
    append, shard = world.journal.append, PLAN.shard_of("counter", HERE)

    async def slow(appends: Sequence[Append]) -> set[Shard]:
        if any(one.shard == shard for one in appends):
            await asyncio.Event().wait()
        return await append(appends)

    monkeypatch.setattr(world.journal, "append", slow)
    paying = asyncio.ensure_future(world.ask(HERE, Pay(THERE, 5), "pay"))
    waiting = world.runtime.nodes[world.node_of(HERE)].shells[shard].host._owed._unsettled

    async def would_be_sent_again() -> bool:
        return any(pending.attempts > 3 for pending in waiting.values())

    await until(would_be_sent_again)
    paying.cancel()
    monkeypatch.setattr(world.journal, "append", append)
    await world.restart()
    assert (await world.total(HERE), await world.total(THERE)) == (0, 0)


@pytest.mark.parametrize(("amount", "answer"), [(5, "5"), (0, "nothing-to-add")])
async def test_the_answer_to_an_owed_effect_comes_back_as_a_command(
    world: World, amount: int, answer: str
) -> None:
    await world.ask(HERE, Pay(THERE, amount, True), "one")

    async def answered() -> bool:
        shard = PLAN.shard_of("counter", HERE)
        states, _ = await world.runtime.feed.states(shard)
        return bool(states[HERE].answers == [answer])

    await until(answered)


async def test_a_tell_arrives_without_being_stored_by_its_sender(world: World) -> None:
    await world.ask(HERE, Hint(THERE, 4))
    await world.eventually(THERE, 4)
    assert PLAN.shard_of("counter", HERE) not in world.journal.logs


async def test_a_deadline_fires_at_its_time_of_the_service_clock(world: World) -> None:
    await world.ask(HERE, RemindAt(1_060.0), "one")
    shard = PLAN.shard_of("counter", HERE)
    world.clock.advance(59.0)
    await world.total(HERE)
    assert (await world.runtime.feed.states(shard))[0][HERE].reminders == 0
    world.clock.advance(1.0)
    await world.total(HERE)
    assert (await world.runtime.feed.states(shard))[0][HERE].reminders == 1


async def test_a_deadline_survives_a_restart_that_comes_after_it(world: World) -> None:
    await world.ask(HERE, RemindAt(1_060.0), "one")
    await world.runtime.close()
    world.clock.advance(500.0)
    await world.restart()
    await world.total(HERE)
    shard = PLAN.shard_of("counter", HERE)
    assert (await world.runtime.feed.states(shard))[0][HERE].reminders == 1


class Neighbours(ViewsPort):
    """Which entities a node's read models know."""

    kinds_followed = ("counter",)

    def __init__(self) -> None:
        self.known: set[str] = set()

    def load(self, kind: str, entity: str, state: Any) -> None:
        self.known.add(entity)


class SlowReading(MemoryJournal):
    """States are recovered in so many turns of the loop that everything else comes first."""

    async def recover(self, shard: Shard) -> tuple[AsyncIterator[list[Stored]], int]:
        for _ in range(100):
            await asyncio.sleep(0)
        return await super().recover(shard)


async def test_a_deadline_that_is_due_at_a_start_waits_until_the_views_are_whole() -> None:
    """It would be decided on what they lack: a store that the catalogue does not have."""
    seen: list[set[str]] = []

    def decide(state: Any, command: Any, context: Context) -> Any:
        if isinstance(command, Wake):
            seen.append(set(context.views.known))
        return COUNTER.decide(state, command, context)

    class Following(World):
        def __init__(self) -> None:
            super().__init__()
            self.journal = SlowReading()
            self.runtime = self._runtime()

        def _runtime(self) -> LocalRuntime:
            registry = Registry([replace(COUNTER, decide=decide)])
            return LocalRuntime(
                PLAN, registry, self.journal, self.clock, make_views=Neighbours, passivate_s=60.0
            )

    world = Following()
    await world.runtime.start()
    await world.ask(THERE, Add(1), "one")
    await world.ask(HERE, RemindAt(1_060.0), "two")
    await world.runtime.crash(world.node_of(HERE))
    world.clock.advance(500.0)
    await world.runtime.restart(world.node_of(HERE))
    await world.total(HERE)
    assert seen == [{HERE, THERE}]
    await world.runtime.close()


async def test_recovery_from_a_snapshot_and_its_tail_equals_the_whole_history(
    world: World,
) -> None:
    for number in range(30):
        await world.ask(f"e{number}", Add(number + 1), "first")
    await world.snapshot()
    for number in range(0, 30, 3):
        await world.ask(f"e{number}", Add(100), "second")
    await world.restart()
    for number in range(30):
        expected = number + 1 + (100 if number % 3 == 0 else 0)
        assert await world.total(f"e{number}") == expected


async def test_what_is_snapshotted_and_projected_is_trimmed_and_not_needed_again(
    world: World,
) -> None:
    await world.ask(HERE, Add(1), "one")
    await world.ask(HERE, Add(1), "two")
    shard = PLAN.shard_of("counter", HERE)
    await world.journal.mark_projected(shard, 2)
    await world.snapshot()
    assert list(world.journal.logs[shard]) == [2], "the newest stays, for followers to see a gap"
    await world.restart()
    assert await world.total(HERE) == 2
    assert await world.ask(HERE, Add(1), "one") == 1, "answers are part of the snapshot"


async def test_finished_entities_leave_memory_and_come_back_when_addressed(world: World) -> None:
    await world.ask(HERE, Add(7), "one")
    await world.ask(HERE, Finish(1_000.0), "two")
    world.clock.advance(61.0)
    await world.total(HERE)
    await world.snapshot()
    shard = PLAN.shard_of("counter", HERE)
    host = world.runtime.nodes[world.node_of(HERE)].shells[shard].host
    assert dict(host.states()) == {}
    assert await world.total(HERE) == 7
    assert await world.ask(HERE, Add(7), "one") == 7, "even its answers are remembered"


async def test_of_what_never_left_memory_the_cold_store_is_not_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask(HERE, Add(7), "one")
    await world.ask(HERE, Finish(1_000.0), "two")
    world.clock.advance(61.0)
    await world.total(HERE)
    await world.snapshot()
    await world.restart()
    asked: list[str] = []
    load_cold = world.journal.load_cold

    async def watched(shard: Shard, entity_ids: Sequence[str]) -> list[Stored]:
        asked.extend(entity_ids)
        return await load_cold(shard, entity_ids)

    monkeypatch.setattr(world.journal, "load_cold", watched)
    shells = [one for node in world.runtime.nodes.values() for one in node.shells.values()]
    await until_true(lambda: not any(one.cold.may_hold("nobody") for one in shells))
    assert await world.ask("somebody-new", Add(1), "three") == 1
    assert asked == []
    assert await world.ask(HERE, Add(7), "one") == 7, "what left before the restart is found"
    assert asked == [HERE]


async def test_events_after_a_return_from_the_cold_survive_a_crash(world: World) -> None:
    await world.ask(HERE, Add(7), "one")
    await world.ask(HERE, Finish(1_000.0), "two")
    world.clock.advance(61.0)
    await world.total(HERE)
    await world.snapshot()
    await world.ask(HERE, Add(1), "three")
    await world.restart()
    assert await world.total(HERE) == 8


async def test_the_journal_away_means_503_and_nothing_acknowledged_is_lost(world: World) -> None:
    await world.ask(HERE, Add(1), "one")
    world.journal.away = True
    pending = asyncio.ensure_future(world.ask(HERE, Add(2), "two"))

    async def refused() -> bool:
        try:
            await asyncio.wait_for(world.ask(HERE, Add(4), "three"), 0.05)
        except Unavailable as error:
            return error.code == "journal-away"
        except TimeoutError:
            return False
        return False

    await until(refused)
    world.journal.away = False
    assert await pending == 3, "the service resumes by itself"
    assert await world.ask(HERE, Add(4), "four") in (7, 11)


async def test_a_fenced_process_stops_and_answers_nothing(world: World) -> None:
    await world.ask(HERE, Add(1), "one")
    await world.journal.claim(PLAN.shard_of("counter", HERE))
    with pytest.raises(Unavailable):
        await world.runtime.ask(f"counter/{HERE}", Add(2), command_id="two", timeout_s=0.2)
    with pytest.raises(Unavailable, match="shard-moved"):
        await world.ask(HERE, Get())


async def test_a_defect_in_a_rule_hurts_only_its_own_command(world: World) -> None:
    for command, command_id in ((Explode(), "one"), (Overflow(), "many")):
        with pytest.raises(Refused, match="internal-error"):
            await world.ask(HERE, command, command_id)
    assert await world.ask(HERE, Add(2), "two") == 2


async def test_what_a_receiver_fails_at_stays_owed_until_it_can_take_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owed, "RESEND_FIRST_S", 0.01)
    failed = asyncio.Event()

    def decide(state: Any, command: Any, context: Context) -> Any:
        if context.entity_id == THERE and isinstance(command, Add):
            failed.set()
            raise ZeroDivisionError
        return COUNTER.decide(state, command, context)

    hosts = [one.host for node in world.runtime.nodes.values() for one in node.shells.values()]
    for each in hosts:
        each.kind = replace(COUNTER, decide=decide)
    await world.ask(HERE, Pay(THERE, 5), "pay")
    async with asyncio.timeout(10):
        await failed.wait()
    for each in hosts:  # a release that can
        each.kind = COUNTER
    await world.eventually(THERE, 5)


async def test_a_full_mailbox_answers_busy_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "MAILBOX_MAX", 3)
    results = await asyncio.gather(
        *(world.ask(HERE, Add(1), f"c{number}") for number in range(8)), return_exceptions=True
    )
    busy = [result for result in results if isinstance(result, Unavailable | Busy)]
    assert len(busy) == 5
    assert all(error.code == "busy" for error in busy)
    assert await world.total(HERE) == 3


async def test_the_feed_tells_every_event_once_in_order(world: World) -> None:
    for number in range(1, 6):
        await world.ask(HERE, Add(number), f"c{number}")
    shard = PLAN.shard_of("counter", HERE)
    seen: list[int] = []
    async for batch in world.runtime.feed.follow([shard], {shard: 2}):
        seen += [
            event.amount
            for item in batch
            for entry in item.record.entries
            for event in entry.events
        ]
        if len(seen) >= 3:
            break
    assert seen == [3, 4, 5]


def test_every_shard_has_one_node_and_an_entity_always_the_same_shard() -> None:
    assert sorted(PLAN.all_shards()) == sorted(PLAN.node_of)
    assert PLAN.shard_of("counter", "a") == PLAN.shard_of("counter", "a")
    with pytest.raises(ValueError, match=r"no node hosts counter\.1"):
        Plan({"counter": 2}, {"n": [Shard("counter", 0)]})
