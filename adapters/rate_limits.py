"""Rate limits per account, device and address: moving windows of the ``limits`` library.

In memory, each gateway counts for itself; with a Redis URL all gateways count together (an
asynchronous round trip a request). Redis away: nobody is held back, neither refused nor kept
waiting, as a shop that cannot count must not be closed; it is logged.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, ClassVar

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as SharedLimiter
from limits.storage import Storage
from limits.storage.base import MovingWindowSupport

from domain.errors import Busy

__all__ = [
    "AWAY_S", "KEYS_MAX", "BoundedMemory", "MemoryRateLimits", "SharedRateLimits", "parse_limit",
]  # fmt: skip

KEYS_MAX = 200_000
"""Accounts, devices and addresses that are counted at once; the longest silent is forgotten."""
ANSWER_S = 0.2
"""A Redis that has not answered a check by then is away ..."""
AWAY_S = 5.0
"""... and is asked once in so long whether it is back. Both real seconds."""

_log = structlog.get_logger(__name__)

Rules = Mapping[tuple[str, str], RateLimitItem]
"""(route, what is counted) -> limit; what is not named is not limited."""


def parse_limit(text: str) -> RateLimitItem | None:
    """``60/minute``, ``10 per 30 seconds``; empty: none. Raises ``ValueError``."""
    return parse(text) if text.strip() else None


class BoundedMemory(Storage, MovingWindowSupport):
    """Moving windows in this process: bounded, without threads or timers of its own."""

    STORAGE_SCHEME: ClassVar[list[str]] = ["doorstep-memory"]  # type: ignore[misc]

    def __init__(self, keys_max: int = KEYS_MAX, clock: Any = time.monotonic) -> None:
        super().__init__()
        self._keys_max = keys_max
        self._clock = clock
        # Lists, not deques: most hold one time, and an empty deque takes 600 bytes.
        self._times: OrderedDict[str, list[float]] = OrderedDict()
        self._longest_s = 0.0

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount``, unless that would be more than ``limit`` within ``expiry`` seconds."""
        times = self._window(key, expiry)
        if len(times) + amount > limit:
            return False
        now = self._clock()
        times.extend([now] * amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest that still counts was, and how many count."""
        times = self._window(key, expiry)
        return (times[0] if times else self._clock()), len(times)

    def _window(self, key: str, expiry: int) -> list[float]:
        times = self._times.get(key)
        now = self._clock()
        if times is None:
            self._longest_s = max(self._longest_s, expiry)
            self._make_room(now)
            times = self._times[key] = []
            return times
        self._times.move_to_end(key)
        since = now - expiry
        while times and times[0] <= since:
            del times[0]
        return times

    def _make_room(self, now: float) -> None:
        """Two silent keys go for each that comes, so that memory follows who is active."""
        for _ in range(2):
            if not self._times:
                return
            oldest = next(iter(self._times))
            times = self._times[oldest]
            full = len(self._times) >= self._keys_max
            if not full and times and now - times[-1] < self._longest_s:
                return
            del self._times[oldest]

    # What the library's base class asks for beside the moving window.

    @property
    def base_exceptions(self) -> type[Exception]:
        """Nothing of its own is raised."""
        return RuntimeError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count ``amount`` without a limit; how many count now."""
        times = self._window(key, expiry)
        times.extend([self._clock()] * amount)
        return len(times)

    def get(self, key: str) -> int:
        """How many were counted and not yet dropped."""
        return len(self._times.get(key, ()))

    def get_expiry(self, key: str) -> float:
        """When the newest was counted."""
        times = self._times.get(key)
        return times[-1] if times else self._clock()

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int:
        """Forget everything; how many keys there were."""
        count = len(self._times)
        self._times.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one key."""
        self._times.pop(key, None)


class MemoryRateLimits:
    """Counts in this process."""

    def __init__(self, rules: Rules, *, clock: Any = time.monotonic) -> None:
        self._rules: dict[str, list[tuple[str, RateLimitItem, int, int]]] = {}
        for (route, counted), rule in rules.items():
            one = (counted, rule, rule.amount, rule.get_expiry())
            self._rules.setdefault(route, []).append(one)
        self._clock = clock
        self._storage = BoundedMemory(clock=clock)

    async def check(self, route: str, **subjects: str) -> None:
        """See ``orchestrator.ports.RateLimits``."""
        for counted, rule, amount, window_s in self._rules.get(route, ()):
            subject = subjects.get(counted)
            if not subject:
                continue
            # The library's strategy would do no more than make a longer key, four times as slowly.
            key = f"{route}/{counted}/{subject}"
            if not self._storage.acquire_entry(key, amount, window_s):
                since, _ = self._storage.get_moving_window(key, amount, window_s)
                raise refusal(rule, counted, since + window_s - self._clock())

    async def close(self) -> None:
        """Nothing is held."""


class SharedRateLimits:
    """Counts in Redis, for all gateways. A check takes ``answer_s`` at most, and no time while
    Redis is known to be away, but for the one check in ``AWAY_S`` that finds out."""

    def __init__(
        self, rules: Rules, url: str, *, clock: Any = time.monotonic, answer_s: float = ANSWER_S
    ) -> None:
        self._rules = dict(rules)
        self._storage = RedisStorage(
            f"async+{url}", implementation="redispy", key_prefix="doorstep:limits"
        )
        self._limiter = SharedLimiter(self._storage)
        self._clock = clock
        self._answer_s = answer_s
        self._ask_at = 0.0
        """Redis is away and not asked before; 0: it is not away."""

    async def check(self, route: str, **subjects: str) -> None:
        """See ``orchestrator.ports.RateLimits``."""
        wanted = [
            (rule, counted, subject)
            for counted, subject in subjects.items()
            if subject and (rule := self._rules.get((route, counted))) is not None
        ]
        if not wanted or not self._may_ask():
            return
        try:
            # One bound on all of it: the library has timeouts for single steps, and tries again.
            async with asyncio.timeout(self._answer_s):
                refused = await self._ask(route, wanted)
        except Exception as error:
            self._is_away(error)
            return
        self._is_back()
        if refused is not None:
            raise refused

    async def close(self) -> None:
        """Let go of the connections."""
        client: Any = self._storage.bridge
        await client.storage.aclose()

    async def _ask(
        self, route: str, wanted: Sequence[tuple[RateLimitItem, str, str]]
    ) -> Busy | None:
        for rule, counted, subject in wanted:
            if not await self._limiter.hit(rule, route, counted, subject):
                stats = await self._limiter.get_window_stats(rule, route, counted, subject)
                return refusal(rule, counted, stats.reset_time - time.time())
        return None

    def _may_ask(self) -> bool:
        if self._ask_at:
            now = self._clock()
            if now < self._ask_at:
                return False
            self._ask_at = now + AWAY_S  # this check finds out; the others do not wait for it
        return True

    def _is_away(self, error: Exception) -> None:
        if not self._ask_at:  # else: this outage was told of
            self._ask_at = self._clock() + AWAY_S
            _log.warning("rate_limits.away", error=str(error) or type(error).__name__)

    def _is_back(self) -> None:
        if self._ask_at:
            self._ask_at = 0.0
            _log.info("rate_limits.back")


def refusal(rule: RateLimitItem, counted: str, wait_s: float) -> Busy:
    """``too-many-requests``, with what the headers say."""
    retry_after_s = max(1, ceil(wait_s))
    return Busy(
        "too-many-requests",
        f"More than {rule.amount} requests of one {counted} in {rule.get_expiry()} s. "
        f"Wait {retry_after_s} s.",
        limit=counted,
        quota=rule.amount,
        window_s=rule.get_expiry(),
        retry_after_s=retry_after_s,
    )
