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
is simply stored again by the next one.
"""

from collections import deque
from collections.abc import Container, Iterable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder

from actors.engine.codec import NOTHING, Codec, encode
from actors.engine.kind import NEVER
from actors.engine.ports import Entry, Owed, SnapshotWrite, Stored
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
        "outbox",
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
        """Digest and reply of the last commands, by command id, oldest first."""
        self.past: History[int] | None = None
        """Digests of commands from outside whose answers are no longer kept."""
        self.sent = 0
        """Effects it has owed so far: their ids are numbered."""
        self.wake = NEVER
        self.finished = NEVER
        """Service time since which it is in a final state."""
        self.touched = 0.0
        """Real time at which it was last made live, or changed."""
        self.watched = False
        """Whether it will be looked at for packing."""

    def remember(self, entry: Entry, at: float, answers_max: int) -> None:
        """Keep the answer of a command; of the one that makes room for it, its digest."""
        answers = self.answers
        answers[entry.command_id] = (entry.digest, entry.reply)
        if len(answers) > answers_max:
            oldest = next(iter(answers))
            faded, _ = answers.pop(oldest)
            if faded:
                if self.past is None:
                    self.past = History()
                histories.remember(self.past, oldest, faded, at, ANSWERS_FADE_S)

    def faded(self, command_id: str) -> int | None:
        """The digest of a command whose answer made room for newer ones; None if unknown."""
        return None if self.past is None else histories.recall(self.past, command_id, _digests)


class Packed(Struct, array_like=True, gc=False):
    """An entity as it is packed and stored. It is read without decoding the state."""

    position: int
    wake: float
    finished: float
    sent: int
    outbox: list[Owed]
    answers: dict[str, tuple[int, bytes]]
    state: Raw
    past: History[int] | None = None


_packed: Decoder[Packed] = Decoder(Packed)
_digests: Decoder[list[int]] = Decoder(list[int])


def unpacked(data: bytes) -> Packed:
    """What was packed into these bytes."""
    return _packed.decode(data)


class Slice(NamedTuple):
    """A part of a snapshot pass (see :class:`actors.engine.ports.SnapshotWrite`)."""

    live: list[Stored]
    cold: list[Stored]
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
        self._packed[entity_id] = _pack(self._live.pop(entity_id))

    def load(self, stored: Stored) -> Packed:
        """Take an entity of the snapshot or of the cold store into memory."""
        packed = unpacked(stored.data)
        self._packed[stored.entity_id] = stored.data
        self.loaded_to = max(self.loaded_to, packed.position)
        if packed.finished != NEVER:
            since = max(packed.finished, self._moment.now)
            heappush(self._finished, (since, stored.entity_id))
        return packed

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
        entity.answers = packed.answers
        entity.past = packed.past
        entity.state = self._state(packed)
        entity.touched = self._moment.real
        return entity

    def _state(self, packed: Packed) -> Any:
        return None if bytes(packed.state) == NOTHING else self._codec.state(packed.state)

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
        """The next part of the pass: as many entities, or as many bytes (and at least one entity).
        Its ``cold`` ones are passivating until it was :meth:`stored` or :meth:`not_stored`."""
        live: list[Stored] = []
        cold: list[Stored] = []
        size = 0
        while self._pass and size < bytes_max and len(live) + len(cold) < entities_max:
            entity_id = self._pass.pop()
            entity = self._live.get(entity_id)
            data = self._packed.get(entity_id) if entity is None else _pack(entity)
            if data is None:
                continue
            size += len(data)
            packed = unpacked(data)
            stored = Stored(entity_id, packed.position, data)
            if packed.finished > self._moment.now - self._passivate_s:
                live.append(stored)
            elif packed.outbox or entity_id in busy or entity_id in self._changed:
                live.append(stored)
                heappush(self._finished, (self._moment.now, entity_id))
            else:
                cold.append(stored)
                self._live.pop(entity_id, None)
                self._packed.pop(entity_id, None)
                self._passivating[entity_id] = data
        covered = None
        if not self._pass:
            covered, self._covers = self._covers, None
        return Slice(live, cold, covered)

    def stored(self, write: SnapshotWrite) -> None:
        """A slice was written: its cold entities are in the cold store alone."""
        for stored in write.cold:
            self._passivating.pop(stored.entity_id, None)

    def not_stored(self, write: SnapshotWrite) -> None:
        """A slice could not be written: all of its pass belongs to the next one."""
        for stored in write.cold:
            data = self._keep(stored.entity_id)
            if data is not None:
                self._packed[stored.entity_id] = data
        for entity_id in (*(stored.entity_id for stored in write.live), *self._pass):
            self._changed[entity_id] = None
        self._pass, self._covers = [], None

    def _keep(self, entity_id: str) -> bytes | None:
        """The bytes of a passivating entity, which is so no more: a later pass may passivate it."""
        data = self._passivating.pop(entity_id, None)
        if data is not None:
            heappush(self._finished, (self._moment.now, entity_id))
        return data


def _pack(entity: Entity) -> bytes:
    return encode(
        Packed(
            entity.position,
            entity.wake,
            entity.finished,
            entity.sent,
            list(entity.outbox.values()),
            entity.answers,
            Raw(encode(entity.state)),
            entity.past,
        )
    )
