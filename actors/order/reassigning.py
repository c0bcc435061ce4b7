"""A sold part of a campaign whose store will not serve it gets units of another store's share.

Before normal stock is looked at: what was set aside for the campaign was set aside for its buyers
(DOMAIN, Routing, rule 6, and Flash sale: *exclusive*).
"""

from collections.abc import Collection
from dataclasses import dataclass

from actors.engine.kind import Ask, Context
from actors.order.claiming import candidates_of
from actors.order.owing import open_ticket, sell_reserved
from actors.order.renewing import moved_to
from actors.order.turn import Turn
from domain.campaign.commands import Reassign
from domain.campaign.events import Reassigned
from domain.errors import Problem, Refused, error_of
from domain.order.events import FulfilmentRerouted
from domain.order.state import OrderState, Part, destination, due_units, find_part

__all__ = ["ask_campaign", "take"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The campaign was asked (the memo of a decision)."""


def ask_campaign(
    state: OrderState,
    part: Part,
    context: Context,
    *,
    store_id: str = "",
    excluded: Collection[str] = (),
) -> Ask | Reassigned | None:
    """Ask the part's campaign for its due units at another store, or at ``store_id`` alone; what it
    had at its own is normal stock there by then. None: normal stock is to be searched (or is
    already), for the campaign has no units elsewhere, the part is of none, or the campaign gave it
    another number of units in an answer that was lost: whoever leaves for normal stock owes
    ``Unassign``. Raises what may be tried again."""
    if context.memo is None:
        return _question(state, part, context, store_id, excluded)
    if not isinstance(context.memo, Asked):
        return None
    given = _units_given(context)
    return given if given is not None and given.share.units == _units(state, part) else None


def take(turn: Turn, part: Part, given: Reassigned, reason: str, code: str) -> None:
    """The part is rerouted to where its units are now, and sold from there."""
    number = turn.state.number + 1
    new, lines = moved_to(turn.state, part, number, given.share.store_id, turn.context)
    old = part.fulfilment.fulfilment_id
    turn.record(FulfilmentRerouted(old, new, lines, reason, turn.now, code))
    moved = find_part(turn.state, new.fulfilment_id)
    assert moved is not None
    sell_reserved(turn, moved)
    open_ticket(turn, moved)


def _question(
    state: OrderState, part: Part, context: Context, store_id: str, excluded: Collection[str]
) -> Ask | None:
    fulfilment, units = part.fulfilment, _units(state, part)
    brief = context.views.campaigns.get(fulfilment.campaign_id)
    if brief is None or not units:
        return None
    try:
        able = candidates_of(brief, destination(state), store_id, state.channel, context)
    except Refused:
        able = {}  # asked all the same: it may have answered before, and that was not stored
    command = Reassign(
        state.claim_id,
        fulfilment.fulfilment_id,
        units,
        tuple([name for name in able if name not in (fulfilment.store_id, *excluded)]),
    )
    return Ask([(f"campaign/{fulfilment.campaign_id}", command)], Asked())


def _units(state: OrderState, part: Part) -> int:
    return sum(units for _, units in due_units(state, part))


def _units_given(context: Context) -> Reassigned | None:
    answer = context.answers[-1]
    if isinstance(answer, Problem):
        if answer.retryable:
            raise error_of(answer)
        return None
    assert isinstance(answer, Reassigned)
    return answer
