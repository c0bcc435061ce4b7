"""The parts of a large state: what a snapshot stores one by one, and only if it changed.

A state with a hundred thousand entries cannot be stored at once without stopping everything else
of its process. So its large collections are kept in parts. A snapshot first numbers those that
changed since the last one (:meth:`Part.number_as`), which takes no time; then it stores them, some
at a time. A part that is changed meanwhile is encoded first, so that all are stored as they were at
the same moment. None of this is part of what a state *is*: states that are equal encode to the same
bytes, whatever was stored of them.
"""

from collections.abc import Iterator, KeysView
from typing import Generic, TypeVar

from msgspec import Struct, field
from msgspec.msgpack import encode

__all__ = ["PAGE_ENTRIES", "Leaf", "Paged", "Part"]

PAGE_ENTRIES = 250
"""Entries of a page of :class:`Paged`: a fraction of a millisecond to encode."""

T = TypeVar("T")


class Part(Struct, array_like=True, dict=True):
    """A part of a state. What is its content are the fields of its subclass."""

    def __post_init__(self) -> None:
        self.number = 0
        """Under which it is stored; 0: not at all as it is now."""
        self._waits = False
        self._as_numbered = b""

    def number_as(self, number: int) -> None:
        """It will be stored under this number as it is now: :meth:`taken` gives the bytes."""
        self.number, self._waits = number, True

    def changes(self) -> None:
        """It is about to be changed (evolve)."""
        if self._waits:
            self._as_numbered, self._waits = encode(self), False
        self.number = 0

    def taken(self) -> bytes:
        """What it was when it was numbered."""
        data = self._as_numbered or encode(self)
        self._as_numbered, self._waits = b"", False
        return data

    def not_stored(self, number: int) -> None:
        """It is not stored under this number, after all."""
        self._as_numbered, self._waits = b"", False
        if self.number == number:
            self.number = 0


class Leaf(Part, Generic[T], array_like=True, dict=True):
    """A page of a :class:`Paged`."""

    entries: dict[str, T] = field(default_factory=dict)


class Paged(Struct, Generic[T], array_like=True, dict=True):
    """A dictionary in pages of :data:`PAGE_ENTRIES`, its entries in the order they came in, so that
    what comes and changes together is stored together. A value that is to be changed in place is
    got by :meth:`edit`."""

    pages: list[Leaf[T]] = field(default_factory=list)
    """Oldest first."""

    def __post_init__(self) -> None:
        self.reindex()

    def reindex(self) -> None:
        """To be called when ``pages`` was set."""
        self._page_of = {key: page for page in self.pages for key in page.entries}

    def __len__(self) -> int:
        return len(self._page_of)

    def __contains__(self, key: str) -> bool:
        return key in self._page_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._page_of)

    def __getitem__(self, key: str) -> T:
        return self._page_of[key].entries[key]

    def get(self, key: str) -> T | None:
        """The value, to be looked at; None: there is none."""
        page = self._page_of.get(key)
        return None if page is None else page.entries[key]

    def edit(self, key: str) -> T:
        """The value, to be changed in place. Raises ``KeyError``."""
        page = self._page_of[key]
        page.changes()
        return page.entries[key]

    def __setitem__(self, key: str, value: T) -> None:
        page = self._page_of.get(key)
        if page is None:
            page = self._page_of[key] = self._newest()
        page.changes()
        page.entries[key] = value

    def pop(self, key: str) -> T:
        """Remove an entry. Raises ``KeyError``."""
        page = self._page_of.pop(key)
        page.changes()
        value = page.entries.pop(key)
        if not page.entries:
            self.pages[:] = [one for one in self.pages if one is not page]
        return value

    def keys(self) -> KeysView[str]:
        """All keys."""
        return self._page_of.keys()

    def values(self) -> Iterator[T]:
        """All values, to be looked at."""
        for page in self.pages:
            yield from page.entries.values()

    def items(self) -> Iterator[tuple[str, T]]:
        """All entries, to be looked at."""
        for page in self.pages:
            yield from page.entries.items()

    def _newest(self) -> Leaf[T]:
        pages = self.pages
        if not pages or len(pages[-1].entries) >= PAGE_ENTRIES:
            pages.append(Leaf())
        return pages[-1]
