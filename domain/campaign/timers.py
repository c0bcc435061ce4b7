"""When a campaign wakes up, and what for."""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Literal, NamedTuple

__all__ = ["Timer", "due"]


class Timer(NamedTuple):
    """One entry of a campaign's heap, the earliest first."""

    at: float
    kind: Literal["claim", "group", "end"]
    id: str = ""
    """Of the claim or the group."""


def due(heap: Sequence[Timer], now: float) -> Iterator[Timer]:
    """The entries whose time has come, the earliest first. The heap stays as it is, and is looked
    at no further than the reader goes: a step for each entry, whatever lies behind it."""
    next_ones = [(heap[0], 0)] if heap else []
    while next_ones:
        timer, place = heappop(next_ones)
        if timer.at > now:
            return
        yield timer
        for below in (2 * place + 1, 2 * place + 2):
            if below < len(heap):
                heappush(next_ones, (heap[below], below))
