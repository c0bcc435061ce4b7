"""Bad input over HTTP and the whole engine: a problem that says what to do, and nothing changed."""

from typing import Any

import pytest

from domain import order
from tests.fakes.engine_world import EngineWorld, engine_world
from tests.orchestrator.test_api_engine import STORE, opened, wish

FAR = {"position": {"lat": 10.0, "lon": 10.0}, "text": "Sea 1"}
MILK = {"sku": "MILK", "quantity": 1}
WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown SKU": ({"lines": [{"sku": "MOON", "quantity": 1}]}, 422, "unknown-sku"),
    "unknown store": ({"store_id": "s-9"}, 404, "unknown-store"),
    "unknown store to collect at": (
        {"delivery": "pickup", "store_id": "s-9", "address": None}, 404, "unknown-store",
    ),
    "no zone": ({"address": FAR}, 422, "no-zone"),
    "no address": ({"address": None}, 422, "invalid-request"),
    "impossible address": (
        {"address": {"position": {"lat": 91, "lon": 0}}}, 422, "invalid-request",
    ),
    "zero units": ({"lines": [{"sku": "MILK", "quantity": 0}]}, 422, "invalid-request"),
    "negative units": ({"lines": [{"sku": "MILK", "quantity": -1}]}, 422, "invalid-request"),
    "huge units": ({"lines": [{"sku": "MILK", "quantity": 10**18}]}, 422, "invalid-request"),
    "more units than allowed": (
        {"lines": [{"sku": "MILK", "quantity": 1_000_000}]}, 422, "bad-quantity",
    ),
    "more than there is": ({"lines": [{"sku": "MILK", "quantity": 11}]}, 422, "short-stock"),
    "no lines": ({"lines": []}, 422, "invalid-request"),
    "too many lines": ({"lines": [MILK] * 5_000}, 422, "invalid-request"),
    "wrong total": ({"expected_total": 1}, 422, "wrong-total"),
    "wrong currency": ({"currency": "JPY"}, 422, "wrong-currency"),
    "a fraction of money": ({"expected_total": 1.5}, 422, "invalid-request"),
    "a number as text": ({"lines": [{"sku": "MILK", "quantity": "1"}]}, 422, "invalid-request"),
}  # fmt: skip


def heads(world: EngineWorld) -> dict[str, int]:
    """Where every journal stands: whatever is stored moves one."""
    return {str(shard): head for shard, head in world.journal.head.items()}


def is_problem(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert answer.json()["status"] == status


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_wish_is_a_problem_and_changes_nothing(name: str) -> None:
    change, status, code = WRONG[name]
    async with engine_world() as world:
        await opened(world)
        before = heads(world)
        answer = await world.call("POST", "/v1/orders", "channel", "app", wish(**change), "k")
        is_problem(answer, status, code)
        assert heads(world) == before


async def test_malformed_and_oversized_bodies_change_nothing() -> None:
    async with engine_world() as world:
        await opened(world)
        before = heads(world)
        token = world.tokens.issue("channel", "app")
        headers = {
            "authorization": f"Bearer {token}", "idempotency-key": "k",
            "content-type": "application/json",
        }  # fmt: skip
        for raw, status, code in (
            (b'{"lines": [', 400, "malformed-json"),
            (b"\xff\xfe", 400, "malformed-json"),
            (b"[]", 422, "invalid-request"),
            (b" " * (world.settings.body_bytes_max + 1), 413, "body-too-large"),
        ):
            answer = await world.http.post("/v1/orders", content=raw, headers=headers)
            is_problem(answer, status, code)
        assert heads(world) == before


async def test_foreign_tokens_change_nothing() -> None:
    async with engine_world() as world:
        await opened(world)
        await world.call("PUT", "/v1/channels/other", "ops", "ana", {})
        placed = await world.call("POST", "/v1/orders", "channel", "app", wish(), "k")
        path = f"/v1/orders/{placed.json()['order_id']}"
        before = heads(world)
        for method, where, role, subject, body, status, code in (
            ("POST", f"{path}/cancel", "channel", "other", {"reason": "x"}, 404, "unknown-order"),
            ("POST", f"{path}/cancel", "store", "s-1", {"reason": "x"}, 403, "wrong-role"),
            ("POST", "/v1/stores/s-1/pause", "store", "s-2", {"paused": True}, 403,
             "foreign-resource"),
            ("PUT", "/v1/stores/s-1", "store", "s-1", STORE, 403, "wrong-role"),
        ):  # fmt: skip
            is_problem(await world.call(method, where, role, subject, body, "x"), status, code)
        forged = await world.http.post(
            f"{path}/cancel", headers={"authorization": "Bearer e30.e30.e30"}, json={"reason": "x"}
        )
        is_problem(forged, 401, "token-invalid")
        assert heads(world) == before


async def test_the_wrong_state_is_a_409_that_says_what_is_possible() -> None:
    async with engine_world() as world:
        await opened(world)
        placed = await world.call("POST", "/v1/orders", "channel", "app", wish(), "k")
        path = f"/v1/orders/{placed.json()['order_id']}"
        await world.call("POST", f"{path}/cancel", "channel", "app", {"reason": "no"}, "c")
        answer = await world.call(
            "POST", f"{path}/payments", "channel", "app", {"provider": "sandbox"}, "p"
        )
        is_problem(answer, 409, "wrong-state")
        assert "place a new order" in answer.json()["detail"]


async def test_a_replayed_webhook_pays_once() -> None:
    async with engine_world() as world:
        await opened(world)
        placed = (await world.call("POST", "/v1/orders", "channel", "app", wish(), "k")).json()
        opened_payment = await world.call(
            "POST", f"/v1/orders/{placed['order_id']}/payments", "channel", "app",
            {"provider": "sandbox"}, "p",
        )  # fmt: skip
        payment_id = opened_payment.json()["payment_id"]
        for event_id in ("evt-1", "evt-1", "evt-2", "evt-1"):  # again, and by another event
            event = {
                "payment_id": payment_id, "status": "captured", "reference": "ref",
                "amount": placed["total"], "currency": "EUR", "event_id": event_id,
            }  # fmt: skip
            answer = await world.http.post("/v1/webhooks/sandbox", json=event)
            assert answer.json() == {"received": True}
        paid = [
            event
            async for batch in _records(world)
            for event in batch
            if isinstance(event, order.Paid)
        ]
        assert len(paid) == 1


async def _records(world: EngineWorld) -> Any:
    """The order's stored events."""
    codec = world.runtime.registry.codecs["order"]
    for shard in world.runtime.shards_of("order"):
        for _, payload in await world.journal.read(shard, 0):
            yield [event for entry in codec.record(payload).entries for event in entry.events]
