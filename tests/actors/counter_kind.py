"""A tiny kind with everything the engine offers, for the engine's own tests."""

from msgspec import Struct

from actors.engine.kind import NEVER, Answered, Ask, Context, Decision, Kind, Send, Tell, Wake
from domain.errors import Problem, Refused, error_of
from domain.message import Command, Event


class Add(Command, tag="counter.add.v1"):
    amount: int


class SetTo(Command, tag="counter.set_to.v1"):
    """Changes nothing where this is the total already."""

    total: int


class AddVia(Command, tag="counter.add_via.v1"):
    """Asks another counter to add first, then adds the same."""

    other: str
    amount: int


class SeeVia(Command, tag="counter.see_via.v1"):
    """Asks another counter to add, stores nothing here, and says what came of it."""

    other: str
    amount: int


class Pay(Command, tag="counter.pay.v1"):
    """Adds -amount here and owes another counter the same amount."""

    other: str
    amount: int
    wants_answer: bool = False


class Hint(Command, tag="counter.hint.v1"):
    other: str
    amount: int


class RemindAt(Command, tag="counter.remind_at.v1"):
    at: float
    pays: str = ""
    """The counter that is owed one when it is time."""


class Finish(Command, tag="counter.finish.v1"):
    at: float


class Get(Command, tag="counter.get.v1"):
    pass


class Explode(Command, tag="counter.explode.v1"):
    pass


class Overflow(Command, tag="counter.overflow.v1"):
    """Adds more than can be stored."""


class Both(Struct, array_like=True, frozen=True, tag="counter.both.v1"):
    """A reply: the other counter's total and this one's."""

    other: int
    here: int


class Added(Event, tag="counter.added.v1"):
    amount: int


class Reminded(Event, tag="counter.reminded.v1"):
    at: float | None
    pays: str = ""


class Finished(Event, tag="counter.finished.v1"):
    at: float


class Answer(Event, tag="counter.answer.v1"):
    text: str


class Count(Struct, array_like=True):
    total: int = 0
    remind_at: float = NEVER
    pays: str = ""
    reminders: int = 0
    finished: float = NEVER
    answers: list[str] = []


def decide(state: Count | None, command: object, context: Context) -> Decision | Ask:
    total = state.total if state else 0
    match command:
        case Add(amount):
            if amount == 0:
                raise Refused("nothing-to-add", "Send an amount other than 0.")
            return Decision([Added(amount)], reply=total + amount)
        case SetTo(wanted):
            return Decision([Added(wanted - total)] if wanted != total else [], reply=wanted)
        case AddVia(other, amount):
            if not context.answers:
                return Ask([(f"counter/{other}", Add(amount))], memo=amount)
            (answer,) = context.answers
            if isinstance(answer, Problem):
                raise error_of(answer)
            return Decision([Added(context.memo)], reply=Both(answer, total + amount))
        case SeeVia(other, amount):
            if not context.answers:
                return Ask([(f"counter/{other}", Add(amount))])
            return Decision(reply=Both(context.answers[0], total))
        case Pay(other, amount, wants_answer):
            send = Send(f"counter/{other}", Add(amount), wants_answer)
            return Decision([Added(-amount)], reply=total - amount, sends=[send])
        case Hint(other, amount):
            return Decision(tells=[Tell(f"counter/{other}", Add(amount))])
        case RemindAt(at, pays):
            return Decision([Reminded(at, pays)])
        case Finish(at):
            return Decision([Finished(at)])
        case Get():
            return Decision(reply=total)
        case Explode():
            raise ZeroDivisionError
        case Overflow():
            return Decision([Added(10**30)])
        case Wake():
            if state is None or state.remind_at > context.now:
                return Decision()
            sends = [Send(f"counter/{state.pays}", Add(1))] if state.pays else []
            return Decision([Reminded(None)], sends=sends)
        case Answered():
            problem = command.problem
            return Decision([Answer(problem.code if problem else str(command.answer))])
    raise AssertionError(command)


def evolve(state: Count | None, event: Event) -> Count:
    state = state or Count()
    match event:
        case Added(amount):
            state.total += amount
        case Reminded(None):
            state.remind_at = NEVER
            state.reminders += 1
        case Reminded(at, pays):
            state.remind_at, state.pays = at, pays
        case Finished(at):
            state.finished = at
        case Answer(text):
            state.answers.append(text)
    return state


COUNTER = Kind(
    name="counter",
    state=Count,
    commands=Add
    | SetTo
    | AddVia
    | SeeVia
    | Pay
    | Hint
    | RemindAt
    | Finish
    | Get
    | Explode
    | Overflow,
    events=Added | Reminded | Finished | Answer,
    replies=int | Both | None,
    decide=decide,
    evolve=evolve,
    wake_at=lambda state: state.remind_at,
    finished_at=lambda state: state.finished,
    answers_kept=4,
)
