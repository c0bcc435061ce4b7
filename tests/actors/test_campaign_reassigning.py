"""A store that will not serve a paid order of a campaign: the campaign's other shares come first.

DOMAIN: a confirmed order is never *sold out* later, and a quota is for the campaign's buyers.
"""

from typing import Any

import pytest

from domain import campaign
from domain.errors import Refused
from domain.order import commands
from domain.reasons import ALL_SHORT
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, flash_terms, group_terms, order_id

ALL_SET_ASIDE = {"s-1": {"cup": 10}, "s-2": {"cup": 10}}
SHARES = (campaign.Share("s-1", 10), campaign.Share("s-2", 10))


def sale(**changes: Any) -> CampaignWorld:
    """Every cup there is belongs to the campaign."""
    terms = flash_terms(**{"quota": SHARES, **changes})
    return CampaignWorld(terms, stock=ALL_SET_ASIDE)


def reject(world: CampaignWorld, number: int, code: str = "") -> None:
    """By the store of the order's last part; nothing that follows has arrived yet."""
    part = world.order_of(number).parts[-1].fulfilment
    told = (part.fulfilment_id, part.store_id, "no staff", world.now, code)
    rejected = commands.RecordRejected(*told)
    world.ask(f"order/{order_id(number)}", rejected)


def refund_one(world: CampaignWorld, number: int) -> None:
    """One unit of the order's only line; operations gives the money back, not the goods."""
    (line,) = world.order_of(number).lines
    units = (commands.RefundUnits(line.line_id, 1),)
    refund = commands.RefundLines(f"goodwill-{number}", units, "goodwill", "ana")
    world.ask(f"order/{order_id(number)}", refund)
    world.run()


def where(world: CampaignWorld, number: int) -> list[tuple[str, str]]:
    """(store, state) of each part."""
    parts = world.order_of(number).parts
    return [(part.fulfilment.store_id, part.state) for part in parts]


def levels(world: CampaignWorld, store_id: str) -> tuple[int, int]:
    """(available, sold) of a store's share."""
    shelf = world.campaign_state.shelves[store_id]
    return shelf.available, shelf.sold


def test_another_share_serves_what_a_store_rejects() -> None:
    world = sale(limit_per_customer=1)
    world.place(1)
    world.pay(1)
    reject(world, 1)
    world.run()
    assert where(world, 1) == [("s-2", "new")]
    (part,) = world.order_of(1).parts
    assert (part.fulfilment.campaign_id, part.sold) == ("c-1", True)
    assert (levels(world, "s-1"), levels(world, "s-2")) == ((9, 1), (9, 1))
    assert world.cell("s-1", "cup") == (10, 0), "the rejected unit is in s-1's normal stock"
    assert world.cell("s-2", "cup") == (9, 0)
    assert dict(world.campaign_state.bought.items()) == {"c-1": 1}, "bought once"
    world.check_at_rest()


def test_who_rejected_is_not_asked_again_and_the_normal_stock_comes_last() -> None:
    world = sale()
    world.place(1)
    world.pay(1)
    for _ in range(2):
        reject(world, 1)
        world.run()
    assert where(world, 1) == [("s-2", "parked")], "s-3 has no cups at all"
    assert (levels(world, "s-1"), levels(world, "s-2")) == ((9, 1), (9, 1))


def test_an_ended_campaign_gives_nothing_its_units_are_normal_stock_by_then() -> None:
    world = sale()
    world.place(1)
    world.pay(1)
    world.ask(CAMPAIGN, campaign.End("ops:ana"))
    world.run()
    reject(world, 1)
    world.run()
    (part,) = world.order_of(1).parts
    assert (part.fulfilment.store_id, part.fulfilment.campaign_id, part.sold) == ("s-2", "", True)
    world.check_at_rest()


@pytest.mark.parametrize("stock", ["on_payment", "on_formation"])
def test_a_member_of_a_formed_group_keeps_the_groups_price_at_the_other_store(stock: str) -> None:
    terms = group_terms({"size": 2, "stock": stock}, quota=SHARES)
    world = CampaignWorld(terms, stock=ALL_SET_ASIDE)
    group_id = world.place(1).group_id
    world.pay(1)
    world.place(2, group_id=group_id)
    world.pay(2)
    total = world.order_of(2).total
    reject(world, 2)
    world.run()
    assert where(world, 2) == [("s-2", "new")]
    assert (world.order_of(2).total, world.refunds(2)) == (total, 0)
    assert [levels(world, name) for name in ("s-1", "s-2")] == [(8, 2), (9, 1)]
    world.check_at_rest()


def test_a_whole_part_moves_or_none_of_it() -> None:
    world = sale(quota=(campaign.Share("s-1", 10), campaign.Share("s-2", 2)))
    world.place(1, 3)
    world.pay(1)
    reject(world, 1)
    world.run()
    assert levels(world, "s-2") == (2, 0)
    (part,) = world.order_of(1).parts
    assert (part.fulfilment.store_id, part.fulfilment.campaign_id) == ("s-2", ""), "normal stock"


def test_of_a_part_in_which_a_unit_was_short_the_campaign_gives_the_others() -> None:
    """The quota is not asked for a unit that is refunded."""
    world = CampaignWorld(flash_terms())
    world.place(1, 2)
    world.pay(1)
    (line,) = world.order_of(1).lines
    part = world.order_of(1).parts[0].fulfilment
    picked = commands.RecordPicked(part.fulfilment_id, "s-1", ((line.line_id, 1),), world.now)
    world.ask(f"order/{order_id(1)}", picked)
    world.run()
    reject(world, 1)
    world.run()
    (part,) = [one.fulfilment for one in world.order_of(1).parts]
    assert (part.store_id, part.campaign_id) == ("s-2", "c-1")
    assert levels(world, "s-2") == (3, 1)
    world.check_at_rest()


def test_a_refunded_unit_does_not_bar_a_part_from_the_campaigns_other_shares() -> None:
    """It is handed over all the same: a kindness of operations."""
    world = sale()
    world.place(1, 2)
    world.pay(1)
    refund_one(world, 1)
    reject(world, 1)
    world.run()
    assert where(world, 1) == [("s-2", "new")]
    assert levels(world, "s-2") == (8, 2)
    world.check_at_rest()


def test_units_of_a_lost_answer_are_free_when_normal_stock_serves_the_part() -> None:
    """A unit was found to be short meanwhile, so that the campaign's first answer does not fit."""
    world = CampaignWorld(flash_terms())
    world.place(1, 2)
    world.pay(1)
    part = world.order_of(1).parts[0].fulfilment
    claim_id = world.order_of(1).claim_id
    world.ask(CAMPAIGN, campaign.Reassign(claim_id, part.fulfilment_id, 2, ("s-2",)))
    assert levels(world, "s-2") == (2, 2), "of which the order never heard"
    (line,) = world.order_of(1).lines
    picked = commands.RecordPicked(part.fulfilment_id, "s-1", ((line.line_id, 1),), world.now)
    world.ask(f"order/{order_id(1)}", picked)
    world.run()
    reject(world, 1)
    world.run()
    (part,) = [one.fulfilment for one in world.order_of(1).parts]
    assert (part.store_id, part.campaign_id) == ("s-2", "")
    assert levels(world, "s-2") == (4, 0)
    world.ask(CAMPAIGN, campaign.End("ops:ana"))
    world.run()
    world.check_at_rest()


def test_units_that_were_not_there_leave_the_books_of_the_store_that_missed_them() -> None:
    world = sale()
    world.place(1)
    world.pay(1)
    reject(world, 1, ALL_SHORT)
    world.run()
    assert where(world, 1) == [("s-2", "new")]
    assert world.cell("s-1", "cup") == (9, 0)
    world.check_at_rest()


def test_operations_reroute_a_parked_part_to_a_share_that_has_units_by_now() -> None:
    world = sale()
    world.place(1)
    world.pay(1)
    world.place(2, 10, store_id="s-2")
    reject(world, 1)
    world.run()
    assert where(world, 1) == [("s-1", "parked")]
    world.at(300)
    assert levels(world, "s-2") == (10, 0), "order 2 was not paid"
    name = world.order_of(1).parts[0].fulfilment.fulfilment_id
    world.ask(f"order/{order_id(1)}", commands.Reroute(name, "", "ana", "there are some again"))
    world.run()
    assert where(world, 1) == [("s-2", "new")]
    world.check_at_rest()


# Lost answers -----------------------------------------------------------------------------------


def asked_in_vain(world: CampaignWorld, number: int) -> campaign.Reassign:
    """The order's process dies after the campaign has answered, before it stored what follows."""
    order = world.order_of(number)
    part = order.parts[-1].fulfilment
    question = campaign.Reassign(order.claim_id, part.fulfilment_id, 1, ("s-2",))
    world.ask(CAMPAIGN, question)
    assert levels(world, "s-2") == (9, 1)
    return question


def test_a_question_whose_answer_was_lost_is_answered_the_same_again() -> None:
    world = sale()
    world.place(1)
    world.pay(1)
    asked_in_vain(world, 1)
    reject(world, 1)
    world.run()
    assert where(world, 1) == [("s-2", "new")]
    assert levels(world, "s-2") == (9, 1)
    world.check_at_rest()


@pytest.mark.parametrize("ended", [False, True])
def test_units_of_a_lost_answer_are_free_again_once_the_order_is_cancelled(ended: bool) -> None:
    world = sale()
    world.place(1)
    world.pay(1)
    question = asked_in_vain(world, 1)
    if ended:
        world.ask(CAMPAIGN, campaign.End("ops:ana"))
        world.run()
    world.ask(f"order/{order_id(1)}", commands.Cancel("changed my mind", "customer"))
    world.run()
    assert levels(world, "s-2") == ((0, 0) if ended else (10, 0))
    with pytest.raises(Refused, match="seat-gone"):  # a straggler of the question
        world.ask(CAMPAIGN, question)
    for _ in range(2):
        world.ask(CAMPAIGN, campaign.Unassign(question.claim_id, question.fulfilment_id))
        world.run()
    assert levels(world, "s-2") == ((0, 0) if ended else (10, 0))
    world.check_at_rest()


def test_who_never_bought_gets_nothing() -> None:
    world = sale()
    claim_id = world.place(1).claim_id
    for wrong in (claim_id, "unknown"):
        with pytest.raises(Refused, match="seat-gone"):
            world.ask(CAMPAIGN, campaign.Reassign(wrong, f"{order_id(1)}-1", 1, ("s-2",)))
        assert world.ask(CAMPAIGN, campaign.Unassign(wrong, f"{order_id(1)}-1")) is True
    assert levels(world, "s-2") == (10, 0)
