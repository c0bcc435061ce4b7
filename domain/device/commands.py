"""Commands to one pairing code and the session it became (entity id: a digest of the code, which is
itself never stored)."""

from msgspec import Struct

from domain.message import Command

__all__ = ["CreateCode", "EndSession", "Pairing", "RedeemCode", "RenewSession"]


class CreateCode(Command, tag="device.create_code.v1"):
    """Let one device become ``role`` and ``subject`` within ``valid_s`` seconds of service time.
    Reply: ``Pairing``."""

    role: str
    subject: str
    valid_s: float
    created_by: str


class RedeemCode(Command, tag="device.redeem_code.v1"):
    """The device that types the code in first takes it; ``roles`` are those its page is for,
    ``session_s`` says for each role how long its session lasts (seconds of service time).
    Reply: ``Pairing``."""

    LOOKED_UP = frozenset({"session_s"})

    roles: tuple[str, ...]
    device_name: str = ""
    session_s: tuple[tuple[str, float], ...] = ()


class RenewSession(Command, tag="device.renew_session.v1"):
    """The session is used and lasts ``session_s`` seconds of service time from now. Reply: True."""

    session_s: float


class EndSession(Command, tag="device.end_session.v1"):
    """The device speaks for nobody any more: unpaired by itself or by ``by``. Reply: True."""

    by: str
    why: str


class Pairing(Struct, frozen=True, array_like=True, tag="device.pairing.v1", gc=False):
    """A reply: who the device speaks for, and until when the code is good (epoch seconds)."""

    role: str
    subject: str
    expires_at: float
