"""How a campaign's units move between *available*, *held*, *sold* and *returned*.

The same functions change the state (``state.evolve``) and, on copies, foretell the quota after an
event (:class:`Ahead`), so that the two can never disagree.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Protocol

from msgspec import Struct

from domain.campaign.commands import Share, Terms
from domain.campaign.events import After, Tally

__all__ = [
    "Ahead", "Shelf", "end", "fill", "free", "hold", "holds_units", "move", "pay", "reassign",
    "take", "unassign",
]  # fmt: skip


class Shelf(Struct, array_like=True, gc=False):
    """One store's share: ``available + held + sold + returned == set_aside``, always."""

    asked: int
    set_aside: int = 0
    available: int = 0
    held: int = 0
    sold: int = 0
    returned: int = 0
    wanted: int = 0
    """Units that open groups will take as they form (stock ``on_formation``)."""
    answered: bool = False
    problem: str = ""


class Shelves(Protocol):
    """Shelves by store id: the state's, or copies of them."""

    def __getitem__(self, store_id: str, /) -> Shelf: ...


def holds_units(terms: Terms) -> bool:
    """Whether a seat holds its units from the claim on."""
    return terms.group is None or terms.group.stock == "on_payment"


def fill(shelves: Shelves, store_id: str, units: int, ended: bool) -> None:
    """A store has set its share aside."""
    shelf = shelves[store_id]
    shelf.answered = True
    shelf.set_aside = shelf.available = units
    if ended:
        _give_back(shelf)


def hold(shelves: Shelves, terms: Terms, parts: Iterable[Share]) -> None:
    """Claimed."""
    for part in parts:
        shelf = shelves[part.store_id]
        if holds_units(terms):
            shelf.available -= part.units
            shelf.held += part.units
        else:
            shelf.wanted += part.units


def pay(shelves: Shelves, terms: Terms, parts: Iterable[Share]) -> None:
    """Paid."""
    if holds_units(terms):
        for part in parts:
            shelf = shelves[part.store_id]
            shelf.held -= part.units
            shelf.sold += part.units


def move(shelves: Shelves, moves: Iterable[tuple[Share, str]], *, ended: bool) -> None:
    """Units that a seat was to take (``on_formation``) come from another store instead."""
    left = []
    for part, store_id in moves:
        shelves[part.store_id].wanted -= part.units
        shelves[store_id].wanted += part.units
        left.append(part.store_id)
    if ended:
        end(shelves, left)


def take(shelves: Shelves, terms: Terms, parts: Iterable[Share]) -> None:
    """A paid seat's group has formed."""
    if not holds_units(terms):
        for part in parts:
            shelf = shelves[part.store_id]
            shelf.wanted -= part.units
            shelf.available -= part.units
            shelf.sold += part.units


def reassign(shelves: Shelves, part: Share) -> None:
    """Sold again: to a part that its own store did not serve."""
    shelf = shelves[part.store_id]
    shelf.available -= part.units
    shelf.sold += part.units


def unassign(shelves: Shelves, part: Share, *, ended: bool) -> None:
    """That part did not take them."""
    shelf = shelves[part.store_id]
    shelf.sold -= part.units
    shelf.available += part.units
    if ended:
        _give_back(shelf)


def free(
    shelves: Shelves,
    terms: Terms,
    parts: Iterable[Share],
    *,
    paid: bool,
    settled: bool,
    ended: bool,
) -> None:
    """Given back by an order that is ``paid`` or not, its seat ``settled`` (sold, formed) or not.
    Of a campaign that has ended the units return to their store at once."""
    for part in parts:
        shelf = shelves[part.store_id]
        if not holds_units(terms) and not settled:
            shelf.wanted -= part.units
        elif paid or settled:
            shelf.sold -= part.units
            shelf.available += part.units
        else:
            shelf.held -= part.units
            shelf.available += part.units
        if ended:
            _give_back(shelf)


def end(shelves: Shelves, store_ids: Iterable[str]) -> None:
    """The campaign ends: what nobody holds or will take goes back to its store."""
    for store_id in store_ids:
        _give_back(shelves[store_id])


def _give_back(shelf: Shelf) -> None:
    surplus = shelf.available - shelf.wanted
    if surplus > 0:
        shelf.available -= surplus
        shelf.returned += surplus


class Ahead:
    """Copies of the shelves that an event touches."""

    def __init__(self, shelves: Mapping[str, Shelf], tally: Tally) -> None:
        self._shelves = shelves
        self._tally = tally
        self._copies: dict[str, Shelf] = {}

    def __getitem__(self, store_id: str, /) -> Shelf:
        shelf = self._copies.get(store_id)
        if shelf is None:
            shelf = self._copies[store_id] = copy(self._shelves[store_id])
        return shelf

    def after(self) -> After:
        """The quota as it will be."""
        available, held = self._tally.available, self._tally.held
        sold, returned = self._tally.sold, self._tally.returned
        for store_id, new in self._copies.items():
            old = self._shelves[store_id]
            available += new.available - old.available
            held += new.held - old.held
            sold += new.sold - old.sold
            returned += new.returned - old.returned
        left = tuple([Share(name, shelf.available) for name, shelf in self._copies.items()])
        return After(left, Tally(available, held, sold, returned))

    def returned(self) -> tuple[Share, ...]:
        """Units that go back to their stores."""
        shares = []
        for store_id, new in self._copies.items():
            units = new.returned - self._shelves[store_id].returned
            if units:
                shares.append(Share(store_id, units))
        return tuple(shares)
