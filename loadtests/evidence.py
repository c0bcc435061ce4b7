"""Collecting the service's books for the verdict, through its public API."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from loadtests.scene import Scene
from loadtests.verdict import CustomersSaw, Evidence, RiderSaw, TabletSaw
from orchestrator.client import DoorstepClient, ProblemError, models, money
from orchestrator.client.many import read_many

__all__ = ["collect", "read_orders", "unsettled"]

PAGE = 500


async def read_orders(
    ops: DoorstepClient,
    scene: Scene,
    acknowledged: Iterable[str],
    known: Mapping[str, models.Order],
) -> dict[str, models.Order]:
    """Every order of the run: those that customers were told of, and those only the books know.
    What was final in ``known`` is not read again."""
    wanted = set(acknowledged) | set(known)
    after = ""
    while True:
        page = await ops.orders(channel=scene.channel, after=after, limit=PAGE)
        ours = {o.order_id for o in page.items if o.customer_id.startswith(f"{scene.tag}-")}
        wanted |= ours
        # Newest first: a page without any of ours lies before this run.
        if page.next is None or not ours:
            break
        after = page.next
    orders = {one: order for one, order in known.items() if money.is_settled(order)}
    found = await read_many(wanted - set(orders), lambda order_id: _order(ops, order_id))
    orders.update((order_id, order) for order_id, order in found.items() if order is not None)
    return orders


def unsettled(orders: Mapping[str, models.Order], paid: Mapping[str, int]) -> list[str]:
    """What may still change: orders that are not final, refunds on their way, payments that the
    service has not heard of."""
    waiting = [order_id for order_id, order in orders.items() if not money.is_settled(order)]
    heard = {one for order in orders.values() for one in money.taken_payments(order)}
    return waiting + sorted(set(paid) - heard)


async def collect(
    ops: DoorstepClient,
    scene: Scene,
    customers: CustomersSaw,
    orders: dict[str, models.Order],
    tablets: dict[str, TabletSaw],
    riders: dict[str, RiderSaw],
) -> Evidence:
    """Everything the verdict needs, as the service says it now."""
    stores = [spot.store_id for spot in scene.stores]
    for store_id, saw in tablets.items():
        saw.head = (await ops.store_inbox(store_id, after=saw.stored, limit=1)).head
    for rider_id, phone in riders.items():
        phone.head = (await ops.rider_inbox(rider_id, after=phone.stored, limit=1)).head
    return Evidence(
        customers=customers,
        orders=orders,
        campaigns=await read_many((one.campaign_id for one in scene.campaigns), ops.campaign),
        received=scene.received,
        stock=await read_many(stores, ops.stock),
        ledger_stock=await read_many(stores, ops.ledger_stock),
        reconciliation=await ops.reconciliation(),
        given_back=await read_many(_taken(orders), lambda name: _given_back(ops, name)),
        tablets=tablets,
        riders=riders,
        clock_speed=scene.clock_speed,
    )


def _taken(orders: Mapping[str, models.Order]) -> list[str]:
    """Payments that a provider took."""
    return [payment for order in orders.values() for payment in money.taken_payments(order)]


async def _given_back(ops: DoorstepClient, payment_id: str) -> int:
    """What the sandbox provider says, on its own page for the customer, that it gave back. Who
    abandons that page changes nothing."""
    page = f"{ops.base_url}/sandbox/pay/{quote(payment_id, safe='')}"
    payment = await ops.call(dict[str, Any], "POST", page, body={"outcome": "abandon"})
    return int(payment["refunded"])


async def _order(ops: DoorstepClient, order_id: str) -> models.Order | None:
    try:
        return await ops.order(order_id)
    except ProblemError as problem:
        if problem.status == 404:
            return None
        raise
