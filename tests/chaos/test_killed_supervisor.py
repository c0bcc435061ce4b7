"""``kill -9`` of the supervisor: nothing that writes in its data folder outlives its lock."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from adapters.redis.server import EmbeddedRedis
from domain.errors import Refused
from orchestrator.data_folder import DataFolder

PARTS = """
import asyncio, sys
from pathlib import Path
from orchestrator import bootstrap
from orchestrator.data_folder import DataFolder, resolve
from orchestrator.settings import Settings

async def main():
    settings = resolve(Settings(data=Path(sys.argv[1])))
    folder = DataFolder(settings.data)
    folder.lock()
    parts = await bootstrap.open_parts(settings, folder.held)
    print(parts.server.process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
SERVICE = """
import asyncio, json, psutil, sys
from pathlib import Path
from orchestrator.settings import Settings
from orchestrator.supervisor import Supervisor

async def main():
    settings = Settings(data=Path(sys.argv[1]), port=0, ray_namespace="doorstep-orphans")
    async with Supervisor(settings) as up:
        family = psutil.Process().children(recursive=True)
        named = up.pids | {f"{one.name()} {one.pid}": one.pid for one in family}
        print(json.dumps(named), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def started(program: str, data: Path) -> tuple[asyncio.subprocess.Process, bytes]:
    """The program running on ``data``, and its first line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(data), stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    return process, await process.stdout.readline()


async def gone(pid: int) -> None:
    """Waits until the process has ended; the test's time limit ends what never does."""
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.02)


async def locked(folder: DataFolder) -> None:
    """Takes the folder's lock once it is free; the test's time limit ends what never does.

    A process counts as a zombie from the end of its first thread; files that it had open are closed
    with its last one.
    """
    while True:
        try:
            return folder.lock()
        except Refused:
            await asyncio.sleep(0.02)


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans by itself")
async def test_redis_ends_with_its_killed_supervisor(tmp_path: Path) -> None:
    process, line = await started(PARTS, tmp_path)
    process.kill()
    await process.wait()
    await gone(int(line))
    folder = DataFolder(tmp_path)
    await locked(folder)
    folder.unlock()


@pytest.mark.timeout(60)
async def test_the_folder_stays_locked_while_an_old_redis_lives(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.lock()
    server = EmbeddedRedis(tmp_path / "redis", held=folder.held)
    await server.start()
    folder.unlock()
    try:
        with pytest.raises(Refused, match="Another Doorstep"):
            DataFolder(tmp_path).lock()
    finally:
        await server.stop()
    await locked(folder)
    folder.unlock()


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans by itself")
async def test_all_processes_end_with_the_killed_service(tmp_path: Path) -> None:
    process, line = await started(SERVICE, tmp_path)
    pids: dict[str, int] = json.loads(line)
    assert {"redis", "gateway-0", "projector", "node-0"} <= set(pids)
    assert any(name.startswith("raylet") for name in pids)
    of_ray = {pid for name, pid in pids.items() if name.startswith("ray::")}
    assert len(of_ray) >= 4, "agents and actors"
    (watcher,) = [
        one for one in psutil.Process(process.pid).children() if "survivors.py" in one.cmdline()[-1]
    ]
    assert of_ray <= held_by(watcher.pid), "each is ended by the watcher"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    for pid in pids.values():
        await gone(pid)


def held_by(pid: int) -> set[int]:
    """The processes that a process holds handles of."""
    held = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        facts = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        if "Pid" in facts:
            held.add(int(facts["Pid"]))
    return held
