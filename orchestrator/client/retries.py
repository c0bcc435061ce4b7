"""When a call is sent again, after which pause, and when it is given up.

Pure: whoever sends (this client over aiohttp, Locust's users over gevent) asks a :class:`Patience`
after each attempt that failed, and sleeps in its own way.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from orchestrator.client.problems import ProblemError

__all__ = ["RETRIED", "Patience", "Retries", "retry_after_s"]

NO_ANSWER = 0

RETRIED = frozenset({NO_ANSWER, 408, 425, 429, 500, 502, 503, 504})
"""Statuses (0: no answer at all) after which the same request is sent again with the same key.

- 0, 502, 504: it never came, or its answer was lost on the way: the outcome is unknown.
- 408, 425: somebody in between did not take it and asks for it again (RFC 9110, 15.5.9; RFC 8470).
- 429, 503: the service itself says *later*, mostly with ``Retry-After``
  (``docs/protocol/http.md``).
- 500: something of the service failed in the middle. It may be carried out or not, and the
  problem's text says that a repeat with the same key is safe.

Every other status is an answer that would be the same next time."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How long to insist; all in real seconds. ``Retry-After`` lengthens a pause."""

    attempts: int | None = 8
    """At most so many; None: as many as ``give_up_s`` allows."""
    timeout_s: float = 15.0
    """For one attempt."""
    pause_s_min: float = 0.1
    pause_s_max: float = 5.0
    give_up_s: float | None = None
    """So long after the first attempt none begins any more; None: ``attempts`` alone decides."""
    on_retry: Callable[[ProblemError], None] | None = None
    """Told of each answer after which the call is sent again (``unreachable``: there was none)."""

    def __post_init__(self) -> None:
        if self.attempts is None and self.give_up_s is None:
            raise ValueError("Bound the retries: give attempts, give_up_s or both.")

    def begin(self, dice: random.Random, now: Callable[[], float] = monotonic) -> "Patience":
        """The patience for one call, whose first attempt is sent now. ``dice`` draws the jitter
        that keeps a thousand callers from coming back in the same instant."""
        return Patience(self, dice, now)


@dataclass(slots=True)
class Patience:
    """What is left of the :class:`Retries` of one call."""

    retries: Retries
    dice: random.Random
    now: Callable[[], float]
    _attempts: int = 1
    _pause_s: float = field(init=False)
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._pause_s = self.retries.pause_s_min
        self._began = self.now()

    def pause_s(self, status: int, wait_s: float = 0.0) -> float | None:
        """Real seconds to wait before the next attempt after an answer with ``status`` (0: none
        came); None: that answer is the outcome. ``wait_s`` is what its ``Retry-After`` said."""
        retries = self.retries
        if status not in RETRIED:
            return None
        if retries.attempts is not None and self._attempts >= retries.attempts:
            return None
        pause_s = max(wait_s, self._pause_s) * self.dice.uniform(1.0, 1.5)
        if retries.give_up_s is not None:
            last_at = self._began + retries.give_up_s
            if self.now() + pause_s > last_at:
                return None
        self._attempts += 1
        self._pause_s = min(self._pause_s * 2, retries.pause_s_max)
        return pause_s


def retry_after_s(headers: Mapping[str, str]) -> float:
    """What the answer's ``Retry-After`` says, in seconds; 0 when it says nothing (or a date)."""
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
