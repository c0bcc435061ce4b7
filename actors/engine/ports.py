"""The engine's ports: what it needs from the outside, and what it offers to the service.

Adapters implement :class:`Journal`; the service uses :class:`Runtime`. Positions are dense record
numbers per shard, starting at 1; 0 is "before everything".
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from domain.message import Command

__all__ = [
    "JOURNAL_AWAY",
    "Append",
    "Clock",
    "Effect",
    "Entry",
    "Feed",
    "FeedRecord",
    "Journal",
    "JournalUnavailable",
    "Owed",
    "PartsWrite",
    "Record",
    "Runtime",
    "Shard",
    "SnapshotWrite",
    "Stored",
]  # fmt: skip

JOURNAL_AWAY = "journal-away"
"""Code of ``Unavailable`` when the journal cannot be reached."""


class Shard(NamedTuple):
    """One partition of one kind; the unit of journal, snapshot, placement and recovery."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.number}"


class Owed(Struct, array_like=True, frozen=True, gc=False):
    """An owed effect as stored: see :class:`actors.engine.kind.Send`."""

    id: str
    to: str
    command: Any
    wants_answer: bool = False


class Entry(Struct, array_like=True, frozen=True, gc=False):
    """What one command did to one entity. ``events`` are the kind's event structs."""

    entity: str
    """The entity's id (without its kind)."""
    events: tuple[Any, ...] = ()
    owed: tuple[Owed, ...] = ()
    settled: tuple[str, ...] = ()
    """Ids of owed effects that were acknowledged."""
    command_id: str = ""
    digest: int = 0
    reply: bytes = b""


class Record(Struct, array_like=True, frozen=True, gc=False):
    """One group commit: everything one batch changed in a shard, at service time ``at``."""

    at: float
    entries: tuple[Entry, ...]


class Stored(NamedTuple):
    """One entity as a snapshot holds it."""

    entity_id: str
    position: int
    """The state includes all records up to this one."""
    data: bytes


class Append(NamedTuple):
    """One fenced append: refused unless ``epoch`` is current and the head is ``position - 1``."""

    shard: Shard
    epoch: int
    position: int
    payload: bytes


class PartsWrite(NamedTuple):
    """Parts of one entity that are stored apart from it (see ``parts.py``)."""

    entity_id: str
    stored: Sequence[tuple[int, bytes]]
    """(number, part): what is stored under a number stays until it is dropped."""
    dropped: Sequence[int] | None
    """Numbers; None: all there are of the entity."""


class SnapshotWrite(NamedTuple):
    """A slice of a background snapshot. ``cold`` entities leave the snapshot for the cold store."""

    shard: Shard
    epoch: int
    live: Sequence[Stored]
    cold: Sequence[Stored]
    covered: int | None
    """When the pass is complete: every entity's snapshot includes all records up to this one."""
    lasting: bool = False
    """Cold entities of this shard are kept for ever; else the store may drop them in time."""
    parts: Sequence[PartsWrite] = ()


class JournalUnavailable(Exception):
    """The journal cannot be reached now; the outcome of the call is unknown; try again."""


class Journal(Protocol):
    """Durable, fenced, single-writer storage of shards. Conformance: tests/conformance."""

    async def claim(self, shard: Shard) -> tuple[int, int]:
        """Take the shard over: returns (new epoch, head position). Older writers are fenced."""
        ...

    async def append(self, appends: Sequence[Append]) -> set[Shard]:
        """Store all or none, durably, in one round trip; repeating what was stored is harmless.

        Returns the shards whose writer must stop (fenced): another one owns them, or the journal
        lacks records before these, having been restored to an earlier state. If there is one,
        nothing was stored.
        Raises JournalUnavailable: the outcome is unknown, repeat the same appends."""
        ...

    async def recover(self, shard: Shard) -> tuple[AsyncIterator[list[Stored]], int]:
        """The snapshot in pages, and the position from which :meth:`read` must continue."""
        ...

    async def load_parts(
        self, shard: Shard, entity_id: str, numbers: Sequence[int]
    ) -> list[bytes | None]:
        """Parts of an entity of the snapshot, in the order asked; None: it was dropped."""
        ...

    async def read(self, shard: Shard, after: int, count: int = 500) -> list[tuple[int, bytes]]:
        """(position, payload) of the records after ``after``, oldest first."""
        ...

    async def follow(
        self, cursors: Mapping[Shard, int], wait_s: float, count: int = 500
    ) -> list[tuple[Shard, int, bytes]]:
        """As ``read`` over many shards; waits up to ``wait_s`` for the first new record."""
        ...

    async def load_cold(self, shard: Shard, entity_ids: Sequence[str]) -> list[Stored]:
        """Passivated entities among those asked; the rest do not exist."""
        ...

    def cold_ids(self, shards: Sequence[Shard]) -> AsyncIterator[tuple[Shard, list[str]]]:
        """The ids of all passivated entities of these shards, in no order, some perhaps twice; of
        those that come or go meanwhile perhaps. Raises JournalUnavailable."""
        ...

    async def write_snapshot(self, write: SnapshotWrite) -> None:
        """Store a slice, all of it or nothing; that of a fenced writer is dropped. Raises
        JournalUnavailable."""
        ...

    async def mark_projected(self, shard: Shard, position: int) -> None:
        """The ledger has applied everything up to ``position``."""
        ...

    async def trim(self, shard: Shard) -> int:
        """Drop records both covered by snapshots and projected; returns the first kept position.
        The newest record always stays, so that a follower who slept sees that it missed some."""
        ...

    async def heads(self, shards: Sequence[Shard]) -> dict[Shard, int]:
        """The newest position of each shard."""
        ...

    async def ping(self) -> None:
        """Raises JournalUnavailable when away."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Clock(Protocol):
    """The service's clock. A scaled clock makes deadlines run faster, all at the same speed."""

    def now(self) -> float:
        """Seconds since the epoch in service time."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of service time."""
        ...

    @property
    def speed(self) -> float:
        """Service seconds per real second."""
        ...


Effect = Callable[[str, Command, str], Awaitable[Any]]
"""Handler of owed effects to the outside: (name, command, effect id) -> answer.

``Send(to="provider/sandbox")`` calls the handler registered for ``provider`` with name
``sandbox``. It raises ``Unavailable`` (or anything) to be called again later, ``Refused`` to end
it. The effect id is the same at each repeat: use it as the outside's idempotency key.
"""


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """One committed record of a shard, decoded once."""

    shard: Shard
    position: int
    record: Record
    """Its entries tell ``entity`` and ``events``; what only the owner needs may be missing."""


class Feed(Protocol):
    """The journals as a feed (ARCHITECTURE, Reads): for gateways, views and the projector."""

    def follow(
        self, shards: Sequence[Shard], after: Mapping[Shard, int]
    ) -> AsyncIterator[list[FeedRecord]]:
        """Batches of records after the given positions, for ever, oldest first per shard;
        outages of the journal are waited out."""
        ...

    async def states(self, shard: Shard) -> tuple[dict[str, Any], int]:
        """Every live entity's state (decoded) and the position it is current to: where to follow
        from. Finished entities that left memory are not included."""
        ...

    async def ended(self, shards: Sequence[Shard], tell: Callable[[list[str]], None]) -> None:
        """Tell the ids of all finished entities of these shards that left memory, some perhaps
        more than once; outages of the journal are waited out. It is a long walk."""
        ...


class Runtime(Protocol):
    """How the service talks to actors, whatever hosts them."""

    async def ask(
        self, to: str, command: Command, *, command_id: str, timeout_s: float = 10.0
    ) -> Any:
        """Deliver a command to ``"<kind>/<id>"`` and return the reply struct once it is durable.

        Raises ``Refused`` (terminal), ``Busy`` (a queue is full, nothing happened),
        ``Unavailable`` (code ``outcome-unknown`` or ``journal-away``: retry with the same id).
        """
        ...

    def tell(self, to: str, command: Command) -> None:
        """Deliver at most once, no answer."""
        ...

    @property
    def feed(self) -> Feed:
        """The committed events."""
        ...

    def shards_of(self, kind: str) -> Sequence[Shard]:
        """All shards of a kind."""
        ...

    async def close(self) -> None:
        """Finish what is in flight, then let go."""
        ...
