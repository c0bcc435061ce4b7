"""One customer's short record as an actor kind. Entity id = customer id. A customer's history has
no end, but while nothing of theirs is open it need not be in memory."""

from typing import TypeAlias, assert_never

from actors.engine.kind import Answered, Context, Decision, Kind, Wake
from domain.customer.commands import (
    CheckCod,
    CheckNewcomer,
    GetStanding,
    RecordOrder,
    RecordOutcome,
    Standing,
)
from domain.customer.state import (
    CustomerEvent,
    CustomerState,
    check_cod,
    check_newcomer,
    evolve,
    idle_since,
    record_order,
    record_outcome,
    standing,
)

__all__ = ["KIND", "decide"]

CustomerCommand: TypeAlias = CheckCod | CheckNewcomer | RecordOrder | RecordOutcome | GetStanding


def decide(
    state: CustomerState | None, command: CustomerCommand | Wake | Answered, context: Context
) -> Decision:
    """``GetStanding`` is answered with a ``Standing``, every other command with True, or refused
    (see ``domain.customer.state``)."""
    known = CustomerState() if state is None else state
    match command:
        case CheckCod(order_id, refusals_max, open_max):
            return Decision(check_cod(known, order_id, refusals_max, open_max, context.now), True)
        case CheckNewcomer(order_id, until, instead_of):
            events = check_newcomer(known, order_id, until, instead_of, context.now)
            return Decision(events, True)
        case RecordOrder(order_id, cod):
            return Decision(record_order(known, order_id, cod, context.now), True)
        case RecordOutcome(order_id, outcome, claim_id, held_s):
            ended = record_outcome(known, order_id, outcome, context.now, claim_id, held_s)
            return Decision(ended, True)
        case GetStanding():
            return Decision(reply=standing(known, context.now))
        case Wake() | Answered():
            return Decision()
        case _:
            assert_never(command)


KIND = Kind(
    name="customer",
    state=CustomerState,
    commands=CustomerCommand,
    events=CustomerEvent,
    replies=Standing | bool,
    decide=decide,
    evolve=evolve,
    finished_at=idle_since,
    lasting=True,  # idle is not over: what is known of them has no end
)
