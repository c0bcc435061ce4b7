"""A day in the city while its processes are killed one after the other: nothing is lost."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.auth import tokens_of
from orchestrator.bootstrap import sandbox_key
from orchestrator.client.money import FINAL_STATES
from orchestrator.settings import Settings
from orchestrator.supervisor import Supervisor
from simulator.city import CityOptions, generate
from simulator.live import Progress
from simulator.plan import Plan
from simulator.run import fresh_tag, run

VICTIMS = ("node-0", "gateway-0", "node-1", "redis")
ORDERS = 15
SPEED = 60.0
ROUNDS = 3
ACTS_BETWEEN = 10
"""So much is done between two kills: orders placed, offers taken, parcels handed over."""
LOOK_EVERY_S = 0.05


class Killer:
    """``kill -9``: each actor, the gateway, Redis, and again; the next as soon as all of them live
    and people could get on since the last, while orders are under way."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.progress = Progress()
        self.killed: Counter[str] = Counter()
        """How often each was killed while orders were under way."""
        self._supervisor = supervisor
        self._dead: set[int] = set()

    async def work(self) -> None:
        done = 0
        for name in VICTIMS * ROUNDS:
            while not (self._under_way and self._all_live and self._done >= done):
                await asyncio.sleep(LOOK_EVERY_S)
            done = self._done + ACTS_BETWEEN
            pid = self._supervisor.pids[name]
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed[name] += self._under_way
            self._dead.add(pid)

    @property
    def _under_way(self) -> bool:
        ended = FINAL_STATES | {"refused", "delivered"}
        return any(self.progress.states[state] for state in set(self.progress.states) - ended)

    @property
    def _all_live(self) -> bool:
        pids = self._supervisor.pids
        return all(name in pids and pids[name] not in self._dead for name in VICTIMS)

    @property
    def _done(self) -> int:
        """What orders and people got done so far."""
        counts = Counter(self.progress.counts)
        return self.progress.placed + counts.total() - counts["requests repeated"]


def short_day() -> Plan:
    """A busy half hour whose riders all stay to its end: none waits for the few who would."""
    city = CityOptions(stores=4, riders=14, orders=ORDERS, hours=0.4, campaigns=2, tag=fresh_tag())
    plan = generate(11, city)
    return replace(plan, riders=tuple(replace(rider, stays=True) for rider in plan.riders))


@pytest.mark.timeout(300)
async def test_every_order_ends_explained_while_every_process_is_killed(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path, port=0, clock_speed=SPEED, sandbox_faults=0.2, ray_namespace="doorstep-kill"
    )
    async with Supervisor(settings) as supervisor:
        tokens = tokens_of(supervisor.settings)
        killer = Killer(supervisor)
        killing = asyncio.ensure_future(killer.work())
        try:
            report = await run(
                short_day(),
                supervisor.url,
                lambda role, subject: tokens.issue(role, subject, 86_400.0),
                progress=killer.progress,
                sandbox_key=sandbox_key(supervisor.settings),
            )
        finally:
            killing.cancel()
    assert report.explained, report.as_json()
    assert report.acknowledged >= ORDERS, report.as_json()
    assert report.states.get("completed", 0) >= ORDERS // 2, report.as_json()
    assert set(killer.killed) == set(VICTIMS)
    assert killer.killed.total() >= len(VICTIMS) * 2
