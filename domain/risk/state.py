"""One entry of risk as it is kept."""

from typing import TypeAlias, assert_never

from msgspec import Struct, field

from domain.risk.commands import Block, DecisionView
from domain.risk.events import (
    BlockPut,
    BlockRemoved,
    ChallengeFailed,
    ChallengeOpened,
    ChallengePassed,
    Decided,
)

__all__ = ["CHALLENGES_MAX", "DECISIONS_MAX", "Challenge", "RiskEvent", "RiskState", "evolve"]

DECISIONS_MAX = 20
CHALLENGES_MAX = 8
"""Most challenges one customer has open; a further one takes the oldest's place."""

RiskEvent: TypeAlias = (
    BlockPut | BlockRemoved | Decided | ChallengeOpened | ChallengePassed | ChallengeFailed
)


class Challenge(Struct, array_like=True, gc=False):
    """An open (or passed) challenge."""

    channel: str
    code: str
    expires_at: float
    wrong: int = 0
    """Failed answers."""
    passed: bool = False


class RiskState(Struct, array_like=True, gc=False):
    """A block, or what is kept of a customer."""

    block: Block | None = None
    removed_at: float | None = None
    """Since when a block is none any more."""
    challenged: int = 0
    denied: int = 0
    passed: int = 0
    decisions: list[DecisionView] = field(default_factory=list)
    challenges: dict[str, Challenge] = field(default_factory=dict)


def evolve(state: RiskState | None, event: RiskEvent) -> RiskState:
    """Apply one event in place."""
    if state is None:
        state = RiskState()
    match event:
        case BlockPut(block):
            state.block, state.removed_at = block, None
        case BlockRemoved():
            state.block, state.removed_at = None, event.at
        case Decided(decision, reasons, visit, at):
            state.challenged += decision == "challenge"
            state.denied += decision == "deny"
            kept = state.decisions[1 - DECISIONS_MAX :]
            state.decisions = [*kept, DecisionView(decision, reasons, visit, at)]
        case ChallengeOpened():
            while len(state.challenges) >= CHALLENGES_MAX:
                del state.challenges[next(iter(state.challenges))]
            state.challenges[event.challenge_id] = Challenge(
                event.channel, event.code, event.expires_at
            )
        case ChallengePassed():
            state.passed += 1
            if event.challenge_id in state.challenges:
                state.challenges[event.challenge_id].passed = True
        case ChallengeFailed():
            if event.challenge_id in state.challenges:
                state.challenges[event.challenge_id].wrong += 1
        case _:
            assert_never(event)
    return state
