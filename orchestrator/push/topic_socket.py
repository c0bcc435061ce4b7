"""One socket on a topic."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from domain.errors import DoorstepError, Refused
from orchestrator.push.closing import refused, restarting, unavailable
from orchestrator.push.connection import Connection, Receive, Send
from orchestrator.push.hub import Hub, Verify
from orchestrator.push.outbox import Outbox
from orchestrator.push.protocol import Authenticate, Phase, TopicSession
from orchestrator.push.topics import Topic

__all__ = ["TopicSocket"]


class TopicSocket:
    """A socket that joins a topic once it has shown a good token. For one :meth:`serve` alone."""

    def __init__(
        self,
        hub: Hub,
        *,
        audience: str,
        verify: Verify,
        topic_of: Callable[[], Awaitable[Topic]],
        heartbeat_s: float,
        queue_bytes_max: int,
    ) -> None:
        """``topic_of()`` is awaited after a good token and gives the topic, or raises ``Refused``;
        retryable errors close the socket with a resumable code."""
        self._hub = hub
        self._verify = verify
        self._topic_of = topic_of
        self._session = TopicSession(
            Outbox(queue_bytes_max), heartbeat_s=heartbeat_s, now=time.monotonic()
        )
        self._topic: Topic | None = None
        self._joining: asyncio.Task[None] | None = None
        self._connection = Connection(
            self._session,
            audience=audience,
            writers=hub.writers,
            now=time.monotonic,
            on_want=self._on_want,
            on_drained=self._on_drained,
        )

    async def serve(self, receive: Receive, send: Send) -> None:
        """Until the socket ends."""
        self._hub.watch(self._connection)
        if self._hub.closing:
            self._connection.handle(restarting(self._session))
        try:
            await self._connection.run(receive, send)
        finally:
            if self._joining is not None:
                self._joining.cancel()
                await asyncio.gather(self._joining, return_exceptions=True)
            if self._topic is not None:
                self._topic.leave(self._session)

    def _on_want(self, want: Any) -> None:
        if isinstance(want, Authenticate):
            self._joining = asyncio.create_task(self._join(want.token))

    async def _join(self, token: str) -> None:
        session, connection = self._session, self._connection
        try:
            expires_in_s = self._verify(token)
            connection.check = lambda: self._verify(token)
            topic = await self._topic_of()
        except Refused as refusal:
            connection.handle(refused(session, refusal))
            return
        except DoorstepError as error:
            connection.handle(unavailable(session, error))
            return
        if session.phase is Phase.CLOSED:
            return
        self._topic = topic
        session.authenticated(time.monotonic(), topic.epoch, expires_in_s)
        topic.join(session)
        self._hub.watch(connection)

    def _on_drained(self) -> None:
        if self._topic is not None:
            self._topic.catch_up(self._session)
