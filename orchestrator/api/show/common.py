"""What several documents share: positions, inboxes, short answers."""

from datetime import datetime
from typing import Any

from msgspec import Raw

from domain.geo import Position as InternalPosition
from domain.inbox import InboxPage as InternalInboxPage
from domain.wire import moment
from orchestrator.models.common import InboxMessage, InboxPage, Position

__all__ = ["maybe_moment", "show_inbox", "show_position", "show_row"]


def show_inbox(page: InternalInboxPage) -> InboxPage:
    """A page of an inbox; the messages' own JSON is passed through unread."""
    return InboxPage(
        epoch=page.epoch,
        head=page.head,
        messages=[
            InboxMessage(one.offset, one.id, one.type, moment(one.at), Raw(one.data))
            for one in page.messages
        ],
        snapshot=None if page.snapshot is None else Raw(page.snapshot),
    )


def show_position(position: InternalPosition | None) -> Position | None:
    """A position, or none."""
    return None if position is None else Position(position.lat, position.lon)


def maybe_moment(at: float | None) -> datetime | None:
    """A moment; none for None and for 0, which internally stands for *not yet*."""
    return moment(at) if at else None


def show_row(row: Any) -> Any:
    """A row of the books: its epoch times (``at``, ``…_at``, ``as_of``, ``until``) as moments."""
    if isinstance(row, dict):
        return {name: _show_member(name, value) for name, value in row.items()}
    if isinstance(row, list | tuple):
        return [show_row(item) for item in row]
    return row


def _show_member(name: str, value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and _is_time(name):
        return maybe_moment(value)
    return show_row(value)


def _is_time(name: str) -> bool:
    return name in ("at", "as_of", "until", "accept_by") or name.endswith("_at")
