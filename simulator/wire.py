"""The wire to a real service: one HTTP attempt per call, sockets that come back by themselves."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import msgspec

from orchestrator.client import (
    DoorstepClient,
    InboxSnapshot,
    InboxSocket,
    MemoryOffsets,
    ProblemError,
    Retries,
    TopicSocket,
)
from simulator.api import Message, Refusal, Trouble

__all__ = ["HttpWire"]

ONE_ATTEMPT = Retries(attempts=1, timeout_s=15.0)
CONNECTIONS_MAX = 128
LATER = frozenset({0, 408, 425, 429, 500, 502, 503, 504})
"""Statuses (0: no answer) after which the same request may be sent again."""


class HttpWire:
    """Implements :class:`simulator.api.Wire` over one pooled session to ``base_url``."""

    def __init__(self, base_url: str, *, seed: int = 0) -> None:
        self._base = base_url.rstrip("/")
        self._dice = Random(seed)
        self._clients: dict[str, DoorstepClient] = {}
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

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str,
        body: Any = None,
        key: str = "",
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """See :class:`simulator.api.Wire`."""
        try:
            answer: Any = await self._client(token).call(
                cast(type[Any], Any), method, self._address(path), body=body, key=key, query=query
            )
        except ProblemError as problem:
            if problem.status in LATER:
                raise Trouble(str(problem)) from problem
            raise Refusal(problem.status, problem.code, problem.detail, problem.extra) from problem
        except msgspec.DecodeError as error:
            raise Trouble(f"{method} {path}: not JSON ({error})") from error
        return answer

    @asynccontextmanager
    async def inbox(
        self, path: str, *, token: Callable[[], str], device_id: str
    ) -> AsyncGenerator[AsyncIterator[Message]]:
        """See :class:`simulator.api.Wire`. A device that connects again goes on where it was."""
        assert self._sockets is not None, "Enter the wire first."

        async def fresh() -> str:
            return token()

        socket = InboxSocket(
            self._sockets,
            self._socket_address(path),
            fresh,
            device_id,
            offsets=self._offsets.setdefault(device_id, MemoryOffsets()),
            dice=self._dice,
        )
        async with socket:
            yield _messages(socket)

    def topic(
        self, path: str, *, token: Callable[[], str]
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """See :class:`simulator.api.Wire`."""
        return self._topic(path, token)

    @asynccontextmanager
    async def _topic(
        self, path: str, token: Callable[[], str]
    ) -> AsyncGenerator[AsyncIterator[Any]]:
        assert self._sockets is not None, "Enter the wire first."

        async def fresh() -> str:
            return token()

        socket = TopicSocket(self._sockets, self._socket_address(path), fresh, dice=self._dice)
        try:
            yield _documents(socket)
        finally:
            await socket.close()

    def _client(self, token: str) -> DoorstepClient:
        """One client per person; they share the session, and leave repeating to the people."""
        assert self._session is not None, "Enter the wire first."
        client = self._clients.get(token)
        if client is None:
            client = DoorstepClient(
                self._base, token, session=self._session, retries=ONE_ATTEMPT, dice=self._dice
            )
            self._clients[token] = client
        return client

    def _address(self, path: str) -> str:
        return path if path.startswith("http") else self._base + path

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
