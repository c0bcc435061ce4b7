"""Every remedy beside an anomaly works as it is given, once a person has filled in what it asks."""

from functools import reduce
from typing import Any

import pytest

from domain import dispatch, inventory, order, rider, risk, store
from domain.catalogue.model import StoreProfile
from domain.geo import Position
from domain.order.state import evolve as evolve_order
from domain.reasons import ALL_SHORT, NOT_IN_TIME
from domain.risk.state import evolve as evolve_risk
from orchestrator.monitor.flow import Flow, show_anomaly
from orchestrator.monitor.risks import LASTING_S, SHOWN_MAX
from tests.fakes.api_world import ORDER_ID, ApiWorld

T = 1_760_000_000.0
PART = f"{ORDER_ID}-1"
SHOP = Position(52.5, 13.4)
PARKED = order.FulfilmentParked(
    PART, "oven broken; call us; No further store can serve this order.", T, T + 1_800,
    "short-stock",
)  # fmt: skip
PERSON = {"why": "seen", "reason": "seen", "counted": 3, "as_of": "2026-03-01T12:00:00Z"}
"""What a person types where a remedy asks."""
REMEDIES = {
    "stuck-order": {"cancel"},
    "stuck-fulfilment": {"re-offer", "cancel"},
    "parked": {"re-route", "close"},
    "uncollected": {"cancel"},
    "cash-over-limits": {"cancel"},
    "payment-flagged": {"resolve"},
    "refund-refused": {"refund"},
    "negative-stock": {"count"},
    "count-mismatch": {"count"},
    "rider-over-cash-limit": {"remit"},
    "tablet-offline": {"pause"},
    "risk-deny": {"block-customer", "block-device"},
}


FACTS: dict[str, dict[str, Any]] = {
    "stuck-order": {},
    "stuck-fulfilment": {},
    "parked": {"reason": "oven broken; call us", "others": "short-stock"},
    "uncollected": {},
    "cash-over-limits": {"cash_due": 900, "most": 500, "currency": "USD"},
    "payment-flagged": {
        "provider": "cash", "reason": "cash-difference", "taken": 1, "due": 2, "currency": "USD",
    },
    "refund-refused": {"answer": "closed account"},
    "negative-stock": {"sellable": -2, "documents": ["d-1"]},
    "count-mismatch": {"counted": 7, "difference": -3},
    "rider-over-cash-limit": {"cash": 1_500, "limit": 1_000, "currency": "USD"},
    "tablet-offline": {"tickets": 1},
    "risk-deny": {"channel": "app", "reasons": ["blocked-device"]},
}  # fmt: skip


def parked(
    reason: str, code: str | None, detail: str = "No further store can serve this order."
) -> order.FulfilmentParked:
    return order.FulfilmentParked(PART, reason, T, T + 1_800, "short-stock", code, detail)


def flagged(reason: str, code: str | None, due: int) -> order.PaymentFlagged:
    return order.PaymentFlagged(PART, "cash", 5, "USD", reason, T, reason_code=code, due=due)


class Trouble:
    """A monitor that everything goes wrong before."""

    def __init__(self) -> None:
        self.now = T
        profile = StoreProfile("s-1", "One", SHOP, "USD", (), "north")
        self.flow = Flow(lambda: self.now, {"s-1": profile})
        self.flow.loaded()

    def happen(self, kind: str, entity: str, *events: Any) -> None:
        for event in events:
            self.flow.apply(kind, entity, event, self.now)

    def shown(self, code: str) -> dict[str, Any]:
        self.flow.advance()
        (found,) = [one for one in self.flow.anomalies.all() if one.code == code]
        return show_anomaly(found)


def placed() -> order.Placed:
    part = order.Fulfilment(PART, "s-1", "z-1", 0, 1_800, 300, 600)
    line = order.Line(f"{ORDER_ID}/1", "MILK", "Milk", 1, 500, 500, PART, ())
    return order.Placed(
        ORDER_ID, T, "app", order.Customer("c-1"), "USD", "delivery", "online", None, (line,),
        (part,), 500, 0, 500, T + 900,
    )  # fmt: skip


def trouble(code: str, rider_id: str = "") -> Trouble:
    """One anomaly of this code."""
    world = Trouble()
    paid = order.Paid(T, f"{ORDER_ID}-p1", "sandbox", "ref", 500)
    match code:
        case "stuck-order":
            world.happen("order", ORDER_ID, placed())
            world.now += 10_000
        case "stuck-fulfilment":
            world.happen("order", ORDER_ID, placed(), paid)
            world.happen("order", ORDER_ID, order.FulfilmentMoved(PART, "ready", T))
            if rider_id:
                taken = order.FulfilmentMoved(PART, "rider_assigned", T, rider_id)
                world.happen("order", ORDER_ID, taken)
            world.now += 10_000
        case "parked":
            world.happen("order", ORDER_ID, placed(), paid)
            world.happen("order", ORDER_ID, PARKED)
        case "uncollected":
            world.happen("order", ORDER_ID, placed(), paid)
            world.happen("order", ORDER_ID, order.FulfilmentUncollected(PART, T))
        case "cash-over-limits":
            world.happen("dispatch", "north", dispatch.CashEscalated(PART, 900, 500, T))
        case "risk-deny":
            visit = risk.Visit("app", ORDER_ID, "phone 7/7", "203.0.113.9")
            denied = risk.Decided("deny", ("blocked-device",), visit, T)
            world.happen("risk", "customer:c-1", denied)
        case "payment-flagged":
            flag = order.PaymentFlagged(PART, "cash", 1, "USD", "cash 1 taken, 2 due", T)
            world.happen("order", ORDER_ID, placed(), flag)
        case "refund-refused":
            done = order.RefundDone("refund:a key/with signs?", T, "closed account")
            world.happen("order", ORDER_ID, placed(), done)
        case "negative-stock":
            found = inventory.AnomalyFound("MILK", -2, ("d-1",))
            world.happen("inventory", "s-1", found)
        case "count-mismatch":
            counted = inventory.Counted("count:1", "MILK", 7, T - 60, -3, "store:s-1", at=T)
            world.happen("inventory", "s-1", counted)
        case "rider-over-cash-limit":
            shift = rider.ShiftStarted("north", "bike", SHOP, 3, 1_000, None, T)
            cash = rider.ParcelDelivered(PART, ORDER_ID, 1_500, 1_500, 0, "USD", T)
            world.happen("rider", "r-1", shift, cash)
        case "tablet-offline":
            ticket = store.OpenTicket(PART, ORDER_ID, (), "delivery", "USD", 0, T, T)
            world.happen("store", "s-1", store.TicketOpened(ticket, T))
            world.now += 10_000
    return world


@pytest.mark.parametrize("code", REMEDIES)
def test_an_anomaly_tells_its_facts_beside_its_text(code: str) -> None:
    assert trouble(code).shown(code)["facts"] == FACTS[code]


DETAIL = "No further store can serve this order."
CASH = {"provider": "cash", "reason": "cash-difference", "currency": "USD"}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("event", "facts"),
    [
        (parked("reworded; twice", ALL_SHORT), {"reason": ALL_SHORT, "others": "short-stock"}),
        (parked("oven; call us", ""), {"reason": "oven; call us", "others": "short-stock"}),
        (parked("not accepted in time", ""), {"reason": "not accepted in time",
                                              "others": "short-stock"}),
        (parked(f"not accepted in time; {DETAIL}", None, ""),
         {"reason": NOT_IN_TIME, "others": "short-stock"}),
        (parked(f"oven; call us; {DETAIL}", None, ""),
         {"reason": "oven; call us", "others": "short-stock"}),
        (flagged("reworded", "cash-difference", 7), {**CASH, "taken": 5, "due": 7}),
        (flagged("cash 5 taken, 7 due", None, 0), {**CASH, "taken": 5, "due": 7}),
    ],
)  # fmt: skip
def test_an_anomaly_goes_by_codes_and_sums_also_of_what_was_stored_before_there_were_any(
    event: Any, facts: dict[str, Any], restarted: bool
) -> None:
    world = Trouble()
    if restarted:
        events = (placed(), order.Paid(T, f"{ORDER_ID}-p1", "sandbox", "r", 1), event)
        world.flow.load("order", ORDER_ID, reduce(evolve_order, events, None))
    else:
        world.happen("order", ORDER_ID, placed(), event)
    code = "parked" if isinstance(event, order.FulfilmentParked) else "payment-flagged"
    shown = world.shown(code)
    assert shown["facts"] == facts
    if code == "parked":
        assert shown["detail"].endswith(f"; {DETAIL}).")


async def applied(remedy: dict[str, Any], api: ApiWorld) -> None:
    assert set(remedy["asks"]) <= set(PERSON), "somebody must know what to type"
    body = remedy["body"] | {name: PERSON[name] for name in remedy["asks"]}
    answer = await api.call(remedy["method"], remedy["path"], "ops", "ana", key="k", json=body)
    assert answer.status_code < 300, (remedy, answer.text)
    empty = await api.call(
        remedy["method"], remedy["path"], "ops", "ana", key="k2",
        json=body | dict.fromkeys(remedy["optional"]),
    )  # fmt: skip
    assert empty.status_code < 300, "what is optional may be left empty"


@pytest.mark.parametrize("code", REMEDIES)
@pytest.mark.parametrize("rider_id", ["", "r-1"])
async def test_every_remedy_works_as_given(code: str, rider_id: str) -> None:
    shown = trouble(code, rider_id).shown(code)
    assert {remedy["name"] for remedy in shown["remedies"]} == REMEDIES[code]
    for remedy in shown["remedies"]:
        api = ApiWorld()
        await applied(remedy, api)
        assert api.runtime.asked, "it reached an actor"


async def test_a_refund_is_named_in_its_remedy_whatever_its_id_holds() -> None:
    api = ApiWorld()
    (remedy,) = trouble("refund-refused").shown("refund-refused")["remedies"]
    await applied(remedy, api)
    command = api.runtime.asked[0].command
    assert command == order.RetryRefund("refund:a key/with signs?", "ops:ana", "seen")


async def test_a_remedy_that_worked_takes_its_anomaly_away() -> None:
    flagged, refused = trouble("payment-flagged"), trouble("refund-refused")
    flagged.happen("order", ORDER_ID, order.FlagResolved(PART, "ops:ana", "seen", T))
    refund_id = "refund:a key/with signs?"
    refused.happen("order", ORDER_ID, order.RefundRetried(refund_id, "ops:ana", "seen", T))
    assert flagged.flow.anomalies.counts() == refused.flow.anomalies.counts() == {}


@pytest.mark.parametrize(("kind", "value"), [("customer", "c-1"), ("device", "phone 7/7")])
def test_blocking_whoever_was_denied_takes_the_anomaly_away(kind: str, value: str) -> None:
    world = trouble("risk-deny")
    for other in ("c-2", "phone-8"):
        world.happen("risk", "block:x", risk.BlockPut(risk.Block(kind, other, "w", "ops:ana"), T))
    assert world.flow.anomalies.counts() == {"risk-deny": 1}
    world.happen("risk", "block:x", risk.BlockPut(risk.Block(kind, value, "w", "ops:ana"), T))
    assert world.flow.anomalies.counts() == {}


def test_a_decision_is_shown_for_an_hour_and_survives_a_restart_until_then() -> None:
    visit = risk.Visit("app", ORDER_ID)
    state = None
    for reasons in ("unpaid-orders", "device-customers"):
        state = evolve_risk(state, risk.Decided("challenge", (reasons,), visit, T))
    world = Trouble()
    world.flow.load("risk", "customer:c-1", state)
    assert world.flow.anomalies.counts() == {"risk-challenge": 1}
    world.now += LASTING_S
    world.flow.advance()
    assert world.flow.anomalies.counts() == {}
    world.flow.load("risk", "customer:c-1", state)
    assert world.flow.anomalies.counts() == {}


def test_an_attack_by_many_customers_does_not_flood_the_monitor() -> None:
    world = Trouble()
    for number in range(SHOWN_MAX + 10):
        denied = risk.Decided("deny", ("blocked-device",), risk.Visit("app", ORDER_ID), T)
        world.happen("risk", f"customer:c-{number}", denied)
    assert world.flow.anomalies.counts() == {"risk-deny": SHOWN_MAX}


def test_flags_and_refused_refunds_of_finished_orders_survive_a_restart() -> None:
    from domain.order.state import evolve

    world, state = Trouble(), None
    for event in (
        placed(),
        order.PaymentFlagged(f"{ORDER_ID}-p1", "sandbox", 1, "USD", "wrong-amount", T),
        order.RefundRequested("f-1", f"{ORDER_ID}-p1", "sandbox", 1, 0, (), "wrong-amount", T),
        order.RefundDone("f-1", T, "closed"),
        order.Cancelled("timeout", "unpaid", T),
    ):
        state = evolve(state, event)
    world.flow.load("order", ORDER_ID, state)
    assert world.flow.anomalies.counts() == {"payment-flagged": 1, "refund-refused": 1}
