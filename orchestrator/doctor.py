"""``doorstep doctor``: what is missing or unreachable, and how to mend it."""

import asyncio
import shutil
import socket
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import make_url

from actors.engine.ray_runtime import check_ray
from domain.errors import DoorstepError, Refused
from orchestrator import bootstrap
from orchestrator.data_folder import DataFolder
from orchestrator.masking import masked
from orchestrator.settings import Settings

__all__ = ["Finding", "examine"]

DISK_FREE_BYTES = 1_000_000_000
CHECK_S = 10.0
ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One part: whether it is well, what was found, and the remedy if not."""

    part: str
    ok: bool
    found: str
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


async def examine(settings: Settings) -> list[Finding]:
    """Check every part that the service would use with these settings; starts and makes nothing.
    A service that runs with them already is well."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[Finding]]]] = [
        ("Python", _python),
        ("data folder", _data),
        ("disk", _disk),
        ("port", _port),
        ("Redis", _redis),
        ("ledger", _ledger),
        ("Ray", _ray),
    ]
    return [await _safely(part, check, settings) for part, check in checks]


async def _safely(
    part: str, check: Callable[[Settings], Awaitable[Finding]], settings: Settings
) -> Finding:
    try:
        return await asyncio.wait_for(check(settings), CHECK_S)
    except DoorstepError as error:
        return Finding(part, False, error.code, masked(error.detail))
    except TimeoutError:
        return Finding(part, False, "no answer", f"It did not answer within {CHECK_S:.0f} s.")
    except Exception as error:
        return Finding(part, False, type(error).__name__, masked(str(error)))


async def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer.")


async def _data(settings: Settings) -> Finding:
    folder = DataFolder(settings.data)
    if await _runs(settings):
        return Finding("data folder", True, f"{folder.path}, of the running service")
    if folder.in_use:
        return Finding(
            "data folder", False, "data-in-use",
            f"Another Doorstep holds {folder.path} and does not answer. Stop it, or set "
            "DOORSTEP_DATA to another folder.",
        )  # fmt: skip
    folder.check_writable()
    if folder.has_secrets:
        return Finding("data folder", True, str(folder.path))
    return Finding(
        "data folder", True, f"{folder.path}: no service was ever started on it",
        "The first start makes its data there. If there should be some, give its folder as --data "
        "(or DOORSTEP_DATA).",
    )  # fmt: skip


async def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(DataFolder(settings.data).standing).free
    return Finding(
        "disk", free > DISK_FREE_BYTES, f"{free / 1e9:.1f} GB free",
        "Free some space, or set DOORSTEP_DATA to a folder on a larger disk.",
    )  # fmt: skip


async def _port(settings: Settings) -> Finding:
    if await _runs(settings):
        return Finding("port", True, f"{settings.host}:{settings.port}, the service is running")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return Finding(
                "port", False, f"{settings.host}:{settings.port}: {error.strerror}",
                "Stop what uses it, or set DOORSTEP_PORT.",
            )  # fmt: skip
    return Finding("port", True, f"{settings.host}:{settings.port} is free")


async def _redis(settings: Settings) -> Finding:
    if not settings.redis_url:
        binary = bootstrap.find_redis_server()
        return Finding("Redis", True, f"embedded: {binary}")
    facts = await bootstrap.durability_of(settings.redis_url)
    durable = facts.get("appendonly") == "yes" and facts.get("appendfsync") == "always"
    return Finding(
        "Redis", durable, f"{masked(settings.redis_url)}, appendonly {facts.get('appendonly')}, "
        f"appendfsync {facts.get('appendfsync')}",
        "" if durable else "Set 'appendonly yes' and 'appendfsync always': without them an "
        "acknowledged order can be lost.",
    )  # fmt: skip


async def _ledger(settings: Settings) -> Finding:
    folder = DataFolder(settings.data)
    url = make_url(settings.database_url or f"sqlite+aiosqlite:///{folder.path / 'ledger.db'}")
    if url.get_backend_name() == "sqlite":
        return _sqlite(Path(url.database or ""), folder)
    engine = bootstrap.open_ledger(settings)
    try:
        async with engine.connect():
            pass
    finally:
        await engine.dispose()
    return Finding("ledger", True, "PostgreSQL answers")


def _sqlite(file: Path, folder: DataFolder) -> Finding:
    """To open it as the service does would make the file."""
    if not file.exists():
        return Finding("ledger", True, "SQLite, made at the first start")
    # A reader leaves files beside the database, unless it is told that nobody writes.
    how = "mode=ro" if folder.in_use else "immutable=1"
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?{how}", uri=True)) as ledger:
        ledger.execute("SELECT count(*) FROM sqlite_master")
    return Finding("ledger", True, "SQLite answers")


async def _ray(settings: Settings) -> Finding:
    from importlib.metadata import version

    await asyncio.get_running_loop().run_in_executor(None, check_ray, settings.ray_address)
    where = settings.ray_address or "local"
    return Finding("Ray", True, f"{version('ray')}, {where}")


async def _runs(settings: Settings) -> bool:
    """Whether this very service is up: its folder is held, and its port says so."""
    try:
        held = DataFolder(settings.data).in_use
    except Refused:
        return False  # the folder's own check tells why
    return held and await _answers(settings)


async def _answers(settings: Settings) -> bool:
    url = f"http://{settings.host}:{settings.port}/healthz"
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
