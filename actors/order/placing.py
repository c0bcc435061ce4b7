"""Place: check, price, route, lock, store. The hot path: one plan, one Ask, one event."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from actors.engine.kind import Ask, Context, Decision
from actors.order.campaigns import Seats, claim_for
from actors.order.locking import Hold, Quest, begin, resume
from actors.order.owing import keep, open_ticket, record_order
from actors.order.turn import Turn
from domain.catalogue.model import ChannelPolicy
from domain.customer.commands import CheckCod
from domain.errors import Problem, Refused, error_of
from domain.order.commands import Place
from domain.order.events import CodConfirmed, Fulfilment, Line, Paid, Placed
from domain.order.ids import free_payment_id
from domain.order.placing import (
    check_wish,
    demand_of,
    fulfilment_of,
    order_freight,
    pickup_code,
    price,
    share_freight,
)
from domain.order.rules import check_cod
from domain.order.state import OrderState, evolve
from domain.order.view import view

__all__ = ["place"]


def place(command: Place, context: Context) -> Decision | Ask:
    """The first command of an order. Raises ``Refused`` with the codes of
    ``domain.order.placing``, of ``domain.routing.plan``, and ``wrong-total``, ``wrong-currency``,
    ``cod-denied``, ``unknown-store``, ``no-pickup``, ``store-closed``."""
    if command.campaign_id:
        won = claim_for(command, context)
        return won if isinstance(won, Ask) else _placed_in_campaign(command, won, context)
    if command.group_id:
        raise Refused("unknown-group", "Name the group's campaign, too.")
    if context.memo is None:
        return begin(_quest(command, context), context)
    outcome = resume(context.memo, context)
    if isinstance(outcome, Ask):
        return outcome
    if isinstance(outcome, Problem):
        raise error_of(outcome)
    return _placed(command, outcome, context)


def _quest(command: Place, context: Context) -> Quest:
    check_wish(command)
    views = context.views
    policy: ChannelPolicy = views.channel(command.channel)
    order_id = context.entity_id
    skus = views.skus
    lines = price(order_id, command.lines, skus, policy)
    pickup = command.delivery == "pickup"
    if command.store_id:
        _check_store(command.store_id, pickup, context)
    quest = Quest(
        order_id=order_id,
        channel=command.channel,
        lines=lines,
        demands=[demand_of(line, line.quantity, skus[line.sku]) for line in lines],
        policy=policy,
        position=None if pickup or command.address is None else command.address.position,
        store_id=command.store_id,
        expires_at=context.now + policy.unpaid_s,
        number=1,
        next_line=len(lines) + 1,
        partial_ok=command.partial_ok,
        check=_Agreement(command, policy, len(lines)),
    )
    if command.payment == "cod":
        _allow_cod(quest, command)
    return quest


def _check_store(store_id: str, pickup: bool, context: Context) -> None:
    store = context.views.stores.get(store_id)
    if store is None:
        raise Refused("unknown-store", f"There is no store {store_id}.", store_id=store_id)
    if pickup and not store.pickup:
        raise Refused("no-pickup", f"Store {store_id} hands nothing out; have it delivered.")
    if not context.views.is_open(store_id, context.now):
        raise Refused("store-closed", f"Store {store_id} takes no orders now. Try again later.")


def _allow_cod(quest: Quest, command: Place) -> None:
    rule = quest.policy.cod
    customer = f"customer/{command.customer.customer_id}"
    quest.also = ((customer, CheckCod(quest.order_id, rule.refusals_max, rule.open_max)),)


@dataclass(slots=True)
class _Agreement:
    """Refuses a plan that is not what the customer was shown."""

    command: Place
    policy: ChannelPolicy
    lines: int

    def __call__(self, holds: Sequence[Hold]) -> None:
        command = self.command
        for hold in holds:
            if hold.part.store.currency != command.currency:
                raise Refused(
                    "wrong-currency",
                    f"This address is served in {hold.part.store.currency}.",
                    currency=hold.part.store.currency,
                )
        if command.expected_total is None and command.payment != "cod":
            return
        goods = _goods(holds)
        total = goods + order_freight([hold.part for hold in holds], goods)
        expected = command.expected_total
        cut = command.partial_ok and expected is not None and total < expected
        if expected is not None and total != expected and not cut:
            raise Refused(
                "wrong-total",
                f"The total is {total}, not {expected}. Show it to the customer and order again.",
                total=total,
                expected=expected,
            )
        if command.payment == "cod":
            check_cod(self.policy.cod, total, _fulfilments(holds, 0))


def _placed(command: Place, quest: Quest, context: Context) -> Decision:
    now = context.now
    holds = quest.plan
    goods = _goods(holds)
    freight = order_freight([hold.part for hold in holds], goods)
    online = command.payment == "online"
    pickup = command.delivery == "pickup"
    placed = Placed(
        order_id=quest.order_id,
        at=now,
        channel=command.channel,
        customer=command.customer,
        currency=command.currency,
        delivery=command.delivery,
        payment=command.payment,
        address=command.address,
        lines=_lines(holds),
        fulfilments=_fulfilments(holds, freight),
        goods=goods,
        freight=freight,
        total=goods + freight,
        expires_at=quest.expires_at if online else None,
        pickup_code=_code(context) if pickup else "",
        note=command.note,
        parked_s=quest.policy.parked_s,
        attempted=quest.number - 1,
        bound=bool(command.store_id),
    )
    state = evolve(None, placed)
    if online and placed.total:
        return Decision((placed,), view(state), state=state)
    return _confirmed(placed, state, context)


def _placed_in_campaign(command: Place, seats: Seats, context: Context) -> Decision:
    claimed = seats.claimed
    assert claimed is not None
    placed = Placed(
        order_id=context.entity_id,
        at=context.now,
        channel=command.channel,
        customer=command.customer,
        currency=command.currency,
        delivery=command.delivery,
        payment=command.payment,
        address=command.address,
        lines=seats.lines,
        fulfilments=seats.fulfilments,
        goods=seats.line.amount,
        freight=seats.freight,
        total=seats.total,
        expires_at=claimed.expires_at,
        pickup_code=_code(context) if command.delivery == "pickup" else "",
        note=command.note,
        parked_s=context.views.channel(command.channel).parked_s,
        attempted=len(seats.fulfilments),
        bound=bool(command.store_id),
        campaign_id=command.campaign_id,
        claim_id=claimed.claim_id,
        group_id=claimed.group_id,
        heads_group=bool(claimed.group_id) and not command.group_id,
    )
    state = evolve(None, placed)
    if placed.total:
        return Decision((placed,), view(state), state=state)
    return _confirmed(placed, state, context)


def _confirmed(placed: Placed, state: OrderState, context: Context) -> Decision:
    """An order that waits for no payment (cash on delivery, or free) goes to its stores at once."""
    turn = Turn(state, context)
    turn.events.append(placed)
    if placed.payment == "cod":
        turn.record(CodConfirmed(placed.at))
        record_order(turn)
        for part in turn.state.parts:
            open_ticket(turn, part)
    else:
        keep(turn, Paid(placed.at, free_payment_id(placed.order_id), "none", "", 0))
    return turn.answer()


def _code(context: Context) -> str:
    secret: bytes = getattr(context.views, "pickup_secret", b"")
    return pickup_code(context.command_id, context.entity_id, secret)


def _goods(holds: Sequence[Hold]) -> int:
    return sum([line.amount for hold in holds for line, _ in hold.pieces])


def _lines(holds: Sequence[Hold]) -> tuple[Line, ...]:
    return tuple(
        [
            replace(line, fulfilment_id=hold.fulfilment_id)
            for hold in holds
            for line, _ in hold.pieces
        ]
    )


def _fulfilments(holds: Sequence[Hold], freight: int) -> tuple[Fulfilment, ...]:
    shares = share_freight(freight, [hold.pieces for hold in holds])
    return tuple(
        [
            fulfilment_of(hold.fulfilment_id, hold.part, share)
            for hold, share in zip(holds, shares, strict=True)
        ]
    )
