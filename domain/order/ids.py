"""How the ids around an order are made and taken apart.

Invariant: **an order id holds neither a dash nor a slash.** The ids of what belongs to an order
begin with its own, and what stands before their first dash (of a line: before its slash) is the
order. The texts below are stored in journals and in the ledger and known to providers: they never
change.
"""

from collections.abc import Iterable
from zlib import crc32

from domain.order.events import Line

__all__ = [
    "cancelled_refund_id",
    "claim_id",
    "free_payment_id",
    "freed_lock_id",
    "fulfilment_id",
    "ladder_refund_id",
    "line_id",
    "next_line_number",
    "number_of",
    "order_of",
    "order_of_line",
    "order_of_payment",
    "payment_id",
    "return_id",
    "short_id",
    "short_refund_id",
    "unwanted_id",
    "whole_refund_id",
]  # fmt: skip


# Parts of an order ------------------------------------------------------------------------------


def fulfilment_id(order_id: str, number: int) -> str:
    """The order's ``number``-th fulfilment (from 1; those that were only tried count)."""
    return f"{order_id}-{number}"


def order_of(fulfilment_id: str) -> str:
    """The order of a fulfilment, or of a document of stock made for it."""
    return fulfilment_id.partition("-")[0]


def number_of(fulfilment_id: str) -> int:
    """The running number at a fulfilment id's end."""
    return int(fulfilment_id.rpartition("-")[2])


def line_id(order_id: str, number: int) -> str:
    """The order's ``number``-th line (from 1; a divided line gets further numbers)."""
    return f"{order_id}/{number}"


def order_of_line(line_id: str) -> str:
    """The order of a line."""
    return line_id.rpartition("/")[0]


def next_line_number(lines: Iterable[Line]) -> int:
    """The first line number that none of these lines, nor any before them, has."""
    return max([int(line.line_id.rpartition("/")[2]) for line in lines], default=0) + 1


def claim_id(order_id: str, number: int, wish: str) -> str:
    """The claim at a campaign that the ``number``-th fulfilment on would be served from, under an
    id of this wish alone."""
    return f"{order_id}-{number}.{crc32(wish.encode()):08x}"


# Payments and refunds ---------------------------------------------------------------------------


def payment_id(order_id: str, name: str) -> str:
    """One of the order's payments; ``name`` holds no dash."""
    return f"{order_id}-p{name}"


def free_payment_id(order_id: str) -> str:
    """The payment of an order that costs nothing."""
    return payment_id(order_id, "0")


def order_of_payment(payment_id: str) -> str | None:
    """The order of a payment; None: it is no payment of ours."""
    order_id, separator, _name = payment_id.rpartition("-p")
    return order_id if separator else None


def whole_refund_id(payment_id: str, number: int) -> str:
    """The refund of a payment's ``number``-th captured sum (from 0) that the order cannot use."""
    return f"{payment_id}-r{number + 1}" if number else f"{payment_id}-r"


def cancelled_refund_id(fulfilment_id: str) -> str:
    """The refund of a fulfilment that came to nothing, and of those cancelled together with it."""
    return f"{fulfilment_id}-cancelled"


def short_refund_id(fulfilment_id: str, why: str) -> str:
    """The refund of units that are not in a fulfilment; ``why``: ``short | substitute |
    unwanted``."""
    return f"{fulfilment_id}-{why}"


def ladder_refund_id(claim_id: str) -> str:
    """The refund of what a price fell by after it was paid."""
    return f"{claim_id}-ladder"


# Documents and locks of stock -------------------------------------------------------------------


def return_id(fulfilment_id: str) -> str:
    """The return of a fulfilment's sale."""
    return f"{fulfilment_id}-return"


def short_id(fulfilment_id: str) -> str:
    """The correction for units that the shelf did not have."""
    return f"{fulfilment_id}-short"


def unwanted_id(fulfilment_id: str) -> str:
    """The document for units that stay on the shelf."""
    return f"{fulfilment_id}-unwanted"


def freed_lock_id(fulfilment_id: str) -> str:
    """The lock that a correction takes units from which were free again before it came."""
    return f"{fulfilment_id}-freed"
