"""A fulfilment that its store cannot serve goes to the next one. DOMAIN, Routing, rule 6."""

from msgspec.structs import replace

from actors.engine.kind import Answered, Ask, Context, Decision
from actors.order import reassigning
from actors.order.locking import Quest, begin, resume
from actors.order.owing import (
    correct_short,
    deduct,
    end_parked,
    give_back,
    notify_ops,
    open_ticket,
    record_sale,
    refund_cancelled,
    settle,
)
from actors.order.renewing import same_stores, seek
from actors.order.turn import Turn
from domain.errors import Problem, Refused, error_of
from domain.inventory.commands import Deduct
from domain.inventory.rules import LOCK_GONE
from domain.order.commands import CloseParked, Reroute
from domain.order.events import FulfilmentCancelled, FulfilmentParked, FulfilmentRerouted
from domain.order.placing import fulfilment_of, share_freight
from domain.order.rules import LIVE_STATES, WITH_STORE, need_state
from domain.order.state import OrderState, Part, find_part, lines_of, units_due, words_of
from domain.reasons import ALL_SHORT
from domain.store.commands import CancelTicket

__all__ = ["close_parked", "deduct_answered", "hand_on", "reroute"]


def hand_on(turn: Turn, part: Part, reason: str, code: str) -> Decision | Ask:
    """The next candidate takes the part over, or several do; without one it is parked."""
    state, context = turn.state, turn.context
    if state.bound:
        return _park(turn, part, reason, code, "bound-to-store", "the customer chose this store")
    memo = context.memo
    if memo is None:
        question = reassigning.ask_campaign(state, part, context, excluded=state.refused)
        if question is not None:
            return question
    if isinstance(memo, reassigning.Asked):
        memo, given = None, reassigning.units_given(context)
        if given is not None:
            _let_go(turn, part, reason, code)
            reassigning.take(turn, part, given, reason, code)
            return turn.decision()
    if memo is None:
        quest = _quest(state, part, context)
        quest.excluded = {*state.refused, part.fulfilment.store_id}
        try:
            return begin(quest, context)
        except Refused as refusal:
            return _park(turn, part, reason, code, refusal.code, refusal.detail)
    outcome = resume(memo, context)
    if isinstance(outcome, Ask):
        return outcome
    if isinstance(outcome, Problem):
        if outcome.retryable:
            raise error_of(outcome)
        return _park(turn, part, reason, code, outcome.code, outcome.detail)
    _let_go(turn, part, reason, code)
    _rerouted(turn, part, outcome, reason, code)
    return turn.decision()


def reroute(state: OrderState, command: Reroute, context: Context) -> Decision | Ask:
    """Operations tries a parked fulfilment again, also at stores that refused it before.

    Raises ``Refused``: ``unknown-fulfilment``, ``wrong-state``, ``bound-to-store``, and whatever
    routing refuses.
    """
    part = _parked(state, command.fulfilment_id, "reroute it")
    turn, memo, store_id = Turn(state, context), context.memo, command.store_id
    reason = f"{command.why} (by {command.by})"
    if state.delivery == "pickup":
        own = part.fulfilment.store_id
        if store_id not in ("", own):
            raise Refused("bound-to-store", f"The customer collects this order at {own}.")
        store_id = own
    if memo is None:
        question = reassigning.ask_campaign(state, part, context, store_id=store_id)
        if question is not None:
            return question
    if isinstance(memo, reassigning.Asked):
        memo, given = None, reassigning.units_given(context)
        if given is not None:
            reassigning.take(turn, part, given, reason, "")
            return turn.answer()
    if memo is None:
        quest = _quest(state, part, context)
        quest.store_id = store_id
        return begin(quest, context)
    outcome = resume(memo, context)
    if isinstance(outcome, Ask):
        return outcome
    if isinstance(outcome, Problem):
        raise error_of(outcome)
    _rerouted(turn, part, outcome, reason, "")
    return turn.answer()


def close_parked(state: OrderState, command: CloseParked, context: Context) -> Decision:
    """Operations gives a parked fulfilment up. Raises ``Refused`` as ``reroute``."""
    _parked(state, command.fulfilment_id, "close it")
    turn = Turn(state, context)
    end_parked(turn, command.fulfilment_id, f"{command.why} (by {command.by})")
    settle(turn)
    return turn.answer()


def deduct_answered(state: OrderState, answered: Answered, context: Context) -> Decision | Ask:
    """A sale that stock refused: its lock was gone. While the goods are still in a store the part
    is locked anew, there or elsewhere, else refunded; goods that left are sold all the same, and
    the stock shows what that did to it."""
    problem = answered.problem
    sent: Deduct = answered.command
    part = find_part(state, sent.fulfilment_id)
    turn = Turn(state, context)
    if problem is None or part is None or not part.sold or part.state == "cancelled":
        return turn.decision()
    if problem.code == LOCK_GONE and part.state not in WITH_STORE:
        record_sale(turn, part)
        notify_ops(turn, "sold-without-lock", fulfilment_id=sent.fulfilment_id)
        return turn.decision()
    in_store = part.state in WITH_STORE and state.state in ("paid", "cod_confirmed")
    if problem.code != LOCK_GONE or not in_store:
        notify_ops(turn, "stock-unexplained", fulfilment_id=sent.fulfilment_id, reason=problem.code)
        return turn.decision()
    if context.memo is None:
        quest = _quest(state, part, context)
        quest.first = same_stores(state, [part], context)
        if state.bound:
            quest.store_id = part.fulfilment.store_id
        try:
            return begin(quest, context)
        except Refused:
            return _lost(turn, part)
    outcome = resume(context.memo, context)
    if isinstance(outcome, Ask):
        return outcome
    if isinstance(outcome, Problem):
        if outcome.retryable:
            raise error_of(outcome)
        return _lost(turn, part)
    _withdraw(turn, part)
    _rerouted(turn, part, outcome, LOCK_GONE, LOCK_GONE)
    return turn.decision()


def _quest(state: OrderState, part: Part, context: Context) -> Quest:
    units = {line.line_id: units_due(state, line) for line in lines_of(state, part)}
    return seek(state, units, context)


def _rerouted(turn: Turn, part: Part, quest: Quest, reason: str, code: str) -> None:
    """The customer's freight stays: it is shared among what serves the part now."""
    fulfilment_id, fee = part.fulfilment.fulfilment_id, part.fulfilment.freight
    shares = share_freight(fee, [hold.pieces for hold in quest.plan])
    for hold, share in zip(quest.plan, shares, strict=True):
        turn.record(
            FulfilmentRerouted(
                fulfilment_id,
                fulfilment_of(hold.fulfilment_id, hold.part, share),
                tuple(replace(line, fulfilment_id=hold.fulfilment_id) for line, _ in hold.pieces),
                reason,
                turn.now,
                code,
            )
        )
    for hold in quest.plan:
        new = find_part(turn.state, hold.fulfilment_id)
        assert new is not None
        if new.sold:
            deduct(turn, new)
        open_ticket(turn, new)


def _let_go(turn: Turn, part: Part, reason: str, code: str) -> None:
    """The store's units are free again, unless the shelf had none of them. Of a part that was
    packed before it was refused, the units in it are there."""
    if code == ALL_SHORT and not part.picked:
        due = [(line.line_id, units_due(turn.state, line)) for line in lines_of(turn.state, part)]
        correct_short(turn, part, [(line_id, units) for line_id, units in due if units])
    else:
        give_back(turn, part, reason)


def _park(turn: Turn, part: Part, reason: str, code: str, why: str, detail: str) -> Decision:
    """``reason`` is what the store said, ``detail`` why no other serves it; each has its code."""
    fulfilment_id = part.fulfilment.fulfilment_id
    _let_go(turn, part, reason, code)
    until = turn.now + turn.state.parked_s
    turn.record(FulfilmentParked(fulfilment_id, reason, turn.now, until, why, code, detail))
    parked = find_part(turn.state, fulfilment_id)
    assert parked is not None
    notify_ops(turn, "fulfilment-parked", fulfilment_id=fulfilment_id, reason=words_of(parked))
    return turn.decision()


def _lost(turn: Turn, part: Part) -> Decision:
    """No stock anywhere for a part that is paid: it goes back to the customer."""
    fulfilment_id = part.fulfilment.fulfilment_id
    _withdraw(turn, part)
    turn.record(FulfilmentCancelled(fulfilment_id, LOCK_GONE, turn.now))
    refund_cancelled(turn, [fulfilment_id], LOCK_GONE)
    settle(turn)
    return turn.decision()


def _withdraw(turn: Turn, part: Part) -> None:
    fulfilment = part.fulfilment
    turn.owe(f"store/{fulfilment.store_id}", CancelTicket(fulfilment.fulfilment_id, "stock-gone"))


def _parked(state: OrderState, fulfilment_id: str, wish: str) -> Part:
    part = find_part(state, fulfilment_id)
    if part is None:
        raise Refused("unknown-fulfilment", f"The order has no fulfilment {fulfilment_id} now.")
    need_state(state, wish, LIVE_STATES)
    if part.state != "parked":
        raise Refused(
            "wrong-state",
            f"Fulfilment {fulfilment_id} is {part.state}, not parked: there is nothing to {wish}.",
            state=part.state,
        )
    return part
