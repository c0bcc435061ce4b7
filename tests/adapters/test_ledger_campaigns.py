"""Campaigns in the books: discounts by issuer, a ladder's difference, quota documents."""

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.ledger.campaigns import account_campaign
from adapters.ledger.documents import Document
from adapters.ledger.postings import OrderAccount, account_order
from adapters.ledger.stock import account_stock
from domain import campaign
from domain.catalogue.events import SkuPut
from domain.order import commands
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, flash_terms, group_terms, order_id


def documents(world: CampaignWorld) -> list[Document]:
    accounts: dict[str, OrderAccount | None] = {}
    made: list[Document] = []
    for to, event in world.every_event:
        kind, _, entity = to.partition("/")
        one: Document | None = None
        if kind == "order":
            accounts[entity], more = account_order(accounts.get(entity), event)
            made += more
        elif kind == "inventory":
            one = account_stock(entity, event)
        elif kind == "campaign":
            one = account_campaign(entity, event)
        if one is not None:
            made.append(one)
    return made


def balances(made: list[Document]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for document in made:
        assert sum(leg.amount for leg in document.postings) == 0
        for leg in document.postings:
            sums[leg.account] += leg.amount
    return {account: amount for account, amount in sums.items() if amount}


def deliver(world: CampaignWorld, number: int) -> None:
    for part in list(world.order_of(number).parts):
        fulfilment_id = part.fulfilment.fulfilment_id
        delivered: Any = commands.RecordDelivered(fulfilment_id, world.now, "r-1")
        world.ask(f"order/{order_id(number)}", delivered)
    world.run()


def test_revenue_is_at_the_list_price_and_the_issuer_bears_the_discount() -> None:
    for issuer, account in (("platform", "discounts:platform"), ("store", "discounts:store:s-1")):
        world = CampaignWorld(flash_terms(issuer=issuer))
        world.place(1, 2)
        world.pay(1)
        deliver(world, 1)
        freight = world.order_of(1).freight
        assert balances(documents(world)) == {
            "provider_clearing:sandbox": 1200 + freight,
            "revenue:s-1": -2000,
            "freight_revenue:s-1": -freight,
            account: 800,
        }


def test_a_ladders_difference_is_more_discount_and_leaves_nothing_prepaid() -> None:
    steps = (campaign.Step(2, 500),)
    world = CampaignWorld(group_terms({"kind": "ladder", "size": 2, "steps": steps}))
    group_id = world.place(1, 2).group_id
    world.pay(1)
    world.place(2, group_id=group_id)
    world.pay(2)
    deliver(world, 1)
    deliver(world, 2)
    freight = sum(world.order_of(number).freight for number in (1, 2))
    assert balances(documents(world)) == {
        "provider_clearing:sandbox": 3 * 500 + freight,
        "revenue:s-1": -3 * 1000,
        "freight_revenue:s-1": -freight,
        "discounts:platform": 3 * 500,
    }


def refund(world: CampaignWorld, number: int, units: int = 1) -> None:
    """Operations gives units of the order's first line back, in money alone."""
    line_id = world.order_of(number).lines[0].line_id
    wish = (commands.RefundUnits(line_id, units),)
    refund_id = f"ops-{number}-{len(world.order_of(number).refunds)}"
    world.ask(
        f"order/{order_id(number)}", commands.RefundLines(refund_id, wish, "goodwill", "ops:ana")
    )
    world.run()


def sold(world: CampaignWorld, number: int) -> dict[str, int]:
    """The balances of one order, freight and what the provider holds left out."""
    made = [one for one in documents(world) if one.order_id == order_id(number)]
    aside = ("provider_clearing:", "freight_revenue:")
    return {name: sum_ for name, sum_ in balances(made).items() if not name.startswith(aside)}


def test_a_unit_refunded_before_its_seat_moved_to_another_store_is_neither_sold_nor_owed() -> None:
    shares = (campaign.Share("s-1", 4), campaign.Share("s-2", 4))
    world = CampaignWorld(group_terms({"size": 2, "stock": "on_formation"}, quota=shares))
    first, second, *_ = [world.place(number, 2).group_id for number in (1, 2, 3, 4)]
    for number in (1, 2, 3):
        world.pay(number)
    refund(world, 2)
    for number, group_id in ((5, first), (6, second)):
        world.place(number, 2, group_id=group_id)
        world.pay(number)
    assert [part.fulfilment.store_id for part in world.order_of(2).parts] == ["s-2"]
    deliver(world, 2)
    assert sold(world, 2) == {"revenue:s-2": -1000, "discounts:platform": 400}


def test_a_late_payers_lines_are_sold_as_they_were_divided_the_second_time() -> None:
    world = CampaignWorld(flash_terms())
    world.place(1, 8)
    world.start_payment(1)
    world.at(400)
    world.place(2, 2)
    world.pay(2)
    assert world.order_of(1).state == "cancelled"
    before = {line.line_id: line.quantity for line in world.order_of(1).lines}
    world.pay(1)
    order = world.order_of(1)
    after = {line.line_id: line.quantity for line in order.lines}
    assert order.state == "paid"
    assert after != before, "its lines should have been divided otherwise"
    refund(world, 1)
    deliver(world, 1)
    assert order.lines[0].fulfilment_id == order.parts[0].fulfilment.fulfilment_id
    units = {
        f"revenue:{part.fulfilment.store_id}": -1000 * line.quantity
        for part, line in zip(order.parts, order.lines, strict=True)
    }
    units[f"revenue:{order.parts[0].fulfilment.store_id}"] += 1000
    assert sold(world, 1) == {**units, "discounts:platform": 7 * 400}


def test_a_price_that_falls_after_a_unit_was_refunded_is_the_discount_of_the_others() -> None:
    steps = (campaign.Step(2, 500),)
    for before, after in ((1, 0), (0, 1), (1, 1)):
        world = CampaignWorld(group_terms({"kind": "ladder", "size": 2, "steps": steps}))
        group_id = world.place(1, 4).group_id
        world.pay(1)
        for _ in range(before):
            refund(world, 1)
        world.place(2, group_id=group_id)
        world.pay(2)
        for _ in range(after):
            refund(world, 1)
        deliver(world, 1)
        units = 4 - before - after
        assert sold(world, 1) == {"revenue:s-1": -1000 * units, "discounts:platform": 500 * units}


def test_an_issuer_bears_nothing_of_units_refunded_after_their_delivery() -> None:
    for issuer, account in (("platform", "discounts:platform"), ("store", "discounts:store:s-1")):
        world = CampaignWorld(flash_terms(issuer=issuer))
        world.place(1, 3)
        world.pay(1)
        deliver(world, 1)
        refund(world, 1, 2)
        assert sold(world, 1) == {"revenue:s-1": -1000, account: 400}
        refund(world, 1)
        assert sold(world, 1) == {}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("price", [600, 0])
def test_an_issuer_bears_nothing_of_units_that_were_short(price: int, late: bool) -> None:
    world = CampaignWorld(flash_terms(price=price))
    order = world.place(1, 3)
    world.pay(1)
    part, line = order.parts[0].fulfilment, order.lines[0]
    picked = commands.RecordPicked(
        part.fulfilment_id, part.store_id, ((line.line_id, 2),), world.now
    )
    if late:
        deliver(world, 1)
    world.ask(f"order/{order_id(1)}", picked)
    world.run()
    if not late:
        deliver(world, 1)
    assert sold(world, 1) == {"revenue:s-1": -2000, "discounts:platform": 2 * (1000 - price)}


def test_what_is_dearer_than_the_list_price_has_no_discount_until_its_price_falls_below() -> None:
    steps = (campaign.Step(2, 500),)
    for terms, expected in (
        (flash_terms(), {"revenue:s-1": -2 * 600}),
        (
            group_terms({"kind": "ladder", "size": 2, "steps": steps}),
            {"revenue:s-1": -2 * 550, "discounts:platform": 2 * 50},
        ),
    ):
        world = CampaignWorld(terms)
        world._put(SkuPut(replace(world.views.skus["cup"], price=550)))
        group_id = world.place(1, 2).group_id
        world.pay(1)
        world.place(2, group_id=group_id)
        world.pay(2)
        deliver(world, 1)
        assert sold(world, 1) == expected


def test_a_failed_group_leaves_no_money_anywhere() -> None:
    world = CampaignWorld(group_terms())
    world.place(1)
    world.pay(1)
    world.at(600)
    assert balances(documents(world)) == {}


def test_the_quota_is_told_in_documents_and_its_sales_leave_the_stock_once() -> None:
    world = CampaignWorld(flash_terms())
    world.place(1, 2)
    world.pay(1)
    world.ask(CAMPAIGN, campaign.End("ops:ana", "over"))
    world.run()
    made = documents(world)
    kinds = Counter(document.kind for document in made)
    assert (kinds["quota_set_aside"], kinds["quota_given_back"]) == (2, 2)
    assert (kinds["campaign_opened"], kinds["campaign_ended"]) == (1, 1)
    given = [one.data["units"] for one in made if one.kind == "quota_given_back"]
    assert sum(unit["quantity"] for units in given for unit in units) == 8
    sold = [line for one in made for line in one.stock if "sold" in line.deltas]
    assert [(line.store_id, line.sku, line.deltas["sold"]) for line in sold] == [("s-1", "cup", 2)]
