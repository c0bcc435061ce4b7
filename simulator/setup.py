"""Before the day: the catalogue, the stores and what is on their shelves, through the API."""

import asyncio
from collections.abc import Callable

from orchestrator.client import DoorstepClient
from orchestrator.client.opening import Wanted, until_sellable
from simulator.day import Day
from simulator.plan import StorePlan

__all__ = ["set_up"]

AT_ONCE = 16
SKUS_PER_CALL = 200

Told = Callable[[str, int, int], None]


async def set_up(day: Day, on_step: Told) -> None:
    """Put channels, SKUs and stores, receive the stock, and wait until it can be sold.

    ``on_step(what, done, total)`` is told of progress. Raises ``Unanswered`` when the service does
    not come up, ``Refusal`` when it does not take the city, ``NotSellable`` when it does not sell.
    """
    ops = day.client("ops", "simulator")
    plan = day.plan
    for channel in plan.channels:
        on_step("setting up channels", 0, len(plan.channels))
        body = channel.as_json()
        await ops.put_channel(body.pop("channel"), body)
    await _put_goods(day, ops, on_step)
    await _put_stores(day, ops, on_step)
    await _until_sellable(day, ops, on_step)


async def _put_goods(day: Day, ops: DoorstepClient, on_step: Told) -> None:
    goods = [item.as_json() for item in day.plan.goods]
    for start in range(0, len(goods), SKUS_PER_CALL):
        on_step("setting up goods", start, len(goods))
        part = goods[start : start + SKUS_PER_CALL]
        await ops.put_skus(part, key=f"{part[0]['sku']}-put")


async def _put_stores(day: Day, ops: DoorstepClient, on_step: Told) -> None:
    room = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def put(store: StorePlan) -> None:
        nonlocal done
        async with room:
            body = store.as_json(day.plan.currency)
            await ops.put_store(body.pop("store_id"), body)
            await _stock_up(day, ops, store)
        done += 1
        on_step("stocking stores", done, len(day.plan.stores))

    async with asyncio.TaskGroup() as group:
        for store in day.plan.stores:
            group.create_task(put(store))


async def _stock_up(day: Day, ops: DoorstepClient, store: StorePlan) -> None:
    """One receipt. What is there already (a store used before) counts as received, too."""
    key = f"{store.store_id}-opening-stock"
    document = await ops.receive_stock(store.store_id, dict(store.stock), key=key)
    on_hand = {cell.sku: cell.on_hand for cell in document.items}
    day.world.receive(
        store.store_id, {sku: on_hand.get(sku, units) for sku, units in store.stock.items()}
    )


async def _until_sellable(day: Day, ops: DoorstepClient, on_step: Told) -> None:
    """Ask for a piece of every store's assortment."""
    places = [
        Wanted(store.store_id, store.position.lat, store.position.lon, {sku: 1})
        for store in day.plan.stores
        for sku in [next((sku for sku, units in store.stock.items() if units), "")]
        if sku
    ]

    def looked(waiting: int) -> None:
        on_step("waiting for the stores to open", len(places) - waiting, len(places))

    await until_sellable(ops, places, on_look=looked)
