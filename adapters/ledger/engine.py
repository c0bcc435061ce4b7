"""Opens the ledger's database: SQLite in a file by default, PostgreSQL by URL."""

import time
from typing import Any

import msgspec
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["AWAY", "is_away", "open_engine"]

BUSY_TIMEOUT_MS = 10_000
WAL_TRIES = 100

AWAY = (OperationalError, InterfaceError, PoolTimeout, DBAPIError, OSError, TimeoutError)
"""What may be raised when the database cannot be reached or the connection broke."""


def is_away(error: BaseException) -> bool:
    """Whether the error says that the database cannot be used now (rather than a wrong query)."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError | TimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def open_engine(url: str) -> AsyncEngine:
    """An engine for ``sqlite+aiosqlite:///…`` or ``postgresql+asyncpg://…``. It connects lazily:
    opening succeeds while the database is away.

    SQLite runs in WAL mode (readers never wait for the projector) with ``synchronous=FULL``. The
    faster ``NORMAL`` may lose the last commits at a power cut; the feed could replay them, but only
    until the journal is trimmed up to what the projector has reported as applied. With batches,
    one fsync per commit costs next to nothing, so what is reported as applied is on the disk.
    """
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    engine = create_async_engine(
        _with_async_driver(url),
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        pool_pre_ping=not is_sqlite,
    )
    if is_sqlite:
        event.listen(engine.sync_engine, "connect", _configure_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _with_async_driver(url: str) -> str:
    """``sqlite:///x`` and ``postgresql://…`` are accepted as well."""
    parsed = make_url(url)
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}.get(
        parsed.drivername
    )
    if driver is not None:
        parsed = parsed.set(drivername=driver)
    return parsed.render_as_string(hide_password=False)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin by itself: see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA cache_size=-16384")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Kept in the file, so the first connection does it. Others that come at the same moment are
    told that the database is locked, whatever their patience."""
    for attempt in range(WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or attempt == WAL_TRIES - 1:
                raise
            time.sleep(0.05)


def _begin_sqlite(connection: Connection) -> None:
    """Begin for real, so that several reads see one snapshot and DDL can be rolled back."""
    connection.exec_driver_sql("BEGIN")
