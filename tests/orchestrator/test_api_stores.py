"""Stock, tickets, riders and the catalogue over HTTP: what is sent, and how answers look."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from domain.catalogue import commands as catalogue
from domain.catalogue.model import ChannelPolicy, CodRule, Component, Freight, Sku, Zone
from domain.dispatch import commands as dispatch
from domain.errors import Refused, Unavailable
from domain.geo import Circle, Polygon, Position
from domain.inventory import commands as inventory
from domain.rider import commands as rider
from domain.rider.views import ParcelView, RiderView
from domain.store import commands as store
from orchestrator.api import desk
from tests.fakes.api_world import ORDER_ID, ApiWorld

Y2000 = 946_684_800.0
"""2000-01-01T00:00:00Z."""
SHOP = {"lat": 4.65, "lon": -74.06}
FAR, FARTHER = {"lat": 5, "lon": -74}, {"lat": 5, "lon": -75}
STORE = {
    "name": "One", "position": SHOP, "currency": "USD", "dispatch_zone": "north",
    "zones": [
        {"zone_id": "z-1", "tier": 1, "promise_s": 900,
         "area": {"type": "circle", "centre": SHOP, "radius_m": 500}},
        {"zone_id": "z-2", "tier": 2, "promise_s": 1800,
         "area": {"type": "polygon", "corners": [SHOP, FAR, FARTHER]}},
    ],
    "freight": {"base": 300, "free_from": 5000},
}  # fmt: skip

CARRYING = RiderView(
    "r-1", "engaged", "north", currency="USD", cash_limit=9_000,
    parcels=(
        ParcelView(
            rider.OfferedParcel(
                "o9-1", "o9", "s-9", "Another store", Position(4.65, -74.06),
                Position(4.66, -74.05), "Carrera 7 # 1-23", "Beatriz", "77", 0.0, 0.0, 0, "USD",
            ),
            "picked_up", 0, 0.0,
        ),
    ),
)  # fmt: skip
"""A rider with a parcel of another store's customer."""


async def sent(world: ApiWorld, method: str, path: str, role: str, body: Any = None) -> Any:
    """The first command that a call led to."""
    subject = {"store": "s-1", "rider": "r-1", "ops": "ana"}[role]
    world.runtime.asked.clear()
    answer = await world.call(method, path, role, subject, key="k", json=body)
    assert answer.status_code < 300, answer.text
    first = world.runtime.asked[0]
    return first.to, first.command


@pytest.mark.parametrize(
    ("path", "body", "command"),
    [
        ("receipts", {"items": [{"sku": "MILK", "quantity": 0}]},
         inventory.Receive("receipt:k", (inventory.StockItem("MILK", 0),), "store:s-1")),
        ("transfers", {"to_store": "s-8", "items": [{"sku": "MILK", "quantity": 1}]},
         inventory.Transfer("transfer:k", "s-8", (inventory.StockItem("MILK", 1),), "store:s-1")),
        ("counts", {"sku": "MILK", "counted": 3, "as_of": "2000-01-01T01:00:30+01:00"},
         inventory.Count("count:k", "MILK", 3, Y2000 + 30, "store:s-1")),
        ("damages", {"sku": "MILK", "quantity": -2},
         inventory.MarkDamaged("damage:k", "MILK", -2, "store:s-1")),
        ("safety", {"sku": "MILK", "safety": 4}, inventory.SetSafety("MILK", 4)),
        ("oversell", {"sku": "MILK", "limit": 2}, inventory.SetOversell("MILK", 2)),
        ("allotments", {"sku": "MILK", "channel": "app", "quantity": 5},
         inventory.Allot("MILK", "app", 5)),
    ],
)  # fmt: skip
async def test_documents_of_stock_say_who_and_answer_the_cells(
    path: str, body: Any, command: Any
) -> None:
    world = ApiWorld()
    assert await sent(world, "POST", f"/v1/stores/s-1/stock/{path}", "store", body) == (
        "inventory/s-1", command,
    )  # fmt: skip
    assert [type(one.command) for one in world.runtime.asked] == [type(command), inventory.Get]


async def test_a_store_asks_for_some_of_its_cells() -> None:
    world = ApiWorld()
    answer = await world.call("GET", "/v1/stores/s-1/stock?sku=MILK&sku=EGGS", "store", "s-1")
    assert world.runtime.asked[0].command == inventory.Get(("MILK", "EGGS"))
    assert answer.json()["items"][0]["sellable"] == 9


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("receipts", {"items": [{"sku": "MILK", "quantity": -1}]}, "items[0].quantity"),
        ("receipts", {"items": []}, "items"),
        ("receipts", {"items": [{"sku": "MILK", "quantity": "1"}]}, "items[0].quantity"),
        ("transfers", {"to_store": "s-1", "items": [{"sku": "A", "quantity": 1}]}, "to_store"),
        ("counts", {"sku": "MILK", "counted": 1, "as_of": "2026-03-01T12:00:00"}, "as_of"),
        ("counts", {"sku": "MILK", "counted": 1}, "as_of"),
    ],
)
async def test_a_wrong_document_names_the_field_and_changes_nothing(
    path: str, body: Any, field: str
) -> None:
    world = ApiWorld()
    answer = await world.call(
        "POST", f"/v1/stores/s-1/stock/{path}", "store", "s-1", key="k", json=body
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert world.runtime.asked == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("lat=1&lon=1", "sku"), ("sku=A&lon=1", "lat"), ("sku=A&lat=x&lon=1", "lat"),
        ("sku=A&lat=91&lon=1", "lat"), ("sku=A&lat=nan&lon=1", "lat"),
        ("sku=A&lat=1&lon=181", "lon"),
        ("&".join(f"sku={n}" for n in range(101)) + "&lat=1&lon=1", "sku"),
    ],
)  # fmt: skip
async def test_availability_needs_skus_and_a_position(query: str, field: str) -> None:
    world = ApiWorld()
    answer = await world.call("GET", f"/v1/availability?{query}", "channel", "app")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_availability_is_answered_without_asking_anybody() -> None:
    world = ApiWorld()
    answer = await world.call(
        "GET", "/v1/availability?sku=MILK&sku=GOLD%20BAR&sku=MILK&lat=4.6&lon=-74", "channel", "a"
    )
    assert answer.json()["items"] == [
        {"sku": "MILK", "known": True, "sellable": 12},
        {"sku": "GOLD BAR", "known": False, "sellable": 0},
    ]
    assert world.runtime.asked == []


TICKET = f"/v1/stores/s-1/tickets/{ORDER_ID}-1"


@pytest.mark.parametrize(
    ("step", "body", "command"),
    [
        ("accept", {"device_id": "t", "prep_s": 60}, store.AcceptTicket(f"{ORDER_ID}-1", "t", 60)),
        ("accept", None, store.AcceptTicket(f"{ORDER_ID}-1")),
        ("reject", {"reason": "fire"}, store.RejectTicket(f"{ORDER_ID}-1", "fire")),
        ("reject", {"reason": "too hot", "reason_code": "closing"},
         store.RejectTicket(f"{ORDER_ID}-1", "too hot", reason_code="closing")),
        ("picking", None, store.StartPicking(f"{ORDER_ID}-1")),
        ("ready", {"device_id": "t"}, store.MarkReady(f"{ORDER_ID}-1", "t")),
        ("hand-over", {"rider_id": "r-1"}, store.HandOver(f"{ORDER_ID}-1", "r-1")),
        ("collect", {"code": "4711", "cash": 5}, store.Collect(f"{ORDER_ID}-1", "4711", 5)),
        ("held-back", {"held_back": False}, store.ConfirmHeldBack(f"{ORDER_ID}-1", False)),
        ("returned", {"damaged": [{"line_id": "l", "quantity": 1}]},
         store.AcceptReturn(f"{ORDER_ID}-1", (("l", 1),))),
        ("returned", None, store.AcceptReturn(f"{ORDER_ID}-1")),
    ],
)  # fmt: skip
async def test_each_step_of_a_ticket_is_one_command(step: str, body: Any, command: Any) -> None:
    world = ApiWorld()
    assert await sent(world, "POST", f"{TICKET}/{step}", "store", body) == ("store/s-1", command)
    assert world.runtime.asked[0].command_id == f"{step}:k"


async def test_a_line_is_picked_by_its_id_with_or_without_an_encoded_slash() -> None:
    world = ApiWorld()
    for line in (f"{ORDER_ID}/2", f"{ORDER_ID}%2F2"):
        _, command = await sent(world, "PUT", f"{TICKET}/lines/{line}", "store", {"quantity": 1})
        assert command == store.PickLine(f"{ORDER_ID}-1", f"{ORDER_ID}/2", 1)


async def test_picking_a_line_twice_alike_are_two_commands() -> None:
    world = ApiWorld()
    for _ in range(2):
        await world.call("PUT", f"{TICKET}/lines/l", "store", "s-1", json={"quantity": 1})
    first, second = world.runtime.asked
    assert first.command_id != second.command_id


async def test_open_tickets_look_like_the_single_one() -> None:
    world = ApiWorld()
    (ticket,) = (await world.call("GET", "/v1/stores/s-1/tickets", "store", "s-1")).json()["items"]
    single = (await world.call("GET", TICKET, "store", "s-1")).json()
    assert list(ticket) == list(single)
    assert [line["picked"] for line in ticket["lines"]] == [1, 2]


async def test_pauses_carry_their_end_in_service_time() -> None:
    world = ApiWorld()
    body = {"paused": True, "until": "2000-01-01T00:01:00Z", "reason": "fire"}
    assert await sent(world, "POST", "/v1/stores/s-1/pause", "store", body) == (
        "store/s-1", store.PauseStore(True, Y2000 + 60, "fire"),
    )  # fmt: skip
    assert await sent(world, "POST", "/v1/stores/s-1/items/MILK/pause", "ops", body) == (
        "store/s-1", store.PauseItem("MILK", True, Y2000 + 60),
    )  # fmt: skip


async def test_an_inbox_is_passed_on_with_its_own_json_untouched() -> None:
    world = ApiWorld()
    page = (await world.call("GET", "/v1/stores/s-1/inbox?after=0&limit=5", "store", "s-1")).json()
    assert world.runtime.asked[0].command == store.ReadInbox(0, 5)
    assert page["messages"][0]["data"] == {"sku": "MILK"}
    assert page["messages"][0]["at"] == "2025-10-09T08:53:20Z"
    assert page["snapshot"] is None
    page = (await world.call("GET", "/v1/riders/r-1/inbox", "rider", "r-1")).json()
    assert page["snapshot"] == {"rider_id": "r-1"}
    refused = await world.call("GET", "/v1/stores/s-1/inbox?after=-1", "store", "s-1")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "after"


@pytest.mark.parametrize(
    ("path", "body", "command"),
    [
        ("shift", {"dispatch_zone": "north", "vehicle": "bicycle", "position": SHOP,
                   "ends_at": "2000-01-01T00:01:00Z"},
         rider.StartShift("north", "bicycle", Position(4.65, -74.06), 3, 50_000, Y2000 + 60,
                          ("USD",))),
        ("shift/end", None, rider.EndShift()),
        ("offers/of-1/accept", None, rider.AcceptOffer("of-1")),
        ("offers/of-1/decline", None, rider.DeclineOffer("of-1")),
        ("offers/of-1/decline", {"reason": "tyre"}, rider.DeclineOffer("of-1", "tyre")),
        ("parcels/p/arrive-at-store", None, rider.ArriveAtStore("p")),
        ("parcels/p/pick-up", {}, rider.PickUp("p")),
        ("parcels/p/arrive-at-customer", {}, rider.ArriveAtCustomer("p")),
        ("parcels/p/deliver", {"cash_received": 500, "change": 20}, rider.Deliver("p", 500, 20)),
        ("parcels/p/fail", {"reason": "absent"}, rider.Fail("p", "absent")),
    ],
)  # fmt: skip
async def test_each_step_of_a_rider_is_one_command(path: str, body: Any, command: Any) -> None:
    world = ApiWorld()
    assert await sent(world, "POST", f"/v1/riders/r-1/{path}", "rider", body) == (
        "rider/r-1", command,
    )  # fmt: skip


async def test_a_rider_sees_where_work_is_and_what_lies_there() -> None:
    world = ApiWorld()
    closed = msgspec.structs.replace(world.views.stores["s-8"], active=False)
    zone = Zone("z-1", 1, Circle(Position(4.65, -74.06), 500.0), 900)
    open_ = msgspec.structs.replace(
        world.views.stores["s-1"], zones=(zone,), time_zone="America/Bogota"
    )
    world.views.stores |= {"s-8": closed, "s-1": open_}
    answer = await world.call("GET", "/v1/dispatch", "rider", "r-1")
    assert answer.json()["items"] == [{
        "zone_id": "north", "currency": "USD", "time_zone": "America/Bogota",
        "stores": [{
            "store_id": "s-1", "name": "A store", "position": SHOP,
            "areas": [
                {"tier": 1, "area": {"type": "circle", "centre": SHOP, "radius_m": 500.0}}
            ],
        }],
    }]  # fmt: skip


async def test_a_position_is_told_not_asked() -> None:
    world = ApiWorld()
    answer = await world.call(
        "PUT", "/v1/riders/r-1/position", "rider", "r-1", json={"position": SHOP}
    )
    assert answer.status_code == 202
    assert world.runtime.told == [("rider/r-1", rider.MoveTo(Position(4.65, -74.06)))]
    assert world.runtime.asked == []


async def test_a_store_takes_the_cash_of_its_zones_riders_and_is_recorded() -> None:
    world = ApiWorld()
    path = "/v1/riders/r-1/remittances"
    assert await sent(world, "POST", path, "store", {"amount": 1500, "owed": 1500}) == (
        "rider/r-1", rider.Remit("remittance:k", 1500, "store:s-1", "", "north", 1500),
    )  # fmt: skip
    body = {"amount": 1400, "owed": 1500, "reason": "torn note"}
    assert await sent(world, "POST", path, "ops", body) == (
        "rider/r-1", rider.Remit("remittance:k", 1400, "ops:ana", "torn note", "", 1500),
    )  # fmt: skip


@pytest.mark.parametrize("role", ["store", "ops"])
async def test_who_takes_cash_says_what_was_seen_as_owed(role: str) -> None:
    world = ApiWorld()
    subject = {"store": "s-1", "ops": "ana"}[role]
    answer = await world.call(
        "POST", "/v1/riders/r-1/remittances", role, subject, key="k", json={"amount": 1500}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert not world.runtime.asked


@pytest.mark.parametrize("role", ["store", "ops"])
async def test_who_takes_cash_learns_nothing_of_the_run(role: str) -> None:
    world = ApiWorld()
    world.runtime.replies[rider.Remit] = CARRYING
    subject = {"store": "s-1", "ops": "ana"}[role]
    body = {"amount": 1500, "owed": 1500}
    answer = await world.call(
        "POST", "/v1/riders/r-1/remittances", role, subject, key="k", json=body
    )
    assert answer.status_code == 201
    assert answer.json() == {
        "rider_id": "r-1", "on_shift": True, "cash_held": 0, "cash_limit": 9_000, "currency": "USD",
    }  # fmt: skip


async def test_a_store_that_the_catalogue_does_not_have_takes_nobodys_cash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk, "HEARD_TRIES", 1)
    world = ApiWorld()
    path = "/v1/riders/r-1/remittances"
    answer = await world.call(
        "POST", path, "store", "nowhere", key="k", json={"amount": 1, "owed": 1}
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-store")
    assert not world.runtime.asked


@pytest.mark.parametrize("reason", ["missing", "substitute_refused", "unwanted"])
async def test_a_line_is_short_for_the_reason_that_the_tablet_gives(reason: str) -> None:
    world = ApiWorld()
    path = "/v1/stores/s-1/tickets/f/lines/o/1"
    body = {"quantity": 1, "reason": reason}
    assert await sent(world, "PUT", path, "store", body) == (
        "store/s-1", store.PickLine("f", "o/1", 1, "", reason),
    )  # fmt: skip
    wrong = {"quantity": 1, "reason": "tired"}
    answer = await world.call("PUT", path, "store", "s-1", json=wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


async def test_remedies_of_delivery_carry_who_and_why() -> None:
    world = ApiWorld()
    why = {"why": "no answer"}
    assert await sent(world, "POST", "/v1/riders/r-1/parcels/p/unassign", "ops", why) == (
        "rider/r-1", rider.Unassign("p", "ops:ana", "no answer"),
    )  # fmt: skip
    assert await sent(world, "POST", "/v1/dispatch/north/parcels/p/reoffer", "ops", why) == (
        "dispatch/north", dispatch.ReofferParcel("p", "ops:ana", "no answer"),
    )  # fmt: skip


async def test_a_sku_is_put_whole_and_shown_as_put() -> None:
    world = ApiWorld()
    body = {"name": "Kit", "price": 5, "components": [{"sku": "MILK", "quantity": 2}]}
    put = await world.call("PUT", "/v1/skus/KIT", "ops", json=body)
    asked = world.runtime.asked[0]
    assert asked.to == "catalogue/sku:KIT"
    assert asked.command == catalogue.PutSku(
        Sku("KIT", "Kit", 5, components=(Component("MILK", 2),))
    )
    assert put.json()["components"] == [{"sku": "MILK", "quantity": 2}]
    assert asked.command_id == "", "put once more it changes nothing, so nothing is remembered"


@pytest.mark.parametrize("one", [True, False])
async def test_a_combo_of_a_combo_is_refused_before_anything_is_stored(one: bool) -> None:
    world = ApiWorld()
    box = Sku("BOX", "Box", 1, components=(Component("MILK", 2),))
    world.views.skus["BOX"] = box
    crate = {"name": "Crate", "price": 5, "components": [{"sku": "BOX", "quantity": 2}]}
    if one:
        answer = await world.call("PUT", "/v1/skus/CRATE", "ops", json=crate)
    else:
        body = {"skus": [{"sku": "TEA", "name": "Tea", "price": 1}, {"sku": "CRATE", **crate}]}
        answer = await world.call("POST", "/v1/skus", "ops", key="k", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "nested-combo")
    assert not world.runtime.asked


async def test_what_an_old_id_with_a_slash_names_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = ApiWorld()
    for at, sku in (("a/b", "a/b"), ("a%2Fb", "a/b")):
        world.views.skus[sku] = Sku(sku, "Odd", 1)
        assert (await world.call("GET", f"/v1/skus/{at}", "ops")).json()["sku"] == sku
    zone = "muc/nord"
    world.views.stores["s-1"] = replace(world.views.stores["s-1"], dispatch_zone=zone)
    for path, role, command in (
        ("/v1/riders/r-1/offers/muc%2Fnord-3/accept", "rider", rider.AcceptOffer(f"{zone}-3")),
        ("/v1/riders/r-1/offers/muc/nord-3/decline", "rider", rider.DeclineOffer(f"{zone}-3", "")),
        ("/v1/dispatch/muc%2Fnord/parcels/p/reoffer", "ops",
         dispatch.ReofferParcel("p", "ops:ana", "far")),
        ("/v1/stores/s-1/items/a%2Fb/pause", "store", store.PauseItem("a/b", True, None)),
    ):  # fmt: skip
        body = {"paused": True} if "items" in path else {"why": "far"}
        assert (await sent(world, "POST", path, role, body))[1] == command
    world.runtime.asked.clear()
    await world.call("GET", "/v1/dispatch/muc%2Fnord", "ops")
    assert [one.to for one in world.runtime.asked] == [f"dispatch/{zone}"]


async def test_many_skus_are_put_each_once_and_a_failure_is_told() -> None:
    world = ApiWorld()
    skus = [{"sku": f"S{n % 150}", "name": "S", "price": n} for n in range(200)]
    answer = await world.call("POST", "/v1/skus", "ops", key="k", json={"skus": skus})
    assert answer.json() == {"stored": 150}
    assert len({asked.to for asked in world.runtime.asked}) == len(world.runtime.asked) == 150
    world.runtime.replies[catalogue.PutSku] = Unavailable("journal-away", "Later.")
    answer = await world.call("POST", "/v1/skus", "ops", key="k", json={"skus": skus})
    assert answer.status_code == 503


async def test_a_store_is_put_with_zones_of_both_shapes() -> None:
    world = ApiWorld()
    put = await world.call("PUT", "/v1/stores/s-9", "ops", json=STORE)
    assert put.status_code == 200, put.text
    command = world.runtime.asked[0].command
    assert isinstance(command, catalogue.PutStore)
    profile = command.store
    assert profile.freight == Freight(300, 5000)
    shop = Position(4.65, -74.06)
    assert profile.zones == (
        Zone("z-1", 1, Circle(shop, 500.0), 900),
        Zone("z-2", 2, Polygon((shop, Position(5.0, -74.0), Position(5.0, -75.0))), 1800),
    )
    assert put.json()["zones"][1]["area"] == STORE["zones"][1]["area"]  # type: ignore[index]
    assert put.json()["accept_s"] == profile.accept_s


async def test_a_wrong_zone_is_named() -> None:
    world = ApiWorld()
    zone = {"zone_id": "z", "tier": 1, "promise_s": 9, "area": {"type": "square"}}
    answer = await world.call("PUT", "/v1/stores/s-9", "ops", json={**STORE, "zones": [zone]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "zones[0].area"


async def test_a_channel_is_put_and_an_unset_one_has_the_defaults() -> None:
    world = ApiWorld()
    body = {"unpaid_s": 60, "cod": {"limit": 0, "zones_denied": ["z"]}}
    await world.call("PUT", "/v1/channels/app", "ops", json=body)
    assert world.runtime.asked[0].command == catalogue.PutChannel(
        ChannelPolicy("app", 60.0, cod=CodRule(0, zones_denied=("z",)))
    )
    shown = (await world.call("GET", "/v1/channels/web", "ops")).json()
    assert shown["unpaid_s"] == ChannelPolicy("web").unpaid_s


async def test_the_catalogue_is_read_in_pages_from_first_to_last() -> None:
    world = ApiWorld()
    world.views.skus = {f"S{n}": Sku(f"S{n}", "S", n) for n in (3, 1, 2, 5, 4)}
    seen, after = [], ""
    while after is not None:
        page = (await world.call("GET", f"/v1/skus?limit=2&after={after}", "ops")).json()
        seen += [sku["sku"] for sku in page["items"]]
        after = page["next"]
    assert seen == ["S1", "S2", "S3", "S4", "S5"]
    assert (await world.call("GET", "/v1/skus/NONE", "ops")).json()["skus"] == ["NONE"]
    assert (await world.call("GET", "/v1/stores/s-none", "ops")).status_code == 404


async def test_a_refusal_of_a_store_keeps_its_facts() -> None:
    world = ApiWorld()
    world.runtime.replies[store.MarkReady] = Refused("wrong-state", "It is new.", state="new")
    answer = await world.call("POST", f"{TICKET}/ready", "store", "s-1", key="k")
    assert answer.status_code == 409
    assert answer.json()["state"] == "new"
