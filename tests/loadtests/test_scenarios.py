"""Locust drives a real service for a few seconds, and the exit code says what the books say."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Set
from typing import Any

import pytest
import pytest_asyncio

from loadtests.processes import RunningService, child_environment, service
from orchestrator.client import DoorstepClient, models

pytestmark = [pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

SPEED = "4"
"""Rounds of dispatch and deadlines of payments come sooner in real time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[RunningService]:
    async with service(clock_speed=SPEED) as found:
        yield found


async def play(running: RunningService, scenario: str, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.scenario", scenario, "--json",
        "--users", "10", "--stores", "2", "--riders", "3", "--quota", "12",
        "--seconds", "250", "--countdown-seconds", "2", "--pay-seconds", "2",
        "--url", running.url, "--data", str(running.data), *options,
        stdout=asyncio.subprocess.PIPE, env=child_environment(),
    )  # fmt: skip


async def ended(child: asyncio.subprocess.Process) -> tuple[int | None, Any]:
    out, _ = await child.communicate()
    return child.returncode, json.loads(out)


async def lose_units(ops: DoorstepClient) -> None:
    """Somebody counts wrong in the first store of a run as soon as there is one."""
    stores: list[str] = []
    while not stores:
        page = await ops.stores()
        stores = [one.store_id for one in page.items if one.store_id.startswith("lt")]
        await asyncio.sleep(0.05)
    sku = f"{stores[0].partition('-')[0]}-good-00"
    on_hand = 0
    while not on_hand:
        on_hand = sum(one.on_hand for one in (await ops.stock(stores[0], [sku])).items)
        await asyncio.sleep(0.05)
    await ops.count_stock(stores[0], sku, on_hand - 1_000, (await ops.clock()).now)


async def sold_in_each(
    ops: DoorstepClient, campaigns: int, earlier: Set[str], *children: asyncio.subprocess.Process
) -> None:
    """Orders of so many campaigns beside the ``earlier`` ones were completed: of a group-buy, one
    of its groups has formed. A run is good only if each of its campaigns sold something."""
    bought: set[str] = set()
    while len(bought) < campaigns:
        bought |= await campaigns_of(ops) - earlier
        assert [child.returncode for child in children] == [None] * len(children), "ended by itself"
        await asyncio.sleep(0.2)


async def campaigns_of(ops: DoorstepClient) -> set[str]:
    """Campaigns of which orders were completed."""
    return {order.campaign_id for order in await completed(ops)} - {""}


async def completed(ops: DoorstepClient) -> list[models.Order]:
    """The latest orders that came to their end."""
    return (await ops.orders(state="completed", limit=500)).items


async def test_two_runs_on_one_service_are_judged_each_by_its_own_books(
    running: RunningService,
) -> None:
    mixed_day = await play(running, "mixed-day")
    async with DoorstepClient(running.url, await running.token("ops", "test")) as ops:
        await lose_units(ops)
        flash_sale = await play(running, "flash-sale", "--own-shard", "1")
        await sold_in_each(ops, 4, set(), mixed_day, flash_sale)
        mixed_day.terminate()  # the verdict is given all the same
        flash_sale.terminate()
    (code, result), (sale_code, sale) = await asyncio.gather(ended(mixed_day), ended(flash_sale))
    assert (code, result["error"]) == (1, "")
    assert [one["kind"] for one in result["outcome"]["findings"]] == ["stock-mismatch"]
    assert (sale_code, sale["error"], sale["outcome"]["findings"]) == (0, "", [])
    figures = sale["outcome"]["figures"]
    assert 0 < figures["sold"] <= figures["quota"] == 12
    assert figures["tickets_seen"] >= figures["orders_completed"] > 0
    rows = {row["name"]: row for row in sale["statistics"]}
    assert rows["/v1/orders"]["requests"] > 0
    assert rows["ticket.opened: commit to tablet"]["requests"] > 0


async def test_groups_form_and_tablets_see_every_order_with_books_that_add_up(
    running: RunningService,
) -> None:
    async with DoorstepClient(running.url, await running.token("ops", "test")) as ops:
        earlier = {order.channel for order in await completed(ops)}
        before = await campaigns_of(ops)
        group_buy = await play(running, "group-buy", "--own-shard", "1")
        tablets = await play(running, "tablets")
        in_baskets = 0
        while not in_baskets:
            fresh = [order for order in await completed(ops) if order.channel not in earlier]
            in_baskets = sum(not order.campaign_id for order in fresh)
            await asyncio.sleep(0.2)
        await sold_in_each(ops, 3, before, group_buy, tablets)
        group_buy.terminate()
        tablets.terminate()
    (code, result), (tablets_code, steady) = await asyncio.gather(ended(group_buy), ended(tablets))
    assert (code, result["error"], result["outcome"]["findings"]) == (0, "", [])
    figures = result["outcome"]["figures"]
    assert 0 < figures["sold"] <= figures["quota"] == 3 * 12
    assert 3 <= figures["groups_formed"] < figures["orders_completed"]
    assert figures["tickets_seen"] >= figures["orders_completed"]
    assert (tablets_code, steady["error"], steady["outcome"]["findings"]) == (0, "", [])
    figures = steady["outcome"]["figures"]
    assert (figures["quota"], figures["groups_formed"]) == (0, 0)
    assert figures["tickets_seen"] >= figures["orders_completed"] > 0
    assert figures["tablet_messages"] >= figures["tickets_seen"]
    assert figures["parcels_delivered"] > 0


async def test_a_service_that_is_not_there_gives_no_verdict() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.scenario", "flash-sale", "--json", "--seconds", "2",
        "--url", "http://127.0.0.1:9", "--token", "t", "--channel-token", "t",
        stdout=asyncio.subprocess.PIPE, env=child_environment(),
    )  # fmt: skip
    code, result = await ended(child)
    assert code == 2
    assert result["error"]
