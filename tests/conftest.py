"""What CI does otherwise than a developer's run."""

import os
from pathlib import Path

import pytest
import pytest_timeout

HERE = Path(__file__).parent
STARVED = ["TimeoutError", "Timeout", "timed out"]
"""How a test says that something did not come in time."""
SECOND_TRY: dict[str, list[str]] = {
    "browser": [*STARVED, "expected to"],  # as Playwright says it
    "chaos/test_killed": STARVED,
    "chaos/test_recorded_day.py": STARVED,
    "loadtests/test_scenarios.py": STARVED,
}
"""Tests of a whole service of their own (a dozen processes and, in some, a browser), and the
failures after which one of them has a second try."""


LONGEST_FIRST = ("loadtests/test_scenarios.py", "chaos/", "browser/", "simulation/")
"""Files that take minutes each begin first, or the last of them would run alone in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of the files, and second tries.

    In CI a test of whole processes for which something did not come in time is run once more,
    and the report says so: on a machine that others use, one starved process is not yet a defect.
    What fails twice, or in any other way, has failed. A developer sees the first failure."""
    items.sort(key=lambda item: _turn(_room(item)))
    if not os.environ.get("CI"):
        return
    for item in items:
        room = _room(item)
        for name, failures in SECOND_TRY.items():
            if room.startswith(name):
                item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=failures))


def _room(item: pytest.Item) -> str:
    """The file within ``tests``; of another folder's: empty."""
    return item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""


def _turn(room: str) -> int:
    for turn, name in enumerate(LONGEST_FIRST):
        if room.startswith(name):
            return turn
    return len(LONGEST_FIRST)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A second try has a time limit of its own: the first one's ended with it."""
    if getattr(item, "execution_count", 1) > 1:
        settings = pytest_timeout._get_item_settings(item)
        item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)
