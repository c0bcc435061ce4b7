"""One tail of the journals for everything in this gateway that listens: decoded once.

It loads every live entity's state, then follows the feed from there for ever. Consumers are told
each event once and in order per shard; when the tail cannot say that any more (a record is missing
because the journal was trimmed or restored), it starts again from fresh states and says so first.
A consumer that fails at an event starts again alone; the others hear on.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from actors.engine.ports import FeedRecord, Runtime, Shard
from orchestrator import metrics

__all__ = ["Consumer", "Tail"]

RETRY_S = 0.5
STATES_PER_TURN = 500
"""States that consumers learn before sockets and requests have their turn."""
EVENTS_PER_TURN = 20
"""Events that consumers hear before sockets and requests have their turn, in whole records."""

_log = structlog.get_logger(__name__)


class Consumer(Protocol):
    """Who listens. All calls are synchronous and must be quick."""

    kinds: Sequence[str]
    """The actor kinds it wants to hear of."""

    def reset(self) -> None:
        """Forget what was learnt: states are loaded anew."""
        ...

    def load(self, kind: str, entity: str, state: Any) -> None:
        """An entity's state as it is now; its later events follow."""
        ...

    def loaded(self) -> None:
        """All states were loaded; what follows is live."""
        ...

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """One committed event; ``at`` is its record's service time."""
        ...


class _Skipped(Exception):
    """The feed went on behind a record that was never seen."""


class Tail:
    """Feeds the consumers. ``running`` tells whether they are current (but for a moment)."""

    def __init__(self, runtime: Runtime, consumers: Sequence[Consumer]) -> None:
        self._runtime = runtime
        self._by_kind: dict[str, list[Consumer]] = {}
        for consumer in consumers:
            for kind in consumer.kinds:
                self._by_kind.setdefault(kind, []).append(consumer)
        self._consumers = tuple(consumers)
        self._positions: dict[Shard, int] = {}
        self._known: dict[Consumer, dict[Shard, int]] = {consumer: {} for consumer in consumers}
        """The positions of the states each consumer was loaded with."""
        self._failed: list[Consumer] = []
        """Consumers that hear nothing until they are loaded anew."""
        self._task: asyncio.Task[None] | None = None
        self.running = False

    def start(self) -> None:
        """Begin in the background; repeating it changes nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="push-tail")

    async def close(self) -> None:
        """Stop listening."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.running = False

    async def _run(self) -> None:
        while True:
            try:
                await self._start_anew()
                self.running = True
                async for batch in self._runtime.feed.follow(
                    tuple(self._positions), dict(self._positions)
                ):
                    await self._apply_all(batch)
                    if self._failed:
                        # Nothing is applied meanwhile: what these states hold is skipped later.
                        await self._load(self._failed)
                        self._failed.clear()
                    for shard in {record.shard for record in batch}:
                        metrics.feed_position.labels(str(shard)).set(self._positions[shard])
                _log.warning("tail.feed_ended")
            except _Skipped as skipped:
                _log.warning("tail.skipped", shard=str(skipped))
            except Exception:
                # The journal is away or an actor restarts: listeners keep what they have, which
                # stays true, and are loaded anew as soon as the feed answers.
                _log.exception("tail.failed")
            self.running = False
            await asyncio.sleep(RETRY_S)

    async def _start_anew(self) -> None:
        self._failed.clear()
        self._positions = await self._load(self._consumers)

    async def _load(self, consumers: Sequence[Consumer]) -> dict[Shard, int]:
        """Load these consumers; returns the positions of the states they were told."""
        positions: dict[Shard, int] = {}
        for consumer in consumers:
            consumer.reset()
        for kind, every in self._by_kind.items():
            listening = [consumer for consumer in every if consumer in consumers]
            for shard in self._runtime.shards_of(kind) if listening else ():
                states, positions[shard] = await self._runtime.feed.states(shard)
                for number, (entity, state) in enumerate(states.items()):
                    for consumer in listening:
                        consumer.load(kind, entity, state)
                    if number % STATES_PER_TURN == 0:
                        await asyncio.sleep(0)
        for consumer in consumers:
            self._known[consumer] = positions
            consumer.loaded()
        return dict(positions)

    async def _apply_all(self, batch: Sequence[FeedRecord]) -> None:
        heard = 0
        for record in batch:
            self._apply(record)
            heard += sum([len(entry.events) for entry in record.record.entries])
            if heard >= EVENTS_PER_TURN:
                heard = 0
                await asyncio.sleep(0)

    def _apply(self, record: FeedRecord) -> None:
        shard, position = record.shard, record.position
        expected = self._positions[shard] + 1
        if position < expected:
            return
        if position > expected:
            raise _Skipped(str(shard))
        for consumer in self._by_kind[shard.kind]:
            if position > self._known[consumer][shard] and consumer not in self._failed:
                self._tell(consumer, record)
        self._positions[shard] = position

    def _tell(self, consumer: Consumer, record: FeedRecord) -> None:
        kind, at = record.shard.kind, record.record.at
        try:
            for entry in record.record.entries:
                for event in entry.events:
                    consumer.apply(kind, entry.entity, event, at)
        except Exception:
            _log.exception(
                "tail.consumer_failed",
                consumer=type(consumer).__name__,
                shard=str(record.shard),
                position=record.position,
            )
            self._failed.append(consumer)
