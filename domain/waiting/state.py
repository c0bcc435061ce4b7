"""One waiting room as it is kept."""

from math import inf

from msgspec import Struct, field

from domain.waiting.events import Admitted

__all__ = ["QueueState", "evolve", "finished_at"]


class QueueState(Struct, array_like=True, gc=False):
    """``places``: customer -> (admitted_at, expires_at), oldest first; past ones are forgotten."""

    next_at: float = 0.0
    places: dict[str, tuple[float, float]] = field(default_factory=dict)


def evolve(state: QueueState | None, event: Admitted) -> QueueState:
    """Apply one event in place."""
    if state is None:
        state = QueueState()
    places = state.places
    while places:
        oldest = next(iter(places))
        if places[oldest][1] > event.at:
            break
        del places[oldest]
    places.pop(event.customer_id, None)
    places[event.customer_id] = (event.admitted_at, event.expires_at)
    state.next_at = event.next_at
    return state


def finished_at(state: QueueState) -> float:
    """When the last admission is over; known beforehand, so no timer is needed."""
    return state.places[next(reversed(state.places))][1] if state.places else inf
