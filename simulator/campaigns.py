"""Campaigns of a generated day and those who want them: a flash sale first, then group-buys."""

from dataclasses import replace
from random import Random

from simulator.geometry import Point
from simulator.manners import Manners, of_customer, pick
from simulator.plan import CampaignPlan, Goods, GroupPlan, OrderPlan, Plan, chance

__all__ = ["with_campaigns"]

ANNOUNCED_S = 600.0
"""A campaign is opened so long before its start: its stores set the quota aside meanwhile."""
BURST_S = 90.0
"""Half of a flash sale's customers press within so long of its start."""
WANTED = 1.7
"""Customers per unit of a quota."""
UNPAID, LATE, CHANGED = 0.12, 0.08, 0.05
"""Shares of those who never pay, pay after the time is up, and cancel."""


def with_campaigns(plan: Plan, count: int, tag: str = "") -> Plan:
    """The day with ``count`` campaigns more, drawn from its seed: their goods are on the shelves
    of their stores besides those of the other orders, and their customers among the others."""
    campaigns, orders = [], []
    stores = plan.stores
    for number in range(1, count + 1):
        draw = chance(plan.seed, "campaign", number)
        drawn = _campaign(draw, number, plan, tag)
        campaigns.append(drawn)
        orders += _orders(draw, drawn, plan)
        quota = dict(drawn.quota)
        stores = tuple(
            replace(
                store,
                stock={**store.stock, drawn.sku: store.stock.get(drawn.sku, 0) + quota[name]},
            )
            if (name := store.store_id) in quota
            else store
            for store in stores
        )
    return replace(
        plan,
        stores=stores,
        campaigns=tuple(campaigns),
        orders=tuple(sorted((*plan.orders, *orders), key=lambda order: order.at_s)),
    )


def _campaign(draw: Random, number: int, plan: Plan, tag: str) -> CampaignPlan:
    goods = draw.choice([item for item in plan.goods if not item.components])
    length_s = plan.ends_s - plan.starts_s
    starts_s = plan.starts_s + length_s * draw.uniform(0.15, 0.35)
    ends_s = starts_s + length_s * draw.uniform(0.3, 0.5)
    chosen = draw.sample(list(plan.stores), min(len(plan.stores), draw.randint(2, 3)))
    group = None if number == 1 else _group(draw, number, goods, ends_s - starts_s)
    return CampaignPlan(
        key=f"{tag}campaign-{number}",
        name=f"{goods.name}, {'flash sale' if group is None else 'together cheaper'}",
        sku=goods.sku,
        price=goods.price * 7 // 10,
        announced_s=max(plan.starts_s, starts_s - ANNOUNCED_S),
        starts_s=starts_s,
        ends_s=ends_s,
        quota=tuple((store.store_id, draw.randint(3, 6)) for store in chosen),
        limit=draw.choice((1, 2)),
        pay_s=600.0,
        issuer=draw.choice(("platform", "store")),
        group=group,
    )


def _group(draw: Random, number: int, goods: Goods, length_s: float) -> GroupPlan:
    kind = ("normal", "ladder", "newcomers")[number % 3]
    size = draw.choice((2, 3))
    stock = draw.choice(("on_payment", "on_formation"))
    steps = ((size, goods.price * 6 // 10), (size + 2, goods.price // 2))
    return GroupPlan(
        kind=kind,
        size=size,
        open_s=length_s / 3,
        stock=stock,
        late=draw.choice(("refund", "head_of_new_group")),
        buffer=1 if stock == "on_formation" else 0,
        steps=steps if kind == "ladder" else (),
    )


def _orders(draw: Random, campaign: CampaignPlan, plan: Plan) -> list[OrderPlan]:
    units = sum(count for _, count in campaign.quota)
    by_id = {store.store_id: store.position for store in plan.stores}
    return [
        _order(draw, campaign, plan, number, by_id[draw.choice(campaign.quota)[0]])
        for number in range(1, round(units * WANTED) + 1)
    ]


def _order(draw: Random, campaign: CampaignPlan, plan: Plan, number: int, near: Point) -> OrderPlan:
    length_s = campaign.ends_s - campaign.starts_s
    in_burst = campaign.group is None and draw.random() < 0.5
    after_s = draw.random() * (BURST_S if in_burst else length_s * 0.95)
    key = f"{campaign.key}-order-{number:03d}"
    known = [order.customer_id for order in plan.orders]
    regular = bool(known) and draw.random() < 0.4
    order = OrderPlan(
        key=key,
        at_s=campaign.starts_s + after_s,
        channel=plan.channels[0].channel,
        customer_id=draw.choice(known) if regular else f"{key}-customer",
        name="",
        phone="",
        lines=((campaign.sku, 1 if draw.random() < 0.8 else 2),),
        position=near,
        campaign=campaign.key,
        opens_group=draw.random() < 0.2,
    )
    drawn = of_customer(order, Manners(), plan.seed)
    return replace(
        drawn,
        payment="online",
        note_value=0,
        pays=pick(draw, (("never", UNPAID), ("late", LATE)), "at_once"),
        cancels=pick(draw, (("early", CHANGED),), ""),
    )
