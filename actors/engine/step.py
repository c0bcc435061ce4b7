"""What goes into a host and what comes out of it: arrivals, and the step that they lead to."""

from typing import Any, NamedTuple

from msgspec import Struct, field

from actors.engine.ports import Record
from domain.errors import Problem

__all__ = [
    "Arrival",
    "AskAnswered",
    "Deliver",
    "Moment",
    "Outgoing",
    "Reply",
    "Settled",
    "Step",
]  # fmt: skip


class Deliver(NamedTuple):
    """A command for an entity. ``handle`` is given back with the reply; None wants none.

    An empty ``command_id`` is never deduplicated (questions and tells: idempotent by themselves);
    ``digest``, of commands from outside with an id, tells another body under the same id.
    """

    entity: str
    command: Any
    command_id: str
    digest: int
    sender: str
    handle: Any


class AskAnswered(NamedTuple):
    """The answer to a question this shard asked: a reply, or a Problem."""

    ask_id: str
    answer: Any


class Settled(NamedTuple):
    """The receiver of an owed effect has answered durably: a reply, or a Problem."""

    entity: str
    owed_id: str
    answer: Any


Arrival = Deliver | AskAnswered | Settled


class Outgoing(NamedTuple):
    """A message for another entity or the outside. ``ask_id``/``owed_id`` tell what it is."""

    to: str
    command: Any
    sender: str
    entity: str = ""
    ask_id: str = ""
    owed_id: str = ""
    after: int = 0
    """It may leave only once this position is on disk: of an owed effect that is sent again."""


class Reply(NamedTuple):
    """What a command is answered once the record at ``position`` is on disk (0: at once)."""

    position: int
    handle: Any
    """As it came with the command (see :class:`Deliver`)."""
    body: bytes | Problem


class Step(Struct):
    """What one batch leads to."""

    record: Record | None = None
    payload: bytes = b""
    """``record`` as it is stored."""
    position: int = 0
    """Position of ``record``."""
    now: list[Outgoing] = field(default_factory=list)
    """Questions and tells: sent at once, before anything is stored. Owed effects that were not
    answered in time: sent again, unless what owes them is still on its way to disk (``after``)."""
    later: list[Outgoing] = field(default_factory=list)
    """Owed effects of this step: sent once ``position`` is on disk."""
    replies: list[Reply] = field(default_factory=list)


class Moment:
    """The time of the step under way, for the host and its parts: none of them reads a clock."""

    __slots__ = ("now", "real")

    def __init__(self) -> None:
        self.now = 0.0
        """Service time: seconds since the epoch. What rules and timers go by."""
        self.real = 0.0
        """Real seconds, of any origin. What pauses before repeating go by."""
