"""A service for one test: answers by script, remembers what was asked, pushes what it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from simulator.api import Message

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


Answer = Any | Callable[[Asked], Any]


class ScriptedService:
    """Implements ``simulator.api.Wire``. The latest rule that fits answers; none: ``{}``."""

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
        """See ``simulator.api.Wire``."""
        asked = Asked(method, path, body, key)
        self.asked.append(asked)
        await asyncio.sleep(0)
        for its_method, pattern, answers in self._rules:
            if its_method == method and fnmatch(path, pattern):
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if isinstance(answer, Exception):
                    raise answer
                return answer(asked) if callable(answer) else answer
        return {}

    @asynccontextmanager
    async def inbox(
        self, path: str, *, token: Callable[[], str], device_id: str
    ) -> AsyncIterator[AsyncIterator[Message]]:
        """See ``simulator.api.Wire``."""
        self.connected.add(device_id)
        try:
            yield self._messages(path)
        finally:
            self.connected.discard(device_id)

    @asynccontextmanager
    async def topic(
        self, path: str, *, token: Callable[[], str]
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """See ``simulator.api.Wire``; a topic's documents are pushed like messages."""
        yield (message.data async for message in self._messages(path))

    def _inbox(self, path: str) -> asyncio.Queue[Message]:
        return self._inboxes.setdefault(path, asyncio.Queue())

    async def _messages(self, path: str) -> AsyncIterator[Message]:
        while True:
            yield await self._inbox(path).get()
