"""One pairing code, and the session of the device that took it."""

from typing import TypeAlias, assert_never

from msgspec import Struct

from domain.device.events import CodeCreated, CodeRedeemed, SessionEnded, SessionRenewed

__all__ = ["CodeState", "DeviceEvent", "evolve"]

DeviceEvent: TypeAlias = CodeCreated | CodeRedeemed | SessionRenewed | SessionEnded


class CodeState(Struct, array_like=True, gc=False):
    """``redeemed_at`` is None while the code can still be taken (until ``expires_at``); then the
    session lasts until ``session_until``, unless it was ended before."""

    role: str
    subject: str
    expires_at: float
    redeemed_at: float | None = None
    device_name: str = ""
    session_until: float = 0.0
    ended_at: float | None = None


def evolve(state: CodeState | None, event: DeviceEvent) -> CodeState:
    """Apply a fact."""
    if isinstance(event, CodeCreated):
        return CodeState(event.role, event.subject, event.expires_at)
    assert state is not None
    match event:
        case CodeRedeemed():
            state.redeemed_at = event.at
            state.device_name, state.session_until = event.device_name, event.session_until
        case SessionRenewed():
            state.session_until = event.session_until
        case SessionEnded():
            state.ended_at = event.at
        case _:
            assert_never(event)
    return state
