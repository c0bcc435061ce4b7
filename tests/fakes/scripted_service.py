"""A service for one test: answers by script, remembers what was asked, pushes what it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, TypeVar, cast

import msgspec

from orchestrator.client import DoorstepClient, ProblemError, Retries, TokenSource
from simulator.wire import Message
from tests.fakes.documents import whole

__all__ = ["Asked", "ScriptedService"]


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    body: Any
    key: str

    @property
    def step(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[1]


Document = TypeVar("Document")
Answer = Any | Callable[[Asked], Any]


class ScriptedService:
    """Implements ``simulator.wire.Wire``. The latest rule that fits answers; none: ``{}``."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connected: set[str] = set()
        """Devices whose socket is open."""
        self._rules: list[tuple[str, str, Answer]] = []
        self._inboxes: dict[str, asyncio.Queue[Message]] = {}
        self._offsets: dict[str, int] = {}

    def when(self, method: str, path: str, *answers: Answer) -> None:
        """Requests to ``path`` (with ``*``) get the answers in turn, the last one for ever. An
        exception is raised, a function called."""
        self._rules.insert(0, (method, path, list(answers)))

    def push(self, path: str, kind: str, data: Any, *, skip: int = 0) -> None:
        """A message into an inbox; ``skip`` offsets are lost before it."""
        offset = self._offsets.get(path, 0) + 1 + skip
        self._offsets[path] = offset
        self._inbox(path).put_nowait(Message(offset, kind, data))

    def steps(self, prefix: str = "") -> list[str]:
        """Last path parts of what was posted or put under ``prefix``, in order."""
        return [
            asked.step
            for asked in self.asked
            if asked.method != "GET" and asked.path.startswith(prefix)
        ]

    def client(self, token: TokenSource, retries: Retries) -> DoorstepClient:
        """See ``simulator.wire.Wire``. Answers may leave out members that the test does not use."""
        return ScriptedClient(self, token, retries)

    async def answer(self, asked: Asked) -> Any:
        """The answer to one attempt, or the exception that stands for it."""
        self.asked.append(asked)
        await asyncio.sleep(0)
        for method, pattern, answers in self._rules:
            if method == asked.method and fnmatch(asked.path, pattern):
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if isinstance(answer, Exception):
                    raise answer
                return answer(asked) if callable(answer) else answer
        return {}

    @asynccontextmanager
    async def inbox(
        self, path: str, *, token: TokenSource, device_id: str
    ) -> AsyncIterator[AsyncIterator[Message]]:
        """See ``simulator.wire.Wire``."""
        self.connected.add(device_id)
        try:
            yield self._messages(path)
        finally:
            self.connected.discard(device_id)

    @asynccontextmanager
    async def topic(self, path: str, *, token: TokenSource) -> AsyncIterator[AsyncIterator[Any]]:
        """See ``simulator.wire.Wire``; a topic's documents are pushed like messages."""
        yield (message.data async for message in self._messages(path))

    def _inbox(self, path: str) -> asyncio.Queue[Message]:
        return self._inboxes.setdefault(path, asyncio.Queue())

    async def _messages(self, path: str) -> AsyncIterator[Message]:
        while True:
            yield await self._inbox(path).get()


class ScriptedClient(DoorstepClient):
    """The real client, retries and all; only its attempts go to the script."""

    def __init__(self, service: ScriptedService, token: TokenSource, retries: Retries) -> None:
        super().__init__("http://scripted", token, retries=retries)
        self._service = service

    async def call(
        self,
        kind: type[Document],
        method: str,
        path: str,
        *,
        body: Any = None,
        key: str = "",
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """What the script gives, made whole."""
        given = await super().call(
            cast(type[Any], Any), method, path, body=body, key=key, query=query, headers=headers
        )
        return whole(kind, given)

    async def _attempt(
        self,
        method: str,
        url: str,
        data: bytes | None,
        headers: dict[str, str],
        query: Mapping[str, Any] | None,
    ) -> tuple[int, bytes, float]:
        body = None if data is None else msgspec.json.decode(data)
        path = url.removeprefix(self.base_url)
        try:
            answer = await self._service.answer(
                Asked(method, path, body, headers.get("Idempotency-Key", ""))
            )
        except ProblemError as problem:
            document = {"code": problem.code, "detail": problem.detail, **problem.extra}
            return problem.status, msgspec.json.encode(document), 0.0
        return 200, msgspec.json.encode(answer), 0.0
