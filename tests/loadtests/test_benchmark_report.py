"""The page and the chart made of kept results."""

import json
from pathlib import Path

import pytest

from loadtests.figures import BOUNDS
from loadtests.report import BEGIN, END, TOLD, draw, keep, main, rows_of, tables, woven

PLACE = {
    "place_per_s": 4_000.0, "ratio_empty_fastapi": 1.6, "ratio_postgres": 5.0, "oversold": 0,
    "empty_fastapi_per_s": 2_500.0, "postgres_per_s": 800.0,
}  # fmt: skip
PAGES = {"monitor_paint_ms": 272.0, "tablet_p99_ms": 310.0}
SOAK = {"minutes": [{"place_per_s": 900.0, "actors_mb": 200.0}] * 3, "last_to_first": 1.0}


def kept(folder: Path) -> Path:
    file = folder / "performance.json"
    keep(file, "place", PLACE)
    keep(file, "soak", SOAK)
    return file


def test_a_row_says_whether_the_bound_was_reached() -> None:
    rows = {words: (found, bound) for words, found, bound in rows_of("place", PLACE)}
    assert rows["placing, orders a second"] == ("4,000.0", "")
    assert rows["ratio to the empty FastAPI endpoint"] == ("1.6", "≥ 1.5")
    assert rows["ratio to FastAPI + PostgreSQL"] == ("5.0", "≥ 10, **not reached**")
    assert rows["units oversold"] == ("0", "≤ 0")


def test_whatever_has_a_bound_is_told() -> None:
    for name, bounds in BOUNDS.items():
        assert set(bounds) <= set(TOLD[name]), name
    rows = {words: (found, bound) for words, found, bound in rows_of("pages", PAGES)}
    assert rows["first paint of the monitor, ms"] == ("272.0", "< 1,000")
    assert rows["commit to that tablet's screen, p99, ms"] == ("310.0", "≤ 300, **not reached**")


def test_results_are_kept_beside_those_of_other_benchmarks(tmp_path: Path) -> None:
    file = kept(tmp_path)
    keep(file, "place", PLACE | {"place_per_s": 5_000.0})
    found = json.loads(file.read_bytes())
    assert found["place"]["place_per_s"] == 5_000.0
    assert found["soak"]["last_to_first"] == 1.0
    assert found["soak"]["machine"]["processors"] >= 1


def test_the_words_around_the_figures_stay() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nWhat was learnt.\n"
    once = woven(page, "| new |")
    assert once == f"# Title\n\n{BEGIN}\n\n| new |\n\n{END}\n\nWhat was learnt.\n"
    assert woven(once, "| new |") == once


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError):
        woven("# Title\n", "| new |")


def test_the_page_of_this_project_has_its_marks() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "performance.md"
    assert woven(page.read_text(), "made")


def test_page_and_chart_are_written_in_one_step(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "performance.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    main(kept(tmp_path), page)
    assert "| ratio to the empty FastAPI endpoint | 1.6 | ≥ 1.5 |" in page.read_text()
    chart = (tmp_path / "performance.svg").read_text()
    assert "FastAPI + PostgreSQL" in chart
    assert "4,000" in chart


def test_the_same_figures_draw_the_same_chart(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = json.loads(kept(tmp_path).read_bytes())
    draw(results, tmp_path / "a.svg")
    draw(results, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_each_benchmark_has_a_table_with_what_it_was_measured_on(tmp_path: Path) -> None:
    made = tables(json.loads(kept(tmp_path).read_bytes()))
    assert made.count("| figure | found | bound |") == 2
    assert made.count("Python 3") == 2
