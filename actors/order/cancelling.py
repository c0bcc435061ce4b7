"""Cancelling an order, at once or with its stores' consent. DOMAIN, Order life."""

from collections.abc import Sequence

from actors.engine.kind import Ask, Context, Decision
from actors.order.owing import (
    abandon,
    finish,
    give_back,
    refund_cancelled,
    settle,
    unassign,
)
from actors.order.turn import Turn
from domain.errors import Problem, Refused, error_of
from domain.order.commands import BY_CUSTOMER, Cancel
from domain.order.events import Cancelled, CancelRefused, CancelRequested, FulfilmentCancelled
from domain.order.rules import WITH_STORE, need_state
from domain.order.state import OrderState, Part, find_part
from domain.order.view import view
from domain.store.commands import CancelTicket

__all__ = ["ALREADY_LEFT", "cancel", "cancel_part", "resolve"]

ALREADY_LEFT = "already-left"


def cancel(state: OrderState, command: Cancel, context: Context) -> Decision | Ask:
    """Cancel the whole order: unpaid at once; later every store with goods is asked first.

    - All stores let go: cancelled, refunded in one sum.
    - Some clerk must look: *cancelling* until all have answered.
    - Unpaid and cancelled for its customer: their record learns for how long it held stock. A
      cancel by operations is not held against them.
    - Some goods have left: those go on. What could be held back is cancelled and refunded all the
      same, and the answer's reason says so; if that is nothing: ``Refused`` with ``already-left``.

    Also raises ``Refused`` with ``wrong-state``. Cancelling twice is cancelling once.
    """
    if state.state in ("cancelling", "cancelled"):
        return Decision(reply=view(state))
    need_state(state, "cancel it", ("placed", "paid", "cod_confirmed"))
    turn = Turn(state, context)
    if state.state == "placed":
        for part in list(state.parts):
            give_back(turn, part, command.reason)
        turn.record(Cancelled(command.by, command.reason, turn.now))
        if command.by == BY_CUSTOMER:
            abandon(turn)
        return turn.answer()
    asked = [part for part in state.parts if part.state in WITH_STORE]
    parked = [part for part in state.parts if part.state in ("parked", "held")]
    if not asked and not parked:
        raise _already_left()
    if asked and not context.answers:
        return Ask([(_store(part), _ask(part, command)) for part in asked])
    return _answered(turn, command, asked, parked)


def cancel_part(
    turn: Turn, part: Part, reason: str, damaged: Sequence[tuple[str, int]] = ()
) -> None:
    """One fulfilment whose goods were held back: its stock is freed, its money goes back."""
    fulfilment_id = part.fulfilment.fulfilment_id
    _end(turn, part, reason, damaged)
    refund_cancelled(turn, [fulfilment_id], reason)


def resolve(turn: Turn) -> None:
    """End a cancelling once no store has to answer any more. Call it before ``settle``."""
    state = turn.state
    if state.state != "cancelling" or state.awaiting:
        return
    if all(part.state == "cancelled" for part in state.parts):
        turn.record(Cancelled(state.cancelled_by, state.reason, turn.now))
        finish(turn, "cancelled")
    else:
        turn.record(CancelRefused(ALREADY_LEFT, turn.now))


def _answered(
    turn: Turn, command: Cancel, asked: Sequence[Part], parked: Sequence[Part]
) -> Decision:
    held, confirming = list(parked), []
    for part, answer in zip(asked, turn.context.answers, strict=True):
        if isinstance(answer, Problem) and answer.retryable:
            raise error_of(answer)
        if answer == "cancelled":
            held.append(part)
        elif answer == "unknown" or (
            isinstance(answer, Problem) and answer.code == "unknown-ticket"
        ):
            # its ticket may still be on the way: the owed cancel arrives after it
            turn.owe(_store(part), _ask(part, command))
            held.append(part)
        elif answer == "confirming":
            confirming.append(part.fulfilment.fulfilment_id)
    if not held and not confirming:
        raise _already_left()
    for part in held:
        _end(turn, part, command.reason)
    if held:
        ids = [part.fulfilment.fulfilment_id for part in held]
        refund_cancelled(turn, ids, command.reason)
    if confirming:
        turn.record(CancelRequested(command.by, command.reason, turn.now, tuple(confirming)))
        return turn.answer()
    if all(part.state == "cancelled" for part in turn.state.parts):
        turn.record(Cancelled(command.by, command.reason, turn.now))
        finish(turn, "cancelled")
        return turn.answer()
    turn.record(CancelRefused(ALREADY_LEFT, turn.now))
    settle(turn)
    return turn.answer("already-left: what was still in a store is cancelled, the rest goes on")


def _end(turn: Turn, part: Part, reason: str, damaged: Sequence[tuple[str, int]] = ()) -> None:
    fulfilment_id = part.fulfilment.fulfilment_id
    current = find_part(turn.state, fulfilment_id)
    assert current is not None
    unassign(turn, current)
    if current.state != "parked":  # its stock is free already
        give_back(turn, current, reason, damaged)
    turn.record(FulfilmentCancelled(fulfilment_id, reason, turn.now))


def _ask(part: Part, command: Cancel) -> CancelTicket:
    return CancelTicket(part.fulfilment.fulfilment_id, command.reason)


def _store(part: Part) -> str:
    return f"store/{part.fulfilment.store_id}"


def _already_left() -> Refused:
    return Refused(
        ALREADY_LEFT,
        "The goods have already left the store. Refuse them at the door or return them later.",
    )
