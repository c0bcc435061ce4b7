"""One customer's short record: what the rules of cash on delivery, of newcomers and of risk need,
and nothing else."""

from typing import TypeAlias, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from domain.customer.commands import Standing
from domain.customer.events import (
    CodReserved,
    NewcomerReserved,
    OrderRecorded,
    OutcomeRecorded,
)
from domain.errors import Refused

__all__ = [
    "CORRECTIONS_MAX", "CORRECTION_S", "EXPIRED_S", "OPEN_MAX", "OUTCOMES", "RECENT_MAX",
    "RESERVED_S", "CustomerEvent", "CustomerState", "Heard", "abandoned", "check_cod",
    "check_newcomer", "evolve", "idle_since", "record_order", "record_outcome", "standing",
]  # fmt: skip

OUTCOMES = ("completed", "cancelled", "refused", "void", "expired", "lapsed", "abandoned")
RECENT_MAX = 32
"""How many finished orders are remembered, so that a repeated message counts once."""

OPEN_MAX = 200
"""Most open orders one record holds; beyond it the oldest is taken for finished."""
RESERVED_S = 900.0
"""A reservation counts so long unless its order is recorded: the order may have been refused for
another reason after the check, and then nothing tells."""
EXPIRED_S = 7 * 86_400.0
"""An order that was left unpaid is held against its customer for so long."""
CORRECTION_S = 60.0
"""Who cancels an unpaid order sooner may have been correcting the cart ..."""
CORRECTIONS_MAX = 3
"""... so often within ``EXPIRED_S``."""

CustomerEvent: TypeAlias = CodReserved | NewcomerReserved | OrderRecorded | OutcomeRecorded


class Heard(Struct, frozen=True, array_like=True, gc=False):
    """What was heard of one order. Its notices are owed one by one, each sent again until it is
    taken: what they amount to must not depend on the order in which they arrive."""

    recorded: bool = False
    """It was placed and confirmed."""
    lapsed: bool = False
    """It was not paid in time; if it was recorded, then for a late payment."""
    void: tuple[str, ...] = ()
    """Its claims that came to nothing."""

    @property
    def counts(self) -> bool:
        """Whether it is one of the customer's orders: what was recorded did not come to nothing.
        Of an order that lapsed, the first void claim is the one that was not paid in time."""
        return self.recorded and len(self.void) <= self.lapsed


class CustomerState(Struct, array_like=True, gc=False):
    """``open`` maps placed orders to whether they are paid in cash."""

    open: dict[str, bool] = field(default_factory=dict)
    reserved: dict[str, float] = field(default_factory=dict)
    """Orders allowed cash and not yet recorded, with the time of the check."""
    orders: int = 0
    completed: int = 0
    refusals: int = 0
    """COD deliveries refused at the door."""
    recent: list[str] = field(default_factory=list)
    """The last finished orders, newest last."""
    first: str = ""
    """The order that may be (or was) this customer's first as a newcomer ..."""
    first_at: float = 0.0
    """... when that was allowed ..."""
    expired: dict[str, float] = field(default_factory=dict)
    """The last orders that expired unpaid, with the time, oldest first."""
    changed_at: float = 0.0
    """When something was last recorded."""
    first_until: float = 0.0
    """... until when no other may be, unless it is recorded ..."""
    first_after: str = ""
    """... and the claim that it had before, which came to nothing."""
    heard: dict[str, Heard] = field(default_factory=dict)
    """Orders of which ``open``, ``recent`` and ``expired`` do not tell all, oldest first."""
    abandoned: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The last orders that were cancelled unpaid, oldest first: when, and how long they held
    stock, seconds."""

    def open_cod(self, now: float) -> int:
        """Orders open or reserved that are to be paid in cash."""
        fresh = sum(now - at < RESERVED_S for at in self.reserved.values())
        return fresh + sum(self.open.values())


def check_cod(
    state: CustomerState, order_id: str, refusals_max: int, open_max: int, now: float
) -> list[CustomerEvent]:
    """Reserve one open COD order (DOMAIN, Payment: COD by customer history); repeating it changes
    nothing. Raises ``Refused`` with ``cod-denied`` and ``rule``: ``finished`` (the order has
    ended), ``refusals`` or ``open-orders``."""
    if state.open.get(order_id) or now - state.reserved.get(order_id, -RESERVED_S) < RESERVED_S:
        return []
    if order_id in state.recent:
        raise Refused("cod-denied", "This order has ended. Place a new one.", rule="finished")
    if state.refusals >= refusals_max:
        raise Refused(
            "cod-denied",
            "Cash deliveries were refused at the door before. Pay online instead.",
            rule="refusals",
        )
    if state.open_cod(now) >= open_max:
        raise Refused(
            "cod-denied",
            "Too many open orders are to be paid in cash. Pay online, or wait for one to arrive.",
            rule="open-orders",
        )
    return [CodReserved(order_id, now)]


def check_newcomer(
    state: CustomerState, order_id: str, until: float, instead_of: str, now: float
) -> list[CustomerEvent]:
    """Reserve the newcomer's privilege (DOMAIN, Group-buy: members without an earlier order);
    repeating it changes nothing. Raises ``Refused`` with ``not-newcomer``."""
    until = until or now + RESERVED_S
    mine, held = state.first == order_id, now < state.first_until
    if mine and order_id in state.open:
        return []
    if mine and held and until <= state.first_until and instead_of in ("", state.first_after):
        return []
    if state.orders > (order_id in state.open):
        raise Refused("not-newcomer", "This group is for new customers. Join or open another.")
    if state.first and held and not mine:
        raise Refused("not-newcomer", "Another first order of this customer is being paid for.")
    if mine:
        until = max(until, state.first_until)
        instead_of = instead_of or state.first_after
    return [NewcomerReserved(order_id, now, until, instead_of)]


def record_order(state: CustomerState, order_id: str, cod: bool, now: float) -> list[CustomerEvent]:
    """An order was placed; told again, nothing changes. Told after its end it counts, but is not
    open again."""
    return [] if _heard(state, order_id).recorded else [OrderRecorded(order_id, cod, now)]


def idle_since(state: CustomerState) -> float:
    """Since when nothing of this customer is open; infinity while an order is."""
    if state.open:
        return float("inf")
    asked = max(state.reserved.values(), default=0.0)
    return max(state.changed_at, asked + RESERVED_S if asked else 0.0)


def standing(state: CustomerState, now: float) -> Standing:
    """How the customer has behaved lately."""
    expired = sum(now - at < EXPIRED_S for at in state.expired.values())
    return Standing(state.orders, expired, state.refusals, abandoned(state, now))


def abandoned(state: CustomerState, now: float) -> int:
    """Unpaid orders that the customer cancelled within the last 7 days and that count as holding
    stock without paying (DOMAIN, Members, risk): each that held it for a minute or longer. Of the
    shorter ones three are taken for carts that were corrected, and every further one counts:
    whoever orders and cancels again and again keeps the stock from others, too."""
    held = [held_s for at, held_s in state.abandoned.values() if now - at < EXPIRED_S]
    short = sum(held_s < CORRECTION_S for held_s in held)
    return len(held) - min(short, CORRECTIONS_MAX)


def record_outcome(
    state: CustomerState,
    order_id: str,
    outcome: str,
    now: float,
    claim_id: str = "",
    held_s: float = 0.0,
) -> list[CustomerEvent]:
    """An order ended, once; one that expired may still be paid late, and is forgiven then. Each of
    its claims comes to nothing once, also when that is heard only after the end; what is heard of
    a claim that was not paid in time does not undo a late payment. Raises ``Refused`` with
    ``wrong-outcome``."""
    if outcome not in OUTCOMES:
        raise Refused("wrong-outcome", f"The outcome is one of {', '.join(OUTCOMES)}.")
    heard = _heard(state, order_id)
    match outcome:
        case "void" if claim_id:
            told = claim_id in heard.void
        case "void":  # a release that did not say which: what counts, or may be the first
            told = not heard.counts and state.first != order_id
        case "expired":
            told = order_id in state.expired or (heard.recorded and heard.lapsed)
        case "lapsed":
            told = heard.lapsed
        case "abandoned":
            told = order_id in state.abandoned
        case _:
            told = order_id in state.recent
    return [] if told else [OutcomeRecorded(order_id, outcome, now, claim_id, held_s)]


def evolve(state: CustomerState | None, event: CustomerEvent) -> CustomerState:
    """Apply one event in place."""
    if state is None:
        state = CustomerState()
    state.changed_at = max(state.changed_at, event.at)
    match event:
        case CodReserved(order_id, at):
            stale = [name for name, since in state.reserved.items() if at - since >= RESERVED_S]
            for name in stale:
                del state.reserved[name]
            state.reserved[order_id] = at
        case NewcomerReserved(order_id, at, until, instead_of):
            state.first, state.first_at = order_id, at
            state.first_until, state.first_after = until or at + RESERVED_S, instead_of
            if instead_of:
                heard = _with_void(_heard(state, order_id), instead_of)
                _hear(state, order_id, replace(heard, lapsed=True))
        case OrderRecorded(order_id, cod):
            state.reserved.pop(order_id, None)
            _hear(state, order_id, replace(_heard(state, order_id), recorded=True), cod)
        case OutcomeRecorded(order_id, "void", _, claim_id):
            _hear(state, order_id, _with_void(_heard(state, order_id), claim_id))
            if state.first == order_id:
                state.first, state.first_at = "", 0.0
                state.first_until, state.first_after = 0.0, ""
        case OutcomeRecorded(order_id, "expired", at):
            heard = _heard(state, order_id)
            state.expired[order_id] = at
            _hear(state, order_id, replace(heard, lapsed=True))
            if len(state.expired) > RECENT_MAX:
                del state.expired[next(iter(state.expired))]
        case OutcomeRecorded(order_id, "lapsed"):
            _hear(state, order_id, replace(_heard(state, order_id), lapsed=True))
        case OutcomeRecorded(order_id, "abandoned", at, _, held_s):
            state.abandoned[order_id] = at, held_s
            if len(state.abandoned) > RECENT_MAX:
                del state.abandoned[next(iter(state.abandoned))]
        case OutcomeRecorded(order_id, outcome):
            state.reserved.pop(order_id, None)
            state.completed += outcome == "completed"
            state.refusals += outcome == "refused"
            _finish(state, order_id)
        case _:
            assert_never(event)
    return state


def _heard(state: CustomerState, order_id: str) -> Heard:
    """What was heard of the order. Of most, the other fields tell: an order that ended was recorded
    before."""
    told = Heard(order_id in state.open or order_id in state.recent, order_id in state.expired)
    return state.heard.get(order_id, told)


def _hear(state: CustomerState, order_id: str, heard: Heard, cod: bool = False) -> None:
    """More was heard of the order: it counts, and is open, as all of that says."""
    state.orders += heard.counts - _heard(state, order_id).counts
    if heard.recorded:
        state.expired.pop(order_id, None)
    if not heard.counts or order_id in state.recent:
        state.open.pop(order_id, None)
    else:
        # What counts again although a claim was void is no cash: campaigns are paid online.
        state.open.setdefault(order_id, cod)
        if len(state.open) > OPEN_MAX:
            del state.open[next(iter(state.open))]
    _keep(state, order_id, heard)


def _finish(state: CustomerState, order_id: str) -> None:
    """The order has ended; whether it was recorded, and counts, is another question."""
    heard = _heard(state, order_id)
    state.open.pop(order_id, None)
    for forgotten in state.recent[: 1 - RECENT_MAX]:
        state.heard.pop(forgotten, None)
    state.recent = [*state.recent[1 - RECENT_MAX :], order_id]
    _keep(state, order_id, heard)


def _keep(state: CustomerState, order_id: str, heard: Heard) -> None:
    """Remember what the other fields do not tell."""
    state.heard.pop(order_id, None)
    if heard != _heard(state, order_id):
        state.heard[order_id] = heard
        if len(state.heard) > RECENT_MAX:
            del state.heard[next(iter(state.heard))]


def _with_void(heard: Heard, claim_id: str) -> Heard:
    """One more of its claims came to nothing. An older release did not say which, only when it was
    of the order that is recorded: both, in case it had lapsed before."""
    if claim_id:
        return heard if claim_id in heard.void else replace(heard, void=(*heard.void, claim_id))
    return replace(heard, void=("", "")) if heard.recorded else heard
