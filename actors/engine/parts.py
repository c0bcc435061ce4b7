"""A large entity is stored in parts: its root, and each part of its state under a number.

What is stored under a number never changes, and a root names the numbers that belong to it. So a
pass writes the parts that changed since the last one under new numbers, a slice at a time, and at
last the root that names them (:class:`Storing`); until then the root before it, with all that it
names, is what a recovery finds. Parts that the new root no longer names are dropped with the root
after it: who was reading meanwhile finds them still.

If a process dies within a pass, what it has written is named by no root; its successor goes on from
the root's ``next_part`` and writes over it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from msgspec import Raw, Struct

from actors.engine.codec import Codec, encode
from actors.engine.ports import Stored
from domain.parts import Part

__all__ = ["Numbers", "PartAt", "Storing", "joined", "whole"]


class PartAt(Struct, array_like=True, gc=False):
    """A part as a root names it."""

    collection: int
    """Which of the state's collections it is of (see :class:`actors.engine.kind.Division`)."""
    number: int
    """Under which it is stored; 0: with the root alone."""
    data: bytes = b""
    """Empty in a root that is stored apart from its parts."""


class Numbers:
    """The numbers of one live entity's parts."""

    __slots__ = ("dropped", "named", "next")

    def __init__(self, named: set[int], dropped: list[int], next_part: int) -> None:
        self.named = named
        """What the stored root names."""
        self.dropped = dropped
        """What is stored and it does not name: dropped with the next one."""
        self.next = next_part
        """The first number that was not used yet."""


class Storing:
    """An entity on its way into the snapshot, as it is now, whatever changes meanwhile."""

    root: Stored
    """Given by whoever makes it, of :attr:`rest`."""

    def __init__(self, state: Any, numbers: Numbers, codec: Codec) -> None:
        self._numbers = numbers
        self._numbered: list[tuple[Part, int]] = []
        parts: list[PartAt] = []
        for collection, pages in enumerate(codec.pages(state)):
            for part in pages:
                if not part.number:
                    part.number_as(numbers.next)
                    self._numbered.append((part, numbers.next))
                    numbers.next += 1
                parts.append(PartAt(collection, part.number))
        self._waiting = deque(self._numbered)
        self._named = {at.number for at in parts}
        self._unnamed = sorted(numbers.named - self._named)
        self.drops = tuple(numbers.dropped)
        """What may be dropped as the root is stored."""
        self.rest = Raw(codec.rest(state)), parts, self._unnamed, numbers.next
        """What the root has of this: the state without its parts, the parts that belong to it, the
        numbers to be dropped with the next root, and the first one that is free."""

    def next_parts(self, bytes_max: int) -> list[tuple[int, bytes]]:
        """The next parts to be stored: as many bytes, and at least one part, as long as there are
        any."""
        parts: list[tuple[int, bytes]] = []
        size = 0
        while self._waiting and (size < bytes_max or not parts):
            part, number = self._waiting.popleft()
            data = part.taken()
            parts.append((number, data))
            size += len(data)
        return parts

    @property
    def all_given(self) -> bool:
        """Whether nothing but the root is left to be stored."""
        return not self._waiting

    def stored(self) -> None:
        """The root was stored."""
        self._numbers.named, self._numbers.dropped = self._named, self._unnamed

    def not_stored(self) -> None:
        """It was not: the root before it holds."""
        for part, number in self._numbered:
            part.not_stored(number)
        self._numbers.dropped += [number for _, number in self._numbered]


def whole(state: Any, codec: Codec) -> tuple[Raw, list[PartAt]]:
    """The state as it is stored in one piece: the rest of it, and its parts."""
    parts = [
        PartAt(collection, 0, encode(part))
        for collection, pages in enumerate(codec.pages(state))
        for part in pages
    ]
    return Raw(codec.rest(state)), parts


def joined(rest: bytes | Raw, parts: Sequence[PartAt], codec: Codec) -> Any:
    """The state of which these are the rest and the parts."""
    state = codec.state(rest)
    pages: list[list[Part]] = [[] for _ in codec.pages(state)]
    for at in parts:
        part = codec.part(at.collection, at.data)
        part.number = at.number
        pages[at.collection].append(part)
    codec.join(state, pages)
    return state
