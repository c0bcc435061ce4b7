"""The verdict on a load test: what its people did and saw against what the service's books say.

Pure: :func:`judge` looks at the :class:`Evidence` and lists what nothing explains; it asks nobody.
An empty list means: nothing was sold beyond its quota, every unit and every cent is explained, no
acknowledged order is lost, every tablet saw every order of its store and shows none that is over,
nobody was told *sold out* of units that had long come back, nor that the service itself had failed,
nor anything else that no such caller should hear, and nearly everybody was answered. A run in which
nothing happened, or in which one of its campaigns sold nothing, proves nothing and is no success
either.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator

from msgspec import Struct, field

from orchestrator.client import models, money
from orchestrator.client.findings import (
    Finding,
    campaign_open,
    missed_tickets,
    money_mismatch,
    open_refunds,
    order_stuck,
    stock_by_documents,
    unexplained_books,
)
from orchestrator.client.money import FINAL_STATES, HANDED_OVER, OVER

__all__ = [
    "CustomersSaw", "Evidence", "Noted", "RiderSaw", "SoldOut", "TabletSaw", "figures", "is_fault",
    "is_surprise", "judge",
]  # fmt: skip

SAMPLES_MAX = 5
UNANSWERED_SHARE_MAX = 0.02
"""Of the customers' calls, so many may have no answer at all: a connection that was lost, a call
that took too long. Each is sent again, but who is hardly ever answered has seen nothing."""
COMES_BACK_S = 15.0
"""Real seconds, after the time to pay is over, in which an unpaid order's units are surely back in
its campaign and every gateway has heard of it."""


class Noted(Struct):
    """Answers of one sort."""

    count: int = 0
    samples: list[str] = field(default_factory=list)
    """The first of them, for people."""

    def note(self, text: str) -> None:
        """One more."""
        self.count += 1
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(text)


def is_fault(status: int, code: str) -> bool:
    """Whether an answer is a failure of the service itself: any 5xx but 503 with the ``code`` of a
    problem document ("": the body was none). Under 503 the service states what may be tried again,
    such as ``busy``, ``outcome-unknown`` or ``journal-away``, and nothing else."""
    return status >= 500 and (status != 503 or code in ("", "internal-error"))


def is_surprise(status: int, code: str, expected: Container[str]) -> bool:
    """Whether an answer that is not *done* refuses what its caller had no reason to be refused: any
    below 500 whose ``code`` is none of the ``expected``, which the caller provokes or the business
    decides (sold out, group full, a challenge, its turn in a queue). Nothing that a load explains:
    that is 503."""
    return 0 < status < 500 and code not in expected


class SoldOut(Struct, frozen=True):
    """The last time that anybody was told ``campaign-sold-out``."""

    at: float
    """Service time at which the order was sent, epoch seconds: decided then or later."""
    remaining: int
    """What the campaign's page said right afterwards."""


class CustomersSaw(Struct):
    """What the customers were told. A customer who was cut off in the middle of a call noted
    nothing: the books may know more than this, never less."""

    acknowledged: list[str] = field(default_factory=list)
    """Ids of orders that were answered with 201."""
    paid: dict[str, int] = field(default_factory=dict)
    """Payment id -> minor units, where the provider said *captured*."""
    repeats_differ: list[str] = field(default_factory=list)
    """Placings whose repeat with the same key named another order."""
    trouble: list[str] = field(default_factory=list)
    """Errors of the load test itself."""
    faults: Noted = field(default_factory=Noted)
    """Answers by which the service itself had failed (see :func:`is_fault`) ..."""
    surprises: Noted = field(default_factory=Noted)
    """... or refused what nobody had expected to be refused (see :func:`is_surprise`)."""
    calls: int = 0
    """Attempts, repeats included ..."""
    unanswered: int = 0
    """... and how many of them had no answer."""
    sold_out: dict[str, SoldOut] = field(default_factory=dict)
    """By campaign id."""


class TabletSaw(Struct):
    """What came to one store's tablet by its socket."""

    tickets: dict[str, str] = field(default_factory=dict)
    """Fulfilment id -> order id, in the order in which they first showed."""
    open: set[str] = field(default_factory=set)
    """Those of them that it shows as open now."""
    stored: int = 0
    """The last inbox offset the tablet is done with."""
    head: int = 0
    """The head of that inbox, by HTTP."""
    gaps: list[str] = field(default_factory=list)
    """Offsets that were skipped or came twice."""
    reconnects: int = 0
    trouble: list[str] = field(default_factory=list)
    faults: Noted = field(default_factory=Noted)
    surprises: Noted = field(default_factory=Noted)


class RiderSaw(Struct):
    """What came to one rider's phone, and what the rider handed over."""

    delivered: list[str] = field(default_factory=list)
    """Parcel ids, as handed to customers."""
    cash: dict[str, int] = field(default_factory=dict)
    """Parcel id -> minor units taken at the door."""
    stored: int = 0
    head: int = 0
    gaps: list[str] = field(default_factory=list)
    owes: int = 0
    """Cash that the service says the rider still holds, minor units."""
    reconnects: int = 0
    trouble: list[str] = field(default_factory=list)
    faults: Noted = field(default_factory=Noted)
    surprises: Noted = field(default_factory=Noted)


class Evidence(Struct):
    """Everything the verdict is made from."""

    customers: CustomersSaw
    orders: dict[str, models.Order]
    """Every order of the run that the service knows, final or not."""
    campaigns: dict[str, models.Campaign]
    received: dict[str, dict[str, int]]
    """Store -> SKU -> units that were put on its shelf."""
    stock: dict[str, models.Stock]
    ledger_stock: dict[str, models.LedgerStock]
    reconciliation: models.Reconciliation
    given_back: dict[str, int]
    """Payment id -> minor units that its provider gave back, in the provider's own words."""
    tablets: dict[str, TabletSaw]
    riders: dict[str, RiderSaw]
    clock_speed: float = 1.0
    """Service seconds in a real second."""


def judge(evidence: Evidence) -> list[Finding]:
    """Everything unexplained, in the order in which people would look at it."""
    findings: list[Finding] = []
    for check in (
        _something_happened, _orders, _order_money, _campaigns, _groups, _turned_away, _stock,
        _reconciliation, _tablets, _riders, _answers, _unanswered, _trouble,
    ):  # fmt: skip
        findings.extend(check(evidence))
    return findings


def figures(evidence: Evidence) -> dict[str, int]:
    """What the run amounted to."""
    orders = evidence.orders.values()
    return {
        "orders": len(evidence.orders),
        "orders_acknowledged": len(set(evidence.customers.acknowledged)),
        "orders_completed": sum(order.state == "completed" for order in orders),
        "orders_given_up": sum(order.state in ("cancelled", "closed") for order in orders),
        "units_delivered": sum(_units_out(orders).values()),
        "quota": sum(sum(s.asked for s in one.quota) for one in evidence.campaigns.values()),
        "sold": sum(one.units.sold for one in evidence.campaigns.values()),
        "groups_formed": sum(one.formed_groups for one in evidence.campaigns.values()),
        "groups_failed": sum(one.failed_groups for one in evidence.campaigns.values()),
        "captured": sum(money.captured(order) for order in orders),
        "refunded": sum(money.refunded(order) for order in orders),
        "cash": sum(order.cash_collected for order in orders),
        "documents": evidence.reconciliation.documents,
        "tickets_seen": sum(len(saw.tickets) for saw in evidence.tablets.values()),
        "tablet_messages": sum(saw.stored for saw in evidence.tablets.values()),
        "tablet_reconnects": sum(saw.reconnects for saw in evidence.tablets.values()),
        "parcels_delivered": sum(len(saw.delivered) for saw in evidence.riders.values()),
    }


# --- Orders and their money ----------------------------------------------------------------------


def _something_happened(evidence: Evidence) -> Iterator[Finding]:
    if not any(order.state == "completed" for order in evidence.orders.values()):
        yield Finding("nothing-happened", "run", "no order was completed: this run proves nothing")
    for campaign_id, campaign in evidence.campaigns.items():
        if not campaign.units.sold:
            yield Finding(
                "nothing-sold", campaign_id,
                f"{campaign.name} sold nothing: this run proves nothing of it",
            )  # fmt: skip
        if campaign.group is not None and not campaign.formed_groups:
            yield Finding(
                "nothing-formed", campaign_id,
                f"no group of {campaign.name} formed: this run proves nothing of it",
            )  # fmt: skip


def _orders(evidence: Evidence) -> Iterator[Finding]:
    for order_id in sorted(set(evidence.customers.acknowledged) - set(evidence.orders)):
        yield Finding("order-lost", order_id, "was acknowledged and is gone")
    for order in evidence.orders.values():
        yield from order_stuck(order)
    for key in evidence.customers.repeats_differ:
        yield Finding("repeat-differs", key, "the same key was answered with two orders")


def _order_money(evidence: Evidence) -> Iterator[Finding]:
    captured: dict[str, int] = {}
    for order in evidence.orders.values():
        captured |= money.taken_payments(order)
        yield from _given_back(order, evidence.given_back)
        waiting = list(open_refunds(order))
        yield from waiting
        if order.state in FINAL_STATES and not waiting:
            yield from money_mismatch(order)
    for payment_id, amount in evidence.customers.paid.items():
        if captured.get(payment_id) != amount:
            yield Finding(
                "payment-mismatch", payment_id,
                f"the customer paid {amount}, the books say {captured.get(payment_id, 0)}",
            )  # fmt: skip


def _given_back(order: models.Order, given_back: dict[str, int]) -> Iterator[Finding]:
    """Every refund is issued once (DOMAIN, Order life): the provider gave back what the books say,
    no cent more. The order's own refunds cannot tell: they have one entry for each id."""
    booked: Counter[str] = Counter()
    for refund in order.refunds:
        booked[refund.payment_id] += refund.amount if refund.state == "done" else 0
    for payment in order.payments:
        given, said = given_back.get(payment.payment_id, 0), booked[payment.payment_id]
        if given != said:
            yield Finding(
                "refund-twice" if given > said else "refund-missing", payment.payment_id,
                f"its provider gave back {given}, {order.order_id} says {said}",
            )  # fmt: skip


# --- Campaigns -----------------------------------------------------------------------------------


def _campaigns(evidence: Evidence) -> Iterator[Finding]:
    for campaign_id, campaign in evidence.campaigns.items():
        units = campaign.units
        set_aside = sum(share.set_aside for share in campaign.quota)
        asked = sum(share.asked for share in campaign.quota)
        if set_aside != asked:
            yield Finding("quota-short", campaign_id, f"{asked} were asked, {set_aside} set aside")
        if units.sold > set_aside:
            yield Finding("oversold", campaign_id, f"sold {units.sold} of a quota of {set_aside}")
        tallies: list[tuple[str, models.UnitTally | models.CampaignQuota, int]]
        tallies = [(campaign_id, units, set_aside)]
        tallies += [(f"{campaign_id}/{s.store_id}", s, s.set_aside) for s in campaign.quota]
        for name, tally, whole in tallies:
            total = tally.available + tally.held + tally.sold + tally.returned
            if total != whole:
                yield Finding(
                    "quota-leaks", name,
                    f"available {tally.available} + held {tally.held} + sold {tally.sold} + "
                    f"returned {tally.returned} is not the {whole} set aside",
                )  # fmt: skip
        yield from campaign_open(campaign_id, campaign)
        yield from _buyers(campaign_id, campaign, evidence)


def _buyers(campaign_id: str, campaign: models.Campaign, evidence: Evidence) -> Iterator[Finding]:
    """What the campaign says it sold is what its customers have, at its price, within the limit."""
    bought: Counter[str] = Counter()
    for order in _kept(evidence, campaign_id):
        units = money.units(order)
        bought[order.customer_id] += units
        freight = sum(part.freight for part in order.fulfilments)
        if campaign.group is None and money.kept(order) != campaign.price * units + freight:
            yield Finding(
                "wrong-price", order.order_id,
                f"keeps {money.kept(order)} for {units} at {campaign.price} and freight {freight}",
            )  # fmt: skip
    total = sum(bought.values())
    if total != campaign.units.sold:
        yield Finding(
            "sold-mismatch", campaign_id,
            f"says it sold {campaign.units.sold}, its customers hold {total}",
        )  # fmt: skip
    limit = campaign.limit_per_customer
    for customer_id, units in bought.items():
        if limit and units > limit:
            yield Finding("over-limit", customer_id, f"holds {units} of {campaign_id}, not {limit}")


def _groups(evidence: Evidence) -> Iterator[Finding]:
    """Never more paid members than seats; who is in no formed group has all their money back."""
    for campaign_id, campaign in evidence.campaigns.items():
        terms = campaign.group
        if terms is None:
            continue
        groups: defaultdict[str, list[models.Order]] = defaultdict(list)
        for order in _kept(evidence, campaign_id):
            groups[order.group_id].append(order)
        seats = max([terms.size, *(step.members for step in terms.steps)])
        for group_id, members in groups.items():
            if len(members) > seats:
                yield Finding("group-overfull", group_id, f"{len(members)} paid, {seats} seats")
            if len(members) < terms.size:
                yield Finding(
                    "group-unformed", group_id,
                    f"{len(members)} of {terms.size} members were delivered to",
                )  # fmt: skip
            price = _price(campaign, terms, len(members))
            for order in members:
                yield from _group_price(order, price)
        if len(groups) != campaign.formed_groups:
            yield Finding(
                "groups-mismatch", campaign_id,
                f"says {campaign.formed_groups} groups formed, {len(groups)} were delivered to",
            )  # fmt: skip


def _price(campaign: models.Campaign, terms: models.GroupTerms, members: int) -> int:
    reached = [step.price for step in terms.steps if members >= step.members]
    return min([campaign.price, *reached])


def _group_price(order: models.Order, price: int) -> Iterator[Finding]:
    units = money.units(order)
    freight = sum(part.freight for part in order.fulfilments)
    if money.kept(order) != price * units + freight:
        yield Finding(
            "wrong-price", order.order_id,
            f"keeps {money.kept(order)} for {units} at the group's {price} and freight {freight}",
        )  # fmt: skip


def _turned_away(evidence: Evidence) -> Iterator[Finding]:
    """An unpaid order gives its unit back to the campaign (DOMAIN, Flash sale): nobody is told
    *sold out* long after that, as long as nobody else takes it, and of these nobody did.

    Every order counts as holding its units from the first instant; only one that was given up and
    never had a payment has let go of them, when its time and :data:`COMES_BACK_S` had passed.
    """
    for campaign_id, campaign in evidence.campaigns.items():
        told = evidence.customers.sold_out.get(campaign_id)
        unsold = campaign.units.available + campaign.units.returned
        if campaign.group is not None or told is None or not unsold:
            continue
        news_by = told.at - COMES_BACK_S * evidence.clock_speed
        if news_by < campaign.starts_at.timestamp():
            continue
        free = sum(share.set_aside for share in campaign.quota)
        for order in evidence.orders.values():
            unpaid = order.state in FINAL_STATES and not order.payments
            let_go = unpaid and order.placed_at.timestamp() + campaign.pay_s < news_by
            if order.campaign_id == campaign_id and not let_go:
                free -= money.units(order)
        if free > 0:
            after_s = told.at - campaign.starts_at.timestamp()
            yield Finding(
                "turned-away", campaign_id,
                f"{unsold} units were never sold, but {after_s:.1f} s after the start, when {free} "
                f"had long been free, somebody was told sold out (the page said {told.remaining})",
            )  # fmt: skip


def _kept(evidence: Evidence, campaign_id: str) -> Iterator[models.Order]:
    """Orders of the campaign whose goods the customer has."""
    for order in evidence.orders.values():
        if order.campaign_id == campaign_id and any(
            part.state in HANDED_OVER for part in order.fulfilments
        ):
            yield order


# --- Stock and books -----------------------------------------------------------------------------


def _stock(evidence: Evidence) -> Iterator[Finding]:
    out = _units_out(evidence.orders.values())
    for store_id, shelf in evidence.received.items():
        cells = {cell.sku: cell for cell in evidence.stock[store_id].items}
        ledger = {cell.sku: cell for cell in evidence.ledger_stock[store_id].items}
        for sku, received in shelf.items():
            subject, cell, row = f"{store_id}/{sku}", cells.get(sku), ledger.get(sku)
            if cell is None or row is None:
                yield Finding("cell-lost", subject, "goods were received and the cell is gone")
                continue
            expected = received - out[store_id, sku]
            if cell.on_hand != expected:
                yield Finding(
                    "stock-mismatch", subject,
                    f"{received} came in and {out[store_id, sku]} went out, "
                    f"on_hand is {cell.on_hand}",
                )  # fmt: skip
            for name, units in (("locked", cell.locked), ("reserved", cell.reserved)):
                if units:
                    yield Finding(f"{name}-left", subject, f"{units} units for nobody")
            yield from stock_by_documents(subject, cell, row)


def _units_out(orders: Iterable[models.Order]) -> Counter[tuple[str, str]]:
    """(store, SKU) -> units that customers hold."""
    out: Counter[tuple[str, str]] = Counter()
    for order in orders:
        store_of = {
            part.fulfilment_id: part.store_id
            for part in order.fulfilments
            if part.state in HANDED_OVER
        }
        for line in order.lines:
            if line.fulfilment_id in store_of:
                out[store_of[line.fulfilment_id], line.sku] += line.quantity - line.short_quantity
    return out


def _reconciliation(evidence: Evidence) -> Iterator[Finding]:
    return unexplained_books(evidence.reconciliation)


# --- Sockets -------------------------------------------------------------------------------------


def _tablets(evidence: Evidence) -> Iterator[Finding]:
    """No order was missed, none shown that there is not, and none is still open that is over
    (DOMAIN, Users: no ghost orders after a cancel). A fulfilment that was given to another store
    has left its order: its ticket was no ghost as long as it went away."""
    shown = {store_id: saw.tickets for store_id, saw in evidence.tablets.items()}
    for order in evidence.orders.values():
        yield from missed_tickets(order, shown)
    for store_id, saw in evidence.tablets.items():
        for fulfilment_id, order_id in saw.tickets.items():
            if order_id not in evidence.orders:
                yield Finding(
                    "ghost-ticket", fulfilment_id, f"{store_id} saw it, there is no such order"
                )
        for fulfilment_id in sorted(saw.open):
            how = _over(evidence.orders.get(saw.tickets.get(fulfilment_id, "")), fulfilment_id)
            if how:
                yield Finding(
                    "ticket-left", fulfilment_id,
                    f"is still open on the tablet of {store_id}, the books say {how}",
                )  # fmt: skip
        yield from _inbox(f"tablet of {store_id}", saw)


def _over(order: models.Order | None, fulfilment_id: str) -> str:
    """How the fulfilment ended for its store; "" while it goes on, or is none."""
    if order is None:
        return ""
    for part in order.fulfilments:
        if part.fulfilment_id == fulfilment_id:
            return next((s for s in (part.state, order.state) if s in OVER | FINAL_STATES), "")
    return "given to another store"


def _riders(evidence: Evidence) -> Iterator[Finding]:
    carried = Counter(p for saw in evidence.riders.values() for p in saw.delivered)
    by_rider = {p: rider for rider, saw in evidence.riders.items() for p in saw.delivered}
    for parcel_id, count in carried.items():
        if count > 1:
            yield Finding("delivered-twice", parcel_id, f"{count} riders handed it over")
    cash = {p: sum_ for saw in evidence.riders.values() for p, sum_ in saw.cash.items()}
    for order in evidence.orders.values():
        parts = [part for part in order.fulfilments if part.state in HANDED_OVER]
        taken = sum(cash.get(part.fulfilment_id, 0) for part in parts)
        if order.delivery == "delivery" and taken != order.cash_collected:
            yield Finding(
                "cash-mismatch", order.order_id,
                f"riders took {taken}, the order says {order.cash_collected}",
            )  # fmt: skip
        for part in parts:
            rider = by_rider.get(part.fulfilment_id)
            if order.delivery == "delivery" and rider != part.rider_id:
                yield Finding(
                    "not-delivered", part.fulfilment_id,
                    f"is booked as delivered by {part.rider_id}, {rider} handed it over",
                )  # fmt: skip
    for rider_id, saw in evidence.riders.items():
        if saw.owes:
            yield Finding("cash-not-remitted", rider_id, f"still holds {saw.owes}")
        yield from _inbox(f"phone of {rider_id}", saw)


def _inbox(device: str, saw: TabletSaw | RiderSaw) -> Iterator[Finding]:
    for gap in saw.gaps:
        yield Finding("inbox-gap", device, gap)
    if saw.stored != saw.head:
        yield Finding("inbox-unread", device, f"stored {saw.stored}, the inbox is at {saw.head}")


# --- What people were told -----------------------------------------------------------------------


def _answers(evidence: Evidence) -> Iterator[Finding]:
    for name, saw in _people(evidence):
        for kind, what, noted in (
            ("internal-error", "answers by which the service had failed", saw.faults),
            ("unexpected-answer", "refusals that nothing had called for", saw.surprises),
        ):
            if noted.count:
                text = f"{what}: {noted.count}, the first: {noted.samples[0]}"
                yield Finding(kind, name, text)


def _unanswered(evidence: Evidence) -> Iterator[Finding]:
    saw = evidence.customers
    if saw.unanswered > UNANSWERED_SHARE_MAX * saw.calls:
        yield Finding(
            "unanswered", "customers", f"{saw.unanswered} of {saw.calls} calls had no answer"
        )


def _trouble(evidence: Evidence) -> Iterator[Finding]:
    for name, saw in _people(evidence):
        for text in saw.trouble:
            yield Finding("trouble", name, text)


def _people(evidence: Evidence) -> Iterator[tuple[str, CustomersSaw | TabletSaw | RiderSaw]]:
    yield "customers", evidence.customers
    yield from evidence.tablets.items()
    yield from evidence.riders.items()
