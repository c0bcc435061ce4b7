"""Campaigns and their open groups."""

from collections.abc import Iterable

from actors.engine.placement import own_shard_of
from domain.campaign.brief import Brief
from domain.campaign.commands import GroupRule, Terms
from domain.campaign.views import CampaignView, GroupView
from domain.wire import moment
from orchestrator.api.show.risk import show_queue_rule
from orchestrator.models.campaign import (
    Campaign,
    CampaignGroup,
    CampaignGroups,
    CampaignNow,
    CampaignQuota,
    GroupTerms,
    PriceStep,
    UnitTally,
)

__all__ = ["show_campaign", "show_campaign_now", "show_groups"]


def show_campaign(view: CampaignView) -> Campaign:
    """A campaign, from its own answer or as its feed tells."""
    terms, tally = view.terms, view.tally
    return Campaign(
        view.campaign_id, terms.name, terms.kind, view.state, terms.sku, terms.price,
        view.list_price, terms.currency, moment(terms.starts_at), moment(terms.ends_at),
        terms.limit_per_customer, terms.pay_s, list(terms.channels), terms.issuer,
        _show_rule(terms), view.remaining,
        UnitTally(tally.available, tally.held, tally.sold, tally.returned),
        [
            CampaignQuota(
                one.store_id, one.asked, one.set_aside, one.available, one.held, one.sold,
                one.returned, one.problem,
            )
            for one in view.quota
        ],
        view.open_groups, view.formed_groups, view.failed_groups,
        None if terms.queue is None else show_queue_rule(terms.queue),
        own_shard_of(view.campaign_id),
    )  # fmt: skip


def show_groups(groups: Iterable[GroupView]) -> CampaignGroups:
    """Open groups."""
    items = [
        CampaignGroup(
            one.group_id, one.size, one.paid, one.claimed, one.missing, one.seats_free, one.price,
            moment(one.opened_at), moment(one.closes_at),
        )
        for one in groups
    ]  # fmt: skip
    return CampaignGroups(items, None)


def show_campaign_now(brief: Brief, now: float) -> CampaignNow:
    """What watchers of a campaign see at ``now``."""
    terms = brief.terms
    state = brief.state_at(now)
    return CampaignNow(
        brief.campaign_id, state, terms.sku, terms.price, terms.currency, moment(terms.starts_at),
        moment(terms.ends_at), 0 if state == "ended" else brief.remaining, brief.open_groups,
        brief.formed_groups,
    )  # fmt: skip


def _show_rule(terms: Terms) -> GroupTerms | None:
    rule: GroupRule | None = terms.group
    if rule is None:
        return None
    steps = [PriceStep(step.members, step.price) for step in rule.steps]
    return GroupTerms(rule.kind, rule.size, rule.open_s, rule.stock, rule.late, rule.buffer, steps)
