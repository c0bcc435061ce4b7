"""Campaigns as the monitor sees them: what is left of their quota, and their open groups."""

from typing import Any

from actors.engine.placement import own_shard_of
from domain.campaign.brief import Brief, brief_of, followed
from domain.campaign.events import QuotaRefused
from orchestrator.monitor.anomalies import Anomalies, Remedy

__all__ = ["Campaigns"]


class Campaigns:
    """Campaigns that have not ended, or of which something is still held."""

    def __init__(self, anomalies: Anomalies) -> None:
        self._anomalies = anomalies
        self._briefs: dict[str, Brief] = {}

    def load(self, campaign_id: str, state: Any, now: float) -> None:
        """A campaign as it is now."""
        self._briefs[campaign_id] = brief_of(campaign_id, state)
        for store_id, shelf in state.shelves.items():
            if shelf.problem and not state.ended:
                self._refused(campaign_id, store_id, shelf.problem, shelf.problem, now)
        self._forget_if_over(campaign_id)

    def apply(self, campaign_id: str, event: Any, at: float) -> None:
        """One event of a campaign."""
        brief = followed(self._briefs.get(campaign_id), campaign_id, event)
        if brief is None:
            return
        self._briefs[campaign_id] = brief
        if isinstance(event, QuotaRefused):
            self._refused(campaign_id, event.store_id, event.code, event.detail, at)
        self._forget_if_over(campaign_id)

    def document(self, now: float) -> dict[str, Any]:
        """By campaign id, as JSON."""
        return {
            campaign_id: {
                "name": brief.terms.name,
                "kind": brief.terms.kind,
                "state": brief.state_at(now),
                "sku": brief.terms.sku,
                "remaining": brief.remaining,
                "held": brief.tally.held,
                "sold": brief.tally.sold,
                "returned": brief.tally.returned,
                "open_groups": brief.open_groups,
                "formed_groups": brief.formed_groups,
                "failed_groups": brief.failed_groups,
                "own_shard": own_shard_of(campaign_id),
            }
            for campaign_id, brief in self._briefs.items()
        }

    def _forget_if_over(self, campaign_id: str) -> None:
        if self._briefs[campaign_id].over:
            del self._briefs[campaign_id]
            self._anomalies.clear_owner(f"campaign/{campaign_id}")

    def _refused(self, campaign_id: str, store_id: str, code: str, reason: str, at: float) -> None:
        self._anomalies.raise_(
            "quota-refused", f"{campaign_id}/{store_id}", at,
            f"{store_id} set nothing aside for the campaign: {reason}",
            (Remedy("end", "POST", f"/v1/campaigns/{campaign_id}/end", {"why": None}),),
            owner=f"campaign/{campaign_id}", facts={"reason": code}, campaign_id=campaign_id,
            store_id=store_id,
        )  # fmt: skip
