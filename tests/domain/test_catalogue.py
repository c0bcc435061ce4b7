"""What may be put into the catalogue, through the actor kind."""

from typing import Any

import msgspec
import pytest

from actors.catalogue import KIND
from actors.engine.kind import Context, Decision
from domain.bounds import (
    COUNT_MAX,
    DISTANCE_M_MAX,
    DURATION_S_MAX,
    MONEY_MAX,
    QUANTITY_MAX,
    VOLUME_ML_MAX,
    WEIGHT_G_MAX,
)
from domain.catalogue import (
    ChannelPolicy,
    CodRule,
    Component,
    Freight,
    PutChannel,
    PutSku,
    PutStore,
    Sku,
    SkuPut,
    StoreProfile,
    Zone,
    explode,
)
from domain.catalogue.rules import check_nesting
from domain.catalogue.state import CatalogueState
from domain.errors import Refused
from domain.geo import Circle, Polygon, Position

HERE = Position(50.0, 8.0)
ROUND = Circle(HERE, 3_000.0)
MILK = Sku("milk", "Milk", 129)
SHOP = StoreProfile("s-1", "Shop", HERE, "EUR", (Zone("z", 1, ROUND, 1_800),), "d-1")
APP = ChannelPolicy("app")


def decide(entity: str, command: Any, state: CatalogueState | None = None) -> Decision:
    decision = KIND.decide(state, command, Context(1.0, entity, "c"))
    assert isinstance(decision, Decision)
    return decision


def changed(value: Any, **facts: Any) -> Any:
    return msgspec.structs.replace(value, **facts)


@pytest.mark.parametrize(
    ("entity", "command"),
    [("sku:milk", PutSku(MILK)), ("store:s-1", PutStore(SHOP)), ("channel:app", PutChannel(APP))],
)
def test_the_same_content_again_changes_nothing(entity: str, command: Any) -> None:
    first = decide(entity, command)
    assert (len(first.events), first.reply) == (1, True)
    state = KIND.evolve(None, first.events[0])
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=CatalogueState)
    again = decide(entity, command, state)
    assert (again.events, again.reply) == ([], True)


def test_a_changed_price_replaces_the_sku() -> None:
    state = KIND.evolve(None, SkuPut(MILK))
    dearer = changed(MILK, price=139)
    decision = decide("sku:milk", PutSku(dearer), state)
    assert decision.events == [SkuPut(dearer)]
    assert KIND.evolve(state, decision.events[0]).content == dearer


@pytest.mark.parametrize(
    "facts",
    [
        {"price": -1},
        {"sku": ""},
        {"sku": "two words"},
        {"sku": "x" * 65},
        {"weight_g": -1},
        {"volume_ml": -5},
        {"price": MONEY_MAX + 1},
        {"weight_g": WEIGHT_G_MAX + 1},
        {"volume_ml": VOLUME_ML_MAX + 1},
        {"components": (Component("tea", QUANTITY_MAX + 1),)},
        {"handling": "explosive"},
        {"components": (Component("tea", 0),)},
        {"components": (Component("milk", 1),)},
        {"components": (Component("", 1),)},
        {"components": tuple(Component(f"k{n}", 1) for n in range(51))},
    ],
)
def test_a_wrong_sku_is_refused(facts: dict[str, Any]) -> None:
    sku = changed(MILK, **facts)
    with pytest.raises(Refused) as refusal:
        decide(f"sku:{sku.sku}", PutSku(sku))
    assert refusal.value.code == "invalid-sku"


TRIANGLE = Polygon((HERE, Position(50.1, 8.0), Position(50.0, 8.1)))


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"position": Position(91.0, 0.0)}, "invalid-store"),
        ({"position": Position(float("nan"), 0.0)}, "invalid-store"),
        ({"currency": "euro"}, "invalid-store"),
        ({"dispatch_zone": ""}, "invalid-store"),
        ({"capacity_per_slot": 0}, "invalid-store"),
        ({"slot_s": 0}, "invalid-store"),
        ({"accept_s": 0}, "invalid-store"),
        ({"opens_s": -1}, "invalid-store"),
        ({"closes_s": 86_401}, "invalid-store"),
        ({"time_zone": ""}, "invalid-store"),
        ({"time_zone": "Europe/Atlantis"}, "invalid-store"),
        ({"time_zone": "europe/berlin"}, "invalid-store"),
        ({"time_zone": "Europe"}, "invalid-store"),
        ({"time_zone": "../UTC"}, "invalid-store"),
        ({"time_zone": "/etc/localtime"}, "invalid-store"),
        ({"time_zone": "localtime"}, "invalid-store"),
        ({"time_zone": "Factory"}, "invalid-store"),
        ({"time_zone": "right/UTC"}, "invalid-store"),
        ({"time_zone": "UTC+1"}, "invalid-store"),
        ({"time_zone": "U\0TC"}, "invalid-store"),
        ({"parcel_weight_g": -1}, "invalid-store"),
        ({"parcel_weight_g": WEIGHT_G_MAX + 1}, "invalid-store"),
        ({"parcel_volume_ml": VOLUME_ML_MAX + 1}, "invalid-store"),
        ({"priority": COUNT_MAX + 1}, "invalid-store"),
        ({"capacity_per_slot": COUNT_MAX + 1}, "invalid-store"),
        ({"slot_s": DURATION_S_MAX + 1}, "invalid-store"),
        ({"prep_s": DURATION_S_MAX + 1}, "invalid-store"),
        ({"accept_s": DURATION_S_MAX + 1}, "invalid-store"),
        ({"collect_s": DURATION_S_MAX + 1}, "invalid-store"),
        ({"freight": Freight(per_km=MONEY_MAX + 1)}, "invalid-store"),
        ({"freight": Freight(included_m=DISTANCE_M_MAX + 1)}, "invalid-store"),
        ({"zones": (Zone("z", COUNT_MAX + 1, ROUND, 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, ROUND, DURATION_S_MAX + 1),)}, "invalid-zone"),
        ({"freight": Freight(base=-1)}, "invalid-store"),
        ({"freight": Freight(free_from=-1)}, "invalid-store"),
        ({"zones": (Zone("z", 0, ROUND, 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, ROUND, 0),)}, "invalid-zone"),
        ({"zones": (Zone("", 1, ROUND, 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, Circle(HERE, 0.0), 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, Circle(HERE, -5.0), 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, Circle(HERE, float("nan")), 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, Polygon((HERE, Position(51.0, 8.0))), 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, Polygon((HERE, HERE, HERE)), 1),)}, "invalid-zone"),
        ({"zones": (Zone("z", 1, ROUND, 1), Zone("z", 2, TRIANGLE, 1))}, "invalid-zone"),
        ({"zones": (Zone("z", 1, TRIANGLE, 1), Zone("y", 2, TRIANGLE, 1))}, "invalid-zone"),
    ],
)
def test_a_wrong_store_is_refused(facts: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refusal:
        decide("store:s-1", PutStore(changed(SHOP, **facts)))
    assert refusal.value.code == code


def test_a_store_keeps_its_currency() -> None:
    state = CatalogueState(store=SHOP)
    with pytest.raises(Refused, match="currency"):
        decide("store:s-1", PutStore(changed(SHOP, currency="USD")), state)


@pytest.mark.parametrize(
    "facts",
    [
        {"channel": ""},
        {"unpaid_s": 0.0},
        {"max_splits": 0},
        {"min_part_value": -1},
        {"min_part_value": MONEY_MAX + 1},
        {"max_splits": COUNT_MAX + 1},
        {"parked_s": float("inf")},
        {"quantity_max": QUANTITY_MAX + 1},
        {"lines_max": COUNT_MAX + 1},
        {"cod": CodRule(limit=MONEY_MAX + 1)},
        {"cod": CodRule(limit=1, refusals_max=COUNT_MAX + 1)},
        {"cod": CodRule(limit=1, open_max=COUNT_MAX + 1)},
        {"parked_s": 0.0},
        {"quantity_max": 0},
        {"cod": CodRule(limit=-1)},
    ],
)
def test_wrong_channel_rules_are_refused(facts: dict[str, Any]) -> None:
    channel = changed(APP, **facts)
    with pytest.raises(Refused) as refusal:
        decide(f"channel:{channel.channel}", PutChannel(channel))
    assert refusal.value.code == "invalid-channel"


def test_an_entry_takes_only_its_own_content() -> None:
    with pytest.raises(Refused) as refusal:
        decide("sku:tea", PutSku(MILK))
    assert refusal.value.code == "wrong-entity"


def test_a_combo_explodes_into_its_components_and_others_into_themselves() -> None:
    box = Sku("box", "Box", 500, components=(Component("milk", 2), Component("tea", 1),
                                            Component("milk", 1)))  # fmt: skip
    assert explode(box) == (("milk", 3), ("tea", 1))
    assert explode(MILK) == (("milk", 1),)


ODD_IDS = ["a/b", "a?b", "a#b", "a%62", ".", "..", " a", "a ", "a\tb", "a\0b", "a\x7fb"]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_id_that_no_path_can_carry_is_refused(odd: str) -> None:
    for entity, command in (
        (f"sku:{odd}", PutSku(changed(MILK, sku=odd))),
        (f"store:{odd}", PutStore(changed(SHOP, store_id=odd))),
        ("store:s-1", PutStore(changed(SHOP, dispatch_zone=odd))),
        (f"channel:{odd}", PutChannel(changed(APP, channel=odd))),
    ):
        with pytest.raises(Refused, match=r"/ \? # %") as refusal:
            decide(entity, command)
        assert refusal.value.code.startswith("invalid-")


def test_what_has_an_odd_id_already_may_still_be_changed() -> None:
    odd = changed(MILK, sku="a/b")
    known = CatalogueState(sku=odd)
    assert decide("sku:a/b", PutSku(changed(odd, price=1)), known).events
    shop = changed(SHOP, dispatch_zone="muc/nord")
    assert decide(
        "store:s-1", PutStore(changed(shop, name="New")), CatalogueState(store=shop)
    ).events
    moved = changed(shop, dispatch_zone="muc/west")
    with pytest.raises(Refused, match="dispatch zone"):
        decide("store:s-1", PutStore(moved), CatalogueState(store=shop))
    box = Sku("box", "Box", 500, components=(Component("a/b", 2),))
    assert decide("sku:box", PutSku(box)).events


def combo(sku: str, *parts: str) -> Sku:
    return Sku(sku, sku, 1, components=tuple(Component(part, 1) for part in parts))


def by_id(*skus: Sku) -> dict[str, Sku]:
    return {sku.sku: sku for sku in skus}


@pytest.mark.parametrize(
    ("put", "known", "pair"),
    [
        ([combo("crate", "box")], [combo("box", "milk"), MILK], ["crate", "box"]),
        ([combo("crate", "box"), combo("box", "milk")], [], ["crate", "box"]),
        ([combo("milk", "drop")], [combo("box", "milk"), MILK], ["box", "milk"]),
        ([combo("a", "b"), combo("b", "a")], [], ["a", "b"]),
        ([combo("b", "a")], [combo("a", "b")], ["b", "a"]),
    ],
)
def test_combos_do_not_nest(put: list[Sku], known: list[Sku], pair: list[str]) -> None:
    with pytest.raises(Refused) as refusal:
        check_nesting(by_id(*put), by_id(*known))
    assert (refusal.value.code, refusal.value.extra["skus"]) == ("nested-combo", pair)


def test_a_circle_of_combos_is_opened_by_making_one_of_them_plain() -> None:
    circle = by_id(combo("a", "b"), combo("b", "a"))
    check_nesting(by_id(Sku("a", "a", 1)), circle)
    check_nesting(by_id(combo("b", "a")), {**circle, "a": Sku("a", "a", 1)})
    check_nesting(by_id(combo("box", "milk", "unknown")), by_id(MILK, combo("box", "milk")))
