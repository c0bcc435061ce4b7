"""The whole engine and all kinds on virtual time, under one seed's faults, audited.

``DOORSTEP_SIMULATION_SEEDS`` runs so many seeds, ``DOORSTEP_SIMULATION_SEED`` replays one exactly.
"""

import os

import pytest

from actors.engine import timers
from tests.simulation.playing import play, quiet_engine

pytestmark = pytest.mark.timeout(900)
"""Of real time, on a busy machine: a timeout within a virtual loop is not told as one."""

__all__ = ["quiet_engine"]

SEEDS = (
    [int(os.environ["DOORSTEP_SIMULATION_SEED"])]
    if "DOORSTEP_SIMULATION_SEED" in os.environ
    else list(range(int(os.environ.get("DOORSTEP_SIMULATION_SEEDS", "10"))))
)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_was_promised_is_broken_by_any_fault(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(seed, monkeypatch)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_nothing_breaks_where_few_timers_may_have_effects_under_way(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "UNDER_WAY_MAX", 2)
    play(seed, monkeypatch)


def test_the_same_seed_gives_the_same_history(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = play(5, monkeypatch), play(5, monkeypatch)
    assert first.digest() == second.digest()
    assert len(first.history) > 1_000
