"""The OpenAPI document against the service: every route, body, example, problem and token."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from domain.bounds import OFFSET_MAX, TOTAL_MAX
from orchestrator.api import examples, problems
from orchestrator.api.access import NOT_BOUND_TO_OWNER, OPEN, ROLES_OF
from orchestrator.auth import ROLES
from orchestrator.models.order import AMOUNT_MAX
from tests.fakes.api_world import ORDER_ID, PLACE, ApiWorld

WORLD = ApiWorld()
DOCUMENT: dict[str, Any] = WORLD.app.fastapi.openapi()
PATH_VALUES = {
    "session_id": "aq3m7xk2",
    "challenge_id": "q-1", "kind": "device", "value": "phone-77", "customer_id": "c-1",
    "order_id": ORDER_ID, "fulfilment_id": f"{ORDER_ID}-1", "line_id": f"{ORDER_ID}/1",
    "campaign_id": "c-1", "store_id": "s-1", "rider_id": "r-1", "zone_id": "north",
    "parcel_id": f"{ORDER_ID}-1",
    "offer_id": "of-1", "sku": "MILK", "channel": "app", "provider": "sandbox",
    "code": "short-stock", "payment_id": f"{ORDER_ID}-pabc", "refund_id": f"{ORDER_ID}-1-short",
}  # fmt: skip
SUBJECTS = {"channel": "app", "store": "s-1", "rider": "r-1", "ops": "ana"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def guarded() -> list[str]:
    return sorted(route.replace(":path}", "}") for route in ROLES_OF)


def roles_of(route: str) -> tuple[str, ...]:
    return {one.replace(":path}", "}"): roles for one, roles in ROLES_OF.items()}[route]


def operation_of(route: str) -> dict[str, Any]:
    method, path = route.split(" ")
    found: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


def checked(schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(
        value
    )


async def call(route: str, role: str = "", subject: str = "", **more: Any) -> Any:
    method, path = route.split(" ")
    filled = re.sub(r"\{(\w+)\}", lambda match: PATH_VALUES[match[1]], path)
    content = operation_of(route).get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("example")
    query = {
        "/v1/availability": {"sku": "MILK", "lat": 1, "lon": 1},
        "/v1/ledger/stock": {"store_id": "s-1"},
    }.get(path)
    return await WORLD.call(
        method, filled, role, subject, key="key-1", json=body, params=query, **more
    )


def test_every_route_under_v1_has_its_roles_in_the_table_or_is_open() -> None:
    found = {f"{method} {path}" for method, path, _ in operations() if path.startswith("/v1/")}
    assert found == set(guarded()) | set(OPEN)


def test_routes_for_stores_and_riders_name_their_owner_unless_listed() -> None:
    for route, roles in ROLES_OF.items():
        for role, parameter in (("store", "{store_id}"), ("rider", "{rider_id}")):
            if role in roles and route not in NOT_BOUND_TO_OWNER:
                assert parameter in route, (role, route)


@pytest.mark.parametrize("route", guarded())
async def test_a_route_refuses_a_missing_a_damaged_and_a_wrong_roles_token(route: str) -> None:
    before = len(WORLD.runtime.asked), len(WORLD.runtime.told)
    missing = await call(route)
    damaged = await call(route, headers={"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."})
    assert (missing.status_code, missing.json()["code"]) == (401, "token-missing")
    assert (damaged.status_code, damaged.json()["code"]) == (401, "token-invalid")
    assert missing.headers["www-authenticate"] == "Bearer"
    for role in set(ROLES) - set(roles_of(route)):
        refused = await call(route, role, SUBJECTS[role])
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong-role")
    assert (len(WORLD.runtime.asked), len(WORLD.runtime.told)) == before


@pytest.mark.parametrize(
    "route",
    sorted(set(guarded()) - {route.replace(":path}", "}") for route in NOT_BOUND_TO_OWNER}),
)
async def test_a_store_or_rider_is_refused_what_is_anothers(route: str) -> None:
    before = len(WORLD.runtime.asked), len(WORLD.runtime.told)
    for role in {"store", "rider"} & set(roles_of(route)):
        refused = await call(route, role, "another")
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign-resource")
    assert (len(WORLD.runtime.asked), len(WORLD.runtime.told)) == before


@pytest.mark.parametrize("route", guarded())
async def test_a_route_answers_its_own_role_with_what_it_declares(route: str) -> None:
    declared = operation_of(route)["responses"]
    for role in roles_of(route):
        answer = await call(route, role, SUBJECTS[role])
        assert 200 <= answer.status_code < 300, (role, answer.text)
        assert str(answer.status_code) in declared
        content = declared[str(answer.status_code)].get("content", {})
        if "application/json" in content and content["application/json"].get("schema"):
            checked(content["application/json"]["schema"], answer.json())


@pytest.mark.parametrize(
    "route",
    [route for route in guarded() if route.startswith("POST")],
)
async def test_a_post_without_its_key_is_refused(route: str) -> None:
    role = roles_of(route)[0]
    before = len(WORLD.runtime.asked)
    answer = await call(route, role, SUBJECTS[role], headers={"idempotency-key": ""})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency-key-missing")
    assert len(WORLD.runtime.asked) == before


def test_every_post_that_changes_something_needs_a_key() -> None:
    for method, path, operation in operations():
        if method == "POST" and f"{method} {path}" in guarded():
            keys = [p for p in operation["parameters"] if p["name"] == "idempotency-key"]
            assert len(keys) == 1, path
            assert keys[0]["required"]


@pytest.mark.parametrize(
    "route", [f"{m} {p}" for m, p, operation in operations() if "requestBody" in operation]
)
async def test_a_body_has_an_example_that_is_valid_and_wrong_bodies_are_refused(
    route: str,
) -> None:
    content = operation_of(route)["requestBody"]["content"]["application/json"]
    checked(content["schema"], content["example"])
    if route in OPEN:
        return
    role = roles_of(route)[0]
    for raw, content_type, status in (
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"a":1}', "text/plain", 415),
        (b" " * 300_000, "application/json", 413),
    ):
        method, path = route.split(" ")
        filled = re.sub(r"\{(\w+)\}", lambda match: PATH_VALUES[match[1]], path)
        answer = await WORLD.call(
            method, filled, role, SUBJECTS[role], key="k", content=raw,
            headers={"content-type": content_type},
        )  # fmt: skip
        assert answer.status_code == status, (raw[:10], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert str(status) in operation_of(route)["responses"]


def test_every_example_of_an_answer_or_problem_fits_its_schema() -> None:
    for method, path, operation in operations():
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                if "example" in content:
                    checked(content["schema"], content["example"])
                for code, example in content.get("examples", {}).items():
                    assert media_type == problems.CONTENT_TYPE
                    checked(content["schema"], example["value"])
                    assert example["value"]["code"] == code
                    assert example["value"]["status"] == int(status), (method, path, code)


def test_every_route_declares_the_problems_it_can_have() -> None:
    for route in guarded():
        declared = operation_of(route)["responses"]
        assert {"401", "403", "500", "503"} <= set(declared), route
        if "requestBody" in operation_of(route):
            assert {"400", "413", "415", "422"} <= set(declared), route
        for status, response in declared.items():
            if int(status) >= 400:
                assert problems.CONTENT_TYPE in response["content"], (route, status)


def test_every_route_says_what_it_does_for_whom_and_under_which_tag() -> None:
    for method, path, operation in operations():
        assert operation.get("description"), (method, path)
        assert operation.get("tags"), (method, path)
        if f"{method} {path}" in guarded():
            assert operation["security"] == [{"bearer": []}]
            assert operation["x-roles"] == list(roles_of(f"{method} {path}"))


def values_of(schema: dict[str, Any], at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that a value of this schema may hold, and where. A schema within itself, or one
    that lets anything through, is nothing that a caller's numbers can be seen in."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        assert f"<{name}>" not in at, at
        yield from values_of(DOCUMENT["components"]["schemas"][name], f"{at}<{name}>")
        return
    kinds = [schema[word] for word in ("anyOf", "oneOf", "allOf") if word in schema]
    assert kinds or {"type", "enum", "const"} & set(schema), f"{at} may be anything"
    for one in (one for each in kinds for one in each):
        yield from values_of(one, at)
    yield at, schema
    for name, member in schema.get("properties", {}).items():
        yield from values_of(member, f"{at}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from values_of(schema[word], f"{at}[]")


def values_of_callers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything in a body or parameter of every route."""
    for method, path, operation in operations():
        for parameter in operation.get("parameters", ()):
            yield from values_of(parameter["schema"], f"{method} {path} ?{parameter['name']}")
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield from values_of(content["schema"], f"{method} {path} ")


def is_number(schema: dict[str, Any]) -> bool:
    types = schema.get("type", ())
    return bool({"integer", "number"} & {types, *([] if isinstance(types, str) else types)})


def test_every_number_that_a_caller_may_send_has_bounds_within_64_bits() -> None:
    numbers = [(at, schema) for at, schema in values_of_callers() if is_number(schema)]
    assert len(numbers) > 80
    for at, schema in numbers:
        if {"enum", "const"} & set(schema):
            continue
        highest = schema.get("maximum", schema.get("exclusiveMaximum"))
        lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
        assert highest is not None, f"{at} has no maximum: see domain/bounds.py"
        assert lowest is not None, f"{at} has no minimum"
        assert -OFFSET_MAX <= lowest <= highest <= OFFSET_MAX, at


BEYOND = [10**20, -(10**20), 10**400]


def with_number(body: dict[str, Any], path: str, number: Any) -> dict[str, Any]:
    """The body with another value at a dotted path."""
    changed: dict[str, Any] = json.loads(json.dumps(body))
    at: Any = changed
    *way, last = path.split(".")
    for name in way:
        at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
    at[last] = number
    return changed


@pytest.mark.parametrize("number", BEYOND, ids=["10**20", "-10**20", "10**400"])
@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("POST /v1/orders", "expected_total"),
        ("POST /v1/orders", "lines.0.quantity"),
        ("POST /v1/orders/{order_id}/refunds", "units.0.quantity"),
        ("PUT /v1/skus/{sku}", "price"),
        ("PUT /v1/skus/{sku}", "weight_g"),
        ("PUT /v1/skus/{sku}", "volume_ml"),
        ("PUT /v1/stores/{store_id}", "accept_s"),
        ("PUT /v1/stores/{store_id}", "freight.included_m"),
        ("PUT /v1/channels/{channel}", "quantity_max"),
        ("PUT /v1/channels/{channel}", "parked_s"),
        ("POST /v1/campaigns", "price"),
        ("POST /v1/stores/{store_id}/stock/safety", "daily_demand"),
        ("POST /v1/stores/{store_id}/stock/safety", "demand_deviation"),
        ("POST /v1/stores/{store_id}/tickets/{fulfilment_id}/collect", "cash"),
        ("POST /v1/stores/{store_id}/inbox/acknowledgements", "offset"),
        ("POST /v1/riders/{rider_id}/inbox/acknowledgements", "offset"),
    ],
)
async def test_a_number_beyond_64_bits_is_an_invalid_request_and_asks_nobody(
    route: str, path: str, number: int
) -> None:
    method, address = route.split(" ")
    example = operation_of(route)["requestBody"]["content"]["application/json"]["example"]
    filled = re.sub(r"\{(\w+)\}", lambda match: PATH_VALUES[match[1]], address)
    role = roles_of(route)[0]
    before = len(WORLD.runtime.asked)
    answer = await WORLD.call(
        method, filled, role, SUBJECTS[role], key="beyond", json=with_number(example, path, number)
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(WORLD.runtime.asked) == before


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e30", "1e999"])
async def test_a_float_is_finite(text: str) -> None:
    body = f'{{"sku":"MILK","safety":1,"daily_demand":{text}}}'
    answer = await WORLD.call(
        "POST", "/v1/stores/s-1/stock/safety", "ops", "ana", key="float", content=body,
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), answer.text


@pytest.mark.parametrize("path", ["/v1/stores/s-1/inbox", "/v1/riders/r-1/inbox"])
async def test_an_offset_beyond_64_bits_in_a_query_is_an_invalid_request(path: str) -> None:
    answer = await WORLD.call("GET", path, "ops", "ana", params={"after": 10**20})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), answer.text


def test_every_time_that_a_caller_may_send_says_its_bounds() -> None:
    times = [(at, one) for at, one in values_of_callers() if one.get("format") == "date-time"]
    assert len(times) >= 8
    for at, schema in times:
        assert "from 2000 to before 2200" in schema.get("description", "").lower(), at


BLOCK = ("PUT /v1/risk/blocks/{kind}/{value}", "until")
TIMES = [
    BLOCK,
    ("POST /v1/campaigns", "starts_at"),
    ("POST /v1/campaigns", "ends_at"),
    ("POST /v1/stores/{store_id}/stock/counts", "as_of"),
    ("POST /v1/stores/{store_id}/pause", "until"),
    ("POST /v1/stores/{store_id}/items/{sku}/pause", "until"),
    ("POST /v1/riders/{rider_id}/shift", "ends_at"),
]


async def with_time(route: str, field: str, at: str) -> httpx.Response:
    """The answer to the route's example with another time in it."""
    method, address = route.split(" ")
    example = operation_of(route)["requestBody"]["content"]["application/json"]["example"]
    filled = re.sub(r"\{(\w+)\}", lambda match: PATH_VALUES[match[1]], address)
    role = roles_of(route)[0]
    return await WORLD.call(
        method, filled, role, SUBJECTS[role], key=f"{field} {at}", json={**example, field: at}
    )


TOO_EARLY = ["0001-01-01T00:00:00+14:00", "1999-12-31T23:59:59.999Z", "2000-01-01T00:59:59+01:00"]
TOO_LATE = ["9999-12-31T23:59:59-14:00", "2200-01-01T00:00:00Z", "2199-12-31T23:00:00-01:00"]


@pytest.mark.parametrize(
    ("route", "field", "at"),
    [(*one, at) for one in TIMES for at in (TOO_EARLY[0], TOO_LATE[0])]
    + [(*BLOCK, at) for at in TOO_EARLY[1:] + TOO_LATE[1:]],
)
async def test_a_time_out_of_bounds_is_an_invalid_request_and_asks_nobody(
    route: str, field: str, at: str
) -> None:
    before = len(WORLD.runtime.asked)
    answer = await with_time(route, field, at)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid-request"), answer.text
    (wrong,) = problem["errors"]
    assert wrong["field"] == field
    assert "from 2000 to before 2200 (UTC)" in wrong["message"]
    assert len(WORLD.runtime.asked) == before


@pytest.mark.parametrize("at", ["2000-01-01T00:00:00Z", "2199-12-31T23:59:59.999Z"])
@pytest.mark.parametrize(("route", "field"), TIMES)
async def test_the_first_and_the_last_time_are_taken(route: str, field: str, at: str) -> None:
    answer = await with_time(route, field, at)
    assert 200 <= answer.status_code < 300, answer.text


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("1999-12-31T10:00:00-14:00", "2000-01-01T00:00:00Z"),
        ("2200-01-01T13:59:59+14:00", "2199-12-31T23:59:59Z"),
    ],
)
async def test_bounds_of_times_are_utc_and_what_is_within_them_is_shown_again(
    sent: str, shown: str
) -> None:
    assert (await with_time(*BLOCK, sent)).json()["until"] == shown


def test_the_documents_of_webhooks_have_the_bound_of_the_business() -> None:
    assert AMOUNT_MAX == TOTAL_MAX


def test_every_reference_in_the_document_exists() -> None:
    names = re.findall(r"#/components/schemas/([\w.]+)", str(DOCUMENT))
    assert set(names) <= set(DOCUMENT["components"]["schemas"])


def test_every_example_body_belongs_to_a_model() -> None:
    assert set(examples.BODIES) <= set(DOCUMENT["components"]["schemas"])


async def test_hot_routes_answer_the_same_behind_the_edge_and_in_front_of_it() -> None:
    inner = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=WORLD.app.fastapi), base_url="http://doorstep"
    )
    headers = WORLD.headers("channel", "app", "same")
    outer = await WORLD.call("POST", "/v1/orders", headers=headers, json=PLACE)
    behind = await inner.post("/v1/orders", headers=headers, json=PLACE)
    refused = await inner.post("/v1/orders", json=PLACE)
    assert behind.status_code == outer.status_code == 201
    assert behind.content == outer.content
    assert refused.status_code == 401


async def test_an_unknown_address_and_method_are_problems() -> None:
    nothing = await WORLD.call("GET", "/v1/nothing")
    wrong = await WORLD.call("PATCH", "/v1/orders")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not-found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method-not-allowed")
    assert "allow" in wrong.headers
