"""Orders of a campaign: units and seat are claimed at the campaign instead of locked at a store.

The units were set aside before; the campaign is their lock authority. A paid order is *held* until
the campaign has confirmed its claim (and its group has formed); only then do its goods leave the
quota and its tickets reach their stores. DOMAIN, Group-buy and Flash sale.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

from msgspec.structs import replace

from actors.engine.kind import Answered, Ask, Context, Decision
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
from actors.order.renewing import at_store
from actors.order.turn import Turn
from domain import routing
from domain.campaign import rules
from domain.campaign.brief import Brief
from domain.campaign.commands import CheckPay, Claim, Confirm, Unclaim
from domain.campaign.events import Claimed
from domain.campaign.views import Seating
from domain.customer.commands import CheckNewcomer
from domain.errors import Problem, Refused, error_of
from domain.geo import Position
from domain.neighbourhood import Candidate, preference
from domain.order import ids
from domain.order.commands import Place, RecordGroup
from domain.order.events import (
    Cancelled,
    Fulfilment,
    FulfilmentCancelled,
    Line,
    Reseated,
    SeatConfirmed,
    Unit,
)
from domain.order.money import refund_cuts
from domain.order.placing import (
    check_wish,
    demand_of,
    fulfilment_of,
    order_freight,
    price,
    share_freight,
    share_out,
)
from domain.order.rules import LIVE_STATES
from domain.order.state import OrderState, destination, lines_of

__all__ = [
    "Seats", "candidates_of", "check_pay", "claim_again", "claim_for", "record_group",
    "seat_answered", "seats_won",
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
class Seats:
    """A search for a campaign's units; once won, what the order's fulfilments will be."""

    campaign_id: str
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
    def total(self) -> int:
        """Minor units, freight included."""
        return self.line.amount + self.freight


def claim_for(command: Place, context: Context) -> Ask | Seats:
    """Claim what a new order asks of its campaign; ``Seats`` once won, and then the caller stores
    the order. Raises ``Refused`` with the codes of ``domain.order.placing``, of
    ``domain.campaign.rules.claim``, and ``unknown-campaign``, ``campaign-lines``,
    ``campaign-online``, ``wrong-currency``, ``wrong-total``, ``no-zone``, ``no-store-open``,
    ``not-newcomer``."""
    seats: Seats | None = context.memo
    if seats is None:
        return _first_question(command, context)
    if seats.stage == NEWCOMER:
        answer = context.answers[-1]
        if isinstance(answer, Problem):
            raise error_of(answer)
        return _ask_claim(seats)
    if seats.stage == HOLD:
        return _held(seats, context)
    if seats.stage == UNDO:
        assert seats.problem is not None
        raise error_of(seats.problem)
    won = seats_won(seats, context)
    if isinstance(won, Problem):
        raise error_of(won)
    expected = command.expected_total
    if expected is not None and won.total != expected:
        return _undo(won, _wrong_total(won, expected))
    return _hold(won) if won.newcomer else won


def seats_won(seats: Seats, context: Context) -> Seats | Problem:
    """What the campaign answered: the fulfilments to store, or why there are none."""
    answer = context.answers[-1]
    if isinstance(answer, Problem):
        return answer
    assert isinstance(answer, Claimed)
    line = seats.line
    parts: list[routing.Part] = []
    for share in answer.parts:
        demand = demand_of(line, share.units, context.views.skus.get(line.sku))
        parts += routing.parcels(seats.candidates[share.store_id], [demand])
    wanted = {line.line_id: line.quantity}
    shares = share_out([line], wanted, parts, seats.next_line)
    fee = order_freight(parts, line.amount) if seats.fee is None else seats.fee
    fulfilments, lines = [], []
    for number, (part, pieces, freight) in enumerate(
        zip(parts, shares, share_freight(fee, shares), strict=True), seats.number
    ):
        fulfilment_id = ids.fulfilment_id(seats.claim.order_id, number)
        made = fulfilment_of(fulfilment_id, part, freight)
        fulfilments.append(replace(made, campaign_id=seats.campaign_id))
        lines += [replace(piece, fulfilment_id=fulfilment_id) for piece, _ in pieces]
    seats.claimed, seats.freight = answer, fee
    seats.fulfilments, seats.lines = tuple(fulfilments), tuple(lines)
    return seats


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
        raise Refused(
            "wrong-currency",
            f"This campaign is sold in {brief.terms.currency}.",
            currency=brief.terms.currency,
        )
    position = command.address.position if command.delivery == "delivery" else None  # type: ignore[union-attr]
    candidates = candidates_of(brief, position, command.store_id, command.channel, context)
    claim = Claim(
        "", order_id, command.customer.customer_id, command.channel, line.quantity,
        tuple(candidates), group_id=command.group_id, asked_at=context.now,
    )  # fmt: skip
    claim = _named(_within_limits(claim, line, candidates, context), 1, command.campaign_id)
    seats = Seats(command.campaign_id, claim, line, candidates, 1, 2, None)
    if command.group_id and _for_newcomers(brief):
        seats.newcomer, seats.stage = True, NEWCOMER
        check = CheckNewcomer(order_id, context.now + ASKING_S)
        return Ask([(f"customer/{claim.customer_id}", check)], seats)
    return _ask_claim(seats)


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


def _for_newcomers(brief: Brief) -> bool:
    """Whether only newcomers join its groups (anyone opens one)."""
    return brief.terms.group is not None and brief.terms.group.kind == "newcomers"


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


def _ask_claim(seats: Seats) -> Ask:
    seats = _at(seats, CLAIM)
    return Ask([(f"campaign/{seats.campaign_id}", seats.claim)], seats)


def _hold(seats: Seats, instead_of: str = "") -> Ask:
    """The customer is a newcomer as long as the claim that was won may be paid."""
    seats = _at(seats, HOLD)
    claim, claimed = seats.claim, seats.claimed
    assert claimed is not None
    check = CheckNewcomer(claim.order_id, claimed.expires_at + HOLD_GRACE_S, instead_of)
    return Ask([(f"customer/{claim.customer_id}", check)], seats)


def _held(seats: Seats, context: Context) -> Ask | Seats:
    """Whether they are; another order of theirs may have been faster."""
    answer = context.answers[-1]
    if not isinstance(answer, Problem):
        return seats
    if answer.retryable:
        raise error_of(answer)
    return _undo(seats, answer)


def _undo(seats: Seats, problem: Problem) -> Ask:
    """The claim is not what the customer was shown, or not for them: it is given back at once."""
    seats = _at(seats, UNDO)
    seats.problem = problem
    claim = seats.claim
    unclaim = Unclaim(claim.claim_id, f"not taken: {problem.code}", claim.asked_at)
    return Ask([(f"campaign/{seats.campaign_id}", unclaim)], seats)


def _wrong_total(seats: Seats, expected: int) -> Problem:
    return Problem(
        "wrong-total",
        f"The total is {seats.total}, not {expected}. Show it to the customer and order again.",
        extra={"total": seats.total, "expected": expected},
    )


def _at(seats: Seats, stage: str) -> Seats:
    """The same search at another stage; memos are not changed in place."""
    seats = copy(seats)
    seats.stage = stage
    return seats


# Paying -----------------------------------------------------------------------------------------


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


def claim_again(state: OrderState, context: Context) -> Ask | Seats | Problem:
    """A late payer's claim: the same units, in the same group if it has a seat, else by the
    campaign's policy. A group for newcomers takes who joined it back only if they still are one;
    who opened it need not be one. Raises what may be tried again."""
    seats: Seats | None = context.memo
    if seats is None:
        return _late_question(state, context)
    if seats.stage == HOLD:
        return _held(seats, context)
    if seats.stage == UNDO:
        return _apart(seats, context)
    won = seats_won(seats, context)
    if isinstance(won, Problem) or not won.newcomer:
        return won
    assert won.claimed is not None
    if won.claimed.group_id != state.group_id:  # the head of a new one
        return won
    return _hold(won, "" if state.kept else state.claim_id)


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
    seats = Seats(state.campaign_id, claim, line, candidates, number, next_line, state.freight)
    seats.newcomer = _for_newcomers(brief) and not state.heads_group
    return _ask_claim(seats)


def _apart(seats: Seats, context: Context) -> Ask | Problem:
    """The late payer is no newcomer any more: what the campaign's policy says."""
    assert seats.problem is not None
    brief = context.views.campaigns.get(seats.campaign_id)
    rule = None if brief is None else brief.terms.group
    if rule is None or rule.late != "head_of_new_group":
        return seats.problem
    seats = _at(seats, CLAIM)
    seats.number, seats.newcomer = seats.number + 1, False
    claim = replace(seats.claim, group_id="", asked_at=context.now)
    seats.claim = _named(claim, seats.number, seats.campaign_id)
    return _ask_claim(seats)


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
        _fail(turn, "group-failed", "its group did not form")
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


def _waits(state: OrderState) -> bool:
    return state.state in LIVE_STATES and any(part.state == "held" for part in state.parts)


def _seat_gone(turn: Turn, problem: Problem) -> Decision | Ask:
    """The seat was lost between payment and confirmation: as for any late payer."""
    if problem.retryable:
        return turn.decision()
    outcome = claim_again(turn.state, turn.context)
    if isinstance(outcome, Ask):
        return outcome
    if isinstance(outcome, Problem):
        if outcome.retryable:
            raise error_of(outcome)
        _fail(turn, "paid-too-late", outcome.detail)
        return turn.decision()
    claimed = outcome.claimed
    assert claimed is not None
    turn.record(
        Reseated(turn.now, outcome.fulfilments, outcome.lines, claimed.claim_id, claimed.group_id)
    )
    state = turn.state
    turn.owe(f"campaign/{state.campaign_id}", Confirm(state.claim_id), True)
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
    reason = "more members, lower price"
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
    to = at_store(state, store_id, turn.context)
    fulfilments, lines = [], []
    for number, part in enumerate(held, state.number + 1):
        fulfilment_id = ids.fulfilment_id(state.order_id, number)
        moved = fulfilment_of(fulfilment_id, to, part.fulfilment.freight)
        fulfilments.append(replace(moved, campaign_id=state.campaign_id))
        lines += [replace(line, fulfilment_id=fulfilment_id) for line in lines_of(state, part)]
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
