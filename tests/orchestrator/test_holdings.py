"""What a gateway knows of unpaid stock, devices and addresses, without asking anybody."""

from typing import Any

import pytest

from domain.order.commands import Customer
from domain.order.events import Cancelled, Paid, Placed
from domain.order.state import evolve
from orchestrator.api.holdings import DEVICE_CUSTOMERS_MAX, DEVICE_S, GRACE_S, Holdings
from orchestrator.api.visitor import Proxies, device_of

NOW = 1_000_000.0
UNTIL = NOW + 900


def placed(order_id: str, customer: str = "c-1", total: int = 500, **change: Any) -> Placed:
    facts: dict[str, Any] = {
        "order_id": order_id, "at": NOW, "channel": "app", "customer": Customer(customer),
        "currency": "EUR", "delivery": "delivery", "payment": "online", "address": None,
        "lines": (), "fulfilments": (), "goods": total, "freight": 0, "total": total,
        "expires_at": UNTIL,
    }  # fmt: skip
    return Placed(**{**facts, **change})


def heard(*events: tuple[str, Any]) -> Holdings:
    holdings = Holdings()
    for order_id, event in events:
        holdings.apply("order", order_id, event, NOW)
    return holdings


def paid() -> Paid:
    return Paid(NOW, "o-1-p1", "sandbox", "r", 500)


def test_unpaid_orders_are_counted_with_their_value_until_paid_or_cancelled() -> None:
    holdings = heard(("o-1", placed("o-1")), ("o-2", placed("o-2", total=700)))
    assert holdings.unpaid("c-1", NOW) == (2, 1_200)
    assert holdings.unpaid("c-2", NOW) == (0, 0)
    holdings.apply("order", "o-1", paid(), NOW)
    assert holdings.unpaid("c-1", NOW) == (1, 700)
    holdings.apply("order", "o-2", Cancelled("customer", "changed my mind", NOW), NOW)
    assert holdings.unpaid("c-1", NOW) == (0, 0)
    assert holdings.left_unpaid("c-1")


def test_an_order_that_waits_for_no_payment_holds_nothing() -> None:
    holdings = heard(
        ("o-1", placed("o-1", payment="cod", expires_at=None)), ("o-2", placed("o-2", total=0))
    )
    assert holdings.unpaid("c-1", NOW) == (0, 0)


def test_an_order_that_expired_is_remembered_of_its_customer() -> None:
    holdings = heard(("o-1", placed("o-1")), ("o-1", Cancelled("timeout", "unpaid", UNTIL)))
    assert holdings.unpaid("c-1", NOW) == (0, 0)
    assert holdings.left_unpaid("c-1")
    assert not holdings.left_unpaid("c-2")


@pytest.mark.parametrize(
    ("by", "pays", "left"),
    [("customer", False, True), ("customer", True, False), ("ops:ana", False, False),
     ("rule", True, False), ("timeout", False, True)],
)  # fmt: skip
def test_an_order_is_left_unpaid_by_its_customer_and_by_its_time_as_heard_and_as_loaded(
    by: str, pays: bool, left: bool
) -> None:
    events = [placed("o-1"), *([paid()] if pays else []), Cancelled(by, "", NOW)]
    holdings = heard(*(("o-1", event) for event in events))
    assert holdings.left_unpaid("c-1") is left
    loaded, state = Holdings(), None
    for event in events:
        state = evolve(state, event)
    assert state is not None
    loaded.load("order", "o-1", state)
    assert loaded.left_unpaid("c-1") is left


def test_an_order_is_counted_from_the_moment_it_is_sent_and_once() -> None:
    holdings = Holdings()
    holdings.begin("c-1")
    holdings.begin("c-1")
    assert holdings.unpaid("c-1", NOW) == (2, 0)
    holdings.end("c-1")
    holdings.placed("o-1", "c-1", 500, UNTIL)
    assert holdings.unpaid("c-1", NOW) == (2, 500)
    holdings.apply("order", "o-1", placed("o-1"), NOW)
    holdings.end("c-1")
    assert holdings.unpaid("c-1", NOW) == (1, 500)


def test_the_late_repeat_of_an_answer_does_not_bring_a_paid_order_back() -> None:
    holdings = heard(("o-1", placed("o-1")), ("o-1", paid()))
    holdings.placed("o-1", "c-1", 500, UNTIL)
    assert holdings.unpaid("c-1", NOW) == (0, 0)


def test_an_order_whose_end_is_never_heard_of_stops_counting_after_its_time() -> None:
    holdings = heard(("o-1", placed("o-1")))
    assert holdings.unpaid("c-1", UNTIL + GRACE_S - 1) == (1, 500)
    assert holdings.unpaid("c-1", UNTIL + GRACE_S) == (0, 0)
    assert not holdings._customers


def test_loaded_states_tell_the_same_as_their_events() -> None:
    holdings = Holdings()
    state = evolve(None, placed("o-1"))
    holdings.load("order", "o-1", state)
    assert holdings.unpaid("c-1", NOW) == (1, 500)
    over = evolve(evolve(None, placed("o-2", "c-2")), Cancelled("timeout", "unpaid", NOW))
    holdings.load("order", "o-2", over)
    assert holdings.left_unpaid("c-2")
    holdings.reset()
    assert holdings.unpaid("c-1", NOW) == (0, 0)


def test_customers_of_a_device_are_told_apart_for_a_day_and_bounded() -> None:
    holdings = Holdings()
    seen = [holdings.device_customers("d-1", f"c-{n % 3}", NOW + n) for n in range(6)]
    assert seen == [1, 2, 3, 3, 3, 3]
    assert holdings.device_customers("d-1", "c-9", NOW + DEVICE_S + 4) == 2
    for number in range(2 * DEVICE_CUSTOMERS_MAX):
        found = holdings.device_customers("d-2", f"c-{number}", NOW)
    assert found == DEVICE_CUSTOMERS_MAX


@pytest.mark.parametrize(
    ("trusted", "client", "forwarded", "address"),
    [
        ("", "10.0.0.1", "203.0.113.9", "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("10.0.0.0/8", "198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", "", "10.0.0.1"),
        ("::1, 10.0.0.0/8", "::1", "2001:db8::7", "2001:db8::7"),
        ("", "::ffff:203.0.113.9", "", "203.0.113.9"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.0/104", "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9:5678", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, 10.0.0.7:80", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "[2001:db8::7]:99", "2001:db8::7"),
        ("10.0.0.0/8", "10.0.0.1", "[2001:db8::7]", "2001:db8::7"),
        ("10.0.0.0/8", "10.0.0.1", "[::ffff:203.0.113.9]:99", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, unknown:80", "10.0.0.1"),
        ("", "testclient", "", "testclient"),
    ],
)
def test_an_address_is_believed_as_far_as_trusted_proxies_wrote_it(
    trusted: str, client: str, forwarded: str, address: str
) -> None:
    headers = {b"x-forwarded-for": forwarded.encode()} if forwarded else {}
    assert Proxies(trusted).address({"client": (client, 1)}, headers) == address


def test_a_connection_without_an_address_has_none() -> None:
    assert Proxies("10.0.0.0/8").address({"client": None}, {}) == ""


@pytest.mark.parametrize(
    ("given", "device"),
    [(b"phone-77", "phone-77"), (b"", ""), (b"x" * 200, ""), (b"a\x00b", ""), (b"\xff", "")],
)
def test_a_device_is_what_its_header_says_if_that_is_decent(given: bytes, device: str) -> None:
    assert device_of({b"device-id": given}) == device
    assert device_of({}) == ""
