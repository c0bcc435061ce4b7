"""One page of a long list, as every read with a cursor returns it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Page"]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows (JSON-able dicts); ``after`` is the cursor of the next, None at the end."""

    rows: Sequence[dict[str, Any]]
    after: str | None
