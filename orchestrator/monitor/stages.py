"""Who is in which state since when: counts, the oldest of each state, and deadlines. O(log n)."""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from operator import itemgetter

from msgspec import Struct

__all__ = ["Oldest", "Stages"]

SLACK = 1_000


class Oldest(Struct, frozen=True, gc=False):
    """The one that is in a state for longest; ``since`` in epoch seconds."""

    id: str
    since: float


class _Stay(Struct, gc=False):
    state: str
    token: int


class Stages:
    """Every tracked id is in exactly one state. Memory follows the tracked ids."""

    def __init__(self) -> None:
        self._in: dict[str, OrderedDict[str, float]] = {}
        self._stays: dict[str, _Stay] = {}
        self._deadlines: list[tuple[float, int, str]] = []
        self._tokens = count()

    def __len__(self) -> int:
        return len(self._stays)

    def enter(self, id: str, state: str, since: float, deadline: float | None = None) -> None:
        """``id`` is in ``state`` from ``since`` on; :meth:`overdue` names it once, after
        ``deadline``, if it is still there. Whoever enters in another order than that of ``since``
        calls :meth:`sort` then."""
        self.leave(id)
        token = next(self._tokens)
        self._stays[id] = _Stay(state, token)
        self._in.setdefault(state, OrderedDict())[id] = since
        if deadline is not None:
            heapq.heappush(self._deadlines, (deadline, token, id))
            self._compact()

    def sort(self) -> None:
        """Bring those who entered in any order into that of ``since``, for :meth:`oldest`."""
        for state, ids in self._in.items():
            self._in[state] = OrderedDict(sorted(ids.items(), key=itemgetter(1)))

    def leave(self, id: str) -> None:
        """``id`` is no longer tracked; unknown ones are ignored."""
        stay = self._stays.pop(id, None)
        if stay is not None:
            del self._in[stay.state][id]

    def state(self, id: str) -> str | None:
        """The state of a tracked id."""
        stay = self._stays.get(id)
        return stay.state if stay else None

    def counts(self) -> dict[str, int]:
        """How many are in each state; states once seen stay, with 0."""
        return {state: len(ids) for state, ids in self._in.items()}

    def oldest(self) -> dict[str, Oldest]:
        """The first to enter of each non-empty state."""
        return {state: Oldest(*next(iter(ids.items()))) for state, ids in self._in.items() if ids}

    def overdue(self, now: float) -> Iterator[tuple[str, str, float]]:
        """(id, state, since) of those whose deadline passed and that are still there; each once."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            _, token, id = heapq.heappop(deadlines)
            stay = self._stays.get(id)
            if stay is not None and stay.token == token:
                yield id, stay.state, self._in[stay.state][id]

    def _compact(self) -> None:
        """Forget deadlines of those who left, before they outnumber the rest."""
        if len(self._deadlines) <= 2 * len(self._stays) + SLACK:
            return
        stays = self._stays
        self._deadlines = [
            entry
            for entry in self._deadlines
            if (stay := stays.get(entry[2])) is not None and stay.token == entry[1]
        ]
        heapq.heapify(self._deadlines)
