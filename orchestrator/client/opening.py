"""Waiting until shops are open: what was put is sellable a moment later, when the service's read
models have heard of it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.client.orders import OrderCalls

__all__ = ["NotSellable", "Wanted", "until_sellable"]

HEARD_S = 30.0
LOOKS_EVERY_S = 0.1
NAMED_MAX = 5


class NotSellable(Exception):
    """What was put cannot be bought; the text says where."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be sellable at a place (degrees): SKU to units, at least. ``name`` is for whoever
    reads that it is not."""

    name: str
    lat: float
    lon: float
    units: Mapping[str, int]


async def until_sellable(
    channel: OrderCalls,
    places: Iterable[Wanted],
    *,
    within_s: float = HEARD_S,
    on_look: Callable[[int], None] = lambda _waiting: None,
) -> None:
    """Ask until every place sells what is wanted there. ``on_look`` is told before each round at
    how many places it does not yet. Raises :class:`NotSellable` after ``within_s`` real seconds."""
    waiting = list(places)
    try:
        async with asyncio.timeout(within_s):
            while True:
                on_look(len(waiting))
                waiting = [place for place in waiting if not await _sells(channel, place)]
                if not waiting:
                    return
                await asyncio.sleep(LOOKS_EVERY_S)
    except TimeoutError:
        named = ", ".join(place.name for place in waiting[:NAMED_MAX])
        raise NotSellable(
            f"After {within_s:.0f} s what was put cannot be bought at {named}."
        ) from None


async def _sells(channel: OrderCalls, place: Wanted) -> bool:
    found = await channel.availability(list(place.units), place.lat, place.lon)
    sellable = {item.sku: item.sellable for item in found.items}
    return all(sellable.get(sku, 0) >= units for sku, units in place.units.items())
