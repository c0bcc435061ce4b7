"""What CI does otherwise than a developer's run."""

import os
from pathlib import Path

import pytest
import pytest_timeout

HERE = Path(__file__).parent
STARVED = ["TimeoutError", "Timeout"]
"""How a test says that something did not come in time."""
SECOND_TRY: dict[str, list[str]] = {
    "browser": [*STARVED, "expected to"],  # as Playwright says it
    "chaos/test_killed": STARVED,
    "chaos/test_recorded_day.py": STARVED,
    "loadtests/test_scenarios.py": STARVED,
}
"""Tests of a whole service of their own (a dozen processes and, in some, a browser), and the
failures after which one of them has a second try."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In CI a test of whole processes for which something did not come in time is run once more,
    and the report says so: on a machine that others use, one starved process is not yet a defect.
    What fails twice, or in any other way, has failed. A developer sees the first failure."""
    if not os.environ.get("CI"):
        return
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        room = item.path.relative_to(HERE).as_posix()
        for name, failures in SECOND_TRY.items():
            if room.startswith(name):
                item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=failures))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A second try has a time limit of its own: the first one's ended with it."""
    if getattr(item, "execution_count", 1) > 1:
        settings = pytest_timeout._get_item_settings(item)
        item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)
