"""A runtime that answers from a script and remembers what it was asked."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from actors.engine.ports import Feed, Shard
from domain.message import Command

__all__ = ["Asked", "FakeRuntime"]

Reply = Callable[[str, Any], Any]


class Asked(NamedTuple):
    """One command as it was sent."""

    to: str
    command: Command
    command_id: str


class FakeRuntime:
    """Answers each command type by ``replies``: a value, an exception to raise, or a function of
    (address, command), which may be a coroutine. What is not scripted fails the test."""

    def __init__(self, feed: Feed | None = None) -> None:
        self.replies: dict[type[Command], Any] = {}
        self.asked: list[Asked] = []
        self.told: list[tuple[str, Command]] = []
        self._feed = feed

    async def ask(
        self, to: str, command: Command, *, command_id: str, timeout_s: float = 10.0
    ) -> Any:
        self.asked.append(Asked(to, command, command_id))
        reply = self.replies[type(command)]
        if callable(reply):
            reply = reply(to, command)
            if isinstance(reply, Awaitable):
                reply = await reply
        if isinstance(reply, Exception):
            raise reply
        return reply

    def tell(self, to: str, command: Command) -> None:
        self.told.append((to, command))

    @property
    def feed(self) -> Feed:
        assert self._feed is not None
        return self._feed

    def shards_of(self, kind: str) -> Sequence[Shard]:
        return ()

    async def close(self) -> None:
        return
