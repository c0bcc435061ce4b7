"""The supervisor: starts everything, watches it, and leaves nothing running.

Order of start: data folder, Redis, ledger, Ray and its actors, projector, gateways. The end is the
reverse. A gateway or projector that dies is replaced; an actor is restarted by Ray; the embedded
Redis by us.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from actors.engine.ray_runtime import Cluster
from domain.errors import Refused
from orchestrator import bootstrap, logs
from orchestrator.data_folder import DataFolder, resolve
from orchestrator.placement import plan_of
from orchestrator.settings import Settings, configuration, environment

__all__ = ["Supervisor"]

log = logs.logger(__name__)

READY_S = 60.0


class Supervisor:
    """An async context: inside it the service runs and answers at :attr:`url`.

    ``progress`` is told each step (everything that takes over two seconds is one).
    """

    def __init__(
        self, settings: Settings, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self.settings = resolve(settings)
        self._progress = progress
        self._folder = DataFolder(self.settings.data)
        self._parts: bootstrap.Parts | None = None
        self._cluster: Cluster | None = None
        self._listener: socket.socket | None = None
        self._gateways: dict[int, asyncio.subprocess.Process] = {}
        self._projector: asyncio.subprocess.Process | None = None
        self._survivors: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._stopping = False

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by part: ``node-0``, ``gateway-0``, ``projector``, ``redis``."""
        found = {f"gateway-{index}": process.pid for index, process in self._gateways.items()}
        if self._cluster is not None:
            found |= {name: facts["pid"] for name, facts in self._cluster.health.items()}
        if self._projector is not None:
            found["projector"] = self._projector.pid
        server = self._parts.server if self._parts else None
        if server is not None and server.process is not None:
            found["redis"] = server.process.pid
        return found

    async def __aenter__(self) -> "Supervisor":
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        started = time.monotonic()
        self._folder.lock()
        self._listen()
        self._progress("Starting Redis and the ledger")
        self._parts = await bootstrap.open_parts(self.settings, self._folder.held)
        self.settings = self._parts.settings
        await bootstrap.open_clock(self.settings)
        self._progress("Starting Ray")
        self._cluster = Cluster(self.settings.ray_address, self.settings.ray_namespace)
        address = await asyncio.get_running_loop().run_in_executor(None, self._cluster.start)
        await self._let_none_survive(self._cluster.process_ids())
        self.settings = self.settings.model_copy(update={"ray_address": address})
        names = list(plan_of(self.settings).hosts)
        self._progress(f"Starting {len(names)} actors and recovering their shards")
        try:
            await self._cluster.create(bootstrap.build_node, configuration(self.settings), names)
        except TimeoutError:
            raise Refused(
                "actors-failed",
                f"The actors did not start; see node-*.log in {self.settings.data / 'logs'}.",
            ) from None
        await self._let_none_survive(self._cluster.process_ids())
        self._tasks.append(asyncio.get_running_loop().create_task(self._keep_projector()))
        self._progress("Starting the gateway")
        for index in range(self.settings.gateways):
            self._tasks.append(asyncio.get_running_loop().create_task(self._keep_gateway(index)))
        await self._ready()
        self._progress(f"Ready in {time.monotonic() - started:.1f} s at {self.url}")

    async def _let_none_survive(self, process_ids: list[int]) -> None:
        """These end with us, however we end: Ray's agents would notice only after a minute."""
        if self._survivors is None:
            self._survivors = await asyncio.create_subprocess_exec(
                *bootstrap.survivors(), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        assert self._survivors.stdin is not None
        others = [each for each in process_ids if each != self._survivors.pid]
        self._survivors.stdin.writelines(b"%d\n" % each for each in others)
        with contextlib.suppress(ConnectionError):
            await self._survivors.stdin.drain()

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.settings.host, self.settings.port))
        except OSError as error:
            listener.close()
            raise Refused(
                "port-in-use",
                f"Cannot listen on {self.settings.host}:{self.settings.port}: {error.strerror}. "
                "Stop what uses it, or set DOORSTEP_PORT (0 takes any free port).",
            ) from error
        listener.listen(4096)
        listener.set_inheritable(True)
        self._listener = listener
        port = int(listener.getsockname()[1])
        self.settings = self.settings.model_copy(update={"port": port})

    async def _keep_gateway(self, index: int) -> None:
        assert self._listener is not None
        while not self._stopping:
            process = await asyncio.create_subprocess_exec(
                *bootstrap.tied(
                    sys.executable, "-m", "orchestrator.gateway",
                    str(self._listener.fileno()), str(index),
                ),
                env={**os.environ, **environment(self.settings)},
                pass_fds=[self._listener.fileno()], stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL, stderr=self._stderr(f"gateway-{index}"),
                start_new_session=True,
            )  # fmt: skip
            self._gateways[index] = process
            code = await process.wait()
            if not self._stopping:
                log.error("gateway.died", index=index, code=code)
                await asyncio.sleep(0.2)

    async def _keep_projector(self) -> None:
        while not self._stopping:
            self._projector = await asyncio.create_subprocess_exec(
                *bootstrap.tied(sys.executable, "-m", "orchestrator.projector"),
                env={**os.environ, **environment(self.settings)},
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=self._stderr("projector"), start_new_session=True,
            )  # fmt: skip
            code = await self._projector.wait()
            if not self._stopping:
                log.error("projector.died", code=code)
                await asyncio.sleep(0.5)

    def _stderr(self, name: str) -> Any:
        return (self.settings.data / "logs" / f"{name}.stderr").open("ab")

    async def _ready(self) -> None:
        deadline = time.monotonic() + READY_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/readyz") as response:
                        if response.status == 200:
                            return
                if time.monotonic() > deadline:
                    raise Refused(
                        "not-ready",
                        f"The gateway did not become ready; see {self.settings.data / 'logs'}.",
                    )
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End everything that was started, in reverse order."""
        self._stopping = True
        processes = [*self._gateways.values(), *([self._projector] if self._projector else [])]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in processes:
            await _ended(process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._cluster is not None:
            await self._cluster.stop()
        if self._survivors is not None and self._survivors.stdin is not None:
            self._survivors.stdin.close()
            await _ended(self._survivors)
        if self._parts is not None:
            await self._parts.stop()
        if self._listener is not None:
            self._listener.close()
        self._folder.unlock()


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), 10.0)
    except TimeoutError:
        process.kill()
        await process.wait()


def until_signal() -> "asyncio.Future[None]":
    """Done at SIGINT or SIGTERM. Ray's own handlers are replaced: the end must be orderly."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not future.done():
            future.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return future
