"""Paid after expiry: the order gets its stock, or its campaign's units, anew. DOMAIN, Stock."""

from actors.engine.kind import Ask, Context
from actors.order.claiming import ClaimSearch, claim_again
from actors.order.locking import StockSearch, negotiate
from actors.order.renewing import same_stores, seek
from actors.order.seating import tell_new_head
from actors.order.turn import Turn
from domain.errors import Problem
from domain.order.events import Reinstated
from domain.order.placing import allocation_of
from domain.order.state import OrderState

__all__ = ["reinstate"]


def reinstate(turn: Turn) -> Ask | Problem | None:
    """Lock again, at the same stores if possible, else anywhere; of a campaign: a seat that is
    still free, or what its policy says. None once the order stands again, to be paid at once; a
    problem when the money must go back. Raises what may be tried again."""
    if turn.state.campaign_id:
        return _in_campaign(turn)
    match negotiate(_again, turn.state, turn.context):
        case StockSearch(plan=plan):
            fulfilments, lines = allocation_of(plan, turn.state.freight)
            turn.record(Reinstated(turn.now, fulfilments, lines))
            return None
        case Ask() | Problem() as outcome:
            return outcome


def _in_campaign(turn: Turn) -> Ask | Problem | None:
    match claim_again(turn.state, turn.context):
        case ClaimSearch(won=won, fulfilments=fulfilments, lines=lines) as search:
            before = turn.state.group_id
            turn.record(Reinstated(turn.now, fulfilments, lines, won.claim_id, won.group_id))
            tell_new_head(turn, search, before)
            return None
        case Ask() | Problem() as outcome:
            return outcome


def _again(state: OrderState, context: Context) -> StockSearch:
    search = seek(state, {line.line_id: line.quantity for line in state.lines}, context)
    search.first = same_stores(state, state.parts, context)
    if state.bound:
        search.store_id = state.parts[0].fulfilment.store_id
    return search
