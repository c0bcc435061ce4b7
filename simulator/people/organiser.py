"""Whoever opens one campaign of the day and tells its customers where it is."""

from orchestrator.client import ProblemError
from simulator.clock import stamp
from simulator.day import Day
from simulator.plan import CampaignPlan

__all__ = ["Organiser"]


class Organiser:
    """``work`` opens the campaign at its time and returns; the service ends it by itself."""

    def __init__(self, plan: CampaignPlan, day: Day) -> None:
        self._plan = plan
        self._day = day
        self._ops = day.client("ops", "simulator")

    async def work(self) -> None:
        """Announce it. A campaign that the service refuses is told as a wonder; its customers go
        away."""
        plan, day = self._plan, self._day
        if not await day.sleep_until(day.at(plan.announced_s)):
            return
        body = plan.as_json(day.plan.currency)
        body["starts_at"] = stamp(day.at(plan.starts_s))
        body["ends_at"] = stamp(day.at(plan.ends_s))
        campaign_id = ""
        try:
            campaign_id = (await self._ops.open_campaign(body, key=plan.key)).campaign_id
        except ProblemError as trouble:
            day.world.wonders.append(f"{plan.key} was not opened: {trouble}")
        day.announce(plan.key, campaign_id)
