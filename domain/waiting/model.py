"""How fast a waiting room lets customers in, and what rooms there are."""

from domain.message import Value

__all__ = ["QueueRule", "SkuQueue", "campaign_target", "sku_room", "sku_target"]


class QueueRule(Value):
    """A token bucket: ``burst`` customers at once, then ``per_s`` a second."""

    per_s: float = 50.0
    burst: int = 50
    valid_s: float = 120.0
    """An admission must be used within so long; then the customer may queue again."""
    waiting_max: int = 50_000
    """More customers than that are not taken in: they try again."""


class SkuQueue(Value):
    """A channel's orders of ``sku`` need a queue token."""

    sku: str
    rule: QueueRule = QueueRule()


def sku_target(sku: str) -> str:
    """What is queued for: a SKU."""
    return f"sku:{sku}"


def campaign_target(campaign_id: str) -> str:
    """What is queued for: a campaign."""
    return f"campaign:{campaign_id}"


def sku_room(channel: str, sku: str) -> str:
    """The waiting room of a SKU: each channel has its own, as its rule is the channel's, and how
    fast one channel lets its customers in says nothing of another's. (A campaign has one rule and
    one room for all channels, named like its target.)"""
    return f"{channel}/{sku_target(sku)}"
