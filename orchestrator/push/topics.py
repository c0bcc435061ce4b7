"""Topics without an inbox: one document, pushed as a snapshot and then as merge patches.

Whoever changes the document publishes it whole; the difference to the version before is made and
encoded once for all sockets. A socket that reads too slowly misses versions and then gets a fresh
snapshot, so that a topic never holds memory for it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from msgspec import Raw

from actors.engine.ports import Runtime
from domain import order, rider
from domain.errors import DoorstepError, Refused
from domain.geo import Position
from orchestrator.api.show import show_order
from orchestrator.push.document import time_text, without_absent
from orchestrator.push.frames import Delta, Latest
from orchestrator.push.outbox import WireFrame
from orchestrator.push.patch import patch_between
from orchestrator.push.protocol import TopicSession

__all__ = ["OrderTopics", "Topic"]

CARRIED = frozenset({"picked_up", "at_customer"})
"""Fulfilment states in which the customer may see where the rider is."""
RETRY_S = 0.5

_log = structlog.get_logger(__name__)
_encoder = msgspec.json.Encoder()


class Topic:
    """One document and the sockets that watch it."""

    def __init__(self) -> None:
        self.epoch = uuid4().hex
        self.head = 0
        self.document: dict[str, Any] = {}
        self._encoded: bytes | None = None
        self._latest: dict[str, WireFrame] = {}
        """What was published under each key last: who joins later gets it, too."""
        self._watchers: dict[TopicSession, None] = {}

    @property
    def watched(self) -> bool:
        """Whether anybody listens."""
        return bool(self._watchers)

    def join(self, session: TopicSession) -> None:
        """Send the document as it is, and whatever changes from now on."""
        self._watchers[session] = None
        session.start(self.head, self._bytes())
        for key, frame in self._latest.items():
            session.deliver_latest(key, frame)

    def leave(self, session: TopicSession) -> None:
        """Stop sending to this session."""
        self._watchers.pop(session, None)

    def catch_up(self, session: TopicSession) -> None:
        """The session's queue is empty: if it missed something, start it again."""
        if session.behind and session in self._watchers:
            session.start(self.head, self._bytes())

    def publish(self, document: dict[str, Any]) -> None:
        """The document is this now. It must not be changed afterwards."""
        self.publish_patch(patch_between(self.document, document), document)

    def publish_patch(self, patch: dict[str, Any], document: dict[str, Any]) -> None:
        """As :meth:`publish` for a caller that knows the difference."""
        self.document = document
        if not patch:
            return
        self.head += 1
        self._encoded = None
        frame = WireFrame.of(Delta(self.head, Raw(_encoder.encode(patch))))
        for session in self._watchers:
            session.deliver(self.head, frame)

    def publish_latest(self, key: str, value: dict[str, Any]) -> None:
        """The newest value of something that changes too often to send each time."""
        frame = self._latest[key] = WireFrame.of(Latest(key, Raw(_encoder.encode(value))))
        for session in self._watchers:
            session.deliver_latest(key, frame)

    def retire_latest(self, key: str) -> None:
        """The key has no value any more."""
        self._latest.pop(key, None)

    def _bytes(self) -> bytes:
        if self._encoded is None:
            self._encoded = _encoder.encode(self.document)
        return self._encoded


class OrderTopics:
    """Public tracking of single orders: a consumer of the tail that asks an order for its view
    whenever something happened to it, but only while somebody watches."""

    kinds: Sequence[str] = ("order", "rider")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._topics: dict[str, Topic] = {}
        self._carriers: dict[str, dict[str, None]] = {}
        """Rider id -> orders of which a parcel is being carried, among those watched."""
        self._positions: dict[str, dict[str, Any]] = {}
        self._refreshing: dict[str, bool] = {}
        """Order id -> whether something happened since its view was asked for."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def topic(self, order_id: str) -> Topic:
        """The order's topic with its present view; raises what ``order.Get`` raises. The caller
        joins it at once, and calls :meth:`forget_unwatched` when a socket ends."""
        topic = self._topics.get(order_id)
        if topic is None:
            document = await self._view(order_id)
            topic = self._topics.setdefault(order_id, Topic())
            self._publish(order_id, topic, document)
            # What happened while the view was on its way was not heard: nobody listened yet.
            self._changed(order_id)
        return topic

    def forget_unwatched(self, order_id: str) -> None:
        """Let go of an order nobody watches any more."""
        topic = self._topics.get(order_id)
        if topic is not None and not topic.watched:
            del self._topics[order_id]
            self._follow_riders(order_id, {})

    async def close(self) -> None:
        """Stop asking."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Consumer of the tail

    def reset(self) -> None:
        """The tail starts anew: all views are doubtful until :meth:`loaded`, and so is who carries
        what; each view tells it again."""
        self._positions.clear()
        for order_id in self._topics:
            self._follow_riders(order_id, {})
        self._carriers.clear()

    def load(self, kind: str, entity: str, state: Any) -> None:
        """Remember where riders on shift are."""
        if kind == "rider" and state.shift is not None and state.position is not None:
            self._positions[entity] = _whereabouts(entity, state.position, state.moved_at)

    def loaded(self) -> None:
        """Ask every watched order anew."""
        for order_id in self._topics:
            self._changed(order_id)

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """Something happened to an order, or a rider moved."""
        if kind == "order":
            if entity in self._topics:
                self._changed(entity)
        elif isinstance(event, rider.Moved | rider.ShiftStarted):
            value = self._positions[entity] = _whereabouts(entity, event.position, event.at)
            for order_id in self._carriers.get(entity, ()):
                topic = self._topics.get(order_id)
                if topic is not None:
                    topic.publish_latest(f"rider:{entity}", value)
        elif isinstance(event, rider.ShiftEnded):
            self._positions.pop(entity, None)

    # Views

    def _changed(self, order_id: str) -> None:
        if order_id in self._refreshing:
            self._refreshing[order_id] = True
            return
        self._refreshing[order_id] = False
        task = asyncio.create_task(self._refresh(order_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refresh(self, order_id: str) -> None:
        try:
            while (topic := self._topics.get(order_id)) is not None:
                self._refreshing[order_id] = False
                try:
                    document = await self._view(order_id)
                except Refused:
                    return
                except DoorstepError:
                    await asyncio.sleep(RETRY_S)
                    continue
                if self._topics.get(order_id) is not topic:
                    continue  # the last watcher left meanwhile; another may have come
                self._publish(order_id, topic, document)
                if not self._refreshing[order_id]:
                    return
        finally:
            self._refreshing.pop(order_id, None)

    async def _view(self, order_id: str) -> dict[str, Any]:
        view = await self._runtime.ask(f"order/{order_id}", order.Get(), command_id="")
        document: dict[str, Any] = without_absent(msgspec.to_builtins(show_order(view)))
        return document

    def _publish(self, order_id: str, topic: Topic, document: dict[str, Any]) -> None:
        topic.publish(document)
        carrying = {
            part["rider_id"]: None
            for part in document["fulfilments"]
            if part["state"] in CARRIED and part["rider_id"]
        }
        new = self._follow_riders(order_id, carrying)
        for rider_id in new:
            if rider_id in self._positions:
                topic.publish_latest(f"rider:{rider_id}", self._positions[rider_id])

    def _follow_riders(self, order_id: str, carrying: dict[str, None]) -> list[str]:
        for rider_id, orders in list(self._carriers.items()):
            if order_id in orders and rider_id not in carrying:
                del orders[order_id]
                if order_id in self._topics:
                    self._topics[order_id].retire_latest(f"rider:{rider_id}")
                if not orders:
                    del self._carriers[rider_id]
        new = [r for r in carrying if order_id not in self._carriers.get(r, ())]
        for rider_id in new:
            self._carriers.setdefault(rider_id, {})[order_id] = None
        return new


def _whereabouts(rider_id: str, position: Position, at: float) -> dict[str, Any]:
    """The data of a ``latest`` frame: where a rider was at ``at``."""
    return {"rider_id": rider_id, "lat": position.lat, "lon": position.lon, "at": time_text(at)}
