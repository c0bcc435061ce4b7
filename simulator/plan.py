"""A day before it is lived: who sells, rides and orders, and how each of them will behave.

Everything that chance decides about a person is drawn into the plan (or from a generator that
:func:`chance` makes for one actor), so that a day with the same seed is the same day again as far
as outside timing allows. Times are seconds from the day's start; durations are seconds; money is
minor units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from simulator.geometry import Point

__all__ = [
    "SPEED_MPS", "ChannelPlan", "ClerkPlan", "Goods", "OrderPlan", "Plan", "PlanError",
    "RiderPlan", "StorePlan", "ZonePlan", "chance",
]  # fmt: skip

SPEED_MPS: Mapping[str, float] = {
    "walking": 1.4,
    "bicycle": 4.2,
    "motorcycle": 7.0,
    "car": 6.5,
}
"""Metres per second in city traffic, by vehicle."""


class PlanError(Exception):
    """A plan cannot be made of what was given; the text says what to mend."""


def chance(seed: int, *who: object) -> Random:
    """The generator of one actor or matter: the same for the same seed and name, and independent
    of how often others draw."""
    return Random("/".join([str(seed), *(str(part) for part in who)]))


@dataclass(frozen=True, slots=True)
class Goods:
    """One sellable unit; with ``components`` (SKU, units) it is a combo."""

    sku: str
    name: str
    price: int
    barcode: str
    weight_g: int
    volume_ml: int
    handling: str = "normal"
    components: tuple[tuple[str, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The SKU as the catalogue's route takes it."""
        return {
            "sku": self.sku,
            "name": self.name,
            "price": self.price,
            "barcode": self.barcode,
            "weight_g": self.weight_g,
            "volume_ml": self.volume_ml,
            "handling": self.handling,
            "components": [{"sku": sku, "quantity": units} for sku, units in self.components],
        }

    def units(self, quantity: int = 1) -> dict[str, int]:
        """What leaves the shelf for ``quantity`` of this: SKU to units."""
        if not self.components:
            return {self.sku: quantity}
        return {sku: units * quantity for sku, units in self.components}


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """A circle around a store with its tier and promise."""

    zone_id: str
    tier: int
    radius_m: float
    promise_s: int


@dataclass(frozen=True, slots=True)
class ClerkPlan:
    """How the people of one store work. Shares are 0 to 1."""

    accept_after_s: float = 25.0
    line_s: float = 25.0
    pace: float = 1.0
    """Above 1: slower than usual."""
    forgets: float = 0.0
    """Share of tickets nobody ever accepts."""
    rejects: float = 0.0
    shorts: float = 0.0
    """Share of tickets with a line that is not all there."""
    substitutes: float = 0.0
    """Share of tickets with a line that is not all there, and the customer refuses what is offered
    instead."""
    unwanted: float = 0.0
    """Share of tickets with a line that is there, and the customer does not want all of it."""
    presses_hand_over: float = 0.3
    damages: float = 0.1
    """Share of returned parcels with a broken unit."""


@dataclass(frozen=True, slots=True)
class StorePlan:
    """One shop with its shelves. ``stock`` is what is received before the day."""

    store_id: str
    name: str
    position: Point
    dispatch_zone: str
    zones: tuple[ZonePlan, ...]
    stock: Mapping[str, int]
    clerk: ClerkPlan = ClerkPlan()
    freight_base: int = 0
    freight_free_from: int | None = None
    freight_per_km: int = 0
    freight_included_m: int = 0
    prep_s: int = 480
    accept_s: int = 300
    priority: int = 100
    capacity_per_slot: int = 1000
    time_zone: str = "UTC"
    """IANA name."""

    def as_json(self, currency: str) -> dict[str, Any]:
        """The profile as the catalogue's route takes it."""
        return {
            "store_id": self.store_id,
            "name": self.name,
            "position": self.position.as_json(),
            "currency": currency,
            "zones": [
                {
                    "zone_id": zone.zone_id,
                    "tier": zone.tier,
                    "area": {
                        "type": "circle",
                        "centre": self.position.as_json(),
                        "radius_m": zone.radius_m,
                    },
                    "promise_s": zone.promise_s,
                }
                for zone in self.zones
            ],
            "dispatch_zone": self.dispatch_zone,
            "freight": {
                "base": self.freight_base,
                "free_from": self.freight_free_from,
                "per_km": self.freight_per_km,
                "included_m": self.freight_included_m,
            },
            "priority": self.priority,
            "capacity_per_slot": self.capacity_per_slot,
            "prep_s": self.prep_s,
            "accept_s": self.accept_s,
            "time_zone": self.time_zone,
        }


@dataclass(frozen=True, slots=True)
class RiderPlan:
    """One rider's shift and ways. Shares are 0 to 1."""

    rider_id: str
    vehicle: str
    position: Point
    on_s: float
    off_s: float
    dispatch_zone: str
    speed_mps: float
    capacity: int = 3
    cash_limit: int = 50_000
    declines: float = 0.0
    goes_dark: float = 0.0
    """Share of trips on which the phone loses its connection for some minutes."""
    miscounts: float = 0.0
    """Share of remittances that are not the exact sum owed."""
    stays: bool = False
    """Works past ``off_s`` until the day's last parcel is done."""


@dataclass(frozen=True, slots=True)
class OrderPlan:
    """One customer's wish and how they will go about it."""

    key: str
    """Also the ``Idempotency-Key`` of the placing."""
    at_s: float
    channel: str
    customer_id: str
    name: str
    phone: str
    lines: tuple[tuple[str, int], ...]
    """(SKU, quantity); a SKU may appear twice, as impatient thumbs do."""
    position: Point | None = None
    store_id: str = ""
    delivery: str = "delivery"
    payment: str = "online"
    pays: str = "at_once"
    """``at_once | late | never | twice`` (online)."""
    pay_after_s: float = 20.0
    cancels: str = ""
    """``""``, ``early`` (before anybody picks) or ``late`` (while it is picked or packed)."""
    repeats: int = 0
    """How often the placing is sent again while the first is still on its way."""
    watches: bool = False
    """Follows the order's tracking topic."""
    door: str = "opens"
    """``opens | refused | absent`` when the rider comes."""
    note_value: int = 0
    """COD: pays with a note of this value (change is due); 0 pays the exact sum."""
    promise_s: float | None = None
    """Recorded days: promised seconds from placing to the door."""
    accept_after_s: float | None = None
    ready_after_s: float | None = None
    """Recorded days: seconds from placing to acceptance and to packed."""
    campaign: str = ""
    """Key of the campaign it is an order of; "" for none."""
    opens_group: bool = False
    """Opens a group of its own although there is one to join."""


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """One sales channel's rules, as far as the day needs them."""

    channel: str
    unpaid_s: float = 900.0
    cod_limit: int = 50_000
    parked_s: float = 1800.0

    def as_json(self) -> dict[str, Any]:
        """The policy as the catalogue's route takes it."""
        return {
            "channel": self.channel,
            "unpaid_s": self.unpaid_s,
            "cod": {"limit": self.cod_limit, "refusals_max": 2, "open_max": 3},
            "parked_s": self.parked_s,
        }


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """How the groups of a group-buy work. ``steps`` of a ladder: (members, price)."""

    kind: str
    size: int
    open_s: float
    stock: str = "on_payment"
    late: str = "refund"
    buffer: int = 0
    steps: tuple[tuple[int, int], ...] = ()

    @property
    def seats(self) -> int:
        """The most members of a group."""
        return self.steps[-1][0] if self.steps else self.size


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """A flash sale or (with ``group``) a group-buy. ``quota``: (store, units)."""

    key: str
    """Also the ``Idempotency-Key`` of its opening."""
    name: str
    sku: str
    price: int
    announced_s: float
    starts_s: float
    ends_s: float
    quota: tuple[tuple[str, int], ...]
    limit: int = 0
    """Units per customer; 0: no limit."""
    pay_s: float = 600.0
    issuer: str = "platform"
    group: GroupPlan | None = None

    def as_json(self, currency: str) -> dict[str, Any]:
        """The terms as the campaigns' route takes them, still without its times."""
        body: dict[str, Any] = {
            "name": self.name,
            "sku": self.sku,
            "price": self.price,
            "currency": currency,
            "quota": [{"store_id": store_id, "units": units} for store_id, units in self.quota],
            "limit_per_customer": self.limit,
            "pay_s": self.pay_s,
            "issuer": self.issuer,
        }
        if self.group is not None:
            group = self.group
            steps = [{"members": members, "price": price} for members, price in group.steps]
            body["group"] = {
                "kind": group.kind, "size": group.size, "open_s": group.open_s,
                "stock": group.stock, "late": group.late, "buffer": group.buffer, "steps": steps,
            }  # fmt: skip
        return body


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole day. ``starts_s`` and ``ends_s`` bound its first and last planned act."""

    name: str
    seed: int
    currency: str
    goods: tuple[Goods, ...]
    stores: tuple[StorePlan, ...]
    riders: tuple[RiderPlan, ...]
    orders: tuple[OrderPlan, ...]
    channels: tuple[ChannelPlan, ...] = (ChannelPlan("app"),)
    campaigns: tuple[CampaignPlan, ...] = ()
    source: str = "generated"
    notes: tuple[str, ...] = field(default=())
    """What a reader of the data should know (rows left out, promises mended)."""

    @property
    def starts_s(self) -> float:
        """The first placing, less a minute in which the shops open."""
        return max(0.0, min((order.at_s for order in self.orders), default=60.0) - 60.0)

    @property
    def ends_s(self) -> float:
        """The last placing, or the end of the last campaign."""
        last = [order.at_s for order in self.orders]
        return max([*last, *(campaign.ends_s for campaign in self.campaigns)], default=0.0)
