"""Opaque cursors of pages: where the last row stood, not how many rows were skipped, so that rows
that arrive between two pages are neither repeated nor missed."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from domain.errors import Refused

__all__ = ["PAGE_MAX", "Moment", "Number", "RowId", "Step", "pack", "page_size", "unpack"]

PAGE_MAX = 1_000
"""Most rows of one page."""

Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Key of a ``BIGINT`` column."""
Step = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Key of an ``INTEGER`` column."""
Moment = Annotated[float, Meta(ge=0)]
"""Epoch seconds. (JSON knows neither NaN nor infinity.)"""
RowId = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z")]
"""Key of a text column: PostgreSQL takes anything but U+0000."""

Keys = TypeVar("Keys", bound=tuple[Any, ...])


def pack(*keys: float | str) -> str:
    """A cursor from the sort keys of a page's last row."""
    return urlsafe_b64encode(msgspec.json.encode(keys)).decode().rstrip("=")


def unpack(cursor: str, keys: type[Keys]) -> Keys | None:
    """The sort keys, checked against their type (a tuple of :data:`Number` and the others, so that
    the database takes them); None for the empty cursor.

    Raises ``Refused`` with ``bad-cursor`` for anything that :func:`pack` cannot have made.
    """
    if not cursor:
        return None
    try:
        raw = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        found: Keys = msgspec.json.decode(raw, type=keys)
    except (NotBase64, ValueError, RecursionError) as error:
        raise _bad_cursor() from error
    if pack(*found) != cursor:
        raise _bad_cursor()
    return found


def page_size(limit: int) -> int:
    """``limit`` brought between 1 and :data:`PAGE_MAX`."""
    return max(1, min(limit, PAGE_MAX))


def _bad_cursor() -> Refused:
    return Refused(
        "bad-cursor", "Send `after` exactly as the page before gave it, or leave it out."
    )
