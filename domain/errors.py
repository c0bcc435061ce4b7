"""The one error tree of the business: terminal refusals and retryable troubles.

Every error has a stable ``code`` (kebab-case, part of the public API) and a text that tells the
reader what to do. ``orchestrator.api.problems`` maps codes to RFC 9457 problem documents; nothing
else turns an error into HTTP.
"""

from typing import Any

from msgspec import Struct, field

__all__ = ["Busy", "DoorstepError", "Problem", "Refused", "Unavailable"]


class Problem(Struct, frozen=True, array_like=True, tag="problem.v1", gc=False):
    """An error as data, as it crosses processes and is stored with answers."""

    code: str
    detail: str
    retryable: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class DoorstepError(Exception):
    """Any error with a stable code. ``extra`` holds JSON-able facts such as the short SKUs."""

    retryable = False

    def __init__(self, code: str, detail: str, **extra: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.extra = extra

    def as_problem(self) -> Problem:
        """The same error as data."""
        return Problem(self.code, self.detail, self.retryable, self.extra)


class Refused(DoorstepError):
    """Terminal: the same command will be refused again until something else changes."""


class Busy(DoorstepError):
    """Retryable: a queue is full; nothing was changed. Try again after a moment."""

    retryable = True


class Unavailable(DoorstepError):
    """Retryable: a part is away, or the outcome is unknown. Retry with the same command id."""

    retryable = True


def error_of(problem: Problem) -> DoorstepError:
    """The exception for a problem received from another process."""
    kind = Unavailable if problem.retryable else Refused
    return kind(problem.code, problem.detail, **problem.extra)
