"""The order: from placing to its last cent. The authority on money and on what was agreed.

The rules are in :mod:`domain.order`; here they are turned into facts, questions and owed effects.
In the order of reading:

- :mod:`placing`, which wins its stock by :mod:`locking`, or at a campaign by :mod:`claiming`;
- :mod:`turn` and :mod:`owing`: what a decision collects, and the effects an order owes;
- :mod:`paying`, :mod:`reinstating` (paid after expiry), :mod:`seating` (paid in a campaign),
  :mod:`refunding`, :mod:`deadlines`;
- :mod:`serving`, :mod:`rerouting` with :mod:`renewing` and :mod:`reassigning`, :mod:`cancelling`,
  :mod:`mending`.
"""

from collections.abc import Callable
from typing import Any

from actors.engine.kind import Answered, Ask, Context, Decision, Kind, Wake
from actors.order.cancelling import cancel
from actors.order.deadlines import confirm_claim, confirm_lock, wake
from actors.order.mending import correction_answered, keeping_answered, return_answered
from actors.order.paying import (
    capture_answered,
    create_answered,
    query_answered,
    record_payment,
    start_payment,
)
from actors.order.placing import place
from actors.order.refunding import refund_answered, refund_lines, resolve_flag, retry_refund
from actors.order.rerouting import close_parked, deduct_answered, reroute
from actors.order.seating import record_group, seat_answered
from actors.order.serving import (
    record_delivered,
    record_failed,
    record_picked,
    record_progress,
    record_rejected,
    record_returned,
)
from domain.campaign.commands import Confirm
from domain.errors import Refused
from domain.inventory.commands import (
    CorrectShort,
    Deduct,
    KeepOnShelf,
    Return,
    SellReserved,
)
from domain.message import Command
from domain.order import commands, events
from domain.order.rules import wakes_at
from domain.order.state import OrderState, evolve, finished_at
from domain.order.view import view
from domain.order.views import OrderView, PaymentView
from domain.payment import CapturePayment, CreatePayment, QueryPayment, RefundPayment

__all__ = ["KIND", "decide"]


def decide(state: OrderState | None, command: Any, context: Context) -> Decision | Ask:
    """See the docstring of each command. Raises ``Refused`` with ``unknown-order`` for every
    command but ``Place`` and ``ConfirmLock`` to an order that was never placed."""
    if isinstance(command, commands.Place):
        if state is not None:
            raise Refused("order-exists", f"Order {state.order_id} was already placed; read it.")
        return place(command, context)
    if isinstance(command, commands.ConfirmLock):
        return confirm_lock(state, command, context)
    if state is None:
        raise Refused("unknown-order", f"There is no order {context.entity_id}.")
    return _HANDLERS[type(command)](state, command, context)


def _get(state: OrderState, _command: commands.Get, _context: Context) -> Decision:
    return Decision(reply=view(state))


def _answered(state: OrderState, command: Answered, context: Context) -> Decision | Ask:
    handler = _ANSWERED.get(type(command.command))
    return handler(state, command, context) if handler else Decision()


Handler = Callable[[OrderState, Any, Context], Decision | Ask]

_ANSWERED: dict[type[Command], Handler] = {
    CreatePayment: create_answered,
    CapturePayment: capture_answered,
    QueryPayment: query_answered,
    RefundPayment: refund_answered,
    Deduct: deduct_answered,
    SellReserved: deduct_answered,
    Confirm: seat_answered,
    Return: return_answered,
    CorrectShort: correction_answered,
    KeepOnShelf: keeping_answered,
}

_HANDLERS: dict[type[Command], Handler] = {
    commands.StartPayment: start_payment,
    commands.RecordPayment: record_payment,
    commands.Cancel: cancel,
    commands.ConfirmClaim: confirm_claim,
    commands.RecordGroup: record_group,
    commands.RecordProgress: record_progress,
    commands.RecordPicked: record_picked,
    commands.RecordRejected: record_rejected,
    commands.RecordDelivered: record_delivered,
    commands.RecordFailed: record_failed,
    commands.RecordReturned: record_returned,
    commands.RefundLines: refund_lines,
    commands.Reroute: reroute,
    commands.CloseParked: close_parked,
    commands.ResolveFlag: resolve_flag,
    commands.RetryRefund: retry_refund,
    commands.Get: _get,
    Wake: wake,
    Answered: _answered,
}

KIND = Kind(
    name="order",
    state=OrderState,
    commands=(
        commands.Place
        | commands.StartPayment
        | commands.RecordPayment
        | commands.Cancel
        | commands.ConfirmLock
        | commands.ConfirmClaim
        | commands.RecordGroup
        | commands.RecordProgress
        | commands.RecordPicked
        | commands.RecordRejected
        | commands.RecordDelivered
        | commands.RecordFailed
        | commands.RecordReturned
        | commands.RefundLines
        | commands.Reroute
        | commands.CloseParked
        | commands.ResolveFlag
        | commands.RetryRefund
        | commands.Get
    ),
    events=(
        events.Placed
        | events.CodConfirmed
        | events.PaymentStarted
        | events.PaymentAuthorised
        | events.ProviderQueried
        | events.Paid
        | events.PaymentFailed
        | events.PaymentFlagged
        | events.FlagResolved
        | events.Reinstated
        | events.Reseated
        | events.SeatConfirmed
        | events.FulfilmentMoved
        | events.FulfilmentPicked
        | events.FulfilmentRerouted
        | events.FulfilmentParked
        | events.FulfilmentCancelled
        | events.FulfilmentDelivered
        | events.FulfilmentFailed
        | events.FulfilmentReturned
        | events.FulfilmentUncollected
        | events.RefundRequested
        | events.RefundDone
        | events.RefundRetried
        | events.CancelRequested
        | events.CancelRefused
        | events.Cancelled
        | events.Completed
    ),
    replies=OrderView | PaymentView | bool | None,
    decide=decide,
    evolve=evolve,
    wake_at=wakes_at,
    finished_at=finished_at,
    answers_kept=256,  # more than ever happens to one order: its keys hold as long as it does
)
