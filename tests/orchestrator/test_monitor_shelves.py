"""Stock-takes that differ from the books, as the monitor shows them."""

from typing import Any

import msgspec

from actors.engine.codec import encode
from domain import inventory
from domain.inventory import rules
from domain.inventory.state import InventoryState, evolve
from orchestrator.monitor.anomalies import Anomalies
from orchestrator.monitor.shelves import MISMATCHES_MAX, Shelves

T = 1_760_000_000.0
HOUR_S = 3_600.0


class Store:
    """The stock of one store, and a monitor that hears of it."""

    def __init__(self) -> None:
        self.state = InventoryState()
        self.anomalies = Anomalies()
        self.shelves = Shelves(self.anomalies)

    def happen(self, events: list[Any]) -> None:
        for event in events:
            self.state = evolve(self.state, event)
            self.shelves.apply("s-1", event, getattr(event, "at", T))

    def receive(self, units: int, at: float, sku: str = "tea") -> None:
        items = (inventory.StockItem(sku, units),)
        self.happen([inventory.Received(f"receipt:{at}", items, "ops:ana", at=at)])

    def count(self, counted: int, as_of: float, now: float | None = None, sku: str = "tea") -> None:
        now = as_of if now is None else now
        command = inventory.Count(f"count:{as_of}:{now}:{sku}", sku, counted, as_of, "store:s-1")
        self.happen(rules.count(self.state, command, now))

    def found(self) -> list[tuple[dict[str, str], dict[str, Any], float]]:
        return [(one.ids, one.facts, one.since) for one in self.anomalies.all()]

    def found_again(self) -> list[tuple[dict[str, str], dict[str, Any], float]]:
        """By a monitor that starts now."""
        started = Store()
        kept = msgspec.msgpack.decode(encode(self.state), type=InventoryState)
        started.shelves.load("s-1", kept, T + 9 * HOUR_S)
        return started.found()


def test_a_count_that_differs_is_shown_until_a_later_one_agrees() -> None:
    store = Store()
    store.receive(10, T)
    store.count(7, T + HOUR_S)
    where, said = {"store_id": "s-1", "sku": "tea"}, {"counted": 7, "difference": -3}
    assert store.found() == [(where, said, T + HOUR_S)]
    (anomaly,) = store.anomalies.all()
    assert anomaly.code == "count-mismatch"
    (remedy,) = anomaly.remedies
    assert remedy.path == "/v1/stores/s-1/stock/counts"
    store.count(9, T + 2 * HOUR_S)
    assert store.found() == [(where, {"counted": 9, "difference": 2}, T + HOUR_S)]
    store.count(9, T + 3 * HOUR_S)
    assert store.found() == store.found_again() == []


def test_a_count_that_agrees_is_not_shown() -> None:
    store = Store()
    store.receive(10, T)
    store.count(10, T + HOUR_S)
    assert store.found() == store.found_again() == []


def test_the_late_result_of_an_earlier_count_says_nothing_about_a_later_one() -> None:
    store = Store()
    store.receive(10, T)
    store.count(7, T + 2 * HOUR_S)
    store.count(10, T + HOUR_S, now=T + 3 * HOUR_S)
    assert [facts["difference"] for _, facts, _ in store.found()] == [-3]


def test_goods_that_come_in_do_not_settle_a_difference() -> None:
    store = Store()
    store.receive(10, T)
    store.count(7, T + HOUR_S)
    store.receive(30, T + 2 * HOUR_S)
    assert len(store.found()) == 1


def test_a_monitor_that_starts_finds_the_last_counts_that_differed() -> None:
    store = Store()
    for sku in ("tea", "milk", "bread"):
        store.receive(10, T, sku)
    store.count(7, T + HOUR_S)
    store.count(4, T + HOUR_S, sku="milk")
    store.count(4, T + 2 * HOUR_S, sku="milk")
    store.receive(5, T + 2 * HOUR_S)
    store.count(10, T + HOUR_S, now=T + 3 * HOUR_S)
    assert store.found_again() == store.found()
    assert len(store.found()) == 1


def test_a_bad_full_count_does_not_hide_what_else_is_wrong() -> None:
    store = Store()
    for number in range(MISMATCHES_MAX + 10):
        store.count(1, T + number, sku=f"sku-{number}")
    shown = store.found()
    assert len(shown) == MISMATCHES_MAX
    assert min(since for _, _, since in shown) == T + 10, "the latest are shown"
