"""What remains of each campaign, pushed: a snapshot, then at most ten deltas a second however many
orders race for it. Kept from the feed alone; the campaign is not asked."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from domain.campaign.brief import Brief, brief_of, followed
from domain.campaign.events import Opened, Tally
from domain.errors import Refused
from orchestrator.api.show import show_campaign_now
from orchestrator.push.document import without_absent
from orchestrator.push.topics import Topic

__all__ = ["CampaignTopics"]

TICK_S = 0.1
"""Real seconds between deltas."""
SHOWN_S = 86_400.0
"""A campaign that is over is shown for so long, or while somebody watches it."""

_log = structlog.get_logger(__name__)


class CampaignTopics:
    """A consumer of the tail. ``now``: service time."""

    kinds: Sequence[str] = ("campaign",)

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._briefs: dict[str, Brief] = {}
        self._topics: dict[str, Topic] = {}
        self._unheard: set[str] = set()
        """Since the tail started anew."""
        self._task: asyncio.Task[None] | None = None

    async def topic(self, campaign_id: str) -> Topic:
        """The campaign's topic, current to this moment. Raises ``unknown-campaign``."""
        brief = self._briefs.get(campaign_id)
        if brief is None:
            raise Refused("unknown-campaign", f"There is no campaign {campaign_id}.")
        topic = self._topics.setdefault(campaign_id, Topic())
        topic.publish(self._document(brief))
        return topic

    def forget_unwatched(self, campaign_id: str) -> None:
        """Let go of a campaign nobody watches any more."""
        topic = self._topics.get(campaign_id)
        if topic is not None and not topic.watched:
            del self._topics[campaign_id]

    def start(self) -> None:
        """Begin to tick."""
        self._task = asyncio.create_task(self._tick_for_ever(), name="campaign-topics")

    async def close(self) -> None:
        """Stop ticking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def tick(self) -> None:
        """Tell those who watch what changed; time alone starts and ends a campaign."""
        for campaign_id, topic in self._topics.items():
            brief = self._briefs.get(campaign_id)
            if brief is not None and topic.watched:
                try:
                    topic.publish(self._document(brief))
                except Exception:
                    # One campaign that cannot be told must not silence the others.
                    _log.exception("campaigns.tick_failed", campaign_id=campaign_id)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def _document(self, brief: Brief) -> dict[str, Any]:
        shown = msgspec.to_builtins(show_campaign_now(brief, self._now()))
        document: dict[str, Any] = without_absent(shown)
        return document

    # Consumer of the tail

    def reset(self) -> None:
        """The tail starts anew. What is known stays shown until it is loaded."""
        self._unheard = set(self._briefs)

    def load(self, kind: str, entity: str, state: Any) -> None:
        """A campaign as it is now."""
        self._briefs[entity] = brief_of(entity, state)
        self._unheard.discard(entity)

    def loaded(self) -> None:
        """The next tick tells. A campaign that is in no shard's memory any more is over."""
        for campaign_id in self._unheard:
            brief = self._briefs[campaign_id]
            brief.ended, brief.ended_at = True, brief.ended_at or self._now()
            brief.tally, brief.open_groups = Tally(), 0
        self._unheard.clear()

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """Something happened to a campaign."""
        brief = followed(self._briefs.get(entity), entity, event)
        if brief is not None:
            self._briefs[entity] = brief
        if isinstance(event, Opened):
            self._forget_over(event.at)

    def _forget_over(self, now: float) -> None:
        for campaign_id, brief in list(self._briefs.items()):
            shown = campaign_id in self._topics or now - brief.ended_at <= SHOWN_S
            if brief.over and not shown:
                del self._briefs[campaign_id]
