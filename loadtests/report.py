"""The chart and the tables of ``docs/performance.md``, made from kept results.

``python -m loadtests.report``: reads ``docs/performance.json`` (written by ``python -m
loadtests.bench … --save docs/performance.json``), writes ``docs/performance.svg``, and puts the
tables between the marks in ``docs/performance.md``. What is said there in words stays.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from loadtests.figures import BOUNDS, verdict
from loadtests.siblings import slowdown

__all__ = ["BEGIN", "END", "draw", "keep", "machine", "rows_of", "tables", "woven"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN = "<!-- figures: written by `python -m loadtests.report` -->"
END = "<!-- end of figures -->"

TOLD: Mapping[str, Mapping[str, str]] = {
    "place": {
        "place_per_s": "placing, orders a second",
        "place_settled_per_s": "the same until the ledger has caught up",
        "ratio_empty_fastapi": "ratio to the empty FastAPI endpoint",
        "ratio_postgres": "ratio to FastAPI + PostgreSQL",
        "ratio_redis_lua": "ratio to FastAPI + Redis Lua",
        "ratio_empty_asgi": "ratio to the empty ASGI route",
        "soldout_ratio_empty_asgi": "sold-out answers, ratio to the empty ASGI route",
        "hot_sku_ratio": "one hot stock cell, ratio to a thousand SKUs",
        "p50_ms": "p50 at the maximum rate, ms",
        "p99_ms": "p99 at the maximum rate, ms",
        "half_rate_per_s": "half of the maximum rate, orders a second",
        "half_runs": "runs at it, of which the median is told",
        "p50_half_ms": "p50 there, ms",
        "p99_half_ms": "p99 there, ms",
        "cpu_us_per_order": "processor time of an order, all processes, its books included, µs",
        "orders_checked": "orders checked",
        "oversold": "units oversold",
        "units_unexplained": "units unexplained",
        "orders_missing": "orders missing",
        "refused": "placings refused, or sold out not said as it should be",
        "lost": "requests without an answer",
        "others_failed": "requests that what it is compared with refused or did not answer",
    },
    "campaigns": {
        "ordinary_per_s": "ordinary placing, orders a second",
        "flash_per_s": "of a flash sale",
        "flash_ratio": "its ratio to ordinary placing",
        "group_open_per_s": "opening groups, orders a second",
        "group_open_ratio": "ratio to ordinary placing",
        "group_join_per_s": "joining groups, orders a second",
        "group_join_ratio": "ratio to ordinary placing",
        "page_read_p99_ms": "reading a campaign meanwhile, p99, ms",
        "groups_read_p99_ms": "reading its open groups meanwhile, p99, ms",
        "open_seats": "open seats (and open groups) of each crowded campaign, at least",
        "crowded_ordinary_per_s": "ordinary placing beside them, orders a second",
        "crowded_flash_per_s": "of the crowded flash sale",
        "crowded_flash_ratio": "its ratio to ordinary placing",
        "crowded_group_open_per_s": "opening groups in the crowded group-buy, orders a second",
        "crowded_group_open_ratio": "ratio to ordinary placing",
        "crowded_group_join_per_s": "joining groups there, orders a second",
        "crowded_group_join_ratio": "ratio to ordinary placing",
        "crowded_page_read_p99_ms": "reading a crowded campaign meanwhile, p99, ms",
        "crowded_groups_read_p99_ms": "reading its open groups meanwhile, p99, ms",
        "modest_rate_per_s": "a modest rate of ordinary orders, a second",
        "alone_p50_ms": "p50 of them alone, ms",
        "alone_p99_ms": "p99 of them alone, ms",
        "beside_p50_ms": "p50 beside as many of each crowded campaign, ms",
        "beside_p99_ms": "p99 beside them, ms",
        "beside_reads_per_s": "reads a second meanwhile",
        "beside_page_read_p99_ms": "reading a crowded campaign then, p99, ms",
        "beside_groups_read_p99_ms": "reading its open groups then, p99, ms",
        "orders_checked": "orders checked",
        "oversold": "units oversold",
        "units_unexplained": "units unexplained",
        "groups_unexplained": "groups unexplained",
        "orders_missing": "orders missing",
        "refused": "placings refused",
        "lost": "placings without an answer",
        "reads_failed": "reads that failed",
    },
    "push": {
        "orders_per_s": "orders a second",
        "p50_ms": "commit to tablet, p50, ms",
        "p99_ms": "commit to tablet, p99, ms",
        "missing": "messages missing",
        "fanout_sockets": "sockets on one gateway",
        "fanout_message_bytes": "bytes of a message",
        "fanout_deliveries_per_s": "deliveries a second, none left out",
        "fanout_p99_ms": "decision to socket at that rate, p99, ms",
    },
    "pages": {
        "tablet_paint_ms": "first paint of the tablet, ms",
        "rider_paint_ms": "first paint of the rider's page, ms",
        "monitor_paint_ms": "first paint of the monitor, ms",
        "orders_per_s": "orders a second, all stores",
        "tablet_orders": "of them on the tablet that is watched",
        "tablet_p50_ms": "commit to that tablet's screen, p50, ms",
        "tablet_p99_ms": "commit to that tablet's screen, p99, ms",
        "missing": "orders that never showed",
        "open_orders": "open orders",
        "monitor_core_percent": "the monitor with them, percent of a core",
        "monitor_core_percent_at_rate": "the same while orders come at that rate",
    },
    "soak": {
        "place_per_s": "placing, orders a second",
        "last_to_first": "last minute's rate over the first one's",
        "actors_mb_first": "actors' memory after the first minute, MB",
        "actors_mb_last": "actors' memory after the last minute, MB",
        "memory_last_to_first": "the same, last over first",
        "ledger_lag_last": "records the ledger was behind at the end",
        "ledger_lag_after": "records it was behind after waiting",
        "ledger_waited_s": "seconds that it was waited for",
        "orders_checked": "orders checked",
        "refused": "placings refused",
        "lost": "placings without an answer",
        "oversold": "units oversold",
        "units_unexplained": "units unexplained",
    },
    "recovery": {
        "open_orders": "open orders",
        "bytes_per_order": "bytes of an open order",
        "orders_answer_again_s": "orders answer again after kill -9, s",
        "stock_answers_again_s": "stock answers again, s",
        "orders_missing": "orders missing",
        "oversold": "units oversold",
        "units_unexplained": "units unexplained",
    },
    "idle": {"pss_mb": "memory (PSS), MB", "rss_mb": "memory (RSS), MB"},
    "micro": {
        "decide_place_us": "decide and apply a placing, order and stock, µs",
        "encode_order_us": "encode an order's event, µs",
        "decode_order_us": "decode an order's event, µs",
        "append_1_us": "append of 1 order, fsynced, µs",
        "append_16_us": "append of 16 orders, fsynced, µs",
        "append_256_us": "append of 256 orders, fsynced, µs",
        "encode_frame_us": "encode a message for all sockets, µs",
        "fan_out_per_socket_us": "hand it to one more socket (without the kernel's part), µs",
        "claim_1k_us": "claim in a flash sale with 1,000 open seats, µs",
        "claim_50k_us": "with 50,000, µs",
        "confirm_1k_us": "payment of such a claim with 1,000 open seats, µs",
        "confirm_50k_us": "with 50,000, µs",
        "group_open_1k_us": "open a group beside 1,000 others, µs",
        "group_open_50k_us": "beside 50,000, µs",
        "group_join_1k_us": "join one of 1,000 groups, µs",
        "group_join_50k_us": "of 50,000, µs",
        "sale_slice_1k_ms": "longest slice of a snapshot pass, 1,000 open seats, ms",
        "sale_slice_50k_ms": "50,000 open seats, ms",
        "group_slice_1k_ms": "1,000 open groups, ms",
        "group_slice_50k_ms": "50,000 open groups, ms",
    },
}
"""What is told of each benchmark, in words."""

BARS: Mapping[str, str] = {
    "empty_asgi_per_s": "empty ASGI route",
    "soldout_per_s": "Doorstep, sold out",
    "empty_fastapi_per_s": "empty FastAPI endpoint",
    "place_per_s": "Doorstep, placing",
    "redis_lua_per_s": "FastAPI + Redis Lua",
    "postgres_per_s": "FastAPI + PostgreSQL",
}
"""The chart's bars: figure of ``place`` -> what it is."""
DRAWN: Mapping[str, str] = {"place": "place_per_s", "push": "fanout_steps", "soak": "minutes"}
"""Benchmark -> the figure without which there is nothing to draw."""


def machine() -> dict[str, Any]:
    """What the figures were measured on, without anything that would name it."""
    return {
        "processors": os.cpu_count() or 0,
        "processor": _processor(),
        "beside_busy": slowdown(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "ray": version("ray"),
        "uvicorn": version("uvicorn"),
        "load_average": round(os.getloadavg()[0], 1),
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def keep(file: Path, name: str, found: dict[str, Any]) -> None:
    """Put a benchmark's result into the file beside those of the others, and what it was
    measured on."""
    kept = json.loads(file.read_bytes()) if file.exists() else {}
    kept[name] = found | {"machine": machine()}
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def rows_of(name: str, found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, found, bound) of what is told of a benchmark."""
    rows = []
    for key, words in TOLD.get(name, {}).items():
        if found.get(key) is None:
            continue
        within, bound = verdict(name, key, found[key]), ""
        if within is not None:
            bound = str(BOUNDS[name][key]) + ("" if within else ", **not reached**")
        rows.append((words, _shown(found[key]), bound))
    return rows


def tables(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """All benchmarks' tables as Markdown, each with what it was measured on."""
    parts = []
    for name in TOLD:
        if name in kept:
            rows = [f"| {words} | {found} | {bound} |" for words, found, bound in
                    rows_of(name, kept[name])]  # fmt: skip
            head = f"**`{name}`** ({_machine(kept[name]['machine'])})"
            parts.append("\n".join([head, "", "| figure | found | bound |", "| --- | --- | --- |",
                                    *rows]))  # fmt: skip
    return "\n\n".join(parts)


def woven(page: str, made: str) -> str:
    """The page with ``made`` between its marks. Raises ``ValueError`` when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page needs the lines {BEGIN!r} and {END!r}.")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def draw(kept: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """The chart: requests a second of all that was compared, and what a minute of the soak did.
    Needs matplotlib (the extra ``loadtest``)."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # The same figures give the same file: a difference is a difference of figures.
    matplotlib.rcParams.update({"svg.hashsalt": "doorstep", "svg.fonttype": "none",
                                "font.family": "sans-serif"})  # fmt: skip
    wanted = [name for name in DRAWN if _drawable(name, kept)]
    figure, axes = pyplot.subplots(
        len(wanted), 1, figsize=(8, 3 * len(wanted)), squeeze=False, layout="constrained"
    )
    paint = {"place": _draw_place, "push": _draw_push, "soak": _draw_soak}
    for axis, name in zip(axes[:, 0], wanted, strict=True):
        paint[name](axis, kept[name])
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": "loadtests.report"})
    pyplot.close(figure)


def _drawable(name: str, kept: Mapping[str, Mapping[str, Any]]) -> bool:
    return bool(kept.get(name, {}).get(DRAWN[name]))


def _draw_place(axis: Any, found: Mapping[str, Any]) -> None:
    bars = [(words, found[key], key) for key, words in BARS.items() if key in found]
    bars.sort(key=lambda bar: float(bar[1]))
    ours = {"place_per_s", "soldout_per_s"}
    drawn = axis.barh(
        [words for words, _, _ in bars], [value for _, value, _ in bars],
        color=["#1b7f5c" if key in ours else "#9aa5ad" for _, _, key in bars],
    )  # fmt: skip
    axis.bar_label(drawn, labels=[f" {value:,.0f}" for _, value, _ in bars])
    axis.set_title("Requests a second, one generator, same bodies", loc="left")
    axis.margins(x=0.12)


def _draw_push(axis: Any, found: Mapping[str, Any]) -> None:
    steps = found["fanout_steps"]
    wanted = [step["wanted_per_s"] for step in steps]
    axis.plot(wanted, wanted, color="#9aa5ad", linestyle=":", label="offered")
    axis.plot(wanted, [step["deliveries_per_s"] for step in steps], color="#1b7f5c", marker="o",
              label="delivered")  # fmt: skip
    axis.set_title(f"Deliveries a second to {found['fanout_sockets']:,} sockets", loc="left")
    axis.set_xlabel("offered a second")
    axis.legend(frameon=False)


def _draw_soak(axis: Any, found: Mapping[str, Any]) -> None:
    minutes = found["minutes"]
    numbers = range(1, len(minutes) + 1)
    axis.plot(numbers, [row["place_per_s"] for row in minutes], color="#1b7f5c", marker="o",
              label="orders a second")  # fmt: skip
    axis.set_ylim(0, 1.3 * max(row["place_per_s"] for row in minutes))
    axis.set_xlabel("minute")
    other = axis.twinx()
    other.plot(numbers, [row["actors_mb"] for row in minutes], color="#b5651d", marker="s",
               label="actors' memory, MB")  # fmt: skip
    other.set_ylim(0, 1.6 * max(row["actors_mb"] for row in minutes))
    other.spines["top"].set_visible(False)
    axis.set_title("Placing minute by minute, and memory", loc="left")
    lines = [*axis.get_lines(), *other.get_lines()]
    axis.legend(lines, [line.get_label() for line in lines], frameon=False, loc="lower right")


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _machine(it: Mapping[str, Any]) -> str:
    beside = it.get("beside_busy")
    shared = f" (beside a busy one: {beside} times the processor time)" if beside else ""
    return (
        f"{it['processors']} × {it['processor']}{shared}, {it['memory_gb']} GB, {it['system']}, "
        f"Python {it['python']}, Ray {it['ray']}; load average {it['load_average']} at the end; "
        f"{it['measured_at']}"
    )


def main(
    results: Annotated[Path, typer.Argument(help="Kept results.")] = DOCS / "performance.json",
    page: Annotated[Path, typer.Option(help="The page with the marks.")] = DOCS / "performance.md",
) -> None:
    """Write the chart beside the page, and the tables into it."""
    kept: dict[str, dict[str, Any]] = json.loads(results.read_bytes())
    page.write_text(woven(page.read_text(), tables(kept)))
    if any(_drawable(name, kept) for name in DRAWN):
        draw(kept, page.with_suffix(".svg"))


def run(arguments: Sequence[str] | None = None) -> None:
    """``python -m loadtests.report``."""
    application = typer.Typer(add_completion=False)
    application.command()(main)
    application(arguments)


if __name__ == "__main__":
    run()
