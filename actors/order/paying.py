"""Payments of an order: opening, what providers say, silence, expiry. DOMAIN, Payment.

Whatever a provider captured is either the order's one kept payment or goes back whole, once: by
its refund id, made from the payment's.
"""

from msgspec import ValidationError, convert
from msgspec.structs import replace

from actors.engine.kind import Answered, Ask, Context, Decision, Wake
from actors.order.campaigns import check_pay, claim_again
from actors.order.locking import Hold, Quest, begin, resume
from actors.order.owing import (
    end_parked,
    finish,
    give_back,
    keep,
    notify_customer,
    notify_ops,
    query,
    refund,
    settle,
)
from actors.order.renewing import same_stores, seek
from actors.order.turn import Turn
from domain.errors import Problem, Refused, error_of
from domain.order.commands import (
    ConfirmClaim,
    ConfirmLock,
    RecordPayment,
    RefundLines,
    StartPayment,
)
from domain.order.events import (
    Cancelled,
    Paid,
    PaymentAuthorised,
    PaymentFailed,
    PaymentFlagged,
    PaymentStarted,
    ProviderQueried,
    RefundDone,
    Reinstated,
)
from domain.order.ids import whole_refund_id
from domain.order.money import refund_payment, refund_units
from domain.order.placing import fulfilment_of, share_freight
from domain.order.rules import (
    OPEN_PAYMENTS,
    PAYMENTS_MAX,
    first_query,
    is_late,
    need_state,
    next_query,
    query_held,
    unpaid_until,
)
from domain.order.state import OrderState, Payment, find_part
from domain.order.view import payment_view, view
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)

__all__ = [
    "capture_answered", "confirm_claim", "confirm_lock", "create_answered", "query_answered",
    "record_payment", "refund_answered", "refund_lines", "start_payment", "wake",
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
    answer = _provider_answer(answered.answer)
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


def refund_answered(state: OrderState, answered: Answered, context: Context) -> Decision:
    """The provider has refunded, or will not: then operations must."""
    sent: RefundPayment = answered.command
    known = state.refunds.get(sent.refund_id)
    turn = Turn(state, context)
    if known is None or known.state != "requested":
        return turn.decision()
    refused = ""
    answer = _provider_answer(answered.answer)
    if answered.problem is not None:
        refused = answered.problem.detail or answered.problem.code
    elif answer is None or answer.status != "refunded":
        refused = (answer.reason or answer.status) if answer else "unclear answer"
    turn.record(RefundDone(sent.refund_id, context.now, refused))
    if refused:
        notify_ops(turn, "refund-refused", refund_id=sent.refund_id, reason=refused)
    return turn.decision()


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


def confirm_lock(state: OrderState | None, command: ConfirmLock, context: Context) -> Decision:
    """Whether an expired lock is still wanted: the fulfilment is current at this store, and its
    goods have neither left nor been given up. An unpaid order past its time ends here, too."""
    if state is None:
        return Decision(reply=False)
    turn = Turn(state, context)
    _expire(turn)
    part = find_part(turn.state, command.fulfilment_id)
    wanted = (
        part is not None
        and part.fulfilment.store_id == command.store_id
        and turn.state.state not in ("cancelled", "closed")
        and part.state not in ("cancelled", "returned", "parked")
    )
    return turn.decision(wanted)


def confirm_claim(state: OrderState, command: ConfirmClaim, context: Context) -> Decision:
    """Whether an overdue claim at a campaign is still wanted: it is the order's own, and the order
    goes on. An unpaid order past its time ends here, too."""
    turn = Turn(state, context)
    _expire(turn)
    now = turn.state
    mine = (now.campaign_id, now.claim_id) == (command.campaign_id, command.claim_id)
    wanted = mine and now.state not in ("cancelled", "closed")
    return turn.decision(wanted)


def wake(state: OrderState, _wake: Wake, context: Context) -> Decision:
    """Deadlines: silent payments are asked about, unpaid orders cancelled, parked parts ended."""
    turn = Turn(state, context)
    for payment_id, payment in state.payments.items():
        if payment.query_at is not None and payment.query_at <= turn.now:
            again = next_query(payment, state.expires_at, turn.now)
            turn.record(ProviderQueried(payment_id, again, turn.now))
            query(turn, payment_id)
    _expire(turn)
    for part in state.parts:
        if part.state == "parked" and part.until <= turn.now:
            end_parked(turn, part.fulfilment.fulfilment_id, f"no store: {part.reason}")
    settle(turn)
    return turn.decision()


def _expire(turn: Turn) -> None:
    state = turn.state
    if state.state != "placed" or turn.now < unpaid_until(state):
        return
    parts = list(state.parts)
    for part in parts:
        give_back(turn, part, "unpaid")
    turn.record(Cancelled("timeout", "unpaid", turn.now))
    finish(turn, "expired")


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
        return _reinstate(turn, command)
    return _surplus(turn, command, "surplus" if state.kept else "order-cancelled")


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


# Paid after expiry ------------------------------------------------------------------------------


def _reinstate(turn: Turn, command: RecordPayment) -> Decision | Ask:
    """Lock again, at the same stores if possible, else anywhere; else the money goes back."""
    context = turn.context
    if turn.state.campaign_id:
        return _reinstate_in_campaign(turn, command)
    if context.memo is None:
        try:
            return begin(_again(turn.state, context), context)
        except Refused:
            return _surplus(turn, command, "paid-too-late")
    outcome = resume(context.memo, context)
    if isinstance(outcome, Ask):
        return outcome
    if isinstance(outcome, Problem):
        if outcome.retryable:
            raise error_of(outcome)
        return _surplus(turn, command, "paid-too-late")
    turn.record(_reinstated(turn.state, outcome, turn.now))
    keep(turn, _paid(command, turn.now, kept=True))
    return turn.answer()


def _reinstate_in_campaign(turn: Turn, command: RecordPayment) -> Decision | Ask:
    """A late payer: a seat that is still free, or what the campaign's policy says."""
    outcome = claim_again(turn.state, turn.context)
    if isinstance(outcome, Ask):
        return outcome
    if isinstance(outcome, Problem):
        if outcome.retryable:
            raise error_of(outcome)
        return _surplus(turn, command, "paid-too-late")
    claimed = outcome.claimed
    assert claimed is not None
    turn.record(
        Reinstated(turn.now, outcome.fulfilments, outcome.lines, claimed.claim_id, claimed.group_id)
    )
    keep(turn, _paid(command, turn.now, kept=True))
    return turn.answer()


def _again(state: OrderState, context: Context) -> Quest:
    units = {line.line_id: line.quantity for line in state.lines}
    quest = seek(state, units, context)
    quest.first = same_stores(state, state.parts, context)
    if state.bound:
        quest.store_id = state.parts[0].fulfilment.store_id
    return quest


def _reinstated(state: OrderState, quest: Quest, now: float) -> Reinstated:
    holds: list[Hold] = quest.plan
    shares = share_freight(state.freight, [hold.pieces for hold in holds])
    return Reinstated(
        now,
        tuple(
            fulfilment_of(hold.fulfilment_id, hold.part, share)
            for hold, share in zip(holds, shares, strict=True)
        ),
        tuple(
            replace(line, fulfilment_id=hold.fulfilment_id)
            for hold in holds
            for line, _ in hold.pieces
        ),
    )


def _provider_answer(answer: object) -> ProviderAnswer | None:
    """The answer as a struct, whether it came as one or as its decoded array."""
    if isinstance(answer, ProviderAnswer):
        return answer
    try:
        return convert(answer, ProviderAnswer, from_attributes=False)
    except (ValidationError, TypeError):
        return None
