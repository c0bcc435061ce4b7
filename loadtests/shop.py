"""The catalogue that the benchmarks sell from, and the orders they place.

50 stores around one centre, each zone wide enough to hold every customer, so that placing has to
choose among all 50; 200 SKUs; stock that a benchmark cannot sell out.
"""

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from loadtests.generator import CUSTOMER, Load, Seen
from loadtests.processes import BenchError, RunningService, drive
from orchestrator.client import DoorstepClient
from orchestrator.client.opening import Wanted, until_sellable

__all__ = ["CHANNEL", "FLASH_SKU", "STORES", "Books", "Shop", "open_shop"]

STORES = 50
SKUS = 200
"""SKUs that :meth:`Shop.bodies` draws from."""
SKUS_PER_CALL = 500
LINES = 2
STOCK = 1_000_000
CENTRE = (52.52, 13.405)
SPREAD_DEGREES = 0.04
"""Stores lie within some 4 km of the centre, customers within 2 km."""
ZONE_METRES = 12_000
STEADY_BODIES = 4_000
CHANNEL = "bench"
HEARD_S = 60.0
LOOKED_AT = 20
"""So many SKUs are asked for before all stock counts as heard of."""
LONG_S = 86_400
FLASH_SKU = "flash"
"""Sold in flash sales alone; :meth:`Shop.check` leaves it out, its campaign keeps its books."""
FLASH_STORE = "store-00"


@dataclass(frozen=True, slots=True)
class Books:
    """What the service's own stock says against what it acknowledged."""

    oversold: int
    """Units that are locked beyond what is on hand."""
    unexplained: int
    """Units locked by no acknowledged order, or acknowledged and not locked (by SKU, absolute)."""
    missing: int
    """Acknowledged orders among the sample that cannot be read."""
    sampled: int


class Shop:
    """A running service with goods in it."""

    def __init__(
        self, service: RunningService, ops: DoorstepClient, token: str, skus: int = SKUS
    ) -> None:
        self.service = service
        self.ops = ops
        self.token = token
        """Of the channel."""
        self.skus = skus
        """How many SKUs there are, ``sku-000`` onwards."""
        self.stores = [f"store-{number:02}" for number in range(STORES)]
        self._promised: Counter[str] = Counter()

    def bodies(self, count: int, payment: str, seed: int = 1, first: int = 0) -> list[str]:
        """``count`` different orders as JSON: 2 lines of 1 to 3 units. Those on delivery are each
        from a customer of its own (numbered from ``first``); those paid online may be sent again
        and again, each time from another customer."""
        dice = random.Random(f"{seed}/{first}")
        return [
            _order(dice, CUSTOMER if payment == "online" else f"c{first + number}", payment)
            for number in range(count)
        ]

    def single_bodies(self, count: int, skus: int, seed: int = 3) -> list[str]:
        """Orders of one unit of one SKU, paid online: of ``skus`` SKUs from customers all over the
        zones; with ``skus`` 1 of one SKU for one address, so that all want one stock cell."""
        dice = random.Random(f"single/{seed}/{skus}")
        made = []
        for number in range(count):
            body = json.loads(_order(dice, CUSTOMER, "online"))
            body["lines"] = [{"sku": _sku(number % skus), "quantity": 1}]
            if skus == 1:
                body["address"]["position"] = {"lat": CENTRE[0], "lon": CENTRE[1]}
            made.append(json.dumps(body, separators=(",", ":")))
        return made

    async def steady(self, rate: float, seconds: float, part: int) -> Seen:
        """Orders on delivery at ``rate`` a second; ``part`` numbers the runs of a benchmark, each
        with customers of its own. Raises ``BenchError`` unless all were placed."""
        seen = await drive(
            Load(
                self.service.port, self.bodies(STEADY_BODIES, "cod", first=part * STEADY_BODIES),
                self.token, f"steady-{uuid4().hex}", connections=32, seconds=seconds, rate=rate,
            )
        )  # fmt: skip
        if seen.lost or seen.accepted != seen.sent:
            raise BenchError(f"Not all orders were placed: {seen.by_status}, {seen.lost} lost.")
        return seen

    def catalogue(self) -> dict[str, Any]:
        """What is sold, for services that are not ours (``loadtests.rivals``)."""
        stores = [_store(number) for number in range(STORES)]
        return {
            "currency": "EUR",
            "prices": {_sku(number): _price(number) for number in range(self.skus)},
            "stock": STOCK,
            "stores": [
                {"store_id": store_id, **it["position"], "radius_m": ZONE_METRES}
                for store_id, it in zip(self.stores, stores, strict=True)
            ],
        }

    async def open_campaign(self, units: int, *, group_size: int = 0) -> str:
        """A running campaign of :data:`FLASH_SKU`, whose units come in for it; its id. A flash
        sale or, with a ``group_size``, a group-buy. Units never come back: nobody pays, and there
        is a day for that."""
        await self.ops.receive_stock(FLASH_STORE, {FLASH_SKU: units})
        now = datetime.now(UTC)
        terms: dict[str, Any] = {
            "name": "sale", "sku": FLASH_SKU, "price": 50, "currency": "EUR",
            "starts_at": (now - timedelta(minutes=1)).isoformat(),
            "ends_at": (now + timedelta(days=2)).isoformat(),
            "quota": [{"store_id": FLASH_STORE, "units": units}], "pay_s": LONG_S,
        }  # fmt: skip
        if group_size:
            terms["group"] = {"kind": "normal", "size": group_size, "open_s": LONG_S}
        campaign = await self.ops.open_campaign(terms)
        async with asyncio.timeout(HEARD_S):
            while campaign.state != "running":
                await asyncio.sleep(0.1)
                campaign = await self.ops.campaign(campaign.campaign_id)
        return campaign.campaign_id

    def campaign_bodies(
        self, campaign_id: str, count: int, group_ids: Sequence[str] = ()
    ) -> list[str]:
        """Orders of one unit of a campaign, each from a customer of its own; in a group-buy they
        join the groups in turn or, where none is named, each opens one."""
        made = []
        for number, text in enumerate(self.single_bodies(count, 1, seed=4)):
            body = json.loads(text) | {"campaign_id": campaign_id}
            body["lines"] = [{"sku": FLASH_SKU, "quantity": 1}]
            if group_ids:
                body["group_id"] = group_ids[number % len(group_ids)]
            made.append(json.dumps(body, separators=(",", ":")))
        return made

    def acknowledged(self, bodies: Sequence[str], counts: Sequence[int]) -> None:
        """So many orders of each body were acknowledged."""
        for body, count in zip(bodies, counts, strict=True):
            if count:
                for line in json.loads(body)["lines"]:
                    self._promised[line["sku"]] += line["quantity"] * count

    def forget(self) -> None:
        """No acknowledged order holds anything any more (all have expired)."""
        self._promised.clear()

    async def check(self, locations: Sequence[str]) -> Books:
        """Compare with the service's stock, and read the orders of ``locations``."""
        locked: Counter[str] = Counter()
        oversold = 0
        for store_id in self.stores:
            for cell in (await self.ops.stock(store_id)).items:
                if cell.sku == FLASH_SKU:
                    continue
                locked[cell.sku] += cell.locked
                oversold += max(0, cell.locked - cell.on_hand)
        skus = locked.keys() | self._promised.keys()
        unexplained = sum(abs(locked[sku] - self._promised[sku]) for sku in skus)
        return Books(oversold, unexplained, await self._missing(locations), len(locations))

    async def _missing(self, locations: Sequence[str]) -> int:
        room, missing = asyncio.Semaphore(32), 0

        async def read(location: str) -> None:
            nonlocal missing
            async with room:
                order_id = location.rsplit("/", 1)[-1]
                if not order_id or (await self.ops.order(order_id)).order_id != order_id:
                    missing += 1

        await asyncio.gather(*(read(location) for location in locations))
        return missing


async def open_shop(
    service: RunningService,
    progress: Callable[[str], None],
    *,
    skus: int = SKUS,
    unpaid_s: float = LONG_S,
) -> Shop:
    """Puts the catalogue and the stock, and waits until it can be sold. Close ``Shop.ops``. Raises
    ``NotSellable``."""
    ops = DoorstepClient(service.url, await service.token("ops", "bench"))
    token = await service.token("channel", CHANNEL)
    shop = Shop(service, ops, token, skus)
    progress(f"putting {STORES} stores and {skus} SKUs")
    cod = {"limit": 10_000_000, "open_max": 1_000_000}
    await ops.put_channel(CHANNEL, {"cod": cod, "unpaid_s": unpaid_s})
    goods = [
        {"sku": _sku(number), "name": _sku(number), "price": _price(number)}
        for number in range(skus)
    ]
    goods.append({"sku": FLASH_SKU, "name": "Flash", "price": 100})
    for first in range(0, len(goods), SKUS_PER_CALL):
        await ops.put_skus(goods[first : first + SKUS_PER_CALL])
    room = asyncio.Semaphore(8)

    async def put(number: int) -> None:
        async with room:
            await ops.put_store(shop.stores[number], _store(number))
            names = [str(one["sku"]) for one in goods]
            for first in range(0, len(names), SKUS_PER_CALL):
                units = dict.fromkeys(names[first : first + SKUS_PER_CALL], STOCK)
                await ops.receive_stock(shop.stores[number], units)

    await asyncio.gather(*(put(number) for number in range(STORES)))
    wanted = {_sku(number): STORES * STOCK for number in range(LOOKED_AT)}
    await until_sellable(ops, [Wanted("the centre", *CENTRE, wanted)], within_s=HEARD_S)
    return shop


def _sku(number: int) -> str:
    return f"sku-{number:03}"


def _price(number: int) -> int:
    return 100 + number


def _store(number: int) -> dict[str, Any]:
    """A store on a spiral around the centre."""
    angle, share = number * 2.399963, math.sqrt((number + 0.5) / STORES)
    position = {
        "lat": CENTRE[0] + SPREAD_DEGREES * share * math.cos(angle),
        "lon": CENTRE[1] + SPREAD_DEGREES * share * math.sin(angle) * 1.6,
    }
    area = {"type": "circle", "centre": position, "radius_m": ZONE_METRES}
    return {
        "name": f"Store {number}",
        "position": position,
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "dispatch_zone": f"zone-{number % 5}",
        "capacity_per_slot": 1_000_000,
        # Nobody accepts tickets here, and no deadline shall interfere with what is measured.
        "accept_s": LONG_S,
        "zones": [{"zone_id": f"z-{number:02}", "tier": 1, "promise_s": 2_400, "area": area}],
    }


def _order(dice: random.Random, customer: str, payment: str) -> str:
    skus = dice.sample(range(SKUS), LINES)
    position = {
        "lat": round(CENTRE[0] + dice.uniform(-0.02, 0.02), 6),
        "lon": round(CENTRE[1] + dice.uniform(-0.03, 0.03), 6),
    }
    body = {
        "customer": {"customer_id": customer, "name": "Ada", "phone": "+4930123456"},
        "lines": [{"sku": _sku(sku), "quantity": dice.randint(1, 3)} for sku in skus],
        "currency": "EUR",
        "address": {"position": position, "text": "Torstr. 1"},
        "payment": payment,
    }
    return json.dumps(body, separators=(",", ":"))
