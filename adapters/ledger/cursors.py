"""Opaque cursors of pages: where the last row stood, not how many rows were skipped, so that rows
that arrive between two pages are neither repeated nor missed."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import TypeVar

import msgspec

from domain.errors import Refused

__all__ = ["PAGE_MAX", "pack", "page_size", "unpack"]

PAGE_MAX = 1_000
"""Most rows of one page."""

Keys = TypeVar("Keys")


def pack(*keys: float | str) -> str:
    """A cursor from the sort keys of a page's last row."""
    return urlsafe_b64encode(msgspec.json.encode(keys)).decode().rstrip("=")


def unpack(cursor: str, keys: type[Keys]) -> Keys | None:
    """The sort keys, checked against their type (a tuple); None for the empty cursor.

    Raises ``Refused`` with ``bad-cursor`` for anything that :func:`pack` did not make.
    """
    if not cursor:
        return None
    try:
        raw = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=keys)
    except (NotBase64, ValueError, msgspec.DecodeError) as error:
        raise Refused(
            "bad-cursor", "Send `after` exactly as the page before gave it, or leave it out."
        ) from error


def page_size(limit: int) -> int:
    """``limit`` brought between 1 and :data:`PAGE_MAX`."""
    return max(1, min(limit, PAGE_MAX))
