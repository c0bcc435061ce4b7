"""What operations does to money that stands still: each remedy leaves a document with who and why.
DOMAIN, Operations."""

from actors.engine.kind import Context, Decision
from actors.order.owing import ask_refund
from actors.order.turn import Turn
from domain.errors import Refused
from domain.order.commands import ResolveFlag, RetryRefund
from domain.order.events import FlagResolved, RefundRetried
from domain.order.state import OrderState

__all__ = ["resolve_flag", "retry_refund"]


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
