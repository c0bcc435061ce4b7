"""Public documents for tests: what a test names is there, all else is empty."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from orchestrator.client import models
from simulator.audit import Evidence

__all__ = ["Books", "whole"]

Document = TypeVar("Document")

BLANKS: dict[type[inspect.Type], Any] = {
    inspect.StrType: "", inspect.IntType: 0, inspect.FloatType: 0.0, inspect.BoolType: False,
    inspect.DateTimeType: "1970-01-01T00:00:00Z", inspect.AnyType: None,
}  # fmt: skip


def whole(kind: type[Document], given: Any) -> Document:
    """The document ``given``, its missing members blank: 0, "", no items, null where it may be."""
    if kind is type(None):
        return None  # type: ignore[return-value]
    return msgspec.convert(_filled(inspect.type_info(kind), given), kind)


def _filled(info: inspect.Type, given: Any) -> Any:
    if isinstance(info, inspect.UnionType):
        if given is None:
            return None
        info = next(one for one in info.types if not isinstance(one, inspect.NoneType))
    if isinstance(info, inspect.StructType) and isinstance(given, Mapping):
        return {
            member.encode_name: _filled(member.type, given[member.encode_name])
            if member.encode_name in given
            else _blank(member.type)
            for member in info.fields
            if member.required or member.encode_name in given
        }
    if isinstance(info, inspect.ListType):
        return [_filled(info.item_type, item) for item in given]
    return given


def _blank(info: inspect.Type) -> Any:
    if isinstance(info, inspect.UnionType):
        return None
    if isinstance(info, inspect.StructType):
        return _filled(info, {})
    if isinstance(info, inspect.ListType):
        return []
    if isinstance(info, inspect.DictType):
        return {}
    return BLANKS[type(info)]


@dataclass
class Books:
    """What the service's books say after a day, as documents that a test may change."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    stock: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    ledger_stock: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)
    unbalanced: dict[str, int] = field(default_factory=dict)
    statement: list[dict[str, Any]] | None = None
    riders: dict[str, dict[str, Any]] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    campaigns: dict[str, dict[str, Any]] = field(default_factory=dict)
    unexplained: list[dict[str, Any]] = field(default_factory=list)

    def evidence(self) -> Evidence:
        """The same for the audit."""
        differences = {"differences": self.unexplained, "balanced": not self.unexplained}
        return Evidence(
            reconciliation=whole(models.Reconciliation, differences),
            orders=_all(models.Order, self.orders),
            stock={store: _all(models.Cell, cells) for store, cells in self.stock.items()},
            ledger_stock={
                store: _all(models.LedgerCell, rows) for store, rows in self.ledger_stock.items()
            },
            accounts=dict(self.accounts),
            unbalanced=dict(self.unbalanced),
            statement=None if self.statement is None else list(self.statement),
            riders=_all(models.Rider, self.riders),
            unread=dict(self.unread),
            campaigns=_all(models.Campaign, self.campaigns),
        )


def _all(kind: type[Document], given: Mapping[str, Any]) -> dict[str, Document]:
    return {key: whole(kind, document) for key, document in given.items()}
