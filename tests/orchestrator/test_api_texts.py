"""Texts that must not come in: U+0000, a line feed behind what is looked up, JSON without end."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.api_world import ORDER_ID, PLACE, ApiWorld

JSON = {"content-type": "application/json"}
DEEP = b"[" * 60_000 + b"]" * 60_000


async def sent(world: ApiWorld, path: str, role: str, subject: str, raw: bytes) -> tuple[int, Any]:
    """A POST (or the PUT of a thing) of this body: status and problem."""
    method, _, where = path.partition(" ")
    answer = await world.call(method, where, role, subject, key="k", headers=JSON, content=raw)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"note": "a\0b"}, "note"),
        ({"customer": {"customer_id": "c\0"}}, "customer.customer_id"),
        ({"lines": [{"sku": "MILK", "quantity": 1}, {"sku": "\0", "quantity": 1}]}, "lines[1].sku"),
        ({"address": {**PLACE["address"], "text": "Door\0"}}, "address.text"),
        ({"theme\0": "dark"}, "body"),
        ({"note": "C:\\u0000 is a text", "store_id": "s\0"}, "store_id"),
    ],
)
async def test_an_order_with_u0000_is_refused_and_the_field_named(change: Any, field: str) -> None:
    world = ApiWorld()
    raw = json.dumps({**PLACE, **change}).encode()
    status, problem = await sent(world, "POST /v1/orders", "channel", "app", raw)
    assert (status, problem["code"]) == (422, "invalid-request")
    assert problem["errors"][0]["field"] == field
    assert world.runtime.asked == []


@pytest.mark.parametrize(
    ("path", "role", "subject", "body", "field"),
    [
        (f"POST /v1/orders/{ORDER_ID}/cancel", "channel", "app", {"reason": "no\0"}, "reason"),
        ("POST /v1/stores/s-1/stock/receipts", "store", "s-1",
         {"items": [{"sku": "MI\0LK", "quantity": 1}]}, "items[0].sku"),
        ("POST /v1/skus", "ops", "ana", {"skus": [{"sku": "A", "name": "\0", "price": 1}]},
         "skus[0].name"),
        ("POST /v1/orders/", "channel", "app", {**PLACE, "note": "\0"}, "note"),
    ],
)  # fmt: skip
async def test_so_is_any_other_body(
    path: str, role: str, subject: str, body: Any, field: str
) -> None:
    world = ApiWorld()
    status, problem = await sent(world, path, role, subject, json.dumps(body).encode())
    assert (status, problem["code"]) == (422, "invalid-request")
    assert problem["errors"][0]["field"] == field
    assert world.runtime.asked == []


async def test_a_backslash_before_u0000_is_a_text_like_any_other() -> None:
    world = ApiWorld()
    raw = json.dumps({**PLACE, "note": "\\u0000"}).encode()
    assert b"\\\\u0000" in raw
    assert (await sent(world, "POST /v1/orders", "channel", "app", raw))[0] == 201
    assert world.runtime.asked[0].command.note == "\\u0000"  # type: ignore[attr-defined]
    path = f"POST /v1/orders/{ORDER_ID}/cancel"
    assert (await sent(world, path, "channel", "app", b'{"reason":"\\\\u0000"}'))[0] == 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le"])
async def test_json_is_utf8_so_that_nothing_hides_in_another_encoding(encoding: str) -> None:
    world = ApiWorld()
    raw = '{"reason":"\\u0000"}'.encode(encoding)
    path = f"POST /v1/orders/{ORDER_ID}/cancel"
    status, problem = await sent(world, path, "channel", "app", raw)
    assert (status, problem["code"]) == (400, "malformed-json")
    assert world.runtime.asked == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/orders/o%00", "path"),
        ("/v1/orders/o%00/history", "path"),
        ("/v1/skus/%00", "path"),
        ("/v1/dispatch/a%00", "path"),
        ("/v1/orders?limit=5&customer_id=c%00", "customer_id"),
        ("/v1/orders?after=%00", "after"),
        ("/v1/ledger/documents?kind=%00", "kind"),
        ("/v1/ledger/postings?account=%00", "account"),
        ("/v1/ledger/stock?store_id=s%00", "store_id"),
        ("/v1/orders?%00=1", "query"),
        ("/v1/availability?sku=MILK%00&lat=52.5&lon=13.4", "sku"),
    ],
)
async def test_an_address_with_u0000_is_refused_and_the_part_named(path: str, field: str) -> None:
    world = ApiWorld()
    answer = await world.call("GET", path, "ops", "ana")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert answer.json()["errors"][0]["field"] == field
    assert world.runtime.asked == []


async def test_an_escaped_percent_before_00_is_a_text_like_any_other() -> None:
    world = ApiWorld()
    answer = await world.call("GET", "/v1/orders?customer_id=%2500", "ops", "ana")
    assert answer.status_code == 200


async def test_a_webhook_with_u0000_is_refused_and_tells_no_order() -> None:
    world = ApiWorld()
    body = b'{"event":1,"reference":"r\\u0000"}'
    answer = await world.call(
        "POST", "/v1/webhooks/sandbox", headers={"signature": "good"}, content=body
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert world.runtime.asked == []


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(PLACE)[:-1].encode() + b',"x":' + DEEP + b"}",
        json.dumps(PLACE)[:-1].encode() + b',"note":"\\u0000","x":' + DEEP + b"}",
    ],
)
async def test_an_order_nested_without_end_is_malformed(raw: bytes) -> None:
    world = ApiWorld()
    status, problem = await sent(world, "POST /v1/orders", "channel", "app", raw)
    assert (status, problem["code"]) == (400, "malformed-json")


@pytest.mark.parametrize("reason", [b'"a"', b'"\\u0000"'])
async def test_so_is_any_other_body_nested_without_end(reason: bytes) -> None:
    world = ApiWorld()
    raw = b'{"reason":' + reason + b',"x":' + DEEP + b"}"
    path = f"POST /v1/orders/{ORDER_ID}/cancel"
    status, problem = await sent(world, path, "channel", "app", raw)
    assert (status, problem["code"]) == (400, "malformed-json")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"customer": {"customer_id": "c", "phone": "+49301234567\n"}}, "customer.phone"),
        ({"customer": {"customer_id": "c", "phone": "\n"}}, "customer.phone"),
        ({"currency": "USD\n"}, "currency"),
    ],
)
async def test_a_line_feed_at_the_end_passes_no_pattern(change: Any, field: str) -> None:
    world = ApiWorld()
    raw = json.dumps({**PLACE, **change}).encode()
    status, problem = await sent(world, "POST /v1/orders", "channel", "app", raw)
    assert (status, problem["errors"][0]["field"]) == (422, field)
    assert world.runtime.asked == []


async def test_nor_does_it_in_a_query() -> None:
    answer = await ApiWorld().call("GET", "/v1/orders?phone_ending=1234%0A", "ops", "ana")
    assert answer.status_code == 422


def patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from patterns(part)
    elif isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for part in schema.values():
            yield from patterns(part)


def test_the_document_shows_patterns_as_ecmascript_writes_them() -> None:
    found = set(patterns(ApiWorld().app.fastapi.openapi()))
    assert {r"^(\+[1-9][0-9]{4,14})?$", "^[A-Z]{3}$"} <= found
    for pattern in found:
        assert pattern.startswith("^"), pattern
        assert pattern.endswith("$"), pattern
