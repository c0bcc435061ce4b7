"""The one timer of all connections of a gateway."""

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count

from orchestrator.push.connection import Connection

__all__ = ["ConnectionTimer"]


class ConnectionTimer:
    """Ticks each connection when its session's time has come, O(log n) a tick; begins with the
    first one. ``every`` so many real seconds (``every_s``) it does one thing more; it looks at the
    clock four times in between."""

    def __init__(self, every: Callable[[], None], every_s: float) -> None:
        self._every = every
        self._every_s = every_s
        self._due: list[tuple[float, int, Connection]] = []
        self._order = count()
        self._task: asyncio.Task[None] | None = None

    def watch(self, connection: Connection) -> None:
        """Tick this connection until it is closed. To be repeated when its session's ``next_at``
        became earlier."""
        connection.due_at = connection.session.next_at
        heapq.heappush(self._due, (connection.due_at, next(self._order), connection))
        if self._task is None:
            self._task = asyncio.create_task(self._tick_for_ever(), name="push-timer")

    def connections(self) -> list[Connection]:
        """All that are watched, some of them twice."""
        return [connection for _, _, connection in self._due]

    def tick(self, now: float) -> None:
        """Tell the connections whose time has come by ``now`` (real, monotonic)."""
        due = self._due
        while due and due[0][0] <= now:
            at, _, connection = heapq.heappop(due)
            if at != connection.due_at or connection.ended:
                continue
            connection.tick()
            if not connection.ended:
                self.watch(connection)

    async def close(self) -> None:
        """Stop, until the next connection comes."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tick_for_ever(self) -> None:
        next_at = time.monotonic()
        while True:
            await asyncio.sleep(self._every_s / 4)
            now = time.monotonic()
            self.tick(now)
            if now >= next_at:
                next_at = now + self._every_s
                self._every()
