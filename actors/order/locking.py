"""Winning the stock for a set of lines: plan, lock, and when a race is lost, plan again.

One negotiation serves placing, reinstating and rerouting. It lives in ``Ask.memo`` between the
calls of ``decide``; nothing is stored until it has won. DOMAIN, Routing, rule 5.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TypeVar

from actors.engine.kind import Ask, Context
from domain import routing
from domain.catalogue.model import ChannelPolicy
from domain.errors import Problem, Refused, error_of
from domain.geo import Position
from domain.inventory.commands import Lock, Release
from domain.inventory.events import Locked
from domain.message import Command
from domain.order import ids
from domain.order.events import Line
from domain.order.placing import ServedPart, share_out, stock_items

__all__ = ["ATTEMPTS_MAX", "LockedPart", "StockSearch", "negotiate"]

T = TypeVar("T")

ATTEMPTS_MAX = 4
"""Plans tried in one request before the shortfall is told."""


@dataclass(slots=True)
class LockedPart(ServedPart):
    """A part that is (to be) locked at its store."""

    lock: Lock
    left: tuple[tuple[str, int], ...] = ()
    """Sellable units at the store after the lock, by SKU."""


@dataclass(slots=True)
class StockSearch:
    """What is sought, and how far the search is. Once won, ``plan`` is the outcome."""

    order_id: str
    channel: str
    lines: Sequence[Line]
    demands: Sequence[routing.Demand]
    policy: ChannelPolicy
    position: Position | None
    """Where to deliver; None for self-pickup."""
    store_id: str
    """The only store allowed, or empty."""
    expires_at: float
    number: int
    """The next fulfilment number."""
    next_line: int
    """The next line number, for lines that must be divided."""
    excluded: Collection[str] = ()
    whole: Collection[str] = ()
    """Lines that must not be divided."""
    partial_ok: bool = False
    first: Sequence[routing.Part] = ()
    """A plan to try before routing is asked."""
    check: Callable[[Sequence[LockedPart]], None] | None = None
    """Raises ``Refused`` if a plan is not what was agreed."""
    also: tuple[tuple[str, Command], ...] = ()
    """Permissions to ask for together with the first locks; they lapse if nothing is stored."""
    plan: list[LockedPart] = field(default_factory=list)
    """All fulfilments of the present plan."""
    held: list[LockedPart] = field(default_factory=list)
    asked: list[LockedPart] = field(default_factory=list)
    waiting: list[LockedPart] = field(default_factory=list)
    """To be locked once what is no longer wanted has been released."""
    attempt: int = 0
    read: int = 0
    """Answers already looked at."""
    learned: dict[str, dict[str, int]] = field(default_factory=dict)
    """Sellable units that locks have told: store, SKU, units."""
    problem: Problem | None = None
    """Set when given up."""


def negotiate(
    make: Callable[[T, Context], StockSearch], subject: T, context: Context
) -> Ask | StockSearch | Problem:
    """Begin the search that ``make`` makes of ``subject``, or go on with the one under way.

    Ask further; or it is won: its ``plan`` is locked whole; or it is given up: whatever had been
    locked is released again, and the problem, which is final, says why. A refusal to search or to
    plan is such a problem, too. Raises what may be tried again.
    """
    search = context.memo
    if not isinstance(search, StockSearch):
        try:
            return _begin(make(subject, context), context)
        except Refused as refusal:
            return refusal.as_problem()
    outcome = _resume(search, context)
    if isinstance(outcome, Problem) and outcome.retryable:
        raise error_of(outcome)
    return outcome


def _begin(search: StockSearch, context: Context) -> Ask:
    search.read = len(context.answers)
    search.plan = search.asked = _plan(search, context)
    return Ask((*_locks(search.asked), *search.also), search)


def _resume(search: StockSearch, context: Context) -> Ask | StockSearch | Problem:
    if search.problem is not None:
        return search.problem
    if search.waiting:
        search = copy(search)
        search.read = len(context.answers)
        search.asked, search.waiting = search.waiting, []
        return Ask(_locks(search.asked), search)
    answers = context.answers[search.read :]
    held, lost = _sort(search, answers)
    denied = _denied(answers[len(search.asked) :])
    if not lost and denied is None:
        return search
    search = copy(search)
    search.held = held
    search.read = len(context.answers)
    if denied is not None:
        return _give_up(search, denied, lost)
    for _, problem in lost:
        if problem.retryable:
            return _give_up(search, problem, lost)
    return _try_again(search, lost, context)


Lost = list[tuple[LockedPart, Problem]]

LOCK_DIFFERS = "lock-differs"
"""An attempt whose outcome was never known locked other items under this id."""


def _sort(search: StockSearch, answers: Sequence[object]) -> tuple[list[LockedPart], Lost]:
    """What is locked by now, and what was not."""
    held, lost = list(search.held), []
    for locked, answer in zip(search.asked, answers, strict=False):
        if isinstance(answer, Locked) and _same(answer, locked.lock):
            locked.left = tuple([(left.sku, left.sellable) for left in answer.left])
            held.append(locked)
        elif isinstance(answer, Problem):
            lost.append((locked, answer))
        else:
            lost.append((locked, Problem(LOCK_DIFFERS, "Another lock has this id.")))
    return held, lost


def _denied(answers: Sequence[object]) -> Problem | None:
    return next((answer for answer in answers if isinstance(answer, Problem)), None)


def _same(locked: Locked, lock: Lock) -> bool:
    return locked.items == lock.items or set(locked.items) == set(lock.items)


def _try_again(search: StockSearch, lost: Lost, context: Context) -> Ask | StockSearch | Problem:
    search.attempt += 1
    _learn(search, lost)
    last = lost[0][1]
    if search.attempt >= ATTEMPTS_MAX:
        return _give_up(search, _shortfall(search, last), lost)
    try:
        plan = _plan(search, context)
    except Refused as refusal:
        return _give_up(search, refusal.as_problem(), lost)
    kept = {locked.fulfilment_id for locked in plan}
    unwanted = [locked for locked in search.held if locked.fulfilment_id not in kept]
    unwanted += [locked for locked, problem in lost if problem.code == LOCK_DIFFERS]
    held = {locked.fulfilment_id for locked in search.held}
    search.held = [locked for locked in plan if locked.fulfilment_id in held]
    search.plan = plan
    wanted = [locked for locked in plan if locked.fulfilment_id not in held]
    if unwanted:
        search.asked, search.waiting = [], wanted
        return Ask(_releases(unwanted), search)
    search.asked = wanted
    return Ask(_locks(wanted), search) if wanted else search


def _give_up(search: StockSearch, problem: Problem, lost: Lost) -> Ask | Problem:
    unsure = [locked for locked, why in lost if why.retryable or why.code == LOCK_DIFFERS]
    requests = _releases([*search.held, *unsure])
    if not requests:
        return problem
    search.problem = problem
    return Ask(requests, search)


def _plan(search: StockSearch, context: Context) -> list[LockedPart]:
    """A plan as fulfilments to lock; what is already held for the same items is kept."""
    if search.first and not search.attempt:
        parts: Sequence[routing.Part] = search.first
    else:
        parts = routing.plan(
            search.demands,
            _candidates(search, context),
            search.policy,
            excluded=search.excluded,
            partial_ok=search.partial_ok,
        )
    units = {demand.line_id: demand.quantity for demand in search.demands}
    planned = []
    unused = list(search.held)
    for part, pieces in zip(
        parts, share_out(search.lines, units, parts, search.next_line, search.whole), strict=True
    ):
        items = stock_items(pieces)
        locked = _held(unused, part, items)
        if locked is None:
            fulfilment_id = ids.fulfilment_id(search.order_id, search.number)
            search.number += 1
            lock = Lock(fulfilment_id, search.order_id, items, search.expires_at, search.channel)
            locked = LockedPart(fulfilment_id, part, pieces, lock)
        else:
            unused.remove(locked)
            locked = replace(locked, part=part, pieces=pieces)
        planned.append(locked)
    if search.check is not None:
        search.check(planned)
    return planned


def _held(held: Sequence[LockedPart], part: routing.Part, items: object) -> LockedPart | None:
    store_id = part.store.store_id
    for locked in held:
        if locked.part.store.store_id == store_id and locked.lock.items == items:
            return locked
    return None


def _candidates(search: StockSearch, context: Context) -> Iterable[routing.Candidate]:
    views = context.views
    if search.store_id:
        candidate = views.candidate(search.store_id, context.now, search.position, search.channel)
        if candidate is None:
            if search.store_id not in views.stores:
                raise Refused("unknown-store", f"There is no store {search.store_id}.")
            raise Refused("no-zone", f"Store {search.store_id} does not deliver to this address.")
        found: Iterable[routing.Candidate] = [candidate]
    else:
        skus = [sku for demand in search.demands for sku, _ in demand.stock]
        found = views.candidates(search.position, skus, context.now, search.channel)
    if not search.learned:
        return found
    return [_corrected(candidate, search.learned) for candidate in found]


def _corrected(
    candidate: routing.Candidate, learned: dict[str, dict[str, int]]
) -> routing.Candidate:
    told = learned.get(candidate.store.store_id)
    if not told:
        return candidate
    sellable = dict(candidate.sellable)
    sellable.update(told)
    return replace(candidate, sellable=sellable)


def _learn(search: StockSearch, lost: Lost) -> None:
    """What the locks told of each store, what we locked there ourselves counted as free."""
    learned: dict[str, dict[str, int]] = {}
    for locked in search.held:
        store = learned.setdefault(locked.part.store.store_id, {})
        for sku, sellable in locked.left:
            store[sku] = min(sellable, store.get(sku, sellable))
    for locked, problem in lost:
        store_id = locked.part.store.store_id
        short = problem.extra.get("short")
        if problem.code == "short-stock" and isinstance(short, dict):
            learned.setdefault(store_id, {}).update(short)
        elif problem.code != LOCK_DIFFERS:
            search.excluded = {*search.excluded, store_id}
    for locked in search.held:
        store = learned[locked.part.store.store_id]
        for item in locked.lock.items:
            store[item.sku] = max(0, store.get(item.sku, 0)) + item.quantity
    search.learned = {**search.learned, **learned}


def _shortfall(search: StockSearch, last: Problem) -> Problem:
    need: dict[str, int] = {}
    for locked in search.asked:
        for item in locked.lock.items:
            need[item.sku] = need.get(item.sku, 0) + item.quantity
    short = last.extra.get("short")
    if last.code != "short-stock" or not isinstance(short, dict):
        return last
    missing = {sku: max(1, need.get(sku, 0) - have) for sku, have in short.items()}
    return Problem(
        "short-stock",
        f"Sold out while ordering: {', '.join(missing)}. Reduce the quantity or remove it.",
        extra={"short": missing, "reason": "stock"},
    )


def _locks(planned: Iterable[LockedPart]) -> list[tuple[str, Command]]:
    return [(f"inventory/{locked.part.store.store_id}", locked.lock) for locked in planned]


def _releases(planned: Iterable[LockedPart]) -> list[tuple[str, Command]]:
    return [
        (
            f"inventory/{locked.part.store.store_id}",
            Release(locked.fulfilment_id, "the order was placed otherwise or not at all"),
        )
        for locked in planned
    ]
