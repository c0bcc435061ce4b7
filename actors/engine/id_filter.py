"""Which ids may be somewhere, known without asking there.

Most commands for an unknown id are about something new: an order that is placed. To ask the cold
store each time whether it was there once costs a round trip behind the appends of others, so each
shard keeps a filter (Bloom, 1970) of the ids that may be there; and each gateway one of the orders
that may have been placed. A *no* is certain, a *perhaps* is asked. Its size is fixed: 1 MiB answers
for a million ids (3 % of the others are asked in vain, too); with many more it says *perhaps* more
often, and nothing else changes.
"""

from collections.abc import Iterable

__all__ = ["IdFilter"]

BITS = 1 << 23
MASK = BITS - 1


class IdFilter:
    """Ids that may be there; everything may be until :meth:`know_all` was called."""

    def __init__(self) -> None:
        self._bits: bytearray | None = None
        self._all_known = False

    def add(self, ids: Iterable[str]) -> None:
        """These are there from now on."""
        bits = self._bits
        for entity_id in ids:
            if bits is None:  # most shards never let an entity go
                bits = self._bits = bytearray(BITS // 8)
            value = hash(entity_id)
            for place in (value & MASK, value >> 20 & MASK, value >> 40 & MASK):
                bits[place >> 3] |= 1 << (place & 7)

    def know_all(self) -> None:
        """All that were there before were added."""
        self._all_known = True

    def may_hold(self, entity_id: str) -> bool:
        """Whether it must be asked for."""
        bits = self._bits
        if bits is None or not self._all_known:
            return not self._all_known
        value = hash(entity_id)
        place = value & MASK
        if not bits[place >> 3] >> (place & 7) & 1:
            return False
        place = value >> 20 & MASK
        if not bits[place >> 3] >> (place & 7) & 1:
            return False
        place = value >> 40 & MASK
        return bool(bits[place >> 3] >> (place & 7) & 1)
