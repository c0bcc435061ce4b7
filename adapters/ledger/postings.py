"""The rules of the books: from events to documents and balanced entries. Pure functions.

Chart of accounts (DOMAIN, Finance). A debit is positive, a credit negative; every document balances
in its currency.

====================================  ==========  =================================================
account                               sort        what its balance means
====================================  ==========  =================================================
``provider_clearing:<provider>``      asset       captured by the provider, less refunded by it
``rider_cash:<rider>``                asset       cash a rider holds and owes
``cash_clearing:<rider>``             asset       cash the order says a rider took and the rider has
                                                  not confirmed (or the other way round); 0 at rest
``store_till:<store>``                asset       cash taken at the counter
``cash_in_hand``                      asset       cash handed in by riders
``customer_receivable``               asset       delivered, not yet paid (cash on delivery)
``customer_prepaid``                  liability   paid, not yet delivered
``customer_unallocated``              liability   money no order can use (late, paid twice)
``refunds_payable``                   liability   refunds promised, not yet made by the provider
``refunds_refused:<provider>``        liability   refunds the provider would not make: operations
``revenue:<store>``                   income      goods delivered, less refunded
``freight_revenue:<store>``           income      freight of what was delivered, less refunded
``discounts:<issuer>``                expense     what campaigns took off the list price of goods
                                                  delivered, by who bears it
``cash_difference:<rider>``           expense     cash missing (debit) or over (credit); a store's
                                                  id for its counter
``suspense``                          --          nothing explains it: a defect to be looked at
====================================  ==========  =================================================

=============================  ==========================================  ========================
fact                           debit                                       credit
=============================  ==========================================  ========================
payment captured and kept      provider_clearing                           customer_prepaid
payment not usable             provider_clearing                           customer_unallocated
delivered, paid before         customer_prepaid                            revenue, freight_revenue
delivered, cash on delivery    customer_receivable                         revenue, freight_revenue
… at a campaign's price        discounts (to the list price)               revenue
a ladder's price fell          customer_prepaid                            refunds_payable
cash taken at the door         cash_clearing (order), rider_cash (rider)   customer_receivable,
                                                                           cash_clearing
cash taken at the counter      store_till                                  customer_receivable
refund before delivery         customer_prepaid                            refunds_payable
refund after delivery          revenue, freight_revenue                    refunds_payable
… of units at a campaign price revenue (to the list price)                 discounts
refund of unusable money       customer_unallocated                        refunds_payable
refund made                    refunds_payable                             provider_clearing
refund refused                 refunds_payable                             refunds_refused
remittance                     cash_in_hand (+ cash_difference)            rider_cash
cash flag resolved             cash_difference                             customer_receivable
short pick told after delivery revenue                                     customer_receivable
=============================  ==========================================  ========================

Cash at the door is booked from both sides, by the order (authority on the order) and by the rider
(authority on cash): ``cash_clearing`` is zero exactly when both tell the same story to the cent.
When every order is final, ``customer_prepaid``, ``customer_receivable``, ``customer_unallocated``
and ``refunds_payable`` are zero.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, field

from adapters.ledger.documents import Document, balanced, plain
from domain import order, rider
from domain.message import Event
from domain.order.state import CASH
from domain.pricing import units_amount

__all__ = [
    "FulfilmentAccount", "LineAccount", "OrderAccount", "PaymentAccount", "RefundAccount",
    "account_order", "account_rider",
]  # fmt: skip


class LineAccount(Struct, array_like=True, gc=False):
    """One line: what it cost, and how much of it was given back."""

    fulfilment_id: str
    amount: int
    quantity: int
    units_each: int
    """Stock units (components) behind one unit of the line."""
    refunded: int = 0
    """Money, whether its units were given back or its price fell."""
    short: int = 0
    discount: int = 0
    """Off the list price when it was placed, for all its units; below zero: dearer than that."""
    issuer: str = ""
    returned: int = 0
    """Units refunded, short ones included."""
    cut: int = 0
    """By how much its price fell after it was paid, for all its units, also those that had been
    refunded before: these got back what they had cost until then."""

    def discount_left(self, cod: bool) -> int:
        """What its issuer bears of the units that are still paid (or to be paid) for."""
        if not self.issuer:
            return 0
        discount = max(0, self.discount + self.cut)
        return discount - discount * (self.short if cod else self.returned) // self.quantity

    def left(self, cod: bool) -> int:
        """What is still paid (or, cash on delivery, to be paid) for. Short units that were paid
        online come back as a refund; with cash on delivery they are just not collected."""
        if cod and self.short:
            missing = units_amount(self.amount, self.quantity, 0, self.short)
            return self.amount - self.refunded - missing
        return self.amount - self.refunded


class FulfilmentAccount(Struct, array_like=True, gc=False):
    """One store's part."""

    store_id: str
    freight: int
    freight_refunded: int = 0
    delivered: bool = False
    """Its revenue is recognised."""
    uncollected: int = 0
    """Cash that was due and not taken (below zero: taken and not due, as any for what was paid)."""
    taker: str = ""
    """The rider who took its cash, "" at the counter."""

    @property
    def freight_left(self) -> int:
        """Freight still paid for."""
        return self.freight - self.freight_refunded


class PaymentAccount(Struct, array_like=True, gc=False):
    """Money at a provider. ``booked``: its capture stands in the books (a flagged payment is booked
    only when it turns out to have been captured, that is, when it is refunded)."""

    provider: str
    amount: int
    kept: bool
    currency: str
    booked: bool = True


class RefundAccount(Struct, array_like=True, gc=False):
    """A refund promised; ``owed`` stands in ``refunds_payable`` until it is made or refused."""

    provider: str
    owed: int
    currency: str
    refused: bool = False
    done: bool = False


class OrderAccount(Struct, array_like=True, gc=False):
    """One order's money, folded from its events alone: what later entries need to know."""

    order_id: str
    currency: str
    cod: bool
    lines: dict[str, LineAccount] = field(default_factory=dict)
    fulfilments: dict[str, FulfilmentAccount] = field(default_factory=dict)
    payments: dict[str, PaymentAccount] = field(default_factory=dict)
    refunds: dict[str, RefundAccount] = field(default_factory=dict)

    def goods_left(self, fulfilment_id: str) -> int:
        """What the goods of a fulfilment cost after what was given back."""
        return sum(
            line.left(self.cod)
            for line in self.lines.values()
            if line.fulfilment_id == fulfilment_id
        )

    def units_out(self, fulfilment_id: str) -> int:
        """Stock units that have left for good with a fulfilment: 0 unless it was delivered."""
        part = self.fulfilments.get(fulfilment_id)
        if part is None or not part.delivered:
            return 0
        return sum(
            line.units_each * (line.quantity - line.short)
            for line in self.lines.values()
            if line.fulfilment_id == fulfilment_id
        )


Accounted = tuple[OrderAccount | None, list[Document]]


def account_order(account: OrderAccount | None, event: Event) -> Accounted:
    """Apply one event of an order: the account after it (changed in place) and the documents it
    leads to. An event of an order that was never placed leads to nothing."""
    if isinstance(event, order.Placed):
        return _open(event), []
    rule = _ORDER_RULES.get(type(event))
    if account is None or rule is None:
        return account, []
    return account, rule(account, event)


def account_rider(rider_id: str, event: Event) -> list[Document]:
    """The documents of one event of a rider: cash taken, cash handed in."""
    if isinstance(event, rider.ParcelDelivered) and event.cash:
        return [_rider_took_cash(rider_id, event)]
    if isinstance(event, rider.Remitted):
        return [_rider_remitted(rider_id, event)]
    return []


def _open(event: order.Placed) -> OrderAccount:
    account = OrderAccount(event.order_id, event.currency, event.payment == "cod")
    _set_parts(account, event.fulfilments, event.lines)
    return account


def _set_parts(
    account: OrderAccount,
    fulfilments: tuple[order.Fulfilment, ...],
    lines: tuple[order.Line, ...],
) -> None:
    """Put these in the place of those with the same ids. A line that stays keeps what became of its
    units, as it does in the order."""
    for part in fulfilments:
        account.fulfilments[part.fulfilment_id] = FulfilmentAccount(part.store_id, part.freight)
    for line in lines:
        known = account.lines.get(line.line_id)
        account.lines[line.line_id] = LineAccount(
            fulfilment_id=line.fulfilment_id,
            amount=line.amount,
            quantity=line.quantity,
            units_each=sum(unit.quantity for unit in line.stock),
            refunded=known.refunded if known else 0,
            short=known.short if known else 0,
            discount=_discount_of(line, known),
            issuer=line.issuer,
            returned=known.returned if known else 0,
            cut=known.cut if known else 0,
        )


def _reinstated(account: OrderAccount, event: order.Reinstated | order.Reseated) -> list[Document]:
    """All its fulfilments are others now, none of them delivered and no freight given back; of its
    lines those that stay may have been refunded in part."""
    account.fulfilments.clear()
    _set_parts(account, event.fulfilments, event.lines)
    stay = {line.line_id for line in event.lines}
    account.lines = {line_id: line for line_id, line in account.lines.items() if line_id in stay}
    return []


def _seat_confirmed(account: OrderAccount, event: order.SeatConfirmed) -> list[Document]:
    """Nothing to book: what was paid too much is refunded by an event of its own."""
    for line_id, amount in event.cuts:
        line = account.lines.get(line_id)
        if line is not None:
            line.cut += amount
    return []


def _rerouted(account: OrderAccount, event: order.FulfilmentRerouted) -> list[Document]:
    account.fulfilments.pop(event.fulfilment_id, None)
    _set_parts(account, (event.to,), event.lines)
    return []


def _picked(account: OrderAccount, event: order.FulfilmentPicked) -> list[Document]:
    """Nothing to book, unless the news comes after the delivery: revenue of units that were not in
    the parcel is taken back. In cash, what was paid for them is owed; paid online, it comes back by
    a refund, which takes the revenue back, too, and only units that were free have none."""
    cod = account.cod
    before = account.goods_left(event.fulfilment_id)
    legs: list[tuple[str, int]] = []
    for line_id, units in event.short:
        line = account.lines.get(line_id)
        if line is None:
            continue
        discount = line.discount_left(cod)
        line.short = min(line.quantity, line.short + units)
        if not cod and line.amount == line.cut:
            line.returned = min(line.quantity, line.returned + units)
        legs += _discounted(account, line, line.discount_left(cod) - discount)
    part = account.fulfilments.get(event.fulfilment_id)
    missing = before - account.goods_left(event.fulfilment_id)
    if part is None or not part.delivered or not (missing or legs):
        return []
    part.uncollected -= missing
    legs += [(f"revenue:{part.store_id}", missing), ("customer_receivable", -missing)]
    return [_of_part(account, "short_pick", event.fulfilment_id, legs, facts=plain(event))]


def _paid(account: OrderAccount, event: order.Paid) -> list[Document]:
    known = account.payments.get(event.payment_id)
    if known is not None and known.booked:
        return []
    payment = PaymentAccount(event.provider, event.amount, event.kept, account.currency)
    account.payments[event.payment_id] = payment
    return [_capture(account, event.payment_id, payment, plain(event))]


def _discount_of(line: order.Line, known: LineAccount | None) -> int:
    """Off the list price; of a line that moved whole it is what it was."""
    if known is not None and known.quantity == line.quantity:
        return known.discount
    list_price = line.list_price or line.unit_price
    return list_price * line.quantity - line.amount if line.issuer else 0


def _discounted(account: OrderAccount, line: LineAccount, amount: int) -> list[tuple[str, int]]:
    """Revenue is booked at the list price; who bears the discount is debited with it. Nothing of
    what was not delivered."""
    part = account.fulfilments.get(line.fulfilment_id)
    if part is None or not part.delivered or not amount:
        return []
    issuer = f"store:{part.store_id}" if line.issuer == "store" else line.issuer
    return [(f"discounts:{issuer}", amount), (f"revenue:{part.store_id}", -amount)]


def _flagged(account: OrderAccount, event: order.PaymentFlagged) -> list[Document]:
    """A document without an entry: whether money was taken shows when it is given back. Cash of
    another sum than was due stays open in ``customer_receivable`` until a document closes it."""
    key = event.refund_id or event.payment_id  # its payment may still be captured as it should
    if event.provider != CASH and key not in account.payments:
        account.payments[key] = PaymentAccount(
            event.provider, event.amount, False, event.currency, booked=False
        )
    return [_document(account, "payment_flagged", event.payment_id, facts=plain(event))]


def _flag_resolved(account: OrderAccount, event: order.FlagResolved) -> list[Document]:
    """Who closed a flag and why. Cash that was not what was due leaves the customer's account."""
    part = account.fulfilments.get(event.payment_id)
    if part is None:
        return [_document(account, "flag_resolved", event.payment_id, facts=plain(event))]
    legs = [
        (f"cash_difference:{part.taker or part.store_id}", part.uncollected),
        ("customer_receivable", -part.uncollected),
    ]
    part.uncollected = 0
    facts = plain(event)
    return [_of_part(account, "flag_resolved", event.payment_id, legs, part.taker, facts=facts)]


def _refund_retried(account: OrderAccount, event: order.RefundRetried) -> list[Document]:
    """Who asked again and why; the money moves when the provider has made the refund."""
    return [_document(account, "refund_retried", event.refund_id, facts=plain(event))]


def _capture(
    account: OrderAccount, payment_id: str, payment: PaymentAccount, facts: dict[str, Any]
) -> Document:
    payment.booked = True
    holder = "customer_prepaid" if payment.kept else "customer_unallocated"
    legs = [(f"provider_clearing:{payment.provider}", payment.amount), (holder, -payment.amount)]
    kind = "payment" if payment.kept else "payment_not_usable"
    return _document(account, kind, payment_id, legs, payment.currency, facts=facts)


def _delivered(account: OrderAccount, event: order.FulfilmentDelivered) -> list[Document]:
    part = account.fulfilments.get(event.fulfilment_id)
    if part is None or part.delivered:
        return []
    part.delivered = True
    goods, freight = account.goods_left(event.fulfilment_id), part.freight_left
    customer = "customer_receivable" if account.cod else "customer_prepaid"
    legs = [
        (customer, goods + freight),
        (f"revenue:{part.store_id}", -goods),
        (f"freight_revenue:{part.store_id}", -freight),
    ]
    for line in account.lines.values():
        if line.fulfilment_id == event.fulfilment_id:
            legs += _discounted(account, line, line.discount_left(account.cod))
    cash_due = goods + freight if account.cod else 0
    part.uncollected, part.taker = cash_due - event.cash, event.rider_id
    facts = {"goods": goods, "freight": freight}
    documents = [_of_part(account, "delivery", event.fulfilment_id, legs, facts=facts)]
    if event.cash:
        taker = f"cash_clearing:{event.rider_id}" if event.rider_id else ""
        legs = [(taker or f"store_till:{part.store_id}", event.cash)]
        legs.append(("customer_receivable", -event.cash))
        facts = {"cash": event.cash}
        documents.append(
            _of_part(
                account, "cash_on_delivery", event.fulfilment_id, legs, event.rider_id, facts=facts
            )
        )
    return documents


def _refund_requested(account: OrderAccount, event: order.RefundRequested) -> list[Document]:
    if event.refund_id in account.refunds:
        return []
    documents = []
    currency = event.currency or account.currency
    payments = account.payments
    payment = payments.get(event.refund_id) or payments.get(event.payment_id)
    if payment is not None and not payment.booked:
        facts = {"amount": payment.amount, "currency": payment.currency}
        documents.append(_capture(account, event.payment_id, payment, facts))
    if payment is not None and not payment.kept:
        sources = {"customer_unallocated": event.amount}
    else:
        sources = _sources_of_refund(account, event)
    account.refunds[event.refund_id] = RefundAccount(event.provider, event.amount, currency)
    legs = [*sources.items(), ("refunds_payable", -event.amount)]
    return [
        *documents,
        _document(account, "refund", event.refund_id, legs, currency, facts=plain(event)),
    ]


def _sources_of_refund(account: OrderAccount, event: order.RefundRequested) -> dict[str, int]:
    """Where the money of a refund stands now: still prepaid, or already income of a store. What
    neither its lines nor its freight explain goes to ``suspense``, in plain sight."""
    sources: defaultdict[str, int] = defaultdict(int)
    for part in event.lines:
        line = account.lines.get(part.line_id)
        if line is not None:
            discount = line.discount_left(account.cod)
            line.refunded += part.amount
            line.returned = min(line.quantity, line.returned + part.quantity)
            sources[_holder(account, line.fulfilment_id, "revenue")] += part.amount
            change = line.discount_left(account.cod) - discount
            for holder, amount in _discounted(account, line, change):
                sources[holder] += amount
    for fulfilment_id in event.freight_of:
        fulfilment = account.fulfilments.get(fulfilment_id)
        if fulfilment is not None:
            holder = _holder(account, fulfilment_id, "freight_revenue")
            sources[holder] += fulfilment.freight_left
            fulfilment.freight_refunded = fulfilment.freight
    sources["suspense"] += event.amount - sum(sources.values())
    return dict(sources)


def _holder(account: OrderAccount, fulfilment_id: str, income: str) -> str:
    part = account.fulfilments.get(fulfilment_id)
    return f"{income}:{part.store_id}" if part and part.delivered else "customer_prepaid"


def _refund_done(account: OrderAccount, event: order.RefundDone) -> list[Document]:
    refund = account.refunds.get(event.refund_id)
    if refund is None or refund.done or (event.refused and refund.refused):
        return []
    refused = f"refunds_refused:{refund.provider}"
    source = refused if refund.refused else "refunds_payable"
    if event.refused:
        refund.refused = True
        target = refused
    else:
        refund.done = True
        target = f"provider_clearing:{refund.provider}"
    legs = [(source, refund.owed), (target, -refund.owed)]
    kind = "refund_refused" if event.refused else "refund_paid"
    return [_document(account, kind, event.refund_id, legs, refund.currency, facts=plain(event))]


def _rider_took_cash(rider_id: str, event: rider.ParcelDelivered) -> Document:
    legs = [(f"rider_cash:{rider_id}", event.cash), (f"cash_clearing:{rider_id}", -event.cash)]
    return Document(
        kind="cash_collected",
        reference=event.parcel_id,
        order_id=event.order_id,
        fulfilment_id=event.parcel_id,
        rider_id=rider_id,
        data=plain(event),
        postings=balanced(event.currency, legs),
    )


def _rider_remitted(rider_id: str, event: rider.Remitted) -> Document:
    legs = [
        ("cash_in_hand", event.amount),
        (f"cash_difference:{rider_id}", event.owed - event.amount),
        (f"rider_cash:{rider_id}", -event.owed),
    ]
    return Document(
        kind="remittance",
        reference=event.remittance_id,
        rider_id=rider_id,
        data=plain(event),
        postings=balanced(event.currency, legs),
    )


def _of_part(
    account: OrderAccount,
    kind: str,
    fulfilment_id: str,
    legs: list[tuple[str, int]],
    rider_id: str = "",
    *,
    facts: dict[str, Any],
) -> Document:
    return Document(
        kind=kind,
        reference=fulfilment_id,
        order_id=account.order_id,
        fulfilment_id=fulfilment_id,
        store_id=account.fulfilments[fulfilment_id].store_id,
        rider_id=rider_id,
        data=facts,
        postings=balanced(account.currency, legs),
    )


def _document(
    account: OrderAccount,
    kind: str,
    reference: str,
    legs: Iterable[tuple[str, int]] = (),
    currency: str = "",
    *,
    facts: dict[str, Any],
) -> Document:
    return Document(
        kind=kind,
        reference=reference,
        order_id=account.order_id,
        data=facts,
        postings=balanced(currency or account.currency, legs),
    )


_ORDER_RULES: dict[type[Event], Callable[[OrderAccount, Any], list[Document]]] = {
    order.Reinstated: _reinstated,
    order.Reseated: _reinstated,
    order.SeatConfirmed: _seat_confirmed,
    order.FulfilmentRerouted: _rerouted,
    order.FulfilmentPicked: _picked,
    order.Paid: _paid,
    order.PaymentFlagged: _flagged,
    order.FulfilmentDelivered: _delivered,
    order.RefundRequested: _refund_requested,
    order.RefundDone: _refund_done,
    order.FlagResolved: _flag_resolved,
    order.RefundRetried: _refund_retried,
}
