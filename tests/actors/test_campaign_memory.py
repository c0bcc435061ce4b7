"""What processes keep of campaigns is bounded, and never makes an answer untrue."""

from typing import Any

import msgspec
import pytest

from actors.views import Views
from domain import campaign
from domain import history as histories
from domain.campaign import state as campaign_state
from domain.campaign.brief import REPEATS_S, brief_of, followed
from domain.campaign.order_filter import IDS_MAX, IDS_MIN, OrderFilter
from domain.campaign.state import CampaignState, evolve
from domain.catalogue.model import Component
from domain.errors import Refused
from domain.history import PAGE_ENTRIES
from orchestrator.push.campaigns import SHOWN_S, CampaignTopics
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, flash_terms, group_terms, order_id
from tests.fakes.order_world import START


def told(views: Views, number: int, now: float = START) -> str:
    """What a gateway answers order ``number`` without asking it."""
    try:
        views.campaign("c-1").check(order_id(number), "app", now)
    except Refused as refusal:
        return refusal.code
    return ""


def opened(at: float) -> campaign.Opened:
    terms = flash_terms(starts_at=at, ends_at=at + 60)
    return campaign.Opened(terms, (Component("cup", 1),), 1000, "ops", at)


def bytes_of(ids: OrderFilter) -> int:
    return sum(len(layer) for layer in ids.layers)


# Orders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, IDS_MIN, 3 * IDS_MIN, 100_000])
def test_every_order_is_remembered_in_a_few_bytes_and_few_strangers_are_taken_for_one(
    count: int,
) -> None:
    ids = OrderFilter()
    for number in range(count):
        ids.add(order_id(number))
    assert all(order_id(number) in ids for number in range(count))
    assert bytes_of(ids) <= 4 * max(count, IDS_MIN)
    strangers = sum(order_id(number) in ids for number in range(200_000, 202_000))
    assert strangers <= 2_000 * 0.2


def test_as_many_orders_as_were_expected_take_two_bytes_each_and_a_huge_quota_takes_none() -> None:
    ids = OrderFilter(50_000)
    for number in range(50_000):
        ids.add(order_id(number))
    assert bytes_of(ids) == 2 * 65_536
    assert sum(order_id(number) in ids for number in range(200_000, 202_000)) <= 2_000 * 0.04
    huge = OrderFilter(10_000_000_000)
    assert bytes_of(huge) == 0
    huge.add(order_id(1))
    assert bytes_of(huge) == 2 * IDS_MAX


def test_nobody_is_told_sold_out_before_it_is_known_what_every_store_has_set_aside() -> None:
    """Whoever hears of the units a moment late asks the campaign, which knows."""
    views = Views(pickup_secret=b"pick-up")
    views.apply("campaign", CAMPAIGN, opened(START), START)
    views.campaigns[CAMPAIGN].check(order_id(1), "app", START + 1)
    nothing = campaign.After((campaign.Share("s-1", 0),), campaign.Tally())
    for store_id in {share.store_id for share in opened(START).terms.quota}:
        event = campaign.QuotaSet(store_id, 0, nothing, START)
        views.apply("campaign", CAMPAIGN, event, START)
    with pytest.raises(Refused, match="campaign-sold-out"):
        views.campaigns[CAMPAIGN].check(order_id(1), "app", START + 1)


def test_an_order_that_gave_its_units_back_still_gets_its_first_answer() -> None:
    world = CampaignWorld(flash_terms())
    world.place(1, 10)
    assert told(world.views, 2) == "campaign-sold-out"
    world.at(300)
    assert world.order_of(1).state == "cancelled"
    world.place(2, 10)
    assert [told(world.views, number) for number in (1, 2)] == ["", ""]
    assert told(world.views, 3) == "campaign-sold-out"


@pytest.mark.parametrize("rule", [None, {"size": 2}, {"size": 2, "stock": "on_formation"}])
def test_a_process_that_starts_later_knows_the_same_orders(rule: dict[str, Any] | None) -> None:
    one_store = (campaign.Share("s-1", 10),)
    world = CampaignWorld(group_terms(rule, quota=one_store) if rule else flash_terms())
    group_id = world.place(1, 4).group_id
    world.pay(1)
    world.place(2, 6, group_id=group_id)
    world.pay(2)
    later = Views(pickup_secret=b"pick-up")
    later.load("campaign", "c-1", world.campaign_state)
    for views in (world.views, later):
        assert [told(views, number) for number in (1, 2)] == ["", ""]
        assert told(views, 3) == "campaign-sold-out"


def test_a_campaign_that_has_forgotten_the_seats_of_its_first_buyers_still_knows_who_bought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway that starts on the fifth day of a sale still answers *sold out* by itself."""
    monkeypatch.setattr(campaign_state, "SETTLED_PAGES", 1)
    monkeypatch.setattr(histories, "PAGE_ENTRIES", 2)
    world = CampaignWorld(flash_terms())
    for number in range(10):
        world.place(number)
        world.pay(number)
    state = world.campaign_state
    assert state.settled_seat(world.order_of(0).claim_id) is None
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=CampaignState)
    later = Views(pickup_secret=b"pick-up")
    later.load("campaign", "c-1", stored)
    for views in (world.views, later):
        assert [told(views, number) for number in range(10)] == [""] * 10
        assert told(views, 11) == "campaign-sold-out"
    assert world.refusal(11).code == "campaign-sold-out"


def test_units_come_back_once_from_a_buyer_who_was_put_away_long_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(histories, "PAGE_ENTRIES", 2)
    world = CampaignWorld(flash_terms())
    for number in range(7):
        world.place(number)
        world.pay(number)
    claim_id = world.order_of(0).claim_id
    assert claim_id not in world.campaign_state.settled.recent
    assert world.ask(CAMPAIGN, campaign.Confirm(claim_id)).outcome == "sold"
    for _ in range(2):
        world.ask(CAMPAIGN, campaign.Unclaim(claim_id, "it never left"))
        assert world.view().tally.sold == 6
    with pytest.raises(Refused, match="seat-gone"):
        world.ask(CAMPAIGN, campaign.Confirm(claim_id))


def test_what_a_busy_campaign_has_sold_is_in_pages() -> None:
    """A snapshot copies them, and needs not encode each again (docs/decisions/0012)."""
    world = CampaignWorld(flash_terms(quota=(campaign.Share("s-1", 10),)))
    world.place(1)
    world.pay(1)
    state, sold = world.campaign_state, 2_000
    (seat,) = state.settled_seats()
    for number in range(sold):
        claim = f"o{number}-1"
        event = campaign.Claimed(
            claim, f"o{number}", f"k{number}", seat.parts, "", 0.0,
            campaign.After((), state.tally), START,
        )  # fmt: skip
        evolve(state, event)
        evolve(state, campaign.Confirmed(claim, f"o{number}", "", event.after, START))
    assert not state.seats
    assert len(state.settled.recent) <= PAGE_ENTRIES
    assert len(list(state.settled_seats())) == sold + 1


# Campaigns that are over ------------------------------------------------------------------------


def test_orders_of_a_campaign_that_ended_long_ago_are_let_go_and_it_is_still_over() -> None:
    world = CampaignWorld(flash_terms())
    world.place(1)
    world.at(3_600)
    views, ended_at = world.views, world.campaign_state.ended_at
    views.apply("campaign", "c-2", opened(ended_at + REPEATS_S), ended_at + REPEATS_S)
    assert (told(views, 1, world.now), told(views, 2, world.now)) == ("", "campaign-ended")
    world.now = ended_at + REPEATS_S + 1
    views.apply("campaign", "c-3", opened(world.now), world.now)
    brief = views.campaign("c-1")
    assert (brief.orders, brief.left) == (None, {})
    assert told(views, 1, world.now) == "", "its own shard knows what it was told"
    assert brief.state_at(world.now) == "ended"
    del world.states[CAMPAIGN]  # the campaign itself is forgotten in time
    assert world.refusal(2).code == "campaign-ended"
    assert views.campaign("c-3").orders is not None


def test_who_does_not_answer_for_orders_keeps_none() -> None:
    world = CampaignWorld(flash_terms())
    world.place(1)
    followed_brief = None
    for to, event in world.every_event:
        if to == CAMPAIGN:
            followed_brief = followed(followed_brief, "c-1", event)
    assert followed_brief is not None
    assert followed_brief.orders is None
    loaded = brief_of("c-1", world.campaign_state)
    assert loaded.orders is None
    assert loaded == followed_brief


async def test_what_remains_of_a_campaign_is_shown_for_a_day_after_it_is_over() -> None:
    world = CampaignWorld(flash_terms())
    world.place(1)
    now = [world.now]
    topics = CampaignTopics(lambda: now[0])
    topics.load("campaign", "c-1", world.campaign_state)
    world.at(3_600)
    for to, event in world.every_event:
        if to == CAMPAIGN:
            topics.apply("campaign", "c-1", event, world.now)
    now[0] = world.campaign_state.ended_at + SHOWN_S
    topics.apply("campaign", "c-2", opened(now[0]), now[0])
    assert (await topics.topic("c-1")).document["state"] == "ended"
    now[0] += 1
    topics.apply("campaign", "c-3", opened(now[0]), now[0])
    assert (await topics.topic("c-1")).document["state"] == "ended", "somebody watches it"
    topics.forget_unwatched("c-1")
    topics.apply("campaign", "c-4", opened(now[0]), now[0])
    with pytest.raises(Refused, match="unknown-campaign"):
        await topics.topic("c-1")
    assert (await topics.topic("c-2")).document["state"] == "preparing"


async def test_a_campaign_that_ended_while_the_tail_was_away_is_shown_as_over() -> None:
    world = CampaignWorld(flash_terms())
    topics = CampaignTopics(lambda: START)
    for name in ("c-1", "c-2"):
        topics.load("campaign", name, world.campaign_state)
    topics.loaded()
    assert (await topics.topic("c-1")).document["state"] == "running"
    topics.reset()
    topics.load("campaign", "c-2", world.campaign_state)
    assert (await topics.topic("c-1")).document["state"] == "running"
    topics.loaded()
    assert [(await topics.topic(name)).document["state"] for name in ("c-1", "c-2")] == [
        "ended", "running",
    ]  # fmt: skip
