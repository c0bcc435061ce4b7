"""Winning the units and the seat of a campaign's order: they are claimed at the campaign instead of
locked at a store.

The units were set aside before; the campaign is their lock authority. The search lives in
``Ask.memo`` between the calls of ``decide``. DOMAIN, Group-buy and Flash sale.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

from msgspec.structs import replace

from actors.engine.kind import Ask, Context
from domain import routing
from domain.campaign import rules
from domain.campaign.brief import Brief
from domain.campaign.commands import CheckPay, Claim, Terms, Unclaim
from domain.campaign.events import Claimed
from domain.customer.commands import CheckNewcomer
from domain.errors import Problem, Refused, error_of
from domain.geo import Position
from domain.neighbourhood import Candidate, preference
from domain.order import ids
from domain.order.commands import Place
from domain.order.events import Fulfilment, Line, Unit
from domain.order.placing import (
    ServedPart,
    allocation_of,
    check_wish,
    demand_of,
    order_freight,
    price,
    share_out,
    wrong_currency,
    wrong_total,
)
from domain.order.state import OrderState, destination

__all__ = [
    "ASKING_S", "HOLD_GRACE_S", "ClaimSearch", "candidates_of", "check_pay", "claim_again",
    "claim_for",
]  # fmt: skip

CLAIM, NEWCOMER, HOLD, UNDO = "claim", "newcomer", "hold", "undo"
ASKING_S = 5.0
"""The newcomer's privilege is reserved for so long while the claim is asked for, which spares
others a seat that would be given back at once. What counts is that it is held once the claim is
won ..."""
HOLD_GRACE_S = 900.0
"""... until so long after the claim's expiry: by then the order is recorded as paid, or has told
that it is void. One that died before it was placed never tells."""


@dataclass(slots=True)
class ClaimSearch:
    """A search for a campaign's units; once won, what the order's fulfilments will be."""

    campaign_id: str
    terms: Terms
    claim: Claim
    line: Line
    """All units wanted, as one line."""
    candidates: dict[str, Candidate]
    number: int
    """Of the first fulfilment."""
    next_line: int
    fee: int | None
    """The freight already agreed; None: still to be told."""
    stage: str = CLAIM
    newcomer: bool = False
    """The seat is for newcomers alone."""
    problem: Problem | None = None
    claimed: Claimed | None = None
    fulfilments: tuple[Fulfilment, ...] = ()
    lines: tuple[Line, ...] = ()
    freight: int = 0

    @property
    def won(self) -> Claimed:
        """What the campaign has given; only of a search that was won."""
        assert self.claimed is not None
        return self.claimed

    @property
    def total(self) -> int:
        """Minor units, freight included."""
        return self.line.amount + self.freight


def claim_for(command: Place, context: Context) -> Ask | ClaimSearch:
    """Claim what a new order asks of its campaign; the search once it is won, and then the
    caller stores the order. Raises ``Refused`` with the codes of ``domain.order.placing``, of
    ``domain.campaign.rules.claim``, and ``unknown-campaign``, ``campaign-lines``,
    ``campaign-online``, ``wrong-currency``, ``wrong-total``, ``no-zone``, ``no-store-open``,
    ``not-newcomer``."""
    search: ClaimSearch | None = context.memo
    if search is None:
        return _first_question(command, context)
    if search.stage == NEWCOMER:
        answer = context.answers[-1]
        if isinstance(answer, Problem):
            raise error_of(answer)
        return _ask_claim(search)
    if search.stage == HOLD:
        return _held(search, context)
    if search.stage == UNDO:
        assert search.problem is not None
        raise error_of(search.problem)
    won = _won(search, context)
    if isinstance(won, Problem):
        raise error_of(won)
    expected = command.expected_total
    if expected is not None and won.total != expected:
        return _undo(won, wrong_total(won.total, expected).as_problem())
    return _hold(won) if won.newcomer else won


def claim_again(state: OrderState, context: Context) -> Ask | ClaimSearch | Problem:
    """A late payer's claim: the same units, in the same group if it has a seat, else by the
    campaign's policy. A group for newcomers takes who joined it back only if they still are one;
    who opened it need not be one. Raises what may be tried again."""
    search: ClaimSearch | None = context.memo
    if search is None:
        return _late_question(state, context)
    if search.stage == HOLD:
        return _held(search, context)
    if search.stage == UNDO:
        return _apart(search, context.now)
    outcome = _won(search, context)
    if isinstance(outcome, Problem):
        if outcome.retryable:
            raise error_of(outcome)
        return outcome
    if not outcome.newcomer or outcome.won.group_id != state.group_id:  # the head of a new one
        return outcome
    return _hold(outcome, "" if state.kept else state.claim_id)


def check_pay(state: OrderState, context: Context) -> Ask | None:
    """Before a payment is opened: the seat may still be paid (asked once). Raises ``Refused``:
    ``seat-gone``, ``campaign-sold-out``."""
    if not state.group_id:
        return None
    if not context.answers:
        return Ask([(f"campaign/{state.campaign_id}", CheckPay(state.claim_id))])
    (answer,) = context.answers
    if isinstance(answer, Problem):
        raise error_of(answer)
    return None


def candidates_of(
    brief: Brief, position: Position | None, store_id: str, channel: str, context: Context
) -> dict[str, Candidate]:
    """The campaign's open stores that reach the customer and have not paused what it sells, the
    preferred first (Routing, rule 2).

    Raises ``Refused``: ``no-zone``, ``no-store-open``."""
    found = []
    for share in brief.terms.quota:
        if store_id in ("", share.store_id):
            one = context.views.candidate(share.store_id, context.now, position, channel)
            if one is not None and (position is not None or one.store.pickup):
                found.append(one)
    if not found:
        raise Refused("no-zone", "No store of this campaign serves this customer.")
    skus = [part.sku for part in brief.stock]
    withheld = context.views.is_withheld
    able = [one for one in found if one.open and not withheld(one.store.store_id, skus)]
    able.sort(key=preference)
    if not able:
        raise Refused("no-store-open", "The campaign's stores here are closed now.")
    return {one.store.store_id: one for one in able}


# A new order ----------------------------------------------------------------------------------


def _first_question(command: Place, context: Context) -> Ask:
    check_wish(command)
    views = context.views
    brief: Brief = views.campaign(command.campaign_id)
    if brief.rested:  # the campaign itself may be forgotten
        rules.check_window(brief.terms, brief.ended, context.now)
    policy = views.channel(command.channel)
    order_id = context.entity_id
    line = _campaign_line(command, brief, price(order_id, command.lines, views.skus, policy))
    if command.currency != brief.terms.currency:
        raise wrong_currency("This campaign is sold", brief.terms.currency)
    position = command.address.position if command.delivery == "delivery" else None  # type: ignore[union-attr]
    candidates = candidates_of(brief, position, command.store_id, command.channel, context)
    claim = Claim(
        "", order_id, command.customer.customer_id, command.channel, line.quantity,
        tuple(candidates), group_id=command.group_id, asked_at=context.now,
    )  # fmt: skip
    claim = _named(_within_limits(claim, line, candidates, context), 1, command.campaign_id)
    search = ClaimSearch(command.campaign_id, brief.terms, claim, line, candidates, 1, 2, None)
    if command.group_id and _for_newcomers(brief.terms):
        search.newcomer, search.stage = True, NEWCOMER
        check = CheckNewcomer(order_id, context.now + ASKING_S)
        return Ask([(f"customer/{claim.customer_id}", check)], search)
    return _ask_claim(search)


def _campaign_line(command: Place, brief: Brief, lines: Sequence[Line]) -> Line:
    """The wish as one line at the campaign's price. A combo holds what it held when the quota was
    set aside, whatever the catalogue says by now."""
    terms = brief.terms
    if len(lines) != 1 or lines[0].sku != terms.sku:
        raise Refused("campaign-lines", f"An order of this campaign holds {terms.sku} alone.")
    if command.payment != "online":
        raise Refused("campaign-online", "Orders of a campaign are paid online.")
    if not command.customer.customer_id:
        raise Refused("no-customer", "An order of a campaign needs a known customer.")
    (line,) = lines
    return replace(
        line,
        stock=tuple(Unit(part.sku, part.quantity) for part in brief.stock),
        unit_price=terms.price,
        amount=terms.price * line.quantity,
        list_price=line.unit_price,
        issuer=terms.issuer,
    )


# Paid late --------------------------------------------------------------------------------------


def _late_question(state: OrderState, context: Context) -> Ask | Problem:
    brief = context.views.campaigns.get(state.campaign_id)
    if brief is None:
        return Problem("unknown-campaign", "The campaign is not known here any more.")
    if state.marks and len(state.lines) > 1:  # what was refunded of them is told by line
        return Problem("line-not-divisible", "Units of several lines were refunded before.")
    bound = state.parts[0].fulfilment.store_id if state.bound else ""
    try:
        candidates = candidates_of(brief, destination(state), bound, state.channel, context)
    except Refused as refusal:
        return refusal.as_problem()
    line = replace(
        state.lines[0],
        quantity=sum(line.quantity for line in state.lines),
        amount=sum(line.amount for line in state.lines),
    )
    number = state.number + 1
    claim = Claim(
        "", state.order_id, state.customer.customer_id, state.channel, line.quantity,
        tuple(candidates), group_id=state.group_id, late=True, asked_at=context.now,
    )  # fmt: skip
    claim = _named(_within_limits(claim, line, candidates, context), number, state.campaign_id)
    next_line = ids.next_line_number(state.lines)
    search = ClaimSearch(
        state.campaign_id, brief.terms, claim, line, candidates, number, next_line, state.freight
    )
    search.newcomer = _for_newcomers(brief.terms) and not state.heads_group
    return _ask_claim(search)


def _apart(search: ClaimSearch, now: float) -> Ask | Problem:
    """The late payer is no newcomer any more: what the campaign's policy says."""
    assert search.problem is not None
    rule = search.terms.group
    if rule is None or rule.late != "head_of_new_group":
        return search.problem
    search = _at(search, CLAIM)
    search.number, search.newcomer = search.number + 1, False
    claim = replace(search.claim, group_id="", asked_at=now)
    search.claim = _named(claim, search.number, search.campaign_id)
    return _ask_claim(search)


# The steps of a search ---------------------------------------------------------------------------


def _won(search: ClaimSearch, context: Context) -> ClaimSearch | Problem:
    """What the campaign answered: the fulfilments to store, or why there are none."""
    answer = context.answers[-1]
    if isinstance(answer, Problem):
        return answer
    assert isinstance(answer, Claimed)
    line = search.line
    parts: list[routing.Part] = []
    for share in answer.parts:
        demand = demand_of(line, share.units, context.views.skus.get(line.sku))
        parts += routing.parcels(search.candidates[share.store_id], [demand])
    wanted = {line.line_id: line.quantity}
    shares = share_out([line], wanted, parts, search.next_line)
    fee = order_freight(parts, line.amount) if search.fee is None else search.fee
    served = [
        ServedPart(ids.fulfilment_id(search.claim.order_id, number), part, pieces)
        for number, (part, pieces) in enumerate(zip(parts, shares, strict=True), search.number)
    ]
    search.claimed, search.freight = answer, fee
    search.fulfilments, search.lines = allocation_of(served, fee, search.campaign_id)
    return search


def _within_limits(
    claim: Claim, line: Line, candidates: dict[str, Candidate], context: Context
) -> Claim:
    """The claim with what Routing, rules 2 and 3, say about serving it from several stores."""
    views = context.views
    policy, sku = views.channel(claim.channel), views.skus.get(line.sku)
    least = policy.min_part_value
    part_min = -(-least // line.unit_price) if line.unit_price else claim.quantity
    return replace(
        claim,
        splits_max=1 if sku is not None and sku.group else policy.max_splits,
        tiers=tuple([preference(one)[0] for one in candidates.values()]),
        part_min=max(1, part_min) if least else 1,
    )


def _named(claim: Claim, number: int, campaign_id: str) -> Claim:
    """The claim under an id of this wish alone. A claim can be stored although its order was not,
    and the order's id may then be used for another wish: that one must not find this claim and take
    it for its own."""
    stores = " ".join(sorted(claim.stores))
    wish = f"{campaign_id} {claim.customer_id} {claim.quantity} {claim.group_id} {stores}"
    return replace(claim, claim_id=ids.claim_id(claim.order_id, number, wish))


def _for_newcomers(terms: Terms) -> bool:
    """Whether only newcomers join its groups (anyone opens one)."""
    return terms.group is not None and terms.group.kind == "newcomers"


def _ask_claim(search: ClaimSearch) -> Ask:
    search = _at(search, CLAIM)
    return Ask([(f"campaign/{search.campaign_id}", search.claim)], search)


def _hold(search: ClaimSearch, instead_of: str = "") -> Ask:
    """The customer is a newcomer as long as the claim that was won may be paid."""
    search = _at(search, HOLD)
    claim = search.claim
    check = CheckNewcomer(claim.order_id, search.won.expires_at + HOLD_GRACE_S, instead_of)
    return Ask([(f"customer/{claim.customer_id}", check)], search)


def _held(search: ClaimSearch, context: Context) -> Ask | ClaimSearch:
    """Whether they are; another order of theirs may have been faster."""
    answer = context.answers[-1]
    if not isinstance(answer, Problem):
        return search
    if answer.retryable:
        raise error_of(answer)
    return _undo(search, answer)


def _undo(search: ClaimSearch, problem: Problem) -> Ask:
    """The claim is not what the customer was shown, or not for them: it is given back at once."""
    search = _at(search, UNDO)
    search.problem = problem
    claim = search.claim
    unclaim = Unclaim(claim.claim_id, f"not taken: {problem.code}", claim.asked_at)
    return Ask([(f"campaign/{search.campaign_id}", unclaim)], search)


def _at(search: ClaimSearch, stage: str) -> ClaimSearch:
    """The same search at another stage; memos are not changed in place."""
    search = copy(search)
    search.stage = stage
    return search
