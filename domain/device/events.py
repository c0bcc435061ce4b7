"""Facts of one pairing code and its session."""

from domain.message import Event

__all__ = ["CodeCreated", "CodeRedeemed", "SessionEnded", "SessionRenewed"]


class CodeCreated(Event, tag="device.code_created.v1"):
    """A code for ``role`` and ``subject`` was given out by ``created_by``."""

    role: str
    subject: str
    expires_at: float
    created_by: str
    at: float


class CodeRedeemed(Event, tag="device.code_redeemed.v1"):
    """A device took it; nobody else can. Its session lasts until ``session_until``."""

    device_name: str
    at: float
    session_until: float = 0.0


class SessionRenewed(Event, tag="device.session_renewed.v1"):
    """The session lasts longer."""

    session_until: float
    at: float


class SessionEnded(Event, tag="device.session_ended.v1"):
    """Whoever still holds the session's token speaks for nobody."""

    by: str
    why: str
    at: float
