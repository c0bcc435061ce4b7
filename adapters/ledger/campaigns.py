"""The rules of campaigns: every fact of one that finance may ask about, as a document. The money
moves with its orders, the stock with its stores."""

from adapters.ledger.documents import Document, plain
from domain import campaign
from domain.message import Event

__all__ = ["account_campaign"]

_KINDS: dict[type[Event], str] = {
    campaign.Opened: "campaign_opened",
    campaign.QuotaSet: "campaign_quota_set",
    campaign.QuotaRefused: "campaign_quota_refused",
    campaign.GroupFormed: "group_formed",
    campaign.GroupFailed: "group_failed",
    campaign.Ended: "campaign_ended",
}


def account_campaign(campaign_id: str, event: Event) -> Document | None:
    """The document of one event of a campaign; None for single claims, which are their orders'."""
    kind = _KINDS.get(type(event))
    if kind is None:
        return None
    return Document(
        kind=kind,
        reference=getattr(event, "group_id", "") or campaign_id,
        store_id=getattr(event, "store_id", ""),
        data={"campaign_id": campaign_id, **plain(event)},
    )
