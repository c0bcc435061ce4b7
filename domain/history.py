"""What an entity remembers of its recent past: found by id, forgotten by age, cheap to keep.

New entries are objects. :data:`PAGE_ENTRIES` of them become a page, which is bytes: in memory it
is a fraction of the objects, and a snapshot copies it instead of encoding each entry again. So an
entity that has done ten thousand things today is stored nearly as fast as one that has done ten.
"""

from collections.abc import Iterator
from hashlib import blake2b
from operator import itemgetter
from typing import Generic, TypeVar

from msgspec import Struct, field
from msgspec.msgpack import Decoder, encode

from domain.parts import Part

__all__ = ["PAGE_ENTRIES", "History", "Page", "entries", "recall", "remember", "reopen"]

PAGE_ENTRIES = 1_000
KEY_BYTES = 16
"""A fingerprint of an id: two ids never share one."""

T = TypeVar("T")


class Page(Part, array_like=True, dict=True):
    """Entries that were sealed together. It never changes."""

    until: float
    """When the newest of them came."""
    keys: bytes
    """Fingerprints of their ids, sorted."""
    entries: bytes
    """The entries as a msgpack array, in the order of the keys."""


class History(Struct, Generic[T], array_like=True, gc=False):
    """State. An entry in ``recent`` goes before one of the same id in a page."""

    recent: dict[str, T] = field(default_factory=dict)
    since: float = 0.0
    """When the oldest of ``recent`` came."""
    pages: list[Page] = field(default_factory=list)
    """Oldest first."""


def remember(
    history: History[T],
    key: str,
    entry: T,
    at: float,
    kept_s: float,
    pages_max: int | None = None,
) -> None:
    """Note ``entry`` under ``key`` for ``kept_s`` seconds at least (evolve), unless more pages than
    ``pages_max`` would be full by then."""
    recent = history.recent
    if recent and (len(recent) >= PAGE_ENTRIES or at - history.since > kept_s):
        history.pages.append(_sealed(recent, at))
        recent.clear()
    pages = history.pages
    while pages and at - pages[0].until > kept_s:
        del pages[0]
    if pages_max is not None:
        del pages[: -pages_max or None]
    if not recent:
        history.since = at
    recent[key] = entry


def recall(
    history: History[T], key: str, decoder: Decoder[list[T]], since: float = float("-inf")
) -> T | None:
    """The entry under ``key``, if it is still known. One out of a page is a copy. ``since``: what
    was noted before need not be found, which spares a look into each page."""
    found = history.recent.get(key)
    if found is not None or not history.pages:
        return found
    fingerprint = _fingerprint(key)
    for page in reversed(history.pages):
        if page.until < since:
            break
        place = _place(page.keys, fingerprint)
        if place is not None:
            return decoder.decode(page.entries)[place]
    return None


def entries(history: History[T], decoder: Decoder[list[T]]) -> Iterator[T]:
    """All that is known, each id once, as of last."""
    seen = set()
    for key, entry in history.recent.items():
        seen.add(_fingerprint(key))
        yield entry
    for page in reversed(history.pages):
        for place, entry in enumerate(decoder.decode(page.entries)):
            fingerprint = page.keys[place * KEY_BYTES : (place + 1) * KEY_BYTES]
            if fingerprint not in seen:
                seen.add(fingerprint)
                yield entry


def reopen(
    history: History[T], key: str, decoder: Decoder[list[T]], at: float, kept_s: float
) -> T | None:
    """As :func:`recall`, but the entry may be changed in place (evolve)."""
    found = history.recent.get(key)
    if found is None and (found := recall(history, key, decoder)) is not None:
        remember(history, key, found, at, kept_s)
    return found


def _sealed(entries: dict[str, T], until: float) -> Page:
    keyed = sorted(
        ((_fingerprint(key), entry) for key, entry in entries.items()), key=itemgetter(0)
    )
    keys = b"".join([key for key, _ in keyed])
    return Page(until, keys, encode([entry for _, entry in keyed]))


def _fingerprint(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=KEY_BYTES).digest()


def _place(keys: bytes, wanted: bytes) -> int | None:
    """Where a fingerprint stands among sorted ones; None: it is not among them."""
    low, high = 0, len(keys) // KEY_BYTES
    while low < high:
        middle = (low + high) // 2
        found = keys[middle * KEY_BYTES : (middle + 1) * KEY_BYTES]
        if found == wanted:
            return middle
        if found < wanted:
            low = middle + 1
        else:
            high = middle
    return None
