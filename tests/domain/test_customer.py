"""When a customer may pay in cash (DOMAIN, Payment: COD by customer history)."""

from typing import Any

import msgspec
import pytest

from actors.customer import KIND
from actors.engine.kind import Context, Decision
from domain.customer import CheckCod, GetStanding, RecordOrder, RecordOutcome, Standing
from domain.customer.state import (
    CORRECTION_S,
    CORRECTIONS_MAX,
    EXPIRED_S,
    OPEN_MAX,
    RECENT_MAX,
    RESERVED_S,
    CustomerState,
    standing,
)
from domain.errors import Refused


class Customer:
    """An entity driven by hand."""

    def __init__(self) -> None:
        self.state: CustomerState | None = None
        self.now = 1_000.0

    def do(self, command: Any) -> int:
        """How many events it led to."""
        decision = KIND.decide(self.state, command, Context(self.now, "c-1", "c"))
        assert isinstance(decision, Decision)
        assert decision.reply is True
        for event in decision.events:
            self.state = KIND.evolve(self.state, event)
        raw = msgspec.msgpack.encode(self.state)
        self.state = msgspec.msgpack.decode(raw, type=CustomerState | None)
        return len(decision.events)

    def denied(self, order_id: str, refusals_max: int = 2, open_max: int = 3) -> str:
        with pytest.raises(Refused) as refusal:
            self.do(CheckCod(order_id, refusals_max, open_max))
        assert refusal.value.code == "cod-denied"
        return str(refusal.value.extra["rule"])


def test_cash_is_allowed_up_to_the_number_of_open_orders() -> None:
    customer = Customer()
    for number in range(3):
        assert customer.do(CheckCod(f"o{number}", 2, 3)) == 1
        assert customer.do(RecordOrder(f"o{number}", True)) == 1
    assert customer.denied("o3") == "open-orders"
    customer.do(RecordOutcome("o0", "completed"))
    assert customer.do(CheckCod("o3", 2, 3)) == 1


def test_a_customer_is_idle_once_nothing_of_theirs_is_open() -> None:
    customer = Customer()

    def idle_since() -> float:
        assert customer.state is not None
        return KIND.finished_at(customer.state)

    customer.do(CheckCod("o1", 2, 3))
    assert idle_since() == customer.now + RESERVED_S, "the order may still be recorded"
    customer.do(RecordOrder("o1", True))
    assert idle_since() == float("inf")
    customer.now += 500.0
    customer.do(RecordOutcome("o1", "completed"))
    assert idle_since() == customer.now


def test_checking_the_same_order_again_reserves_nothing_more() -> None:
    customer = Customer()
    assert [customer.do(CheckCod("o1", 2, 1)) for _ in range(3)] == [1, 0, 0]
    customer.do(RecordOrder("o1", True))
    assert customer.do(CheckCod("o1", 2, 1)) == 0


def test_a_reservation_whose_order_never_came_lapses() -> None:
    customer = Customer()
    customer.do(CheckCod("o1", 2, 1))
    assert customer.denied("o2", open_max=1) == "open-orders"
    customer.now += RESERVED_S
    assert customer.do(CheckCod("o2", 2, 1)) == 1
    assert customer.state is not None
    assert [*customer.state.reserved] == ["o2"]


def test_refusals_at_the_door_end_cash_each_counted_once() -> None:
    customer = Customer()
    for order_id in ("o1", "o2"):
        customer.do(CheckCod(order_id, 2, 3))
        customer.do(RecordOrder(order_id, True))
        assert customer.do(RecordOutcome(order_id, "refused")) == 1
        assert customer.do(RecordOutcome(order_id, "refused")) == 0
    assert customer.denied("o3") == "refusals"
    assert customer.do(CheckCod("o3", 3, 3)) == 1


def test_online_orders_do_not_count_as_cash() -> None:
    customer = Customer()
    for number in range(5):
        customer.do(RecordOrder(f"o{number}", False))
    assert customer.do(CheckCod("o9", 2, 1)) == 1


def test_a_late_repeat_does_not_reopen_an_ended_order() -> None:
    customer = Customer()
    customer.do(RecordOrder("o1", True))
    customer.do(RecordOutcome("o1", "cancelled"))
    assert customer.do(RecordOrder("o1", True)) == 0
    assert customer.denied("o1") == "finished"


def test_no_cash_at_all_when_the_rule_allows_none() -> None:
    assert Customer().denied("o1", open_max=0) == "open-orders"
    assert Customer().denied("o1", refusals_max=0) == "refusals"


def test_an_unknown_outcome_is_refused() -> None:
    with pytest.raises(Refused, match="wrong-outcome"):
        Customer().do(RecordOutcome("o1", "lost"))


def test_the_record_stays_small_whatever_happens() -> None:
    customer = Customer()
    for number in range(OPEN_MAX + 20):
        customer.do(RecordOrder(f"o{number}", False))
    assert customer.state is not None
    assert len(customer.state.open) == OPEN_MAX
    for number in range(OPEN_MAX + 20):
        customer.do(RecordOutcome(f"o{number}", "completed"))
    assert customer.state.completed == OPEN_MAX + 20
    assert len(customer.state.recent) == RECENT_MAX
    assert len(msgspec.msgpack.encode(customer.state)) < 300


def test_expired_orders_count_for_a_week_and_a_late_payment_forgives_one() -> None:
    ana = Customer()
    assert [ana.do(RecordOutcome(f"o-{number}", "expired")) for number in range(3)] == [1, 1, 1]
    assert ana.do(RecordOutcome("o-0", "expired")) == 0
    assert ana.state is not None
    seen = standing(ana.state, ana.now)
    assert (seen.orders, seen.expired, seen.unpaid_share) == (0, 3, 1.0)
    assert ana.do(RecordOrder("o-0", cod=False)) == 1
    assert ana.do(RecordOutcome("o-0", "expired")) == 0
    seen = standing(ana.state, ana.now)
    assert (seen.orders, seen.expired) == (1, 2)
    assert standing(ana.state, ana.now + EXPIRED_S).expired == 0
    assert standing(CustomerState(), ana.now).unpaid_share == 0.0


def test_the_standing_is_told_and_old_expiries_are_bounded() -> None:
    ana = Customer()
    for number in range(RECENT_MAX + 5):
        ana.do(RecordOutcome(f"o-{number}", "expired"))
    reply = KIND.decide(ana.state, GetStanding(), Context(ana.now, "c-1", "c"))
    assert isinstance(reply, Decision)
    assert reply.reply == Standing(0, RECENT_MAX, 0)
    assert not reply.events


def abandons(customer: Customer, *held_s: float) -> Standing:
    """What is known of who cancelled so many orders unpaid, after so long each."""
    for number, seconds in enumerate(held_s):
        command = RecordOutcome(f"o-{number}", "abandoned", held_s=seconds)
        assert customer.do(command) == 1
        assert customer.do(command) == 0, "told again, it counts once"
    return standing(customer.state or CustomerState(), customer.now)


def test_orders_cancelled_unpaid_after_they_held_stock_count_for_a_week() -> None:
    ana = Customer()
    seen = abandons(ana, *[CORRECTION_S] * 3)
    assert (seen.abandoned, seen.left_unpaid, seen.unpaid_share) == (3, 3, 1.0)
    ana.do(RecordOutcome("o-9", "expired"))
    ana.do(RecordOrder("o-10", cod=False))
    seen = standing(ana.state or CustomerState(), ana.now)
    assert (seen.orders, seen.left_unpaid, seen.unpaid_share) == (1, 4, 0.8)
    assert standing(ana.state or CustomerState(), ana.now + EXPIRED_S).left_unpaid == 0


def test_a_few_corrected_carts_are_forgiven_and_further_ones_count() -> None:
    assert abandons(Customer(), *[1.0] * CORRECTIONS_MAX).left_unpaid == 0
    assert abandons(Customer(), *[CORRECTION_S - 1] * (CORRECTIONS_MAX + 4)).left_unpaid == 4
    assert abandons(Customer(), 1.0, CORRECTION_S, 2.0).left_unpaid == 1


def test_orders_cancelled_unpaid_are_remembered_up_to_a_bound() -> None:
    ana = Customer()
    seen = abandons(ana, *[600.0] * (RECENT_MAX + 5))
    assert seen.abandoned == RECENT_MAX
    assert KIND.finished_at(ana.state or CustomerState()) == ana.now
