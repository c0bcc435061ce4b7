"""The people of a simulated day, each with luck of their own."""

import asyncio
import json
from base64 import b32encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from domain.errors import Problem
from domain.geo import Position
from domain.inbox import InboxPage
from domain.inventory import commands as stock
from domain.message import Command
from domain.order import commands as orders
from domain.order.views import OrderView
from domain.rider import commands as riders
from domain.rider.views import RiderView
from domain.store import commands as counter
from tests.simulation.town import (
    DAY_S,
    FINAL,
    GOODS,
    HOME,
    SELLABLE,
    STORES,
    STORM_S,
    ZONE,
)

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Clerk", "Customer", "Desk", "Keeper", "Rider"]


FORGETFUL = 0.25
"""Share of those who collect who must be called first."""
MISSES = 0.12
"""Share of parts of which a clerk does not find, or not give, all."""
REMEMBERS_AFTER = 60
"""So many looks after the storm they come by themselves: a store whose profile had not reached its
shard when the goods were ready calls after a day only, as it does by default."""


class Customer:
    """Orders once, pays or not, changes their mind, collects."""

    def __init__(self, world: "World", name: object, customer_id: str) -> None:
        self.world = world
        self.random = world.chance.stream(f"customer {name}")
        token = blake2b(f"{world.seed} {name}".encode(), digest_size=13).digest()
        self.order_id = "o" + b32encode(token).decode().lower()[:20]
        self.to = f"order/{self.order_id}"
        self.customer_id = customer_id
        self.forgets = world.chance.stream(f"memory of {name}").random() < FORGETFUL

    async def live(self) -> None:
        world, random = self.world, self.random
        burst = random.random() < 0.5
        await asyncio.sleep(random.choice((20.0, 200.0)) if burst else random.uniform(0.0, DAY_S))
        wish = self._wish()
        placed = await world.ask(self.to, wish, f"place-{self.order_id}")
        if not isinstance(placed, Problem):
            await self.after(placed, wish.payment, wish.delivery)

    async def after(self, placed: OrderView, payment: str, delivery: str) -> None:
        """The order is placed: pay, change one's mind, collect."""
        lives = [self._pay(placed)] if payment == "online" else []
        lives += [self._change_mind() for _ in range(self.random.choice((0, 0, 0, 1, 1, 2)))]
        if delivery == "pickup":
            lives.append(self._collect(placed))
        await asyncio.gather(*lives)

    def _wish(self) -> orders.Place:
        random = self.random
        skus = random.sample(SELLABLE, random.choice((1, 1, 2, 3)))
        lines = tuple(orders.PlaceLine(sku, random.choice((1, 1, 2, 3))) for sku in skus)
        pickup = random.random() < 0.2
        bound = pickup or random.random() < 0.1
        where = Position(HOME.lat + random.uniform(-0.01, 0.01), HOME.lon)
        return orders.Place(
            "app",
            orders.Customer(self.customer_id, "Ada", "+4915112345678"),
            lines,
            "EUR",
            delivery="pickup" if pickup else "delivery",
            address=None if pickup else orders.Address(where, "1 Harbour Street"),
            payment=random.choice(("online", "online", "cod")),
            store_id=random.choice(STORES) if bound else "",
            partial_ok=random.random() < 0.2,
        )

    async def _pay(self, placed: OrderView) -> None:
        random = self.random
        if random.random() < 0.12:
            return
        await asyncio.sleep(random.expovariate(0.5))
        start = orders.StartPayment(f"{self.order_id}-p1", "sandbox")
        await self.world.ask(self.to, start)
        if random.random() < 0.15:
            await asyncio.sleep(random.uniform(0.0, 5.0))
            second = orders.StartPayment(f"{self.order_id}-p2", random.choice(("sandbox", "other")))
            await self.world.ask(self.to, second)

    async def _change_mind(self) -> None:
        random = self.random
        if random.random() < 0.7:
            count = random.randint(2, 30)
            await self.world.step_of(self.order_id, count, STORM_S)
            await asyncio.sleep(random.choice((0.0, 0.0, 0.02, 1.0)) * random.random())
        else:
            await asyncio.sleep(random.uniform(0.0, 150.0))
        await self.world.ask(self.to, orders.Cancel("changed my mind"))

    async def _collect(self, placed: OrderView) -> None:
        world, random = self.world, self.random
        rounds = 0
        while True:
            rounds += world.diligent
            await asyncio.sleep(random.uniform(3.0, 12.0))
            found = await world.ask_or_none(self.to, orders.Get())
            if found is None:
                return
            if found.state in FINAL:  # money that comes late may bring it back
                if world.diligent:
                    return
                await asyncio.sleep(20.0)
            called = self.order_id in world.called or rounds > REMEMBERS_AFTER
            if self.forgets and not called:
                continue
            for part in found.fulfilments:
                if part.state == "ready":
                    await self._at_counter(placed, part.store_id, part.fulfilment_id)

    async def _at_counter(self, placed: OrderView, store_id: str, fulfilment_id: str) -> None:
        world, random = self.world, self.random
        to = f"store/{store_id}"
        if random.random() < 0.2:
            await world.ask(to, counter.Collect(fulfilment_id, "0000"))
        ticket = await world.ask_or_none(to, counter.GetTicket(fulfilment_id))
        if ticket is not None:
            cash = ticket.cash_due
            await world.ask(to, counter.Collect(fulfilment_id, placed.pickup_code, cash))


class Clerk:
    """Works from the store's inbox alone, as a tablet does."""

    def __init__(self, world: "World", store_id: str) -> None:
        self.world = world
        self.random = world.chance.stream(f"clerk {store_id}")
        self.store_id = store_id
        self.to = f"store/{store_id}"
        self.device = f"tablet-{store_id}"
        self.after = 0
        self.epoch = ""
        self.connections = 0
        self.tickets: dict[str, dict[str, Any]] = {}
        self.lazy: dict[str, float] = {}

    async def live(self) -> None:
        world, random = self.world, self.random
        await self._connect()
        while not (world.closing and not self.tickets):
            await asyncio.sleep(random.uniform(1.0, 5.0) * (1.0 if self.tickets else 2.0))
            if random.random() < 0.03:
                await self._connect()
            elif not await self._read():
                continue
            for fulfilment_id in list(self.tickets):
                if random.random() < 0.6:
                    await self._act(fulfilment_id)
            if not world.diligent and random.random() < 0.01:
                until = world.clock.now() + random.uniform(5.0, 40.0)
                await world.ask(self.to, counter.PauseStore(True, until, "a queue"))

    async def _connect(self) -> None:
        self.connections += 1
        name = f"{self.device}:{self.connections}"
        command = counter.RegisterDevice(self.device, name, self.after or None, self.epoch)
        page = await self.world.ask(self.to, command)
        if isinstance(page, InboxPage):
            self._take(page)

    async def _read(self) -> bool:
        page = await self.world.ask(self.to, counter.ReadInbox(self.after))
        if not isinstance(page, InboxPage):
            return False
        before = self.after
        self._take(page)
        if self.after > before and self.random.random() < 0.5:
            name = f"{self.device}:{self.connections}"
            await self.world.ask(self.to, counter.AcknowledgeInbox(self.device, name, self.after))
        return True

    def _take(self, page: InboxPage) -> None:
        self.world.auditor.read_inbox(self.to, self.after, page)
        self.epoch = page.epoch
        if page.snapshot is not None:
            tickets = json.loads(page.snapshot)["tickets"]
            self.tickets = {each["fulfilment_id"]: each["progress"] for each in tickets}
            self.after = page.head
        for message in page.messages:
            self.after = message.offset
            data = json.loads(message.data)
            ticket = data.get("ticket", data)
            name = ticket.get("fulfilment_id", "")
            if message.type == "ticket.closed":
                self.tickets.pop(name or data["closed"]["fulfilment_id"], None)
            elif "progress" in ticket and (name in self.tickets or "ticket" in data):
                self.tickets[name] = ticket["progress"]

    async def _act(self, fulfilment_id: str) -> None:
        world, random = self.world, self.random
        progress = self.tickets[fulfilment_id]
        diligent = world.diligent
        state = progress["state"]
        command: Command | None = None
        if progress["cancel_asked"]:
            if random.random() < (0.9 if diligent else 0.5):
                held = random.random() < 0.8
                command = counter.ConfirmHeldBack(fulfilment_id, held, self.device)
        elif state == "new":
            command = self._greet(fulfilment_id)
        elif state == "accepted":
            if random.random() < 0.03 and not diligent:
                command = counter.RejectTicket(fulfilment_id, "broken", self.device)
            else:
                command = counter.StartPicking(fulfilment_id, self.device)
        elif state == "picking":
            if random.random() < MISSES and not diligent:
                await self._miss(fulfilment_id)
            command = counter.MarkReady(fulfilment_id, self.device)
        elif state == "ready" and progress["rider_id"] and random.random() < 0.25:
            command = counter.HandOver(fulfilment_id, progress["rider_id"], self.device)
        elif state == "returning":
            command = await self._inspect(fulfilment_id)
        if command is not None:
            await world.ask(self.to, command)

    def _greet(self, fulfilment_id: str) -> Command | None:
        random = self.random
        if self.world.diligent:
            return counter.AcceptTicket(fulfilment_id, self.device)
        if fulfilment_id not in self.lazy:
            self.lazy[fulfilment_id] = random.random()
        mood = self.lazy[fulfilment_id]
        if mood < 0.12:
            return counter.RejectTicket(fulfilment_id, "too busy", self.device)
        if mood < 0.2:
            return None
        return counter.AcceptTicket(fulfilment_id, self.device, random.choice((None, 5, 60)))

    async def _miss(self, fulfilment_id: str) -> None:
        ticket = await self.world.ask_or_none(self.to, counter.GetTicket(fulfilment_id))
        if ticket is not None and ticket.lines:
            for line in ticket.lines:
                if self.random.random() < 0.7:
                    found = self.random.randint(0, line.quantity)
                    why = self.random.choice(counter.SHORT_REASONS)
                    await self.world.ask(
                        self.to,
                        counter.PickLine(fulfilment_id, line.line_id, found, self.device, why),
                    )

    async def _inspect(self, fulfilment_id: str) -> Command:
        damaged: tuple[tuple[str, int], ...] = ()
        ticket = await self.world.ask_or_none(self.to, counter.GetTicket(fulfilment_id))
        if ticket is not None and ticket.lines and self.random.random() < 0.3:
            line = ticket.lines[0]
            units = line.quantity if line.picked is None else line.picked
            damaged = ((line.line_id, min(1, units)),) if units else ()
        return counter.AcceptReturn(fulfilment_id, damaged, self.device)


class Rider:
    """Takes, declines and forgets offers; carries parcels; hands in the cash."""

    def __init__(self, world: "World", rider_id: str) -> None:
        self.world = world
        self.random = world.chance.stream(f"rider {rider_id}")
        self.rider_id = rider_id
        self.to = f"rider/{rider_id}"
        self.position = HOME
        self.remittances = 0
        self.moods: dict[str, float] = {}

    async def live(self) -> None:
        world, random = self.world, self.random
        seen: RiderView | None = None
        while True:
            engaged = seen is not None and (seen.offer is not None or seen.parcels)
            await asyncio.sleep(random.uniform(1.0, 4.0) * (1.0 if engaged else 2.5))
            seen = await world.ask_or_none(self.to, riders.GetRider())
            if seen is None:
                continue
            if world.closing and await self._go_home(seen):
                return
            await self._work(seen)

    async def _work(self, seen: RiderView) -> None:
        world, random = self.world, self.random
        if seen.state == "off":
            if random.random() < 0.5 and not world.closing:
                capacity, limit = random.choice((1, 3)), world.cash_limit
                shift = riders.StartShift(ZONE, "bike", self.position, capacity, limit)
                await world.ask(self.to, shift)
            return
        if seen.cash_limit < world.cash_limit and seen.offer is None and not seen.parcels:
            await world.ask(self.to, riders.EndShift())
            return
        if random.random() < 0.3:
            lat = HOME.lat + random.uniform(-0.01, 0.01)
            self.position = Position(lat, HOME.lon + random.uniform(-0.01, 0.01))
            await world.ask(self.to, riders.MoveTo(self.position))
        if seen.offer is not None:
            await self._answer(seen.offer.offer_id)
        for parcel in seen.parcels:
            await self._carry(parcel)
        if seen.cash_held and (seen.cash_headroom < 3_000 or random.random() < 0.02):
            await self._remit(seen.cash_held)
        if not world.diligent and not seen.parcels and random.random() < 0.02:
            await world.ask(self.to, riders.EndShift())

    async def _answer(self, offer_id: str) -> None:
        mood = self.moods.setdefault(offer_id, self.random.random())
        if mood < 0.6 or self.world.diligent:
            await self.world.ask(self.to, riders.AcceptOffer(offer_id))
        elif mood < 0.7:
            await asyncio.sleep(self.random.uniform(25.0, 35.0))  # just as it expires
            await self.world.ask(self.to, riders.AcceptOffer(offer_id))
        elif mood < 0.8:
            await self.world.ask(self.to, riders.DeclineOffer(offer_id, "too far"))

    async def _carry(self, parcel: Any) -> None:
        random = self.random
        name = parcel.parcel.parcel_id
        command: Command | None = None
        match parcel.state:
            case "accepted":
                command = riders.ArriveAtStore(name)
            case "at_store":
                command = riders.PickUp(name)
            case "picked_up":
                command = riders.ArriveAtCustomer(name)
                if random.random() < 0.05:
                    command = riders.Fail(name, "address")
            case "at_customer":
                command = await self._at_door(name, parcel.cash_due)
        if command is not None and random.random() < 0.8:
            await self.world.ask(self.to, command)

    async def _at_door(self, name: str, due: int) -> Command:
        random = self.random
        if random.random() < 0.12:
            return riders.Fail(name, random.choice(("refused", "absent", "damaged")))
        if due and random.random() < 0.15:
            await self.world.ask(self.to, riders.Deliver(name, due - 1))
        change = random.choice((0, 0, 50)) if due else 0
        return riders.Deliver(name, due + change, change)

    async def _remit(self, held: int) -> None:
        self.remittances += 1
        amount = max(0, held + self.random.choice((0, 0, 0, -5, 3)))
        remittance = f"rem-{self.rider_id}-{self.remittances}"
        why = "" if amount == held else "counted twice"
        await self.world.ask(self.to, riders.Remit(remittance, amount, "cashier", why, owed=held))

    async def _go_home(self, seen: RiderView) -> bool:
        if seen.parcels:
            return False
        if seen.cash_held:
            await self._remit(seen.cash_held)
            return False
        if seen.state == "off":
            return True
        await self.world.ask(self.to, riders.EndShift())
        return False


class Desk:
    """Operations: mends parked fulfilments, takes parcels away from riders, refunds units."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.random = world.chance.stream("desk")
        self.refunds = 0

    async def live(self) -> None:
        world, random = self.world, self.random
        while not world.closing:
            await asyncio.sleep(random.uniform(3.0, 10.0))
            parked, world.parked = world.parked, []
            for _at, order_id, fulfilment_id in parked:
                await self._mend(order_id, fulfilment_id)
            uncollected, world.uncollected = world.uncollected, []
            for order_id in uncollected:
                await self._call(order_id)
            if not world.diligent and random.random() < 0.3:
                await self._meddle()

    async def _mend(self, order_id: str, fulfilment_id: str) -> None:
        world, random = self.world, self.random
        to, mood = f"order/{order_id}", random.random()
        if mood < 0.3:
            return
        if mood < 0.75:
            store_id = random.choice(("", *STORES))
            await world.ask(to, orders.Reroute(fulfilment_id, store_id, "ops", "try again"))
        else:
            await world.ask(to, orders.CloseParked(fulfilment_id, "ops", "hopeless"))

    async def _call(self, order_id: str) -> None:
        """Give up on a customer who does not come, or call them: they come then."""
        if self.random.random() < 0.5:
            await self.world.ask(f"order/{order_id}", orders.Cancel("nobody collected it"))
        self.world.called.add(order_id)

    async def _meddle(self) -> None:
        world, random = self.world, self.random
        carried = world.auditor.carried
        if carried and random.random() < 0.4:
            parcel, rider_id = random.choice(carried)
            await world.ask(f"rider/{rider_id}", riders.Unassign(parcel, "ops", "too slow"))
        known = world.auditor.order_ids
        if known and random.random() < 0.15:
            await self._refund(random.choice(known))

    async def _refund(self, order_id: str) -> None:
        world, random = self.world, self.random
        found = await world.ask_or_none(f"order/{order_id}", orders.Get())
        if found is None:
            return
        line = random.choice(found.lines)
        self.refunds += 1
        units = (orders.RefundUnits(line.line_id, random.randint(1, line.quantity)),)
        name = f"{order_id}-ops{self.refunds}"
        await world.ask(f"order/{order_id}", orders.RefundLines(name, units, "sour", "ops"))


class Keeper:
    """Goods in, between stores, counted, damaged."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.random = world.chance.stream("keeper")
        self.documents = 0

    async def live(self) -> None:
        world, random = self.world, self.random
        while not world.diligent:
            await asyncio.sleep(random.expovariate(1.0 / 40.0))
            self.documents += 1
            name = f"doc-{self.documents}"
            here, there = random.sample(STORES, 2)
            sku = random.choice(GOODS)
            items = (stock.StockItem(sku, random.randint(1, 2)),)
            command: Command
            match random.randrange(4):
                case 0:
                    command = stock.Receive(name, items, "keeper")
                case 1:
                    command = stock.Transfer(name, there, items, "keeper")
                case 2:
                    shelf = world.auditor.on_hand(here, sku)
                    counted = max(0, shelf + random.choice((-1, 0, 0, 1)))
                    command = stock.Count(name, sku, counted, world.clock.now(), "keeper")
                case _:
                    command = stock.MarkDamaged(name, sku, 1, "keeper")
            await world.ask(f"inventory/{here}", command)
