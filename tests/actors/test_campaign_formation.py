"""Groups whose units leave the quota as they form, from several stores (DOMAIN, Group-buy)."""

from collections import Counter
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import campaign
from domain.campaign import rules
from domain.campaign.quota import Shelf
from domain.campaign.state import CampaignState, Seat
from domain.catalogue.events import StorePut
from tests.fakes.campaign_world import CampaignWorld, group_terms


def pairs(**quota: int) -> CampaignWorld:
    """Groups of two, ``on_formation``, from the stores named (``s_1=2``: two units of s-1)."""
    shares = tuple(campaign.Share(name.replace("_", "-"), units) for name, units in quota.items())
    return CampaignWorld(group_terms({"size": 2, "stock": "on_formation"}, quota=shares))


def stores(world: CampaignWorld, *numbers: int) -> list[str]:
    """The stores at work for these orders."""
    found = [world.order_of(number).parts for number in numbers]
    assert all(len(parts) == 1 for parts in found)
    return [part.fulfilment.store_id for (part,) in found]


def states(world: CampaignWorld, *numbers: int) -> list[str]:
    return [part.state for number in numbers for part in world.order_of(number).parts]


def test_a_group_takes_its_units_from_the_stores_that_still_have_them() -> None:
    world = pairs(s_1=2, s_2=2)
    first, second, third, _ = (world.place(number).group_id for number in (1, 2, 3, 4))
    for number in (1, 2, 3):
        world.pay(number)
    assert stores(world, 1, 2, 3, 4) == ["s-1", "s-1", "s-2", "s-2"]
    for number, group_id in ((5, first), (6, second)):
        world.place(number, group_id=group_id)
        world.pay(number)
    assert world.campaign_state.closed == {first: "formed", second: "formed"}
    assert stores(world, 2) == ["s-2"], "s-1 had sold out"
    order = world.order_of(2)
    assert {line.fulfilment_id for line in order.lines} == {f"{order.order_id}-2"}
    assert order.parts[0].fulfilment.freight == order.freight
    assert states(world, 1, 2, 5, 6) == ["new"] * 4
    assert world.refusal(7, group_id=third).code == "campaign-sold-out"
    world.at(4_000)
    assert world.refunds(3) == world.order_of(3).total
    assert world.view().tally.sold == 4
    assert world.reserved() == 0
    world.check_at_rest()


def test_a_member_makes_room_for_one_whom_no_other_store_serves() -> None:
    world = pairs(s_1=1, s_2=1)
    group_id = world.place(1).group_id
    world.place(2, group_id=group_id, store_id="s-1")
    world.pay(1)
    world.pay(2)
    assert states(world, 1, 2) == ["new"] * 2
    assert stores(world, 1, 2) == ["s-2", "s-1"]
    world.check_at_rest()


def test_a_store_whose_zones_were_redrawn_keeps_what_it_promised() -> None:
    world = pairs(s_1=1, s_2=1)
    group_id = world.place(1).group_id
    world.place(2, group_id=group_id, store_id="s-1")
    world._put(StorePut(replace(world.views.stores["s-2"], zones=())))
    world.pay(1)
    world.pay(2)
    assert stores(world, 1, 2) == ["s-2", "s-1"]
    assert states(world, 1, 2) == ["new"] * 2
    world.check_at_rest()


@given(
    left=st.lists(st.integers(0, 2), min_size=3, max_size=3),
    members=st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), min_size=2, max_size=5
    ),
)
def test_a_group_forms_if_there_is_any_way_to_serve_all(
    left: list[int], members: list[list[int]]
) -> None:
    names_of = ("s-1", "s-2", "s-3")
    terms = group_terms({"size": len(members), "stock": "on_formation"})
    shelves = {
        store: Shelf(5, set_aside=5, available=units)
        for store, units in zip(names_of, left, strict=True)
    }
    state = CampaignState(terms, (), 1000, shelves)
    for number, able in enumerate(members):
        names = tuple(names_of[one] for one in able)
        share = (campaign.Share(names[0], 1),)
        state.seats[f"k{number}"] = Seat("", "", share, "", 0.0, 0.0, True, stores=names)
    found = rules._places(state, list(state.seats))
    ways = (
        Counter(way)
        for way in product(*members)  # every choice of a store for each member
    )
    possible = any(all(left[store] >= units for store, units in way.items()) for way in ways)
    assert (found is not None) == possible
    if found is not None:
        used = Counter(found.values())
        assert all(used[store] <= units for store, units in zip(names_of, left, strict=True))
        assert all(
            found[f"k{n}"] in {names_of[one] for one in able} for n, able in enumerate(members)
        )
