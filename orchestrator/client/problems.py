"""What goes wrong when talking to the service."""

from typing import Any

__all__ = ["ProblemError", "Refusal", "SocketClosed", "Unanswered"]


class ProblemError(Exception):
    """The service refused (:class:`Refusal`), or could not be reached within the retries
    (:class:`Unanswered`).

    ``code`` is stable (RFC 9457 document's ``code``; ``unreachable`` when no answer came),
    ``status`` the HTTP status (0 without an answer), ``extra`` the document's further members.
    """

    def __init__(
        self, code: str, status: int, detail: str, extra: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.code = code
        self.status = status
        self.detail = detail
        self.extra = extra or {}


class Refusal(ProblemError):
    """The service understood and said no: the same call would be refused again."""


class Unanswered(ProblemError):
    """No answer, or only such that say *later*, for as long as the retries allow: the outcome is
    unknown. The same call with the same Idempotency-Key may be sent again at any time."""


class SocketClosed(Exception):
    """The server closed a socket for good: ``code`` is in the re-authenticate or fatal range."""

    def __init__(self, code: int, reason: str, detail: str = "") -> None:
        super().__init__(f"{code} {reason}: {detail}" if detail else f"{code} {reason}")
        self.code = code
        self.reason = reason
        self.detail = detail
