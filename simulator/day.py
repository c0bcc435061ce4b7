"""What everybody in the city shares while a day is lived: plan, clock, physical world."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from orchestrator.client import DoorstepClient, ProblemError, Retries, TokenSource
from simulator.clock import ServiceClock
from simulator.plan import Plan
from simulator.wire import Wire
from simulator.world import World

__all__ = ["PATIENT", "Day", "TokenMaker"]

TOKEN_USED_REAL_S = 3_600.0
PATIENT = Retries(attempts=None, pause_s_min=0.05, pause_s_max=2.0, give_up_s=180.0)
"""As long as anybody would wait for an answer."""
ONCE = Retries(attempts=1)

TokenMaker = Callable[[str, str], str]
"""(role, subject) to a bearer token; roles are ``channel | store | rider | ops``."""


@dataclass(slots=True)
class Day:
    """One day under way. ``began_at`` is the service time of the plan's second 0."""

    plan: Plan
    world: World
    clock: ServiceClock
    wire: Wire
    token: TokenMaker
    began_at: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when every order is final: whoever still works may go home."""
    watchers: set[asyncio.Task[None]] = field(default_factory=set)
    """People who only look on; they are sent home when the day is over."""
    tokens: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    campaign_ids: dict[str, str] = field(default_factory=dict)
    """Campaigns that were opened, by key; "" for one that the service refused."""
    news: dict[str, asyncio.Event] = field(default_factory=dict)
    on_shift: set[str] = field(default_factory=set)
    carrying: set[str] = field(default_factory=set)

    def at(self, planned_s: float) -> float:
        """The service time of a moment of the plan."""
        return self.began_at + planned_s

    async def sleep_until(self, at: float) -> bool:
        """Wait until a moment of service time; False when the day is over first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self.clock.real_s(at - self.clock.now()))):
                await self.over.wait()
        return not self.over.is_set()

    def announce(self, key: str, campaign_id: str) -> None:
        """A campaign was opened (or refused: "")."""
        self.campaign_ids[key] = campaign_id
        self.news.setdefault(key, asyncio.Event()).set()

    async def campaign_id(self, key: str) -> str:
        """Wait until the campaign was announced."""
        await self.news.setdefault(key, asyncio.Event()).wait()
        return self.campaign_ids[key]

    def look_on(self, watching: Coroutine[Any, Any, None]) -> None:
        """Let somebody watch beside what they do; trouble there is only counted."""
        task = asyncio.create_task(watching)
        self.watchers.add(task)
        task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self.watchers.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.count(f"watching failed: {type(task.exception()).__name__}")

    def client(self, role: str, subject: str) -> DoorstepClient:
        """One person's way to the service, politely, and for as long as it takes. It raises
        ``Refusal``, and ``Unanswered`` when nobody would wait any longer."""
        return self.wire.client(self.signs(role, subject), replace(PATIENT, on_retry=self._again))

    def hasty(self, role: str, subject: str) -> DoorstepClient:
        """The same for what is not worth a second attempt: ``Unanswered`` comes at once."""
        return self.wire.client(self.signs(role, subject), ONCE)

    def signs(self, role: str, subject: str) -> TokenSource:
        """What a person's sockets and requests are signed with."""

        async def token() -> str:
            return self._token(role, subject)

        return token

    def _again(self, _problem: ProblemError) -> None:
        self.count("requests repeated")

    def _token(self, role: str, subject: str) -> str:
        """A token is used for an hour: signing one per request would be waste on both sides."""
        made_at, token = self.tokens.get((role, subject), (float("-inf"), ""))
        if monotonic() - made_at > TOKEN_USED_REAL_S:
            token = self.token(role, subject)
            self.tokens[role, subject] = (monotonic(), token)
        return token

    def count(self, what: str) -> None:
        """Something worth a line in the report happened."""
        self.world.counts[what] += 1
