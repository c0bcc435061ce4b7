"""Processes that a benchmark starts: the service, the empty servers, the load generator.

Everything that is started here is ended here, by its own process id.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import msgspec
import psutil

from loadtests.generator import Load, Seen

__all__ = [
    "BenchError", "RunningService", "child_environment", "drive", "empty_server", "end",
    "free_port", "service", "tokens_of", "until_it_answers",
]  # fmt: skip

READY_S = 120.0
END_S = 30.0

PARTS = (
    ("orchestrator.cli", "supervisor"), ("orchestrator.gateway", "gateway"),
    ("orchestrator.projector", "projector"),
    ("redis-server", "redis"), ("raylet/raylet", "ray raylet"), ("gcs_server", "ray gcs"),
    ("DashboardAgent", "ray agent"), ("dashboard/agent", "ray agent"),
    ("RuntimeEnvAgent", "ray runtime-env agent"), ("runtime_env/agent", "ray runtime-env agent"),
    ("log_monitor", "ray log monitor"), ("monitor.py", "ray monitor"),
)  # fmt: skip
"""Part of a process's command line -> what the process is."""


class BenchError(Exception):
    """A benchmark cannot go on; the text says what to look at."""


class RunningService:
    """The service as a child process, with a data folder of its own."""

    def __init__(self, port: int, data: Path, process: psutil.Process) -> None:
        self.port = port
        self.data = data
        self._process = process

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    async def token(self, role: str, subject: str) -> str:
        """A token, from the service's own command."""
        return (await self.tokens(role, [subject]))[0]

    async def tokens(self, role: str, subjects: Sequence[str]) -> list[str]:
        """A token for each subject."""
        return await tokens_of(self.data, role, subjects)

    def processes(self) -> list[psutil.Process]:
        """All its processes that live now: supervisor, gateways, nodes, Redis, Ray's own."""
        return [self._process, *self._process.children(recursive=True)]

    def nodes(self) -> dict[str, psutil.Process]:
        """The processes that host actors, by node name: each holds its own log open."""
        found = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                for file in process.open_files():
                    path = Path(file.path)
                    if path.parent.name == "logs" and path.name.startswith("node-"):
                        found[path.stem] = process
        return found

    def names(self) -> dict[int, str]:
        """What each process is, by its id."""
        nodes = {process.pid: name for name, process in self.nodes().items()}
        found = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                command = " ".join(process.cmdline())
                known = (name for part, name in PARTS if part in command)
                found[process.pid] = nodes.get(process.pid) or next(known, process.name())
        return found

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds used so far, by process."""
        used: dict[str, float] = {}
        for number, name in self.names().items():
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(number).cpu_times()
                used[name] = used.get(name, 0.0) + times.user + times.system
        return used


async def tokens_of(data: Path, role: str, subjects: Sequence[str]) -> list[str]:
    """A token for each subject, made by the service's own command from its data folder."""
    named = [part for subject in subjects for part in ("--subject", subject)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.cli", "token",
        "--role", role, *named, "--data", str(data),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env=child_environment(),
    )  # fmt: skip
    out, _ = await child.communicate()
    if child.returncode != 0:
        raise BenchError(f"No token for {role} {subjects[0]}: see standard error.")
    return out.decode().split()


@contextlib.asynccontextmanager
async def service(**settings: str) -> AsyncIterator[RunningService]:
    """Starts the service on a free port and a temporary folder and waits until it is ready.

    ``settings`` become ``DOORSTEP_…`` variables, beside those already in the environment.
    """
    with tempfile.TemporaryDirectory(prefix="doorstep-bench-") as folder:
        data, port = Path(folder) / "data", free_port()
        output = Path(folder) / "service.out"
        extra = {f"DOORSTEP_{name.upper()}": value for name, value in settings.items()}
        with output.open("wb") as file:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "orchestrator.cli", "serve",
                "--port", str(port), "--data", str(data),
                stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file,
                env=child_environment() | extra, start_new_session=True,
            )  # fmt: skip
        try:
            running = RunningService(port, data, psutil.Process(child.pid))
            await until_it_answers(child, f"{running.url}/readyz", output)
            yield running
        finally:
            await end(child)


@contextlib.asynccontextmanager
async def empty_server(kind: str) -> AsyncIterator[int]:
    """One of ``loadtests.empty``; gives its port."""
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.empty", kind, str(port), env=child_environment(),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await until_it_answers(child, f"http://127.0.0.1:{port}/", None, status_max=499)
        yield port
    finally:
        await end(child)


async def drive(load: Load) -> Seen:
    """One run of the load generator in a process of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.generator", env=child_environment(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, _ = await child.communicate(msgspec.json.encode(load))
    except BaseException:
        await end(child)
        raise
    if child.returncode != 0:
        raise BenchError("The load generator failed: see standard error.")
    try:
        return msgspec.json.decode(out, type=Seen)
    except msgspec.MsgspecError as error:
        raise BenchError(f"The load generator told {len(out)} bytes: {error}") from error


async def until_it_answers(
    child: asyncio.subprocess.Process, url: str, output: Path | None, status_max: int = 200
) -> None:
    """Wait until a child answers HTTP. Raises ``BenchError`` if it ends or takes too long."""
    deadline = time.monotonic() + READY_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            if child.returncode is not None:
                text = _end_of(output)
                raise BenchError(f"It ended at its start (code {child.returncode}).\n{text}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as answer:
                    if answer.status <= status_max:
                        return
            if time.monotonic() > deadline:
                raise BenchError(f"{url} did not answer within {READY_S:.0f} s.")
            await asyncio.sleep(0.1)


async def end(child: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL to it and what it left when it does not end in time."""
    if child.returncode is not None:
        return
    left: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        left = psutil.Process(child.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), END_S)
    except TimeoutError:
        child.kill()
        await child.wait()
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()  # psutil checks that the id is still the same process


def child_environment() -> dict[str, str]:
    """Ours, with this project importable."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_of(output: Path | None) -> str:
    return output.read_text(errors="replace")[-2_000:] if output is not None else ""
