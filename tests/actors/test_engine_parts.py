"""Large entities are stored in parts: what changed, some at a time, and as it was at one moment."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec import Struct, field
from msgspec.msgpack import Decoder

from actors.engine import recovery
from actors.engine.codec import Registry, encode
from actors.engine.host import Host
from actors.engine.kind import NEVER, Context, Decision, Division, Kind
from actors.engine.ports import Append, JournalUnavailable, Shard, SnapshotWrite
from actors.engine.recovery import recover
from actors.engine.step import Deliver
from domain import history as histories
from domain import parts
from domain.history import History, Page, recall, remember
from domain.message import Command, Event
from domain.parts import Leaf, Paged
from tests.fakes.memory_journal import MemoryJournal

SHARD = Shard("list", 0)
EVERYTHING = 1_000_000


class Entered(Event, tag="list.entered.v1"):
    name: str
    units: int


class Left(Event, tag="list.left.v1"):
    name: str


class Closed(Event, tag="list.closed.v1"):
    at: float


class Guest(Struct, array_like=True):
    units: int


class Guests(Struct, array_like=True, dict=True):
    """Who is there, and who was."""

    present: Paged[Guest] = field(default_factory=Paged)
    gone: History[int] = field(default_factory=History)
    closed_at: float = NEVER

    def __post_init__(self) -> None:
        self.rejoin()

    def rejoin(self) -> None:
        self.present.reindex()
        self.units = sum(guest.units for guest in self.present.values())


class Note(Command, tag="list.note.v1"):
    """An event as a command."""

    event: Any


def decide(_state: Guests | None, command: Note, _context: Context) -> Decision:
    return Decision([command.event])


def evolve(state: Guests | None, event: Entered | Left | Closed) -> Guests:
    state = state or Guests()
    match event:
        case Entered(name, units):
            if name in state.present:
                state.present.edit(name).units += units
            else:
                state.present[name] = Guest(units)
            state.units += units
        case Left(name):
            guest = state.present.pop(name)
            state.units -= guest.units
            remember(state.gone, name, guest.units, 1.0, 1e9)
        case Closed(at):
            state.closed_at = at
    return state


KIND = Kind(
    name="list",
    state=Guests,
    commands=Note,
    events=Entered | Left | Closed,
    replies=None,
    decide=decide,  # type: ignore[arg-type]
    evolve=evolve,
    finished_at=lambda state: state.closed_at,
    never_packed=True,
    division=Division(
        lambda state: (state.present, state.gone), (Leaf[Guest], Page), Guests.rejoin
    ),
)
REGISTRY = Registry([KIND])


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PAGE_ENTRIES", 4)
    monkeypatch.setattr(histories, "PAGE_ENTRIES", 3)
    monkeypatch.setattr(recovery, "PARTS_PER_READ", 2)


class World:
    """One shard with one list, its journal, and what must be in the list."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.truth: Guests | None = None
        self.epoch = 0
        self.now = 1.0
        self.head = 0
        self.host = self._host()

    @staticmethod
    def _host() -> Host:
        return Host(SHARD, REGISTRY.codecs["list"], REGISTRY, passivate_s=60.0)

    async def take_over(self) -> None:
        """A new process recovers the shard."""
        self.host = self._host()
        self.epoch, self.head = await self.journal.claim(SHARD)
        await recover(self.host, self.journal, self.head)

    async def note(self, event: Any) -> None:
        step = self.host.handle([Deliver("e", Note(event), "", 0, "", None)], self.now, self.now)
        assert step.payload is not None
        await self.journal.append([Append(SHARD, self.epoch, step.position, step.payload)])
        self.truth = evolve(self.truth, event)

    def begin(self) -> None:
        assert self.host.begin_snapshot()

    async def slice(self, bytes_max: int = 1) -> SnapshotWrite:
        write = self.host.snapshot_slice(self.epoch, 10, bytes_max)
        await self.journal.write_snapshot(write)
        self.host.snapshot_stored(write)
        if write.covered is not None:
            self.journal.projected[SHARD] = write.covered
            await self.journal.trim(SHARD)
        return write

    async def snapshot(self, bytes_max: int = EVERYTHING) -> list[SnapshotWrite]:
        self.begin()
        writes = [await self.slice(bytes_max)]
        while writes[-1].covered is None:
            writes.append(await self.slice(bytes_max))
        return writes

    def state(self) -> Any:
        return dict(self.host.states()).get("e")

    def check(self) -> None:
        state = self.state()
        assert encode(state) == encode(self.truth)
        if self.truth is not None:
            assert state.units == self.truth.units, "what follows from the parts is worked out"

    def stored(self) -> set[int]:
        return set(self.journal.parts.get((SHARD, "e"), ()))


@pytest.fixture
async def world() -> World:
    made = World()
    await made.take_over()
    return made


async def full(world: World, count: int = 40) -> None:
    for number in range(count):
        await world.note(Entered(f"k{number}", 1))


def parts_in(writes: list[SnapshotWrite]) -> int:
    return sum(len(one.stored) for write in writes for one in write.parts)


async def test_what_is_stored_is_recovered(world: World) -> None:
    await full(world)
    for number in range(0, 40, 3):
        await world.note(Left(f"k{number}"))
    await world.snapshot()
    await world.note(Entered("k1", 5))
    await world.take_over()
    world.check()
    assert recall(world.state().gone, "k3", Decoder(list[int])) == 1


async def test_a_pass_stores_the_parts_that_changed_and_no_others(world: World) -> None:
    await full(world, 40)
    assert parts_in(await world.snapshot()) == 10
    await world.note(Entered("k17", 1))
    await world.note(Entered("new", 1))
    assert parts_in(await world.snapshot()) == 2
    await world.take_over()
    await world.note(Entered("k17", 1))
    assert parts_in(await world.snapshot()) == 1, "a successor knows what is stored already"
    await world.take_over()
    world.check()


async def test_a_slice_is_no_larger_than_it_may_be_however_large_the_entity(world: World) -> None:
    await full(world, 400)
    (whole,) = await world.snapshot()
    size = sum(len(data) for one in whole.parts for _, data in one.stored)
    for number in range(400):
        await world.note(Entered(f"k{number}", 1))
    writes = await world.snapshot(bytes_max=200)
    largest = max(
        sum(len(data) for one in write.parts for _, data in one.stored) for write in writes
    )
    assert largest < 250
    assert len(writes) > size / 250


async def test_a_pass_stores_everything_as_it_was_at_one_moment(world: World) -> None:
    """Between its slices the entity goes on."""
    await full(world)
    world.begin()
    writes = [await world.slice()]
    before = encode(world.truth)
    number = 0
    while writes[-1].covered is None:
        await world.note(Entered(f"k{number}", 7))
        await world.note(Left(f"k{39 - number}"))
        await world.note(Entered(f"new{number}", 1))
        writes.append(await world.slice())
        number += 1
    reader = world._host()
    reader.load(world.journal.live[SHARD].values())
    ((_, numbers),) = reader.parts_wanted()
    found = await world.journal.load_parts(SHARD, "e", numbers)
    reader.load_parts("e", {at: part for at, part in zip(numbers, found, strict=True) if part})
    assert encode(dict(reader.states())["e"]) == before
    await world.take_over()
    world.check()


@pytest.mark.parametrize("slices", range(12))
async def test_a_process_that_dies_within_a_pass_leaves_the_snapshot_as_it_was(
    world: World, slices: int
) -> None:
    await full(world)
    await world.snapshot()
    for number in range(30):
        await world.note(Entered(f"k{number}", 2))
    world.begin()
    for _ in range(slices):
        if (await world.slice()).covered is not None:
            break
        await world.note(
            Left(f"k{slices}") if f"k{slices}" in world.state().present else Entered("x", 1)
        )
    await world.take_over()
    world.check()
    await world.note(Entered("k5", 1))
    await world.snapshot(bytes_max=1)
    await world.take_over()
    world.check()
    await world.note(Entered("k6", 1))
    await world.snapshot()
    await world.note(Entered("k7", 1))
    await world.snapshot()
    await world.take_over()
    world.check()
    assert len(world.stored()) <= 2 * 12, "what a dead process left behind is written over"


async def test_a_slice_that_was_not_stored_belongs_to_the_next_pass(world: World) -> None:
    await full(world)
    await world.snapshot()
    for number in range(20):
        await world.note(Entered(f"k{number}", 2))
    world.begin()
    await world.slice()
    await world.slice()
    await world.note(Entered("k19", 1))
    world.host.snapshot_failed(world.host.snapshot_slice(world.epoch, 10, EVERYTHING))
    assert parts_in(await world.snapshot()) == 5
    await world.take_over()
    world.check()


async def test_parts_that_are_named_no_more_are_dropped_one_pass_later(world: World) -> None:
    await full(world, 8)
    await world.snapshot()
    first = world.stored()
    await world.note(Entered("k0", 1))
    await world.snapshot()
    assert first < world.stored(), "who was reading the snapshot before finds its parts"
    await world.take_over()
    await world.note(Entered("k0", 1))
    await world.snapshot()
    await world.note(Entered("k0", 1))
    await world.snapshot()
    assert len(world.stored()) == 3, "two that are named, and one that was until now"


async def test_a_reader_whose_snapshot_was_replaced_twice_reads_it_again(world: World) -> None:
    await full(world, 8)
    await world.snapshot()
    reader = world._host()
    load_parts = world.journal.load_parts

    async def late(*wanted: Any) -> Any:
        world.journal.load_parts = load_parts  # type: ignore[method-assign]
        for _ in range(2):
            for number in range(8):
                await world.note(Entered(f"k{number}", 1))
            await world.snapshot()
        return await load_parts(*wanted)

    world.journal.load_parts = late  # type: ignore[method-assign]
    with pytest.raises(JournalUnavailable, match="read again"):
        await recover(reader, world.journal, world.journal.head[SHARD])
    reader.reset()
    await recover(reader, world.journal, world.journal.head[SHARD])
    assert encode(dict(reader.states())["e"]) == encode(world.truth)


async def test_an_entity_that_leaves_memory_takes_its_parts_along(world: World) -> None:
    await full(world)
    await world.snapshot()
    await world.note(Closed(world.now))
    await world.snapshot()
    world.now += 100
    world.host.handle([], world.now, world.now)
    await world.snapshot()
    assert not world.stored()
    assert not world.journal.live[SHARD]
    assert world.state() is None
    world.host.load(await world.journal.load_cold(SHARD, ["e"]))
    world.check()
    await world.note(Entered("k1", 1))
    await world.take_over()  # it is in the cold store, and in the tail
    world.check()
    await world.note(Closed(world.now))
    await world.snapshot()
    await world.take_over()
    world.check()


async def test_an_entity_that_could_not_leave_memory_is_stored_as_before(world: World) -> None:
    await full(world)
    await world.snapshot()
    await world.note(Closed(world.now))
    world.now += 100
    world.host.handle([], world.now, world.now)
    world.begin()
    world.host.snapshot_failed(world.host.snapshot_slice(world.epoch, 10, EVERYTHING))
    await world.note(Entered("late", 1))
    world.check()
    await world.note(Closed(world.now))
    for _ in range(3):
        await world.snapshot()
        await world.note(Closed(world.now))
    assert len(world.stored()) == 11, "none is left behind"
    await world.take_over()
    world.check()


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_happens_between_slices_nothing_is_lost(seed: int) -> None:
    random = Random(seed)
    world = World()
    await world.take_over()
    under_way = False

    async def enter() -> None:
        await world.note(Entered(f"k{random.randrange(30)}", random.randrange(5)))

    async def leave() -> None:
        names = [] if world.truth is None else list(world.truth.present)
        if names:
            await world.note(Left(random.choice(names)))

    async def store() -> None:
        nonlocal under_way
        if not under_way and not world.host.begin_snapshot():
            return
        under_way = (await world.slice(random.choice((1, 60, 500)))).covered is None

    async def fail() -> None:
        nonlocal under_way
        if under_way:
            world.host.snapshot_failed(world.host.snapshot_slice(world.epoch, 10, 60))
            under_way = False

    async def die() -> None:
        nonlocal under_way
        under_way = False
        await world.take_over()

    deeds: list[Callable[[], Any]] = [*[enter] * 8, *[leave] * 6, *[store] * 8, fail, die]
    for _ in range(250):
        await random.choice(deeds)()
        world.check()
    named = world.host._entities.get("e")
    assert named is not None
    assert named.numbers.named <= world.stored() or under_way
