"""The catalogue over HTTP: SKUs, stores with zones and freight, the rules of channels."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from domain.bounds import DURATION_S_MAX, VOLUME_ML_MAX, WEIGHT_G_MAX
from domain.catalogue import commands as catalogue
from domain.catalogue import model
from domain.catalogue.rules import check_nesting
from domain.errors import Refused
from domain.geo import Area, Circle, Polygon
from domain.waiting.model import SkuQueue
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers
from orchestrator.api.plain import (
    After,
    Authorised,
    Body,
    Count,
    Key,
    Limit,
    Metres,
    Money,
    Name,
    PositionBody,
    Seconds,
    SomeUnits,
    answer,
    page_answer,
)  # fmt: skip
from orchestrator.api.queues import SkuQueueBody
from orchestrator.api.show import show_channel, show_sku, show_store

__all__ = ["router"]

SKUS_PER_CALL_MAX = 1_000
IN_FLIGHT_MAX = 64
"""SKUs of one bulk call that are under way at once: a bulk load must not fill every queue."""

SomeSeconds = Annotated[int, Field(ge=1, le=DURATION_S_MAX)]
Lasting = Annotated[float, Field(gt=0, le=DURATION_S_MAX)]
Grams = Annotated[int, Field(ge=0, le=WEIGHT_G_MAX)]
Millilitres = Annotated[int, Field(ge=0, le=VOLUME_ML_MAX)]
OfDay = Annotated[int, Field(ge=0, le=86_400)]
Code = Annotated[str, Field(max_length=128)]
Label = Annotated[str, Field(min_length=1, max_length=200)]


class ComponentBody(Body):
    """One part of a combo."""

    sku: Name
    quantity: SomeUnits


class SkuBody(Body):
    """A SKU. `price` in minor units. With `components` it is a combo: it explodes into them."""

    name: Label
    price: Money
    barcode: Code = ""
    weight_g: Grams = 0
    volume_ml: Millilitres = 0
    handling: Literal["normal", "fragile", "chilled", "oversize"] = "normal"
    owner: Code = ""
    group: Code = ""
    components: list[ComponentBody] = Field(default_factory=list, max_length=50)

    def as_sku(self, sku: str) -> model.Sku:
        """The domain's value."""
        return model.Sku(
            sku, self.name, self.price, self.barcode, self.weight_g, self.volume_ml,
            self.handling, self.owner, self.group,
            tuple(model.Component(part.sku, part.quantity) for part in self.components),
        )  # fmt: skip


class NamedSkuBody(SkuBody):
    """A SKU with its id."""

    sku: Name


class SkusBody(Body):
    """SKUs to create or replace."""

    skus: Annotated[list[NamedSkuBody], Field(min_length=1, max_length=SKUS_PER_CALL_MAX)]


class CircleBody(Body):
    """All positions within `radius_m` metres of `centre`."""

    type: Literal["circle"]
    centre: PositionBody
    radius_m: Annotated[float, Field(gt=0, le=1_000_000)]

    def as_area(self) -> Area:
        """The domain's value."""
        return Circle(self.centre.as_position(), self.radius_m)


class PolygonBody(Body):
    """A simple polygon, not closed."""

    type: Literal["polygon"]
    corners: Annotated[list[PositionBody], Field(min_length=3, max_length=1_000)]

    def as_area(self) -> Area:
        """The domain's value."""
        return Polygon(tuple(corner.as_position() for corner in self.corners))


class ZoneBody(Body):
    """A delivery area. Tier 1 is the fastest promise; `promise_s` from payment to the door."""

    zone_id: Name
    tier: Annotated[int, Field(ge=1, le=100)]
    area: Annotated[CircleBody | PolygonBody, Field(discriminator="type")]
    promise_s: SomeSeconds


class FreightBody(Body):
    """Delivery fee: `base`, plus `per_km` per begun kilometre beyond `included_m`; nothing from
    goods of `free_from` on."""

    base: Money = 0
    free_from: Money | None = None
    per_km: Money = 0
    included_m: Metres = 0


class StoreBody(Body):
    """A store's profile. `opens_s` and `closes_s` are seconds of the day on the store's clock,
    equal: always open. `time_zone` is the IANA name of that clock's zone; summer time is known."""

    name: Label
    position: PositionBody
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    zones: Annotated[list[ZoneBody], Field(max_length=100)]
    dispatch_zone: Name
    freight: FreightBody = FreightBody()
    priority: Count = 100
    capacity_per_slot: Count = 1000
    slot_s: SomeSeconds = 900
    prep_s: Seconds = 600
    accept_s: SomeSeconds = 300
    opens_s: OfDay = 0
    closes_s: OfDay = 0
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    parcel_weight_g: Grams = 0
    parcel_volume_ml: Millilitres = 0
    pickup: bool = True
    active: bool = True
    collect_s: Annotated[int, Field(ge=60, le=DURATION_S_MAX)] = 86_400

    def as_store(self, store_id: str) -> model.StoreProfile:
        """The domain's value."""
        plain = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ("position", "zones", "freight")
        }
        return model.StoreProfile(
            store_id=store_id,
            position=self.position.as_position(),
            zones=tuple(
                model.Zone(zone.zone_id, zone.tier, zone.area.as_area(), zone.promise_s)
                for zone in self.zones
            ),
            freight=model.Freight(**dict(self.freight)),
            **plain,
        )


class CodBody(Body):
    """When cash on delivery is confirmed; `limit` is the highest total, 0 forbids it."""

    limit: Money
    refusals_max: Count = 2
    open_max: Count = 3
    zones_denied: list[Name] = Field(default_factory=list, max_length=1_000)


class ChannelBody(Body):
    """Rules of a sales channel; durations in seconds. `queues`: SKUs whose orders need a queue
    token. `challenge`: a risky customer is challenged by the channel, or by a `code` sent to
    them."""

    unpaid_s: Lasting = 900.0
    max_splits: Annotated[int, Field(ge=1, le=100)] = 3
    min_part_value: Money = 0
    cod: CodBody = CodBody(limit=50_000)
    parked_s: Lasting = 1800.0
    quantity_max: SomeUnits = 999
    lines_max: Annotated[int, Field(ge=1, le=1_000)] = 100
    queues: list[SkuQueueBody] = Field(default_factory=list, max_length=1_000)
    challenge: Literal["channel", "code"] = "channel"

    def as_channel(self, channel: str) -> model.ChannelPolicy:
        """The domain's value."""
        cod = model.CodRule(
            self.cod.limit, self.cod.refusals_max, self.cod.open_max, tuple(self.cod.zones_denied)
        )
        return model.ChannelPolicy(
            channel, self.unpaid_s, self.max_splits, self.min_part_value, cod, self.parked_s,
            self.quantity_max, self.lines_max,
            tuple(SkuQueue(one.sku, one.as_rule()) for one in self.queues), self.challenge,
        )  # fmt: skip


def router(desk: Desk) -> APIRouter:
    """The routes. What was put is readable a moment later, when this gateway has heard of it."""
    routes = APIRouter(tags=["catalogue"])
    _add_skus(routes, desk)
    _add_stores(routes, desk)
    _add_channels(routes, desk)
    return routes


def _add_skus(routes: APIRouter, desk: Desk) -> None:
    views = desk.service.views

    @routes.get("/v1/skus", responses=answers(models.SkuPage, examples.SKU_PAGE, "bad-cursor"))
    async def list_skus(caller: Authorised, after: After = "", limit: Limit = 100) -> Response:
        """SKUs by id."""
        rows, following = page_of(views.skus, after, limit)
        return page_answer([show_sku(row) for row in rows], following)

    @routes.get("/v1/skus/{sku:path}", responses=answers(models.Sku, examples.SKU, "unknown-sku"))
    async def read_sku(sku: str, caller: Authorised) -> Response:
        """One SKU."""
        found = views.skus.get(sku)
        if found is None:
            raise Refused("unknown-sku", f"There is no SKU {sku}.", skus=[sku])
        return answer(show_sku(found))

    @routes.put("/v1/skus/{sku:path}", responses=answers(models.Sku, examples.SKU, "nested-combo"))
    async def put_sku(sku: str, body: SkuBody, caller: Authorised) -> Response:
        """Create or replace a SKU. A combo neither has a combo as a component nor is one."""
        made = body.as_sku(sku)
        check_nesting({sku: made}, views.skus)
        await desk.read(f"catalogue/sku:{sku}", catalogue.PutSku(made))
        return answer(show_sku(made))

    @routes.post("/v1/skus", responses=answers(models.Stored, examples.STORED, "nested-combo"))
    async def put_skus(body: SkusBody, caller: Authorised, key: Key) -> Response:
        """Create or replace many. If it fails midway, repeat it with the same key. Nothing is
        stored of a list in which a combo would have a combo as a component."""
        room = asyncio.Semaphore(IN_FLIGHT_MAX)

        async def put(one: model.Sku) -> None:
            async with room:
                command = catalogue.PutSku(one)
                await desk.ask(f"catalogue/sku:{one.sku}", command, f"skus:{key}")

        last = {one.sku: one.as_sku(one.sku) for one in body.skus}
        check_nesting(last, views.skus)
        await asyncio.gather(*(put(one) for one in last.values()))
        return answer(models.Stored(len(last)))


def _add_stores(routes: APIRouter, desk: Desk) -> None:
    views = desk.service.views

    @routes.get(
        "/v1/stores", responses=answers(models.StorePage, examples.STORE_PAGE, "bad-cursor")
    )
    async def list_stores(caller: Authorised, after: After = "", limit: Limit = 100) -> Response:
        """Stores by id."""
        rows, following = page_of(views.stores, after, limit)
        return page_answer([show_store(row) for row in rows], following)

    @routes.get(
        "/v1/stores/{store_id}", responses=answers(models.Store, examples.STORE, "unknown-store")
    )
    async def read_store(store_id: str, caller: Authorised) -> Response:
        """One store's profile."""
        found = views.stores.get(store_id)
        if found is None:
            raise Refused("unknown-store", f"There is no store {store_id}.")
        return answer(show_store(found))

    @routes.put("/v1/stores/{store_id}", responses=answers(models.Store, examples.STORE))
    async def put_store(store_id: str, body: StoreBody, caller: Authorised) -> Response:
        """Create or replace a store's profile."""
        made = body.as_store(store_id)
        await desk.read(f"catalogue/store:{store_id}", catalogue.PutStore(made))
        return answer(show_store(made))


def _add_channels(routes: APIRouter, desk: Desk) -> None:
    views = desk.service.views

    @routes.get(
        "/v1/channels/{channel}",
        responses=answers(models.Channel, examples.CHANNEL),
    )
    async def read_channel(channel: str, caller: Authorised) -> Response:
        """A channel's rules; the defaults for a channel that nobody has set."""
        return answer(show_channel(views.channel(channel)))

    @routes.put("/v1/channels/{channel}", responses=answers(models.Channel, examples.CHANNEL))
    async def put_channel(channel: str, body: ChannelBody, caller: Authorised) -> Response:
        """Create or replace a channel's rules."""
        made = body.as_channel(channel)
        await desk.read(f"catalogue/channel:{channel}", catalogue.PutChannel(made))
        return answer(show_channel(made))


def page_of(rows: Mapping[str, Any], after: str, limit: int) -> tuple[list[Any], str | None]:
    """A page of a mapping by its keys, and the cursor of the next."""
    keys = sorted(key for key in rows if key > after)
    page = keys[:limit]
    return [rows[key] for key in page], page[-1] if len(keys) > limit else None
