"""A fulfilment that its store cannot serve goes to the next one. DOMAIN, Routing, rule 6."""

from collections.abc import Collection
from functools import partial

from actors.engine.kind import Answered, Ask, Context, Decision
from actors.order.locking import StockSearch, negotiate
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
    unassign,
)
from actors.order.reassigning import ask_campaign, take
from actors.order.renewing import same_stores, seek
from actors.order.turn import Turn
from domain.campaign.events import Reassigned
from domain.errors import Problem, Refused, error_of
from domain.inventory.commands import Deduct
from domain.inventory.rules import LOCK_GONE
from domain.order.commands import CloseParked, Reroute
from domain.order.events import FulfilmentCancelled, FulfilmentParked, FulfilmentRerouted
from domain.order.placing import allocation_of
from domain.order.rules import LIVE_STATES, WITH_STORE, need_state
from domain.order.state import OrderState, Part, due_units, find_part, words_of
from domain.reasons import ALL_SHORT
from domain.store.commands import CancelTicket

__all__ = ["close_parked", "deduct_answered", "hand_on", "reroute"]


def hand_on(turn: Turn, part: Part, reason: str, code: str) -> Decision | Ask:
    """The next candidate takes the part over, or several do; without one it is parked."""
    state, context = turn.state, turn.context
    if state.bound:
        return _park(turn, part, reason, code, "bound-to-store", "the customer chose this store")
    excluded = {*state.refused, part.fulfilment.store_id}
    match _successor(state, part, context, excluded=excluded):
        case Ask() as question:
            return question
        case Problem(why, text):
            return _park(turn, part, reason, code, why, text)
        case Reassigned() | StockSearch() as found:
            _let_go(turn, part, reason, code)
            _hand_to(turn, part, found, reason, code)
            return turn.decision()


def reroute(state: OrderState, command: Reroute, context: Context) -> Decision | Ask:
    """Operations tries a parked fulfilment again, also at stores that refused it before.

    Raises ``Refused``: ``unknown-fulfilment``, ``wrong-state``, ``bound-to-store``, and whatever
    routing refuses.
    """
    part = _parked(state, command.fulfilment_id, "reroute it")
    store_id = command.store_id
    if state.delivery == "pickup":
        own = part.fulfilment.store_id
        if store_id not in ("", own):
            raise Refused("bound-to-store", f"The customer collects this order at {own}.")
        store_id = own
    match _successor(state, part, context, store_id=store_id):
        case Ask() as question:
            return question
        case Problem() as problem:
            raise error_of(problem)
        case Reassigned() | StockSearch() as found:
            turn = Turn(state, context)
            _hand_to(turn, part, found, f"{command.why} (by {command.by})", "")
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
    match negotiate(partial(_anew, part), state, context):
        case Ask() as question:
            return question
        case Problem():
            return _lost(turn, part)
        case StockSearch() as won:
            _withdraw(turn, part)
            _relock(turn, part, won, LOCK_GONE, LOCK_GONE)
            return turn.decision()


def _successor(
    state: OrderState,
    part: Part,
    context: Context,
    *,
    store_id: str = "",
    excluded: Collection[str] = (),
) -> Ask | Reassigned | StockSearch | Problem:
    """Who serves the part instead: another share of its campaign, else stores with normal stock.
    Without ``store_id`` (the only store allowed) any but those ``excluded``. Raises what may be
    tried again."""
    given = ask_campaign(state, part, context, store_id=store_id, excluded=excluded)
    if given is not None:
        return given
    return negotiate(partial(_elsewhere, part, store_id, excluded), state, context)


def _elsewhere(
    part: Part, store_id: str, excluded: Collection[str], state: OrderState, context: Context
) -> StockSearch:
    search = _search(state, part, context)
    search.store_id, search.excluded = store_id, excluded
    return search


def _anew(part: Part, state: OrderState, context: Context) -> StockSearch:
    search = _search(state, part, context)
    search.first = same_stores(state, [part], context)
    if state.bound:
        search.store_id = part.fulfilment.store_id
    return search


def _search(state: OrderState, part: Part, context: Context) -> StockSearch:
    return seek(state, dict(due_units(state, part)), context)


def _hand_to(
    turn: Turn, part: Part, found: Reassigned | StockSearch, reason: str, code: str
) -> None:
    if isinstance(found, Reassigned):
        take(turn, part, found, reason, code)
    else:
        unassign(turn, part)
        _relock(turn, part, found, reason, code)


def _relock(turn: Turn, part: Part, won: StockSearch, reason: str, code: str) -> None:
    """The customer's freight stays: it is shared among what serves the part now."""
    fulfilments, lines = allocation_of(won.plan, part.fulfilment.freight)
    for new in fulfilments:
        its = tuple([line for line in lines if line.fulfilment_id == new.fulfilment_id])
        old = part.fulfilment.fulfilment_id
        turn.record(FulfilmentRerouted(old, new, its, reason, turn.now, code))
    for new in fulfilments:
        current = find_part(turn.state, new.fulfilment_id)
        assert current is not None
        if current.sold:
            deduct(turn, current)
        open_ticket(turn, current)


def _let_go(turn: Turn, part: Part, reason: str, code: str) -> None:
    """The store's units are free again, unless the shelf had none of them. Of a part that was
    packed before it was refused, the units in it are there."""
    if code == ALL_SHORT and not part.picked:
        correct_short(turn, part, due_units(turn.state, part))
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
