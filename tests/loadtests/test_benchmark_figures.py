"""What benchmarks make of what they measured."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtests import bench
from loadtests.figures import BOUNDS, Bound, cost_us, quantile, ratio, rounded, verdict, wrong
from loadtests.generator import Seen
from loadtests.place import at_half, settled_rate
from loadtests.push import arrived
from loadtests.soak import last_to_first


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_the_medians() -> None:
    # The machine was ten times slower in the second round, for both.
    mine, others = [900.0, 50.0, 1_000.0], [1_000.0, 100.0, 1_000.0]
    assert ratio(mine, others) == 0.9


def test_rounds_that_one_side_lacks_are_not_compared() -> None:
    with pytest.raises(ValueError):
        ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("found", "told"), [(0.07349, 0.0735), (12.345, 12.3), (1.0, 1.0)])
def test_small_ratios_keep_their_digits(found: float, told: float) -> None:
    assert rounded(found) == told


def test_a_quantile_is_a_value_that_occurred() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert quantile(values, 0.5) == 51.0
    assert quantile(values, 0.99) == 100.0
    assert quantile([], 0.99) == 0.0


def test_of_what_came_to_no_tablet_all_is_missing_and_nothing_was_quick() -> None:
    nothing = arrived([], missing=40)
    assert nothing == {
        "messages": 0, "missing": 40, "p50_ms": None, "p99_ms": None, "max_ms": None
    }  # fmt: skip
    assert verdict("push", "missing", nothing["missing"]) is False
    assert verdict("push", "p99_ms", nothing["p99_ms"]) is None
    assert arrived([3.0, 1.0], missing=0) == {
        "messages": 2, "missing": 0, "p50_ms": 3.0, "p99_ms": 3.0, "max_ms": 3.0
    }  # fmt: skip


def test_cost_is_told_per_order_the_dearest_process_first() -> None:
    before = {"gateway": 1.0, "redis": 2.0, "node-0": 0.0}
    after = {"gateway": 1.3, "redis": 2.1, "node-0": 0.4, "idle": 0.000_001}
    assert cost_us(before, after, 1_000) == {"node-0": 400, "gateway": 300, "redis": 100}
    assert list(cost_us(before, after, 1_000)) == ["node-0", "gateway", "redis"]


@pytest.mark.parametrize(
    ("bound", "within", "beyond"),
    [
        (Bound("at_least", 1.5), 1.5, 1.499),
        (Bound("at_most", 0), 0, 1),
        (Bound("below", 60), 59.99, 60),
    ],
)
def test_a_bound_says_what_is_within(bound: Bound, within: float, beyond: float) -> None:
    assert bound.holds(within)
    assert not bound.holds(beyond)


def test_figures_without_a_bound_have_no_verdict() -> None:
    assert verdict("place", "place_per_s", 1.0) is None
    assert verdict("nothing", "oversold", 1) is None
    assert verdict("push", "fanout_deliveries_per_s", None) is None
    assert verdict("place", "ratio_postgres", 10) is True
    assert verdict("place", "oversold", 1) is False


@pytest.mark.parametrize("key", [
    "oversold", "orders_missing", "units_unexplained", "refused", "lost", "others_failed",
])  # fmt: skip
def test_a_placing_that_sold_twice_lost_or_refused_is_wrong_however_quick(key: str) -> None:
    right = {"ratio_postgres": 0.1, "p99_half_ms": 900.0, "oversold": 0, "refused": 0, "lost": 0}
    assert wrong("place", right) == []
    assert wrong("place", right | {key: 1}) == [key]


@pytest.mark.parametrize(("found", "code"), [
    ({"last_to_first": 0.1, "refused": 0}, 0),
    ({"last_to_first": 1.0, "refused": 7}, 1),
    ({"last_to_first": 1.0, "lost": 1}, 1),
])  # fmt: skip
def test_a_benchmark_whose_service_was_wrong_exits_with_one_and_a_slow_one_does_not(
    found: dict[str, Any], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measured(*_: Any, **__: Any) -> dict[str, Any]:
        return found

    monkeypatch.setattr(bench, "measure_soak", measured)
    result = CliRunner().invoke(bench.app, ["soak", "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout) == found, "told all the same"


def run_of(accepted: int, elapsed_s: float = 1.0, p99_ms: float = 1.0) -> Seen:
    return Seen(
        accepted, accepted, {}, 0, elapsed_s, accepted / elapsed_s, 1.0, p99_ms, p99_ms, [], [], 0.1
    )


def test_the_settled_rate_counts_the_time_that_the_books_took_after_a_run() -> None:
    assert settled_rate([run_of(4_000, 4.0), run_of(4_000, 4.0)], [4.0, 4.0]) == 500.0


def test_one_run_with_a_pause_does_not_decide_what_half_of_the_rate_is_like() -> None:
    runs = [run_of(1, p99_ms=p99_ms) for p99_ms in (40.0, 400.0, 42.0)]
    told = at_half(runs, 100.0)
    assert (told["half_runs"], told["p99_half_ms"]) == (3, 42.0)
    assert told["p99_half_ms_by_run"] == [40.0, 400.0, 42.0]


def test_the_same_figure_may_have_another_bound_in_another_benchmark() -> None:
    assert "p99_ms" in BOUNDS["push"]
    assert "p99_ms" not in BOUNDS["place"]


def test_a_rate_that_falls_is_told_by_its_last_minute() -> None:
    assert last_to_first([1_000.0, 2_000.0, 940.0]) == 0.94
