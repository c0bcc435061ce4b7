"""Webhooks, health, readiness, metrics, clock, index and logs."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog

from domain.errors import Refused, Unavailable
from domain.order import commands as order
from orchestrator import logs
from orchestrator.settings import Settings
from tests.fakes.api_world import ORDER_ID, PLACE, ApiWorld

GOOD = {"signature": "good"}


async def webhook(world: ApiWorld, provider: str = "sandbox", **headers: str) -> Any:
    return await world.call(
        "POST", f"/v1/webhooks/{provider}", headers=headers or GOOD, content=b'{"event":1}'
    )


async def test_a_verified_webhook_reaches_the_order_of_its_payment() -> None:
    world = ApiWorld()
    answer = await webhook(world)
    assert answer.json() == {"received": True}
    (asked,) = world.runtime.asked
    assert asked.to == f"order/{ORDER_ID}"
    assert asked.command_id == "webhook:sandbox:evt-1"
    assert asked.command == order.RecordPayment(
        f"{ORDER_ID}-p1", "sandbox", "ref-1", "captured", 2_280, "USD", "evt-1"
    )


async def test_an_event_without_an_id_is_known_again_by_its_content() -> None:
    world = ApiWorld()
    world.provider.event = msgspec.structs.replace(world.provider.event, event_id="")
    await webhook(world)
    await webhook(world)
    first, second = world.runtime.asked
    assert first.command_id == second.command_id
    assert first.command_id.startswith("webhook:sandbox:")


async def test_a_forged_webhook_changes_nothing() -> None:
    world = ApiWorld()
    answer = await webhook(world, signature="bad")
    assert (answer.status_code, answer.json()["code"]) == (401, "bad-signature")
    assert world.runtime.asked == []


async def test_a_webhook_of_an_unknown_provider_is_a_404() -> None:
    world = ApiWorld()
    answer = await webhook(world, "cowries")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-provider")


async def test_a_webhook_is_acknowledged_only_when_the_order_has_it() -> None:
    world = ApiWorld()
    for error, status in (
        (Unavailable("journal-away", "Later."), 503),
        (Unavailable("outcome-unknown", "Later."), 503),
        (Refused("unknown-order", "No."), 404),
    ):
        world.runtime.replies[order.RecordPayment] = error
        assert (await webhook(world)).status_code == status


async def test_a_refunds_webhook_is_accepted_without_a_command() -> None:
    world = ApiWorld()
    world.provider.event = msgspec.structs.replace(world.provider.event, refund_id="f-1")
    assert (await webhook(world)).status_code == 200
    assert world.runtime.asked == []


async def test_a_payment_that_is_not_ours_is_a_404() -> None:
    world = ApiWorld()
    world.provider.event = msgspec.structs.replace(world.provider.event, payment_id="other")
    answer = await webhook(world)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-payment")


async def test_the_process_is_healthy_whatever_else_is_away() -> None:
    world = ApiWorld()
    world.books.error = Unavailable("ledger-away", "Gone.")
    assert (await world.call("GET", "/healthz")).text == "ok\n"


async def test_the_service_is_ready_when_every_kind_answers_even_with_unknown() -> None:
    world = ApiWorld()
    world.runtime.replies[order.Get] = Refused("unknown-order", "No.")
    answer = await world.call("GET", "/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert answer.json()["ledger_lag"] == 3


async def test_readiness_names_what_is_missing() -> None:
    world = ApiWorld()

    async def ping() -> None:
        raise Unavailable("journal-away", "Redis does not answer.")

    world.service.checks["journal"] = ping
    world.runtime.replies[order.Get] = Unavailable("outcome-unknown", "No answer.")
    answer = await world.call("GET", "/readyz")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    missing = {name for name, part in parts.items() if not part["ok"]}
    assert missing == {"journal", "actors.order"}
    assert parts["journal"]["detail"] == "journal-away: Redis does not answer."


async def test_the_service_is_ready_without_its_ledger_and_says_so() -> None:
    world = ApiWorld()
    world.books.error = Unavailable("ledger-away", "Gone.")
    answer = await world.call("GET", "/readyz")
    assert answer.status_code == 200
    assert answer.json()["parts"]["ledger"]["ok"] is False
    assert answer.json()["ledger_lag"] is None


async def test_the_clock_is_told_in_service_time() -> None:
    world = ApiWorld()
    told = (await world.call("GET", "/v1/clock")).json()
    assert told == {"now": "2025-10-09T08:53:20Z", "speed": 1.0}


def metric(text: str, name: str) -> float:
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
    )


async def test_metrics_count_requests_by_route_and_commands_by_outcome() -> None:
    world = ApiWorld()
    answered = 'doorstep_http_seconds_count{method="POST",route="/v1/orders",status="201"}'
    other = 'doorstep_http_seconds_count{method="other",route="unmatched"'
    refused = 'doorstep_commands_total{command="order.place.v1",outcome="short-stock"}'
    before = (await world.call("GET", "/metrics")).text
    await world.call("POST", "/v1/orders", "channel", "app", key="a", json=PLACE)
    world.runtime.replies[order.Place] = Refused("short-stock", "No.")
    await world.call("POST", "/v1/orders", "channel", "app", key="b", json=PLACE)
    for number in range(3):
        await world.call(f"BREW{number}", f"/v1/coffee/{number}")
    after = (await world.call("GET", "/metrics")).text
    assert metric(after, answered) - metric(before, answered) == 1
    assert metric(after, refused) - metric(before, refused) == 1
    assert metric(after, other) - metric(before, other) == 3
    assert "coffee" not in after
    assert "doorstep_commands_pending 0.0" in after


async def test_the_index_leads_people_and_programs_on() -> None:
    world = ApiWorld()
    assert "/readyz" in (await world.call("GET", "/")).json()["addresses"]
    page = await world.call("GET", "/", headers={"accept": "text/html"})
    assert '<a href="/docs">' in page.text


async def test_a_requests_id_is_kept_or_made_and_always_answered() -> None:
    world = ApiWorld()
    for path in ("/v1/clock", "/v1/availability", "/v1/nothing"):
        kept = await world.call("GET", path, headers={"x-request-id": "abc-1"})
        assert kept.headers["x-request-id"] == "abc-1"
        made = await world.call("GET", path, headers={"x-request-id": "a b"})
        assert made.headers["x-request-id"] not in ("", "a b")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def test_logs_are_json_lines_with_ids_and_without_secrets(restored_logging: None) -> None:
    stream = io.StringIO()
    logs.configure(Settings(_env_file=None, log_json=True), stream)
    world = ApiWorld()
    world.runtime.replies[order.Cancel] = RuntimeError("a bug")
    await world.call(
        "POST", "/v1/orders/o/cancel", "ops", key="k", json={"reason": "r"},
        headers={"x-request-id": "find-me"},
    )  # fmt: skip
    logs.logger("x").info("token.issued", jwt_secret="hush", order_id="o-1")
    logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
    logs.logger("x").debug("too.quiet")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    failed, issued, foreign = [line for line in lines if not line["event"].startswith("HTTP")]
    assert failed["event"] == "http.failed"
    assert failed["request_id"] == "find-me"
    assert failed["level"] == "error"
    assert "a bug" in str(failed["exception"])
    assert "authorization" not in str(failed).lower()
    assert issued["jwt_secret"] == "***"
    assert issued["order_id"] == "o-1"
    assert foreign["event"] == "from uvicorn"


def test_logs_for_people_are_plain_lines(restored_logging: None) -> None:
    stream = io.StringIO()
    logs.configure(Settings(_env_file=None, log_json=False), stream)
    logs.logger("x").info("order.placed", order_id="o-1")
    assert "order.placed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
