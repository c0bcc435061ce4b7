"""The physical side of the day: shelves, parcels in hands, cash in pockets, and who saw what.

The people write here what really happened; the service is never asked. At the end of the day the
books must agree with this, to the unit and to the cent. Whatever cannot happen in a real city (two
riders with one parcel, a message that a tablet never got) is kept as a wonder.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from simulator.plan import Goods, OrderPlan, Plan

__all__ = ["Handed", "Packed", "Remittance", "Trace", "World"]


@dataclass(slots=True)
class Trace:
    """What became of one planned order, as its customer and the couriers saw it. Times are epoch
    seconds of service time, 0.0 for never."""

    plan: OrderPlan
    wanted_at: float = 0.0
    acknowledged_at: float = 0.0
    order_id: str = ""
    refused: str = ""
    """The code with which placing was refused, "" if it was not."""
    paid: dict[str, int] = field(default_factory=dict)
    """Payment id to the amount the customer's bank sent."""
    held: dict[str, int] = field(default_factory=dict)
    """The same of what it only reserved, for the provider to take."""
    cash: int = 0
    """Cash the customer handed over, change taken off."""
    cancel_asked: bool = False
    pickup_code: str = ""
    delivered_at: dict[str, float] = field(default_factory=dict)
    """Fulfilment id to the moment it reached the customer."""


@dataclass(frozen=True, slots=True)
class Remittance:
    """Cash a rider handed in: ``owed`` was in the pocket, ``amount`` was counted out."""

    rider_id: str
    owed: int
    amount: int


@dataclass(frozen=True, slots=True)
class Handed:
    """Something put on a store's counter: a parcel coming back, or a customer with a code."""

    kind: str
    """``return | collect``."""
    fulfilment_id: str
    code: str = ""
    """The pick-up code that the customer shows."""
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Packed:
    """Units by SKU in one parcel, and those of its lines that the shelf turned out not to hold."""

    store_id: str
    units: Counter[str] = field(default_factory=Counter)
    short: Counter[str] = field(default_factory=Counter)
    told: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """(units, why) by ordered SKU that the clerk said are not in it."""


class World:
    """One day's physical state. Plain bookkeeping; nothing here waits or draws."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.goods: dict[str, Goods] = {goods.sku: goods for goods in plan.goods}
        self.traces: dict[str, Trace] = {o.key: Trace(o) for o in plan.orders}
        self.by_order_id: dict[str, Trace] = {}
        self.received: Counter[tuple[str, str]] = Counter()
        """(store, SKU) to units put on the shelf before the day."""
        self.packed: dict[str, Packed] = {}
        """Fulfilment to what has left the shelf for it."""
        self.missing: Counter[tuple[str, str]] = Counter()
        """Units the books claimed and the shelf never held."""
        self.told: dict[str, Mapping[str, tuple[int, str]]] = {}
        """Fulfilment that its customer holds to what its clerk said is not in it: (units, why) by
        ordered SKU. Only unwanted units are on the shelf."""
        self.broken: Counter[tuple[str, str]] = Counter()
        """Units that came back damaged."""
        self.handed_out: Counter[tuple[str, str]] = Counter()
        """Units that customers hold now."""
        self.pockets: Counter[str] = Counter()
        self.tills: Counter[str] = Counter()
        """Cash taken at the counter by stores."""
        self.remittances: list[Remittance] = []
        self.carriers: dict[str, str] = {}
        self.tickets_seen: defaultdict[str, set[str]] = defaultdict(set)
        self.counters: defaultdict[str, asyncio.Queue[Handed]] = defaultdict(asyncio.Queue)
        self.wonders: list[str] = []
        self.counts: Counter[str] = Counter()
        """How often things happened that are worth a line in the report (declines, retries, …)."""
        self.first_delivered_at: float | None = None

    # --- Orders

    def acknowledge(self, trace: Trace, order_id: str, at: float) -> None:
        """The service confirmed a placing. The same key must always name the same order."""
        if trace.order_id and trace.order_id != order_id:
            self.wonders.append(
                f"key {trace.plan.key} was answered with two orders: {trace.order_id}, {order_id}"
            )
            return
        trace.order_id = order_id
        trace.acknowledged_at = trace.acknowledged_at or at
        self.by_order_id[order_id] = trace

    def trace_of_fulfilment(self, fulfilment_id: str) -> Trace | None:
        """The order a parcel belongs to (fulfilment ids are the order's id, a dash, a number)."""
        return self.by_order_id.get(fulfilment_id.rsplit("-", 1)[0])

    # --- Goods

    def receive(self, store_id: str, units: Mapping[str, int]) -> None:
        """Goods in, before the day."""
        for sku, count in units.items():
            self.received[store_id, sku] += count

    def pack(
        self,
        store_id: str,
        fulfilment_id: str,
        lines: Iterable[tuple[str, int, int]],
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        """(SKU, ordered, packed) of every line leave the shelf. ``reasons`` says by SKU why not all
        of it was packed (``missing`` if it says nothing). What was ``unwanted`` stays on the shelf;
        of what else was not packed, the shelf never held any."""
        lines = list(lines)
        said = reasons or {}
        told = {
            sku: (ordered - found, said.get(sku, "missing"))
            for sku, ordered, found in lines
            if found < ordered
        }
        packed = Packed(store_id, told=told)
        for sku, ordered, found in lines:
            packed.units.update(self._units(sku, found))
            if said.get(sku) != "unwanted":
                packed.short.update(self._units(sku, ordered - found))
        self.unpack(fulfilment_id)
        self.packed[fulfilment_id] = packed
        for sku, count in packed.short.items():
            self.missing[store_id, sku] += count

    def unpack(self, fulfilment_id: str) -> None:
        """The packing is undone as if it had never been (the service would not hear of it)."""
        packed = self.packed.pop(fulfilment_id, None)
        if packed is not None:
            for sku, count in packed.short.items():
                self.missing[packed.store_id, sku] -= count

    def put_back(self, fulfilment_id: str, broken: Mapping[str, int] | None = None) -> None:
        """A packed parcel goes back on its store's shelf; units of ``broken`` (by ordered SKU) are
        set aside."""
        packed = self.packed.pop(fulfilment_id, None)
        if packed is None:
            self.wonders.append(f"{fulfilment_id} was put back but never packed")
            return
        for sku, count in (broken or {}).items():
            for unit, each in self._units(sku, count).items():
                self.broken[packed.store_id, unit] += each

    def hand_out(self, fulfilment_id: str, at: float) -> None:
        """The customer has the parcel."""
        packed = self.packed.pop(fulfilment_id, None)
        if packed is None:
            self.wonders.append(f"{fulfilment_id} reached its customer but was never packed")
            return
        for sku, count in packed.units.items():
            self.handed_out[packed.store_id, sku] += count
        self.told[fulfilment_id] = packed.told
        trace = self.trace_of_fulfilment(fulfilment_id)
        if trace is not None:
            trace.delivered_at[fulfilment_id] = at
        if self.first_delivered_at is None:
            self.first_delivered_at = at

    def shelf(self, store_id: str, sku: str) -> int:
        """Units that must be in the store now, broken ones included."""
        cell = (store_id, sku)
        away = sum(p.units[sku] for p in self.packed.values() if p.store_id == store_id)
        return self.received[cell] - self.missing[cell] - self.handed_out[cell] - away

    # --- Parcels and cash

    def carry(self, parcel_id: str, rider_id: str) -> None:
        """A rider takes a parcel into their hands; nobody else may hold it."""
        holder = self.carriers.setdefault(parcel_id, rider_id)
        if holder != rider_id:
            self.wonders.append(f"parcel {parcel_id} is carried by {holder} and by {rider_id}")

    def take_cash(
        self, fulfilment_id: str, amount: int, *, rider_id: str = "", store_id: str = ""
    ) -> None:
        """The customer pays cash, to a rider or at the counter."""
        if rider_id:
            self.pockets[rider_id] += amount
        else:
            self.tills[store_id] += amount
        trace = self.trace_of_fulfilment(fulfilment_id)
        if trace is None:
            self.wonders.append(f"cash {amount} was taken for unknown parcel {fulfilment_id}")
        else:
            trace.cash += amount

    def remit(self, rider_id: str, amount: int) -> None:
        """A rider empties the pocket at a cashier, who counts ``amount``."""
        self.remittances.append(Remittance(rider_id, self.pockets.pop(rider_id, 0), amount))

    def _units(self, sku: str, quantity: int) -> dict[str, int]:
        if quantity <= 0:
            return {}
        goods = self.goods.get(sku)
        return goods.units(quantity) if goods else {sku: quantity}
