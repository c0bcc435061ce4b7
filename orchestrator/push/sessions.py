"""Devices that were unpaired: their tokens are good no more, and their open sockets are closed."""

from collections.abc import Callable, Sequence
from typing import Any

from actors.views import Views
from domain.device.events import SessionEnded

__all__ = ["EndedSessions"]


class EndedSessions:
    """A consumer of the tail. ``views`` know what was ended before this gateway started;
    ``recheck`` is called when one more is, and looks at every open socket."""

    kinds: Sequence[str] = ("device",)

    def __init__(self, views: Views, recheck: Callable[[], None]) -> None:
        self._views = views
        self._recheck = recheck
        self._heard: set[str] = set()
        """Ended ones that the views may not have heard of yet."""

    def is_ended(self, session_id: str) -> bool:
        """Whether the session was ended before its time."""
        known = self._views.sessions.get(session_id)
        if known is not None and known.ended_at is not None:
            self._heard.discard(session_id)
            return True
        return session_id in self._heard

    # Consumer of the tail

    def reset(self) -> None:
        """The tail starts anew; what was heard stays true."""

    def load(self, kind: str, entity: str, state: Any) -> None:
        """A session as it is now."""
        if state.ended_at is not None:
            self._heard.add(entity)

    def loaded(self) -> None:
        """Something may have been ended while nobody listened."""
        if self._heard:
            self._recheck()

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """One event of a device."""
        if isinstance(event, SessionEnded):
            self._heard.add(entity)
            self._recheck()
