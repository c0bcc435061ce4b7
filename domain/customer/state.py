"""One customer's short record: what the rules of cash on delivery, of newcomers and of risk need,
and nothing else."""

from typing import TypeAlias, assert_never

from msgspec import Struct, field

from domain.customer.commands import Standing
from domain.customer.events import (
    CodReserved,
    NewcomerReserved,
    OrderRecorded,
    OutcomeRecorded,
)
from domain.errors import Refused

__all__ = [
    "EXPIRED_S", "OPEN_MAX", "OUTCOMES", "RECENT_MAX", "RESERVED_S", "CustomerEvent",
    "CustomerState", "check_cod", "check_newcomer", "evolve", "idle_since", "record_order",
    "record_outcome", "standing",
]  # fmt: skip

OUTCOMES = ("completed", "cancelled", "refused", "void", "expired")
RECENT_MAX = 32
"""How many finished orders are remembered, so that a repeated message counts once."""

OPEN_MAX = 200
"""Most open orders one record holds; beyond it the oldest is taken for finished."""
RESERVED_S = 900.0
"""A reservation counts so long unless its order is recorded: the order may have been refused for
another reason after the check, and then nothing tells."""
EXPIRED_S = 7 * 86_400.0
"""An order that expired unpaid is held against its customer for so long."""

CustomerEvent: TypeAlias = CodReserved | NewcomerReserved | OrderRecorded | OutcomeRecorded


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
    """An order was placed; told again, or after its end, nothing changes."""
    if order_id in state.open or order_id in state.recent:
        return []
    return [OrderRecorded(order_id, cod, now)]


def idle_since(state: CustomerState) -> float:
    """Since when nothing of this customer is open; infinity while an order is."""
    if state.open:
        return float("inf")
    asked = max(state.reserved.values(), default=0.0)
    return max(state.changed_at, asked + RESERVED_S if asked else 0.0)


def standing(state: CustomerState, now: float) -> Standing:
    """How the customer has behaved lately."""
    expired = sum(now - at < EXPIRED_S for at in state.expired.values())
    return Standing(state.orders, expired, state.refusals)


def record_outcome(
    state: CustomerState, order_id: str, outcome: str, now: float, claim_id: str = ""
) -> list[CustomerEvent]:
    """An order ended, once; one that expired may still be paid late, and is forgiven then: what is
    heard of its old claim only after that changes nothing. Raises ``Refused`` with
    ``wrong-outcome``."""
    if outcome not in OUTCOMES:
        raise Refused("wrong-outcome", f"The outcome is one of {', '.join(OUTCOMES)}.")
    if outcome == "void" and order_id not in state.open and state.first != order_id:
        return []
    if outcome == "void" and state.first == order_id and claim_id and claim_id == state.first_after:
        return []
    if outcome == "expired" and (order_id in state.expired or order_id in state.open):
        return []
    return [] if order_id in state.recent else [OutcomeRecorded(order_id, outcome, now)]


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
        case OrderRecorded(order_id, cod):
            state.reserved.pop(order_id, None)
            state.expired.pop(order_id, None)
            state.open[order_id] = cod
            state.orders += 1
            if len(state.open) > OPEN_MAX:
                del state.open[next(iter(state.open))]
        case OutcomeRecorded(order_id, "void"):
            state.orders -= state.open.pop(order_id, None) is not None
            if state.first == order_id:
                state.first, state.first_at = "", 0.0
                state.first_until, state.first_after = 0.0, ""
        case OutcomeRecorded(order_id, "expired", at):
            state.expired[order_id] = at
            if len(state.expired) > RECENT_MAX:
                del state.expired[next(iter(state.expired))]
        case OutcomeRecorded(order_id, outcome):
            state.reserved.pop(order_id, None)
            state.open.pop(order_id, None)
            state.completed += outcome == "completed"
            state.refusals += outcome == "refused"
            state.recent = [*state.recent[1 - RECENT_MAX :], order_id]
        case _:
            assert_never(event)
    return state
