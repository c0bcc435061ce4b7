"""Flash sale through order, campaign and stock (DOMAIN, Flash sale)."""

import pytest

from actors.engine.kind import Send
from domain import campaign, inventory, store
from domain.errors import Refused
from domain.order import commands
from domain.order.events import Fulfilment
from domain.reasons import ALL_SHORT
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, flash_terms, order_id
from tests.fakes.order_world import START, STORES

Delayed = tuple[str, Send]
"""An owed effect that is still on its way, and who owes it."""
CUPS_OF_S_2 = (inventory.StockItem("cup", 2),)


def flash(**changes: object) -> CampaignWorld:
    return CampaignWorld(flash_terms(**changes))


def test_the_quota_is_taken_out_of_the_stores_pools_for_the_campaign_alone() -> None:
    world = flash()
    assert world.reserved() == 10
    assert world.views.sellable("s-1", "cup") == 4
    assert world.view().state == "running"
    with pytest.raises(Refused, match="short-stock"):
        world.place(1, 5, campaign_id="", store_id="s-1")


def test_a_store_that_cannot_spare_its_share_is_told_of_and_adds_nothing() -> None:
    world = flash(quota=(campaign.Share("s-1", 6), campaign.Share("s-2", 11)))
    view = world.view()
    assert [(one.set_aside, one.problem) for one in view.quota] == [(6, ""), (0, "short-stock")]
    assert view.remaining == 6
    assert view.state == "running"


def test_an_order_costs_the_campaigns_price_and_takes_from_its_quota() -> None:
    world = flash()
    order = world.place(1, 2)
    assert (order.goods, order.lines[0].unit_price, order.lines[0].list_price) == (1200, 600, 1000)
    assert world.view().tally == campaign.Tally(8, 2, 0, 0)
    world.pay(1)
    assert world.view().tally == campaign.Tally(8, 0, 2, 0)
    assert world.cell("s-1", "cup") == (8, 0)
    assert world.reserved() == 8
    world.check_at_rest()


def test_a_paid_order_goes_to_its_store_once_the_campaign_has_confirmed_it() -> None:
    world = flash()
    world.place(1)
    world.start_payment(1)
    world.capture(1)
    assert [part.state for part in world.order_of(1).parts] == ["held"]
    assert not world.sent_by(1, store.OpenTicket)
    world.run()
    assert [part.state for part in world.order_of(1).parts] == ["new"]
    assert len(world.sent_by(1, store.OpenTicket)) == 1


def test_an_order_larger_than_any_stores_share_is_split_over_the_fewest() -> None:
    world = flash()
    order = world.place(1, 9)
    assert [(part.fulfilment.store_id) for part in order.parts] == ["s-1", "s-2"]
    assert sum(line.amount for line in order.lines) == 9 * 600
    world.pay(1)
    assert world.reserved() == 1
    assert world.cell("s-1", "cup")[0] + world.cell("s-2", "cup")[0] == 11


@pytest.mark.parametrize(("at", "code"), [
    (-0.001, "campaign-not-started"), (0.0, ""), (3599.999, ""), (3600.0, "campaign-ended"),
])  # fmt: skip
def test_the_window_is_exact_to_the_millisecond(at: float, code: str) -> None:
    world = CampaignWorld()
    world.now = START - 60
    world.ask(CAMPAIGN, campaign.Open(flash_terms(), "ops"))
    world.run()
    world.now = START + at
    if code:
        assert world.refusal(1).code == code
    else:
        assert world.place(1).state == "placed"


def test_the_limit_counts_over_the_whole_campaign_and_an_expired_order_gives_its_count_back() -> (
    None
):
    world = flash(limit_per_customer=2)
    world.place(1, customer="c-9")
    world.pay(1)
    world.place(2, customer="c-9")
    refused = world.refusal(3, customer="c-9")
    assert (refused.code, refused.extra["left"]) == ("customer-limit", 0)
    world.at(300)
    assert world.order_of(2).state == "cancelled"
    world.place(3, customer="c-9")
    assert world.refusal(4, customer="c-9").code == "customer-limit"


def test_unpaid_units_come_back_to_the_campaign_and_sold_out_ends() -> None:
    world = flash()
    world.place(1, 6)
    world.place(2, 4)
    assert world.refusal(3).code == "campaign-sold-out"
    with pytest.raises(Refused, match="campaign-sold-out"):
        world.views.campaign("c-1").check(order_id(3), "app", world.now)
    world.pay(1)
    world.at(300)
    assert world.order_of(2).state == "cancelled"
    assert world.view().tally == campaign.Tally(4, 0, 6, 0)
    assert world.reserved() == 4
    world.views.campaign("c-1").check(order_id(3), "app", world.now)
    world.place(3)


def test_an_order_that_has_its_claim_is_never_told_sold_out_when_it_is_placed_again() -> None:
    world = flash()
    world.place(1, 10)
    world.views.campaign("c-1").check(order_id(1), "app", world.now)


def test_a_customers_cancel_gives_the_units_back_before_and_after_payment() -> None:
    world = flash()
    world.place(1)
    world.ask(f"order/{order_id(1)}", commands.Cancel("no"))
    world.run()
    assert world.view().tally == campaign.Tally(10, 0, 0, 0)
    world.place(2)
    world.start_payment(2)
    world.capture(2)
    world.ask(f"order/{order_id(2)}", commands.Cancel("no"))  # before the campaign has confirmed
    world.run()
    assert world.refunds(2) == world.order_of(2).total
    assert world.view().tally == campaign.Tally(10, 0, 0, 0)
    assert world.reserved() == 10
    world.check_at_rest()


def test_cancelling_after_the_sale_returns_the_goods_to_normal_stock() -> None:
    world = flash()
    world.place(1)
    world.pay(1)
    world.ask(f"order/{order_id(1)}", commands.Cancel("no"))
    world.run()
    assert world.order_of(1).state == "cancelled"
    assert world.view().tally == campaign.Tally(9, 0, 1, 0)
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.reserved() == 9
    assert world.views.sellable("s-1", "cup") == 5


def test_at_the_end_what_nobody_holds_goes_back_and_what_expires_later_follows() -> None:
    world = flash(ends_at=START + 100)
    world.place(1, 3)
    world.place(2, 2)
    world.at(100)
    assert world.view().state == "ended"
    assert world.view().tally == campaign.Tally(0, 5, 0, 5)
    assert world.reserved() == 5
    world.pay(1)
    world.at(300)
    assert world.view().tally == campaign.Tally(0, 0, 3, 7)
    assert world.reserved() == 0
    world.check_at_rest()


def test_operations_end_it_early_and_twice_is_once() -> None:
    world = flash()
    view = world.ask(CAMPAIGN, campaign.End("ops:ana", "wrong price"))
    assert (view.state, view.tally) == ("ended", campaign.Tally(0, 0, 0, 10))
    world.run()
    world.ask(CAMPAIGN, campaign.End("ops:ana", "wrong price"))
    world.run()
    assert world.reserved() == 0
    assert world.refusal(1).code == "campaign-ended"


def test_a_share_that_is_set_aside_after_the_end_goes_back() -> None:
    world = CampaignWorld()
    world.ask(CAMPAIGN, campaign.Open(flash_terms(), "ops"))
    world.ask(CAMPAIGN, campaign.End("ops"))
    world.run()
    assert world.view().tally == campaign.Tally(0, 0, 0, 10)
    assert world.reserved() == 0


def test_late_money_gets_units_if_there_are_any_and_else_goes_back_once() -> None:
    world = flash(quota=(campaign.Share("s-1", 1),))
    for number in (1, 2):
        world.place(number)
        world.start_payment(number)
        world.at(400 * number)
    assert [world.order_of(n).state for n in (1, 2)] == ["cancelled", "cancelled"]
    world.pay(2)
    assert world.order_of(2).state == "paid"
    assert world.order_of(2).parts[0].state == "new"
    world.pay(1)
    assert world.order_of(1).state == "cancelled"
    assert world.refunds(1) == world.order_of(1).total
    world.pay(1)
    assert world.refunds(1) == world.order_of(1).total
    assert world.view().tally == campaign.Tally(0, 0, 1, 0)


def test_a_straggling_give_back_does_not_free_the_claim_of_a_late_payer() -> None:
    world = flash()
    world.place(1)
    world.start_payment(1)
    world.now = START + 320
    from actors.engine.kind import Wake

    world.ask(f"order/{order_id(1)}", Wake())
    kept = list(world.queue)  # the give-back of the expired claim is still under way
    world.queue.clear()
    world.capture(1)
    world.run()
    world.queue += kept
    world.run()
    assert world.order_of(1).state == "paid"
    assert world.view().tally == campaign.Tally(9, 0, 1, 0)
    world.check_at_rest()


def test_an_order_that_died_between_claim_and_placing_gives_the_units_back() -> None:
    world = flash()
    name = order_id(1)
    world.ask(
        CAMPAIGN, campaign.Claim(f"{name}-1", name, "c-1", "app", 2, ("s-1",)), "the claim alone"
    )
    assert world.view().tally.held == 2
    world.at(300 + 30)
    assert world.view().tally == campaign.Tally(10, 0, 0, 0)


def test_a_repeated_claim_is_the_same_claim() -> None:
    world = flash()
    name = order_id(1)
    claim = campaign.Claim(f"{name}-1", name, "c-1", "app", 2, ("s-1",))
    first = world.ask(CAMPAIGN, claim)
    again = world.ask(CAMPAIGN, claim)
    assert (first.parts, first.expires_at) == (again.parts, again.expires_at)
    assert world.view().tally.held == 2


def test_repeated_confirmations_and_give_backs_change_nothing() -> None:
    world = flash()
    world.place(1)
    world.pay(1)
    claim_id = world.order_of(1).claim_id
    assert world.ask(CAMPAIGN, campaign.Confirm(claim_id)).outcome == "sold"
    world.place(2)
    other = world.order_of(2).claim_id
    for _ in range(2):
        world.ask(CAMPAIGN, campaign.Unclaim(other))
    assert world.view().tally == campaign.Tally(9, 0, 1, 0)
    with pytest.raises(Refused, match="seat-gone"):
        world.ask(CAMPAIGN, campaign.Confirm(other))


def test_a_total_that_was_not_shown_is_refused_and_the_claim_given_back() -> None:
    world = flash()
    with pytest.raises(Refused, match="wrong-total"):
        world.place(1, expected_total=1)
    assert world.view().tally == campaign.Tally(10, 0, 0, 0)


@pytest.mark.parametrize(("changes", "code"), [
    ({"campaign_id": "c-2"}, "unknown-campaign"),
    ({"payment": "cod"}, "campaign-online"),
    ({"currency": "USD"}, "wrong-currency"),
    ({"lines": (commands.PlaceLine("cup", 1), commands.PlaceLine("tea", 1))}, "campaign-lines"),
    ({"group_id": "c-1:1"}, "unknown-group"),
    ({"store_id": "s-3"}, "no-zone"),
    ({"channel": "till"}, "wrong-channel"),
])  # fmt: skip
def test_wishes_that_do_not_fit_are_refused_and_change_nothing(
    changes: dict[str, object], code: str
) -> None:
    world = flash(channels=("app",))
    assert world.refusal(1, **changes).code == code


def test_a_combo_of_a_campaign_takes_its_components() -> None:
    world = CampaignWorld(flash_terms(sku="set", quota=(campaign.Share("s-1", 3),)))
    cells = world.states["inventory/s-1"].cells
    assert (cells["tea"].campaigns, cells["cup"].campaigns) == ({"c-1": 6}, {"c-1": 3})
    world.place(1, lines=(commands.PlaceLine("set", 1),))
    world.pay(1)
    cells = world.states["inventory/s-1"].cells
    assert (cells["tea"].on_hand, cells["cup"].on_hand) == (8, 9)
    world.ask(CAMPAIGN, campaign.End("ops"))
    world.run()
    assert (cells := world.states["inventory/s-1"].cells)["tea"].reserved == 0
    assert cells["cup"].reserved == 0


def test_a_store_that_rejects_hands_the_order_on_to_normal_stock_if_no_share_has_its_units() -> (
    None
):
    world = flash(quota=(campaign.Share("s-1", 10),))
    world.place(1)
    world.pay(1)
    part = world.order_of(1).parts[0].fulfilment
    rejected = commands.RecordRejected(part.fulfilment_id, part.store_id, "broken", world.now)
    world.ask(f"order/{order_id(1)}", rejected)
    world.run()
    (new,) = world.order_of(1).parts
    assert (new.fulfilment.store_id, new.fulfilment.campaign_id, new.sold) == ("s-2", "", True)
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.cell("s-2", "cup") == (9, 0)
    assert world.reserved() == 9


# Messages that overtake a sale ------------------------------------------------------------------

Sale = inventory.Deduct | inventory.SellReserved


def split() -> CampaignWorld:
    """An order of five cups has three from ``s-1`` and two from ``s-2``: the whole quota."""
    return flash(quota=(campaign.Share("s-1", 3), campaign.Share("s-2", 2)))


def pay_but(world: CampaignWorld, number: int, store_id: str) -> Delayed:
    """Pay for an order; all that follows arrives, but the sale of one store's part."""
    if not world.order_of(number).payments:
        world.start_payment(number)
    world.capture(number)
    return all_but_the_sale(world, store_id)


def reject(world: CampaignWorld, number: int, store_id: str, code: str = "") -> None:
    """The store will not serve its part; nothing that follows has arrived yet."""
    name = part_at(world, number, store_id).fulfilment_id
    rejected = commands.RecordRejected(name, store_id, "broken", world.now, code)
    world.ask(f"order/{order_id(number)}", rejected)


def part_at(world: CampaignWorld, number: int, store_id: str) -> Fulfilment:
    """The part of an order that a store serves now."""
    parts = [part.fulfilment for part in world.order_of(number).parts]
    (found,) = [one for one in parts if one.store_id == store_id]
    return found


def all_but_the_sale(world: CampaignWorld, store_id: str) -> Delayed:
    """Deliver what is owed, but for the next sale at a store: it is still on its way."""
    to = f"inventory/{store_id}"
    delayed: list[Delayed] = []
    while world.queue:
        _, send = world.queue[0]
        if not delayed and send.to == to and isinstance(send.command, Sale):
            delayed.append(world.queue.pop(0))
        else:
            world.deliver(0)
    (sale,) = delayed
    return sale


def arrives(world: CampaignWorld, sale: Delayed) -> None:
    """At last, and once more, as a repeat may."""
    for _ in range(2):
        world.queue.append(sale)
        world.run()


def test_a_return_that_overtakes_the_sale_still_brings_the_units_back_once() -> None:
    world = flash()
    world.place(1)
    sale = pay_but(world, 1, "s-1")
    world.ask(f"order/{order_id(1)}", commands.Cancel("no"))
    world.run()
    arrives(world, sale)
    assert world.cell("s-1", "cup") == (10, 0)
    assert world.reserved() == 9


@pytest.mark.parametrize("store_id", ["s-1", "s-2"])
def test_units_of_any_part_leave_the_quota_though_a_rejection_overtakes_their_sale(
    store_id: str,
) -> None:
    world = split()
    world.place(1, 5)
    sale = pay_but(world, 1, store_id)
    reject(world, 1, store_id)
    world.run()
    arrives(world, sale)
    assert [part.fulfilment.campaign_id for part in world.order_of(1).parts].count("c-1") == 1
    assert world.reserved() == 0
    assert sum(world.cell(name, "cup")[0] for name in STORES) == 30 - 5
    world.ask(CAMPAIGN, campaign.End("ops"))
    world.run()
    assert [world.views.sellable(name, "cup") for name in STORES] == [
        world.cell(name, "cup")[0] for name in STORES
    ]


@pytest.mark.parametrize("store_id", ["s-1", "s-2"])
def test_units_that_a_store_did_not_find_leave_the_books_once_though_that_overtakes_their_sale(
    store_id: str,
) -> None:
    world = split()
    world.place(1, 5)
    missing = 3 if store_id == "s-1" else 2
    sale = pay_but(world, 1, store_id)
    reject(world, 1, store_id, ALL_SHORT)
    world.run()
    arrives(world, sale)
    assert world.reserved() == 0
    assert sum(world.cell(name, "cup")[0] for name in STORES) == 30 - 5 - missing


def test_units_of_a_late_payers_second_claim_leave_its_quota_though_their_return_is_faster() -> (
    None
):
    world = split()
    world.place(1, 5)
    world.start_payment(1)
    world.at(400)
    assert world.order_of(1).state == "cancelled"
    sale = pay_but(world, 1, "s-2")
    assert part_at(world, 1, "s-2").fulfilment_id == f"{order_id(1)}-4"
    reject(world, 1, "s-2")
    world.run()
    arrives(world, sale)
    assert world.reserved() == 0
    assert sum(world.cell(name, "cup")[0] for name in STORES) == 30 - 5
    assert world.view().tally.sold == 5


def test_a_rerouted_part_has_nothing_of_the_quota_though_its_return_overtakes_its_sale() -> None:
    world = flash(quota=(campaign.Share("s-1", 10),))
    world.place(1)
    world.pay(1)
    reject(world, 1, "s-1")
    sale = all_but_the_sale(world, "s-2")
    moved = part_at(world, 1, "s-2").fulfilment_id
    world.ask("inventory/s-2", inventory.Release(moved, "nobody knew of it"))
    reject(world, 1, "s-2")
    world.run()
    arrives(world, sale)
    assert part_at(world, 1, "s-3").campaign_id == ""
    assert [one.fulfilment_id for one in world.sent_by(1, inventory.RecordSale)] == [moved]
    assert [world.cell(name, "cup") for name in STORES] == [(10, 0), (10, 0), (9, 0)]
    assert world.reserved() == 9, "one was sold from s-1's share, none from s-2's"


def test_a_part_whose_quota_was_gone_is_not_sold_from_it_once_it_was_rerouted() -> None:
    world = split()
    world.place(1, 5)
    sale = pay_but(world, 1, "s-2")
    part = part_at(world, 1, "s-2")
    picked = commands.RecordPicked(part.fulfilment_id, "s-2", ((f"{order_id(1)}/2", 1),), world.now)
    world.ask("inventory/s-2", inventory.GiveBack("by hand", "c-1", CUPS_OF_S_2))
    world.ask(f"order/{order_id(1)}", picked)
    (short,) = [one for one in world.queue if isinstance(one[1].command, inventory.CorrectShort)]
    world.queue.remove(short)
    arrives(world, sale)
    assert world.order_of(1).parts[1].fulfilment.campaign_id == ""
    world.queue.append(short)
    world.run()
    assert world.reserved() == 0
    assert world.cell("s-2", "cup") == (8, 0), "one is served, one was missing"
