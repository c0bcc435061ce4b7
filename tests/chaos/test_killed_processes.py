"""A day in the city while its processes are killed one after the other: nothing is lost."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.auth import tokens_of
from orchestrator.bootstrap import sandbox_key
from orchestrator.settings import Settings
from orchestrator.supervisor import Supervisor
from simulator.city import CityOptions, generate
from simulator.run import fresh_tag, run

KILL_EVERY_S = 8.0


async def kill_one_after_the_other(supervisor: Supervisor, killed: list[str]) -> None:
    """``kill -9``: each actor, the gateway, Redis, and again; each once it is back."""
    while True:
        for name in ("node-0", "gateway-0", "node-1", "redis"):
            await asyncio.sleep(KILL_EVERY_S)
            pid = supervisor.pids.get(name)
            if pid is None:
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(name)


@pytest.mark.timeout(600)
async def test_every_order_ends_explained_while_every_process_is_killed(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path, port=0, clock_speed=40.0, sandbox_faults=0.2, ray_namespace="doorstep-kill"
    )
    city = CityOptions(stores=4, riders=14, orders=15, hours=0.75, campaigns=2, tag=fresh_tag())
    killed: list[str] = []
    async with Supervisor(settings) as supervisor:
        tokens = tokens_of(supervisor.settings)
        killing = asyncio.ensure_future(kill_one_after_the_other(supervisor, killed))
        try:
            report = await run(
                generate(11, city),
                supervisor.url,
                lambda role, subject: tokens.issue(role, subject, 86_400.0),
                sandbox_key=sandbox_key(supervisor.settings),
            )
        finally:
            killing.cancel()
    assert report.explained, report.as_json()
    assert {"node-0", "node-1", "gateway-0", "redis"} <= set(killed)
