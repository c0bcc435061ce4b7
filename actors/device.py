"""One pairing code and its session as an actor kind: durable, so that a code works once over all
gateways and restarts, and an ended session stays ended. Entity id = a digest of the code, which is
the session's id too."""

from typing import TypeAlias

from actors.engine.kind import Answered, Context, Decision, Kind, Wake
from domain.device.commands import CreateCode, EndSession, Pairing, RedeemCode, RenewSession
from domain.device.rules import create, end, redeem, renew
from domain.device.state import CodeState, DeviceEvent, evolve

__all__ = ["KIND", "decide"]

DeviceCommand: TypeAlias = CreateCode | RedeemCode | RenewSession | EndSession


def decide(
    state: CodeState | None, command: DeviceCommand | Wake | Answered, context: Context
) -> Decision:
    """Answers as each command says, or refuses (see ``domain.device.rules``)."""
    match command:
        case CreateCode():
            created = create(state, command, context.now)
            reply = Pairing(created.role, created.subject, created.expires_at)
            return Decision([created], reply)
        case RedeemCode():
            redeemed = redeem(state, command, context.now)
            assert state is not None
            return Decision([redeemed], Pairing(state.role, state.subject, state.expires_at))
        case RenewSession():
            return Decision([renew(state, command, context.now)], True)
        case EndSession():
            return Decision([*end(state, command, context.now)], True)
        case Wake() | Answered():
            return Decision()


def _finished_at(state: CodeState) -> float:
    """Nothing can happen to it any more; known beforehand, so no timer is needed."""
    if state.redeemed_at is None:
        return state.expires_at
    # Until then a token of the session may be shown: whether it was ended must be known.
    return max(state.redeemed_at, state.session_until)


KIND = Kind(
    name="device",
    state=CodeState,
    commands=DeviceCommand,
    events=DeviceEvent,
    replies=Pairing | bool,
    decide=decide,
    evolve=evolve,
    finished_at=_finished_at,
)
