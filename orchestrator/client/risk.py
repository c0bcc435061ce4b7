"""The gate before orders: the queue, challenges, and what operations block."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from orchestrator.client.transport import Transport
from orchestrator.models import Block, BlockPage, Clearance, Done, QueuePlace, RiskRecord

__all__ = ["RiskCalls"]


class RiskCalls(Transport):
    """``/queue`` and the routes below ``/risk``. Orders are placed by ``place_order`` with a
    ``queue_token`` and, after a challenge, a ``clearance`` in the body."""

    async def join_queue(
        self, customer_id: str, *, sku: str = "", campaign_id: str = "", key: str | None = None
    ) -> QueuePlace:
        """Queue for a SKU or a campaign; again gives the same place."""
        body = {"customer_id": customer_id, "sku": sku, "campaign_id": campaign_id}
        return await self.post(QueuePlace, "/queue", body, key)

    async def answer_challenge(
        self, challenge_id: str, customer_id: str, *, code: str = "", key: str | None = None
    ) -> Clearance:
        """The customer passed: with the ``code`` they were sent; without, by the channel's word."""
        body: dict[str, Any] = {"customer_id": customer_id, "code": code, "passed": not code}
        return await self.post(
            Clearance, f"/risk/challenges/{quote(challenge_id)}/answers", body, key
        )

    async def blocks(self, kind: str = "") -> BlockPage:
        """Who may not order."""
        return await self.get(BlockPage, "/risk/blocks", {"kind": kind})

    async def block(
        self, kind: str, value: str, why: str, *, until: datetime | None = None
    ) -> Block:
        """Block a ``customer``, ``phone``, ``device`` or ``address``."""
        body = {"why": why, "until": until}
        return await self.put(Block, _block(kind, value), body)

    async def unblock(self, kind: str, value: str, why: str = "") -> Done:
        """Let them order again."""
        return await self.call(Done, "DELETE", _block(kind, value), query={"why": why})

    async def risk_record(self, customer_id: str) -> RiskRecord:
        """What was decided about a customer lately."""
        return await self.get(RiskRecord, f"/risk/customers/{quote(customer_id)}")


def _block(kind: str, value: str) -> str:
    return f"/risk/blocks/{quote(kind)}/{quote(value, safe='')}"
