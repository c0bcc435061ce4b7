import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from simulator.audit import audit, quantile
from simulator.geometry import Point
from simulator.plan import Goods, OrderPlan, Plan, StorePlan
from simulator.report import make_report, show_report
from simulator.world import Trace, World
from tests.fakes.documents import Books

MILK = Goods("milk", "Milk", 200, "2000000000015", 1_000, 1_000)
PACK = Goods("pack", "Milk ×2", 380, "2000000000022", 2_000, 2_000, components=(("milk", 2),))
CELL = {"on_hand": 7, "locked": 0, "damaged": 0}


def a_day() -> tuple[World, Books]:
    """Two customers: one paid online for a pack, one paid 449 in cash for a milk; 10 received."""
    world = World(
        Plan(
            name="test", seed=1, currency="EUR", goods=(MILK, PACK),
            stores=(StorePlan("s", "S", Point(0, 0), "z", (), {"milk": 10}),), riders=(),
            orders=(_order("a", "pack"), _order("b", "milk")),
        )
    )  # fmt: skip
    world.receive("s", {"milk": 10})
    for key, order_id in (("a", "oa"), ("b", "ob")):
        world.traces[key].wanted_at = 1_000.0
        world.acknowledge(world.traces[key], order_id, 1_000.0)
    world.traces["a"].paid["oa-p1"] = 629
    world.tickets_seen["s"] |= {"oa-1", "ob-1"}
    world.pack("s", "oa-1", [("pack", 1, 1)])
    world.pack("s", "ob-1", [("milk", 1, 1)])
    for fulfilment_id in ("oa-1", "ob-1"):
        world.carry(fulfilment_id, "r")
    world.hand_out("oa-1", 2_000.0)
    world.take_cash("ob-1", 449, rider_id="r")
    world.hand_out("ob-1", 2_500.0)
    world.remit("r", 449)
    return world, _books()


def _order(key: str, sku: str) -> OrderPlan:
    return OrderPlan(key, 0.0, "app", "c", "", "", ((sku, 1),), promise_s=1_200.0)


def _books() -> Books:
    return Books(
        orders={
            "oa": _document("oa", "pack", 380, [_payment("oa-p1", 629)]),
            "ob": {**_document("ob", "milk", 200, []), "cash_collected": 449},
        },
        stock={"s": {"milk": dict(CELL)}},
        ledger_stock={"s": {"milk": dict(CELL)}},
        accounts={
            "provider_clearing:sandbox": 629, "revenue:s": -580, "freight_revenue:s": -498,
            "cash_in_hand": 449,
        },
        statement=[
            {"type": "capture", "order_id": "oa", "payment_id": "oa-p1", "amount": 629}
        ],
        riders={"r": {"cash_held": 0}},
        unread={"s": 0},
    )  # fmt: skip


def _document(order_id: str, sku: str, amount: int, payments: list[Any]) -> dict[str, Any]:
    fulfilment_id = f"{order_id}-1"
    return {
        "order_id": order_id, "state": "completed", "total": amount + 249,
        "cash_collected": 0, "payments": payments, "refunds": [],
        "lines": [{"line_id": f"{order_id}/1", "sku": sku, "quantity": 1, "amount": amount,
                   "fulfilment_id": fulfilment_id, "refunded_amount": 0, "short_amount": 0,
                   "short_quantity": 0, "short_reason": ""}],
        "fulfilments": [{"fulfilment_id": fulfilment_id, "store_id": "s", "state": "delivered",
                         "freight": 249, "due_at": None}],
    }  # fmt: skip


def _payment(payment_id: str, amount: int) -> dict[str, Any]:
    return {"payment_id": payment_id, "state": "captured", "amount": amount}


def test_a_day_in_which_everything_agrees_is_explained() -> None:
    world, books = a_day()
    assert audit(world, books.evidence()) == []


def _lose_a_cent_at_the_door(world: World, books: Books) -> None:
    books.orders["ob"]["cash_collected"] = 448


def _lose_a_cent_in_the_ledger(world: World, books: Books) -> None:
    books.accounts["cash_in_hand"] -= 1


def _leave_a_cent_in_suspense(world: World, books: Books) -> None:
    books.accounts["suspense"] = 1


def _lose_a_unit_on_the_shelf(world: World, books: Books) -> None:
    books.stock["s"]["milk"]["on_hand"] = 8


def _lose_a_unit_in_the_documents(world: World, books: Books) -> None:
    books.ledger_stock["s"]["milk"]["on_hand"] = 6


def _keep_a_lock(world: World, books: Books) -> None:
    books.stock["s"]["milk"]["locked"] = 1


def _forget_an_order(world: World, books: Books) -> None:
    del books.orders["oa"]


def _leave_an_order_open(world: World, books: Books) -> None:
    books.orders["ob"]["state"] = "cod_confirmed"


def _capture_a_cent_more(world: World, books: Books) -> None:
    assert books.statement is not None
    books.statement[0]["amount"] = 630


def _charge_for_what_was_refunded(world: World, books: Books) -> None:
    books.orders["oa"]["lines"][0]["refunded_amount"] = 1


def _owe_a_refund(world: World, books: Books) -> None:
    refund = {"refund_id": "f", "state": "requested", "amount": 5}
    books.orders["oa"]["refunds"].append(refund)


def _give_a_parcel_to_two_riders(world: World, books: Books) -> None:
    world.carry("oa-1", "another")


def _miss_a_ticket(world: World, books: Books) -> None:
    world.tickets_seen["s"].discard("oa-1")


def _leave_the_inbox_unread(world: World, books: Books) -> None:
    books.unread["s"] = 2


def _keep_cash_in_the_pocket(world: World, books: Books) -> None:
    books.riders["r"] = {"cash_held": 7}


def _book_a_delivery_that_never_was(world: World, books: Books) -> None:
    world.traces["a"].delivered_at.clear()


def _answer_one_key_with_two_orders(world: World, books: Books) -> None:
    world.acknowledge(world.traces["a"], "oz", 1_001.0)


def _find_a_difference(world: World, books: Books) -> None:
    books.unexplained.append(
        {"check": "stock on hand is explained", "sku": "milk", "expected": 5, "found": -1}
    )


def _unbalance_the_ledger(world: World, books: Books) -> None:
    books.unbalanced["EUR"] = 1


def _refuse(world: World, code: str, **changes: Any) -> None:
    """One more customer, who was refused."""
    order = replace(_order("c", "milk"), **changes)
    world.plan = replace(world.plan, orders=(*world.plan.orders, order))
    world.traces["c"] = Trace(order, refused=code)


def _refuse_somebody_for_nothing(world: World, books: Books) -> None:
    _refuse(world, "forbidden")


def _tell_somebody_who_pays_online_that_cash_is_denied(world: World, books: Books) -> None:
    _refuse(world, "cod-denied")


def _challenge_somebody_who_never_ordered_before(world: World, books: Books) -> None:
    _refuse(world, "challenge-required", customer_id="newcomer")


def _sell_out_a_campaign_that_is_none(world: World, books: Books) -> None:
    _refuse(world, "campaign-sold-out")


def _leave_a_placing_without_an_answer(world: World, books: Books) -> None:
    _refuse(world, "")


def _cancel_every_order(world: World, books: Books) -> None:
    for order in books.orders.values():
        order["state"] = "cancelled"


def _refuse_everybody(world: World, books: Books) -> None:
    for trace in world.traces.values():
        trace.order_id, trace.refused = "", "short-stock"


@pytest.mark.parametrize(
    ("plant", "kind", "subject"),
    [
        (_refuse_somebody_for_nothing, "refusal-unexplained", "forbidden"),
        (_tell_somebody_who_pays_online_that_cash_is_denied, "refusal-unexplained", "cod-denied"),
        (
            _challenge_somebody_who_never_ordered_before,
            "refusal-unexplained",
            "challenge-required",
        ),
        (_sell_out_a_campaign_that_is_none, "refusal-unexplained", "campaign-sold-out"),
        (_leave_a_placing_without_an_answer, "placing-unanswered", "city"),
        (_refuse_everybody, "nothing-placed", "city"),
        (_cancel_every_order, "nothing-completed", "city"),
        (_lose_a_cent_at_the_door, "cash-mismatch", "ob"),
        (_lose_a_cent_in_the_ledger, "ledger-mismatch", "cash_in_hand"),
        (_leave_a_cent_in_suspense, "account-not-at-rest", "suspense"),
        (_lose_a_unit_on_the_shelf, "stock-mismatch", "s/milk"),
        (_lose_a_unit_in_the_documents, "ledger-stock-mismatch", "s/milk"),
        (_keep_a_lock, "lock-left", "s/milk"),
        (_forget_an_order, "order-lost", "oa"),
        (_leave_an_order_open, "order-stuck", "ob"),
        (_capture_a_cent_more, "statement-mismatch", "oa"),
        (_capture_a_cent_more, "payment-mismatch", "oa-p1"),
        (_charge_for_what_was_refunded, "money-mismatch", "oa"),
        (_owe_a_refund, "refund-open", "oa"),
        (_give_a_parcel_to_two_riders, "wonder", "city"),
        (_miss_a_ticket, "ticket-missed", "oa-1"),
        (_leave_the_inbox_unread, "inbox-unread", "s"),
        (_keep_cash_in_the_pocket, "rider-cash-mismatch", "r"),
        (_book_a_delivery_that_never_was, "not-delivered", "oa-1"),
        (_answer_one_key_with_two_orders, "wonder", "city"),
        (_unbalance_the_ledger, "ledger-unbalanced", "EUR"),
        (_find_a_difference, "books-unexplained", "stock on hand is explained"),
    ],
)
def test_what_was_planted_is_found(
    plant: Callable[[World, Books], None], kind: str, subject: str
) -> None:
    world, books = a_day()
    plant(world, books)
    assert (kind, subject) in {
        (finding.kind, finding.subject) for finding in audit(world, books.evidence())
    }


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("short-stock", {}),
        ("cod-denied", {"payment": "cod"}),
    ],
)
def test_a_refusal_that_the_plan_leads_to_is_explained_and_told(
    code: str, changes: dict[str, Any]
) -> None:
    report = _report(lambda world, _books: _refuse(world, code, **changes))
    assert report.explained
    assert (report.planned, report.acknowledged, report.refused) == (3, 2, {code: 1})
    text = _printed(report)
    assert f"refused: {code}" in text
    assert "1 of 3 were refused as planned" in text


def test_whoever_orders_again_and_again_may_be_challenged() -> None:
    world, books = a_day()
    _refuse(world, "challenge-required")
    orders = (*world.plan.orders, *(_order(key, "milk") for key in "def"))
    assert [finding.kind for finding in audit(world, books.evidence())] == ["refusal-unexplained"]
    world.plan = replace(world.plan, orders=orders)
    assert audit(world, books.evidence()) == []


def test_a_day_of_customers_who_all_change_their_minds_needs_no_completed_order() -> None:
    world, books = a_day()
    _cancel_every_order(world, books)
    for trace in world.traces.values():
        trace.plan = replace(trace.plan, cancels="early")
    assert "nothing-completed" not in {finding.kind for finding in audit(world, books.evidence())}


def test_a_remittance_that_was_counted_short_is_explained_by_its_difference() -> None:
    world, books = a_day()
    world.remittances.clear()
    world.pockets["r"] = 449
    world.remit("r", 440)
    books.accounts |= {"cash_in_hand": 440, "cash_difference:r": 9}
    assert audit(world, books.evidence()) == []
    books.accounts["cash_difference:r"] = 8
    assert [finding.kind for finding in audit(world, books.evidence())] == ["ledger-mismatch"]


def test_only_what_is_unwanted_stays_on_the_shelf() -> None:
    world, _ = a_day()
    reasons = {"pack": "unwanted", "milk": "substitute_refused"}
    world.pack("s", "oc-1", [("pack", 2, 1), ("milk", 3, 1)], reasons)
    assert world.missing["s", "milk"] == 2
    assert world.shelf("s", "milk") == 5 - 2 - 1
    world.put_back("oc-1")
    assert world.shelf("s", "milk") == 7 - 2


@pytest.mark.parametrize("why", ["missing", "substitute_refused", "unwanted"])
def test_a_short_that_the_order_tells_otherwise_than_its_clerk_is_unexplained(why: str) -> None:
    world, books = a_day()
    line = books.orders["ob"]["lines"][0]
    world.told["ob-1"] = {"milk": (1, why)}
    assert [finding.kind for finding in audit(world, books.evidence())] == ["short-mismatch"]
    line |= {"short_quantity": 1, "short_reason": "other"}
    assert [finding.kind for finding in audit(world, books.evidence())] == ["short-mismatch"]
    line["short_reason"] = why
    assert audit(world, books.evidence()) == []


def test_shorts_breakage_and_returns_keep_the_shelf_exact() -> None:
    world, _ = a_day()
    world.pack("s", "oc-1", [("pack", 2, 1), ("milk", 1, 1)])
    assert world.shelf("s", "milk") == 10 - 2 - 1 - 2 - 3
    world.put_back("oc-1", {"pack": 1})
    assert world.shelf("s", "milk") == 10 - 2 - 1 - 2
    assert world.broken["s", "milk"] == 2


def test_packing_that_the_service_refused_leaves_no_trace_on_the_shelf() -> None:
    world, _ = a_day()
    world.pack("s", "oc-1", [("milk", 3, 2)])
    world.unpack("oc-1")
    assert world.shelf("s", "milk") == 7


def _report(plant: Callable[[World, Books], None] | None = None) -> Any:
    world, books = a_day()
    if plant is not None:
        plant(world, books)
    findings = audit(world, books.evidence())
    return make_report(
        world, books.evidence(), findings, speed=60.0, service_s=3_600.0, real_s=60.0
    )


def _printed(report: Any) -> str:
    console = Console(width=140, record=True, file=StringIO())
    show_report(report, console)
    return " ".join(console.export_text().split())


def test_the_report_tells_states_times_and_money() -> None:
    report = _report()
    assert report.explained
    assert report.states == {"completed": 2}
    assert report.click_to_door.median_s == 1_250.0
    assert report.lateness.median_s == 50.0
    assert report.late_share == 0.5
    assert report.cash["kept"] == report.cash["placed"] == 1_078
    assert report.stock["handed out"] == 3


def test_the_json_report_holds_every_finding_and_the_verdict() -> None:
    document = json.loads(_report(_lose_a_unit_on_the_shelf).as_json())
    assert document["explained"] is False
    assert document["findings"][0]["subject"] == "s/milk"
    assert json.loads(_report().as_json())["explained"] is True


@pytest.mark.parametrize(
    ("plant", "said"), [(None, "to the unit"), (_lose_a_unit_on_the_shelf, "s/milk")]
)
def test_the_printed_report_says_what_is_unexplained(plant: Any, said: str) -> None:
    assert said in _printed(_report(plant))


def test_quantiles_lie_between_neighbours() -> None:
    assert quantile([], 0.5) == 0.0
    assert quantile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert quantile([1.0, 2.0, 3.0], 1.0) == 3.0
