"""Stock over HTTP: is it sellable here (hot), a store's cells, and documents of stock."""

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Response
from pydantic import Field

from domain.bounds import QUANTITY_MAX
from domain.errors import Refused
from domain.geo import Position
from domain.inventory import commands as inventory
from domain.message import Command
from domain.wire import moment
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers, declare_hot
from orchestrator.api.plain import (
    Authorised,
    Body,
    Key,
    Moment,
    Name,
    SomeUnits,
    Units,
    answer,
    seconds,
)  # fmt: skip
from orchestrator.api.show import show_stock, show_stock_document
from orchestrator.api.texts import check_address
from orchestrator.api.wire import Answer, Headers, HotRoute, Scope, json_answer

__all__ = ["hot_routes", "router"]

AVAILABILITY = "GET /v1/availability"
SKUS_ASKED_MAX = 100
ITEMS_MAX = 5_000

PerDay = Annotated[float, Field(ge=0, le=QUANTITY_MAX)]


class ItemBody(Body):
    """Units of one SKU. A receipt of 0 units only lists the SKU at the store."""

    sku: Name
    quantity: Units


class ReceiptBody(Body):
    """Goods that came in."""

    items: Annotated[list[ItemBody], Field(min_length=1, max_length=ITEMS_MAX)]


class MovedItemBody(Body):
    """Units of one SKU that leave."""

    sku: Name
    quantity: SomeUnits


class TransferBody(Body):
    """Goods that leave for another store."""

    to_store: Name
    items: Annotated[list[MovedItemBody], Field(min_length=1, max_length=ITEMS_MAX)]


class CountBody(Body):
    """A stock-take: the shelf held `counted` units at `as_of`; later documents are kept."""

    sku: Name
    counted: Units
    as_of: Moment


class DamageBody(Body):
    """Units that became damaged; negative: mended."""

    sku: Name
    quantity: Annotated[int, Field(ge=-QUANTITY_MAX, le=QUANTITY_MAX)]


class SafetyBody(Body):
    """Safety stock and the reorder model. Demand in units per day, `service_level` 0.5 to 1."""

    sku: Name
    safety: Units
    lead_time_days: Annotated[float, Field(ge=0, le=365)] = 1.0
    daily_demand: PerDay = 0.0
    demand_deviation: PerDay = 0.0
    service_level: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    order_quantity: Units = 0


class OversellBody(Body):
    """Units that may be sold beyond stock."""

    sku: Name
    limit: Units


class AllotmentBody(Body):
    """Units held for one channel alone; 0 gives them back to the pool."""

    sku: Name
    channel: Name
    quantity: Units


def hot_routes(desk: Desk) -> list[HotRoute]:
    """The question of every product page, answered from this process's own read model."""
    views, clock = desk.service.views, desk.service.clock

    def availability(scope: Scope, headers: Headers, _body: bytes) -> Answer:
        """Units of each SKU that can be sold around a position, from what this gateway knows."""
        desk.access.caller_at(AVAILABILITY, headers)
        check_address(scope)
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        skus = list(dict.fromkeys(asked.get("sku", ())))
        if not 1 <= len(skus) <= SKUS_ASKED_MAX:
            raise _invalid("sku", f"Name 1 to {SKUS_ASKED_MAX} SKUs.")
        position = Position(_degrees(asked, "lat", 90.0), _degrees(asked, "lon", 180.0))
        now = clock.now()
        sellable = views.region_sellable(skus, position, now)
        known = views.skus
        return json_answer(
            models.Availability(
                moment(now),
                [models.Sellable(sku, sku in known, max(0, sellable.get(sku, 0))) for sku in skus],
            )
        )

    return [HotRoute("GET", "/v1/availability", availability)]


def router(desk: Desk) -> APIRouter:
    """All routes of stock. Documents answer with the cells they touched, as they are now."""
    routes = APIRouter(tags=["stock"])
    declare_hot(
        routes,
        hot_routes(desk)[0],
        answers(models.Availability, examples.AVAILABILITY),
        parameters=[
            {"name": "sku", "in": "query", "required": True, "explode": True,
             "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1,
                        "maxItems": SKUS_ASKED_MAX}},
            {"name": "lat", "in": "query", "required": True,
             "schema": {"type": "number", "minimum": -90, "maximum": 90}},
            {"name": "lon", "in": "query", "required": True,
             "schema": {"type": "number", "minimum": -180, "maximum": 180}},
        ],
    )  # fmt: skip

    @routes.get(
        "/v1/stores/{store_id}/stock",
        responses=answers(models.Stock, examples.STOCK, "unknown-store"),
    )
    async def read_stock(
        store_id: str,
        caller: Authorised,
        sku: Annotated[list[str] | None, Query(max_length=500, description="None: all.")] = None,
    ) -> Response:
        """A store's stock cells, from the stock itself."""
        await desk.need_store(store_id)
        view = await desk.read(f"inventory/{store_id}", inventory.Get(tuple(sku or ())))
        return answer(show_stock(view))

    _add_documents(routes, desk)
    _add_rules(routes, desk)
    return routes


def _add_documents(routes: APIRouter, desk: Desk) -> None:
    done = answers(
        models.StockDocument, examples.STOCK_DOCUMENT, "unknown-store", "unknown-sku",
        "short-stock", status=201, description="Recorded.",
    )  # fmt: skip

    async def record(
        store_id: str, key: str, route: str, document_id: str, command: Command, skus: list[str]
    ) -> Response:
        await _change(desk, store_id, f"{route}:{key}", command)
        view = await desk.read(f"inventory/{store_id}", inventory.Get(tuple(skus)))
        return answer(show_stock_document(document_id, view), 201)

    @routes.post("/v1/stores/{store_id}/stock/receipts", status_code=201, responses=done)
    async def receive(store_id: str, body: ReceiptBody, caller: Authorised, key: Key) -> Response:
        """Goods in. Lists a SKU at the store that was not."""
        await desk.need_skus(item.sku for item in body.items)
        document_id = f"receipt:{key}"
        items = tuple(inventory.StockItem(item.sku, item.quantity) for item in body.items)
        command = inventory.Receive(document_id, items, caller.name)
        skus = [item.sku for item in items]
        return await record(store_id, key, "receipts", document_id, command, skus)

    @routes.post("/v1/stores/{store_id}/stock/transfers", status_code=201, responses=done)
    async def transfer(store_id: str, body: TransferBody, caller: Authorised, key: Key) -> Response:
        """Goods leave for another store, if they are sellable."""
        if body.to_store == store_id:
            raise _invalid("to_store", "A transfer goes to another store.")
        await desk.need_store(body.to_store)
        document_id = f"transfer:{key}"
        items = tuple(inventory.StockItem(item.sku, item.quantity) for item in body.items)
        command = inventory.Transfer(document_id, body.to_store, items, caller.name)
        skus = [item.sku for item in items]
        return await record(store_id, key, "transfers", document_id, command, skus)

    @routes.post("/v1/stores/{store_id}/stock/counts", status_code=201, responses=done)
    async def count(store_id: str, body: CountBody, caller: Authorised, key: Key) -> Response:
        """A stock-take of one SKU."""
        document_id = f"count:{key}"
        as_of = seconds(body.as_of) or 0.0
        command = inventory.Count(document_id, body.sku, body.counted, as_of, caller.name)
        return await record(store_id, key, "counts", document_id, command, [body.sku])

    @routes.post("/v1/stores/{store_id}/stock/damages", status_code=201, responses=done)
    async def damage(store_id: str, body: DamageBody, caller: Authorised, key: Key) -> Response:
        """Move units between sellable and damaged."""
        document_id = f"damage:{key}"
        command = inventory.MarkDamaged(document_id, body.sku, body.quantity, caller.name)
        return await record(store_id, key, "damages", document_id, command, [body.sku])


def _add_rules(routes: APIRouter, desk: Desk) -> None:
    done = answers(models.Stock, examples.STOCK, "unknown-store", "unknown-sku", "short-stock")

    async def set_rule(store_id: str, key: str, route: str, command: Command, sku: str) -> Response:
        await _change(desk, store_id, f"{route}:{key}", command)
        view = await desk.read(f"inventory/{store_id}", inventory.Get((sku,)))
        return answer(show_stock(view))

    @routes.post("/v1/stores/{store_id}/stock/safety", responses=done)
    async def set_safety(store_id: str, body: SafetyBody, caller: Authorised, key: Key) -> Response:
        """Set a cell's safety stock and its replenishment model."""
        command = inventory.SetSafety(
            body.sku, body.safety, body.lead_time_days, body.daily_demand, body.demand_deviation,
            body.service_level, body.order_quantity,
        )  # fmt: skip
        return await set_rule(store_id, key, "safety", command, body.sku)

    @routes.post("/v1/stores/{store_id}/stock/oversell", responses=done)
    async def set_oversell(
        store_id: str, body: OversellBody, caller: Authorised, key: Key
    ) -> Response:
        """Allow a SKU to be sold beyond stock, up to a limit."""
        command = inventory.SetOversell(body.sku, body.limit)
        return await set_rule(store_id, key, "oversell", command, body.sku)

    @routes.post("/v1/stores/{store_id}/stock/allotments", responses=done)
    async def allot(store_id: str, body: AllotmentBody, caller: Authorised, key: Key) -> Response:
        """Hold units for one channel alone."""
        command = inventory.Allot(body.sku, body.channel, body.quantity)
        return await set_rule(store_id, key, "allotments", command, body.sku)


async def _change(desk: Desk, store_id: str, command_id: str, command: Command) -> None:
    await desk.need_store(store_id)
    await desk.ask(f"inventory/{store_id}", command, command_id)


def _degrees(asked: dict[str, list[str]], name: str, limit: float) -> float:
    try:
        degrees = float(asked[name][0])
    except (KeyError, ValueError):
        raise _invalid(name, f"Send {name} in degrees.") from None
    if not -limit <= degrees <= limit:
        raise _invalid(name, f"Degrees from -{limit:g} to {limit:g}.")
    return degrees


def _invalid(field: str, message: str) -> Refused:
    errors: list[dict[str, Any]] = [{"field": field, "message": message}]
    return Refused("invalid-request", message, errors=errors)
