"""The job that every rival does, apart from where it keeps stock and orders.

The same request as the service's: checked by pydantic, priced from a catalogue in memory, routed
over all stores whose zone holds the customer, the nearest first. What differs is how stock is
locked and the order made durable. Left out, in the rivals' favour: tokens, rate limits, risk,
several stores for one order, capacity and opening hours of stores, events for anybody else.
"""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

from fastapi import HTTPException
from pydantic import BaseModel, Field

from loadtests.empty import PlaceBody

__all__ = [
    "CATALOGUE", "STORE_VARIABLE", "UNPAID_S", "Answer", "Books", "Catalogue", "Line", "Wish",
    "short_stock",
]  # fmt: skip

CATALOGUE = "DOORSTEP_RIVAL_CATALOGUE"
"""Environment variable: the JSON file with what is sold, see ``Shop.catalogue``."""
STORE_VARIABLE = "DOORSTEP_RIVAL_STORE"
"""Environment variable: address of the database or the Redis."""
UNPAID_S = 86_400
METRES_PER_DEGREE = 111_195.0


class Line(BaseModel):
    """One SKU at its frozen price."""

    sku: str
    quantity: int
    unit_price: int


class Answer(BaseModel):
    """The order as it was placed. Money in minor units, times in epoch seconds."""

    order_id: str
    state: str
    store_id: str
    currency: str
    total: int
    expires_at: float
    lines: list[Line]


class Books(BaseModel):
    """What a rival has stored, for the comparison with what it acknowledged."""

    orders: Annotated[int, Field(ge=0)]
    units: Annotated[int, Field(ge=0)]
    """Units locked over all stores."""
    oversold: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Wish:
    """An order that is priced and routed, and not yet locked."""

    order_id: str
    stores: Sequence[str]
    """The best first."""
    answer: Answer
    """All but the store."""


@dataclass(frozen=True, slots=True)
class _Store:
    store_id: str
    lat: float
    lon: float
    shrink: float
    """Length of a degree of longitude here over one of latitude."""
    radius_m: float


class Catalogue:
    """Stores and prices in memory, as such a service would cache them."""

    def __init__(self, document: dict[str, object]) -> None:
        self.currency = str(document["currency"])
        self.prices: dict[str, int] = document["prices"]  # type: ignore[assignment]
        self.stock = int(document["stock"])  # type: ignore[call-overload]
        stores: list[dict[str, float | str]] = document["stores"]  # type: ignore[assignment]
        self.stores = [
            _Store(
                str(one["store_id"]), float(one["lat"]), float(one["lon"]),
                math.cos(math.radians(float(one["lat"]))), float(one["radius_m"]),
            )
            for one in stores
        ]  # fmt: skip

    @classmethod
    def from_environment(cls) -> "Catalogue":
        """The file that :data:`CATALOGUE` names."""
        return cls(json.loads(Path(os.environ[CATALOGUE]).read_bytes()))

    def wish(self, body: PlaceBody, key: str) -> Wish:
        """Price and route. Raises 422 for what cannot be sold."""
        if body.address is None or body.currency != self.currency:
            raise HTTPException(422, "An address and the catalogue's currency are needed.")
        quantities: dict[str, int] = {}
        for line in body.lines:
            quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
        lines, total = [], 0
        # Sorted, so that all orders lock their cells in one order: no deadlocks.
        for sku in sorted(quantities):
            price = self.prices.get(sku)
            if price is None:
                raise HTTPException(422, f"Nothing is sold as {sku}.")
            lines.append(Line(sku=sku, quantity=quantities[sku], unit_price=price))
            total += price * quantities[sku]
        if body.expected_total is not None and body.expected_total != total:
            raise HTTPException(422, f"The total is {total}.")
        position = body.address.position
        stores = self.reachable(position.lat, position.lon)
        if not stores:
            raise HTTPException(422, "No store delivers there.")
        order_id = "o" + blake2b(key.encode(), digest_size=12).hexdigest()
        expires_at = time.time() + UNPAID_S
        answer = Answer(
            order_id=order_id, state="placed", store_id="", currency=self.currency, total=total,
            expires_at=expires_at, lines=lines,
        )  # fmt: skip
        return Wish(order_id, stores, answer)

    def reachable(self, lat: float, lon: float) -> list[str]:
        """Stores whose zone holds the position, the nearest first."""
        found = []
        for store in self.stores:
            north = (lat - store.lat) * METRES_PER_DEGREE
            east = (lon - store.lon) * METRES_PER_DEGREE * store.shrink
            square = north * north + east * east
            if square <= store.radius_m * store.radius_m:
                found.append((square, store.store_id))
        found.sort()
        return [store_id for _, store_id in found]


def short_stock() -> HTTPException:
    """No store within reach has everything."""
    return HTTPException(409, "No store within reach has all of it.")
