"""What the monitor keeps of an open order and of its fulfilments."""

from collections.abc import Iterable

from msgspec import Struct

from domain import order

__all__ = ["GRACE_S", "READY_S", "TrackedOrder", "TrackedPart", "tracked_parts"]

GRACE_S = 60.0
"""A rule that acts at a deadline has so long before its order counts as stuck."""
PICKING_GRACE_S = 600.0
READY_S = 900.0
CARRIED_GRACE_S = 1_800.0
RETURNING_S = 3_600.0


class TrackedPart(Struct, gc=False):
    """One fulfilment."""

    order_id: str
    fulfilment_id: str
    store_id: str
    due_s: float
    accept_s: float
    prep_s: float
    due_at: float = 0.0
    state: str = "new"
    rider_id: str = ""
    waits: bool = False
    """Once paid it is held until its campaign has confirmed it."""

    def deadline(self, since: float, *, pickup: bool) -> float | None:
        """When it will have been in its state, which it entered at ``since``, for too long."""
        match self.state:
            case "new":
                return since + self.accept_s + GRACE_S
            case "accepted" | "picking":
                return since + self.prep_s + PICKING_GRACE_S
            case "ready":
                return None if pickup else since + READY_S  # the store tells of those
            case "picked_up" | "at_customer":
                return max(self.due_at, since) + CARRIED_GRACE_S
            case "returning":
                return since + RETURNING_S
        return None


class TrackedOrder(Struct, gc=False):
    """One order; ``parts`` by fulfilment id."""

    order_id: str
    state: str
    pickup: bool
    parts: dict[str, TrackedPart]
    before: str = ""
    """Its state before a cancel was asked for."""


def tracked_parts(order_id: str, fulfilments: Iterable[order.Fulfilment]) -> dict[str, TrackedPart]:
    """An order's fulfilments as they are planned, by id."""
    return {
        one.fulfilment_id: TrackedPart(
            order_id,
            one.fulfilment_id,
            one.store_id,
            one.due_s,
            one.accept_s,
            one.prep_s,
            waits=bool(one.campaign_id),
        )
        for one in fulfilments
    }
