"""How the server ends a session: which close code for what went wrong."""

from domain.errors import DoorstepError, Refused
from orchestrator.push.frames import CloseCode
from orchestrator.push.protocol import Close, Session

__all__ = ["close_code_of", "refused", "restarting", "superseded", "unavailable"]


def close_code_of(problem: str) -> CloseCode:
    """The close code for a refusal's code."""
    if problem == "token-expired":
        return CloseCode.TOKEN_EXPIRED
    if problem == "session-ended":
        return CloseCode.SESSION_ENDED
    if problem.startswith("token-"):
        return CloseCode.BAD_TOKEN
    if problem.startswith("unknown-"):
        return CloseCode.UNKNOWN
    if problem == "stale-connection":
        return CloseCode.SUPERSEDED
    return CloseCode.FORBIDDEN


def refused(session: Session, refusal: Refused) -> Close:
    """What the session wants is refused."""
    return session.fail(close_code_of(refusal.code), refusal.code, refusal.detail)


def unavailable(session: Session, error: DoorstepError) -> Close:
    """It cannot be had now: connecting again mends it."""
    return session.fail(CloseCode.UNAVAILABLE, error.code, error.detail)


def superseded(session: Session) -> Close:
    """The newest connection of a device wins, and this is an older one."""
    return session.fail(
        CloseCode.SUPERSEDED, "superseded", "This device opened a newer connection."
    )


def restarting(session: Session) -> Close:
    """The gateway goes away: come back elsewhere."""
    return session.fail(CloseCode.RESTARTING, "restarting", "Connect again and resume.")
