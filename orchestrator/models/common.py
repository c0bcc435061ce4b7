"""What several documents share: positions, inboxes, short answers."""

from datetime import datetime
from typing import Any

from msgspec import Struct

__all__ = ["Done", "InboxMessage", "InboxPage", "Position", "Stored"]


class Position(Struct, frozen=True, gc=False):
    """WGS 84, degrees."""

    lat: float
    lon: float


class Done(Struct, frozen=True, gc=False):
    """It was done."""

    done: bool


class Stored(Struct, frozen=True, gc=False):
    """How many were stored."""

    stored: int


class InboxMessage(Struct, frozen=True, gc=False):
    """One message of an inbox; ``offset`` is dense (+1) and ``id`` the same whenever it is seen.
    ``data`` is its JSON document: decoded for a reader, passed through unread by the service."""

    offset: int
    id: str
    type: str
    at: datetime
    data: Any


class InboxPage(Struct, frozen=True, gc=False):
    """Messages after the asked offset; or, if those are gone, a ``snapshot`` of what is open, to be
    followed from ``head`` on. Another ``epoch`` than known: forget the offset, read anew."""

    epoch: str
    head: int
    messages: list[InboxMessage]
    snapshot: Any
