"""Campaigns in the books: discounts by issuer, a ladder's difference, quota documents."""

from collections import Counter
from typing import Any

from adapters.ledger.campaigns import account_campaign
from adapters.ledger.documents import Document
from adapters.ledger.postings import OrderAccount, account_order
from adapters.ledger.stock import account_stock
from domain import campaign
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
