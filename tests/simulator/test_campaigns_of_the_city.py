"""Campaigns of a generated day: drawn, opened, wanted, and explained at its end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.client import Refusal
from simulator.audit import audit
from simulator.city import CityOptions, generate
from simulator.clock import ServiceClock
from simulator.day import Day
from simulator.geometry import Point
from simulator.people.customer import Customer
from simulator.people.organiser import Organiser
from simulator.plan import CampaignPlan, Goods, GroupPlan, OrderPlan, Plan, StorePlan
from simulator.report import make_report
from simulator.world import Trace, World
from tests.fakes.documents import Books
from tests.fakes.scripted_service import Asked, ScriptedService

CUP = Goods("cup", "Cup", 1_000, "2000000000015", 300, 900)
HERE = Point(4.80, -75.70)
SALE = CampaignPlan("sale", "Cups", "cup", 700, 0.0, 10.0, 100.0, (("s", 3),), limit=1)
GROUPS = replace(SALE, group=GroupPlan("normal", 2, 60.0))


def an_order(key: str = "k", **changes: Any) -> OrderPlan:
    given: dict[str, Any] = {
        "key": key, "at_s": 20.0, "channel": "app", "customer_id": f"c-{key}", "name": "",
        "phone": "", "lines": (("cup", 1),), "position": HERE, "campaign": "sale",
    }  # fmt: skip
    return OrderPlan(**{**given, **changes})


def a_day(
    service: ScriptedService, campaign: CampaignPlan = SALE, **changes: Any
) -> tuple[Day, Customer]:
    order = an_order(pays="never", **changes)
    store = StorePlan("s", "Shop", HERE, "z", (), {"cup": 9})
    plan = Plan("t", 1, "EUR", (CUP,), (store,), (), (order,), campaigns=(campaign,))
    clock = ServiceClock(0.0, 5_000.0)
    day = Day(plan, World(plan), clock, service, lambda role, subject: role + subject)
    return day, Customer(order, day)


def placed(asked: Asked) -> dict[str, Any]:
    return {"order_id": "o1", "payment": "online", "expires_at": None}


# Drawing -----------------------------------------------------------------------------------------


def test_a_city_has_campaigns_only_when_asked_and_its_other_orders_stay_the_same() -> None:
    without, drawn = generate(4), generate(4, CityOptions(campaigns=4))
    assert without.campaigns == ()
    assert [one.group.kind if one.group else "" for one in drawn.campaigns] == [
        "", "newcomers", "normal", "ladder"
    ]  # fmt: skip
    assert [order for order in drawn.orders if not order.campaign] == list(without.orders)
    assert drawn == generate(4, CityOptions(campaigns=4))


def test_every_campaign_is_wanted_by_more_than_it_has_for_and_within_its_time() -> None:
    plan = generate(4, CityOptions(campaigns=4))
    assert plan.ends_s >= max(campaign.ends_s for campaign in plan.campaigns)
    ways = {order.pays for order in plan.orders if order.campaign}
    assert ways == {"at_once", "late", "never"}
    for campaign in plan.campaigns:
        orders = [order for order in plan.orders if order.campaign == campaign.key]
        units = sum(count for _, count in campaign.quota)
        assert len(orders) > units
        assert all(campaign.starts_s <= order.at_s < campaign.ends_s for order in orders)
        assert {order.payment for order in orders} == {"online"}
        stock = {store.store_id: store.stock[campaign.sku] for store in plan.stores}
        assert all(stock[store_id] >= count for store_id, count in campaign.quota)


# Living ------------------------------------------------------------------------------------------


async def test_a_customer_waits_for_the_campaign_and_orders_in_it() -> None:
    service = ScriptedService()
    service.when("POST", "/v1/campaigns", {"campaign_id": "c9"})
    service.when("POST", "/v1/orders", placed)
    day, customer = a_day(service)
    await Organiser(SALE, day).work()
    await customer.live()
    opening, order = service.asked[0].body, service.asked[-1].body
    assert opening["starts_at"] == "1970-01-01T00:00:10+00:00"
    assert (order["campaign_id"], order["group_id"]) == ("c9", "")
    assert list(day.world.by_order_id) == ["o1"]


async def test_a_customer_joins_the_first_group_and_another_one_when_it_is_full() -> None:
    service = ScriptedService()
    full = Refusal("group-full", 409, "")
    service.when("POST", "/v1/orders", full, placed)
    groups = [{"items": [{"group_id": name}]} for name in ("g1", "g2")]
    service.when("GET", "/v1/campaigns/c9/groups", *groups)
    day, customer = a_day(service, GROUPS)
    day.announce("sale", "c9")
    await customer.live()
    orders = [asked for asked in service.asked if asked.path == "/v1/orders"]
    assert [(asked.key, asked.body["group_id"]) for asked in orders] == [("k", "g1"), ("k-1", "g2")]
    trace = day.world.traces["k"]
    assert (trace.order_id, trace.refused) == ("o1", "")
    assert day.world.counts["tries in campaigns refused: group-full"] == 1


async def test_a_campaign_that_the_service_refuses_is_a_wonder_and_its_customers_go() -> None:
    service = ScriptedService()
    service.when("POST", "/v1/campaigns", Refusal("wrong-terms", 422, ""))
    day, customer = a_day(service)
    await Organiser(SALE, day).work()
    await customer.live()
    assert day.world.traces["k"].refused == "campaign-not-opened"
    assert "sale was not opened" in day.world.wonders[0]


# Explaining --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "campaign", "explained"),
    [
        ("campaign-sold-out", SALE, True),
        ("customer-limit", SALE, True),
        ("customer-limit", replace(SALE, limit=0), False),
        ("group-full", SALE, False),
        ("group-full", GROUPS, True),
        ("not-newcomer", GROUPS, False),
        ("not-newcomer", replace(SALE, group=GroupPlan("newcomers", 2, 60.0)), True),
        ("campaign-not-started", SALE, False),
        ("short-stock", SALE, False),
        ("campaign-not-opened", SALE, False),
    ],
)
def test_a_campaign_refuses_only_what_its_own_terms_refuse(
    code: str, campaign: CampaignPlan, explained: bool
) -> None:
    world, books = lived()
    late = replace(an_order("z"), customer_id="c-late")
    plan = replace(world.plan, orders=(*world.plan.orders, late), campaigns=(campaign,))
    world.plan, world.traces["z"] = plan, Trace(late, refused=code)
    found = {finding.subject for finding in audit(world, books.evidence())
             if finding.kind == "refusal-unexplained"}  # fmt: skip
    assert found == (set() if explained else {code})


def lived() -> tuple[World, Books]:
    """Two of three units were sold to a group of two; one more customer paid too late."""
    store = StorePlan("s", "Shop", HERE, "z", (), {"cup": 9})
    orders = tuple(an_order(key) for key in "abx")
    world = World(Plan("t", 1, "EUR", (CUP,), (store,), (), orders, campaigns=(GROUPS,)))
    world.receive("s", {"cup": 9})
    for key in "abx":
        world.acknowledge(world.traces[key], f"o{key}", 1.0)
        world.traces[key].paid[f"o{key}-p1"] = 700
    for key in "ab":
        world.tickets_seen["s"].add(f"o{key}-1")
        world.pack("s", f"o{key}-1", [("cup", 1, 1)])
        world.hand_out(f"o{key}-1", 9.0)
    cell = {"on_hand": 7, "locked": 0, "damaged": 0, "reserved": 0}
    quota = {
        "store_id": "s", "asked": 3, "set_aside": 3, "available": 0, "held": 0, "sold": 2,
        "returned": 1, "problem": "",
    }  # fmt: skip
    campaign = {
        "state": "ended", "quota": [quota], "open_groups": 0, "formed_groups": 1,
        "failed_groups": 0, "units": {"available": 0, "held": 0, "sold": 2, "returned": 1},
    }  # fmt: skip
    return world, Books(
        orders={f"o{key}": document(key) for key in "abx"},
        stock={"s": {"cup": cell}},
        ledger_stock={"s": {"cup": dict(cell)}},
        accounts={"provider_clearing:sandbox": 1_400, "revenue:s": -2_000, "discounts:p": 600},
        campaigns={"sale": campaign},
    )


def document(key: str) -> dict[str, Any]:
    served = key != "x"
    line = {
        "quantity": 1, "amount": 700, "refunded_amount": 0 if served else 700, "short_amount": 0,
        "short_quantity": 0, "short_reason": "",
        "fulfilment_id": f"o{key}-1",
    }  # fmt: skip
    part = {
        "fulfilment_id": f"o{key}-1", "store_id": "s", "freight": 0,
        "state": "completed" if served else "cancelled",
    }  # fmt: skip
    refund = {"refund_id": "r", "amount": 700, "state": "done"}
    return {
        "state": "completed" if served else "cancelled", "customer_id": f"c-{key}",
        "group_id": "g1" if served else "g2", "total": 700, "cash_collected": 0, "lines": [line],
        "fulfilments": [part], "refunds": [] if served else [refund],
        "payments": [{"payment_id": f"o{key}-p1", "state": "captured", "amount": 700}],
    }  # fmt: skip


def test_a_campaign_whose_units_and_money_agree_is_explained_and_told() -> None:
    world, books = lived()
    assert audit(world, books.evidence()) == []
    report = make_report(world, books.evidence(), [], speed=1.0, service_s=1.0, real_s=1.0)
    (told,) = report.campaigns
    assert (told["set aside"], told["sold"], told["given back"]) == (3, 2, 1)
    assert (told["captured"], told["refunded"], told["kept"]) == (2_100, 700, 1_400)


def oversell(books: Books) -> None:
    books.campaigns["sale"]["quota"][0]["sold"] = 3


def sell_to_nobody(books: Books) -> None:
    books.campaigns["sale"]["units"]["sold"] = 9


def keep_a_unit(books: Books) -> None:
    books.stock["s"]["cup"]["reserved"] = 1


def let_one_customer_buy_twice(books: Books) -> None:
    books.orders["ob"]["customer_id"] = "c-a"


def never_end(books: Books) -> None:
    books.campaigns["sale"]["state"] = "running"


def let_three_in(books: Books) -> None:
    books.orders["ox"].update(document("b"), group_id="g1", customer_id="c-x")


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (oversell, "quota-mismatch"),
        (sell_to_nobody, "campaign-mismatch"),
        (keep_a_unit, "quota-left"),
        (let_one_customer_buy_twice, "limit-exceeded"),
        (never_end, "campaign-open"),
        (let_three_in, "group-too-large"),
    ],
)
def test_what_was_planted_in_a_campaign_is_found(plant: Callable[[Books], None], kind: str) -> None:
    world, books = lived()
    plant(books)
    assert kind in {finding.kind for finding in audit(world, books.evidence())}
