"""The HTTP API and the engine together: from the catalogue to cash, over nothing but HTTP."""

import asyncio
from typing import Any

import httpx
import pytest

from actors.store import KIND as STORE_KIND
from tests.fakes.engine_world import EngineWorld, engine_world

SHOP = {"lat": 52.5, "lon": 13.4}
STORE = {
    "name": "One", "position": SHOP, "currency": "EUR", "dispatch_zone": "north",
    "zones": [{"zone_id": "z-1", "tier": 1, "promise_s": 1800,
               "area": {"type": "circle", "centre": SHOP, "radius_m": 5_000}}],
    "freight": {"base": 300},
}  # fmt: skip


def wish(quantity: int = 2, **change: Any) -> dict[str, Any]:
    return {
        "customer": {"customer_id": "c-1", "name": "Ana", "phone": "+4915112345678"},
        "lines": [{"sku": "MILK", "quantity": quantity}],
        "currency": "EUR",
        "address": {"position": SHOP, "text": "Door 1"},
        **change,
    }


async def until(world: EngineWorld, path: str, role: str, subject: str, holds: Any) -> Any:
    """The first answer that fits; owed messages travel in the background."""
    while True:
        answer = await world.call("GET", path, role, subject)
        if answer.status_code == 200 and holds(answer.json()):
            return answer.json()
        await asyncio.sleep(0)


async def opened(world: EngineWorld, units: int = 10) -> None:
    """One store with milk, known to routing."""
    for method, path, body, key in (
        ("PUT", "/v1/channels/app", {}, ""),
        ("POST", "/v1/skus", {"skus": [{"sku": "MILK", "name": "Milk", "price": 990}]}, "goods"),
        ("PUT", "/v1/stores/s-1", STORE, ""),
        ("POST", "/v1/stores/s-1/stock/receipts",
         {"items": [{"sku": "MILK", "quantity": units}]}, "stock"),
    ):  # fmt: skip
        answer = await world.call(method, path, "ops", "ana", body, key)
        assert answer.status_code < 300, answer.text
    query = "/v1/availability?sku=MILK&lat=52.5&lon=13.4"
    await until(world, query, "ops", "ana", lambda shown: shown["items"][0]["sellable"] == units)


async def test_a_store_in_no_known_time_zone_is_refused_and_stays_as_it_was() -> None:
    async with engine_world() as world:
        await opened(world)
        put = {**STORE, "name": "Moved", "time_zone": "Europe/Atlantis"}
        refused = await world.call("PUT", "/v1/stores/s-1", "ops", "ana", put)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-store")
        assert "'Europe/Atlantis'" in refused.json()["detail"]
        assert "such as Europe/Berlin, or UTC" in refused.json()["detail"]
        put["time_zone"] = "Europe/Berlin"
        assert (await world.call("PUT", "/v1/stores/s-2", "ops", "ana", put)).status_code == 200
        await until(world, "/v1/stores/s-2", "ops", "ana", lambda seen: seen["name"] == "Moved")
        kept = (await world.call("GET", "/v1/stores/s-1", "ops", "ana")).json()
        assert (kept["name"], kept["time_zone"]) == ("One", "UTC")


async def test_an_order_placed_twice_with_one_key_is_one_order() -> None:
    async with engine_world() as world:
        await opened(world)
        first = await world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")
        again = await world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")
        assert first.status_code == again.status_code == 201, first.text
        assert first.json() == again.json()
        assert first.json()["total"] == 2 * 990 + 300
        stock = (await world.call("GET", "/v1/stores/s-1/stock", "store", "s-1")).json()
        assert stock["items"][0]["locked"] == 2


async def test_a_late_repeat_of_a_pause_that_changed_nothing_does_not_open_the_store() -> None:
    async with engine_world() as world:
        await opened(world)

        async def pause(paused: bool, key: str) -> httpx.Response:
            body = {"paused": paused}
            return await world.call("POST", "/v1/stores/s-1/pause", "store", "s-1", body, key)

        first = await pause(False, "a")
        reused = await pause(True, "a")
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency-key-reused")
        assert (await pause(True, "b")).status_code == 200
        late = await pause(False, "a")
        assert (late.status_code, late.json()) == (first.status_code, first.json())
        placed = await world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")
        assert placed.status_code == 422, "somebody paused the store, and paused it stays"


async def test_one_key_with_another_body_is_refused_and_locks_nothing() -> None:
    async with engine_world() as world:
        await opened(world)
        await world.call("POST", "/v1/orders", "channel", "app", wish(2), "k-1")
        other = await world.call("POST", "/v1/orders", "channel", "app", wish(3), "k-1")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
        stock = (await world.call("GET", "/v1/stores/s-1/stock", "store", "s-1")).json()
        assert stock["items"][0]["locked"] == 2


async def test_the_same_key_of_two_channels_is_two_orders_hidden_from_each_other() -> None:
    async with engine_world() as world:
        await opened(world)
        mine = await world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")
        theirs = await world.call("POST", "/v1/orders", "channel", "web", wish(), "k-1")
        order_id = theirs.json()["order_id"]
        assert order_id != mine.json()["order_id"]
        seen = await world.call("GET", f"/v1/orders/{order_id}", "channel", "app")
        assert (seen.status_code, seen.json()["code"]) == (404, "unknown-order")


async def test_what_cannot_be_served_is_refused_with_its_reason_and_the_shortfall() -> None:
    async with engine_world() as world:
        await opened(world, units=3)
        for change, status, code in (
            (wish(4), 422, "short-stock"),
            (wish(lines=[{"sku": "GOLD", "quantity": 1}]), 422, "unknown-sku"),
            (wish(expected_total=1), 422, "wrong-total"),
            (wish(address={"position": {"lat": 0, "lon": 0}}), 422, "no-zone"),
        ):
            answer = await world.call("POST", "/v1/orders", "channel", "app", change, code)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        stock = (await world.call("GET", "/v1/stores/s-1/stock", "store", "s-1")).json()
        assert stock["items"][0]["locked"] == 0


async def test_a_paid_order_reaches_its_store_and_is_picked() -> None:
    async with engine_world() as world:
        await opened(world)
        placed = (await world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")).json()
        order_id = placed["order_id"]
        path = f"/v1/orders/{order_id}/payments"
        payment = await world.call("POST", path, "channel", "app", {"provider": "sandbox"}, "p-1")
        assert payment.status_code == 201, payment.text
        event = {
            "payment_id": payment.json()["payment_id"], "status": "captured", "reference": "r",
            "amount": placed["total"], "currency": "EUR", "event_id": "evt-1",
        }  # fmt: skip
        for _ in range(2):
            received = await world.http.post("/v1/webhooks/sandbox", json=event)
            assert received.status_code == 200, received.text
        page = await until(
            world, "/v1/stores/s-1/tickets", "store", "s-1", lambda shown: shown["items"]
        )
        (ticket,) = page["items"]
        at = f"/v1/stores/s-1/tickets/{ticket['fulfilment_id']}"
        line = ticket["lines"][0]["line_id"]
        await world.call("POST", f"{at}/accept", "store", "s-1", {}, "a")
        await world.call("POST", f"{at}/picking", "store", "s-1", {}, "b")
        await world.call("PUT", f"{at}/lines/{line}", "store", "s-1", {"quantity": 2})
        ready = await world.call("POST", f"{at}/ready", "store", "s-1", {}, "c")
        assert ready.json()["state"] == "ready"
        shown = await until(
            world, f"/v1/orders/{order_id}", "channel", "app",
            lambda order: order["fulfilments"][0]["state"] == "ready",
        )  # fmt: skip
        assert shown["state"] == "paid"
        late = await world.call("POST", f"{at}/reject", "store", "s-1", {"reason": "r"}, "d")
        assert (late.status_code, late.json()["code"]) == (409, "wrong-state")


@pytest.mark.parametrize(
    ("reason", "on_hand"), [("missing", 9), ("substitute_refused", 9), ("unwanted", 10)]
)
async def test_a_short_is_refunded_and_only_what_is_unwanted_stays_in_stock(
    reason: str, on_hand: int
) -> None:
    async with engine_world() as world:
        await opened(world)
        body = wish(payment="cod")
        placed = (await world.call("POST", "/v1/orders", "channel", "app", body, "k-1")).json()
        page = await until(
            world, "/v1/stores/s-1/tickets", "store", "s-1", lambda shown: shown["items"]
        )
        (ticket,) = page["items"]
        at = f"/v1/stores/s-1/tickets/{ticket['fulfilment_id']}"
        line = ticket["lines"][0]["line_id"]
        await world.call("POST", f"{at}/accept", "store", "s-1", {}, "a")
        await world.call("POST", f"{at}/picking", "store", "s-1", {}, "b")
        pick = {"quantity": 1, "reason": reason}
        picked = await world.call("PUT", f"{at}/lines/{line}", "store", "s-1", pick)
        assert picked.json()["lines"][0]["short_reason"] == reason
        await world.call("POST", f"{at}/ready", "store", "s-1", {}, "c")
        shown = await until(
            world, f"/v1/orders/{placed['order_id']}", "channel", "app",
            lambda order: order["lines"][0]["short_quantity"],
        )  # fmt: skip
        assert shown["lines"][0]["short_reason"] == reason
        assert shown["fulfilments"][0]["cash_due"] == 990 + 300
        await until(
            world, "/v1/stores/s-1/stock", "store", "s-1",
            lambda stock: (
                stock["items"][0]["on_hand"], stock["items"][0]["locked"]
            ) == (on_hand, 1),
        )  # fmt: skip


async def test_a_pickup_code_is_good_once_and_a_repeat_gets_the_first_answer() -> None:
    async with engine_world() as world:
        await opened(world)
        body = wish(payment="cod", delivery="pickup", store_id="s-1", address=None)
        placed = (await world.call("POST", "/v1/orders", "channel", "app", body, "k-1")).json()
        page = await until(
            world, "/v1/stores/s-1/tickets", "store", "s-1", lambda shown: shown["items"]
        )
        at = f"/v1/stores/s-1/tickets/{page['items'][0]['fulfilment_id']}"
        for act in ("accept", "picking", "ready"):
            await world.call("POST", f"{at}/{act}", "store", "s-1", {}, act)
        order_path = f"/v1/orders/{placed['order_id']}"
        shown = (await world.call("GET", order_path, "channel", "app")).json()
        given = {"code": shown["pickup_code"], "cash": placed["total"]}
        first = await world.call("POST", f"{at}/collect", "store", "s-1", given, "c-1")
        assert (first.status_code, first.json()["state"]) == (200, "collected"), first.text
        again = await world.call("POST", f"{at}/collect", "store", "s-1", given, "c-1")
        assert (again.status_code, again.json()) == (200, first.json())
        for number, code in enumerate(("000000", shown["pickup_code"])):
            body = {**given, "code": code}
            refused = await world.call("POST", f"{at}/collect", "store", "s-1", body, f"d-{number}")
            assert (refused.status_code, refused.json()["code"]) == (409, "wrong-state")
            assert "collected already" in refused.json()["detail"]
        await until(
            world, order_path, "channel", "app", lambda order: order["state"] == "completed"
        )


async def test_however_many_lines_a_store_picks_its_first_answer_is_still_given() -> None:
    async with engine_world() as world:
        await opened(world)
        await world.call("POST", "/v1/orders", "channel", "app", wish(payment="cod"), "k-1")
        page = await until(
            world, "/v1/stores/s-1/tickets", "store", "s-1", lambda shown: shown["items"]
        )
        ticket = page["items"][0]
        at = f"/v1/stores/s-1/tickets/{ticket['fulfilment_id']}"
        first = await world.call("POST", f"{at}/accept", "store", "s-1", {}, "a")
        await world.call("POST", f"{at}/picking", "store", "s-1", {}, "b")
        line = f"{at}/lines/{ticket['lines'][0]['line_id']}"
        for number in range(STORE_KIND.answers_kept + 1):
            pick = {"quantity": number % 2 + 1}
            picked = await world.call("PUT", line, "store", "s-1", pick)
            assert picked.status_code == 200, picked.text
        again = await world.call("POST", f"{at}/accept", "store", "s-1", {}, "a")
        assert (again.status_code, again.json()) == (200, first.json())


async def test_beyond_the_bounds_nothing_is_stored_and_the_store_goes_on() -> None:
    async with engine_world() as world:
        await opened(world)
        for path, body, code in (
            ("safety", {"sku": "MILK", "safety": 1, "daily_demand": 1e30}, "invalid-request"),
            ("safety", {"sku": "MILK", "safety": 1, "daily_demand": 1e7, "lead_time_days": 2.0},
             "wrong-model"),
        ):  # fmt: skip
            answer = await world.call(
                "POST", f"/v1/stores/s-1/stock/{path}", "ops", "ana", body, code
            )
            assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
        heavy = {"name": "Milk", "price": 990, "weight_g": 10**9, "volume_ml": 10**9}
        assert (await world.call("PUT", "/v1/skus/MILK", "ops", "ana", heavy)).status_code == 200
        await until(world, "/v1/skus/MILK", "ops", "ana", lambda sku: sku["weight_g"] == 10**9)
        placed = await world.call(
            "POST", "/v1/orders", "channel", "app", wish(5, payment="cod"), "k-1"
        )
        assert placed.status_code == 201, placed.text
        await until(world, "/v1/stores/s-1/tickets", "store", "s-1", lambda shown: shown["items"])


async def test_a_store_takes_the_cash_of_its_own_zones_riders_and_of_no_others() -> None:
    async with engine_world() as world:
        await opened(world)
        far = {**STORE, "dispatch_zone": "south"}
        assert (await world.call("PUT", "/v1/stores/s-2", "ops", "ana", far)).status_code < 300
        shift = {"dispatch_zone": "north", "vehicle": "bicycle", "position": SHOP}
        came = await world.call("POST", "/v1/riders/r-1/shift", "rider", "r-1", shift, "s")
        assert came.status_code == 200, came.text

        async def remit(rider_id: str, store_id: str, body: Any, key: str) -> tuple[int, str]:
            path = f"/v1/riders/{rider_id}/remittances"
            answer = await world.call("POST", path, "store", store_id, body, key)
            return answer.status_code, answer.json().get("code", "")

        found = {"amount": 500, "owed": 0, "reason": "found in the bag"}
        assert await remit("r-1", "s-2", found, "a") == (403, "foreign-resource")
        assert await remit("r-9", "s-1", found, "b") == (404, "unknown-rider")
        unsaid = {"amount": 500, "owed": 0}
        assert await remit("r-1", "s-1", unsaid, "c") == (422, "reason-required")
        stale = {"amount": 500, "owed": 500}
        assert await remit("r-1", "s-1", stale, "e") == (409, "owed-changed")
        for _ in range(2):
            assert await remit("r-1", "s-1", found, "d") == (201, "")
        own = await world.call("GET", "/v1/stores/s-1/riders", "store", "s-1")
        assert own.status_code == 200
        foreign = await world.call("GET", "/v1/stores/s-1/riders", "store", "s-2")
        assert (foreign.status_code, foreign.json()["code"]) == (403, "foreign-resource")


async def test_the_same_request_is_the_same_whatever_the_service_looked_up_meanwhile() -> None:
    async with engine_world() as world:
        await opened(world)
        await world.call("PUT", "/v1/stores/s-2", "ops", "ana", STORE)

        async def start_shift(**other: Any) -> httpx.Response:
            body = {"dispatch_zone": "north", "vehicle": "bicycle", "position": SHOP, **other}
            return await world.call("POST", "/v1/riders/r-1/shift", "rider", "r-1", body, "s")

        async def remit(amount: int) -> httpx.Response:
            body = {"amount": amount, "owed": 0, "reason": "found in the bag"}
            path = "/v1/riders/r-1/remittances"
            return await world.call("POST", path, "store", "s-2", body, "m")

        started, remitted = await start_shift(), await remit(500)
        assert (started.status_code, remitted.status_code) == (200, 201), remitted.text
        for store_id, changed in (
            ("s-3", {**STORE, "currency": "PLN"}),
            ("s-2", {**STORE, "dispatch_zone": "south"}),
        ):
            path = f"/v1/stores/{store_id}"
            await world.call("PUT", path, "ops", "ana", changed)
            place = changed["currency"], changed["dispatch_zone"]
            await until(
                world, path, "ops", "ana",
                lambda shown, place=place: (shown["currency"], shown["dispatch_zone"]) == place,
            )  # fmt: skip
        for again, first, other in (
            (await start_shift(), started, await start_shift(vehicle="car")),
            (await remit(500), remitted, await remit(400)),
        ):
            assert (again.status_code, again.json()) == (first.status_code, first.json())
            assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_webhook_with_the_wrong_amount_does_not_pay_the_order() -> None:
    async with engine_world() as world:
        await opened(world)
        placed = (await world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")).json()
        path = f"/v1/orders/{placed['order_id']}/payments"
        payment = await world.call("POST", path, "channel", "app", {"provider": "sandbox"}, "p-1")
        event = {
            "payment_id": payment.json()["payment_id"], "status": "captured", "reference": "r",
            "amount": placed["total"] - 1, "currency": "EUR", "event_id": "evt-1",
        }  # fmt: skip
        await world.http.post("/v1/webhooks/sandbox", json=event)
        shown = await world.call("GET", f"/v1/orders/{placed['order_id']}", "channel", "app")
        assert shown.json()["state"] == "placed"


async def test_the_journal_away_is_a_503_and_the_retry_succeeds() -> None:
    async with engine_world() as world:
        await opened(world)
        world.journal.away = True
        placing = asyncio.create_task(
            world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")
        )
        while world.app.fastapi.state.desk.pending == 0:
            await asyncio.sleep(0)
        world.journal.away = False
        answer = await placing
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
            answer = await world.call("POST", "/v1/orders", "channel", "app", wish(), "k-1")
        assert answer.status_code == 201
        stock = (await world.call("GET", "/v1/stores/s-1/stock", "store", "s-1")).json()
        assert stock["items"][0]["locked"] == 2


async def test_an_idle_engine_is_ready_and_unknown_things_are_404() -> None:
    async with engine_world() as world:
        ready = await world.http.get("/readyz")
        assert ready.status_code == 200, ready.text
        for path in ("/v1/orders/onone", "/v1/stores/s-1/tickets/none"):
            answer = await world.call("GET", path, "ops", "ana")
            assert answer.status_code == 404, answer.text
