"""Which orders may have a claim at a campaign, or have bought, remembered in a few bytes each.

It grows with them and ends with the campaign. A shard's filter of the ids that left memory must not
follow history, so it is another one (``actors.engine.id_filter``).
"""

from msgspec import Struct, field

from domain.campaign.commands import Terms

__all__ = ["OrderFilter", "expecting"]

BITS = 16
"""For each id, two of them set: of 70 strangers one is taken for known (a Bloom filter)."""
IDS_MIN, IDS_MAX = 1 << 10, 1 << 17
"""What the first layer takes, at least and at most."""
PRIME = (1 << 61) - 1
WORD = (1 << 64) - 1
SPREAD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: neighbours come to lie far apart (Knuth, TAOCP 3, 6.4)."""


class OrderFilter(Struct, array_like=True, gc=False):
    """A set that only grows, for as many ids as come: ``expected`` says about how many. It may take
    an id for known that is not (so that somebody is asked in vain), never the other way round. It
    means the same in every process, and can be stored."""

    expected: int = IDS_MIN
    layers: list[bytearray] = field(default_factory=list)
    """Each twice as large as the one before; all but the last are full."""
    room: int = 0
    """Ids that the last layer still takes."""

    def add(self, order_id: str) -> None:
        """Remember it."""
        if not self.room:
            self._grow()
        self.room -= 1
        layer, hashed = self.layers[-1], _hash(order_id)
        mask = len(layer) * 8 - 1
        for bit in (hashed & mask, hashed >> 32 & mask):
            layer[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, order_id: str) -> bool:
        if not self.layers:
            return False
        hashed = _hash(order_id)
        for layer in self.layers:
            mask = len(layer) * 8 - 1
            first, second = hashed & mask, hashed >> 32 & mask
            if layer[first >> 3] >> (first & 7) & layer[second >> 3] >> (second & 7) & 1:
                return True
        return False

    def _grow(self) -> None:
        ids = len(self.layers[-1]) * 8 // BITS * 2 if self.layers else self._first()
        self.layers.append(bytearray(ids * BITS // 8))
        self.room = ids

    def _first(self) -> int:
        return 1 << (min(max(self.expected, IDS_MIN), IDS_MAX) - 1).bit_length()


def expecting(terms: Terms) -> OrderFilter:
    """Nobody yet, of a campaign with these terms."""
    return OrderFilter(sum(share.units for share in terms.quota))


def _hash(order_id: str) -> int:
    """64 bits; Python's own hash of a text is another one in each process."""
    mixed = int.from_bytes(order_id.encode()) % PRIME * SPREAD & WORD
    mixed = (mixed ^ mixed >> 32) * SPREAD & WORD
    return mixed ^ mixed >> 29
