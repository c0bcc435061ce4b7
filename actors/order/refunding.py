"""Money that goes back, and what operations does where it stands still: each remedy leaves a
document with who and why. DOMAIN, Order life and Operations.
"""

from actors.engine.kind import Answered, Context, Decision
from actors.order.owing import ask_refund, notify_ops, refund
from actors.order.turn import Turn
from domain.errors import Refused
from domain.order.commands import RefundLines, ResolveFlag, RetryRefund
from domain.order.events import FlagResolved, RefundDone, RefundRetried
from domain.order.money import refund_units
from domain.order.rules import need_state
from domain.order.state import OrderState
from domain.order.view import view
from domain.payment import RefundPayment, provider_answer

__all__ = ["refund_answered", "refund_lines", "resolve_flag", "retry_refund"]


def refund_lines(state: OrderState, command: RefundLines, context: Context) -> Decision:
    """Operations refunds units without goods; once per ``refund_id``.

    Raises ``Refused``: ``wrong-state``, ``refund-by-cash``, and those of ``refund_units``.
    """
    if command.refund_id in state.refunds:
        return Decision(reply=view(state))
    if state.payment == "cod":
        raise Refused(
            "refund-by-cash",
            "No provider took this order's money. Pay the customer from a till and book it there.",
        )
    need_state(state, "refund units of it", ("paid", "cancelling", "completed", "closed"))
    turn = Turn(state, context)
    reason = f"{command.reason} (by {command.by})"
    refund(turn, refund_units(state, command.units, command.refund_id, reason, context.now))
    return turn.answer()


def refund_answered(state: OrderState, answered: Answered, context: Context) -> Decision:
    """The provider has refunded, or will not: then operations must."""
    sent: RefundPayment = answered.command
    known = state.refunds.get(sent.refund_id)
    turn = Turn(state, context)
    if known is None or known.state != "requested":
        return turn.decision()
    refused = ""
    answer = provider_answer(answered.answer)
    if answered.problem is not None:
        refused = answered.problem.detail or answered.problem.code
    elif answer is None or answer.status != "refunded":
        refused = (answer.reason or answer.status) if answer else "unclear-answer"
    turn.record(RefundDone(sent.refund_id, context.now, refused))
    if refused:
        notify_ops(turn, "refund-refused", refund_id=sent.refund_id, reason=refused)
    return turn.decision()


def retry_refund(state: OrderState, command: RetryRefund, context: Context) -> Decision:
    """Ask the provider again. Raises ``Refused``: ``unknown-refund``, ``wrong-state`` (it was not
    refused, or is under way again)."""
    known = state.refunds.get(command.refund_id)
    if known is None:
        raise Refused("unknown-refund", f"The order has no refund {command.refund_id}.")
    if known.state != "refused":
        raise Refused(
            "wrong-state", f"The refund is {known.state}: there is nothing to retry.",
            state=known.state,
        )  # fmt: skip
    turn = Turn(state, context)
    turn.record(RefundRetried(command.refund_id, command.by, command.why, turn.now))
    ask_refund(turn, command.refund_id)
    return turn.answer()


def resolve_flag(state: OrderState, command: ResolveFlag, context: Context) -> Decision:
    """Close a flag. Raises ``Refused`` with ``unknown-flag`` when nothing (or nothing any more) is
    flagged there."""
    if command.payment_id not in (state.flags or {}):
        raise Refused(
            "unknown-flag",
            f"Nothing of order {state.order_id} is flagged as {command.payment_id}: read its "
            "anomalies anew.",
        )
    turn = Turn(state, context)
    turn.record(FlagResolved(command.payment_id, command.by, command.why, turn.now))
    return turn.answer()
