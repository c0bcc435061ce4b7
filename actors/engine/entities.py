"""The entities of a shard in memory, their way out of it, and back.

An entity is in one of these places:

- **live**: an object. What a command addresses is made live first.
- **packed**: in memory, as the bytes that a snapshot stores of it: a fraction of the object. What
  nobody touched for :data:`PACK_AFTER_S` is packed, unless its kind is ``never_packed``.
- **passivating**: finished for ``passivate_s`` and on its way into the cold store; still here, in
  case it is addressed before it got there.
- **cold**: in the cold store alone. Addressed again it is reactivated: the shell loads it
  (``cold_loads.py``), and then it is packed.

A **snapshot** is stored by passes over what changed since the last one, in slices, each entity with
the position that its state includes. So a pass needs no copy of the whole: what changes meanwhile
is simply stored again by the next one. A large entity takes several slices (``parts.py``).
"""

from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder

from actors.engine.codec import NOTHING, Codec, encode
from actors.engine.kind import NEVER
from actors.engine.parts import Numbers, PartAt, Storing, joined, whole
from actors.engine.ports import Entry, Owed, PartsWrite, SnapshotWrite, Stored
from actors.engine.step import Moment
from domain import history as histories
from domain.history import History

__all__ = ["ANSWERS_FADE_S", "Entities", "Entity", "Packed", "Slice", "unpacked"]

PACK_AFTER_S = 2.0
"""Real seconds after which an entity that nobody touched is packed."""
PACK_SLICE = 64
"""Entities packed per step at most: packing never holds the loop up."""
ANSWERS_FADE_S = 86_400.0
"""Service seconds for which a command from outside is recognised after its answer made room for
newer ones."""


class Entity:
    """A live entity."""

    __slots__ = (
        "answers",
        "finished",
        "numbers",
        "outbox",
        "passing",
        "past",
        "position",
        "sent",
        "state",
        "touched",
        "wake",
        "watched",
    )

    def __init__(self) -> None:
        self.state: Any = None
        self.position = 0
        """Of the last record that changed it."""
        self.outbox: dict[str, Owed] = {}
        """What it owes, by id."""
        self.answers: dict[str, tuple[int, bytes]] = {}
        """Digest and reply of the last commands that carried somebody's key (those with a digest),
        by command id, oldest first."""
        self.passing: dict[str, tuple[int, bytes]] = {}
        """The same of commands that their senders repeat within seconds or never: what other
        entities owe and what is sent but ``once``. Apart, so that they crowd out no key's
        answer."""
        self.past: History[int] | None = None
        """Digests of commands from outside whose answers are no longer kept."""
        self.sent = 0
        """Effects it has owed so far: their ids are numbered."""
        self.numbers: Numbers | None = None
        """Of the parts of its state that are stored apart; None: none ever was, as of most."""
        self.wake = NEVER
        self.finished = NEVER
        """Service time since which it is in a final state."""
        self.touched = 0.0
        """Real time at which it was last made live, or changed."""
        self.watched = False
        """Whether it will be looked at for packing."""

    def remember(self, entry: Entry, at: float, answers_max: int) -> None:
        """Keep the answer of a command, ``answers_max`` of its sort; of the one that makes room for
        it, its digest."""
        answers = self.answers if entry.digest else self.passing
        answers[entry.command_id] = (entry.digest, entry.reply)
        if len(answers) > answers_max:
            oldest = next(iter(answers))
            faded, _ = answers.pop(oldest)
            if faded:
                if self.past is None:
                    self.past = History()
                histories.remember(self.past, oldest, faded, at, ANSWERS_FADE_S)

    def answered(self, command_id: str) -> tuple[int, bytes] | None:
        """Digest and reply of a command whose answer is kept."""
        return self.answers.get(command_id) or self.passing.get(command_id)

    def faded(self, command_id: str) -> int | None:
        """The digest of a command whose answer made room for newer ones; None if unknown."""
        return None if self.past is None else histories.recall(self.past, command_id, _digests)


class Packed(Struct, array_like=True, gc=False):
    """An entity as it is packed and stored. It is read without decoding the state. In memory and in
    the cold store it has its parts in itself, in the snapshot their numbers alone."""

    position: int
    wake: float
    finished: float
    sent: int
    outbox: list[Owed]
    answers: dict[str, tuple[int, bytes]]
    state: Raw
    past: History[int] | None = None
    parts: list[PartAt] = []
    dropped: list[int] = []
    """Numbers of parts that are to be dropped with the next root (see ``parts.py``)."""
    next_part: int = 1


_packed: Decoder[Packed] = Decoder(Packed)
_digests: Decoder[list[int]] = Decoder(list[int])


def unpacked(data: bytes) -> Packed:
    """What was packed into these bytes."""
    return _packed.decode(data)


class Slice(NamedTuple):
    """A part of a snapshot pass (see :class:`actors.engine.ports.SnapshotWrite`)."""

    live: list[Stored]
    cold: list[Stored]
    parts: list[PartsWrite]
    covered: int | None


class Entities:
    """The entities of one shard that are in memory."""

    def __init__(self, codec: Codec, moment: Moment, passivate_s: float) -> None:
        self._codec = codec
        self._kind = codec.kind
        self._moment = moment
        self._passivate_s = passivate_s
        self.loaded_to = 0
        """The newest position that a loaded entity's state includes."""
        self._live: dict[str, Entity] = {}
        self._packed: dict[str, bytes] = {}
        self._passivating: dict[str, bytes] = {}
        self._watched: deque[tuple[float, str]] = deque()
        """(real time to look at it for packing, id)."""
        self._changed: dict[str, None] = {}
        """Since the last pass began."""
        self._finished: list[tuple[float, str]] = []
        """A heap: (service time since which it may have been in a final state, id)."""
        self._pass: list[str] = []
        """What the pass under way has still to store."""
        self._covers: int | None = None
        """The position up to which that pass covers everything; None: there is none."""
        self._storing: Storing | None = None
        """Of that pass: an entity of which not all parts were given out yet."""
        self._rooted: list[Storing] = []
        """Those whose roots are in the slice that is being written."""
        self._incomplete: dict[str, Packed] = {}
        """Loaded entities whose parts are still to be loaded."""

    def __contains__(self, entity_id: str) -> bool:
        return (
            entity_id in self._live or entity_id in self._packed or entity_id in self._passivating
        )

    @property
    def live(self) -> int:
        """How many are live."""
        return len(self._live)

    @property
    def packed(self) -> int:
        """How many are packed."""
        return len(self._packed)

    def states(self) -> Iterable[tuple[str, Any]]:
        """Every entity that has a state, with it."""
        for entity_id, entity in self._live.items():
            if entity.state is not None:
                yield entity_id, entity.state
        for entity_id, data in self._packed.items():
            state = self._state(unpacked(data))
            if state is not None:
                yield entity_id, state

    # ---------------------------------------------------------------- live and packed

    def get(self, entity_id: str) -> Entity | None:
        """The entity, live; None if it is not in memory."""
        entity = self._live.get(entity_id)
        if entity is None:
            data = self._packed.pop(entity_id, None) or self._keep(entity_id)
            if data is None:
                return None
            entity = self._live[entity_id] = self._unpack(data)
            self._watch(entity_id, entity)
        return entity

    def add(self, entity_id: str) -> Entity:
        """A new one, without a state yet."""
        entity = self._live[entity_id] = Entity()
        return entity

    def changed(self, entity_id: str, entity: Entity) -> None:
        """Note that the entity was changed: the next snapshot stores it."""
        moment, state = self._moment, entity.state
        entity.touched = moment.real
        self._changed[entity_id] = None
        if not entity.watched:
            self._watch(entity_id, entity)
        if state is None:  # it has nothing but answers: it may leave memory with them
            finished = moment.now
        else:
            entity.wake = self._kind.wake_at(state)
            finished = self._kind.finished_at(state)
        if finished != entity.finished:
            entity.finished = finished
            if finished != NEVER:
                heappush(self._finished, (finished, entity_id))

    def pack_untouched(self, busy: Container[str]) -> None:
        """Pack what nobody touched for a while, some at a time; not what is ``busy``."""
        watched, real = self._watched, self._moment.real
        for _ in range(PACK_SLICE):
            if not watched or watched[0][0] > real:
                return
            _, entity_id = watched.popleft()
            entity = self._live.get(entity_id)
            if entity is None:
                continue
            if real - entity.touched < PACK_AFTER_S or entity_id in busy:
                watched.append((real + PACK_AFTER_S, entity_id))
            else:
                self.pack(entity_id)

    def pack(self, entity_id: str) -> None:
        """Keep a live entity as bytes from now on."""
        self._packed[entity_id] = self._pack(self._live.pop(entity_id))

    def load(self, stored: Stored) -> Packed:
        """Take an entity of the snapshot or of the cold store into memory. If the snapshot stores
        parts of it apart, those are :meth:`parts_wanted`."""
        packed = unpacked(stored.data)
        self._packed[stored.entity_id] = stored.data
        self._incomplete.pop(stored.entity_id, None)
        if packed.parts and packed.parts[0].number:
            self._incomplete[stored.entity_id] = packed
        self.loaded_to = max(self.loaded_to, packed.position)
        if packed.finished != NEVER:
            since = max(packed.finished, self._moment.now)
            heappush(self._finished, (since, stored.entity_id))
        return packed

    def parts_wanted(self) -> list[tuple[str, list[int]]]:
        """What :meth:`load_parts` needs, by entity."""
        return [
            (entity_id, [at.number for at in packed.parts if not at.data])
            for entity_id, packed in self._incomplete.items()
        ]

    def load_parts(self, entity_id: str, parts: Mapping[int, bytes]) -> None:
        """Take parts of a loaded entity, by number. It may be used when it has them all."""
        packed = self._incomplete[entity_id]
        for at in packed.parts:
            at.data = parts.get(at.number, at.data)
        if all(at.data for at in packed.parts):
            del self._incomplete[entity_id]
            self._packed[entity_id] = encode(packed)

    def _pack(self, entity: Entity) -> bytes:
        """All of an entity in one piece. What the snapshot has of it beside is dropped, should it
        be stored there again."""
        rest, parts = whole(entity.state, self._codec)
        numbers = entity.numbers
        if numbers is None:
            return _encoded(entity, rest, parts, [], 1)
        dropped = sorted(numbers.named.union(numbers.dropped))
        return _encoded(entity, rest, parts, dropped, numbers.next)

    def _watch(self, entity_id: str, entity: Entity) -> None:
        if not self._kind.never_packed:
            entity.watched = True
            self._watched.append((self._moment.real + PACK_AFTER_S, entity_id))

    def _unpack(self, data: bytes) -> Entity:
        packed = unpacked(data)
        entity = Entity()
        entity.position = packed.position
        entity.wake, entity.finished = packed.wake, packed.finished
        entity.sent = packed.sent
        entity.outbox = {owed.id: owed for owed in packed.outbox}
        for command_id, answer in packed.answers.items():
            (entity.answers if answer[0] else entity.passing)[command_id] = answer
        entity.past = packed.past
        if packed.next_part > 1:
            named = {at.number for at in packed.parts if at.number}
            entity.numbers = Numbers(named, packed.dropped, packed.next_part)
        entity.state = self._state(packed)
        entity.touched = self._moment.real
        return entity

    def _state(self, packed: Packed) -> Any:
        if bytes(packed.state) == NOTHING:
            return None
        return joined(packed.state, packed.parts, self._codec)

    # ---------------------------------------------------------------- snapshots

    def begin_pass(self, position: int) -> bool:
        """Start a pass over what changed up to ``position``, and over what is to be passivated,
        unless one is under way. False: there is nothing to store."""
        if self._covers is not None:
            return True
        due = self._moment.now - self._passivate_s
        ids, self._changed = self._changed, {}
        while self._finished and self._finished[0][0] <= due:
            ids[heappop(self._finished)[1]] = None
        if not ids:
            return False
        self._pass = list(ids)
        self._covers = position
        return True

    def next_slice(self, entities_max: int, bytes_max: int, busy: Container[str]) -> Slice:
        """The next part of the pass: as many entities, or as many bytes (and at least one entity,
        or one part of a large one). Its ``cold`` ones are passivating until it was :meth:`stored`
        or :meth:`not_stored`."""
        made = Slice([], [], [], None)
        size = 0
        while size < bytes_max and len(made.live) + len(made.cold) < entities_max:
            if self._storing is not None:
                size += self._next_parts(self._storing, bytes_max - size, made)
            elif self._pass:
                size += self._next_entity(self._pass.pop(), busy, made)
            else:
                break
        if not self._pass and self._storing is None:
            made = made._replace(covered=self._covers)
            self._covers = None
        return made

    def _next_entity(self, entity_id: str, busy: Container[str], made: Slice) -> int:
        """Put an entity into a slice, or begin to; returns how many bytes that were."""
        divided = self._kind.division is not None
        if divided and entity_id in self._packed:
            self.get(entity_id)
        entity = self._live.get(entity_id)
        if divided and entity is not None and not self._may_leave(entity_id, entity, busy):
            if entity.numbers is None:
                entity.numbers = Numbers(set(), [], 1)
            self._storing = storing = Storing(entity.state, entity.numbers, self._codec)
            root = _encoded(entity, *storing.rest)
            storing.root = Stored(entity_id, entity.position, root)
            return len(root)
        data = self._packed.get(entity_id) if entity is None else self._pack(entity)
        if data is None:
            return 0
        packed = unpacked(data)
        stored = Stored(entity_id, packed.position, data)
        if self._may_leave(entity_id, packed, busy):
            made.cold.append(stored)
            self._live.pop(entity_id, None)
            self._packed.pop(entity_id, None)
            self._passivating[entity_id] = data
            if divided:
                made.parts.append(PartsWrite(entity_id, (), None))
        else:
            made.live.append(stored)
        return len(data)

    def _may_leave(self, entity_id: str, entity: Entity | Packed, busy: Container[str]) -> bool:
        """Whether it is to leave memory now. If it must not yet, though its time has come, the next
        pass looks again."""
        if entity.finished > self._moment.now - self._passivate_s:
            return False
        if entity.outbox or entity_id in busy or entity_id in self._changed:
            heappush(self._finished, (self._moment.now, entity_id))
            return False
        return True

    def _next_parts(self, storing: Storing, bytes_max: int, made: Slice) -> int:
        """Put parts of an entity into a slice, behind the last of them its root."""
        parts = storing.next_parts(bytes_max)
        drops: Sequence[int] = ()
        if storing.all_given:
            drops = storing.drops
            made.live.append(storing.root)
            self._rooted.append(storing)
            self._storing = None
        if parts or drops:
            made.parts.append(PartsWrite(storing.root.entity_id, parts, drops))
        return sum([len(data) for _, data in parts])

    def stored(self, write: SnapshotWrite) -> None:
        """A slice was written: its cold entities are in the cold store alone."""
        for stored in write.cold:
            self._passivating.pop(stored.entity_id, None)
        for storing in self._rooted:
            storing.stored()
        self._rooted = []

    def not_stored(self, write: SnapshotWrite) -> None:
        """A slice could not be written: all of its pass belongs to the next one."""
        for stored in write.cold:
            data = self._keep(stored.entity_id)
            if data is not None:
                self._packed[stored.entity_id] = data
        under_way = [*self._rooted, *(() if self._storing is None else (self._storing,))]
        for storing in under_way:
            storing.not_stored()
            self._changed[storing.root.entity_id] = None
        for entity_id in (*(stored.entity_id for stored in write.live), *self._pass):
            self._changed[entity_id] = None
        self._rooted, self._storing = [], None
        self._pass, self._covers = [], None

    def _keep(self, entity_id: str) -> bytes | None:
        """The bytes of a passivating entity, which is so no more: a later pass may passivate it."""
        data = self._passivating.pop(entity_id, None)
        if data is not None:
            heappush(self._finished, (self._moment.now, entity_id))
        return data


def _encoded(
    entity: Entity, rest: Raw, parts: list[PartAt], dropped: list[int], next_part: int
) -> bytes:
    return encode(
        Packed(
            entity.position,
            entity.wake,
            entity.finished,
            entity.sent,
            list(entity.outbox.values()),
            entity.answers | entity.passing,
            rest,
            entity.past,
            parts,
            dropped,
            next_part,
        )
    )
