"""When the entities of a shard want to be woken, and how many of them are at once.

A timer is no task: it is a time in the entity's state (ARCHITECTURE, Engine rules 9), and here are
the times of all of them. :meth:`Timers.due` gives out the entities whose time has come.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from actors.engine.kind import NEVER
from actors.engine.step import Moment

__all__ = ["TIMERS_BESIDE_MAX", "TIMERS_MAX", "UNDER_WAY_MAX", "UNDER_WAY_S", "Timers"]

WAKE_AGAIN_S = 1.0
"""Service seconds after which a timer fires again whose command changed nothing."""
TIMERS_MAX = 64
"""Timers fired in one step at most; the next step goes on."""
TIMERS_BESIDE_MAX = 8
"""As ``TIMERS_MAX``, beside arrivals: somebody waits for those."""
UNDER_WAY_MAX = 256
"""No timer fires while so many effects that timers owed are under way (decision 0018): when ten
thousand unpaid orders are over in the same second, they end as fast as others can follow."""
UNDER_WAY_S = 2.0
"""Real seconds an effect counts as under way at most: a receiver that is away holds nobody up for
long."""


class Timers:
    """The timers of one shard: each entity has one at most."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        """Of these, what ``_at`` does not say (any more) is passed over."""
        self._under_way: dict[str, float] = {}
        """Effects owed by timers, oldest first: since when (real time) their answer is awaited."""

    def set(self, entity_id: str, at: float) -> None:
        """Wake the entity at this service time instead of any other; NEVER: not at all."""
        if at == NEVER:
            self._at.pop(entity_id, None)
        elif self._at.get(entity_id) != at:
            self._at[entity_id] = at
            heappush(self._heap, (at, entity_id))

    def set_again(self, entity_id: str) -> None:
        """The entity was woken in vain (it is busy, or did nothing): wake it again in a while."""
        self.set(entity_id, self._moment.now + WAKE_AGAIN_S)

    def due(self, beside_arrivals: bool) -> Iterator[str]:
        """The entities whose time has come, as many as one step may wake; each loses its timer.
        Whoever wakes one tells what it owes (:meth:`owe`) before taking the next."""
        heap, now, under_way = self._heap, self._moment.now, self._under_way
        overdue = self._moment.real - UNDER_WAY_S
        while under_way and next(iter(under_way.values())) <= overdue:
            del under_way[next(iter(under_way))]
        left = TIMERS_BESIDE_MAX if beside_arrivals else TIMERS_MAX
        while heap and heap[0][0] <= now and left and len(under_way) < UNDER_WAY_MAX:
            at, entity_id = heappop(heap)
            if self._at.get(entity_id) == at:
                left -= 1
                del self._at[entity_id]
                yield entity_id

    def owe(self, owed_ids: Iterable[str]) -> None:
        """A timer owes these effects now."""
        self._under_way |= dict.fromkeys(owed_ids, self._moment.real)

    def answered(self, owed_id: str) -> None:
        """The receiver of an owed effect has said something, be it trouble."""
        self._under_way.pop(owed_id, None)

    def next(self) -> tuple[float, float]:
        """(service time, real time) at which :meth:`due` may have something; one is NEVER."""
        if len(self._under_way) >= UNDER_WAY_MAX:
            return NEVER, next(iter(self._under_way.values())) + UNDER_WAY_S
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return (heap[0][0] if heap else NEVER), NEVER
