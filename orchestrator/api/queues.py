"""A queue's rate as a body: of a channel's SKU and of a campaign."""

from typing import Annotated

from pydantic import Field

from domain.waiting.model import QueueRule
from orchestrator.api.plain import Body, Name

__all__ = ["QueueRuleBody", "SkuQueueBody"]


class QueueRuleBody(Body):
    """`burst` customers are let in at once, then `per_s` a second; each has `valid_s` seconds to
    order. When `waiting_max` wait, others are sent away."""

    per_s: Annotated[float, Field(ge=0.001, le=100_000)] = 50.0
    burst: Annotated[int, Field(ge=1, le=100_000)] = 50
    valid_s: Annotated[float, Field(ge=1, le=86_400)] = 120.0
    waiting_max: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000

    def as_rule(self) -> QueueRule:
        """The domain's value."""
        return QueueRule(self.per_s, self.burst, self.valid_s, self.waiting_max)


class SkuQueueBody(QueueRuleBody):
    """Orders of `sku` need a queue token."""

    sku: Name
