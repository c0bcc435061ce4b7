"""How the nodes are: a gateway asks each of them every few seconds and shows it in ``/metrics``."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from orchestrator import metrics

__all__ = ["NodeWatch"]

LOOK_EVERY_S = 3.0
"""Real seconds between two looks at a node."""
ANSWER_WITHIN_S = 5.0
"""A node that takes longer (real seconds) counts as down until it answers again."""

FACTS = (
    "backlog", "position", "epoch", "live", "packed", "unsettled", "commands", "repeats",
    "refusals", "effects_refused", "failures",
)  # fmt: skip
"""Of each shard, as ``actors.engine.node.Node.facts`` names them."""


class NodeWatch:
    """Keeps ``doorstep_node_*`` and ``doorstep_shard_*`` current for the nodes named.

    ``ask`` gives one node's health, ``{"pid", "shards": {shard: facts}}``, or raises when it is
    down. A node that is down is shown as such, without figures of shards it may no longer have.
    """

    def __init__(
        self, nodes: Iterable[str], ask: Callable[[str], Awaitable[dict[str, Any]]]
    ) -> None:
        self._nodes = tuple(nodes)
        self._ask = ask
        self._shown: dict[str, set[str]] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Ask every node once, all at the same time."""
        await asyncio.gather(*(self._look_at(node) for node in self._nodes))

    async def _look_at(self, node: str) -> None:
        try:
            health = await asyncio.wait_for(self._ask(node), ANSWER_WITHIN_S)
        except Exception:  # whatever hides it, it does not serve
            self._down(node)
            return
        metrics.node_up.labels(node).set(1)
        metrics.node_pid.labels(node).set(health["pid"])
        shards: dict[str, dict[str, Any]] = health["shards"]
        self._forget(node, self._shown.get(node, set()) - set(shards))
        self._shown[node] = set(shards)
        for shard, facts in shards.items():
            for fact in FACTS:
                metrics.shard_facts[fact].labels(node, shard).set(facts[fact])

    def _down(self, node: str) -> None:
        metrics.node_up.labels(node).set(0)
        metrics.node_pid.labels(node).set(0)
        self._forget(node, self._shown.pop(node, set()))

    def _forget(self, node: str, shards: set[str]) -> None:
        for shard in shards:
            for gauge in metrics.shard_facts.values():
                with suppress(KeyError):
                    gauge.remove(node, shard)
