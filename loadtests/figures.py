"""Arithmetic of benchmarks: ratios round by round, quantiles, and which figures are in bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

__all__ = ["BOUNDS", "Bound", "cost_us", "quantile", "ratio", "rounded", "verdict", "wrong"]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure must not leave: ``at_least``, ``at_most``, or ``below``."""

    kind: Literal["at_least", "at_most", "below"]
    value: float
    decides: bool = False
    """Beyond it the service is wrong, not slow: the benchmark has failed."""

    def holds(self, found: float) -> bool:
        """Whether ``found`` is within."""
        match self.kind:
            case "at_least":
                return found >= self.value
            case "at_most":
                return found <= self.value
            case "below":
                return found < self.value

    def __str__(self) -> str:
        sign = {"at_least": "≥", "at_most": "≤", "below": "<"}[self.kind]
        return f"{sign} {self.value:,g}"


NONE = Bound("at_most", 0, decides=True)

BOUNDS: Mapping[str, Mapping[str, Bound]] = {
    "place": {
        "ratio_empty_fastapi": Bound("at_least", 1.5),
        "ratio_postgres": Bound("at_least", 10),
        "ratio_redis_lua": Bound("at_least", 4),
        "ratio_empty_asgi": Bound("at_least", 0.5),
        "soldout_ratio_empty_asgi": Bound("at_least", 0.7),
        "hot_sku_ratio": Bound("at_least", 0.95),
        "p99_half_ms": Bound("below", 60),
        "oversold": NONE,
        "orders_missing": NONE,
        "units_unexplained": NONE,
        "refused": NONE,
        "lost": NONE,
        "others_failed": NONE,
    },
    "campaigns": {
        "flash_ratio": Bound("at_least", 0.8),
        "group_open_ratio": Bound("at_least", 0.7),
        "group_join_ratio": Bound("at_least", 0.7),
        "crowded_flash_ratio": Bound("at_least", 0.8),
        "crowded_group_open_ratio": Bound("at_least", 0.7),
        "crowded_group_join_ratio": Bound("at_least", 0.7),
        "beside_p99_ms": Bound("below", 60),
        "beside_page_read_p99_ms": Bound("below", 100),
        "beside_groups_read_p99_ms": Bound("below", 100),
        "oversold": NONE,
        "orders_missing": NONE,
        "units_unexplained": NONE,
        "groups_unexplained": NONE,
        "refused": NONE,
        "lost": NONE,
        "reads_failed": NONE,
    },
    "push": {
        "orders_per_s": Bound("at_least", 495),
        "p99_ms": Bound("below", 100),
        "missing": NONE,
        "fanout_sockets": Bound("at_least", 5_000),
        "fanout_deliveries_per_s": Bound("at_least", 30_000),
    },
    "pages": {
        "tablet_paint_ms": Bound("below", 1_000),
        "rider_paint_ms": Bound("below", 1_000),
        "monitor_paint_ms": Bound("below", 1_000),
        "tablet_p99_ms": Bound("at_most", 300),
        "missing": NONE,
        "monitor_core_percent": Bound("at_most", 25),
    },
    "soak": {
        "last_to_first": Bound("at_least", 0.95),
        "refused": NONE,
        "lost": NONE,
        "oversold": NONE,
        "units_unexplained": NONE,
    },
    "recovery": {
        "bytes_per_order": Bound("at_most", 6_000),
        "orders_answer_again_s": Bound("at_most", 5),
        "stock_answers_again_s": Bound("at_most", 5),
        "oversold": NONE,
        "orders_missing": NONE,
        "units_unexplained": NONE,
    },
    "micro": {
        "sale_slice_1k_ms": Bound("at_most", 5),
        "sale_slice_50k_ms": Bound("at_most", 5),
        "group_slice_1k_ms": Bound("at_most", 5),
        "group_slice_50k_ms": Bound("at_most", 5),
    },
    "idle": {"pss_mb": Bound("at_most", 1_500)},
}
"""By benchmark and figure."""


def verdict(name: str, key: str, found: Any) -> bool | None:
    """Whether a figure of a benchmark is within its bound; None where it has none."""
    bound = BOUNDS.get(name, {}).get(key)
    return None if bound is None or found is None else bound.holds(found)


def wrong(name: str, found: Mapping[str, Any]) -> list[str]:
    """The figures of a benchmark that are beyond a bound which decides: for each of them something
    was sold twice, lost or refused. Slow figures are not among them."""
    bounds = BOUNDS.get(name, {})
    return [
        key
        for key, bound in bounds.items()
        if bound.decides and verdict(name, key, found.get(key)) is False
    ]


def ratio(mine: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios round by round: a machine that is slower for a while, and then is
    slower for both, does not decide. Raises ``ValueError`` for rounds of unequal number."""
    return median(one / other for one, other in zip(mine, others, strict=True))


def rounded(ratios: float) -> float:
    """To three significant figures, so that a ratio of 0.07 still says something."""
    return float(f"{ratios:.3g}")


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of all lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def cost_us(before: Mapping[str, float], after: Mapping[str, float], count: int) -> dict[str, int]:
    """Microseconds of processor time per thing done and process, the dearest first; a process that
    took less than 5 µs is left out. A fair measure on a busy machine."""
    spent = {
        name: (seconds - before.get(name, 0.0)) / count * 1e6 for name, seconds in after.items()
    }
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {name: round(micros) for name, micros in ordered if micros > 5}
