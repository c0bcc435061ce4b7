"""What the campaign's answer does to its order, paid or not. DOMAIN, Group-buy and Flash sale.

A paid one is *held* until the campaign has confirmed its claim (and its group has formed); only
then do its goods leave the quota and its tickets reach their stores.
"""

from actors.engine.kind import Answered, Ask, Context, Decision
from actors.order.claiming import ClaimSearch, claim_again
from actors.order.owing import (
    finish,
    notify_customer,
    open_ticket,
    refund,
    refund_cancelled,
    sell_reserved,
    settle,
    void_order,
)
from actors.order.renewing import moved_to
from actors.order.turn import Turn
from domain.campaign.commands import Confirm
from domain.campaign.rules import closes_at_of
from domain.campaign.views import Seating
from domain.errors import Problem
from domain.order import ids
from domain.order.commands import RecordGroup
from domain.order.events import (
    Cancelled,
    Fulfilment,
    FulfilmentCancelled,
    Line,
    Reseated,
    SeatConfirmed,
)
from domain.order.money import refund_cuts
from domain.order.rules import LIVE_STATES
from domain.order.state import OrderState
from domain.wire import moment

__all__ = ["record_group", "seat_answered", "tell_new_head"]


def seat_answered(state: OrderState, answered: Answered, context: Context) -> Decision | Ask:
    """The campaign has confirmed the claim of a paid order, or holds it no longer."""
    sent: Confirm = answered.command
    turn = Turn(state, context)
    if sent.claim_id != state.claim_id or not _waits(state):
        return turn.decision()
    problem = answered.problem
    if problem is not None:
        return _seat_gone(turn, problem)
    answer = answered.answer
    assert isinstance(answer, Seating)
    if answer.outcome in ("sold", "formed"):
        _go(turn, answer.group_id, answer.price, answer.store_id)
    elif answer.outcome == "failed":
        _fail(turn, "group-failed", "group-not-formed")
    return turn.decision()


def record_group(state: OrderState, command: RecordGroup, context: Context) -> Decision:
    """The order's group formed or failed; told again, nothing changes."""
    turn = Turn(state, context)
    if (command.campaign_id, command.claim_id) != (state.campaign_id, state.claim_id):
        return turn.decision()
    if command.outcome == "void":
        if state.state == "placed":
            _seat_void(turn, command.reason)
    elif not _waits(state):
        pass
    elif command.outcome == "formed":
        _go(turn, command.group_id, command.price, command.store_id)
    else:
        _fail(turn, "group-failed", command.reason)
    return turn.decision()


def _seat_void(turn: Turn, reason: str) -> None:
    """The group is decided and the order not paid: there is nothing left to pay for. Money that is
    under way is a late payer's; for a paid order the answer to its confirmation says the same."""
    turn.record(Cancelled("timeout", reason, turn.now))
    void_order(turn)
    finish(turn, "lapsed")
    notify_customer(turn, "seat-void", campaign_id=turn.state.campaign_id, reason=reason)


def tell_new_head(turn: Turn, search: ClaimSearch, before: str) -> None:
    """A late payer whom the group of ``before`` did not take again heads one of their own: they
    learn which, and how long it is open. Call it once the search's outcome is recorded."""
    group_id = turn.state.group_id
    if group_id != before:
        until = closes_at_of(search.terms, search.won.expires_at)
        notify_customer(
            turn,
            "head-of-new-group",
            campaign_id=search.campaign_id,
            group_id=group_id,
            closes_at=moment(until).isoformat(timespec="milliseconds"),
        )


def _waits(state: OrderState) -> bool:
    return state.state in LIVE_STATES and any(part.state == "held" for part in state.parts)


def _seat_gone(turn: Turn, problem: Problem) -> Decision | Ask:
    """The seat was lost between payment and confirmation: as for any late payer."""
    if problem.retryable:
        return turn.decision()
    match claim_again(turn.state, turn.context):
        case Ask() as question:
            return question
        case Problem(detail=detail):
            _fail(turn, "paid-too-late", detail)
        case ClaimSearch(won=won, fulfilments=fulfilments, lines=lines) as search:
            before = turn.state.group_id
            turn.record(Reseated(turn.now, fulfilments, lines, won.claim_id, won.group_id))
            turn.owe(f"campaign/{turn.state.campaign_id}", Confirm(won.claim_id), True)
            tell_new_head(turn, search, before)
    return turn.decision()


def _go(turn: Turn, group_id: str, unit_price: int, store_id: str) -> None:
    """The goods are sold: to the stores with them; what was paid too much goes back."""
    if store_id:
        _take_from(turn, store_id)
    state = turn.state
    cuts = tuple(
        (line.line_id, (line.unit_price - unit_price) * line.quantity)
        for line in state.lines
        if line.unit_price > unit_price
    )
    held = [part.fulfilment.fulfilment_id for part in state.parts if part.state == "held"]
    reason = "lower-price"
    back = refund_cuts(state, cuts, ids.ladder_refund_id(state.claim_id), reason, turn.now)
    refund(turn, back)
    turn.record(SeatConfirmed(turn.now, group_id, cuts))
    for part in turn.state.parts:
        if part.fulfilment.fulfilment_id in held:
            sell_reserved(turn, part)
            open_ticket(turn, part)
    if group_id:
        facts = {"group_id": group_id, "unit_price": str(unit_price)}
        if back is not None:
            facts["refunded"] = str(back.amount)
        notify_customer(turn, "group-formed", **facts)


def _take_from(turn: Turn, store_id: str) -> None:
    """The group's units are at this store, which could serve the order when it was placed. Parcels
    stay as they are."""
    state = turn.state
    held = [part for part in state.parts if part.state == "held"]
    if all(part.fulfilment.store_id == store_id for part in held):
        return
    fulfilments: list[Fulfilment] = []
    lines: list[Line] = []
    for number, part in enumerate(held, state.number + 1):
        moved, its = moved_to(state, part, number, store_id, turn.context)
        fulfilments.append(moved)
        lines += its
    turn.record(
        Reseated(turn.now, tuple(fulfilments), tuple(lines), state.claim_id, state.group_id)
    )


def _fail(turn: Turn, template: str, reason: str) -> None:
    """Everything goes back to the customer, once, and they are told."""
    held = [part.fulfilment.fulfilment_id for part in turn.state.parts if part.state == "held"]
    for fulfilment_id in held:
        turn.record(FulfilmentCancelled(fulfilment_id, reason, turn.now))
    refund_cancelled(turn, held, reason)
    notify_customer(turn, template, campaign_id=turn.state.campaign_id, reason=reason)
    void_order(turn)
    settle(turn)
