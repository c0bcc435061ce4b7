"""The wire to the service: typed clients for everybody, sockets that come back by themselves.

Every request that changes something carries a key of its person's choosing, so that a request whose
outcome is unknown (a killed gateway, a full queue, a journal that is away) is simply repeated until
it is answered.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp

from orchestrator.client import (
    DoorstepClient,
    InboxSnapshot,
    InboxSocket,
    MemoryOffsets,
    Retries,
    TokenSource,
    TopicSocket,
)

__all__ = ["HttpWire", "Message", "Wire"]

CONNECTIONS_MAX = 128


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an inbox; ``type`` is ``snapshot`` for the whole state at ``offset``."""

    offset: int
    type: str
    data: Any


class Wire(Protocol):
    """The connection to the service; tests have a scripted one."""

    def client(self, token: TokenSource, retries: Retries) -> DoorstepClient:
        """One person's way to the service; the connections are everybody's."""
        ...

    def inbox(
        self, path: str, *, token: TokenSource, device_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """The messages of an inbox, in order, each once, across reconnections, for ever. A message
        is acknowledged when the next one is asked for."""
        ...

    def topic(
        self, path: str, *, token: TokenSource
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """A topic's document, anew after each change."""
        ...


class HttpWire:
    """Implements :class:`Wire` over one pooled session to ``base_url``."""

    def __init__(self, base_url: str, *, seed: int = 0) -> None:
        self._base = base_url.rstrip("/")
        self._dice = Random(seed)
        self._offsets: dict[str, MemoryOffsets] = {}
        self._session: aiohttp.ClientSession | None = None
        self._sockets: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        pool = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ttl_dns_cache=300)
        self._session = aiohttp.ClientSession(connector=pool)
        # Sockets stay open for the whole day and must not use up the pool of the requests.
        self._sockets = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(connect=10.0)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for session in (self._session, self._sockets):
            if session is not None:
                await session.close()

    def client(self, token: TokenSource, retries: Retries) -> DoorstepClient:
        """See :class:`Wire`."""
        assert self._session is not None, "Enter the wire first."
        return DoorstepClient(
            self._base, token, session=self._session, retries=retries, dice=self._dice
        )

    @asynccontextmanager
    async def inbox(
        self, path: str, *, token: TokenSource, device_id: str
    ) -> AsyncGenerator[AsyncIterator[Message]]:
        """See :class:`Wire`. A device that connects again goes on where it was."""
        assert self._sockets is not None, "Enter the wire first."

        socket = InboxSocket(
            self._sockets,
            self._socket_address(path),
            token,
            device_id,
            offsets=self._offsets.setdefault(device_id, MemoryOffsets()),
            dice=self._dice,
        )
        async with socket:
            yield _messages(socket)

    def topic(
        self, path: str, *, token: TokenSource
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """See :class:`Wire`."""
        return self._topic(path, token)

    @asynccontextmanager
    async def _topic(self, path: str, token: TokenSource) -> AsyncGenerator[AsyncIterator[Any]]:
        assert self._sockets is not None, "Enter the wire first."

        socket = TopicSocket(self._sockets, self._socket_address(path), token, dice=self._dice)
        try:
            yield _documents(socket)
        finally:
            await socket.close()

    def _socket_address(self, path: str) -> str:
        return "ws" + self._base.removeprefix("http") + path


async def _messages(socket: InboxSocket) -> AsyncIterator[Message]:
    async for item in socket:
        if isinstance(item, InboxSnapshot):
            yield Message(item.head, "snapshot", item.data)
        else:
            yield Message(item.offset, item.type, item.data)


async def _documents(socket: TopicSocket) -> AsyncIterator[Any]:
    async for update in socket:
        yield update.document
