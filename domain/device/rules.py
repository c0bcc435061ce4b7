"""What becomes of a pairing code: given out once, taken once, in time; then it is a session, until
its time is over or somebody ends it."""

from domain.device.commands import CreateCode, EndSession, RedeemCode, RenewSession
from domain.device.events import CodeCreated, CodeRedeemed, SessionEnded, SessionRenewed
from domain.device.state import CodeState
from domain.errors import Refused

__all__ = ["create", "end", "redeem", "renew"]


def create(state: CodeState | None, command: CreateCode, now: float) -> CodeCreated:
    """A new code. Raises ``Refused`` with ``code-exists``: draw another."""
    if state is not None:
        raise Refused("code-exists", "This code was given out before; ask for another.")
    return CodeCreated(
        command.role, command.subject, now + command.valid_s, command.created_by, now
    )


def redeem(state: CodeState | None, command: RedeemCode, now: float) -> CodeRedeemed:
    """The device takes the code. Raises ``Refused``: ``wrong-pairing-code`` (never given out, taken
    or too late: whoever guesses learns no more) and ``wrong-role`` (the code stays good: it was
    typed into another page)."""
    if state is None or state.redeemed_at is not None or now >= state.expires_at:
        raise Refused(
            "wrong-pairing-code", "The code is unknown, used or no longer valid. Ask for a new one."
        )
    if state.role not in command.roles:
        raise Refused("wrong-role", f"This code is for a {state.role}, not for this page.")
    session_s = dict(command.session_s).get(state.role, 0.0)
    return CodeRedeemed(command.device_name, now, now + session_s)


def renew(state: CodeState | None, command: RenewSession, now: float) -> SessionRenewed:
    """The session lasts longer. Raises ``Refused``: ``session-ended``, ``unknown-session``."""
    _check_paired(state)
    if state is not None and state.ended_at is not None:
        raise Refused("session-ended", "This device was unpaired. Pair it again.")
    return SessionRenewed(now + command.session_s, now)


def end(state: CodeState | None, command: EndSession, now: float) -> list[SessionEnded]:
    """The session is over; ending it again changes nothing. Raises ``Refused`` with
    ``unknown-session``."""
    _check_paired(state)
    if state is not None and state.ended_at is not None:
        return []
    return [SessionEnded(command.by, command.why, now)]


def _check_paired(state: CodeState | None) -> None:
    if state is None or state.redeemed_at is None:
        raise Refused("unknown-session", "No device has this session. List the devices anew.")
