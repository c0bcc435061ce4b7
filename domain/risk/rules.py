"""What is kept of risk, and how a challenge is passed (DOMAIN, Members, risk)."""

import hmac
from ipaddress import ip_network

from domain.errors import Refused
from domain.message import Value
from domain.risk.commands import (
    BLOCK_KINDS,
    AnswerChallenge,
    Block,
    OpenChallenge,
    PutBlock,
    RecordDecision,
    RecordView,
    RemoveBlock,
)
from domain.risk.events import (
    BlockPut,
    BlockRemoved,
    ChallengeFailed,
    ChallengeOpened,
    ChallengePassed,
    Decided,
)
from domain.risk.state import Challenge, RiskEvent, RiskState
from domain.risk.table import CHALLENGE

__all__ = [
    "CLEARED_S", "CODE_DIGITS", "TRIES_MAX", "Clearance", "answer", "check_block", "code_of",
    "entity_of_block", "open_challenge", "put_block", "record", "record_view", "remove_block",
]  # fmt: skip

REPEAT_S = 60.0
TRIES_MAX = 5
"""Failed answers until a challenge is lost."""
CODE_DIGITS = 6
CLEARED_S = 900.0
"""Who passed a challenge is not challenged again for so long."""


class Clearance(Value):
    """Sealed and given to the channel: the customer passed a challenge."""

    channel: str
    customer_id: str
    expires_at: float


def entity_of_block(kind: str, value: str) -> str:
    """The id of a block's entity."""
    return f"block:{kind}:{value}"


def check_block(block: Block) -> None:
    """Raises ``Refused`` with ``invalid-block`` and a text that says what is wrong."""
    if block.kind not in BLOCK_KINDS:
        raise Refused("invalid-block", f"Block one of {', '.join(BLOCK_KINDS)}.")
    if not 0 < len(block.value) <= 128 or not block.value.isprintable():
        raise Refused("invalid-block", "Name whom to block in 1 to 128 printable characters.")
    if block.kind == "address":
        try:
            ip_network(block.value)
        except ValueError as error:
            raise Refused("invalid-block", f"{error}; send an IP address or network.") from None


def put_block(state: RiskState | None, command: PutBlock, entity_id: str, now: float) -> BlockPut:
    """Block, from now on. Raises ``Refused`` with ``invalid-block``."""
    block = command.block
    check_block(block)
    if entity_of_block(block.kind, block.value) != entity_id:
        raise Refused("invalid-block", f"This block belongs elsewhere than to {entity_id}.")
    return BlockPut(block, now)


def remove_block(state: RiskState | None, command: RemoveBlock, now: float) -> BlockRemoved:
    """Raises ``Refused`` with ``unknown-block``."""
    if state is None or state.block is None:
        raise Refused("unknown-block", "Nothing is blocked under this name.")
    return BlockRemoved(state.block, command.by, command.why, now)


def record(state: RiskState | None, command: RecordDecision, now: float) -> list[RiskEvent]:
    """Keep the decision, unless the very same was kept a moment ago."""
    last = state.decisions[-1] if state is not None and state.decisions else None
    if (
        last is not None
        and now - last.at < REPEAT_S
        and (last.decision, last.reasons) == (command.decision, command.reasons)
    ):
        return []
    return [Decided(command.decision, command.reasons, command.visit, now)]


def open_challenge(state: RiskState | None, command: OpenChallenge, now: float) -> list[RiskEvent]:
    """The decision and its challenge. One that is open already stays as it is."""
    open_ = None if state is None else state.challenges.get(command.challenge_id)
    if open_ is not None and now < open_.expires_at:
        return []
    decided = RecordDecision(CHALLENGE, command.reasons, command.visit)
    opened = ChallengeOpened(
        command.challenge_id, command.visit.channel, command.code, command.expires_at, now
    )
    return [*record(state, decided, now), opened]


def answer(
    state: RiskState | None, command: AnswerChallenge, now: float
) -> tuple[list[RiskEvent], bool]:
    """Whether it is passed now; a failed answer is an event, too. Raises ``Refused``:
    ``unknown-challenge``, ``challenge-expired`` (also after :data:`TRIES_MAX` failed answers)."""
    known = None if state is None else state.challenges.get(command.challenge_id)
    if known is None or known.channel != command.channel:
        raise Refused("unknown-challenge", "There is no such challenge. Place the order again.")
    if now >= known.expires_at or known.wrong >= TRIES_MAX:
        raise Refused("challenge-expired", "The challenge is over. Place the order again.")
    if known.passed:
        return [], True
    if not _passes(known, command):
        return [ChallengeFailed(command.challenge_id, now)], False
    by = "code" if known.code else f"channel:{command.channel}"
    return [ChallengePassed(command.challenge_id, by, now)], True


def _passes(known: Challenge, command: AnswerChallenge) -> bool:
    """By the code if one was sent, and then by nothing else; otherwise by the channel's word."""
    if known.code:
        return hmac.compare_digest(known.code.encode(), command.code.encode())
    return command.passed


def code_of(secret: bytes, challenge_id: str) -> str:
    """The one-time code of a challenge: the same for a repeat, unknown without the secret."""
    digest = hmac.digest(secret, f"challenge code {challenge_id}".encode(), "sha256")
    return f"{int.from_bytes(digest[:8]) % 10**CODE_DIGITS:0{CODE_DIGITS}d}"


def record_view(state: RiskState | None, customer_id: str) -> RecordView:
    """What is kept of a customer."""
    known = RiskState() if state is None else state
    return RecordView(
        customer_id, known.challenged, known.denied, known.passed, tuple(known.decisions)
    )
