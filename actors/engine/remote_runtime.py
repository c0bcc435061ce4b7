"""The runtime of a gateway: actors live in other processes, reached through mailboxes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors.engine.codec import Registry, answer_of, encode
from actors.engine.feed import JournalFeed
from actors.engine.mailbox import Mailbox
from actors.engine.placement import Plan
from actors.engine.ports import Feed, Journal, Shard
from domain.errors import Problem, Refused
from domain.message import Command

__all__ = ["RemoteRuntime"]


class RemoteRuntime:
    """Implements :class:`actors.engine.ports.Runtime`. ``connect(node)`` gives one exchange with
    that node; ``peer`` must be unique for each gateway process."""

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        journal: Journal,
        connect: Callable[[str], Callable[[bytes], Awaitable[bytes]]],
        peer: str,
        *,
        pending_max: int = 4096,
    ) -> None:
        self.plan = plan
        self._registry = registry
        self._feed = JournalFeed(journal, registry)
        self._mailboxes = {
            node: Mailbox(node, peer, connect(node), pending_max=pending_max) for node in plan.hosts
        }

    async def ask(
        self, to: str, command: Command, *, command_id: str, timeout_s: float = 10.0
    ) -> Any:
        """See :class:`actors.engine.ports.Runtime`."""
        kind, _, entity = to.partition("/")
        codec = self._registry.codecs.get(kind)
        if codec is None:
            raise Refused("unknown-kind", f"There is no kind {kind!r}.")
        mailbox = self._mailboxes[self.plan.node_of[self.plan.shard_of(kind, entity)]]
        future: asyncio.Future[bytes | Problem] = asyncio.get_running_loop().create_future()

        def on_answer(reply: bytes | Problem) -> None:
            if not future.done():
                future.set_result(reply)

        token = mailbox.post(to, encode(command), command_id, "", on_answer, timeout_s)
        try:
            return answer_of(codec.reply, await future)
        finally:
            mailbox.forget(token)

    def tell(self, to: str, command: Command) -> None:
        """See :class:`actors.engine.ports.Runtime`."""
        kind, _, entity = to.partition("/")
        node = self.plan.node_of[self.plan.shard_of(kind, entity)]
        self._mailboxes[node].post(to, encode(command), "", "", None)

    @property
    def pending(self) -> int:
        """Commands in flight."""
        return sum(mailbox.pending for mailbox in self._mailboxes.values())

    @property
    def feed(self) -> Feed:
        """The committed events."""
        return self._feed

    def shards_of(self, kind: str) -> Sequence[Shard]:
        """All shards of a kind."""
        return self.plan.shards_of(kind)

    async def close(self) -> None:
        """Stop exchanging."""
        for mailbox in self._mailboxes.values():
            await mailbox.close()
