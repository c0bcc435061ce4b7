"""Payments of an order: opening, what providers say, silence. DOMAIN, Payment.

Whatever a provider captured is either the order's one kept payment or goes back whole, once: by
its refund id, made from the payment's.
"""

from msgspec.structs import replace

from actors.engine.kind import Answered, Ask, Context, Decision
from actors.order.claiming import check_pay
from actors.order.owing import keep, notify_customer, notify_ops, refund
from actors.order.reinstating import reinstate
from actors.order.turn import Turn
from domain.errors import Problem, Refused
from domain.order.commands import RecordPayment, StartPayment
from domain.order.events import (
    Paid,
    PaymentAuthorised,
    PaymentFailed,
    PaymentFlagged,
    PaymentStarted,
)
from domain.order.ids import whole_refund_id
from domain.order.money import refund_payment
from domain.order.rules import (
    OPEN_PAYMENTS,
    PAYMENTS_MAX,
    first_query,
    is_late,
    need_state,
    query_held,
)
from domain.order.state import OrderState, Payment
from domain.order.view import payment_view
from domain.payment import CapturePayment, CreatePayment, QueryPayment, provider_answer

__all__ = [
    "capture_answered", "create_answered", "query_answered", "record_payment", "start_payment",
]  # fmt: skip


def start_payment(state: OrderState, command: StartPayment, context: Context) -> Decision | Ask:
    """Open a payment; the provider is called once it is stored. The same id opens one only.

    Raises ``Refused``: ``wrong-state``, ``expired``, ``too-many-payments``,
    ``payment-exists`` (the id is another provider's); of a group-buy also ``seat-gone`` and
    ``campaign-sold-out``.
    """
    known = state.payments.get(command.payment_id)
    if known is not None:
        if known.provider != command.provider:
            raise Refused("payment-exists", "This payment was opened at another provider.")
        return Decision(reply=payment_view(state, command.payment_id))
    need_state(state, "open a payment", ("placed",))
    if state.expires_at is None or context.now >= state.expires_at:
        raise Refused("expired", "The time to pay has run out; place the order again.")
    if len(state.payments) >= PAYMENTS_MAX:
        raise Refused("too-many-payments", "Use one of the payments that are already open.")
    question = check_pay(state, context)
    if question is not None:
        return question
    turn = Turn(state, context)
    turn.record(
        PaymentStarted(
            command.payment_id,
            command.provider,
            state.total,
            first_query(context.now, state.expires_at),
            context.now,
        )
    )
    turn.owe(
        f"provider/{command.provider}",
        CreatePayment(
            command.payment_id, state.order_id, state.total, state.currency, state.expires_at
        ),
        True,
    )
    return turn.decision(payment_view(turn.state, command.payment_id))


def record_payment(state: OrderState, command: RecordPayment, context: Context) -> Decision | Ask:
    """What a provider says, by webhook or answer; what changes nothing is not an error.

    Raises ``Refused``: ``unknown-payment``, ``wrong-provider``, ``unknown-status``.
    """
    payment = state.payments.get(command.payment_id)
    if payment is not None and payment.provider != command.provider:
        raise Refused("wrong-provider", f"The payment was opened at {payment.provider}.")
    turn = Turn(state, context)
    match command.status:
        case "captured":
            return _captured(turn, command)
        case "authorised" | "failed" | "expired" | "pending" | "unknown" if payment is None:
            raise Refused("unknown-payment", f"No payment {command.payment_id} was opened.")
        case "authorised":
            return _authorised(turn, command)
        case "failed" | "expired":
            if payment is not None and payment.state in OPEN_PAYMENTS:
                turn.record(PaymentFailed(command.payment_id, command.status))
            return turn.answer()
        case "pending" | "unknown":
            return turn.answer()
        case _:
            raise Refused("unknown-status", f"{command.status} is no status of a payment.")


def query_answered(state: OrderState, answered: Answered, context: Context) -> Decision | Ask:
    """The provider's answer to a query (a creation, a capture), as if it had been a webhook."""
    sent: QueryPayment | CreatePayment | CapturePayment = answered.command
    answer = provider_answer(answered.answer)
    payment = state.payments.get(sent.payment_id)
    if answer is None or payment is None:
        return Decision()
    if answer.status not in ("authorised", "captured", "failed", "expired"):
        return Decision()
    if (payment.state, answer.status) == ("authorised", "authorised"):
        return _ask_again(state, answered, context)
    return record_payment(
        state,
        RecordPayment(
            sent.payment_id, payment.provider, answer.reference, answer.status, answer.amount,
            answer.currency, answer.event_id,
        ),
        context,
    )  # fmt: skip


def _ask_again(state: OrderState, answered: Answered, context: Context) -> Decision:
    """A provider that was asked to take the money still holds it: it is asked anew, as often as it
    is asked what became of it."""
    turn = Turn(state, context)
    if isinstance(answered.command, QueryPayment) and _is_wanted(state):
        _take(turn, answered.command.payment_id)
    return turn.decision()


def create_answered(state: OrderState, answered: Answered, context: Context) -> Decision | Ask:
    """A provider that refuses to open a payment has failed it."""
    return _opened_or_failed(state, answered, context, "created")


def capture_answered(state: OrderState, answered: Answered, context: Context) -> Decision | Ask:
    """A provider that will not take what it held has failed the payment."""
    return _opened_or_failed(state, answered, context, "authorised")


def _opened_or_failed(
    state: OrderState, answered: Answered, context: Context, before: str
) -> Decision | Ask:
    if answered.problem is None:
        return query_answered(state, answered, context)
    sent: CreatePayment | CapturePayment = answered.command
    payment = state.payments.get(sent.payment_id)
    turn = Turn(state, context)
    if payment is not None and payment.state == before:
        turn.record(PaymentFailed(sent.payment_id, answered.problem.detail))
    return turn.decision()


def _authorised(turn: Turn, command: RecordPayment) -> Decision:
    """The provider holds the money: it is asked to take it if the order can use it, and if it is
    what was asked for. Else it is left alone; a provider that takes it all the same is heard."""
    state = turn.state
    payment = state.payments[command.payment_id]
    if payment.state in ("authorised", "captured"):
        return turn.answer()
    if (command.amount, command.currency) != (payment.amount, state.currency):
        reason = "wrong-currency" if command.currency != state.currency else "wrong-amount"
        nothing_taken = replace(command, amount=0)
        if _recorded(payment, nothing_taken):
            return turn.answer()
        return _flagged(turn, nothing_taken, reason)
    if _is_wanted(state):
        again = query_held(payment, state.expires_at, turn.now)
        turn.record(PaymentAuthorised(command.payment_id, again, turn.now))
        _take(turn, command.payment_id)
    return turn.answer()


def _take(turn: Turn, payment_id: str) -> None:
    payment = turn.state.payments[payment_id]
    command = CapturePayment(payment_id, payment.amount, turn.state.currency)
    turn.owe(f"provider/{payment.provider}", command, True)


def _is_wanted(state: OrderState) -> bool:
    return state.state == "placed" or is_late(state)


def _captured(turn: Turn, command: RecordPayment) -> Decision | Ask:
    state = turn.state
    payment = state.payments.get(command.payment_id)
    if payment is not None and _recorded(payment, command):
        return turn.answer()
    if payment is None or not payment.started_at:
        return _flagged(turn, command, "unknown-payment")
    if command.currency != state.currency:
        return _flagged(turn, command, "wrong-currency")
    if command.amount != payment.amount:
        return _flagged(turn, command, "wrong-amount")
    if state.state == "placed":
        keep(turn, _paid(command, turn.now, kept=True))
        return turn.answer()
    if is_late(state):
        return _captured_late(turn, command)
    return _surplus(turn, command, "surplus" if state.kept else "order-cancelled")


def _captured_late(turn: Turn, command: RecordPayment) -> Decision | Ask:
    match reinstate(turn):
        case Ask() as question:
            return question
        case Problem():
            return _surplus(turn, command, "paid-too-late")
        case None:
            keep(turn, _paid(command, turn.now, kept=True))
            return turn.answer()


def _recorded(payment: Payment, command: RecordPayment) -> bool:
    """Whether this capture is known. One that differs from those flagged is another: the provider
    may first have taken, or told, the wrong sum."""
    if payment.state == "captured":
        return True
    return any(
        (amount, currency) == (command.amount, command.currency)
        and (not reference or command.provider_reference in ("", reference))
        for amount, currency, reference in payment.flagged
    )


def _paid(command: RecordPayment, now: float, kept: bool) -> Paid:
    return Paid(
        now, command.payment_id, command.provider, command.provider_reference, command.amount, kept
    )


def _flagged(turn: Turn, command: RecordPayment, reason: str) -> Decision:
    """Money that is not what was asked for is never the order's: it is flagged and goes back."""
    number = _flags(turn, command)
    turn.record(
        PaymentFlagged(
            command.payment_id, command.provider, command.amount, command.currency, reason,
            turn.now, command.provider_reference, whole_refund_id(command.payment_id, number),
        )
    )  # fmt: skip
    _give_back(turn, command, number, reason)
    notify_ops(turn, "payment-flagged", payment_id=command.payment_id, reason=reason)
    return turn.answer()


def _surplus(turn: Turn, command: RecordPayment, reason: str) -> Decision:
    """Money that the order cannot use goes back whole, and the customer is told."""
    turn.record(_paid(command, turn.now, kept=False))
    _give_back(turn, command, _flags(turn, command), reason)
    notify_customer(turn, "payment-returned", payment_id=command.payment_id, reason=reason)
    return turn.answer()


def _flags(turn: Turn, command: RecordPayment) -> int:
    payment = turn.state.payments.get(command.payment_id)
    return len(payment.flagged) if payment else 0


def _give_back(turn: Turn, command: RecordPayment, number: int, reason: str) -> None:
    if command.amount > 0:
        refund(
            turn,
            refund_payment(
                command.payment_id, command.provider, command.amount, command.currency, reason,
                turn.now, number,
            ),
        )  # fmt: skip
