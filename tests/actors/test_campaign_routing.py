"""An order of a campaign keeps to DOMAIN's *Routing and splitting*, as any other does."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain import campaign
from domain.catalogue.events import SkuPut, StorePut
from domain.catalogue.model import ChannelPolicy
from domain.order import commands
from domain.store.events import ItemPaused
from tests.fakes.campaign_world import CampaignWorld, flash_terms, group_terms, order_id


def shares(*units: int) -> tuple[campaign.Share, ...]:
    """So many of ``s-1``, ``s-2`` and ``s-3``."""
    return tuple(campaign.Share(f"s-{number}", each) for number, each in enumerate(units, 1))


def put_store(world: CampaignWorld, store_id: str, **changes: Any) -> None:
    world._put(StorePut(replace(world.views.stores[store_id], **changes)))


def served(world: CampaignWorld, number: int) -> list[tuple[str, int]]:
    """(store, units) of each fulfilment."""
    order = world.order_of(number)
    return [
        (part.fulfilment.store_id, line.quantity)
        for part, line in zip(order.parts, order.lines, strict=True)
    ]


def test_a_store_that_has_paused_the_item_is_left_out() -> None:
    world = CampaignWorld(flash_terms())
    world.views.apply("store", "s-1", ItemPaused("cup", True, world.now), world.now)
    world.place(1)
    assert served(world, 1) == [("s-2", 1)]
    world.views.apply("store", "s-2", ItemPaused("cup", True, world.now), world.now)
    assert world.refusal(2).code == "no-store-open"
    world.views.apply("store", "s-1", ItemPaused("cup", False, world.now), world.now)
    world.place(2)
    assert served(world, 2) == [("s-1", 1)]


def test_a_stores_share_travels_in_parcels_that_can_be_carried() -> None:
    world = CampaignWorld(flash_terms())
    put_store(world, "s-1", parcel_weight_g=600)  # two cups
    world.place(1, 5)
    assert served(world, 1) == [("s-1", 2), ("s-1", 2), ("s-1", 1)]
    order = world.pay(1)
    assert [part.sold for part in order.parts] == [True] * 3
    assert sum(line.amount for line in order.lines) == 5 * 600
    assert world.cell("s-1", "cup") == (5, 0)
    world.check_at_rest()
    world.ask(f"order/{order_id(1)}", commands.Cancel("changed my mind", "customer"))
    world.run()
    assert world.refunds(1) == order.total
    assert world.cell("s-1", "cup") == (10, 0)
    world.check_at_rest()


def test_unpaid_parcels_give_their_units_back_together_and_once() -> None:
    world = CampaignWorld(flash_terms())
    put_store(world, "s-1", parcel_weight_g=300)
    world.place(1, 3)
    world.at(300)
    assert world.order_of(1).state == "cancelled"
    assert world.view().tally.available == 10
    world.check_at_rest()


def test_parcels_of_a_group_move_to_another_store_together() -> None:
    world = CampaignWorld(group_terms({"size": 2, "stock": "on_formation"}, quota=shares(3, 4)))
    put_store(world, "s-1", parcel_weight_g=300)
    first = world.place(1).group_id
    second = world.place(2, 2).group_id
    world.pay(1)
    world.pay(2)
    assert served(world, 2) == [("s-1", 1), ("s-1", 1)]
    world.place(3, 2, group_id=first, store_id="s-1")
    world.pay(3)
    world.place(4, group_id=second, store_id="s-2")
    world.pay(4)
    assert served(world, 2) == [("s-2", 1), ("s-2", 1)]
    assert [part.state for part in world.order_of(2).parts] == ["new", "new"]
    world.check_at_rest()


def test_goods_that_stay_together_are_not_split() -> None:
    world = CampaignWorld(flash_terms())
    world._put(SkuPut(replace(world.views.skus["cup"], group="fragile set")))
    assert world.refusal(1, 8).code == "campaign-out-of-reach"
    world.place(1, 6)
    assert served(world, 1) == [("s-1", 6)]


@pytest.mark.parametrize(
    ("least", "parts"),
    [
        (0, [("s-1", 6), ("s-2", 2)]),
        (1_800, [("s-1", 5), ("s-2", 3)]),
        (2_400, [("s-1", 4), ("s-2", 4)]),
        (2_401, []),
    ],
)
def test_each_part_of_a_split_is_worth_what_the_channel_asks(
    least: int, parts: list[tuple[str, int]]
) -> None:
    world = CampaignWorld(flash_terms(), policy=ChannelPolicy("app", min_part_value=least))
    if parts:
        world.place(1, 8)
        assert served(world, 1) == parts
    else:
        assert world.refusal(1, 8).code == "campaign-out-of-reach"


def test_a_split_uses_the_best_tiers_in_which_it_is_possible() -> None:
    """The store of the third tier is the fullest."""
    world = CampaignWorld(flash_terms(quota=shares(3, 3, 4)))
    (zone,) = world.views.stores["s-3"].zones
    put_store(world, "s-3", zones=(replace(zone, tier=3),))
    world.place(1, 5)
    assert served(world, 1) == [("s-1", 3), ("s-2", 2)]
    world.place(2, 4)
    assert served(world, 2) == [("s-3", 4)], "one store, in any tier, goes before every split"
