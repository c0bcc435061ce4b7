"""The monitor's documents: the flow now, and what is wrong with the calls that mend it. Members
that are absent are left out."""

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

__all__ = [
    "Anomaly", "AnomalyPage", "CampaignFlow", "FulfilmentStages", "LowStock", "Monitor", "Oldest",
    "OrderStages", "PushFigures", "Remedy", "RiderFlow", "StoreFlow",
]  # fmt: skip


class Remedy(Struct, frozen=True, gc=False):
    """One HTTP call (with an `Idempotency-Key`) that mends it. `asks`: members of the body that a
    person must still give; `optional`: members that a person may give."""

    name: str
    method: str
    path: str
    body: dict[str, Any]
    asks: list[str]
    optional: list[str]


class Anomaly(Struct, frozen=True, gc=False):
    """One thing that is wrong now; `code` is stable, `ids` name what it is about. `facts` are what
    `detail` tells, for pages in other languages: amounts in minor units of `currency`."""

    code: str
    key: str
    ids: dict[str, str]
    since: datetime
    detail: str
    facts: dict[str, int | str | list[str]]
    remedies: list[Remedy]


class AnomalyPage(Struct, frozen=True, gc=False):
    """What is wrong now, oldest first; `next` is always null."""

    items: list[Anomaly]
    next: str | None


class Oldest(Struct, frozen=True, gc=False):
    """What has been in a state for longest."""

    id: str
    since: datetime
    age_s: int


class OrderStages(Struct, frozen=True, gc=False):
    """Open orders by state, and those that ended since the monitor counts."""

    open: int
    by_state: dict[str, int]
    finished: dict[str, int]
    oldest: dict[str, Oldest]


class FulfilmentStages(Struct, frozen=True, gc=False):
    """The stores' parts, from payment on; `late`: promised time passed."""

    open: int
    by_state: dict[str, int]
    late: int
    oldest: dict[str, Oldest]


class PushFigures(Struct, frozen=True, gc=False):
    """Devices connected to this gateway; real milliseconds from commit to fan-out."""

    devices: int | UnsetType = UNSET
    p50_ms: float | UnsetType = UNSET
    p99_ms: float | UnsetType = UNSET


class StoreFlow(Struct, frozen=True, gc=False):
    """A store's counter. `devices`: its connected tablets; absent where several gateways serve, as
    each knows its own alone."""

    open: int
    by_state: dict[str, int]
    paused: bool
    unread: int
    devices: int | UnsetType = UNSET
    name: str | UnsetType = UNSET
    lat: float | UnsetType = UNSET
    lon: float | UnsetType = UNSET
    zone_id: str | UnsetType = UNSET
    capacity_per_slot: int | UnsetType = UNSET


class RiderFlow(Struct, frozen=True, gc=False):
    """A rider on shift, or off shift with cash. `run`: parcel id to its stop."""

    on_shift: bool
    cash: int
    currency: str
    cash_limit: int
    run: dict[str, dict[str, Any]]
    zone_id: str | UnsetType = UNSET
    vehicle: str | UnsetType = UNSET
    lat: float | UnsetType = UNSET
    lon: float | UnsetType = UNSET
    moved_at: datetime | UnsetType = UNSET
    offer_id: str | UnsetType = UNSET


class LowStock(Struct, frozen=True, gc=False):
    """A cell that needs goods."""

    store_id: str
    sku: str
    on_hand: int
    reorder_point: int
    suggested_quantity: int
    since: datetime
    sellable: int | UnsetType = UNSET


class CampaignFlow(Struct, frozen=True, gc=False):
    """A campaign that has not ended, or of which something is still held: `remaining` units can be
    ordered, `held` wait for their payment, `sold` are paid, `returned` went back to their stores.
    `state`: `preparing | scheduled | running | ended`. `own_shard`: as in `Campaign`."""

    name: str
    kind: str
    state: str
    sku: str
    remaining: int
    held: int
    sold: int
    returned: int
    open_groups: int
    formed_groups: int
    failed_groups: int
    own_shard: int = 0


class Monitor(Struct, frozen=True, gc=False):
    """The order flow now; `since` it counts, `ready` false while it still loads. `per_second`:
    steps per service second by state, over the last minute."""

    at: datetime
    since: datetime
    ready: bool
    orders: OrderStages
    fulfilments: FulfilmentStages
    per_second: dict[str, float]
    funnel: dict[str, int]
    fleet: dict[str, int]
    push: PushFigures
    anomaly_counts: dict[str, int]
    stores: dict[str, StoreFlow]
    riders: dict[str, RiderFlow]
    low_stock: dict[str, LowStock]
    """By `<store>/<sku>`."""
    anomalies: dict[str, Anomaly] = field(default_factory=dict)
    campaigns: dict[str, CampaignFlow] = field(default_factory=dict)
