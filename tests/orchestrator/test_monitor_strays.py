"""Money that no order has: told by signed webhooks, shown to operations."""

from typing import Any

from msgspec.structs import replace

from domain.errors import Refused, Unavailable
from domain.order import commands as order
from domain.payment import ProviderAnswer
from orchestrator.monitor.anomalies import Anomalies
from orchestrator.monitor.flow import Flow
from orchestrator.monitor.strays import STRAYS_MAX, Strays
from tests.fakes.api_world import ORDER_ID, ORDER_VIEW, ApiWorld

T = 1_760_000_000.0
NOBODY = Refused("unknown-order", "There is no such order.")


async def webhook(world: ApiWorld, **changes: Any) -> int:
    world.provider.event = replace(world.provider.event, **changes)
    answer = await world.call(
        "POST", "/v1/webhooks/sandbox", headers={"signature": "good"}, content=b"{}"
    )
    return answer.status_code


async def shown(world: ApiWorld) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await world.call("GET", "/v1/anomalies", "ops")).json()["items"]
    return items


async def test_captured_money_of_an_order_nobody_knows_is_shown_once() -> None:
    world = ApiWorld()
    world.runtime.replies[order.RecordPayment] = NOBODY
    assert await webhook(world, occurred_at=T) == 404, "the provider sends it again"
    assert await webhook(world) == 404
    (anomaly,) = await shown(world)
    assert anomaly["code"] == "payment-without-order"
    assert anomaly["ids"] == {"payment_id": f"{ORDER_ID}-p1", "provider": "sandbox"}
    assert anomaly["facts"] == {"provider": "sandbox", "taken": 2_280, "currency": "USD"}
    assert anomaly["since"] == "2025-10-09T08:53:20.000Z"


async def test_captured_money_of_no_payment_of_ours_is_shown() -> None:
    world = ApiWorld()
    assert await webhook(world, payment_id="somebody's") == 404
    (anomaly,) = await shown(world)
    assert anomaly["ids"] == {"payment_id": "somebody's", "provider": "sandbox"}


async def test_only_captured_money_is_shown_and_only_if_no_order_has_it() -> None:
    world = ApiWorld()
    assert await webhook(world) == 200
    for error in (NOBODY, Refused("wrong-provider", "No."), Unavailable("journal-away", "Later.")):
        world.runtime.replies[order.RecordPayment] = error
        status = "failed" if error is NOBODY else "captured"
        assert await webhook(world, status=status) >= 400
    assert await shown(world) == []


async def test_it_ends_when_an_order_has_it_after_all() -> None:
    world = ApiWorld()
    world.runtime.replies[order.RecordPayment] = NOBODY
    await webhook(world)
    world.runtime.replies[order.RecordPayment] = ORDER_VIEW
    assert await webhook(world) == 200
    assert await shown(world) == []


async def test_it_ends_when_the_provider_gave_it_back_whole() -> None:
    world = ApiWorld()
    world.runtime.replies[order.RecordPayment] = NOBODY
    await webhook(world)
    await webhook(world, refund_id="by hand 1", status="refused")
    await webhook(world, refund_id="by hand 2", status="refunded", amount=2_000)
    assert len(await shown(world)) == 1
    await webhook(world, refund_id="by hand 3", status="refunded", amount=2_280)
    assert await shown(world) == []


def captured(number: int = 1) -> ProviderAnswer:
    return ProviderAnswer(f"o1-p{number}", "captured", "ref", 500, "EUR")


def test_what_webhooks_told_outlives_a_reload_of_the_feed() -> None:
    flow = Flow(lambda: T, {})
    flow.payment("sandbox", captured(), False)
    before = flow.anomalies.all()
    flow.reset()
    assert flow.anomalies.all() == before
    assert flow.anomalies.counts() == {"payment-without-order": 1}
    flow.payment("sandbox", captured(), True)
    assert flow.anomalies.all() == []


def test_a_provider_gone_wild_does_not_hide_what_else_is_wrong() -> None:
    anomalies = Anomalies()
    strays = Strays(anomalies)
    for number in range(STRAYS_MAX + 10):
        strays.heard("sandbox", captured(number), False, T + number)
    assert anomalies.counts() == {"payment-without-order": STRAYS_MAX}
    assert anomalies.all()[0].ids["payment_id"] == "o1-p10", "the latest are shown"
