"""Routing and splitting, rules 1 to 4 of DOMAIN."""

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import routing
from domain.catalogue.model import ChannelPolicy, StoreProfile, Zone
from domain.errors import Refused
from domain.geo import Circle, Polygon, Position, contains
from domain.neighbourhood import Neighbourhood, Site, preference, reach_of
from domain.routing import Candidate, Demand, Part, plan

HOME = Position(50.0, 8.0)
ANYWHERE = Circle(HOME, 50_000.0)
POLICY = ChannelPolicy("app")


def store(store_id: str, **facts: object) -> StoreProfile:
    defaults: dict[str, object] = {
        "name": store_id, "position": HOME, "currency": "EUR", "zones": (), "dispatch_zone": "d",
    }  # fmt: skip
    return StoreProfile(store_id, **{**defaults, **facts})  # type: ignore[arg-type]


def near(
    store_id: str,
    stock: dict[str, int],
    *,
    tier: int = 1,
    distance_m: float = 1_000.0,
    load: float = 0.0,
    is_open: bool = True,
    **facts: object,
) -> Candidate:
    zone = Zone(f"{store_id}-z", tier, ANYWHERE, 1_800)
    return Candidate(store(store_id, **facts), zone, distance_m, is_open, load, stock)


def line(sku: str, quantity: int = 1, **facts: object) -> Demand:
    return Demand(f"o/{sku}", quantity, ((sku, 1),), **facts)  # type: ignore[arg-type]


def served(parts: list[Part]) -> dict[str, dict[str, int]]:
    """Store -> line -> units, over all parcels."""
    stores: dict[str, dict[str, int]] = {}
    for part in parts:
        units = stores.setdefault(part.store.store_id, {})
        for line_id, count in part.lines:
            units[line_id] = units.get(line_id, 0) + count
    return stores


def refusal_of(*arguments: object, **options: object) -> Refused:
    with pytest.raises(Refused) as refusal:
        plan(*arguments, **options)  # type: ignore[arg-type]
    return refusal.value


# One store --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"tier": 1, "priority": 200}, {"tier": 2, "priority": 1}),
        ({"priority": 10, "load": 0.9}, {"priority": 20, "load": 0.0}),
        ({"load": 0.1, "distance_m": 9_000.0}, {"load": 0.2, "distance_m": 10.0}),
        ({"distance_m": 500.0}, {"distance_m": 501.0}),
    ],
)
def test_tier_then_priority_then_load_then_distance_decide(
    better: dict[str, float], worse: dict[str, float]
) -> None:
    a, b = near("a", {"milk": 5}, **worse), near("b", {"milk": 5}, **better)  # type: ignore[arg-type]
    for candidates in ([a, b], [b, a]):
        assert served(plan([line("milk")], candidates, POLICY)) == {"b": {"o/milk": 1}}


def test_a_store_of_a_slower_tier_that_has_everything_goes_before_a_split() -> None:
    candidates = [
        near("a", {"milk": 1}), near("b", {"bread": 1}), near("c", {"milk": 1, "bread": 1}, tier=2),
    ]  # fmt: skip
    assert set(served(plan([line("milk"), line("bread")], candidates, POLICY))) == {"c"}


def test_closed_and_excluded_stores_are_passed_over() -> None:
    candidates = [
        near("a", {"milk": 1}, is_open=False), near("b", {"milk": 1}),
        near("c", {"milk": 1}, load=1),
    ]  # fmt: skip
    assert set(served(plan([line("milk")], candidates, POLICY))) == {"b"}
    assert set(served(plan([line("milk")], candidates, POLICY, excluded=("b",)))) == {"c"}


def test_no_candidate_means_no_zone_and_only_closed_ones_mean_no_store_open() -> None:
    assert refusal_of([line("milk")], [], POLICY).code == "no-zone"
    closed = [near("a", {"milk": 1}, is_open=False)]
    assert refusal_of([line("milk")], closed, POLICY).code == "no-store-open"


def test_combos_and_lines_that_draw_on_the_same_sku_are_added_up() -> None:
    box = Demand("o/box", 2, (("milk", 3), ("tea", 1)))
    candidates = [near("a", {"milk": 7, "tea": 2}), near("b", {"milk": 8, "tea": 2}, load=1)]
    assert set(served(plan([box, line("milk", 2)], candidates, POLICY))) == {"b"}


# Splits -----------------------------------------------------------------------------------------


def test_a_split_uses_the_fewest_stores() -> None:
    candidates = [
        near("a", {"milk": 1}), near("b", {"bread": 1}), near("c", {"tea": 1}),
        near("d", {"milk": 1, "bread": 1}, load=0.5),
    ]  # fmt: skip
    demands = [line("milk"), line("bread"), line("tea")]
    assert served(plan(demands, candidates, POLICY)) == {
        "d": {"o/milk": 1, "o/bread": 1}, "c": {"o/tea": 1},
    }  # fmt: skip


def test_a_split_stays_in_the_faster_tiers_if_it_can() -> None:
    candidates = [
        near("a", {"milk": 1}), near("b", {"bread": 1}), near("c", {"tea": 1}),
        near("d", {"milk": 1, "bread": 1}, tier=2),
    ]  # fmt: skip
    demands = [line("milk"), line("bread"), line("tea")]
    assert set(served(plan(demands, candidates, POLICY))) == {"a", "b", "c"}


def test_more_stores_than_the_channel_allows_are_refused_as_a_limit() -> None:
    candidates = [near("a", {"milk": 1}), near("b", {"bread": 1}), near("c", {"tea": 1})]
    demands = [line("milk"), line("bread"), line("tea")]
    refusal = refusal_of(demands, candidates, ChannelPolicy("app", max_splits=2))
    assert refusal.code == "short-stock"
    assert refusal.extra["reason"] == "limits"
    assert sum(refusal.extra["short"].values()) == 1


def test_lines_of_a_group_stay_at_one_store() -> None:
    candidates = [near("a", {"cup": 1, "tea": 1}), near("b", {"saucer": 1, "cup": 1})]
    demands = [line("cup", group="set"), line("saucer", group="set"), line("tea")]
    assert served(plan(demands, candidates, POLICY)) == {
        "a": {"o/tea": 1}, "b": {"o/cup": 1, "o/saucer": 1},
    }  # fmt: skip
    candidates[1] = near("b", {"saucer": 1})
    assert refusal_of(demands, candidates, POLICY).extra["reason"] == "limits"


def test_a_line_is_spread_over_stores_only_when_that_cannot_be_avoided() -> None:
    candidates = [
        near("a", {"milk": 3, "tea": 1}), near("b", {"milk": 2}), near("c", {"milk": 5}, load=1),
    ]  # fmt: skip
    demands = [line("milk", 5), line("tea")]
    assert served(plan(demands, candidates, POLICY)) == {"a": {"o/tea": 1}, "c": {"o/milk": 5}}
    assert served(plan(demands, candidates[:2], POLICY)) == {
        "a": {"o/milk": 3, "o/tea": 1}, "b": {"o/milk": 2},
    }  # fmt: skip
    grouped = [line("milk", 5, group="g"), line("tea")]
    assert refusal_of(grouped, candidates[:2], POLICY).code == "short-stock"


def test_each_part_of_a_split_reaches_the_least_value() -> None:
    policy = ChannelPolicy("app", min_part_value=500)
    candidates = [near("a", {"milk": 1, "tea": 1}), near("b", {"bread": 1, "tea": 1}, load=1)]
    demands = [line("milk", amount=900), line("bread", amount=100), line("tea", amount=400)]
    assert served(plan(demands, candidates, policy)) == {
        "a": {"o/milk": 1}, "b": {"o/bread": 1, "o/tea": 1},
    }  # fmt: skip
    demands[2] = line("tea", amount=300)
    assert refusal_of(demands, candidates, policy).extra["reason"] == "limits"


def test_a_shortfall_names_the_skus_and_the_missing_units() -> None:
    candidates = [near("a", {"milk": 3}), near("b", {"milk": 1, "tea": 9})]
    refusal = refusal_of([line("milk", 6), line("tea", 2), line("ham")], candidates, POLICY)
    assert refusal.code == "short-stock"
    assert refusal.extra["short"] == {"milk": 2, "ham": 1}
    assert refusal.extra["reason"] == "stock"


def test_a_partial_order_is_served_only_if_asked_for() -> None:
    candidates = [near("a", {"milk": 3}), near("b", {"milk": 1, "tea": 9})]
    demands = [line("milk", 6, amount=600), line("tea", 2, amount=500), line("ham", amount=1)]
    assert served(plan(demands, candidates, POLICY, partial_ok=True)) == {
        "a": {"o/milk": 3}, "b": {"o/milk": 1, "o/tea": 2},
    }  # fmt: skip
    assert refusal_of(demands, [near("c", {"soap": 1})], POLICY, partial_ok=True).code == (
        "short-stock"
    )


# Parcels ----------------------------------------------------------------------------------------


def test_owner_and_handling_make_parcels_of_one_store() -> None:
    demands = [
        line("milk", handling="chilled"), line("tea"), line("ice", handling="chilled"),
        line("book", owner="partner"),
    ]  # fmt: skip
    candidates = [near("a", {"milk": 1, "tea": 1, "ice": 1, "book": 1})]
    parts = plan(demands, candidates, ChannelPolicy("app", max_splits=1))
    assert [part.lines for part in parts] == [
        (("o/milk", 1), ("o/ice", 1)), (("o/tea", 1),), (("o/book", 1),),
    ]  # fmt: skip


def test_parcels_keep_weight_and_volume_and_a_heavy_unit_travels_alone() -> None:
    demands = [
        line("water", 5, weight_g=1_500, volume_ml=1_500), line("salt", weight_g=500),
        line("anvil", 2, weight_g=9_000),
    ]  # fmt: skip
    shop = near(
        "a", {"water": 5, "salt": 1, "anvil": 2}, parcel_weight_g=5_000, parcel_volume_ml=4_000
    )
    assert [part.lines for part in plan(demands, [shop], POLICY)] == [
        (("o/water", 2), ("o/salt", 1)), (("o/water", 2),), (("o/water", 1),),
        (("o/anvil", 1),), (("o/anvil", 1),),
    ]  # fmt: skip


# Against brute force ----------------------------------------------------------------------------

SKUS = ("a", "b", "c", "d")
stocks = st.lists(st.dictionaries(st.sampled_from(SKUS), st.integers(0, 4)), min_size=1, max_size=5)
orders = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 4), min_size=1)


def fewest_stores(need: dict[str, int], shops: list[dict[str, int]], *, whole: bool) -> int:
    """How many stores the best split needs, 99 if none can."""
    for count in range(1, len(shops) + 1):
        for chosen in combinations(shops, count):
            offers = [[shop.get(sku, 0) for shop in chosen] for sku in need]
            if all(
                (max(offer) if whole else sum(offer)) >= units
                for offer, units in zip(offers, need.values(), strict=True)
            ):
                return count
    return 99


@settings(max_examples=150, deadline=None)
@given(stocks, orders, st.integers(1, 4))
def test_splits_are_minimal_complete_and_within_stock(
    shops: list[dict[str, int]], need: dict[str, int], max_splits: int
) -> None:
    candidates = [near(f"s{n}", shop, distance_m=n) for n, shop in enumerate(shops)]
    demands = [line(sku, units, amount=units) for sku, units in need.items()]
    whole = fewest_stores(need, shops, whole=True)
    loose = fewest_stores(need, shops, whole=False)
    policy = ChannelPolicy("app", max_splits=max_splits)
    if loose > max_splits:
        refusal = refusal_of(demands, candidates, policy)
        held = {sku: sum(shop.get(sku, 0) for shop in shops) for sku in need}
        missing = {sku: units - held[sku] for sku, units in need.items() if held[sku] < units}
        assert refusal.code == "short-stock"
        assert refusal.extra["reason"] == ("stock" if missing else "limits")
        assert refusal.extra["short"]
        if missing:
            assert refusal.extra["short"] == missing
        return
    parts = plan(demands, candidates, policy)
    shares = served(parts)
    assert len(shares) == (whole if whole <= max_splits else loose)
    for sku, units in need.items():
        given_out = {store_id: share.get(f"o/{sku}", 0) for store_id, share in shares.items()}
        assert sum(given_out.values()) == units
        assert all(given_out[f"s{n}"] <= shop.get(sku, 0)
                   for n, shop in enumerate(shops) if f"s{n}" in given_out)  # fmt: skip


PAIRS = (("x", "y"), ("y", "z"), ("x", "z"))
combos = st.tuples(st.sampled_from(PAIRS), st.integers(1, 2), st.integers(1, 5))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=3),
    st.lists(combos, min_size=2, max_size=3),
    st.integers(0, 6),
)
def test_combos_that_share_components_are_placed_whenever_that_is_possible(
    shops: list[list[int]], orders: list[tuple[tuple[str, str], int, int]], least: int
) -> None:
    """Unsplittable lines that compete for components, and a least value per part."""
    stock = [dict(zip("xyz", shop, strict=True)) for shop in shops]
    candidates = [near(f"s{n}", shop, distance_m=n) for n, shop in enumerate(stock)]
    demands = [
        Demand(f"o/{n}", units, tuple((sku, 1) for sku in pair), amount, group=f"g{n}")
        for n, (pair, units, amount) in enumerate(orders)
    ]

    def fits(where: tuple[int, ...]) -> bool:
        used = set(where)
        for shop in used:
            mine = [orders[n] for n, place in enumerate(where) if place == shop]
            if len(used) > 1 and sum(amount for _, _, amount in mine) < least:
                return False
            for sku, held in stock[shop].items():
                if sum(units for pair, units, _ in mine if sku in pair) > held:
                    return False
        return True

    ways = [w for w in product(range(len(shops)), repeat=len(orders)) if fits(w)]
    policy = ChannelPolicy("app", max_splits=3, min_part_value=least)
    if not ways:
        assert refusal_of(demands, candidates, policy).code == "short-stock"
        return
    shares = served(plan(demands, candidates, policy))
    assert len(shares) == min(len(set(way)) for way in ways)
    where = {line_id: int(shop[1:]) for shop, share in shares.items() for line_id in share}
    assert fits(tuple(where[f"o/{n}"] for n in range(len(orders))))


def test_a_small_part_is_left_out_of_a_partial_order() -> None:
    policy = ChannelPolicy("app", min_part_value=100)
    candidates = [near("a", {"milk": 1}), near("b", {"tea": 1}), near("c", {"ham": 1})]
    demands = [
        line("milk", amount=900), line("tea", amount=99), line("ham", amount=500),
        line("soap", amount=1),
    ]  # fmt: skip
    shares = served(plan(demands, candidates, policy, partial_ok=True))
    assert shares == {"a": {"o/milk": 1}, "c": {"o/ham": 1}}


def test_beyond_the_search_bound_a_greedy_split_still_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    candidates = [near(f"s{n}", {f"k{n}": 1, "extra": 1}, distance_m=n) for n in range(3)]
    demands = [line(f"k{n}") for n in range(3)]
    exact = served(plan(demands, candidates, POLICY))
    made: list[int] = []

    class Tiny(routing._Budget):
        def __init__(self) -> None:
            super().__init__(1_000 if made else 1)
            made.append(1)

    monkeypatch.setattr(routing, "_Budget", Tiny)
    assert served(plan(demands, candidates, POLICY)) == exact
    assert len(made) == 2


def test_the_search_stops_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[routing._Budget] = []

    class Watched(routing._Budget):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(routing, "_Budget", Watched)
    skus = [f"k{n}" for n in range(30)]
    candidates = [
        near(f"s{n}", {sku: 1 + (n * place) % 3 for place, sku in enumerate(skus)}, distance_m=n)
        for n in range(60)
    ]
    policy = ChannelPolicy("app", max_splits=4, min_part_value=10_000)
    demands = [line(sku, 5, amount=100) for sku in skus]
    assert refusal_of(demands, candidates, policy).extra["reason"] == "limits"
    assert made
    for budget in made:
        assert budget.steps > -1_000


# The fast search --------------------------------------------------------------------------------

degrees = st.floats(-0.05, 0.05)


@st.composite
def sites(draw: st.DrawFn) -> Site:
    lat, lon = 50.0 + draw(degrees), 8.0 + draw(degrees)
    centre = Position(lat, lon)
    zones = [
        Zone(f"z{tier}", tier, Circle(centre, draw(st.floats(500.0, 8_000.0))), 1_800)
        for tier in draw(st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True))
    ]
    square = tuple(Position(lat + a * 0.02, lon + b * 0.02) for a, b in ((1, 1), (1, -1), (-1, -1)))
    zones.append(Zone("poly", 2, Polygon(square), 1_800))
    profile = store(
        f"s{draw(st.integers(0, 10**9))}", position=centre, zones=tuple(zones),
        priority=draw(st.sampled_from((1, 2))),
    )  # fmt: skip
    stock = {"milk": draw(st.integers(0, 3))}
    load = draw(st.sampled_from((0.0, 0.5)))
    return Site(profile, lat, lon, stock, load, draw(st.booleans()))


@settings(max_examples=200, deadline=None)
@given(st.lists(sites(), max_size=12, unique_by=lambda site: site.store.store_id))
def test_the_fast_search_finds_what_the_rule_says(shops: list[Site]) -> None:
    reaches = sorted(
        (reach_of(site, zone) for site in shops for zone in site.store.zones),
        key=lambda reach: reach[:4],
    )
    around = Neighbourhood(reaches, HOME)
    candidates = list(around)
    assert {found.store.store_id for found in candidates} == {
        site.store.store_id for site in shops
        if any(contains(zone.area, HOME) for zone in site.store.zones)
    }  # fmt: skip
    able = [found for found in candidates if found.open and found.sellable["milk"] >= 2]
    fast = around.best_whole({"milk": 2})
    if fast is None:
        assert not able
        return
    slow = min(able, key=preference)
    assert preference(fast)[:3] == preference(slow)[:3]
    assert fast.distance_m == pytest.approx(slow.distance_m, rel=0.02)
    assert fast.zone == next(c.zone for c in candidates if c.store == fast.store)
