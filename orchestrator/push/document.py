"""JSON documents of topics: absent values are left out, because a merge patch cannot say null."""

from datetime import UTC, datetime
from typing import Any

__all__ = ["time_text", "without_absent"]


def without_absent(value: Any) -> Any:
    """``value`` (plain JSON types) without the members that are None, at any depth."""
    if isinstance(value, dict):
        return {key: without_absent(member) for key, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [without_absent(member) for member in value]
    return value


def time_text(at: float) -> str:
    """Epoch seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
