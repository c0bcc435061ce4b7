"""An order has one claim: one it never stored, or has lost, is in nobody's way."""

from typing import Any

import pytest
from msgspec.structs import replace

from actors.engine.kind import Wake
from domain import campaign
from domain.catalogue.events import SkuPut, StorePut
from domain.catalogue.model import Component, Sku
from domain.errors import Refused
from domain.order.commands import PlaceLine
from tests.fakes.campaign_world import (
    CAMPAIGN,
    CampaignWorld,
    flash_terms,
    group_terms,
    order_id,
)


def left_behind(world: CampaignWorld, number: int, quantity: int, group_id: str = "") -> None:
    """The order's process dies after its claim is stored and before the order is."""
    name = f"order/{order_id(number)}"
    world.place(number, quantity, group_id=group_id)
    del world.states[name]


def held(world: CampaignWorld) -> int:
    return world.view().tally.held


@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1), (1, 1)])
def test_a_claim_left_behind_is_not_taken_for_that_of_another_wish(before: int, now: int) -> None:
    world = CampaignWorld(flash_terms(limit_per_customer=2))
    left_behind(world, 1, before)
    order = world.place(1, now)
    assert sum(line.quantity for line in order.lines) == now
    assert order.total == sum(line.amount for line in order.lines) + order.freight
    assert held(world) == now
    world.pay(1)
    assert world.view().tally.sold == now
    world.check_at_rest()


def test_who_wanted_to_join_and_then_opens_a_group_is_not_seated_in_the_other() -> None:
    world = CampaignWorld(group_terms())
    group_id = world.place(2).group_id
    left_behind(world, 1, 1, group_id)
    order = world.place(1)
    assert order.group_id != group_id
    assert len(world.campaign_state.members[group_id]) == 1
    assert world.place(3, group_id=group_id).group_id == group_id


def test_another_customers_claim_left_behind_is_not_taken_over() -> None:
    world = CampaignWorld(flash_terms(limit_per_customer=1))
    left_behind(world, 1, 1)
    world.place(1, customer="c-other")
    assert dict(world.campaign_state.bought.items()) == {"c-other": 1}
    world.place(2, customer="c-1")
    assert world.refusal(3, customer="c-other").code == "customer-limit"


def test_a_claim_left_behind_at_another_campaign_is_given_back() -> None:
    world = CampaignWorld(flash_terms())
    left_behind(world, 1, 1)
    other = "campaign/c-2"
    quota = (campaign.Share("s-1", 4),)
    world.ask(other, campaign.Open(flash_terms(quota=quota), "ops:ana"))
    world.run()
    order = world.place(1, campaign_id="c-2")
    assert order.claim_id not in world.campaign_state.seats
    world.pay(1)
    world.at(2_000)
    assert world.view().tally.held == 0
    assert world.states[other].tally.sold == 1


def test_a_claim_that_comes_after_a_younger_one_changes_nothing() -> None:
    world = CampaignWorld(flash_terms())
    left_behind(world, 1, 2)
    (claim_id,) = world.campaign_state.seats
    seat = world.campaign_state.seats[claim_id]
    late = campaign.Claim(
        claim_id, order_id(1), "c-1", "app", 2, ("s-1", "s-2"), asked_at=seat.asked_at
    )
    world.now += 5
    order = world.place(1, 1)
    with pytest.raises(Refused, match="claimed-since"):
        world.ask(CAMPAIGN, late)
    assert list(world.campaign_state.seats) == [order.claim_id]
    world.pay(1)
    assert world.order_of(1).state == "paid"
    assert world.view().tally.sold == 1


def test_a_claim_left_behind_at_a_store_that_closed_is_made_at_another() -> None:
    world = CampaignWorld(flash_terms())
    left_behind(world, 1, 1)
    store = world.views.stores["s-1"]
    world._put(StorePut(replace(store, zones=())))
    order = world.place(1)
    assert [part.fulfilment.store_id for part in order.parts] == ["s-2"]
    assert held(world) == 1
    world.check_at_rest()


def expired(terms: campaign.Terms) -> CampaignWorld:
    """Order 1 has a payment under way and has expired; its word to the campaign is still owed."""
    world = CampaignWorld(terms)
    group_id = ""
    if terms.group is not None:
        group_id = world.place(2).group_id
        world.pay(2)
    world.place(1, group_id=group_id)
    world.start_payment(1)
    world.at(60)  # the provider is asked once more
    world.now += 20
    world.ask(f"order/{order_id(1)}", Wake())
    assert world.order_of(1).state == "cancelled"
    assert any(isinstance(send.command, campaign.Unclaim) for _, send in world.queue)
    return world


@pytest.mark.parametrize(
    "terms",
    [
        flash_terms(pay_s=60.0, limit_per_customer=1),
        flash_terms(pay_s=60.0, quota=(campaign.Share("s-1", 1),)),
        group_terms(pay_s=60.0, ends_at=1_009_000.0),
        group_terms({"late": "head_of_new_group"}, pay_s=60.0, ends_at=1_009_000.0),
    ],
)
def test_a_late_payer_does_not_stand_in_their_own_way(terms: Any) -> None:
    world = expired(terms)
    group_id = world.order_of(1).group_id
    late = list(world.queue)
    world.queue = []
    world.capture(1)
    world.run()
    world.queue += late  # the word of the first claim comes when all is done
    world.run()
    order = world.order_of(1)
    assert order.state == "paid"
    assert order.group_id == group_id
    assert world.refunds(1) == 0
    tally = world.view().tally
    assert tally.held == 0
    assert tally.sold == (1 if terms.group is None else 2)
    world.check_at_rest()


def test_a_combo_holds_what_was_set_aside_for_it() -> None:
    quota = (campaign.Share("s-1", 2),)
    world = CampaignWorld(flash_terms(sku="set", price=900, quota=quota))
    parts = (Component("tea", 1), Component("pot", 1))
    world._put(SkuPut(Sku("set", "Tea set", 1499, components=parts)))
    order = world.place(1, lines=(PlaceLine("set", 1),))
    world.pay(1)
    assert [(unit.sku, unit.quantity) for unit in order.lines[0].stock] == [("tea", 2), ("cup", 1)]
    world.at(4_000)
    cells = world.states["inventory/s-1"].cells
    assert [cells[sku].campaigns for sku in ("tea", "cup", "pot")] == [{}, {}, {}]
    assert [cells[sku].on_hand for sku in ("tea", "cup", "pot")] == [8, 9, 10]
    world.check_at_rest()


def test_a_claim_left_behind_whose_time_is_over_is_not_sold_as_a_new_one() -> None:
    """The order would be confirmed with its time to pay already gone."""
    world = CampaignWorld(flash_terms())
    left_behind(world, 1, 1)
    world.now += 310
    order = world.place(1)
    assert order.expires_at == world.now + 300
    assert held(world) == 1


class Listening(CampaignWorld):
    """Keeps what its orders ask."""

    def _asked(self, to: str, question: Any) -> Any:
        self.questions = [*getattr(self, "questions", ()), question]
        return super()._asked(to, question)


def test_a_straggling_give_back_of_a_refused_placing_does_not_free_the_next_one() -> None:
    world = Listening(flash_terms())
    assert world.refusal(1, expected_total=5).code == "wrong-total"
    (given_back,) = [one for one in world.questions if isinstance(one, campaign.Unclaim)]
    world.now += 1
    order = world.place(1)
    assert order.claim_id == given_back.claim_id, "the same wish"
    world.ask(CAMPAIGN, given_back)
    assert held(world) == 1
    world.pay(1)
    world.check_at_rest()
