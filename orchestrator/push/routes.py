"""The WebSocket routes, and the life of what stands behind them.

``mount`` adds raw ASGI routes to the service's app: a frame passes through no framework.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope
from starlette.types import Send as AsgiSend

from domain.errors import Refused
from orchestrator.auth import Caller, Tokens, tokens_of
from orchestrator.ports import Service
from orchestrator.push.campaigns import CampaignTopics
from orchestrator.push.connection import Send
from orchestrator.push.hub import Hub
from orchestrator.push.sessions import EndedSessions
from orchestrator.push.tail import Consumer, Tail
from orchestrator.push.topic_socket import TopicSocket
from orchestrator.push.topics import OrderTopics, Topic
from orchestrator.sessions import socket_token

__all__ = ["Push", "mount"]


class Push:
    """What a gateway runs to push: the tail of the journals, the inbox hub, the topics.

    Other rooms (the monitor) add their consumers and topics before :meth:`start`.
    """

    def __init__(self, service: Service, tokens: Tokens) -> None:
        self.service = service
        self._tokens = tokens
        settings = service.settings
        self.hub = Hub(
            service.runtime,
            service.clock,
            heartbeat_s=settings.heartbeat_s,
            queue_bytes_max=settings.socket_queue_bytes_max,
        )
        self.orders = OrderTopics(service.runtime)
        self.campaigns = CampaignTopics(service.clock.now)
        self.sessions = EndedSessions(service.views, self.hub.recheck)
        tokens.is_ended = self.sessions.is_ended
        self._consumers: list[Consumer] = [self.hub, self.orders, self.campaigns, self.sessions]
        self._background: list[tuple[Callable[[], Any], Callable[[], Awaitable[None]]]] = [
            (self.campaigns.start, self.campaigns.close)
        ]
        self.tail: Tail | None = None

    def listen(self, consumer: Consumer) -> None:
        """Add a consumer of the journals; before :meth:`start`."""
        self._consumers.append(consumer)

    def accompany(self, start: Callable[[], Any], close: Callable[[], Awaitable[None]]) -> None:
        """Start and close something with the push; before :meth:`start`."""
        self._background.append((start, close))

    async def start(self) -> None:
        """Begin to follow the journals, in the background; repeating it changes nothing."""
        if self.tail is None:
            self.tail = Tail(self.service.runtime, self._consumers)
            self.tail.start()
            for start, _ in self._background:
                start()

    async def close(self) -> None:
        """Close every socket with a resumable code, then stop following."""
        await self.hub.close()
        for _, close in self._background:
            await close()
        await self.orders.close()
        if self.tail is not None:
            await self.tail.close()

    def verifier(
        self, scope: Scope, roles: Sequence[str], subject: str = ""
    ) -> Callable[[str], float]:
        """Checks a token of one of ``roles`` (and of that subject, if given); an empty one stands
        for the browser session of the handshake ``scope``. The function returns the real seconds
        the token is still good for."""

        def verify(token: str) -> float:
            caller = self.caller(socket_token(token, scope, roles), roles, subject)
            return caller.expires_at - time.time()

        return verify

    def caller(self, token: str, roles: Sequence[str], subject: str = "") -> Caller:
        """Who holds the token. Raises ``Refused`` with ``token-…``, ``wrong-role`` or
        ``foreign-resource``."""
        caller = self._tokens.verify(token)
        if caller.role not in roles:
            raise Refused(
                "wrong-role",
                f"This socket is for {' or '.join(roles)}; the token is of a {caller.role}.",
            )
        if subject and caller.subject != subject:
            raise Refused(
                "foreign-resource",
                f"The token of {caller.role} {caller.subject} cannot read {subject}.",
            )
        return caller

    async def serve_topic(
        self,
        receive: Receive,
        send: Send,
        *,
        audience: str,
        verify: Callable[[str], float],
        topic_of: Callable[[], Awaitable[Topic]],
    ) -> None:
        """One socket on a topic, until it ends; see :class:`TopicSocket`."""
        settings = self.service.settings
        socket = TopicSocket(
            self.hub,
            audience=audience,
            verify=verify,
            topic_of=topic_of,
            heartbeat_s=settings.heartbeat_s,
            queue_bytes_max=settings.socket_queue_bytes_max,
        )
        await socket.serve(receive, send)


def mount(app: FastAPI, service: Service, tokens: Tokens | None = None) -> Push:
    """Add the sockets of stores, riders and orders to ``app``; they live with its lifespan."""
    push = Push(service, tokens or tokens_of(service.settings))
    routes = app.router.routes
    routes.append(WebSocketRoute("/v1/stores/{id}/socket", _InboxSocket(push, "store")))
    routes.append(WebSocketRoute("/v1/riders/{id}/socket", _InboxSocket(push, "rider")))
    routes.append(WebSocketRoute("/v1/orders/{id}/socket", _OrderSocket(push)))
    routes.append(WebSocketRoute("/v1/campaigns/{id}/socket", _CampaignSocket(push)))
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(scope_app: Any) -> AsyncIterator[Any]:
        async with inner(scope_app) as state:
            await push.start()
            try:
                yield state
            finally:
                await push.close()

    app.router.lifespan_context = lifespan
    return push


class _InboxSocket:
    """ASGI app of ``/v1/stores/{id}/socket`` and ``/v1/riders/{id}/socket``."""

    def __init__(self, push: Push, role: str) -> None:
        self._push = push
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        subject = scope["path_params"]["id"]
        verify = self._push.verifier(scope, (self._role,), subject)
        await self._push.hub.serve(f"{self._role}/{subject}", verify, receive, send)


class _OrderSocket:
    """ASGI app of ``/v1/orders/{id}/socket``: for operations and the order's own channel."""

    def __init__(self, push: Push) -> None:
        self._push = push

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        order_id = scope["path_params"]["id"]
        callers: list[Caller] = []

        def verify(token: str) -> float:
            roles = ("channel", "ops")
            caller = self._push.caller(socket_token(token, scope, roles), roles)
            callers.append(caller)
            return caller.expires_at - time.time()

        async def topic_of() -> Topic:
            topic = await self._push.orders.topic(order_id)
            caller = callers[0]
            if caller.role == "channel" and caller.subject != topic.document["channel"]:
                self._push.orders.forget_unwatched(order_id)
                # As over HTTP: nobody learns which orders of others exist.
                raise Refused("unknown-order", f"There is no order {order_id}.")
            return topic

        try:
            await self._push.serve_topic(
                receive, send, audience="order", verify=verify, topic_of=topic_of
            )
        finally:
            self._push.orders.forget_unwatched(order_id)


class _CampaignSocket:
    """ASGI app of ``/v1/campaigns/{id}/socket``: for channels and operations."""

    def __init__(self, push: Push) -> None:
        self._push = push

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        campaign_id = scope["path_params"]["id"]

        async def topic_of() -> Topic:
            return await self._push.campaigns.topic(campaign_id)

        try:
            await self._push.serve_topic(
                receive,
                send,
                audience="campaign",
                verify=self._push.verifier(scope, ("channel", "ops")),
                topic_of=topic_of,
            )
        finally:
            self._push.campaigns.forget_unwatched(campaign_id)
