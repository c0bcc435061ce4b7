"""One campaign as an actor kind; the rules are in ``domain.campaign``.

Entity id = campaign id. Its groups live inside it, so that a claim of units and seat is one step.
It never asks: it owes its stores the setting aside and giving back of the quota, its orders the
outcome of their group, and silent orders the question whether they still want their claim.
"""

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from actors.engine.kind import NEVER, Answered, Context, Decision, Division, Kind, Send, Wake
from domain.campaign import rules
from domain.campaign.commands import (
    CheckPay,
    Claim,
    Confirm,
    End,
    Get,
    Open,
    Reassign,
    Share,
    Unassign,
    Unclaim,
)
from domain.campaign.events import (
    After,
    Claimed,
    ClaimKept,
    GroupFailed,
    GroupFormed,
    QuotaRefused,
    Reassigned,
    Unclaimed,
)
from domain.campaign.places import store_of
from domain.campaign.state import (
    PART_TYPES,
    CampaignEvent,
    CampaignState,
    Seat,
    evolve,
    parts_of,
)
from domain.campaign.terms import check_terms
from domain.campaign.view import ended_view, seating, view
from domain.campaign.views import CampaignView, Seating
from domain.catalogue.model import Component
from domain.errors import Refused, Unavailable
from domain.inventory.commands import GiveBack, SetAside, StockItem
from domain.notice import Notify
from domain.order.commands import ConfirmClaim, RecordGroup

__all__ = ["KIND", "decide", "finished_at", "wake_at"]

NOTICES = "notify/log"
CLOCKS_DIFFER_S = 60.0
"""So much an order's clock may be ahead of its campaign's."""

CampaignCommand: TypeAlias = (
    Open | Claim | Confirm | Unclaim | Reassign | Unassign | CheckPay | End | Get
)


def decide(
    state: CampaignState | None, command: CampaignCommand | Wake | Answered, context: Context
) -> Decision:
    """Replies as each command says. Raises ``Refused`` with ``unknown-campaign`` for every command
    but ``Open`` to a campaign that was never opened."""
    if isinstance(command, Open):
        return _open(state, command, context)
    if state is None:
        raise Refused("unknown-campaign", f"There is no campaign {context.entity_id}.")
    now = context.now
    match command:
        case Claim():
            return _claim(state, command, context)
        case Confirm(claim_id):
            events, returned = rules.confirm(state, command, now)
            reply = seating(state, claim_id, events)
            sends = _give_back(state, f"confirm {claim_id}", returned, context)
            return Decision(events, reply, [*sends, *_tell_group(state, events, context)])
        case Unclaim():
            return _unclaim(state, command, context, True)
        case Reassign():
            reassigned, new = rules.reassign(state, command, now)
            return Decision([reassigned] if new else [], reassigned)
        case Unassign(claim_id, fulfilment_id):
            events, returned = rules.unassign(state, command, now)
            document = f"unassign {claim_id} {fulfilment_id}"
            return Decision(events, True, _give_back(state, document, returned, context))
        case CheckPay(claim_id):
            rules.check_pay(state, claim_id)
            return Decision(reply=True)
        case End(by, why):
            return _end(state, by, why, context)
        case Get():
            return Decision(reply=view(state, context.entity_id, now))
        case Wake():
            return _wake(state, context)
        case Answered():
            return _answered(state, command, context)
        case _:
            assert_never(command)


def _open(state: CampaignState | None, command: Open, context: Context) -> Decision:
    if state is not None:
        raise Refused("campaign-exists", f"Campaign {context.entity_id} exists; read it.")
    terms, views = command.terms, context.views
    check_terms(terms, context.now)
    sku = views.skus.get(terms.sku)
    if sku is None:
        raise Refused("unknown-sku", f"Nothing is sold as {terms.sku}.", skus=[terms.sku])
    if terms.price > sku.price:
        raise Refused(
            "wrong-terms", f"The normal price is {sku.price}: offer a better one.", field="price"
        )
    for share in terms.quota:
        store = views.stores.get(share.store_id)
        if store is None:
            raise Refused("unknown-store", f"There is no store {share.store_id}.")
        if store.currency != terms.currency:
            raise Refused(
                "wrong-terms", f"{share.store_id} sells in {store.currency}.", field="currency"
            )
    stock = tuple(Component(name, units) for name, units in views.stock_of(sku))
    opened = rules.opened(command, stock, sku.price, context.now)
    new = evolve(None, opened)
    campaign_id = context.entity_id
    sends = [
        Send(
            f"inventory/{share.store_id}",
            SetAside(campaign_id, campaign_id, _items(new, share.units)),
            wants_answer=True,
        )
        for share in terms.quota
    ]
    return Decision([opened], view(new, campaign_id, context.now), sends)


def _claim(state: CampaignState, command: Claim, context: Context) -> Decision:
    since = command.asked_at - CLOCKS_DIFFER_S
    seat = state.seats.get(command.claim_id) or state.settled_seat(command.claim_id, since)
    if seat is not None and seat.outcome != "failed" and not _left_behind(seat, command, context):
        after = After((), state.tally)
        return Decision(reply=rules.claimed_again(seat, command.claim_id, after, context.now))
    before = state.claims.get(command.order_id)
    if before is not None:
        return _claimed_before(state, before, command, context)
    events = rules.claim(state, command, context.entity_id, context.now)
    return Decision(events, events[-1])


def _left_behind(seat: Seat, command: Claim, context: Context) -> bool:
    """Whether the same wish is placed anew (its order was not stored) and its first claim, which
    nobody will pay, is over."""
    over = not seat.paid and seat.expires_at <= context.now
    return over and command.asked_at > seat.asked_at


def _claimed_before(
    state: CampaignState, claim_id: str, command: Claim, context: Context
) -> Decision:
    """What an order claimed before is of a wish that was never stored, or of one whose time to pay
    is over, and whose word for that is still on its way. It is given back first, so that nobody
    stands in their own way; the order asks again in a moment."""
    if command.asked_at < state.seats[claim_id].asked_at:
        raise Refused("claimed-since", "This order has claimed something else since.")
    again = Unavailable("claimed-before", "An earlier claim was given back first; claim again.")
    return _unclaim(state, Unclaim(claim_id, "claimed anew"), context, again.as_problem())


def _unclaim(state: CampaignState, command: Unclaim, context: Context, reply: object) -> Decision:
    """The claim is given back: its units to their stores if the campaign is over, and who was in
    its group learns what that decides."""
    events, returned = rules.unclaim(state, command, context.now)
    sends = _give_back(state, f"unclaim {command.claim_id}", returned, context)
    return Decision(events, reply, [*sends, *_tell_group(state, events, context)])


def _end(state: CampaignState, by: str, why: str, context: Context) -> Decision:
    ended = rules.end(state, by, why, context.now)
    if ended is None:
        return Decision(reply=view(state, context.entity_id, context.now))
    sends = _give_back(state, "end", ended.returned, context)
    return Decision([ended], ended_view(state, ended, context.entity_id), sends)


# What is owed -----------------------------------------------------------------------------------


def _tell_group(
    state: CampaignState, events: Sequence[CampaignEvent], context: Context
) -> list[Send]:
    """The orders of a group that formed or failed learn of it, the unpaid ones that their seat is
    void. The one that is being answered hears it twice, which changes nothing."""
    sends = []
    gone = {event.claim_id for event in events if isinstance(event, Unclaimed)}
    for event in events:
        if not isinstance(event, GroupFormed | GroupFailed):
            continue
        for claim_id in state.members[event.group_id]:
            if claim_id in gone:
                continue
            order_id = state.seats[claim_id].order_id
            outcome, price, reason, store_id = "void", 0, "it was not paid in time", ""
            if isinstance(event, GroupFailed):
                reason = event.reason
            if order_id in event.order_ids:
                outcome = "failed"
                if isinstance(event, GroupFormed):
                    outcome, price, reason = "formed", event.price, ""
                    store_id = store_of(state, event, claim_id)
            told = RecordGroup(
                context.entity_id, claim_id, event.group_id, outcome, price, reason, context.now,
                store_id,
            )  # fmt: skip
            sends.append(Send(f"order/{order_id}", told))
    return sends


def _give_back(
    state: CampaignState, document: str, returned: Sequence[Share], context: Context
) -> list[Send]:
    """Units go back to their stores, under a document of the campaign's own."""
    campaign_id = context.entity_id
    return [
        Send(
            f"inventory/{share.store_id}",
            GiveBack(f"{campaign_id} {document}", campaign_id, _items(state, share.units)),
        )
        for share in returned
    ]


def _items(state: CampaignState, units: int) -> tuple[StockItem, ...]:
    return tuple(StockItem(part.sku, part.quantity * units) for part in state.stock)


# Answers and time -------------------------------------------------------------------------------


def _answered(state: CampaignState, command: Answered, context: Context) -> Decision:
    match command.command:
        case SetAside():
            return _quota_answered(state, command, context)
        case ConfirmClaim(claim_id):
            return _claim_answered(state, claim_id, command, context)
    return Decision()


def _quota_answered(state: CampaignState, command: Answered, context: Context) -> Decision:
    store_id = command.to.partition("/")[2]
    shelf = state.shelves[store_id]
    problem = command.problem
    if shelf.answered or (problem is not None and problem.retryable):
        return Decision()
    if problem is not None:
        facts = {"campaign_id": context.entity_id, "store_id": store_id, "reason": problem.detail}
        refused = QuotaRefused(store_id, problem.code, problem.detail, context.now)
        return Decision([refused], sends=[Send(NOTICES, Notify("ops", "quota-refused", facts))])
    filled = rules.quota_set(state, store_id, context.now)
    if filled is None:
        return Decision()
    event, ahead = filled
    return Decision([event], sends=_give_back(state, "late", ahead.returned(), context))


def _claim_answered(
    state: CampaignState, claim_id: str, command: Answered, context: Context
) -> Decision:
    """Any refusal but *unknown order* leaves the claim as it is: it will be asked about again."""
    seat = state.seats.get(claim_id)
    if seat is None or seat.paid:
        return Decision()
    if command.answer is True:
        return Decision([ClaimKept(claim_id, context.now + rules.ASK_AGAIN_S)])
    problem = command.problem
    if command.answer is False or (problem is not None and problem.code == "unknown-order"):
        return _unclaim(state, Unclaim(claim_id, "expired"), context, None)
    return Decision()


def _wake(state: CampaignState, context: Context) -> Decision:
    """One thing at a time; the next wake-up comes at once if more is due."""
    now = context.now
    ended = rules.end(state, "time", "", now) if now >= state.terms.ends_at else None
    if ended is not None:
        return Decision([ended], sends=_give_back(state, "end", ended.returned, context))
    group_id = rules.due_group(state, now)
    if group_id is not None:
        events, returned = rules.close_group(state, group_id, now)
        sends = _give_back(state, f"group {group_id}", returned, context)
        return Decision(events, sends=[*sends, *_tell_group(state, events, context)])
    asked = rules.due_claims(state, now)
    if asked is None:
        return Decision()
    return Decision(
        [asked],
        sends=[
            Send(
                f"order/{state.seats[claim_id].order_id}",
                ConfirmClaim(claim_id, context.entity_id),
                wants_answer=True,
            )
            for claim_id in asked.claim_ids
        ],
    )


def wake_at(state: CampaignState) -> float:
    """The next of: the campaign's end, a group's, an overdue claim."""
    return state.timers[0][0] if state.timers else NEVER


def finished_at(state: CampaignState) -> float:
    """Since when it is over, nothing held or open any more."""
    if not state.ended or state.seats or state.groups:
        return NEVER
    if not all(shelf.answered for shelf in state.shelves.values()):
        return NEVER
    return state.ended_at


KIND = Kind(
    name="campaign",
    never_packed=True,
    division=Division(parts_of, PART_TYPES, CampaignState.rejoin),
    state=CampaignState,
    commands=CampaignCommand,
    events=CampaignEvent,
    replies=CampaignView | Seating | Claimed | Reassigned | bool,
    decide=decide,
    evolve=evolve,
    wake_at=wake_at,
    finished_at=finished_at,
)
