"""What time ends: unpaid orders, silent payments, parked fulfilments; and who asks, when a lock or
a claim is overdue, whether the order still wants it. DOMAIN, Order life and Payment."""

from actors.engine.kind import Context, Decision, Wake
from actors.order.owing import end_parked, finish, give_back, query, settle
from actors.order.turn import Turn
from domain.order.commands import ConfirmClaim, ConfirmLock
from domain.order.events import Cancelled, ProviderQueried
from domain.order.rules import next_query, unpaid_until
from domain.order.state import OrderState, find_part, words_of

__all__ = ["confirm_claim", "confirm_lock", "wake"]


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
            end_parked(turn, part.fulfilment.fulfilment_id, f"no store: {words_of(part)}")
    settle(turn)
    return turn.decision()


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


def _expire(turn: Turn) -> None:
    state = turn.state
    if state.state != "placed" or turn.now < unpaid_until(state):
        return
    parts = list(state.parts)
    for part in parts:
        give_back(turn, part, "unpaid")
    turn.record(Cancelled("timeout", "unpaid", turn.now))
    finish(turn, "expired")
