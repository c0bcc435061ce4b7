"""Place: check, price, route, lock, store. The hot path: one plan, one Ask, one event."""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.engine.kind import Ask, Context, Decision
from actors.order.claiming import ClaimSearch, claim_for
from actors.order.locking import LockedPart, StockSearch, negotiate
from actors.order.owing import keep, open_ticket, record_order
from actors.order.turn import Turn
from domain.campaign.events import Claimed
from domain.catalogue.model import ChannelPolicy
from domain.customer.commands import CheckCod
from domain.errors import Problem, Refused, error_of
from domain.order.commands import Place
from domain.order.events import CodConfirmed, Fulfilment, Line, Paid, Placed
from domain.order.ids import free_payment_id
from domain.order.placing import (
    allocation_of,
    check_wish,
    demand_of,
    fulfilments_of,
    order_freight,
    pickup_code,
    price,
    wrong_currency,
    wrong_total,
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
        claimed = claim_for(command, context)
        if isinstance(claimed, Ask):
            return claimed
        return _placed_in_campaign(command, claimed, context)
    if command.group_id:
        raise Refused("unknown-group", "Name the group's campaign, too.")
    match negotiate(_search, command, context):
        case Ask() as question:
            return question
        case StockSearch() as won:
            return _placed(command, won, context)
        case Problem() as problem:
            raise error_of(problem)


def _search(command: Place, context: Context) -> StockSearch:
    check_wish(command)
    views = context.views
    policy: ChannelPolicy = views.channel(command.channel)
    order_id = context.entity_id
    skus = views.skus
    lines = price(order_id, command.lines, skus, policy)
    pickup = command.delivery == "pickup"
    if command.store_id:
        _check_store(command.store_id, pickup, context)
    search = StockSearch(
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
        _allow_cod(search, command)
    return search


def _check_store(store_id: str, pickup: bool, context: Context) -> None:
    store = context.views.stores.get(store_id)
    if store is None:
        raise Refused("unknown-store", f"There is no store {store_id}.", store_id=store_id)
    if pickup and not store.pickup:
        raise Refused("no-pickup", f"Store {store_id} hands nothing out; have it delivered.")
    if not context.views.is_open(store_id, context.now):
        raise Refused("store-closed", f"Store {store_id} takes no orders now. Try again later.")


def _allow_cod(search: StockSearch, command: Place) -> None:
    rule = search.policy.cod
    customer = f"customer/{command.customer.customer_id}"
    search.also = ((customer, CheckCod(search.order_id, rule.refusals_max, rule.open_max)),)


@dataclass(slots=True)
class _Agreement:
    """Refuses a plan that is not what the customer was shown."""

    command: Place
    policy: ChannelPolicy
    lines: int

    def __call__(self, planned: Sequence[LockedPart]) -> None:
        command = self.command
        for one in planned:
            if one.part.store.currency != command.currency:
                raise wrong_currency("This address is served", one.part.store.currency)
        if command.expected_total is None and command.payment != "cod":
            return
        goods = _goods(planned)
        total = goods + order_freight([one.part for one in planned], goods)
        expected = command.expected_total
        cut = command.partial_ok and expected is not None and total < expected
        if expected is not None and total != expected and not cut:
            raise wrong_total(total, expected)
        if command.payment == "cod":
            check_cod(self.policy.cod, total, fulfilments_of(planned, 0))


def _placed(command: Place, won: StockSearch, context: Context) -> Decision:
    goods = _goods(won.plan)
    freight = order_freight([one.part for one in won.plan], goods)
    online = command.payment == "online"
    placed = _fact(
        command,
        context,
        allocation_of(won.plan, freight),
        goods,
        freight,
        won.expires_at if online else None,
        won.policy.parked_s,
        won.number - 1,
    )
    return _stored(placed, context, to_pay=online)


def _placed_in_campaign(command: Place, search: ClaimSearch, context: Context) -> Decision:
    placed = _fact(
        command,
        context,
        (search.fulfilments, search.lines),
        search.line.amount,
        search.freight,
        search.won.expires_at,
        context.views.channel(command.channel).parked_s,
        len(search.fulfilments),
        search.won,
    )
    return _stored(placed, context, to_pay=True)


def _fact(
    command: Place,
    context: Context,
    allocation: tuple[tuple[Fulfilment, ...], tuple[Line, ...]],
    goods: int,
    freight: int,
    expires_at: float | None,
    parked_s: float,
    attempted: int,
    claimed: Claimed | None = None,
) -> Placed:
    fulfilments, lines = allocation
    group_id = claimed.group_id if claimed else ""
    return Placed(
        order_id=context.entity_id,
        at=context.now,
        channel=command.channel,
        customer=command.customer,
        currency=command.currency,
        delivery=command.delivery,
        payment=command.payment,
        address=command.address,
        lines=lines,
        fulfilments=fulfilments,
        goods=goods,
        freight=freight,
        total=goods + freight,
        expires_at=expires_at,
        pickup_code=_code(context) if command.delivery == "pickup" else "",
        note=command.note,
        parked_s=parked_s,
        attempted=attempted,
        bound=bool(command.store_id),
        campaign_id=command.campaign_id,
        claim_id=claimed.claim_id if claimed else "",
        group_id=group_id,
        heads_group=bool(group_id) and not command.group_id,
    )


def _stored(placed: Placed, context: Context, *, to_pay: bool) -> Decision:
    state = evolve(None, placed)
    if to_pay and placed.total:
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
    return pickup_code(context.command_id, context.entity_id, context.views.pickup_secret)


def _goods(planned: Sequence[LockedPart]) -> int:
    return sum([line.amount for one in planned for line, _ in one.pieces])
