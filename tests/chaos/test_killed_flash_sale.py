"""``kill -9`` of the node that hosts a hot campaign, in the middle of its burst: nothing is sold
twice, every confirmed order is kept, and every unit is where the campaign says it is."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.auth import tokens_of
from orchestrator.client import DoorstepClient, ProblemError, Retries
from orchestrator.models import Campaign, Order
from orchestrator.placement import plan_of
from orchestrator.settings import Settings
from orchestrator.supervisor import Supervisor

pytestmark = pytest.mark.timeout(240)

STORES = ("s-1", "s-2")
SHELF = 40
"""Cups in each store, ..."""
QUOTA = 12
"""... and how many of them the campaign sets aside."""
CUSTOMERS = 60
"""More than twice as many as there are units: each wants one."""
KILLED_AFTER = 8
"""Confirmed orders."""
SHOP = {"lat": 52.5, "lon": 13.4}


def store_body(name: str) -> dict[str, Any]:
    """A store whose staff takes its time."""
    area = {"type": "circle", "centre": SHOP, "radius_m": 5_000}
    zone = {"zone_id": f"z-{name}", "tier": 1, "promise_s": 1800, "area": area}
    return {
        "name": name, "position": SHOP, "currency": "EUR", "dispatch_zone": "north",
        "zones": [zone], "accept_s": 3600,
    }  # fmt: skip


class Sale:
    """The service, its flash sale, and what its customers were told."""

    def __init__(
        self, supervisor: Supervisor, ops: DoorstepClient, app: DoorstepClient, own_shard: bool
    ) -> None:
        self.own_shard = own_shard
        self.supervisor = supervisor
        self.ops = ops
        self.app = app
        self.campaign_id = ""
        self.confirmed: dict[int, Order] = {}
        self.refused: dict[int, str] = {}
        self.hot = asyncio.Event()
        """Set when ``KILLED_AFTER`` orders are confirmed."""

    async def open(self) -> None:
        """Goods, stores, and the campaign with its quota set aside."""
        await self.ops.put_sku("CUP", {"name": "Cup", "price": 1_000})
        for name in STORES:
            await self.ops.put_store(name, store_body(name))
            await self.ops.receive_stock(name, {"CUP": SHELF}, key=f"open-{name}")
        now = datetime.now().astimezone()
        terms = {
            "name": "Cups", "sku": "CUP", "price": 600, "currency": "EUR", "pay_s": 3_600,
            "starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat(),
            "quota": [{"store_id": name, "units": QUOTA} for name in STORES],
            "limit_per_customer": 1, "own_shard": self.own_shard,
        }  # fmt: skip
        self.campaign_id = (await self.ops.open_campaign(terms, key="cups")).campaign_id
        await until(self._runs)

    async def _runs(self) -> bool:
        found = await self.read()
        return found.state == "running" and found.remaining == QUOTA * len(STORES)

    async def read(self) -> Campaign:
        return await self.ops.campaign(self.campaign_id)

    async def press(self, number: int, attempt: str = "") -> None:
        """One customer wants one cup; the client insists until the outcome is known."""
        wish = {
            "customer": {"customer_id": f"c-{number}", "name": "Ada", "phone": "+4915112345678"},
            "lines": [{"sku": "CUP", "quantity": 1}], "currency": "EUR",
            "address": {"position": SHOP, "text": "Door 1"}, "campaign_id": self.campaign_id,
        }  # fmt: skip
        try:
            order = await self.app.place_order(wish, key=f"press-{number}{attempt}")
        except ProblemError as problem:
            if problem.code != "campaign-sold-out":
                raise
            self.refused[number] = problem.code
        else:
            self.confirmed[number] = order
            self.refused.pop(number, None)
            if len(self.confirmed) >= KILLED_AFTER:
                self.hot.set()

    async def kill_node(self) -> int:
        """``kill -9`` of whichever process hosts the campaign."""
        node = self.node_of("campaign", self.campaign_id)
        pid = self.supervisor.pids[node]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self._is_another(node, pid))
        return pid

    def node_of(self, kind: str, entity: str) -> str:
        """The node that hosts it."""
        plan = plan_of(self.supervisor.settings)
        return plan.node_of[plan.shard_of(kind, entity)]

    async def _is_another(self, node: str, pid: int) -> bool:
        return self.supervisor.pids.get(node, pid) != pid

    async def pay(self, number: int) -> None:
        """Pay, and wait until the campaign has sold the unit."""
        order_id = self.confirmed[number].order_id
        payment = await self.app.start_payment(order_id, "sandbox", key=f"pay-{number}")
        await until(lambda: self._paid_at(payment))
        await until(lambda: self._is(order_id, "paid", "new"))

    async def _paid_at(self, payment: Any) -> bool:
        """The provider's page comes up a moment after the payment was opened."""
        try:
            await self.app.pay_sandbox(payment, late=False)
        except ProblemError as problem:
            if problem.status != 404:
                raise
            return False
        return True

    async def _is(self, order_id: str, state: str, part: str) -> bool:
        order = await self.app.order(order_id)
        return order.state == state and order.fulfilments[0].state == part


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it holds; the test's time limit ends what never does."""
    while not await holds():
        await asyncio.sleep(0.1)


@asynccontextmanager
async def sale(folder: Path, own_shard: bool) -> AsyncIterator[Sale]:
    """A service of its own with an open flash sale."""
    settings = Settings(data=folder, port=0, sandbox_faults=0.0, ray_namespace="doorstep-sale")
    async with Supervisor(settings) as up:
        tokens = tokens_of(up.settings)
        patient = Retries(attempts=60, timeout_s=20.0, pause_s_max=1.0)
        async with (
            DoorstepClient(up.url, tokens.issue("ops", "ana"), retries=patient) as ops,
            DoorstepClient(up.url, tokens.issue("channel", "app"), retries=patient) as app,
        ):
            sale = Sale(up, ops, app, own_shard)
            await sale.open()
            yield sale


@pytest.mark.parametrize("own_shard", [False, True], ids=["beside the stock", "own shard"])
async def test_a_burst_survives_the_death_of_its_campaigns_node(
    own_shard: bool, tmp_path: Path
) -> None:
    async with sale(tmp_path, own_shard) as here:
        burst = asyncio.gather(*(here.press(number) for number in range(CUSTOMERS)))
        await here.hot.wait()
        assert not burst.done()
        stock = here.node_of("inventory", STORES[0])
        assert (here.node_of("campaign", here.campaign_id) != stock) == own_shard
        await here.kill_node()
        await burst

        units = QUOTA * len(STORES)
        assert len(here.confirmed) == units, "every unit has one customer"
        assert len({order.order_id for order in here.confirmed.values()}) == units
        for number, order in here.confirmed.items():
            await here.press(number)  # a client that lost its answer gets the same order
            assert here.confirmed[number].order_id == order.order_id

        leaving = list(here.confirmed)[::3]
        for number in leaving:
            await here.app.cancel(here.confirmed[number].order_id, "no", key=f"cancel-{number}")
        await until(lambda: remaining(here, len(leaving)))
        late = list(here.refused)[: len(leaving) - 1]
        await asyncio.gather(*(here.press(number, "-again") for number in late))
        buyers = [number for number in here.confirmed if number not in leaving]
        assert len(buyers) == units - 1, "the service answers again, and what came back is sold"
        await asyncio.gather(*(here.pay(number) for number in buyers))
        await reconciled(here, sold=len(buyers))


async def remaining(here: Sale, units: int) -> bool:
    """The campaign has so many units for sale."""
    return (await here.read()).remaining == units


async def reconciled(here: Sale, sold: int) -> None:
    """At the campaign's end each unit is sold or with its store again, and nothing is reserved."""
    units = QUOTA * len(STORES)
    ended = await here.ops.end_campaign(here.campaign_id, "the shelf is needed", key="end")
    tally = ended.units
    assert (tally.available, tally.held) == (0, 0)
    assert (tally.sold, tally.returned) == (sold, units - sold)
    for share in ended.quota:
        levels = share.available + share.held + share.sold + share.returned
        assert levels == share.set_aside == QUOTA

    async def booked() -> bool:
        cells = [cell for name in STORES for cell in (await here.ops.stock(name)).items]
        on_hand = sum(cell.on_hand for cell in cells)
        reserved = sum(cell.reserved for cell in cells)
        return (on_hand, reserved) == (SHELF * len(STORES) - sold, 0)

    await until(booked)
