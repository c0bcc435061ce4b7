from typing import Any

import pytest

from orchestrator.client import Refusal, models
from simulator.clock import ServiceClock
from simulator.day import Day
from simulator.evidence import collect, open_books, read_orders
from simulator.geometry import Point
from simulator.plan import OrderPlan, Plan, RiderPlan, StorePlan
from simulator.run import fresh_tag, unsettled
from simulator.world import World
from tests.fakes.documents import whole
from tests.fakes.scripted_service import ScriptedService

HERE = Point(0.0, 0.0)


def a_day(service: ScriptedService) -> Day:
    order = OrderPlan("k", 0.0, "app", "c", "", "", (("milk", 1),), HERE)
    stores = (StorePlan("s", "S", HERE, "z", (), {"milk": 1}),)
    riders = (RiderPlan("r", "car", HERE, 0.0, 1.0, "z", 5.0),)
    plan = Plan("t", 1, "EUR", (), stores, riders, (order,))
    day = Day(plan, World(plan), ServiceClock(0.0, 1_000.0), service, lambda role, sub: "t")
    day.world.acknowledge(day.world.traces["k"], "o1", 1.0)
    return day


def an_order(state: str, **more: Any) -> models.Order:
    return whole(models.Order, {"order_id": "o1", "state": state, **more})


def captured(payment_id: str) -> list[dict[str, Any]]:
    return [{"payment_id": payment_id, "state": "captured", "amount": 5}]


@pytest.mark.parametrize("state", ["placed", "paid", "cod_confirmed", "cancelling"])
def test_the_day_is_not_over_while_an_order_is_open(state: str) -> None:
    assert unsettled(a_day(ScriptedService()), {"o1": an_order(state)}) == ["o1"]


def test_the_day_is_not_over_while_money_is_on_its_way_back() -> None:
    refund = {"refund_id": "f", "state": "requested", "amount": 5}
    order = an_order("cancelled", refunds=[refund])
    assert unsettled(a_day(ScriptedService()), {"o1": order}) == ["o1"]


def test_the_day_is_not_over_while_a_payment_was_not_heard_of() -> None:
    day = a_day(ScriptedService())
    day.world.traces["k"].paid["o1-p1"] = 5
    assert unsettled(day, {"o1": an_order("cancelled")}) == ["o1"]
    assert unsettled(day, {"o1": an_order("completed", payments=captured("o1-p1"))}) == []


def test_an_order_that_cannot_be_read_is_waited_for() -> None:
    assert unsettled(a_day(ScriptedService()), {}) == ["o1"]


async def test_settled_orders_are_not_read_again_and_lost_ones_stay_away() -> None:
    service = ScriptedService()
    service.when("GET", "/v1/orders/o1", Refusal("unknown-order", 404, ""))
    day = a_day(service)
    assert await read_orders(day) == {}
    settled = {"o1": an_order("completed")}
    assert await read_orders(day, settled) == settled
    assert len(service.asked) == 1


async def test_evidence_holds_only_what_the_day_itself_moved() -> None:
    service = ScriptedService()
    row = {"account": "cash_in_hand", "currency": "EUR", "debit": 100, "credit": 0}
    rows = [row, {**row, "account": "revenue:s", "debit": 0, "credit": 100}]
    service.when("GET", "/v1/ledger/accounts", {"items": rows})
    service.when("GET", "/v1/orders/o1", {"order_id": "o1", "state": "completed"})
    service.when("GET", "/v1/stores/s/stock", {"items": [{"sku": "milk", "on_hand": 1}]})
    service.when("GET", "/v1/ledger/stock", {"items": []})
    service.when("GET", "/v1/ledger/reconciliation", {"differences": []})
    service.when("GET", "/v1/stores/s/inbox", {"head": 9, "messages": []})
    service.when("GET", "/v1/riders/r", Refusal("unknown-rider", 404, ""))
    day = a_day(service)
    books = await open_books(day)
    later = [{**rows[0], "debit": 130}, {**rows[1], "credit": 129}]
    service.when("GET", "/v1/ledger/accounts", {"items": later})
    evidence = await collect(day, books, {"s": 7})
    assert evidence.accounts == {"cash_in_hand": 30, "revenue:s": -29}
    assert evidence.unbalanced == {"EUR": 1}
    assert evidence.unread == {"s": 2}
    assert evidence.riders == {}
    assert evidence.statement is None
    assert evidence.stock["s"]["milk"].on_hand == 1


def test_tags_are_short_and_fit_into_ids() -> None:
    tag = fresh_tag()
    assert tag.endswith("-")
    assert tag[:-1].isalnum()
    assert len(tag) <= 9
