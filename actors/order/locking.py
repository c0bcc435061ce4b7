"""Winning the stock for a set of lines: plan, lock, and when a race is lost, plan again.

One negotiation serves placing, reinstating and rerouting. It lives in ``Ask.memo`` between the
calls of ``decide``; nothing is stored until it has won. DOMAIN, Routing, rule 5.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

from actors.engine.kind import Ask, Context
from domain import routing
from domain.catalogue.model import ChannelPolicy
from domain.errors import Problem, Refused
from domain.geo import Position
from domain.inventory.commands import Lock, Release
from domain.inventory.events import Locked
from domain.message import Command
from domain.order import ids
from domain.order.events import Line
from domain.order.placing import Piece, lock_items, share_out

__all__ = ["ATTEMPTS_MAX", "Hold", "Quest", "begin", "resume"]

ATTEMPTS_MAX = 4
"""Plans tried in one request before the shortfall is told."""


@dataclass(slots=True)
class Hold:
    """One fulfilment that is (to be) locked."""

    fulfilment_id: str
    part: routing.Part
    pieces: list[Piece]
    lock: Lock
    left: tuple[tuple[str, int], ...] = ()
    """Sellable units at the store after the lock, by SKU."""


@dataclass(slots=True)
class Quest:
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
    check: Callable[[Sequence[Hold]], None] | None = None
    """Raises ``Refused`` if a plan is not what was agreed."""
    also: tuple[tuple[str, Command], ...] = ()
    """Permissions to ask for together with the first locks; they lapse if nothing is stored."""
    plan: list[Hold] = field(default_factory=list)
    """All fulfilments of the present plan."""
    held: list[Hold] = field(default_factory=list)
    asked: list[Hold] = field(default_factory=list)
    waiting: list[Hold] = field(default_factory=list)
    """To be locked once what is no longer wanted has been released."""
    attempt: int = 0
    read: int = 0
    """Answers already looked at."""
    learned: dict[str, dict[str, int]] = field(default_factory=dict)
    """Sellable units that locks have told: store, SKU, units."""
    problem: Problem | None = None
    """Set when given up."""


def begin(quest: Quest, context: Context) -> Ask:
    """Plan and ask for the first locks. Raises ``Refused`` when there is no plan."""
    quest.read = len(context.answers)
    quest.plan = quest.asked = _plan(quest, context)
    return Ask((*_locks(quest.asked), *quest.also), quest)


def resume(quest: Quest, context: Context) -> Ask | Quest | Problem:
    """What the answers mean: ask further, won (``plan`` is locked whole), or given up: whatever had
    been locked is released again and the problem says why."""
    if quest.problem is not None:
        return quest.problem
    if quest.waiting:
        quest = copy(quest)
        quest.read = len(context.answers)
        quest.asked, quest.waiting = quest.waiting, []
        return Ask(_locks(quest.asked), quest)
    answers = context.answers[quest.read :]
    held, lost = _sort(quest, answers)
    denied = _denied(answers[len(quest.asked) :])
    if not lost and denied is None:
        return quest
    quest = copy(quest)
    quest.held = held
    quest.read = len(context.answers)
    if denied is not None:
        return _give_up(quest, denied, lost)
    for _, problem in lost:
        if problem.retryable:
            return _give_up(quest, problem, lost)
    return _try_again(quest, lost, context)


Lost = list[tuple[Hold, Problem]]

LOCK_DIFFERS = "lock-differs"
"""An attempt whose outcome was never known locked other items under this id."""


def _sort(quest: Quest, answers: Sequence[object]) -> tuple[list[Hold], Lost]:
    """What is locked by now, and what was not."""
    held, lost = list(quest.held), []
    for hold, answer in zip(quest.asked, answers, strict=False):
        if isinstance(answer, Locked) and _same(answer, hold.lock):
            hold.left = tuple([(left.sku, left.sellable) for left in answer.left])
            held.append(hold)
        elif isinstance(answer, Problem):
            lost.append((hold, answer))
        else:
            lost.append((hold, Problem(LOCK_DIFFERS, "Another lock has this id.")))
    return held, lost


def _denied(answers: Sequence[object]) -> Problem | None:
    return next((answer for answer in answers if isinstance(answer, Problem)), None)


def _same(locked: Locked, lock: Lock) -> bool:
    return locked.items == lock.items or set(locked.items) == set(lock.items)


def _try_again(quest: Quest, lost: Lost, context: Context) -> Ask | Quest | Problem:
    quest.attempt += 1
    _learn(quest, lost)
    last = lost[0][1]
    if quest.attempt >= ATTEMPTS_MAX:
        return _give_up(quest, _shortfall(quest, last), lost)
    try:
        plan = _plan(quest, context)
    except Refused as refusal:
        return _give_up(quest, refusal.as_problem(), lost)
    kept = {hold.fulfilment_id for hold in plan}
    unwanted = [hold for hold in quest.held if hold.fulfilment_id not in kept]
    unwanted += [hold for hold, problem in lost if problem.code == LOCK_DIFFERS]
    held = {hold.fulfilment_id for hold in quest.held}
    quest.held = [hold for hold in plan if hold.fulfilment_id in held]
    quest.plan = plan
    wanted = [hold for hold in plan if hold.fulfilment_id not in held]
    if unwanted:
        quest.asked, quest.waiting = [], wanted
        return Ask(_releases(unwanted), quest)
    quest.asked = wanted
    return Ask(_locks(wanted), quest) if wanted else quest


def _give_up(quest: Quest, problem: Problem, lost: Lost) -> Ask | Problem:
    unsure = [hold for hold, why in lost if why.retryable or why.code == LOCK_DIFFERS]
    requests = _releases([*quest.held, *unsure])
    if not requests:
        return problem
    quest.problem = problem
    return Ask(requests, quest)


def _plan(quest: Quest, context: Context) -> list[Hold]:
    """A plan as fulfilments to lock; what is already held for the same items is kept."""
    if quest.first and not quest.attempt:
        parts: Sequence[routing.Part] = quest.first
    else:
        parts = routing.plan(
            quest.demands,
            _candidates(quest, context),
            quest.policy,
            excluded=quest.excluded,
            partial_ok=quest.partial_ok,
        )
    units = {demand.line_id: demand.quantity for demand in quest.demands}
    holds = []
    unused = list(quest.held)
    for part, pieces in zip(
        parts, share_out(quest.lines, units, parts, quest.next_line, quest.whole), strict=True
    ):
        items = lock_items(pieces)
        hold = _held(unused, part, items)
        if hold is None:
            fulfilment_id = ids.fulfilment_id(quest.order_id, quest.number)
            quest.number += 1
            lock = Lock(fulfilment_id, quest.order_id, items, quest.expires_at, quest.channel)
            hold = Hold(fulfilment_id, part, pieces, lock)
        else:
            unused.remove(hold)
            hold = replace(hold, part=part, pieces=pieces)
        holds.append(hold)
    if quest.check is not None:
        quest.check(holds)
    return holds


def _held(held: Sequence[Hold], part: routing.Part, items: object) -> Hold | None:
    store_id = part.store.store_id
    for hold in held:
        if hold.part.store.store_id == store_id and hold.lock.items == items:
            return hold
    return None


def _candidates(quest: Quest, context: Context) -> Iterable[routing.Candidate]:
    views = context.views
    if quest.store_id:
        candidate = views.candidate(quest.store_id, context.now, quest.position, quest.channel)
        if candidate is None:
            if quest.store_id not in views.stores:
                raise Refused("unknown-store", f"There is no store {quest.store_id}.")
            raise Refused("no-zone", f"Store {quest.store_id} does not deliver to this address.")
        found: Iterable[routing.Candidate] = [candidate]
    else:
        skus = [sku for demand in quest.demands for sku, _ in demand.stock]
        found = views.candidates(quest.position, skus, context.now, quest.channel)
    if not quest.learned:
        return found
    return [_corrected(candidate, quest.learned) for candidate in found]


def _corrected(
    candidate: routing.Candidate, learned: dict[str, dict[str, int]]
) -> routing.Candidate:
    told = learned.get(candidate.store.store_id)
    if not told:
        return candidate
    sellable = dict(candidate.sellable)
    sellable.update(told)
    return replace(candidate, sellable=sellable)


def _learn(quest: Quest, lost: Lost) -> None:
    """What the locks told of each store, what we hold there ourselves counted as free."""
    learned: dict[str, dict[str, int]] = {}
    for hold in quest.held:
        store = learned.setdefault(hold.part.store.store_id, {})
        for sku, sellable in hold.left:
            store[sku] = min(sellable, store.get(sku, sellable))
    for hold, problem in lost:
        store_id = hold.part.store.store_id
        short = problem.extra.get("short")
        if problem.code == "short-stock" and isinstance(short, dict):
            learned.setdefault(store_id, {}).update(short)
        elif problem.code != LOCK_DIFFERS:
            quest.excluded = {*quest.excluded, store_id}
    for hold in quest.held:
        store = learned[hold.part.store.store_id]
        for item in hold.lock.items:
            store[item.sku] = max(0, store.get(item.sku, 0)) + item.quantity
    quest.learned = {**quest.learned, **learned}


def _shortfall(quest: Quest, last: Problem) -> Problem:
    need: dict[str, int] = {}
    for hold in quest.asked:
        for item in hold.lock.items:
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


def _locks(holds: Iterable[Hold]) -> list[tuple[str, Command]]:
    return [(f"inventory/{hold.part.store.store_id}", hold.lock) for hold in holds]


def _releases(holds: Iterable[Hold]) -> list[tuple[str, Command]]:
    return [
        (
            f"inventory/{hold.part.store.store_id}",
            Release(hold.fulfilment_id, "the order was placed otherwise or not at all"),
        )
        for hold in holds
    ]
