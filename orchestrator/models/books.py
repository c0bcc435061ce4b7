"""The books as finance reads them, and the service's own state."""

from datetime import datetime
from typing import Any

from msgspec import Struct

__all__ = [
    "Account",
    "AccountPage",
    "Clock",
    "Document",
    "DocumentPage",
    "LedgerCell",
    "LedgerStock",
    "Part",
    "Posting",
    "PostingOfDocument",
    "PostingPage",
    "Readiness",
    "Reconciliation",
]


class Account(Struct, frozen=True, gc=False):
    """One row of the trial balance, minor units; ``balance`` = debit - credit."""

    account: str
    currency: str
    debit: int
    credit: int
    balance: int


class AccountPage(Struct, frozen=True, gc=False):
    """The whole trial balance; ``next`` is always null."""

    items: list[Account]
    next: str | None


class PostingOfDocument(Struct, frozen=True, gc=False):
    """One leg: debit positive, credit negative, minor units."""

    account: str
    currency: str
    amount: int


class Document(Struct, frozen=True, gc=False):
    """The immutable record behind a change of stock or money. ``stock``: its stock lines, measures
    that are 0 left out. ``number`` is dense, in the order of commit."""

    number: int
    document_id: str
    kind: str
    at: datetime
    order_id: str
    fulfilment_id: str
    store_id: str
    rider_id: str
    reference: str
    data: dict[str, Any]
    postings: list[PostingOfDocument]
    stock: list[dict[str, Any]]


class DocumentPage(Struct, frozen=True, gc=False):
    """Documents, oldest first; ``next`` is the cursor of the page after it."""

    items: list[Document]
    next: str | None


class Posting(Struct, frozen=True, gc=False):
    """One leg of a document: debit positive, credit negative, minor units."""

    document_id: str
    number: int
    step: int
    kind: str
    at: datetime
    order_id: str
    account: str
    currency: str
    amount: int


class PostingPage(Struct, frozen=True, gc=False):
    """Postings, oldest first; ``next`` is the cursor of the page after it."""

    items: list[Posting]
    next: str | None


class LedgerCell(Struct, frozen=True, gc=False):
    """A stock cell from documents alone, units: on_hand = received + transferred_in -
    transferred_out + counted - sold + returned - short."""

    store_id: str
    sku: str
    on_hand: int
    locked: int
    damaged: int
    sold: int
    returned: int
    received: int
    transferred_in: int
    transferred_out: int
    counted: int
    short: int


class LedgerStock(Struct, frozen=True, gc=False):
    """A store's stock from documents alone."""

    store_id: str
    items: list[LedgerCell]


class Reconciliation(Struct, frozen=True, gc=False):
    """Whether every unit and every cent is explained. `checks`: differences by check; `accounts`:
    balance by account and currency; `stock`: units by measure; `open`: what open orders own, by
    account and currency. Each of `differences` says its `check`, what it is about, and what was
    `expected` and `found`; at most 1,000 are listed, `difference_count` counts all."""

    balanced: bool
    difference_count: int
    differences: list[dict[str, Any]]
    checks: dict[str, int]
    orders: dict[str, int]
    accounts: dict[str, dict[str, int]]
    stock: dict[str, int]
    open: dict[str, dict[str, int]]
    documents: int


class Clock(Struct, frozen=True, gc=False):
    """Service time, and how many service seconds pass in a real one."""

    now: datetime
    speed: float


class Part(Struct, frozen=True, gc=False):
    """One part the service needs. ``detail`` says what is wrong and what to do."""

    ok: bool
    required: bool
    detail: str


class Readiness(Struct, frozen=True, gc=False):
    """Whether orders can be taken: every required part is there."""

    ready: bool
    parts: dict[str, Part]
    ledger_lag: int | None
