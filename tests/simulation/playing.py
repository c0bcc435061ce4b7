"""Playing one seed inside a test."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from actors.engine import feed, shell
from domain import parts
from tests.simulation.loop import run
from tests.simulation.world import World

__all__ = ["play", "quiet_engine"]

TAIL = 60
"""Lines of history that a failing seed prints."""


@pytest.fixture(autouse=True)
def quiet_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For every test of a module that imports it: idle readers sleep long, logs are quiet."""
    monkeypatch.setattr(feed, "WAIT_S", 60.0)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


def play(
    seed: int, monkeypatch: pytest.MonkeyPatch, *, quiet: bool = False, **changes: Any
) -> World:
    """One seed's day, audited; a failure prints the seed and how its history ended."""
    worlds: list[World] = []

    async def day() -> None:
        world = World(seed, **changes)
        worlds.append(world)
        monkeypatch.setattr(shell, "SNAPSHOT_EVERY_S", world.weather.snapshot_every_s)
        monkeypatch.setattr(shell, "SNAPSHOT_EVERY_RECORDS", world.weather.snapshot_every_records)
        monkeypatch.setattr(shell, "SNAPSHOT_SLICE", world.weather.snapshot_slice)
        monkeypatch.setattr(shell, "SNAPSHOT_SLICE_BYTES", 1)
        monkeypatch.setattr(parts, "PAGE_ENTRIES", 2)
        await world.play()

    try:
        run(day())
    except BaseException:
        if not quiet:
            print(f"seed {seed} failed; replay it with DOORSTEP_SIMULATION_SEED={seed}")
            print("\n".join(line for world in worlds for line in world.history[-TAIL:]))
        raise
    return worlds[0]
