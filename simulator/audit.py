"""The audit at the day's end: what really happened against what every book of the service says.

Pure: :func:`audit` looks at the :class:`World` and the collected :class:`Evidence` and lists what
nothing explains. It never asks the service. An empty list means: orders were placed and completed,
whoever was refused had it coming by the plan, every acknowledged order is there and final, stock
agrees to the unit and cash to the cent, no tablet missed a ticket, and no parcel had two riders.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from orchestrator.client.money import FINAL_STATES, HANDED_OVER
from simulator.plan import CampaignPlan, OrderPlan, Plan
from simulator.world import Trace, World

__all__ = ["Evidence", "audit", "is_unpaid", "quantile"]

AT_REST = ("customer_prepaid", "customer_receivable", "customer_unallocated", "refunds_payable",
           "refunds_refused", "suspense", "cash_clearing", "rider_cash")  # fmt: skip
"""Accounts that must be where they were before the day once every order is final."""

CAMPAIGN_REFUSALS = frozenset({"campaign-sold-out", "campaign-out-of-reach", "campaign-ended"})
"""More want its goods than there are, and some are late."""
GROUP_REFUSALS = frozenset({"already-member", "group-closed", "group-full"})
"""Others were quicker."""
CHALLENGED_FROM = 4
"""So many orders of one customer in a day may raise the first challenge of the rules of risk."""
NAMED_MAX = 5


@dataclass(slots=True)
class Evidence:
    """The books of the service after the day, as its public API gave them."""

    reconciliation: models.Reconciliation
    """Of the service itself, over its whole ledger."""
    orders: dict[str, models.Order] = field(default_factory=dict)
    """Order id to the order; one that the service does not know is absent."""
    stock: dict[str, dict[str, models.Cell]] = field(default_factory=dict)
    """Store to SKU to cell, from the actors."""
    ledger_stock: dict[str, dict[str, models.LedgerCell]] = field(default_factory=dict)
    """The same from documents alone."""
    accounts: dict[str, int] = field(default_factory=dict)
    """Account to what its balance changed by during the day, debit positive."""
    unbalanced: dict[str, int] = field(default_factory=dict)
    """Currency to debits less credits over the whole ledger, where not 0."""
    statement: list[Mapping[str, Any]] | None = None
    """Entries of the provider about this day's orders; None when it has no statement here."""
    riders: dict[str, models.Rider] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    """Store to messages in its inbox that its tablet never showed."""
    campaigns: dict[str, models.Campaign] = field(default_factory=dict)
    """Key of the plan to the campaign as it ended."""
    anomalies: list[models.Anomaly] = field(default_factory=list)
    """Still open at the end."""


def audit(world: World, evidence: Evidence) -> list[Finding]:
    """Everything unexplained, in the order in which people would look at it."""
    findings: list[Finding] = [Finding("wonder", "city", text) for text in world.wonders]
    for check in (
        _placings, _orders, _order_money, _stock, _campaigns, _statement, _accounts,
        _reconciliation, _riders, _tablets,
    ):  # fmt: skip
        findings.extend(check(world, evidence))
    findings.extend(
        Finding("open-anomaly", anomaly.key, anomaly.detail) for anomaly in evidence.anomalies
    )
    return findings


def is_unpaid(order: models.Order) -> bool:
    """The order ended because nobody paid it in time."""
    return order.state == "cancelled" and order.reason == "unpaid"


# --- Placing -------------------------------------------------------------------------------------


def _placings(world: World, evidence: Evidence) -> Iterator[Finding]:
    """A day on which nobody could buy is no good day, however well its books agree."""
    traces = list(world.traces.values())
    placed = [trace for trace in traces if trace.order_id]
    refused: defaultdict[str, list[str]] = defaultdict(list)
    explained = _Explained(world.plan)
    for trace in traces:
        if trace.refused and not trace.order_id and not explained(trace.plan, trace.refused):
            refused[trace.refused].append(trace.plan.key)
    for code, keys in sorted(refused.items()):
        yield Finding(
            "refusal-unexplained", code, f"{len(keys)} placings, as nobody planned: {_named(keys)}"
        )
    silent = [trace.plan.key for trace in traces if not trace.order_id and not trace.refused]
    if silent:
        yield Finding(
            "placing-unanswered", "city", f"neither confirmed nor refused: {_named(silent)}"
        )
    if traces and not placed:
        yield Finding("nothing-placed", "city", f"not one of {len(traces)} planned orders")
    hoped = [trace for trace in placed if _wants_it_all(trace.plan)]
    states = Counter(order.state for order in evidence.orders.values())
    if hoped and not states["completed"]:
        yield Finding(
            "nothing-completed", "city",
            f"{len(hoped)} customers did all they had to, and the orders are {dict(states)}",
        )  # fmt: skip


class _Explained:
    """Whether a plan's own people bring a refusal upon themselves."""

    def __init__(self, plan: Plan) -> None:
        self._campaigns = {campaign.key: campaign for campaign in plan.campaigns}
        self._orders_of = Counter(order.customer_id for order in plan.orders)

    def __call__(self, order: OrderPlan, code: str) -> bool:
        """The code may be the answer to this order in a service that does what it should."""
        match code:
            case "short-stock":
                return not order.campaign  # others were there before; in a campaign it is sold out
            case "cod-denied":
                return order.payment == "cod"
            case "challenge-required":
                return self._orders_of[order.customer_id] >= CHALLENGED_FROM
        campaign = self._campaigns.get(order.campaign)
        return campaign is not None and code in _refusals_of(campaign)


def _refusals_of(campaign: CampaignPlan) -> set[str]:
    codes = set(CAMPAIGN_REFUSALS)
    if campaign.limit:
        codes.add("customer-limit")
    if campaign.group is not None:
        codes |= GROUP_REFUSALS
        if campaign.group.kind == "newcomers":
            codes.add("not-newcomer")
    return codes


def _wants_it_all(order: OrderPlan) -> bool:
    """The customer pays, stays with it and opens the door; and no group can fail them."""
    pays = order.payment == "cod" or order.pays in ("at_once", "twice")
    return pays and not order.cancels and order.door == "opens" and not order.campaign


def _named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - NAMED_MAX} more" if len(keys) > NAMED_MAX else ""
    return ", ".join(keys[:NAMED_MAX]) + more


# --- Orders --------------------------------------------------------------------------------------


def _orders(world: World, evidence: Evidence) -> Iterator[Finding]:
    for trace in _acknowledged(world):
        order = evidence.orders.get(trace.order_id)
        if order is None:
            yield Finding("order-lost", trace.order_id, "was acknowledged and is gone")
        elif order.state not in FINAL_STATES:
            yield from order_stuck(order)
        else:
            yield from _parcels(world, trace, order)


def _parcels(world: World, trace: Trace, order: models.Order) -> Iterator[Finding]:
    """What the order says arrived must be what the customer holds."""
    said = {p.fulfilment_id for p in order.fulfilments if p.state in HANDED_OVER}
    for fulfilment_id in said - set(trace.delivered_at):
        yield Finding("not-delivered", fulfilment_id, "is booked as delivered, nobody got it")
    for fulfilment_id in set(trace.delivered_at) - said:
        yield Finding("not-booked", fulfilment_id, "was delivered, the order does not know it")
    for fulfilment_id in said & set(trace.delivered_at):
        yield from _shorts(fulfilment_id, world.told.get(fulfilment_id, {}), order)


def _shorts(
    fulfilment_id: str, told: Mapping[str, tuple[int, str]], order: models.Order
) -> Iterator[Finding]:
    """What is not in a parcel, and why, is what its clerk said, to the unit."""
    says = {
        line.sku: (line.short_quantity, line.short_reason)
        for line in order.lines
        if line.fulfilment_id == fulfilment_id and line.short_quantity
    }
    if says != dict(told):
        yield Finding(
            "short-mismatch", fulfilment_id,
            f"the clerk said {dict(told)} are not in it, the order says {says}",
        )  # fmt: skip


def _order_money(world: World, evidence: Evidence) -> Iterator[Finding]:
    for trace in _acknowledged(world):
        order = evidence.orders.get(trace.order_id)
        if order is None or order.state not in FINAL_STATES:
            continue
        if order.cash_collected != trace.cash:
            yield Finding(
                "cash-mismatch", trace.order_id,
                f"the customer gave {trace.cash}, the order says {order.cash_collected}",
            )  # fmt: skip
        yield from open_refunds(order)
        yield from money_mismatch(order)


# --- Stock ---------------------------------------------------------------------------------------


def _stock(world: World, evidence: Evidence) -> Iterator[Finding]:
    cells = set(world.received) | {
        (store, sku) for store, skus in evidence.stock.items() for sku in skus
    }
    for store_id, sku in sorted(cells):
        subject = f"{store_id}/{sku}"
        cell = evidence.stock.get(store_id, {}).get(sku)
        if cell is None:
            yield Finding("cell-lost", subject, "goods were received and the cell is gone")
            continue
        shelf = world.shelf(store_id, sku)
        if cell.on_hand != shelf:
            yield Finding(
                "stock-mismatch", subject, f"the shelf holds {shelf}, on_hand is {cell.on_hand}"
            )
        if cell.locked:
            yield Finding("lock-left", subject, f"{cell.locked} units are locked for nobody")
        if cell.reserved:
            yield Finding("quota-left", subject, f"{cell.reserved} units wait for no campaign")
        broken = world.broken[store_id, sku]
        if cell.damaged != broken:
            yield Finding(
                "damage-mismatch", subject, f"{broken} are broken, damaged is {cell.damaged}"
            )
        ledger = evidence.ledger_stock.get(store_id)
        if ledger is not None:
            yield from stock_by_documents(subject, cell, ledger.get(sku))


# --- Campaigns ------------------------------------------------------------------------------------


def _campaigns(world: World, evidence: Evidence) -> Iterator[Finding]:
    """Each unit of a quota was sold to somebody or went back, and nobody got more than allowed."""
    for plan in world.plan.campaigns:
        campaign = evidence.campaigns.get(plan.key)
        if campaign is None:
            continue  # never opened: told as a wonder
        yield from campaign_open(plan.key, campaign)
        for share in campaign.quota:
            whole = share.available + share.held + share.sold + share.returned
            if whole != share.set_aside or (share.set_aside == 0) != bool(share.problem):
                yield Finding("quota-mismatch", plan.key, f"the units do not add up: {share}")
        if campaign.open_groups:
            yield Finding("group-open", plan.key, f"{campaign.open_groups} groups are open")
        orders = [
            evidence.orders[trace.order_id]
            for trace in _acknowledged(world)
            if trace.plan.campaign == plan.key and trace.order_id in evidence.orders
        ]
        yield from _sold(plan, campaign.units.sold, orders)
        yield from _members(plan, orders)


def _sold(plan: CampaignPlan, sold: int, orders: Sequence[models.Order]) -> Iterator[Finding]:
    """Sold are the units of orders that went to a store; of a paid one that was cancelled later
    nobody can tell any more whether it had come so far."""
    taken: Counter[str] = Counter()
    surely = perhaps = 0
    for order in orders:
        units = money.units(order)
        if order.state != "cancelled":
            surely += units
            taken[order.customer_id] += units
        elif money.captured(order):
            perhaps += units
    if not surely <= sold <= surely + perhaps:
        yield Finding(
            "campaign-mismatch", plan.key,
            f"sold {sold}, its orders explain {surely} to {surely + perhaps}",
        )  # fmt: skip
    for customer_id, units in taken.items():
        if plan.limit and units > plan.limit:
            yield Finding("limit-exceeded", customer_id, f"{units} of {plan.limit} of {plan.key}")


def _members(plan: CampaignPlan, orders: Sequence[models.Order]) -> Iterator[Finding]:
    """No group has more members than seats, and whoever got goods paid what their group costs."""
    group = plan.group
    if group is None:
        return
    members: Counter[str] = Counter()
    for order in orders:
        if order.state != "cancelled":
            members[order.group_id] += 1
    for group_id, count in members.items():
        if count > group.seats:
            yield Finding("group-too-large", group_id, f"{count} members on {group.seats} seats")


# --- Money in the books --------------------------------------------------------------------------


def _statement(world: World, evidence: Evidence) -> Iterator[Finding]:
    if evidence.statement is None:
        return
    captured: Counter[str] = Counter()
    refunded: Counter[str] = Counter()
    by_payment: Counter[str] = Counter()
    for entry in evidence.statement:
        if entry["type"] == "refund":
            refunded[entry["order_id"]] += entry["amount"]
        else:
            captured[entry["order_id"]] += entry["amount"]
            by_payment[entry["payment_id"]] += entry["amount"]
    for trace in _acknowledged(world):
        order = evidence.orders.get(trace.order_id)
        if order is None:
            continue
        for name, theirs, ours in (
            ("captured", captured[trace.order_id], money.captured(order)),
            ("refunded", refunded[trace.order_id], money.refunded(order)),
        ):
            if theirs != ours:
                yield Finding(
                    "statement-mismatch", trace.order_id,
                    f"the provider {name} {theirs}, the order says {ours}",
                )  # fmt: skip
        for payment_id, amount in trace.paid.items():
            if by_payment[payment_id] != amount:
                yield Finding(
                    "payment-mismatch", payment_id,
                    f"the customer paid {amount}, the provider took {by_payment[payment_id]}",
                )  # fmt: skip
        for payment_id, amount in trace.held.items():
            taken = by_payment[payment_id]
            if taken != amount and (taken or is_unpaid(order)):
                yield Finding(
                    "payment-mismatch", payment_id,
                    f"{amount} was held for an order, the provider took {taken}",
                )  # fmt: skip


def _accounts(world: World, evidence: Evidence) -> Iterator[Finding]:
    for currency, difference in evidence.unbalanced.items():
        yield Finding("ledger-unbalanced", currency, f"debits less credits are {difference}")
    groups: defaultdict[str, int] = defaultdict(int)
    for account, change in evidence.accounts.items():
        groups[account.split(":", 1)[0]] += change
        if account.split(":", 1)[0] in AT_REST and change:
            yield Finding("account-not-at-rest", account, f"is off by {change} after the day")
    orders = [evidence.orders[t.order_id] for t in _acknowledged(world)
              if t.order_id in evidence.orders]  # fmt: skip
    expected = {
        "provider_clearing": sum(money.captured(o) - money.refunded(o) for o in orders),
        "store_till": sum(world.tills.values()),
        "cash_in_hand": sum(remittance.amount for remittance in world.remittances),
        "cash_difference": sum(r.owed - r.amount for r in world.remittances),
        "revenue and freight": -sum(money.kept(order) for order in orders),
    }
    booked = dict(groups)
    booked["revenue and freight"] = (
        groups["revenue"] + groups["freight_revenue"] + groups["discounts"]
    )
    for account, amount in expected.items():
        if booked.get(account, 0) != amount:
            yield Finding(
                "ledger-mismatch", account,
                f"the ledger moved {booked.get(account, 0)}, the day explains {amount}",
            )  # fmt: skip


def _reconciliation(_world: World, evidence: Evidence) -> Iterator[Finding]:
    return unexplained_books(evidence.reconciliation)


def _riders(world: World, evidence: Evidence) -> Iterator[Finding]:
    for rider_id, cash in world.pockets.items():
        if cash:
            yield Finding("cash-not-remitted", rider_id, f"still holds {cash}")
    for rider_id, rider in evidence.riders.items():
        if rider.cash_held != world.pockets[rider_id]:
            yield Finding(
                "rider-cash-mismatch", rider_id,
                f"the pocket holds {world.pockets[rider_id]}, the service says {rider.cash_held}",
            )  # fmt: skip


# --- Tablets -------------------------------------------------------------------------------------


def _tablets(world: World, evidence: Evidence) -> Iterator[Finding]:
    for trace in _acknowledged(world):
        if trace.order_id in evidence.orders:
            yield from missed_tickets(evidence.orders[trace.order_id], world.tickets_seen)
    for store_id, count in evidence.unread.items():
        if count:
            yield Finding("inbox-unread", store_id, f"{count} messages never reached the tablet")


def _acknowledged(world: World) -> Iterable[Trace]:
    return (trace for trace in world.traces.values() if trace.order_id)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie (linear between neighbours); 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
