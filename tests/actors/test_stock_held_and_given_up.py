"""Holding stock without paying, by cancelling in time (DOMAIN, Members, risk)."""

import pytest

from domain.customer.commands import GetStanding, RecordOutcome, Standing
from domain.order import commands
from domain.risk.table import ALLOW, CHALLENGE, DEFAULT_RULES, DENY, Facts, judge
from tests.fakes.campaign_world import CampaignWorld, flash_terms, order_id
from tests.fakes.order_world import START

EXPIRES_S = 300.0
"""Of an order of the campaign."""


def cancel(world: CampaignWorld, number: int, by: str = "customer") -> None:
    """Twice, as a caller may repeat it."""
    for _ in range(2):
        world.ask(f"order/{order_id(number)}", commands.Cancel("changed my mind", by))
    world.run()


def known(world: CampaignWorld, customer: str = "c-bot") -> Standing:
    standing: Standing = world.ask(f"customer/{customer}", GetStanding())
    return standing


def decision(seen: Standing) -> str:
    facts = Facts(expired_orders=seen.left_unpaid, expired_share=seen.unpaid_share)
    return judge(DEFAULT_RULES, facts).decision


@pytest.mark.parametrize("held_s", [EXPIRES_S - 1, 5.0])
def test_who_takes_all_stock_and_cancels_again_and_again_is_challenged_and_then_denied(
    held_s: float,
) -> None:
    world = CampaignWorld(flash_terms(ends_at=START + 7_200))
    decisions = []
    for number in range(1, 15):
        world.place(number, 10, customer="c-bot")
        assert world.view().remaining == 0
        world.now += held_s
        cancel(world, number)
        decisions.append(decision(known(world)))
    assert decisions[0] == ALLOW
    assert CHALLENGE in decisions[:6]
    assert decisions[-1] == DENY
    world.check_at_rest()


@pytest.mark.parametrize("campaign_id", ["c-1", ""])
def test_an_unpaid_order_that_its_customer_cancels_tells_how_long_it_held_stock(
    campaign_id: str,
) -> None:
    world = CampaignWorld(flash_terms())
    world.place(1, customer="c-bot", campaign_id=campaign_id)
    world.now += 90
    cancel(world, 1)
    told = [one for one in world.sent_by(1, RecordOutcome) if one.outcome == "abandoned"]
    assert told == [RecordOutcome(order_id(1), "abandoned", held_s=90.0)]
    assert (known(world).orders, known(world).abandoned) == (0, 1)


def test_a_cart_that_is_corrected_and_then_bought_is_no_hoarding() -> None:
    world = CampaignWorld(flash_terms())
    for number in range(1, 4):
        world.place(number, customer="c-ana")
        world.now += 20
        cancel(world, number)
    world.place(4, customer="c-ana")
    world.pay(4)
    assert known(world, "c-ana") == Standing(1, 0, 0, 0)


def test_what_operations_cancel_or_was_paid_is_not_held_against_the_customer() -> None:
    world = CampaignWorld(flash_terms())
    for number in (1, 2):
        world.place(number, customer="c-ana")
        world.now += 90
    cancel(world, 1, by="ops:ana")
    world.pay(2)
    cancel(world, 2)
    assert world.order_of(2).state == "cancelled"
    assert known(world, "c-ana").left_unpaid == 0
