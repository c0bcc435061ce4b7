"""What the monitor's figures are put together from: one section for each kind of entity."""

from typing import Any, Protocol

__all__ = ["Section"]


class Section(Protocol):
    """Follows the entities of one kind."""

    def load(self, entity: str, state: Any, now: float, /) -> None:
        """An entity's state as it is now (epoch seconds of service time)."""
        ...

    def apply(self, entity: str, event: Any, at: float, /) -> None:
        """One committed event, and when that was."""
        ...
