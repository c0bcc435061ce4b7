"""Anomalies that nothing may ever clear are bounded, whatever else is wrong."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from orchestrator.monitor.anomalies import LASTING_MAX, Anomalies

T = 1_800_000_000.0


def beside(owned: int, lasting: int) -> Anomalies:
    """So many stuck orders, and then so many of what nothing clears."""
    anomalies = Anomalies()
    for number in range(owned):
        order_id = f"o{number}"
        anomalies.raise_("order-stuck", order_id, T, "It stays.", owner=order_id)
    for number in range(lasting):
        last(anomalies, number)
    return anomalies


def last(anomalies: Anomalies, number: int) -> None:
    anomalies.raise_("payment-without-order", f"p{number}", T + number, "Whose is it?")


def steps(work: Callable[[], None]) -> int:
    """How many instructions of Python it took."""
    taken = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal taken
        frame.f_trace_opcodes = True
        taken += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return taken


def test_of_lasting_ones_the_newest_are_kept_and_no_owned_one_gives_way() -> None:
    anomalies = beside(owned=LASTING_MAX + 10, lasting=LASTING_MAX + 3)
    assert anomalies.counts() == {
        "order-stuck": LASTING_MAX + 10,
        "payment-without-order": LASTING_MAX,
    }
    assert anomalies.get("payment-without-order:p2") is None
    assert anomalies.get("payment-without-order:p3") is not None
    assert "payment-without-order:p2" in anomalies.dirty


def test_one_that_is_cleared_makes_room_and_one_that_changes_keeps_its_place() -> None:
    anomalies = beside(owned=0, lasting=LASTING_MAX)
    anomalies.raise_("payment-without-order", "p0", T + 9_999, "Still nobody's.")
    anomalies.clear("payment-without-order", "p1")
    last(anomalies, LASTING_MAX)
    kept = anomalies.get("payment-without-order:p0")
    assert kept is not None
    assert (kept.since, kept.detail) == (T, "Still nobody's.")
    last(anomalies, LASTING_MAX + 1)
    assert anomalies.get("payment-without-order:p0") is None


def test_one_that_finds_an_owner_lasts_as_long_as_that() -> None:
    anomalies = beside(owned=0, lasting=1)
    anomalies.raise_("payment-without-order", "p0", T, "It is o1's.", owner="o1")
    for number in range(1, LASTING_MAX + 1):
        last(anomalies, number)
    assert anomalies.counts() == {"payment-without-order": LASTING_MAX + 1}
    anomalies.clear_owner("o1")
    assert anomalies.counts() == {"payment-without-order": LASTING_MAX}


@pytest.mark.parametrize("lasting", [1, LASTING_MAX])
def test_another_lasting_one_costs_the_same_beside_any_number_of_stuck_orders(
    lasting: int,
) -> None:
    alone, crowded = beside(0, lasting), beside(10 * LASTING_MAX, lasting)
    assert steps(lambda: last(crowded, lasting)) == steps(lambda: last(alone, lasting))
