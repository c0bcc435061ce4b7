"""Campaigns: what channels read and follow, what operations open and end."""

from typing import Any
from urllib.parse import quote

from orchestrator.client.transport import Transport
from orchestrator.models import Campaign, CampaignGroups

__all__ = ["CampaignCalls"]


class CampaignCalls(Transport):
    """Routes below ``/campaigns``. Orders are placed by ``place_order`` with a ``campaign_id`` (and
    ``group_id`` to join a group)."""

    async def open_campaign(self, terms: dict[str, Any], *, key: str | None = None) -> Campaign:
        """Open a flash sale or group-buy (the body of ``POST /campaigns``); a hot one with
        ``own_shard``. Raises ``ProblemError`` with ``no-own-shard`` where none is configured."""
        return await self.post(Campaign, "/campaigns", terms, key)

    async def campaign(self, campaign_id: str) -> Campaign:
        """A campaign as it stands."""
        return await self.get(Campaign, f"/campaigns/{quote(campaign_id)}")

    async def campaign_groups(
        self, campaign_id: str, *, near_completion: int = 0, limit: int = 50
    ) -> CampaignGroups:
        """Groups that can be joined, the nearest to completion first."""
        query = {"near_completion": near_completion, "limit": limit}
        return await self.get(CampaignGroups, f"/campaigns/{quote(campaign_id)}/groups", query)

    async def end_campaign(self, campaign_id: str, why: str, *, key: str | None = None) -> Campaign:
        """End it now."""
        return await self.post(Campaign, f"/campaigns/{quote(campaign_id)}/end", {"why": why}, key)
