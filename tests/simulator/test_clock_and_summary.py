import asyncio
import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from orchestrator.client import models
from simulator.clock import ServiceClock, seconds
from simulator.live import LiveSummary, Progress


class Real:
    """A real clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


async def test_service_time_runs_at_the_services_speed_from_its_last_reading() -> None:
    real = Real()

    async def ask() -> models.Clock:
        real.now += 0.2
        return models.Clock(datetime(2026, 3, 1, 12, tzinfo=UTC), 120.0)

    clock = ServiceClock(0.0, 1.0, real=real)
    await clock.sync(ask)
    read = seconds("2026-03-01T12:00:00+00:00")
    assert clock.now() == pytest.approx(read + 0.1 * 120.0)
    real.now += 1.0
    assert clock.now() == pytest.approx(read + 1.1 * 120.0)
    assert clock.real_s(60.0) == 0.5


async def test_waiting_until_a_moment_that_has_passed_returns_at_once() -> None:
    clock = ServiceClock(1_000.0, 1.0)
    await asyncio.wait_for(clock.sleep_until(999.0), 1.0)


@pytest.mark.parametrize("stamp", ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00"])
def test_moments_on_the_wire_are_read_with_their_offset(stamp: str) -> None:
    assert seconds(stamp) == 1_772_366_400.0
    assert seconds(ServiceClock.rfc3339(1_772_366_400.0)) == 1_772_366_400.0


async def test_without_a_terminal_the_summary_is_plain_lines_from_the_first_moment() -> None:
    screen = io.StringIO()
    progress = Progress(step="stocking stores", done=3, total=8)
    progress.states["placed"] = 2
    summary = LiveSummary(
        lambda: progress,
        addresses=(("API", "http://127.0.0.1:8080/docs"),),
        console=Console(file=screen, force_terminal=False),
    )
    async with summary:
        first = screen.getvalue()
        progress.first_delivered_real_s = 41.0
    assert "API: http://127.0.0.1:8080/docs" in first
    assert "stocking stores | 3/8 | placed 2" in first
    assert "first delivered after 41.0 s" in screen.getvalue().removeprefix(first)
    assert "\x1b[" not in screen.getvalue()


def test_the_rate_of_orders_is_taken_over_the_last_moments() -> None:
    real = Real()
    progress = Progress()
    summary = LiveSummary(lambda: progress, real=real)
    assert "0.0 orders/s" in summary.line()
    real.now, progress.placed = real.now + 5.0, 20
    assert "4.0 orders/s" in summary.line()
    real.now += 30.0
    summary.line()
    assert "0.0 orders/s" in summary.line()


def test_on_a_terminal_the_page_shows_addresses_states_and_riders() -> None:
    progress = Progress(riders_on_shift=7, riders_busy=3, anomalies=1)
    progress.states["completed"] = 5
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(LiveSummary(lambda: progress, addresses=(("API", "http://x/docs"),)).render())
    page = console.export_text()
    for said in ("http://x/docs", "completed", "7 on shift, 3 carrying", "not yet"):
        assert said in page
