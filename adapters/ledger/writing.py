"""Many rows at once: one prepared statement per table, rows as tuples straight to the driver.

SQLAlchemy makes the statements, once per dialect and table; going through its parameters for every
row of every batch cost a fifth of the projector's time.

PostgreSQL cannot hold U+0000, neither in a text nor in JSON. Nothing that comes in has one
(``orchestrator.api.texts``), but what a journal has once, it has for ever: there U+FFFD is written,
on every database, so that the books go on.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import JSON, Dialect, Table, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["add", "append", "insert_of", "replace"]

Row = Mapping[str, Any]

NOTHING, INSTEAD = "\0", "\ufffd"
_ESCAPED = "\\u0000"
"""As JSON says it."""

_as_json = msgspec.json.Encoder().encode
# Of an escaped backslash the rest is plain text.
_escaped = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


class _Prepared(NamedTuple):
    sql: str
    values: Callable[[Row], tuple[Any, ...]]
    """A row's values in the statement's order."""
    documents: tuple[int, ...]
    """Places among the values that are stored as JSON."""
    texts: tuple[int, ...]
    """Places of texts."""


async def append(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """New rows."""
    await _write(connection, table, rows, "append")


async def replace(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert, or put in the place of the row with the same key."""
    await _write(connection, table, rows, "replace")


async def add(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert, or add the numbers to the row with the same key."""
    await _write(connection, table, rows, "add")


def insert_of(dialect: Dialect, table: Table) -> Any:
    """Both dialects spell an upsert the same way, by different classes."""
    return (postgresql if dialect.name == "postgresql" else sqlite).insert(table)


async def _write(connection: AsyncConnection, table: Table, rows: Sequence[Row], how: str) -> None:
    if not rows:
        return
    prepared = _prepared(connection.dialect, table, how)
    values = list(map(prepared.values, rows))
    for place in prepared.documents:
        values = [(*row[:place], _document(row[place]), *row[place + 1 :]) for row in values]
    for place in prepared.texts:
        if any(NOTHING in row[place] for row in values):
            values = [
                (*row[:place], row[place].replace(NOTHING, INSTEAD), *row[place + 1 :])
                for row in values
            ]
    await connection.exec_driver_sql(prepared.sql, values)


def _document(value: Any) -> str:
    text = _as_json(value).decode()
    return _escaped.sub(r"\1\\ufffd", text) if _ESCAPED in text else text


@cache
def _prepared(dialect: Dialect, table: Table, how: str) -> _Prepared:
    insert: Any = insert_of(dialect, table)
    if how != "append":
        new = insert.excluded
        changes = {
            column.name: column + new[column.name] if how == "add" else new[column.name]
            for column in table.columns
            if not column.primary_key
        }
        keys = [column.name for column in table.primary_key]
        insert = insert.on_conflict_do_update(index_elements=keys, set_=changes)
    compiled = insert.compile(dialect=dialect, column_keys=[one.name for one in table.columns])
    names: Sequence[str] = compiled.positiontup
    documents = tuple(
        place for place, name in enumerate(names) if isinstance(table.columns[name].type, JSON)
    )
    texts = tuple(
        place for place, name in enumerate(names) if isinstance(table.columns[name].type, Text)
    )
    return _Prepared(str(compiled), itemgetter(*names), documents, texts)
