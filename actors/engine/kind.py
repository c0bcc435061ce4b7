"""What an actor kind is: the contract between business rules and the engine.

A kind is three pure functions and some facts. ``decide`` looks at an entity's state and a command
and says what should happen; ``evolve`` applies one event; ``wake_at`` tells when the entity wants
to be woken. Everything else (journal, snapshots, retries, timers, placement) is the engine's.

A newcomer's example, whole::

    class Add(Command, tag="counter.add.v1"):
        amount: int

    class Added(Event, tag="counter.added.v1"):
        amount: int

    def decide(state: int | None, command: Add, context: Context) -> Decision:
        if command.amount <= 0:
            raise Refused("amount-not-positive", "Send an amount of 1 or more.")
        return Decision([Added(command.amount)], reply=(state or 0) + command.amount)

    def evolve(state: int | None, event: Added) -> int:
        return (state or 0) + event.amount
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.errors import Problem
from domain.message import Command, Event
from domain.parts import Part

__all__ = [
    "NEVER", "Answered", "Ask", "Collection", "Context", "Decision", "Division", "Kind", "Send",
    "Tell", "Wake",
]  # fmt: skip

NEVER = float("inf")
"""A wake-up that is not wanted."""


@dataclass(frozen=True, slots=True)
class Send:
    """An effect that is **owed**: stored with the events, delivered at least once.

    ``to`` is ``"<kind>/<entity id>"`` (such as ``"store/s-1"``), or ``"<effect>/<name>"`` for the
    outside world (``"provider/sandbox"``, ``"notify/log"``). It is re-sent, also after a restart,
    until the receiver has answered durably. Receivers must therefore be idempotent.

    With ``wants_answer`` the receiver's answer comes back to ``decide`` as :class:`Answered`;
    without it a terminal refusal by the receiver only ends the re-sending (and is counted).
    """

    to: str
    command: Command
    wants_answer: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """A message that may be lost: at most once, not stored (a rider's position, a load figure)."""

    to: str
    command: Command


@dataclass(slots=True)
class Decision:
    """What a command leads to: events to store, an answer for whoever asked, effects owed.

    ``state`` is the state that the events lead to, where ``decide`` had to work it out (for its
    answer) on an object of its own: the host then takes it over and need not evolve it again.
    """

    events: Sequence[Event] = ()
    reply: Any = None
    sends: Sequence[Send] = ()
    tells: Sequence[Tell] = ()
    state: Any = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Not yet a decision: first ask other entities, then ``decide`` is called again.

    The requests go out at once, **before anything is stored**, so they must be idempotent and
    harmless if this entity dies now (a stock lock has an expiry). When all are answered,
    ``decide`` is called again with the same command, ``context.answers`` holding all answers so
    far in the order asked (a reply, or a :class:`domain.errors.Problem`) and ``context.memo`` what
    this Ask carried. Until then further commands for this entity wait.

    Asks point one way only: order -> inventory, store, customer; rider -> dispatch, store.
    Inventory, store, dispatch and customer never ask; they Send.
    """

    requests: Sequence[tuple[str, Command]]
    memo: Any = None


@dataclass(frozen=True, slots=True)
class Context:
    """All that ``decide`` may know beside state and command. Nothing here does I/O."""

    now: float
    """Seconds since the epoch, by the service's clock."""
    entity_id: str
    command_id: str
    sender: str = ""
    """``"<kind>/<id>"`` of the entity that sent the command, "" for the outside."""
    views: Any = None
    """Read models that the runtime keeps current (see ``actors.views.Views``)."""
    answers: tuple[Any, ...] = ()
    memo: Any = None


class Wake(Command, tag="engine.wake.v1"):
    """The entity's timer fired. May come late or twice: check the state against ``now``."""


class Answered(Command, tag="engine.answered.v1"):
    """The answer to an owed :class:`Send` that wanted one."""

    to: str
    command: Any
    """The command that was sent."""
    answer: Any
    """The receiver's reply as its kind returned it, or a Problem."""

    @property
    def problem(self) -> Problem | None:
        """The refusal, if it was one."""
        return self.answer if isinstance(self.answer, Problem) else None


class Collection(Protocol):
    """A collection that is kept in parts, such as ``domain.parts.Paged`` and ``History``."""

    pages: Any
    """A list of :class:`domain.parts.Part`."""


@dataclass(frozen=True, slots=True)
class Division:
    """How the states of a kind are divided: a snapshot stores what changed of them since the last
    one, a few parts at a time. For kinds whose states may have tens of thousands of entries."""

    collections: Callable[[Any], Sequence[Collection]]
    """The state's collections, always the same ones in the same order."""
    pages: tuple[type[Part], ...]
    """The type of each one's parts. A state without them is small."""
    rejoin: Callable[[Any], None] = lambda _state: None
    """Called when a state that was read has got its parts: works out what is not stored."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One actor kind. ``S`` below stands for its state struct (msgspec, mutable, array_like).

    - ``decide(state: S | None, command, context) -> Decision | Ask``; raises ``Refused``/``Busy``.
      Pure; must not change ``state``. ``state`` is None until the first event.
    - ``evolve(state: S | None, event) -> S``; may change ``state`` in place; never fails on valid
      history; looks at nothing but its arguments.
    - ``wake_at(state: S) -> float``: when ``Wake`` should be sent, :data:`NEVER` for never. Called
      after every change; must be O(1) or nearly.
    - ``finished_at(state: S) -> float``: the time since which the entity is in a final state, or
      NEVER. Finished entities are passivated some time later (and reactivated when addressed).
    """

    name: str
    state: type
    commands: Any
    """Union of command structs (each with a tag)."""
    events: Any
    """Union of event structs (each with a tag)."""
    replies: Any
    """Union of reply structs (each with a tag) and scalars that ``Decision.reply`` may hold."""
    decide: Callable[[Any, Any, Context], Decision | Ask]
    evolve: Callable[[Any, Any], Any]
    wake_at: Callable[[Any], float] = lambda _state: NEVER
    finished_at: Callable[[Any], float] = lambda _state: NEVER
    upcasters: dict[str, Callable[[list[Any]], list[Any]]] = field(default_factory=dict)
    """Old stored name -> function from its raw array to the raw array of the next name."""
    lasting: bool = False
    """Entities in the cold store are kept for ever; else, being in a final state, they may be
    dropped in time: the books have their history."""
    never_packed: bool = False
    """Few entities, each large or busy: they stay objects in memory. Of other kinds, whatever
    nobody touches for a moment is kept as bytes, which saves most of its memory (see
    ``entities.py``)."""
    division: Division | None = None
    """How large states are stored in parts; such a kind is ``never_packed``."""
    answers_kept: int = 64
    """How many answers per entity are kept to answer repeated command ids: of commands with a key
    from outside, also where they changed nothing, and apart from them of all others. Of those with
    a key the digest is kept for a day longer: a repeat is then told that it was done, another body
    under the same id is told apart (see ``Entity.faded``)."""
