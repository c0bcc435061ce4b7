"""Seeking stock anew for lines of an order that exists already."""

from collections.abc import Mapping, Sequence

from actors.engine.kind import Context
from actors.order.locking import Quest
from domain.order.ids import next_line_number
from domain.order.placing import demand_of
from domain.order.state import OrderState, Part, destination, lines_of, units_due
from domain.routing import Part as PlannedPart

__all__ = ["at_store", "same_stores", "seek"]


def seek(state: OrderState, units: Mapping[str, int], context: Context) -> Quest:
    """A search for ``units`` of these lines, by id, anywhere around the order's address."""
    views = context.views
    policy = views.channel(state.channel)
    lines = [line for line in state.lines if units.get(line.line_id)]
    return Quest(
        order_id=state.order_id,
        channel=state.channel,
        lines=lines,
        demands=[demand_of(line, units[line.line_id], views.skus.get(line.sku)) for line in lines],
        policy=policy,
        position=destination(state),
        store_id="",
        expires_at=context.now + policy.unpaid_s,
        number=state.number + 1,
        next_line=next_line_number(state.lines),
        whole=tuple(state.marks),
    )


def same_stores(state: OrderState, parts: Sequence[Part], context: Context) -> list[PlannedPart]:
    """The plan that has these fulfilments again at their stores; empty if a store is gone, closed
    or no longer reaches the address."""
    position = destination(state)
    plan = []
    for part in parts:
        candidate = context.views.candidate(
            part.fulfilment.store_id, context.now, position, state.channel
        )
        if candidate is None or not candidate.open:
            return []
        due = [(line.line_id, units_due(state, line)) for line in lines_of(state, part)]
        units = tuple((line_id, count) for line_id, count in due if count)
        plan.append(PlannedPart(candidate.store, candidate.zone, units, candidate.distance_m))
    return plan


def at_store(state: OrderState, store_id: str, context: Context) -> PlannedPart:
    """A part at this store, which could serve the order when it was placed: if its zones were
    redrawn since, what was promised to the customer holds."""
    position = destination(state)
    found = context.views.candidate(store_id, context.now, position, state.channel)
    if found is not None:
        return PlannedPart(found.store, found.zone, (), found.distance_m)
    store = context.views.stores[store_id]
    return PlannedPart(store, store.zones[0] if position and store.zones else None, ())
