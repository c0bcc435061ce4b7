"""The read model: it follows the feed, and answers as a walk over all stores would."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.inventory import KIND as INVENTORY
from actors.views import KINDS_FOLLOWED, Views
from domain.catalogue import (
    ChannelPolicy,
    ChannelPut,
    Component,
    Sku,
    SkuPut,
    StoreProfile,
    StorePut,
    Zone,
)
from domain.catalogue.state import CatalogueState
from domain.errors import Refused
from domain.geo import Area, Circle, Polygon, Position, contains
from domain.inventory.commands import LockItem, StockItem
from domain.inventory.events import Allotted, Left, Locked, Received
from domain.routing import Candidate, Demand, plan
from domain.store.commands import OpenTicket
from domain.store.events import ItemPaused, StorePaused, TicketClosed, TicketMoved, TicketOpened

HOME = Position(50.0, 8.0)
NOW = 1_700_000_000.0
MIDNIGHT = NOW - NOW % 86_400


def profile(store_id: str = "s-1", at: Position = HOME, **facts: Any) -> StoreProfile:
    facts.setdefault("zones", (Zone("z", 1, Circle(at, 3_000.0), 1_800),))
    facts.setdefault("dispatch_zone", "d-1")
    return StoreProfile(store_id, store_id, at, "EUR", **facts)


def put(views: Views, store: StoreProfile) -> None:
    views.apply("catalogue", f"store:{store.store_id}", StorePut(store), NOW)


def stock(views: Views, store_id: str, **units: int) -> None:
    left = tuple(Left(sku, count) for sku, count in units.items())
    views.apply("inventory", store_id, Received("d", (), "", left, NOW), NOW)


def happen(views: Views, event: Any, store_id: str = "s-1") -> None:
    views.apply("store", store_id, event, NOW)


def ticket(fulfilment_id: str) -> TicketOpened:
    opened = OpenTicket(fulfilment_id, "o", (), "delivery", "EUR", 0, NOW + 300, NOW + 1_800)
    return TicketOpened(opened, NOW)


def one(views: Views, position: Position = HOME, now: float = NOW, channel: str = "") -> Candidate:
    (candidate,) = views.candidates(position, ("milk",), now, channel)
    return candidate


@pytest.fixture
def views() -> Views:
    known = Views(pickup_secret=b"pick-up")
    put(known, profile())
    stock(known, "s-1", milk=5, tea=2)
    return known


# Following the feed -----------------------------------------------------------------------------


def test_it_follows_catalogue_inventory_store_and_campaigns() -> None:
    assert KINDS_FOLLOWED == ("catalogue", "inventory", "store", "campaign", "risk")
    views = Views(pickup_secret=b"pick-up")
    assert views.kinds_followed == KINDS_FOLLOWED
    views.apply("order", "o-1", object(), NOW)
    assert list(views.candidates(HOME, ("milk",), NOW)) == []


def test_whom_one_follows_is_nobody_elses_matter() -> None:
    gateway = Views(pickup_secret=b"pick-up", kinds_followed=(*KINDS_FOLLOWED, "device"))
    assert "device" in gateway.kinds_followed
    assert Views(pickup_secret=b"pick-up").kinds_followed == KINDS_FOLLOWED


@pytest.mark.parametrize("secret", [b"", b"x" * 65])
def test_pick_up_codes_are_never_made_with_a_key_that_cannot_keep_them(secret: bytes) -> None:
    with pytest.raises(ValueError, match="DOORSTEP_PICKUP_SECRET"):
        Views(pickup_secret=secret)


def test_stock_is_what_the_last_event_left(views: Views) -> None:
    assert (views.sellable("s-1", "milk"), views.sellable("s-1", "ham")) == (5, 0)
    locked = Locked("f", "o", (LockItem("l", "milk", 2),), None, (Left("milk", 3),), "app")
    views.apply("inventory", "s-1", locked, NOW)
    assert views.sellable("s-1", "milk") == 3
    assert one(views).sellable == {"milk": 3, "tea": 2}
    assert views.region_sellable(["milk"], HOME, NOW) == {"milk": 3}


def test_stock_may_be_heard_of_before_its_store() -> None:
    views = Views(pickup_secret=b"pick-up")
    stock(views, "s-1", milk=5)
    assert views.candidate("s-1", NOW) is None
    put(views, profile())
    assert one(views).sellable == {"milk": 5}
    assert views.region_sellable(["milk"], HOME, NOW) == {"milk": 5}


def test_a_channel_nobody_set_has_the_default_rules(views: Views) -> None:
    assert views.channel("app") == ChannelPolicy("app")
    views.apply("catalogue", "channel:app", ChannelPut(ChannelPolicy("app", max_splits=1)), NOW)
    assert views.channel("app").max_splits == 1


def test_load_counts_tickets_until_the_goods_leave(views: Views) -> None:
    put(views, profile(capacity_per_slot=4))
    for name in ("f1", "f2", "f3"):
        happen(views, ticket(name))
    assert one(views).load == 0.75
    happen(views, TicketMoved("f1", "picking", NOW))
    assert one(views).load == 0.75
    happen(views, TicketMoved("f1", "picked_up", NOW))
    happen(views, TicketClosed("f2", "cancelled", NOW))
    happen(views, TicketClosed("f1", "delivered", NOW))
    assert one(views).load == 0.25


def test_a_paused_store_is_closed_until_resumed_or_its_time(views: Views) -> None:
    happen(views, StorePaused(True, None, "", NOW))
    assert not one(views, now=NOW + 10**6).open
    assert views.region_sellable(["milk"], HOME, NOW) == {"milk": 0}
    happen(views, StorePaused(False, None, "", NOW))
    assert views.is_open("s-1", NOW)
    happen(views, StorePaused(True, NOW + 60, "", NOW))
    assert not views.is_open("s-1", NOW + 59)
    assert views.is_open("s-1", NOW + 60)
    assert views.region_sellable(["milk"], HOME, NOW + 60) == {"milk": 5}


def test_a_paused_item_is_not_sellable_and_comes_back_as_it_is_then(views: Views) -> None:
    happen(views, ItemPaused("milk", True, NOW))
    happen(views, ItemPaused("milk", True, NOW))
    stock(views, "s-1", milk=9)
    assert views.sellable("s-1", "milk") == 0
    assert views.region_sellable(["milk", "tea"], HOME, NOW) == {"milk": 0, "tea": 2}
    happen(views, ItemPaused("milk", False, NOW))
    assert views.sellable("s-1", "milk") == 9
    assert views.region_sellable(["milk"], HOME, NOW) == {"milk": 9}


# Opening hours ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opens", "closes", "zone", "second", "is_open"),
    [
        (0, 0, "UTC", 100, True),
        (8 * 3_600, 20 * 3_600, "UTC", 8 * 3_600, True),
        (8 * 3_600, 20 * 3_600, "UTC", 8 * 3_600 - 1, False),
        (8 * 3_600, 20 * 3_600, "UTC", 20 * 3_600, False),
        (8 * 3_600, 20 * 3_600, "Africa/Cairo", 6 * 3_600, True),
        (8 * 3_600, 20 * 3_600, "Africa/Cairo", 18 * 3_600, False),
        (22 * 3_600, 4 * 3_600, "UTC", 23 * 3_600, True),
        (22 * 3_600, 4 * 3_600, "UTC", 3 * 3_600, True),
        (22 * 3_600, 4 * 3_600, "UTC", 4 * 3_600, False),
        (0, 86_400, "UTC", 86_399, True),
    ],
)
def test_opening_hours_are_local_and_may_pass_midnight(
    opens: int, closes: int, zone: str, second: int, is_open: bool
) -> None:
    views = Views(pickup_secret=b"pick-up")
    put(views, profile(opens_s=opens, closes_s=closes, time_zone=zone))
    assert views.is_open("s-1", MIDNIGHT + second) is is_open


def test_a_store_opens_and_closes_by_itself_as_time_passes(views: Views) -> None:
    put(views, profile(opens_s=36_000, closes_s=72_000))
    for day in range(3):
        start = MIDNIGHT + day * 86_400
        for second, is_open in ((0, False), (36_000, True), (71_999, True), (72_000, False)):
            assert views.is_open("s-1", start + second) is is_open
            assert views.region_sellable(["milk"], HOME, start + second) == {
                "milk": 5 if is_open else 0
            }


def test_a_store_keeps_its_hours_when_summer_time_begins(views: Views) -> None:
    put(views, profile(opens_s=36_000, closes_s=72_000, time_zone="Europe/Berlin"))
    for day, opens_utc_h in ((28, 9), (29, 8), (30, 8)):  # the clocks went forward on March 29
        opens = datetime(2026, 3, day, opens_utc_h, tzinfo=UTC).timestamp()
        for now, is_open in (
            (opens - 1, False), (opens, True), (opens + 35_999, True), (opens + 36_000, False),
        ):  # fmt: skip
            assert views.is_open("s-1", now) is is_open
            assert views.region_sellable(["milk"], HOME, now) == {"milk": 5 if is_open else 0}


def test_hours_in_a_zone_this_machine_does_not_know_are_closed_to_all(views: Views) -> None:
    put(views, profile(opens_s=36_000, closes_s=72_000, time_zone="Europe/Atlantis"))
    assert not views.is_open("s-1", MIDNIGHT + 50_000)
    put(views, profile(opens_s=36_000, closes_s=72_000))
    assert views.is_open("s-1", MIDNIGHT + 50_000)


def test_an_inactive_store_is_closed_and_an_unknown_one_too(views: Views) -> None:
    put(views, profile(active=False))
    assert not views.is_open("s-1", NOW)
    assert not views.is_open("s-9", NOW)


# Where ------------------------------------------------------------------------------------------


def test_a_named_store_is_a_candidate_for_pickup_and_where_it_delivers(views: Views) -> None:
    pickup = views.candidate("s-1", NOW)
    assert pickup is not None
    assert (pickup.zone, pickup.distance_m) == (None, 0.0)
    delivery = views.candidate("s-1", NOW, Position(50.01, 8.0))
    assert delivery is not None
    assert delivery.zone is not None
    assert delivery.distance_m == pytest.approx(1_112, abs=1)
    assert views.candidate("s-1", NOW, Position(51.0, 8.0)) is None


def test_the_best_tier_of_a_store_is_given() -> None:
    views = Views(pickup_secret=b"pick-up")
    inner, outer = Circle(HOME, 1_000.0), Circle(HOME, 4_000.0)
    put(views, profile(zones=(Zone("far", 2, outer, 1), Zone("near", 1, inner, 1))))
    for position, zone_id in ((HOME, "near"), (Position(50.02, 8.0), "far")):
        named = views.candidate("s-1", NOW, position)
        assert named is not None
        assert named.zone is not None
        found = one(views, position)
        assert found.zone is not None
        assert (found.zone.zone_id, named.zone.zone_id) == (zone_id, zone_id)


def test_a_changed_profile_moves_the_store(views: Views) -> None:
    put(views, profile("s-2"))
    stock(views, "s-2", milk=1)
    assert views.region_sellable(["milk"], HOME, NOW) == {"milk": 6}
    there = Position(20.0, -100.0)
    put(views, profile(at=there, dispatch_zone="d-2"))
    assert one(views, HOME).store.store_id == "s-2"
    assert views.region_sellable(["milk"], HOME, NOW) == {"milk": 1}
    assert one(views, there).sellable["milk"] == 5
    assert views.region_sellable(["milk"], there, NOW) == {"milk": 5}


latitudes, longitudes = st.floats(49.7, 50.3), st.floats(7.7, 8.3)
places = st.builds(Position, latitudes, longitudes)
circles = st.builds(Circle, places, st.floats(100.0, 40_000.0))
triangles = st.tuples(places, places, places).map(Polygon)
areas: st.SearchStrategy[Area] = circles | triangles


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(places, areas), max_size=10), places)
def test_the_grid_finds_exactly_the_stores_whose_zone_contains_the_address(
    shops: list[tuple[Position, Area]], position: Position
) -> None:
    views = Views(pickup_secret=b"pick-up")
    for number, (at, area) in enumerate(shops):
        put(views, profile(f"s-{number}", at, zones=(Zone("z", 1, area, 1),)))
    found = {c.store.store_id for c in views.candidates(position, (), NOW)}
    assert found == {f"s-{n}" for n, (_, area) in enumerate(shops) if contains(area, position)}


edges = st.sampled_from((0.0, 8.0, 179.9, -179.9))


@settings(max_examples=200, deadline=None)
@given(
    edges, st.lists(st.tuples(latitudes, st.floats(-0.3, 0.3), st.booleans()), max_size=12),
    latitudes, st.floats(-0.2, 0.2),
)  # fmt: skip
def test_the_nearest_of_the_stores_without_load_is_found_in_the_grid(
    edge: float, shops: list[tuple[float, float, bool]], lat: float, east: float
) -> None:
    def around(degrees: float) -> float:
        return (edge + degrees + 180.0) % 360.0 - 180.0

    position = Position(lat, around(east))
    views = Views(pickup_secret=b"pick-up")
    for number, (store_lat, store_east, has_milk) in enumerate(shops):
        name, at = f"s-{number}", Position(store_lat, around(store_east))
        put(views, profile(name, at, zones=(Zone("z", 1, Circle(at, 12_000.0), 1),)))
        stock(views, name, milk=int(has_milk))
    able = [c for c in views.candidates(position, (), NOW) if c.sellable["milk"]]
    found = views.candidates(position, (), NOW).best_whole({"milk": 1})
    if found is None:
        assert not able
    else:
        nearest = min(candidate.distance_m for candidate in able)
        assert found.distance_m == pytest.approx(nearest, rel=0.02, abs=1.0)


@pytest.mark.parametrize(
    ("centre", "radius_m", "position"),
    [
        (Position(0.0, 179.99), 5_000.0, Position(0.0, -179.99)),
        (Position(-33.0, -180.0), 9_000.0, Position(-33.0, 179.95)),
        (Position(89.5, 10.0), 120_000.0, Position(89.5, -170.0)),
        (Position(50.0, 8.0), 450_000.0, Position(53.0, 10.0)),
        (Position(-0.001, -0.001), 1_000.0, Position(0.001, 0.001)),
    ],
)
def test_zones_over_the_date_line_the_pole_and_whole_countries_are_found(
    centre: Position, radius_m: float, position: Position
) -> None:
    views = Views(pickup_secret=b"pick-up")
    put(views, profile(at=centre, zones=(Zone("z", 1, Circle(centre, radius_m), 1),)))
    stock(views, "s-1", milk=1)
    assert contains(Circle(centre, radius_m), position)
    assert one(views, position).store.store_id == "s-1"
    demand = Demand("o/1", 1, (("milk", 1),))
    around = views.candidates(position, ("milk",), NOW)
    assert plan([demand], around, views.channel("app"))[0].store.store_id == "s-1"


# Regions, combos, channels ----------------------------------------------------------------------


def test_a_region_adds_up_the_stores_of_the_dispatch_zones_that_deliver_there(
    views: Views,
) -> None:
    put(views, profile("s-2", Position(50.01, 8.0)))
    put(views, profile("s-3", Position(50.0, 8.01), dispatch_zone="d-2"))
    put(views, profile("s-4", Position(60.0, 8.0), dispatch_zone="d-3"))
    for store_id in ("s-2", "s-3", "s-4"):
        stock(views, store_id, milk=10)
    assert views.region_sellable(["milk", "ham"], HOME, NOW) == {"milk": 25, "ham": 0}
    assert views.region_sellable(["milk"], Position(0.0, 0.0), NOW) == {"milk": 0}


def test_a_combo_is_sellable_as_often_as_its_scarcest_component(views: Views) -> None:
    box = Sku("box", "Box", 900, components=(Component("milk", 2), Component("tea", 1)))
    views.apply("catalogue", "sku:box", SkuPut(box), NOW)
    assert views.sellable("s-1", "box") == 2
    assert views.region_sellable(["box"], HOME, NOW) == {"box": 2}
    stock(views, "s-1", tea=1)
    assert views.sellable("s-1", "box") == 1


def test_combos_of_unknown_or_nested_parts_are_refused(views: Views) -> None:
    box = Sku("box", "Box", 900, components=(Component("milk", 2),))
    crate = Sku("crate", "Crate", 900, components=(Component("box", 2),))
    with pytest.raises(Refused, match="unknown-sku"):
        views.stock_of(box)
    for sku in (Sku("milk", "Milk", 1), box, crate):
        views.apply("catalogue", f"sku:{sku.sku}", SkuPut(sku), NOW)
    assert views.stock_of(box) == (("milk", 2),)
    assert views.stock_of(views.skus["milk"]) == (("milk", 1),)
    with pytest.raises(Refused, match="nested-combo"):
        views.stock_of(crate)


def test_a_channel_sees_its_own_allotment_on_top_of_the_pool(views: Views) -> None:
    left = (Left("milk", 1, (("market", 4),)),)
    views.apply("inventory", "s-1", Allotted("milk", "market", 4, left), NOW)
    assert one(views).sellable["milk"] == 1
    assert one(views, channel="market").sellable["milk"] == 5
    named = views.candidate("s-1", NOW, None, "market")
    assert named is not None
    assert named.sellable["milk"] == 5
    assert views.sellable("s-1", "milk", "market") == 5
    happen(views, ItemPaused("milk", True, NOW))
    assert one(views, channel="market").sellable["milk"] == 0
    happen(views, ItemPaused("milk", False, NOW))
    views.apply("inventory", "s-1", Allotted("milk", "market", 0, (Left("milk", 5),)), NOW)
    assert one(views, channel="market").sellable["milk"] == 5


# Snapshots --------------------------------------------------------------------------------------


def test_a_snapshot_and_the_events_lead_to_the_same_view() -> None:
    followed, loaded = Views(pickup_secret=b"pick-up"), Views(pickup_secret=b"pick-up")
    store = profile()
    events: list[Any] = [
        Received("d", (StockItem("milk", 9),), "", (Left("milk", 9),), NOW),
        Allotted("milk", "market", 4, (Left("milk", 5, (("market", 4),)),)),
        Locked("f", "o", (LockItem("l", "milk", 2),), None, (Left("milk", 3, (("market", 4),)),)),
    ]
    state = None
    for event in events:
        followed.apply("inventory", "s-1", event, NOW)
        state = INVENTORY.evolve(state, event)
    put(followed, store)
    happen(followed, ticket("f"))
    happen(followed, ItemPaused("milk", True, NOW))
    happen(followed, StorePaused(True, NOW + 5, "", NOW))
    counter = SimpleNamespace(
        paused=True, paused_until=NOW + 5, paused_items={"milk"},
        tickets={"f": SimpleNamespace(state="new"), "g": SimpleNamespace(state="picked_up")},
    )  # fmt: skip
    for _ in range(2):
        loaded.load("store", "s-1", counter)
        loaded.load("inventory", "s-1", state)
        loaded.load("catalogue", "store:s-1", CatalogueState(store=store))
        loaded.load("catalogue", "sku:milk", CatalogueState(sku=Sku("milk", "Milk", 1)))
        loaded.load("catalogue", "channel:app", CatalogueState(channel=ChannelPolicy("app")))
    assert [*loaded.skus] == ["milk"]
    assert [*loaded.channels] == ["app"]
    for views in (followed, loaded):
        assert not views.is_open("s-1", NOW)
        assert views.is_open("s-1", NOW + 5)
        found = one(views, now=NOW + 5)
        assert (found.load, found.sellable) == (0.001, {"milk": 0})
        happen(views, ItemPaused("milk", False, NOW))
        assert views.region_sellable(["milk"], HOME, NOW + 5) == {"milk": 3}
        assert one(views, now=NOW + 5, channel="market").sellable == {"milk": 7}


def test_loading_a_newer_snapshot_forgets_what_is_no_longer_listed_or_paused(
    views: Views,
) -> None:
    happen(views, ItemPaused("tea", True, NOW))
    received = Received("d", (StockItem("milk", 4),), "", (Left("milk", 4),), NOW)
    views.load("inventory", "s-1", INVENTORY.evolve(None, received))
    views.load(
        "store", "s-1",
        SimpleNamespace(paused=False, paused_until=None, paused_items={}, tickets={}),
    )  # fmt: skip
    assert (views.sellable("s-1", "milk"), views.sellable("s-1", "tea")) == (4, 0)
    assert views.region_sellable(["milk", "tea"], HOME, NOW) == {"milk": 4, "tea": 0}
