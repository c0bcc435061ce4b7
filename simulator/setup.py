"""Before the day: the catalogue, the stores and what is on their shelves, through the API."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from simulator.api import Api, NoAnswer
from simulator.day import Day
from simulator.plan import StorePlan

__all__ = ["set_up"]

AT_ONCE = 16
SKUS_PER_CALL = 200
HEARD_REAL_S = 30.0
"""What was put is sellable when the service's read models have heard of it."""


async def set_up(day: Day, on_step: Callable[[str, int, int], None]) -> None:
    """Put channels, SKUs and stores, receive the stock, and wait until it can be sold.

    ``on_step(what, done, total)`` is told of progress. Raises ``NoAnswer`` when the service does
    not come up, ``Refusal`` when it does not take the city.
    """
    ops = day.api("ops", "simulator")
    plan = day.plan
    for channel in plan.channels:
        on_step("setting up channels", 0, len(plan.channels))
        body = channel.as_json()
        await ops.put(f"/v1/channels/{body.pop('channel')}", body)
    await _put_goods(day, ops, on_step)
    await _put_stores(day, ops, on_step)
    await _until_sellable(day, on_step)


async def _put_goods(day: Day, ops: Api, on_step: Callable[[str, int, int], None]) -> None:
    goods = [item.as_json() for item in day.plan.goods]
    for start in range(0, len(goods), SKUS_PER_CALL):
        on_step("setting up goods", start, len(goods))
        part = goods[start : start + SKUS_PER_CALL]
        await ops.post("/v1/skus", {"skus": part}, key=f"{part[0]['sku']}-put")


async def _put_stores(day: Day, ops: Api, on_step: Callable[[str, int, int], None]) -> None:
    room = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def put(store: StorePlan) -> None:
        nonlocal done
        async with room:
            body = store.as_json(day.plan.currency)
            await ops.put(f"/v1/stores/{body.pop('store_id')}", body)
            await _stock_up(day, ops, store)
        done += 1
        on_step("stocking stores", done, len(day.plan.stores))

    async with asyncio.TaskGroup() as group:
        for store in day.plan.stores:
            group.create_task(put(store))


async def _stock_up(day: Day, ops: Api, store: StorePlan) -> None:
    """One receipt. What is there already (a store used before) counts as received, too."""
    items = [{"sku": sku, "quantity": units} for sku, units in store.stock.items()]
    answer = await ops.post(
        f"/v1/stores/{store.store_id}/stock/receipts",
        {"items": items},
        key=f"{store.store_id}-opening-stock",
    )
    on_hand = {cell["sku"]: int(cell["on_hand"]) for cell in _cells(answer)}
    day.world.receive(
        store.store_id, {sku: on_hand.get(sku, units) for sku, units in store.stock.items()}
    )


async def _until_sellable(day: Day, on_step: Callable[[str, int, int], None]) -> None:
    """The read models follow the journals: ask for a piece of every store's assortment."""
    ops = day.api("ops", "simulator")
    waiting = [store for store in day.plan.stores if any(store.stock.values())]
    total = len(waiting)
    try:
        async with asyncio.timeout(HEARD_REAL_S):
            while waiting:
                on_step("waiting for the stores to open", total - len(waiting), total)
                waiting = [store for store in waiting if not await _sells(ops, store)]
                if waiting:
                    await asyncio.sleep(0.2)
    except TimeoutError:
        named = ", ".join(store.store_id for store in waiting[:5])
        raise NoAnswer(f"After {HEARD_REAL_S:.0f} s nothing can be bought at {named}.") from None


async def _sells(ops: Api, store: StorePlan) -> bool:
    sku = next(sku for sku, units in store.stock.items() if units)
    answer = await ops.get(
        "/v1/availability", sku=sku, lat=store.position.lat, lon=store.position.lon
    )
    return any(item["sellable"] > 0 for item in _cells(answer))


def _cells(answer: dict[str, Any]) -> Iterable[dict[str, Any]]:
    items: Iterable[dict[str, Any]] = answer.get("items", ())
    return items
