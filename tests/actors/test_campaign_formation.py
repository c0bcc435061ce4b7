"""Groups whose units leave the quota as they form, from several stores (DOMAIN, Group-buy)."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import campaign
from domain.campaign.places import find_places
from domain.campaign.quota import Shelf
from domain.campaign.state import CampaignState, Seat
from domain.campaign.terms import PLACES_MAX
from domain.catalogue.events import StorePut
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, group_terms


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
    assert world.campaign_state.formed == 2
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


def test_members_who_want_more_choose_first() -> None:
    world = pairs(s_1=2, s_2=1)
    group_id = world.place(1).group_id
    world.place(2, 2, group_id=group_id)
    world.pay(1)
    world.pay(2)
    assert stores(world, 1, 2) == ["s-2", "s-1"]
    assert states(world, 1, 2) == ["new"] * 2
    world.check_at_rest()


def test_of_an_ended_campaign_no_unit_is_given_back_that_a_moving_member_takes() -> None:
    steps = (campaign.Step(2, 500), campaign.Step(4, 400))
    rule = {"kind": "ladder", "size": 2, "steps": steps, "stock": "on_formation"}
    quota = (campaign.Share("s-1", 1), campaign.Share("s-2", 1))
    world = CampaignWorld(group_terms(rule, quota=quota, pay_s=3_000.0))
    group_id = world.place(1).group_id
    for number, store_id in ((2, "s-1"), (3, "s-2")):
        world.place(number, group_id=group_id, store_id=store_id)
    world.pay(1)
    world.pay(2)
    world.ask(CAMPAIGN, campaign.End("ops:ana", "enough"))
    world.run()
    world.at(100)
    assert stores(world, 1, 2) == ["s-2", "s-1"]
    tally = world.view().tally
    assert (tally.available, tally.sold, tally.returned) == (0, 2, 0)
    assert world.order_of(3).state == "cancelled"
    assert world.reserved() == 0
    world.check_at_rest()


def test_a_large_group_over_many_stores_is_decided() -> None:
    members = PLACES_MAX
    names = tuple(f"s-{number}" for number in range(members - 1))
    shelves = {name: Shelf(1, set_aside=1, available=1) for name in names}
    state = CampaignState(group_terms({"size": members, "stock": "on_formation"}), (), 0, shelves)
    for number in range(members):
        share = (campaign.Share(names[0], 1),)
        state.seats[f"k{number}"] = Seat("", "", share, "", 0.0, 0.0, True, stores=names)
    everyone = list(state.seats)
    assert find_places(state, everyone) is None
    assert set((find_places(state, everyone[:-1]) or {}).values()) == set(names)


MEMBER = st.tuples(
    st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), st.integers(1, 2)
)


@given(
    left=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    members=st.lists(MEMBER, min_size=2, max_size=5),
    alike=st.booleans(),
)
def test_a_group_forms_if_there_is_any_way_to_serve_members_who_want_as_much_each(
    left: list[int], members: list[tuple[list[int], int]], alike: bool
) -> None:
    wants = [1 if alike else units for _, units in members]
    names_of = ("s-1", "s-2", "s-3")
    terms = group_terms({"size": len(members), "stock": "on_formation"})
    shelves = {
        store: Shelf(5, set_aside=5, available=units)
        for store, units in zip(names_of, left, strict=True)
    }
    state = CampaignState(terms, (), 1000, shelves)
    for number, ((able, _), units) in enumerate(zip(members, wants, strict=True)):
        names = tuple(names_of[one] for one in able)
        share = (campaign.Share(names[0], units),)
        state.seats[f"k{number}"] = Seat("", "", share, "", 0.0, 0.0, True, stores=names)
    found = find_places(state, list(state.seats))
    possible = any(fits(way, wants, left) for way in product(*(able for able, _ in members)))
    assert possible or found is None
    if alike:
        assert possible == (found is not None)
    if found is not None:
        way = [names_of.index(found[f"k{number}"]) for number in range(len(members))]
        assert fits(way, wants, left)
        assert all(store in able for store, (able, _) in zip(way, members, strict=True))


def fits(way: Sequence[int], wants: list[int], left: list[int]) -> bool:
    """Whether each member finds what they want at the store of theirs."""
    need = Counter[int]()
    for store, units in zip(way, wants, strict=True):
        need[store] += units
    return all(left[store] >= units for store, units in need.items())
