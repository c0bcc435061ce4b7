"""How the people of the city speak to the service: politely, and for as long as it takes.

An :class:`Api` belongs to one person (a role and a subject). Every request that changes something
carries a key of the person's choosing, so that a request whose outcome is unknown (a killed
gateway, a full queue, a journal that is away) is simply repeated until it is answered.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any, Protocol

__all__ = ["Api", "Message", "NoAnswer", "Refusal", "Trouble", "Wire"]

PATIENCE_REAL_S = 180.0
FIRST_PAUSE_REAL_S = 0.05
PAUSE_REAL_S_MAX = 2.0


class Refusal(Exception):
    """The service understood and said no; asking again would not help."""

    def __init__(self, status: int, code: str, detail: str = "", extra: Any = None) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.extra: Mapping[str, Any] = extra or {}


class Trouble(Exception):
    """No answer, or one that says *later*: nothing is known; the same request may be repeated."""


class NoAnswer(Exception):
    """The service did not answer for longer than anybody would wait."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an inbox; ``type`` is ``snapshot`` for the whole state at ``offset``."""

    offset: int
    type: str
    data: Any


class Wire(Protocol):
    """The connection to the service: one attempt per call. See :mod:`simulator.wire`."""

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
        """The JSON answer. Raises :class:`Refusal` or :class:`Trouble`."""
        ...

    def inbox(
        self, path: str, *, token: Callable[[], str], device_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """The messages of an inbox, in order, each once, across reconnections, for ever. A message
        is acknowledged when the next one is asked for."""
        ...

    def topic(
        self, path: str, *, token: Callable[[], str]
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """A topic's document, anew after each change."""
        ...


@dataclass(slots=True)
class Api:
    """One person's way to the service. ``heard`` counts what went wrong on the way."""

    wire: Wire
    token: Callable[[], str]
    heard: Callable[[str], None] = lambda _what: None
    patience_real_s: float = PATIENCE_REAL_S
    _draw: Random = field(default_factory=lambda: Random(0))

    async def get(self, path: str, **query: Any) -> Any:
        """Read."""
        return await self._insist("GET", path, None, "", query)

    async def post(self, path: str, body: Any = None, *, key: str) -> Any:
        """Do something once, however often it must be sent. Raises :class:`Refusal` and
        :class:`NoAnswer`."""
        return await self._insist("POST", path, {} if body is None else body, key, None)

    async def put(self, path: str, body: Any, *, key: str = "") -> Any:
        """Set something; repeating changes nothing."""
        return await self._insist("PUT", path, body, key, None)

    async def once(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """A single attempt. Raises :class:`Trouble` as well."""
        return await self.wire.request(method, path, token=self.token(), body=body, key=key)

    async def pages(self, path: str, **query: Any) -> list[Any]:
        """All rows of a cursor-paged list."""
        rows: list[Any] = []
        after = ""
        while True:
            page = await self.get(path, **query, **({"after": after} if after else {}))
            rows.extend(page["items"])
            following = page.get("next")
            if not following or following == after:
                return rows
            after = following

    async def _insist(
        self, method: str, path: str, body: Any, key: str, query: Mapping[str, Any] | None
    ) -> Any:
        give_up = monotonic() + self.patience_real_s
        pause = FIRST_PAUSE_REAL_S
        while True:
            try:
                return await self.wire.request(
                    method, path, token=self.token(), body=body, key=key, query=query
                )
            except Trouble as trouble:
                self.heard("requests repeated")
                if monotonic() >= give_up:
                    raise NoAnswer(f"{method} {path}: {trouble}") from trouble
            # Jitter keeps a thousand people from coming back in the same instant.
            await asyncio.sleep(pause * self._draw.uniform(0.7, 1.3))
            pause = min(PAUSE_REAL_S_MAX, pause * 2)
