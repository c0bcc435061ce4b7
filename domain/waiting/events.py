"""Facts of one waiting room."""

from domain.message import Event

__all__ = ["Admitted"]


class Admitted(Event, tag="queue.admitted.v1"):
    """A customer has a time at which they may order, once; ``next_at`` is the bucket's new level
    (when the customer after the next burst is let in)."""

    customer_id: str
    admitted_at: float
    expires_at: float
    next_at: float
    at: float
