"""Brings a database to this release's tables. Run by the service at start; no command needed."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.ledger.engine import open_engine

__all__ = ["config_for", "migrate", "migrate_engine"]

LOCK_KEY = 4_815_162_342
"""Of the advisory lock that lets one process at a time migrate a PostgreSQL database."""


async def migrate(url: str) -> None:
    """Upgrade the database at ``url`` to the newest revision, in one transaction.

    Safe to call from several processes at once, and when there is nothing to do. Raises the
    driver's errors when the database is away.
    """
    engine = open_engine(url)
    try:
        await migrate_engine(engine)
    finally:
        await engine.dispose()


async def migrate_engine(engine: AsyncEngine) -> None:
    """As :func:`migrate`, on an engine that is already open."""
    async with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        else:
            await connection.exec_driver_sql("ROLLBACK")
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        await connection.run_sync(_upgrade)
        await connection.commit()


def config_for(connection: Connection) -> Config:
    """Alembic's configuration for this connection (also for tests and for ``alembic`` itself)."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(config_for(connection), "head")
