"""Commands to one waiting room (entity id = ``<channel>/sku:<sku>`` or ``campaign:<id>``)."""

from msgspec import Struct

from domain.message import Command
from domain.waiting.model import QueueRule

__all__ = ["Admission", "Join"]


class Join(Command, tag="queue.join.v1"):
    """Queue for the target; nobody is let in before ``opens_at`` (epoch seconds). Queueing again
    gives the same place. Reply: ``Admission``; refused with ``queue-full``."""

    LOOKED_UP = frozenset({"rule", "opens_at"})

    customer_id: str
    rule: QueueRule
    opens_at: float = 0.0


class Admission(Struct, frozen=True, array_like=True, tag="queue.admission.v1", gc=False):
    """A reply: when the customer may order (epoch seconds). ``position``: how many are let in
    before, about; 0 when it is their turn."""

    customer_id: str
    admitted_at: float
    expires_at: float
    position: int
