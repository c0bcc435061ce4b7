"""Facts of one customer's record."""

from domain.message import Event

__all__ = ["CodReserved", "NewcomerReserved", "OrderRecorded", "OutcomeRecorded"]


class CodReserved(Event, tag="customer.cod_reserved.v1"):
    """An order may be paid in cash; it counts as open until its outcome, or for a while
    if the order is never recorded."""

    order_id: str
    at: float = 0.0


class NewcomerReserved(Event, tag="customer.newcomer_reserved.v1"):
    """An order may be the customer's first; until then no other may."""

    order_id: str
    at: float
    until: float = 0.0
    """0: ``RESERVED_S`` after ``at``."""
    instead_of: str = ""
    """The claim that the order had before."""


class OrderRecorded(Event, tag="customer.order_recorded.v1"):
    """An order was placed."""

    order_id: str
    cod: bool
    at: float = 0.0


class OutcomeRecorded(Event, tag="customer.outcome_recorded.v1"):
    """``completed | cancelled | refused | void | expired | lapsed | abandoned``."""

    order_id: str
    outcome: str
    at: float = 0.0
    claim_id: str = ""
    """Which of the order's claims came to nothing, if it is ``void``."""
    held_s: float = 0.0
    """For how long it held stock, if it is ``abandoned``."""
