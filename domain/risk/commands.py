"""Commands to one entry of risk: a block (entity ``block:<kind>:<value>``) or what is kept of one
customer (``customer:<customer id>``)."""

from msgspec import Struct

from domain.message import Command, Value

__all__ = [
    "BLOCK_KINDS", "AnswerChallenge", "Block", "DecisionView", "GetRecord", "OpenChallenge",
    "PutBlock", "RecordDecision", "RecordView", "RemoveBlock", "Visit",
]  # fmt: skip

BLOCK_KINDS = ("customer", "phone", "device", "address")


class Block(Value):
    """One entry of a blocklist. ``kind`` is one of ``BLOCK_KINDS``; an address may be a network
    (``203.0.113.0/24``). ``until`` in epoch seconds; None: until it is removed."""

    kind: str
    value: str
    why: str
    by: str
    until: float | None = None


class PutBlock(Command, tag="risk.put_block.v1"):
    """Block it, or change how. Reply: True; refused with ``invalid-block``."""

    block: Block


class RemoveBlock(Command, tag="risk.remove_block.v1"):
    """Let it order again. Reply: True; nothing is blocked: refused with ``unknown-block``."""

    by: str
    why: str


class Visit(Value):
    """Who wanted to order what, when a decision was taken."""

    channel: str
    order_id: str
    device_id: str = ""
    address: str = ""


class RecordDecision(Command, tag="risk.record_decision.v1"):
    """Keep a decision that was not ``allow``; the same again within a minute stores nothing: an
    attack must not fill the journal. Reply: True."""

    decision: str
    reasons: tuple[str, ...]
    visit: Visit


class OpenChallenge(Command, tag="risk.open_challenge.v1"):
    """Keep the decision ``challenge`` and open one; again for the same ``challenge_id`` changes
    nothing. With a ``code`` the customer is sent it. Reply: True."""

    challenge_id: str
    reasons: tuple[str, ...]
    visit: Visit
    expires_at: float
    code: str = ""


class AnswerChallenge(Command, tag="risk.answer_challenge.v1"):
    """What code the customer typed in; where none was sent, whether the channel says that they
    passed. Reply: whether they did; refused with ``unknown-challenge``, ``challenge-expired``."""

    challenge_id: str
    channel: str
    code: str = ""
    passed: bool = False
    """The channel's word. It does not stand for a code that was sent."""


class GetRecord(Command, tag="risk.get_record.v1"):
    """Read what is kept of a customer. Reply: ``RecordView``."""


class DecisionView(Value):
    """A decision as it was kept; the same again within a minute was not."""

    decision: str
    reasons: tuple[str, ...]
    visit: Visit
    at: float


class RecordView(Struct, frozen=True, array_like=True, tag="risk.record_view.v1", gc=False):
    """The last decisions about a customer, newest last, and how many there were."""

    customer_id: str
    challenged: int
    denied: int
    passed: int
    decisions: tuple[DecisionView, ...]
