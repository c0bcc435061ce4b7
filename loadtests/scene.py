"""What a load test sells and where: a few stores, goods, and the campaigns of its scenario.

Each run makes everything anew under a tag of its own, so that runs on one service never meet and
every unit of its stores is accounted for from the first receipt on.
"""

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from loadtests.processes import BenchError
from orchestrator.client import DoorstepClient
from orchestrator.client.opening import Wanted, until_sellable

__all__ = [
    "CURRENCY", "NOBODY_HOME", "SCENARIOS", "CampaignSpot", "Scene", "StoreSpot", "Wishes",
    "fresh_tag", "open_campaigns", "put_goods",
]  # fmt: skip

SCENARIOS = ("flash-sale", "group-buy", "tablets", "mixed-day")
CURRENCY = "EUR"
NOBODY_HOME = "nobody home"
"""In an address: the rider finds nobody there and brings the parcel back."""
CENTRE = (52.52, 13.405)
SPREAD_DEGREES = 0.02
ZONE_METRES = 12_000
GOODS = 20
GOODS_STOCK = 100_000
"""Units of each of the ordinary goods at each store: nobody sells these out."""
SPARE = 50
"""Units of a campaign's SKU at each store beyond the quota: they must stay untouched."""
LIST_PRICE, SALE_PRICE = 1_990, 990
HEARD_S = 60.0
STORES_AT_ONCE = 8


class Wishes(Struct, kw_only=True):
    """What is asked of a run; times in real seconds."""

    scenario: str
    url: str = ""
    """A running service; empty: one of its own is started in a temporary folder."""
    data: str = ""
    """The running service's data folder: tokens are made with its secret."""
    token: str = ""
    """Of operations, where there is no data folder."""
    channel_token: str = ""
    """Of a channel that the load test may have for itself, where there is no data folder."""
    stores: int = 4
    riders: int = 8
    quota: int = 100
    """Units of each campaign, over all stores."""
    own_shard: int = 0
    """The own shard of the campaigns, from 1; 0: they share one with others."""
    countdown_s: float = 5.0
    sale_s: float = 40.0
    """How long campaigns last."""
    pay_s: float = 10.0
    """An unpaid order is given up after so long."""
    settle_s: float = 120.0
    """All must be final and explained so long after the last customer has left."""


class StoreSpot(Struct, frozen=True):
    """A store and where it lies, WGS 84 degrees."""

    store_id: str
    lat: float
    lon: float


class CampaignSpot(Struct, frozen=True):
    """A campaign as customers know it; times are service time, epoch seconds."""

    campaign_id: str
    kind: str
    """``flash_sale``, or a group's ``normal | newcomers | ladder``."""
    sku: str
    price: int
    starts_at: float
    ends_at: float
    limit_per_customer: int
    queue: bool
    size: int = 0
    """Members that a group needs."""


class Scene(Struct):
    """Everything that customers, tablets and riders need to begin."""

    tag: str
    url: str
    channel: str
    channel_token: str
    clock_offset_s: float
    """Service time is ``(real - real_at) * clock_speed + real_at + clock_offset_s``."""
    clock_speed: float
    real_at: float
    stores: list[StoreSpot]
    riders: list[str]
    goods: list[str]
    received: dict[str, dict[str, int]]
    """Store -> SKU -> units."""
    campaigns: list[CampaignSpot]

    def now(self) -> float:
        """Service time, epoch seconds."""
        gone = time.time() - self.real_at
        return self.real_at + self.clock_offset_s + gone * self.clock_speed

    def real_s(self, service_s: float) -> float:
        """Real seconds that so many service seconds take."""
        return service_s / self.clock_speed


def fresh_tag() -> str:
    """A short name that no earlier run on this service has had."""
    number, digits = int(time.time() * 10), ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"lt{digits}"


async def put_goods(
    ops: DoorstepClient, wishes: Wishes, tag: str, channel: str, channel_token: str
) -> Scene:
    """Channel, stores, goods and stock; returns when they can be bought. Raises ``NotSellable``."""
    before = time.time()
    clock = await ops.clock()
    real_at = (before + time.time()) / 2
    scene = Scene(
        tag=tag, url=ops.base_url, channel=channel, channel_token=channel_token,
        clock_offset_s=clock.now.timestamp() - real_at, clock_speed=clock.speed, real_at=real_at,
        stores=[_spot(tag, number, wishes.stores) for number in range(wishes.stores)],
        riders=[f"{tag}-rider-{number:02}" for number in range(wishes.riders)],
        goods=[f"{tag}-good-{number:02}" for number in range(GOODS)],
        received={}, campaigns=[],
    )  # fmt: skip
    await ops.put_channel(
        channel,
        {
            "cod": {"limit": 50_000, "open_max": 10},
            "unpaid_s": max(1.0, wishes.pay_s * clock.speed),
        },
    )
    specials = [sku for sku, _kind in _specials(wishes.scenario, tag)]
    prices = {sku: 100 + 7 * number for number, sku in enumerate(scene.goods)}
    prices |= dict.fromkeys(specials, LIST_PRICE)
    await ops.put_skus([{"sku": s, "name": s, "price": price} for s, price in prices.items()])
    shares = _shares(wishes.quota, wishes.stores)
    room = asyncio.Semaphore(STORES_AT_ONCE)

    async def open_one(spot: StoreSpot, share: int) -> None:
        async with room:
            await _open_store(ops, scene, spot, specials, share)

    await asyncio.gather(*map(open_one, scene.stores, shares))
    wanted = {
        sku: sum(shelf[sku] for shelf in scene.received.values())
        for sku in [scene.goods[0], *specials]
    }
    await until_sellable(ops, [Wanted("the centre", *CENTRE, wanted)], within_s=HEARD_S)
    return scene


async def open_campaigns(ops: DoorstepClient, wishes: Wishes, scene: Scene) -> None:
    """Opens the scenario's campaigns, from now on by their countdown, into ``scene.campaigns``;
    returns when their stores have set the quota aside and gateways know of them."""
    starts_at = scene.now() + wishes.countdown_s * scene.clock_speed
    ends_at = starts_at + wishes.sale_s * scene.clock_speed
    for sku, kind in _specials(wishes.scenario, scene.tag):
        terms = _terms(wishes, scene, sku, kind, starts_at, ends_at)
        campaign = await ops.open_campaign(terms, key=f"{scene.tag}-{kind}")
        group = terms.get("group")
        scene.campaigns.append(
            CampaignSpot(
                campaign.campaign_id, kind, sku, campaign.price, campaign.starts_at.timestamp(),
                campaign.ends_at.timestamp(), campaign.limit_per_customer,
                campaign.queue is not None, group["size"] if group else 0,
            )
        )  # fmt: skip

    try:
        async with asyncio.timeout(HEARD_S):
            for spot in scene.campaigns:
                while (await ops.campaign(spot.campaign_id)).state == "preparing":
                    await asyncio.sleep(0.05)
    except TimeoutError:
        raise BenchError(f"After {HEARD_S:.0f} s nothing is set aside for a campaign.") from None


def _specials(scenario: str, tag: str) -> list[tuple[str, str]]:
    """(SKU, kind) of each campaign of the scenario."""
    kinds: dict[str, list[str]] = {
        "flash-sale": ["flash_sale"],
        "group-buy": ["normal", "newcomers", "ladder"],
        "tablets": [],
        "mixed-day": ["flash_sale", "normal", "ladder"],
    }
    return [(f"{tag}-{kind}", kind) for kind in kinds[scenario]]


def _terms(
    wishes: Wishes, scene: Scene, sku: str, kind: str, starts_at: float, ends_at: float
) -> dict[str, Any]:
    shares = _shares(wishes.quota, wishes.stores)
    terms: dict[str, Any] = {
        "name": f"{kind} of {scene.tag}", "sku": sku, "price": SALE_PRICE, "currency": CURRENCY,
        "starts_at": _moment(starts_at), "ends_at": _moment(ends_at),
        "pay_s": max(1.0, wishes.pay_s * scene.clock_speed), "channels": [scene.channel],
        "limit_per_customer": 2 if kind == "flash_sale" else 1,
        "quota": [
            {"store_id": spot.store_id, "units": units}
            for spot, units in zip(scene.stores, shares, strict=True)
        ],
    }  # fmt: skip
    if wishes.own_shard:
        terms["own_shard"] = wishes.own_shard
    open_s = max(2.0, wishes.sale_s / 2) * scene.clock_speed
    if kind == "flash_sale":
        # Half of the quota's customers at once, the rest as fast as most sales could bear.
        terms["queue"] = {
            "per_s": max(20.0, wishes.quota / 2), "burst": max(10, wishes.quota // 2),
            "valid_s": max(2.0, wishes.pay_s * scene.clock_speed), "waiting_max": 100_000,
        }  # fmt: skip
    elif kind == "normal":
        terms["group"] = {"kind": kind, "size": 3, "open_s": open_s, "late": "refund"}
    elif kind == "newcomers":
        terms["group"] = {
            "kind": kind, "size": 2, "open_s": open_s, "stock": "on_formation", "buffer": 2,
            "late": "head_of_new_group",
        }  # fmt: skip
    else:
        steps = [
            {"members": 3, "price": SALE_PRICE - 100}, {"members": 5, "price": SALE_PRICE - 200},
        ]  # fmt: skip
        terms["group"] = {"kind": kind, "size": 2, "open_s": open_s, "steps": steps}
    return terms


def _shares(quota: int, stores: int) -> list[int]:
    """The quota over the stores, at least one unit each."""
    base, more = divmod(max(quota, stores), stores)
    return [base + (number < more) for number in range(stores)]


def _spot(tag: str, number: int, stores: int) -> StoreSpot:
    angle = math.tau * number / stores
    return StoreSpot(
        f"{tag}-store-{number:02}",
        round(CENTRE[0] + SPREAD_DEGREES * math.cos(angle), 6),
        round(CENTRE[1] + SPREAD_DEGREES * math.sin(angle), 6),
    )


async def _open_store(
    ops: DoorstepClient, scene: Scene, spot: StoreSpot, specials: list[str], share: int
) -> None:
    position = {"lat": spot.lat, "lon": spot.lon}
    area = {"type": "circle", "centre": position, "radius_m": ZONE_METRES}
    await ops.put_store(
        spot.store_id,
        {
            "name": spot.store_id,
            "position": position,
            "currency": CURRENCY,
            "time_zone": "Europe/Berlin",
            "dispatch_zone": scene.tag,
            "capacity_per_slot": 1_000_000,
            "prep_s": 1,
            "accept_s": 86_400,
            "zones": [{"zone_id": "all", "tier": 1, "promise_s": 2_400, "area": area}],
        },
    )
    units = dict.fromkeys(scene.goods, GOODS_STOCK) | dict.fromkeys(specials, share + SPARE)
    await ops.receive_stock(spot.store_id, units, key=f"{spot.store_id}-goods")
    scene.received[spot.store_id] = units


def _moment(at: float) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=at)).isoformat()
