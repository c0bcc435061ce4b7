"""Orders over HTTP: placing on the hot route, reading, paying, cancelling, remedies."""

import asyncio
from typing import Any

import pytest
import structlog

from actors.engine.page import Page
from adapters.ledger.documents import plain
from domain.errors import Busy, Refused, Unavailable
from domain.order import commands as order
from orchestrator.api.desk import order_id_of, payment_id_of
from tests.fakes.api_world import ORDER_ID, ORDER_VIEW, PLACE, ApiWorld


async def place(world: ApiWorld, body: Any = None, key: str = "k-1", **headers: str) -> Any:
    return await world.call(
        "POST", "/v1/orders", "channel", "app", key=key, headers=headers, json=body or PLACE
    )


async def test_placing_answers_the_order_as_an_object_with_moments_and_integers() -> None:
    world = ApiWorld()
    answer = await place(world)
    assert answer.status_code == 201
    shown = answer.json()
    assert shown["total"] == 2_280
    assert shown["placed_at"] == "2025-10-09T08:53:20.250000Z"
    assert shown["lines"][0]["sku"] == "MILK"
    assert shown["fulfilments"][0]["due_at"] is None


async def test_placing_sends_the_wish_of_the_tokens_channel_to_an_order_named_by_the_key() -> None:
    world = ApiWorld()
    answer = await place(world, {**PLACE, "channel": "other"})
    (asked,) = world.runtime.asked
    order_id = order_id_of("app", "k-1")
    assert asked.to == f"order/{order_id}"
    assert asked.command_id == "place:k-1"
    assert isinstance(asked.command, order.Place)
    assert asked.command.channel == "app"
    assert asked.command.lines == (order.PlaceLine("MILK", 2),)
    assert answer.headers["location"] == f"/v1/orders/{order_id}"


def test_an_order_id_is_o_and_20_base32_characters_and_depends_on_channel_and_key() -> None:
    made = order_id_of("app", "k-1")
    assert made == order_id_of("app", "k-1")
    assert len(made) == 21
    assert made[0] == "o"
    assert set(made[1:]) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert len({made, order_id_of("app", "k-2"), order_id_of("web", "k-1")}) == 3
    assert order_id_of("a", "b\0c") != order_id_of("a\0b", "c")
    assert payment_id_of(made, "k").rpartition("-p")[0] == made


@pytest.mark.parametrize("key", ["", "x" * 201, "naïve"])
async def test_placing_without_a_usable_idempotency_key_is_refused(key: str) -> None:
    world = ApiWorld()
    headers: dict[Any, Any] = {b"idempotency-key": key.encode("latin-1")} if key else {}
    answer = await world.call("POST", "/v1/orders", "channel", "app", headers=headers, json=PLACE)
    assert answer.status_code == 400
    assert answer.json()["code"] == "idempotency-key-missing"
    assert world.runtime.asked == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [{"sku": "MILK", "quantity": 0}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MILK", "quantity": -1}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MILK", "quantity": 10**18}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MILK", "quantity": "2"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MILK", "quantity": 1.5}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "", "quantity": 1}]}, "lines[0].sku"),
        ({"currency": "dollars"}, "currency"),
        ({"expected_total": -1}, "expected_total"),
        ({"payment": "barter"}, "payment"),
        ({"address": {"position": {"lat": 91, "lon": 0}}}, "address.position.lat"),
        ({"address": None}, "address"),
        ({"delivery": "pickup"}, "store_id"),
        ({"customer": {"customer_id": "c", "phone": "call me"}}, "customer.phone"),
        ({"note": "x" * 501}, "note"),
        *(
            ({"customer": {"customer_id": wrong}}, "customer.customer_id")
            for wrong in ("", " c", "c/1", "c?1", "c#1", "c%1", ".", "..", "c\n", "c" * 65)
        ),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_sent(change: Any, field: str) -> None:
    world = ApiWorld()
    answer = await place(world, {**PLACE, **change})
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == "invalid-request"
    assert problem["errors"][0]["field"] == field
    assert world.runtime.asked == []


async def test_unknown_members_are_ignored() -> None:
    world = ApiWorld()
    assert (await place(world, {**PLACE, "theme": "dark"})).status_code == 201


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b'{"lines":'])
async def test_malformed_json_is_a_400(raw: bytes) -> None:
    world = ApiWorld()
    headers = {"content-type": "application/json"}
    answer = await world.call(
        "POST", "/v1/orders", "channel", "app", key="k", headers=headers, content=raw
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed-json"


async def test_another_content_type_is_a_415_and_a_charset_is_none() -> None:
    world = ApiWorld()
    for content_type, status in (
        ("text/plain", 415), ("", 415), ("application/json; charset=utf-8", 201),
    ):  # fmt: skip
        answer = await place(world, key=content_type or "none", **{"content-type": content_type})
        assert answer.status_code == status


async def test_an_oversized_body_is_a_413_before_it_is_read() -> None:
    world = ApiWorld(body_bytes_max=1_000)
    answer = await place(world, {**PLACE, "padding": "x" * 2_000})
    assert answer.status_code == 413
    assert answer.json()["code"] == "body-too-large"


async def test_an_oversized_body_without_a_length_is_a_413_too() -> None:
    world = ApiWorld(body_bytes_max=1_000)

    async def endless() -> Any:
        while True:
            yield b" " * 400

    for path in ("/v1/orders", f"/v1/orders/{ORDER_ID}/cancel"):
        answer = await world.call(
            "POST", path, "channel", "app", key="k", content=endless(),
            headers={"content-type": "application/json"},
        )  # fmt: skip
        assert answer.status_code == 413


async def test_a_body_that_comes_in_pieces_is_one_body() -> None:
    world = ApiWorld()

    async def pieces() -> Any:
        for byte in __import__("json").dumps(PLACE).encode():
            yield bytes([byte])

    answer = await world.call(
        "POST", "/v1/orders", "channel", "app", key="k", content=pieces(),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("short-stock", "Too few.", short={"MILK": 1}), 422),
        (Refused("unknown-sku", "No such SKU.", skus=["MILK"]), 422),
        (Refused("idempotency-key-reused", "Another body."), 422),
        (Refused("something-new", "Never heard of."), 422),
        (Busy("busy", "Later."), 503),
        (Unavailable("journal-away", "Later."), 503),
        (Unavailable("outcome-unknown", "Later."), 503),
    ],
)
async def test_an_error_of_the_actors_is_a_problem(error: Any, status: int) -> None:
    world = ApiWorld()
    world.runtime.replies[order.Place] = error
    answer = await place(world)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"/problems/{error.code}"
    assert problem["code"] == error.code
    assert problem["status"] == status
    assert {**problem, **error.extra} == problem
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_bug_is_a_500_problem_without_its_text() -> None:
    world = ApiWorld()
    for command, path in ((order.Place, "/v1/orders"), (order.Cancel, "/v1/orders/o/cancel")):
        world.runtime.replies[command] = RuntimeError("secret detail")
        body: Any = PLACE if command is order.Place else {"reason": "r"}
        role = "channel" if command is order.Place else "ops"
        with structlog.testing.capture_logs() as logged:
            answer = await world.call("POST", path, role, "app", key="k", json=body)
        assert [line["event"] for line in logged if line["log_level"] == "error"] == ["http.failed"]
        assert answer.status_code == 500
        assert answer.json()["code"] == "internal-error"
        assert "secret" not in answer.text


async def test_beyond_the_pending_limit_a_gateway_answers_503_at_once() -> None:
    world = ApiWorld(pending_max=2)
    released = asyncio.Event()

    async def slow(_to: str, _command: Any) -> Any:
        await released.wait()
        return ORDER_VIEW

    world.runtime.replies[order.Place] = slow
    waiting = [asyncio.create_task(place(world, key=f"k-{n}")) for n in range(2)]
    while len(world.runtime.asked) < 2:
        await asyncio.sleep(0)
    refused = await place(world, key="k-3")
    assert refused.status_code == 503
    assert refused.json()["code"] == "gateway-busy"
    assert refused.headers["retry-after"]
    assert len(world.runtime.asked) == 2
    released.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [201, 201]
    assert (await place(world, key="k-4")).status_code == 201


async def test_a_client_that_goes_away_does_not_cancel_its_command() -> None:
    world = ApiWorld()
    released, done = asyncio.Event(), asyncio.Event()

    async def slow(_to: str, _command: Any) -> Any:
        await released.wait()
        done.set()
        return ORDER_VIEW

    world.runtime.replies[order.Cancel] = slow
    messages = [
        {"type": "http.request", "body": b'{"reason":"r"}', "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        return

    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"14"),
        *((k.encode(), v.encode()) for k, v in world.headers("ops", "ana", "k").items()),
    ]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/orders/o/cancel", "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    request = asyncio.ensure_future(world.app(scope, receive, send))
    while not world.runtime.asked:
        await asyncio.sleep(0)
    released.set()
    await request
    assert done.is_set()


async def test_half_a_request_is_not_done_though_its_body_may_be_empty() -> None:
    world = ApiWorld()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        return

    headers = world.headers("store", "s1", "k") | {"content-length": "14"}
    scope = {
        "type": "http", "method": "POST", "path": "/v1/stores/s1/tickets/f1/accept",
        "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await world.app(scope, receive, send)
    assert world.runtime.asked == []


async def test_an_order_is_read_from_itself() -> None:
    world = ApiWorld()
    answer = await world.call("GET", f"/v1/orders/{ORDER_ID}", "channel", "app")
    assert answer.json()["order_id"] == ORDER_ID


async def test_an_order_that_left_memory_is_read_from_the_books_in_the_same_form() -> None:
    world = ApiWorld()
    live = (await world.call("GET", f"/v1/orders/{ORDER_ID}", "ops")).json()
    world.runtime.replies[order.Get] = Refused("unknown-order", "No.")
    world.books.rows[ORDER_ID] = plain(ORDER_VIEW)
    archived = await world.call("GET", f"/v1/orders/{ORDER_ID}", "ops")
    assert archived.json() == live


async def test_an_order_nobody_knows_is_a_404() -> None:
    world = ApiWorld()
    world.runtime.replies[order.Get] = Refused("unknown-order", "No.")
    answer = await world.call("GET", "/v1/orders/onone", "ops")
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown-order"


async def test_the_history_of_an_order_nobody_knows_is_a_404() -> None:
    world = ApiWorld()
    world.runtime.replies[order.Get] = Refused("unknown-order", "No.")
    assert (await world.call("GET", "/v1/orders/onone/history", "ops")).status_code == 404


async def test_trouble_is_not_taken_for_an_unknown_order() -> None:
    world = ApiWorld()
    world.runtime.replies[order.Get] = Unavailable("journal-away", "Later.")
    answer = await world.call("GET", f"/v1/orders/{ORDER_ID}", "ops")
    assert answer.status_code == 503


async def test_a_foreign_channels_order_looks_unknown_and_gets_no_command() -> None:
    world = ApiWorld()
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/history", None),
        ("POST", "/cancel", {"reason": "r"}),
        ("POST", "/payments", {"provider": "sandbox"}),
    ):
        answer = await world.call(
            method, f"/v1/orders/{ORDER_ID}{path}", "channel", "web", key="k", json=body
        )
        assert answer.status_code == 404
        assert answer.json()["code"] == "unknown-order"
    assert {type(asked.command) for asked in world.runtime.asked} == {order.Get}


async def test_the_channel_of_an_order_just_placed_is_not_asked_for_again() -> None:
    world = ApiWorld()
    await place(world)
    order_id = order_id_of("app", "k-1")
    await world.call(
        "POST", f"/v1/orders/{order_id}/cancel", "channel", "app", key="k", json={"reason": "r"}
    )
    assert [type(asked.command) for asked in world.runtime.asked] == [order.Place, order.Cancel]


async def test_a_state_that_no_order_has_is_refused_with_those_there_are() -> None:
    world = ApiWorld()
    answer = await world.call("GET", "/v1/orders?state=nonsense", "ops")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    (error,) = answer.json()["errors"]
    for state in ("placed", "paid", "cod_confirmed", "cancelling", "completed", "closed"):
        assert f"'{state}'" in error["message"]
    assert not world.books.asked


async def test_a_channel_lists_only_its_own_orders() -> None:
    world = ApiWorld()
    world.books.page = Page([plain(ORDER_VIEW)], "cursor")
    answer = await world.call("GET", "/v1/orders?channel=web&state=paid", "channel", "app")
    assert answer.json()["next"] == "cursor"
    assert answer.json()["items"][0]["placed_at"] == "2025-10-09T08:53:20.250000Z"
    assert world.books.asked[0]["channel"] == "app"
    assert world.books.asked[0]["state"] == "paid"
    await world.call("GET", "/v1/orders?channel=web", "ops")
    assert world.books.asked[1]["channel"] == "web"


async def test_only_operations_find_orders_by_phone_and_rider() -> None:
    world = ApiWorld()
    path = "/v1/orders?phone_ending=4542&rider_id=r-1"
    await world.call("GET", path, "ops")
    await world.call("GET", path, "channel", "app")
    asked = [(one["phone_ending"], one["rider_id"]) for one in world.books.asked]
    assert asked == [("4542", "r-1"), ("", "")]
    wrong = await world.call("GET", "/v1/orders?phone_ending=%2B4", "ops")
    assert wrong.status_code == 422


async def test_history_shows_moments() -> None:
    world = ApiWorld()
    world.books.history = [{"at": 1.5, "type": "order.paid.v1", "data": {"at": 1.5, "amount": 7}}]
    answer = await world.call("GET", f"/v1/orders/{ORDER_ID}/history", "ops")
    (step,) = answer.json()["items"]
    assert step["at"] == "1970-01-01T00:00:01.500000Z"
    assert step["data"] == {"at": "1970-01-01T00:00:01.500000Z", "amount": 7}


async def test_the_ledger_away_is_a_503_for_lists_alone() -> None:
    world = ApiWorld()
    world.books.error = Unavailable("ledger-away", "Later.")
    assert (await world.call("GET", "/v1/orders", "ops")).status_code == 503
    assert (await world.call("GET", f"/v1/orders/{ORDER_ID}", "ops")).status_code == 200


async def test_opening_a_payment_names_it_after_its_order_and_key_and_tells_where_to_pay() -> None:
    world = ApiWorld()
    path = f"/v1/orders/{ORDER_ID}/payments"
    body = {"provider": "sandbox"}
    first = await world.call("POST", path, "channel", "app", key="k", json=body)
    again = await world.call("POST", path, "channel", "app", key="k", json=body)
    other = await world.call("POST", path, "channel", "app", key="k2", json=body)
    assert first.status_code == 201
    payment_id = first.json()["payment_id"]
    assert payment_id.rsplit("-p", 1)[0] == ORDER_ID
    assert first.json()["pay_url"] == f"http://pay.example/{payment_id}"
    assert again.json() == first.json()
    assert other.json()["payment_id"] != payment_id


async def test_an_unknown_provider_is_refused_before_anything_is_sent() -> None:
    world = ApiWorld()
    answer = await world.call(
        "POST", f"/v1/orders/{ORDER_ID}/payments", "channel", "app", key="k",
        json={"provider": "cowries"},
    )  # fmt: skip
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown-provider"
    assert world.runtime.asked == []


async def test_who_cancelled_is_recorded() -> None:
    world = ApiWorld()
    path, body = f"/v1/orders/{ORDER_ID}/cancel", {"reason": "r"}
    await world.call("POST", path, "channel", "app", key="a", json=body)
    await world.call("POST", path, "ops", "ana", key="b", json=body)
    cancels = [asked for asked in world.runtime.asked if isinstance(asked.command, order.Cancel)]
    assert [cancel.command for cancel in cancels] == [
        order.Cancel("r", "customer"), order.Cancel("r", "ops:ana"),
    ]  # fmt: skip
    assert [cancel.command_id for cancel in cancels] == ["cancel:a", "cancel:b"]


async def test_remedies_carry_who_and_why() -> None:
    world = ApiWorld()
    root = f"/v1/orders/{ORDER_ID}"
    for path, body in (
        ("/refunds", {"units": [{"line_id": "l", "quantity": 2}], "reason": "broken"}),
        ("/fulfilments/f-1/reroute", {"why": "by phone", "store_id": "s-2"}),
        ("/fulfilments/f-1/close", {"why": "nobody"}),
    ):
        answer = await world.call("POST", root + path, "ops", "ana", key="k", json=body)
        assert answer.status_code == 200, answer.text
    assert [asked.command for asked in world.runtime.asked] == [
        order.RefundLines("refund:k", (order.RefundUnits("l", 2),), "broken", "ops:ana"),
        order.Reroute("f-1", "s-2", "ops:ana", "by phone"),
        order.CloseParked("f-1", "ops:ana", "nobody"),
    ]
