"""The local runtime: every node in this process. For tests, simulation and small tools.

It is the whole engine, journal included; only Ray is missing. Several nodes can be made to live in
one process, so that what crosses processes in production crosses mailboxes here too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from actors.engine.codec import Registry, answer_of, encode
from actors.engine.feed import JournalFeed
from actors.engine.mailbox import PeerLost
from actors.engine.node import Node
from actors.engine.placement import Plan
from actors.engine.ports import Clock, Effect, Feed, Journal, Shard
from domain.errors import Problem, Refused, Unavailable
from domain.message import Command

__all__ = ["LocalRuntime"]

Network = Callable[[str, str, bytes, Callable[[bytes], Awaitable[bytes]]], Awaitable[bytes]]
"""(from, to, payload, deliver) -> answers: carries one exchange; a test may lose or delay it."""


class LocalRuntime:
    """Implements :class:`actors.engine.ports.Runtime` in one process."""

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        journal: Journal,
        clock: Clock,
        *,
        make_views: Callable[[], Any] = lambda: None,
        effects: Mapping[str, Effect] | None = None,
        network: Network | None = None,
        passivate_s: float = 600.0,
    ) -> None:
        self.plan = plan
        self.registry = registry
        self.journal = journal
        self.clock = clock
        self.nodes: dict[str, Node] = {}
        self._make_views = make_views
        self._effects = effects
        self._network = network
        self._passivate_s = passivate_s
        self._incarnations = 0

    async def start(self) -> None:
        """Start every node of the plan."""
        for name in self.plan.hosts:
            self.make_node(name)
        await asyncio.gather(*(node.start() for node in self.nodes.values()))

    def make_node(self, name: str) -> Node:
        """A fresh, not yet started node (after a crash: its successor)."""
        self._incarnations += 1
        node = Node(
            name, self.plan, self.registry, self.journal, self.clock,
            views=self._make_views(), effects=self._effects, 
            connect=lambda to: self._call(name, to),
            incarnation=str(self._incarnations), passivate_s=self._passivate_s,
        )  # fmt: skip
        self.nodes[name] = node
        return node

    async def crash(self, name: str) -> None:
        """Stop a node as a kill would: nothing in flight is answered."""
        node = self.nodes.pop(name)
        await node.stop()

    async def restart(self, name: str) -> None:
        """A successor of a crashed node recovers its shards."""
        await self.make_node(name).start()

    def _call(self, origin: str, to: str) -> Callable[[bytes], Awaitable[bytes]]:
        async def call(payload: bytes) -> bytes:
            node = self.nodes.get(to)
            if node is None:
                raise PeerLost(f"{to} is down")
            if self._network is None:
                return await node.exchange(payload)
            return await self._network(origin, to, payload, node.exchange)

        return call

    # ---------------------------------------------------------------- Runtime

    async def ask(
        self, to: str, command: Command, *, command_id: str, timeout_s: float = 10.0
    ) -> Any:
        """See :class:`actors.engine.ports.Runtime`."""
        kind, _, entity = to.partition("/")
        if kind not in self.plan.shards:
            raise Refused("unknown-kind", f"There is no kind {kind!r}.")
        node = self.nodes.get(self.plan.node_of[self.plan.shard_of(kind, entity)])
        if node is None:
            raise Unavailable("outcome-unknown", "The part is restarting; retry with the same key.")
        future: asyncio.Future[bytes | Problem] = asyncio.get_running_loop().create_future()
        node.deliver(
            to, encode(command), command_id, "",
            lambda reply: None if future.done() else future.set_result(reply),
        )  # fmt: skip
        try:
            reply = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise Unavailable(
                "outcome-unknown", "No answer in time; retry with the same key."
            ) from None
        return answer_of(self.registry.codecs[kind].reply, reply)

    def tell(self, to: str, command: Command) -> None:
        """See :class:`actors.engine.ports.Runtime`."""
        kind, _, entity = to.partition("/")
        node = self.nodes.get(self.plan.node_of[self.plan.shard_of(kind, entity)])
        if node is not None:
            node.deliver(to, encode(command), "", "", None)

    @property
    def feed(self) -> Feed:
        """The committed events."""
        return JournalFeed(self.journal, self.registry)

    def shards_of(self, kind: str) -> Sequence[Shard]:
        """All shards of a kind."""
        return self.plan.shards_of(kind)

    async def close(self) -> None:
        """Stop every node."""
        for name in list(self.nodes):
            await self.crash(name)
