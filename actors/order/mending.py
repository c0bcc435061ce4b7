"""Effects on stock that arrived in another order than they were owed, and were refused for it.

A repeat of one effect may be overtaken by a later one. Stock refuses what does not fit, the order
hears of it here, and owes what puts it right; each mending converges on what was meant.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from actors.engine.kind import Answered, Ask, Context, Decision
from actors.order.owing import notify_ops
from actors.order.turn import Turn
from domain.errors import Problem, error_of
from domain.inventory.commands import (
    CorrectShort,
    Deduct,
    KeepOnShelf,
    Lock,
    LockItem,
    RecordSale,
    Return,
    ReturnItem,
    SellReserved,
)
from domain.inventory.rules import LOCK_GONE
from domain.inventory.state import REMEMBERED_S
from domain.message import Command
from domain.order.placing import stock_items
from domain.order.state import OrderState, find_part, lines_of

__all__ = ["correction_answered", "keeping_answered", "return_answered"]

MEND_S = 60.0
SALES_REMEMBERED_S = REMEMBERED_S / 2
"""Stock surely remembers sales of orders so young."""


def return_answered(state: OrderState, answered: Answered, context: Context) -> Decision | Ask:
    """A return that overtook its sale: the sale, still owed, is asked for; then goods return. A
    sale whose lock was gone is recorded without it first."""
    problem = answered.problem
    turn = Turn(state, context)
    sent: Return = answered.command
    if problem is None:
        return turn.decision()
    if problem.code == "unknown-fulfilment":
        _sell_first(turn, answered, problem)
    elif problem.code != "not-deducted":
        _tell(turn, sent.fulfilment_id, problem)
    elif not context.answers:
        return Ask([(answered.to, Deduct(sent.fulfilment_id))])
    elif isinstance(context.answers[0], Problem):
        if context.answers[0].retryable:
            raise error_of(context.answers[0])
        _sell_first(turn, answered, context.answers[0])
    else:
        turn.owe(answered.to, sent, True)
    return turn.decision()


def _sell_first(turn: Turn, answered: Answered, problem: Problem) -> None:
    """Goods that left and came back without a lock: both ways are put into the books. An old sale
    is just forgotten: this order remembers it, and says so."""
    sent: Return = answered.command
    if sent.sold_long_ago:
        _tell(turn, sent.fulfilment_id, problem)
        return
    if turn.now - turn.state.placed_at > SALES_REMEMBERED_S:
        turn.owe(answered.to, replace(sent, sold_long_ago=True), True)
        return
    turn.owe(answered.to, _sale(turn.state, sent.fulfilment_id, sent.items))
    turn.owe(answered.to, sent, True)


def _sale(state: OrderState, fulfilment_id: str, moved: Sequence[ReturnItem | LockItem]) -> Command:
    """The sale behind units that moved: out of its campaign's quota if it was to come from there,
    else without a lock."""
    items = tuple(LockItem(item.line_id, item.sku, item.quantity) for item in moved)
    if not _from_quota(state, fulfilment_id):
        return RecordSale(fulfilment_id, state.order_id, items)
    part = find_part(state, fulfilment_id)
    if part is not None:
        items = stock_items((line, line.quantity) for line in lines_of(state, part))
    return SellReserved(fulfilment_id, state.order_id, state.campaign_id, items)


def _from_quota(state: OrderState, fulfilment_id: str) -> bool:
    """A campaign's fulfilment, also one that was rerouted since."""
    part = find_part(state, fulfilment_id)
    if part is None:
        return fulfilment_id in state.from_quota
    return bool(part.fulfilment.campaign_id)


def correction_answered(state: OrderState, answered: Answered, context: Context) -> Decision | Ask:
    """A short pick that was overtaken by the release of its lock: the units that are not there
    went back to sale. They are locked once more, and leave the books from that lock. One that
    overtook the sale of a campaign's units follows it."""
    problem = answered.problem
    turn = Turn(state, context)
    sent: CorrectShort = answered.command
    if problem is None:
        return turn.decision()
    if problem.code != LOCK_GONE or sent.fulfilment_id == sent.document_id:
        _tell(turn, sent.fulfilment_id, problem)
        return turn.decision()
    if _from_quota(state, sent.fulfilment_id):
        turn.owe(answered.to, _sale(state, sent.fulfilment_id, sent.items))
        turn.owe(answered.to, sent, True)
        return turn.decision()
    if not context.answers:
        lock = Lock(
            sent.document_id, state.order_id, sent.items, context.now + MEND_S, state.channel
        )
        return Ask([(answered.to, lock)])
    (answer,) = context.answers
    if isinstance(answer, Problem):
        if answer.retryable:
            raise error_of(answer)
        _tell(turn, sent.fulfilment_id, answer)
    else:
        again = CorrectShort(sent.document_id, sent.document_id, sent.items)
        turn.owe(answered.to, again, True)
    return turn.decision()


def keeping_answered(state: OrderState, answered: Answered, context: Context) -> Decision:
    """Units that stay on the shelf of a fulfilment that stock does not hold: a released lock has
    freed them already, and a campaign's sale that was overtaken is asked for first."""
    problem = answered.problem
    turn = Turn(state, context)
    sent: KeepOnShelf = answered.command
    if problem is None:
        return turn.decision()
    if problem.code != LOCK_GONE:
        _tell(turn, sent.fulfilment_id, problem)
    elif _from_quota(state, sent.fulfilment_id):
        turn.owe(answered.to, _sale(state, sent.fulfilment_id, sent.items))
        turn.owe(answered.to, sent, True)
    return turn.decision()


def _tell(turn: Turn, fulfilment_id: str, problem: Problem) -> None:
    notify_ops(turn, "stock-unexplained", fulfilment_id=fulfilment_id, reason=problem.code)
