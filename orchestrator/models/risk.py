"""Queueing, blocklists, decisions on risk."""

from datetime import datetime

from msgspec import Struct

__all__ = [
    "Block",
    "BlockPage",
    "Clearance",
    "QueuePlace",
    "QueueRule",
    "RiskDecision",
    "RiskRecord",
    "SkuQueue",
]


class QueueRule(Struct, frozen=True, gc=False):
    """``burst`` customers at once, then ``per_s`` a second; each has ``valid_s`` seconds to order.
    No more than ``waiting_max`` wait."""

    per_s: float
    burst: int
    valid_s: float
    waiting_max: int


class SkuQueue(QueueRule, frozen=True, kw_only=True):
    """A SKU whose orders need a queue token."""

    sku: str


class QueuePlace(Struct, frozen=True, gc=False):
    """A place in the queue: order with ``token`` from ``admitted_at`` on, before ``expires_at``.
    ``position``: how many are let in before, about; 0: it is the customer's turn."""

    token: str
    target: str
    admitted_at: datetime
    expires_at: datetime
    position: int


class Clearance(Struct, frozen=True, gc=False):
    """Send it as ``clearance`` with orders of this customer."""

    clearance: str
    expires_at: datetime


class Block(Struct, frozen=True, gc=False):
    """One entry of a blocklist; ``until`` null: until it is removed."""

    kind: str
    value: str
    why: str
    by: str
    until: datetime | None


class BlockPage(Struct, frozen=True, gc=False):
    """Blocks by kind and value."""

    items: list[Block]
    next: str | None


class RiskDecision(Struct, frozen=True, gc=False):
    """An order that was challenged or denied."""

    decision: str
    reasons: list[str]
    at: datetime
    channel: str
    order_id: str
    device_id: str
    address: str


class RiskRecord(Struct, frozen=True, gc=False):
    """The last decisions about a customer, newest last, and how many there were. Repeats within a
    minute count once."""

    customer_id: str
    challenged: int
    denied: int
    passed: int
    decisions: list[RiskDecision]
