"""Owed effects of a shard (see ``kind.Send``): sent again until their receivers have answered.

What an entity owes is part of its state (ARCHITECTURE, Engine rules 8); here is only when each of
it is sent again, so that nobody has to look through the entities for that.
"""

from heapq import heappop, heappush

from actors.engine.codec import Registry
from actors.engine.kind import NEVER
from actors.engine.ports import Owed
from actors.engine.step import Moment, Outgoing

__all__ = ["RESENDS_MAX", "RESEND_FIRST_S", "OwedEffects"]

RESEND_FIRST_S = 1.0
"""Real seconds before an unanswered owed effect is sent again; each time twice as long."""
RESEND_MAX_S = 30.0
"""Real seconds between two sendings at most."""
RESENDS_MAX = 64
"""Owed effects sent again in one step at most; the next step goes on."""


class OwedEffects:
    """The owed effects of one shard that were not yet answered."""

    def __init__(self, kind: str, registry: Registry, moment: Moment) -> None:
        self._kind = kind
        self._registry = registry
        self._moment = moment
        self._unsettled: dict[str, _Unsettled] = {}
        self._heap: list[tuple[float, str]] = []
        """(when it is sent again, its id); those that were settled are passed over."""

    def __len__(self) -> int:
        return len(self._unsettled)

    def track(self, entity_id: str, owed: Owed, position: int = 0) -> None:
        """The entity owes this since the record at ``position`` (0: that is on disk already)."""
        self._unsettled[owed.id] = _Unsettled(entity_id, owed, position)
        heappush(self._heap, (self._moment.real + RESEND_FIRST_S, owed.id))

    def get(self, owed_id: str) -> Owed | None:
        """The effect; None if it was settled."""
        pending = self._unsettled.get(owed_id)
        return None if pending is None else pending.owed

    def settle(self, owed_id: str) -> None:
        """Its receiver has answered for good."""
        self._unsettled.pop(owed_id, None)

    def due(self) -> list[Outgoing]:
        """What is to be sent again now, as much as one step may send."""
        heap, real, again = self._heap, self._moment.real, []
        for _ in range(min(len(heap), RESENDS_MAX)):
            if heap[0][0] > real:
                break
            _, owed_id = heappop(heap)
            pending = self._unsettled.get(owed_id)
            if pending is None:
                continue
            pending.attempts += 1
            pause = min(RESEND_FIRST_S * 2**pending.attempts, RESEND_MAX_S)
            heappush(heap, (real + pause, owed_id))
            owed = pending.owed
            again.append(
                Outgoing(
                    owed.to,
                    self._registry.as_command(owed.to, owed.command),
                    f"{self._kind}/{pending.entity}",
                    pending.entity,
                    owed_id=owed_id,
                    after=pending.position,
                )
            )
        return again

    def next(self) -> float:
        """The real time at which :meth:`due` may have something."""
        return self._heap[0][0] if self._heap else NEVER


class _Unsettled:
    __slots__ = ("attempts", "entity", "owed", "position")

    def __init__(self, entity: str, owed: Owed, position: int) -> None:
        self.entity = entity
        self.owed = owed
        self.position = position
        """Of the record that owes it; 0: it was recovered, so it is on disk."""
        self.attempts = 0
        """How often it was sent again."""
