"""Seeking stock anew for lines of an order that exists already."""

from collections.abc import Mapping, Sequence

from actors.engine.kind import Context
from actors.order.locking import StockSearch
from domain.order import ids
from domain.order.events import Fulfilment, Line
from domain.order.placing import ServedPart, allocation_of, demand_of
from domain.order.state import OrderState, Part, destination, due_units, lines_of
from domain.routing import Part as PlannedPart

__all__ = ["moved_to", "same_stores", "seek"]


def seek(state: OrderState, units: Mapping[str, int], context: Context) -> StockSearch:
    """A search for ``units`` of these lines, by id, anywhere around the order's address."""
    views = context.views
    policy = views.channel(state.channel)
    lines = [line for line in state.lines if units.get(line.line_id)]
    return StockSearch(
        order_id=state.order_id,
        channel=state.channel,
        lines=lines,
        demands=[demand_of(line, units[line.line_id], views.skus.get(line.sku)) for line in lines],
        policy=policy,
        position=destination(state),
        store_id="",
        expires_at=context.now + policy.unpaid_s,
        number=state.number + 1,
        next_line=ids.next_line_number(state.lines),
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
        units = due_units(state, part)
        plan.append(PlannedPart(candidate.store, candidate.zone, units, candidate.distance_m))
    return plan


def moved_to(
    state: OrderState, part: Part, number: int, store_id: str, context: Context
) -> tuple[Fulfilment, tuple[Line, ...]]:
    """The part as the order's ``number``-th fulfilment, served by another store of its campaign,
    and its lines, of which short units stay short. Its freight stays."""
    moved = ServedPart(
        ids.fulfilment_id(state.order_id, number),
        _at_store(state, store_id, context),
        [(line, line.quantity) for line in lines_of(state, part)],
    )
    old = part.fulfilment
    (fulfilment,), lines = allocation_of([moved], old.freight, old.campaign_id)
    return fulfilment, lines


def _at_store(state: OrderState, store_id: str, context: Context) -> PlannedPart:
    """A part at this store, which could serve the order when it was placed: if its zones were
    redrawn since, what was promised to the customer holds."""
    position = destination(state)
    found = context.views.candidate(store_id, context.now, position, state.channel)
    if found is not None:
        return PlannedPart(found.store, found.zone, (), found.distance_m)
    store = context.views.stores[store_id]
    return PlannedPart(store, store.zones[0] if position and store.zones else None, ())
