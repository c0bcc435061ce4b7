"""Facts of one entry of risk."""

from domain.message import Event
from domain.risk.commands import Block, Visit

__all__ = [
    "BlockPut", "BlockRemoved", "ChallengeFailed", "ChallengeOpened", "ChallengePassed", "Decided",
]  # fmt: skip


class BlockPut(Event, tag="risk.block_put.v1"):
    """It may not order."""

    block: Block
    at: float


class BlockRemoved(Event, tag="risk.block_removed.v1"):
    """It may order again."""

    block: Block
    by: str
    why: str
    at: float


class Decided(Event, tag="risk.decided.v1"):
    """``challenge`` or ``deny``, before anything was locked."""

    decision: str
    reasons: tuple[str, ...]
    visit: Visit
    at: float


class ChallengeOpened(Event, tag="risk.challenge_opened.v1"):
    """The customer has to show that they are one; ``code`` was sent to them, if it is not empty."""

    challenge_id: str
    channel: str
    code: str
    expires_at: float
    at: float


class ChallengePassed(Event, tag="risk.challenge_passed.v1"):
    """They have."""

    challenge_id: str
    by: str
    """``channel:<name>`` whose word it was, or ``code``."""
    at: float


class ChallengeFailed(Event, tag="risk.challenge_failed.v1"):
    """A wrong code, or no word of the channel that they passed."""

    challenge_id: str
    at: float
