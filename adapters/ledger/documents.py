"""What the rules produce: documents of money (with postings) and of stock (with lines)."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from operator import attrgetter
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from adapters.ledger.tables import STOCK_MEASURES

__all__ = ["Document", "Posting", "StockLine", "Unbalanced", "balanced", "plain"]


class Unbalanced(Exception):
    """A rule produced postings whose debits and credits differ: a defect, nothing is stored."""


class Posting(Struct, frozen=True, gc=False):
    """One leg of an entry; ``amount`` in minor units, debit positive, credit negative."""

    account: str
    currency: str
    amount: int


class StockLine(Struct, frozen=True, gc=False):
    """What a document changed in one stock cell; ``deltas`` by the names in
    :data:`adapters.ledger.tables.STOCK_MEASURES`."""

    store_id: str
    sku: str
    deltas: dict[str, int]
    line_id: str = ""
    fulfilment_id: str = ""

    def __post_init__(self) -> None:
        unknown = self.deltas.keys() - set(STOCK_MEASURES)
        if unknown:
            raise ValueError(f"unknown stock measures: {sorted(unknown)}")


class Document(Struct, frozen=True, gc=False):
    """The immutable record behind a change of money or stock. ``reference`` is the id that the
    business knows it by (payment, refund, remittance, fulfilment, receipt)."""

    kind: str
    reference: str = ""
    order_id: str = ""
    fulfilment_id: str = ""
    store_id: str = ""
    rider_id: str = ""
    data: dict[str, Any] = {}
    postings: tuple[Posting, ...] = ()
    stock: tuple[StockLine, ...] = ()


def balanced(currency: str, legs: Iterable[tuple[str, int]]) -> tuple[Posting, ...]:
    """Postings of one currency from (account, amount): added up per account, zeros left out.

    Raises :class:`Unbalanced` unless they add up to zero.
    """
    sums: defaultdict[str, int] = defaultdict(int)
    for account, amount in legs:
        sums[account] += amount
    if sum(sums.values()) != 0:
        raise Unbalanced(f"debits and credits differ in {currency}: {dict(sums)}")
    return tuple(Posting(account, currency, amount) for account, amount in sums.items() if amount)


def plain(value: Any) -> Any:
    """A struct as JSON-able builtins with field names (stored messages are arrays on the wire, but
    rows are read by people and by SQL)."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if issubclass(kind, Struct):
        names, values, nested = _fields(kind)
        fields = dict(zip(names, values(value), strict=True))
        for name in nested:
            fields[name] = plain(fields[name])
        return fields
    if kind is tuple or kind is list:
        return [plain(item) for item in value]
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    return msgspec.to_builtins(value)


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, ...], Callable[[Any], Any], tuple[str, ...]]:
    """A struct's fields, how to read them all, and which of them are not simple values already."""
    names = kind.__struct_fields__
    hints = get_type_hints(kind)
    nested = tuple(name for name in names if hints[name] not in _SIMPLE)
    if len(names) > 1:
        return names, attrgetter(*names), nested
    return names, lambda value: tuple(getattr(value, name) for name in names), nested


_SIMPLE = frozenset({str, int, float, bool, type(None)})
"""Types that need no work: looked up first, because most fields of most events are such."""
