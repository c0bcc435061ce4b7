"""Store tablets and riders' phones: people at sockets, who must see every order.

They hold the real protocol's device side through ``orchestrator.client``: offsets are stored when a
message is dealt with, then acknowledged; connections are cut now and then, devices go away and come
back, and whatever was missed has to arrive all the same. Clerks accept, pick and pack; riders take
offers, ride (at no distance) and hand over for the exact cash.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol

from loadtests.scene import CURRENCY, NOBODY_HOME, Scene, StoreSpot
from loadtests.verdict import RiderSaw, TabletSaw, is_fault, is_surprise
from orchestrator.client import (
    DoorstepClient,
    InboxMessage,
    InboxSnapshot,
    InboxSocket,
    MemoryOffsets,
    ProblemError,
    models,
)

__all__ = ["Report", "Rider", "Tablet", "note_fault"]

DROPS = 0.02
"""Share of messages after which the connection is cut as by a lost network."""
GOES_AWAY = 0.005
"""Share of messages after which the device is off for a while."""
AWAY_S = (0.5, 2.0)
THINKS_S = (0.02, 0.15)
ASKS_AGAIN_S = 0.25
CAPACITY = 10
CASH_LIMIT = 200_000
REMITS_AT = 100_000
STILL_HERE_S = 60.0
"""A resting rider says so this often: dispatch forgets who is silent for ten minutes."""
ENDED = frozenset({"cancelled", "rejected", "returned", "collected", "delivered"})
NO_PROBLEM = ("not-a-problem", "unknown")
"""What the client makes of an error without the code of a problem document."""

# What a person at a device may be refused, because others act in the same moment.
CALLED_OFF = frozenset({"wrong-state", "unknown-ticket"})
HOLDING_BACK = CALLED_OFF | {"no-cancel-asked"}
OFFERED = frozenset({"offer-gone", "wrong-state"})
UNDER_WAY = frozenset({"unknown-parcel", "wrong-state"})
GOING_HOME = frozenset({"run-not-empty", "off-shift"})
NOTHING: frozenset[str] = frozenset()


def note_fault(saw: TabletSaw | RiderSaw, problem: ProblemError, what: str = "a call") -> None:
    """Note the problem if the service itself had failed. The client repeats what failed: as its
    ``on_retry``, this hears of failures that a repeat mends."""
    if is_fault(problem.status, _code(problem)):
        saw.faults.note(f"{problem.status} to {what}: {problem}")


@contextmanager
def _heard(saw: TabletSaw | RiderSaw, what: str, expected: frozenset[str]) -> Iterator[None]:
    """Notes a problem that ends ``what``, unless it is one of the ``expected``; raises it on."""
    try:
        yield
    except ProblemError as problem:
        note_fault(saw, problem, what)
        if is_surprise(problem.status, _code(problem), expected):
            saw.surprises.note(f"{problem.status} to {what}: {problem}")
        raise


def _code(problem: ProblemError) -> str:
    return "" if problem.code in NO_PROBLEM else problem.code


class Report(Protocol):
    """Takes one measurement for Locust's statistics."""

    def __call__(self, kind: str, name: str, ms: float, error: str = "") -> None: ...


class Device:
    """What tablets and phones have in common: the socket, its offsets, its latencies."""

    def __init__(
        self, scene: Scene, client: DoorstepClient, device_id: str, saw: TabletSaw | RiderSaw,
        report: Report,
    ) -> None:  # fmt: skip
        self.client = client
        self._scene = scene
        self._device_id = device_id
        self._saw = saw
        self._report = report
        self._dice = random.Random(device_id)
        self._offsets = MemoryOffsets()
        self._connected = asyncio.Event()
        self._begun = 0.0
        self._live_since: float | None = None
        self._listening: asyncio.Task[None] | None = None
        self._duties: set[asyncio.Task[None]] = set()

    async def switch_on(self) -> None:
        """Returns when everything so far has been received."""
        self._listening = asyncio.create_task(self._listen())
        waiting = asyncio.create_task(self._connected.wait())
        await asyncio.wait([self._listening, waiting], return_when=asyncio.FIRST_COMPLETED)
        if self._listening.done():
            waiting.cancel()
            self._listening.result()

    async def switch_off(self) -> None:
        """Disconnect; the client is closed with it."""
        tasks = [*self._duties, *([self._listening] if self._listening else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.close()

    def _socket(self) -> InboxSocket:
        raise NotImplementedError

    def _snapshot(self, snapshot: Any) -> None:
        raise NotImplementedError

    def _message(self, message: InboxMessage) -> None:
        raise NotImplementedError

    async def _listen(self) -> None:
        """Connected, except for the moments in which the device is off."""
        while True:
            try:
                await self._receive()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._saw.trouble.append(f"its socket ended: {error!r}")
                raise
            await asyncio.sleep(self._dice.uniform(*AWAY_S))

    async def _receive(self) -> None:
        self._begun, self._live_since = time.perf_counter(), None
        socket = self._socket()
        counted = 0
        try:
            async with socket:
                async for item in socket:
                    self._take(item)
                    counted = 1
                    luck = self._dice.random()
                    if luck < GOES_AWAY:
                        return
                    if luck < GOES_AWAY + DROPS:
                        await socket.drop()
        finally:
            self._saw.reconnects += socket.reconnects + counted

    def _changed(self, state: str) -> None:
        """The socket's state is another."""
        if state == "connecting":
            self._begun = time.perf_counter()
        if state != "live":
            self._live_since = None
            return
        self._live_since = self._scene.now()
        self._report("WS", f"{self._what} connects", (time.perf_counter() - self._begun) * 1000)
        self._connected.set()

    @property
    def _what(self) -> str:
        return type(self).__name__.lower()

    def _take(self, item: InboxMessage | InboxSnapshot) -> None:
        if isinstance(item, InboxSnapshot):
            self._saw.stored = item.head
            self._snapshot(item.data)
            return
        if item.offset != self._saw.stored + 1:
            self._saw.gaps.append(f"message {item.offset} came after {self._saw.stored}")
        self._saw.stored = item.offset
        at = item.at.timestamp()
        if self._live_since is not None and at > self._live_since:
            # ``at`` is the service time at which the change was decided, before its fsync: an
            # upper bound of commit to device. What is replayed after an absence does not count.
            late_s = self._scene.now() - at
            name = f"{item.type}: commit to {self._what}"
            self._report("WS", name, max(0.0, self._scene.real_s(late_s)) * 1000)
        self._message(item)

    def _start(self, duty: Coroutine[Any, Any, None], about: str) -> None:
        task = asyncio.create_task(self._guarded(duty, about))
        self._duties.add(task)
        task.add_done_callback(self._duties.discard)

    async def _guarded(self, duty: Coroutine[Any, Any, None], about: str) -> None:
        try:
            await duty
        except Exception as error:
            self._saw.trouble.append(f"{about}: {error!r}")

    async def _think(self) -> None:
        await asyncio.sleep(self._dice.uniform(*THINKS_S))

    @asynccontextmanager
    async def _timed(self, name: str, expected: frozenset[str] = NOTHING) -> AsyncIterator[None]:
        """Measure one call. A refusal is an answer and counts as one, under its code; one that is
        not ``expected`` is noted."""
        started = time.perf_counter()
        error = ""
        try:
            with _heard(self._saw, f"POST {name}", expected):
                yield
        except ProblemError as problem:
            name = f"{name} ({problem.code})"
            error = str(problem) if problem.status == 0 or problem.status >= 500 else ""
            raise
        finally:
            self._report("POST", name, (time.perf_counter() - started) * 1000, error)


class Tablet(Device):
    """A store's tablet and the clerk beside it."""

    def __init__(
        self, scene: Scene, spot: StoreSpot, client: DoorstepClient, saw: TabletSaw, report: Report
    ) -> None:
        super().__init__(scene, client, f"tablet-{spot.store_id}", saw, report)
        self.store_id = spot.store_id
        self._tickets, self._shown = saw.tickets, saw.open
        self._over: set[str] = set()
        self._asked: set[str] = set()

    async def take_back(self, fulfilment_id: str) -> None:
        """A rider brings an undelivered parcel: check it and put it on the shelf."""
        await self._think()
        async with self._timed("tablet: returned"):
            await self.client.accept_return(
                self.store_id, fulfilment_id, key=f"{fulfilment_id}-returned"
            )

    def _socket(self) -> InboxSocket:
        return self.client.store_socket(
            self.store_id, self._device_id, offsets=self._offsets, on_state=self._changed
        )

    def _snapshot(self, snapshot: Any) -> None:
        self._shown.clear()  # it replaces all that was there
        for closed in snapshot.get("closed", ()):
            self._show(closed)
        for ticket in snapshot["tickets"]:
            self._open(ticket)

    def _message(self, message: InboxMessage) -> None:
        data = message.data
        if message.type == "ticket.opened":
            self._open(data["ticket"])
        elif message.type == "ticket.closed":
            self._end(data["closed"]["fulfilment_id"])
        elif message.type == "ticket.cancel_asked":
            self._hold_back(data["fulfilment_id"])
        elif "progress" in data and data["progress"]["state"] in ENDED:
            self._end(data["fulfilment_id"])

    def _end(self, fulfilment_id: str) -> None:
        """Off the board."""
        self._over.add(fulfilment_id)
        self._shown.discard(fulfilment_id)

    def _show(self, ticket: dict[str, Any]) -> bool:
        """On the screen; False when it was there already."""
        fulfilment_id = ticket["fulfilment_id"]
        if fulfilment_id in self._tickets:
            return False
        self._tickets[fulfilment_id] = ticket["order_id"]
        return True

    def _open(self, ticket: dict[str, Any]) -> None:
        fulfilment_id = ticket["fulfilment_id"]
        if ticket["progress"]["state"] not in ENDED:
            self._shown.add(fulfilment_id)
        if self._show(ticket):
            self._start(self._serve(fulfilment_id), fulfilment_id)
        if ticket["progress"]["cancel_asked"]:
            self._hold_back(fulfilment_id)

    async def _serve(self, fulfilment_id: str) -> None:
        """From *new* to packed, unless it is called off on the way."""
        for step, act in (
            ("accept", self.client.accept_ticket),
            ("picking", self.client.start_picking),
            ("ready", self.client.mark_ready),
        ):
            await self._think()
            if fulfilment_id in self._over | self._asked:
                return
            try:
                async with self._timed(f"tablet: {step}", CALLED_OFF):
                    await act(self.store_id, fulfilment_id, key=f"{fulfilment_id}-{step}")
            except ProblemError as problem:
                if problem.status in (404, 409):
                    return  # called off in the same moment; the books tell how it ended
                raise

    def _hold_back(self, fulfilment_id: str) -> None:
        if fulfilment_id not in self._asked:
            self._asked.add(fulfilment_id)
            self._start(self._say_held_back(fulfilment_id), f"{fulfilment_id} cancelled")

    async def _say_held_back(self, fulfilment_id: str) -> None:
        await self._think()
        with suppress(ProblemError):  # it may be with a rider, or over, by now
            async with self._timed("tablet: held-back", HOLDING_BACK):
                await self.client.answer_cancel(
                    self.store_id, fulfilment_id, True, key=f"{fulfilment_id}-held-back"
                )


class Rider(Device):
    """A rider: one offer at a time, the run's stops in their order, exact cash."""

    def __init__(
        self,
        scene: Scene,
        rider_id: str,
        client: DoorstepClient,
        saw: RiderSaw,
        report: Report,
        remit: Callable[[str, int, str], Coroutine[Any, Any, None]],
        give_back: Callable[[str, str], Coroutine[Any, Any, None]],
    ) -> None:
        """``remit(rider, owed, key)`` takes all cash, ``give_back(store, parcel)`` a parcel."""
        super().__init__(scene, client, f"phone-{rider_id}", saw, report)
        self.rider_id = rider_id
        self._seen: RiderSaw = saw
        self._remit = remit
        self._give_back = give_back
        self._news = asyncio.Event()
        self._answered: set[str] = set()
        self._brought: set[str] = set()
        self._tries = 0

    async def switch_on(self) -> None:
        """Come on shift, then listen."""
        spot = self._dice.choice(self._scene.stores)
        async with self._timed("rider: shift"):
            await self.client.start_shift(
                self.rider_id, self._scene.tag, "bicycle", spot.lat, spot.lon,
                capacity=CAPACITY, cash_limit=CASH_LIMIT, key=f"{self.rider_id}-shift",
            )  # fmt: skip
        await super().switch_on()
        self._start(self._ride(), "riding")

    async def go_home(self) -> None:
        """Hand in the cash and end the shift; what is still owed is noted."""
        rider = await self.client.rider(self.rider_id)
        if rider.cash_held:
            await self._remit(self.rider_id, rider.cash_held, f"{self.rider_id}-last")
        with suppress(ProblemError), _heard(self._saw, "the shift's end", GOING_HOME):
            await self.client.end_shift(self.rider_id, key=f"{self.rider_id}-home")
        self._seen.owes = (await self.client.rider(self.rider_id)).cash_held

    def _socket(self) -> InboxSocket:
        return self.client.rider_socket(
            self.rider_id, self._device_id, offsets=self._offsets, on_state=self._changed
        )

    def _snapshot(self, snapshot: Any) -> None:
        if snapshot["offer"]:
            self._offered(snapshot["offer"]["offer_id"])
        self._news.set()

    def _message(self, message: InboxMessage) -> None:
        if message.type == "offer.opened":
            self._offered(message.data["offer"]["offer_id"])
        self._news.set()

    def _offered(self, offer_id: str) -> None:
        if offer_id not in self._answered:
            self._answered.add(offer_id)
            self._start(self._accept(offer_id), f"offer {offer_id}")

    async def _accept(self, offer_id: str) -> None:
        await self._think()
        with suppress(ProblemError):  # gone: the next round goes on with whoever is there
            async with self._timed("rider: accept", OFFERED):
                await self.client.accept_offer(self.rider_id, offer_id, key=f"{offer_id}-accept")
        self._news.set()

    async def _ride(self) -> None:
        while True:
            self._news.clear()
            rider = await self.client.rider(self.rider_id)
            if rider.stops:
                stop = rider.stops[0]
                parcel = next(p for p in rider.parcels if p.parcel.parcel_id == stop.parcel_id)
                try:
                    await self._stop(stop.kind, parcel)
                except ProblemError as problem:
                    if problem.status not in (404, 409, 422):
                        raise
                    await asyncio.sleep(ASKS_AGAIN_S)  # not packed yet, or taken out of the run
            elif rider.cash_held >= REMITS_AT:
                self._tries += 1
                await self._remit(
                    self.rider_id, rider.cash_held, f"{self.rider_id}-remit-{self._tries}"
                )
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), STILL_HERE_S)
                if rider.position is not None:
                    await self._move(rider.position)

    async def _move(self, to: models.Position) -> None:
        """Only the latest position counts; one that is lost is no harm."""
        with suppress(ProblemError), _heard(self._saw, "a position", GOING_HOME):
            await self.client.move(self.rider_id, to.lat, to.lon)

    async def _stop(self, kind: str, parcel: models.RunParcel) -> None:
        goods, state = parcel.parcel, parcel.state
        await self._think()
        await self._move(goods.drop_off if kind == "drop_off" else goods.pick_up)
        if kind == "pick_up":
            if state == "accepted":
                await self._step("arrive-at-store", self.client.arrive_at_store, goods.parcel_id)
            await self._step("pick-up", self.client.pick_up, goods.parcel_id)
        elif kind == "drop_off":
            if state == "picked_up":
                await self._step(
                    "arrive-at-customer", self.client.arrive_at_customer, goods.parcel_id
                )
            await self._at_the_door(goods, parcel.cash_due)
        elif goods.parcel_id not in self._brought:
            self._brought.add(goods.parcel_id)
            await self._give_back(goods.store_id, goods.parcel_id)
        else:
            await asyncio.sleep(ASKS_AGAIN_S)

    async def _at_the_door(self, goods: models.Parcel, cash_due: int) -> None:
        assert goods.currency == CURRENCY
        if NOBODY_HOME in goods.address:
            await self._step("fail", self.client.fail, goods.parcel_id, reason="absent")
            return
        note = -(-cash_due // 1_000) * 1_000  # paid with whole ten-euro notes
        await self._step(
            "deliver", self.client.deliver, goods.parcel_id,
            cash_received=note, change=note - cash_due,
        )  # fmt: skip
        self._seen.delivered.append(goods.parcel_id)
        if cash_due:
            self._seen.cash[goods.parcel_id] = cash_due

    async def _step(self, name: str, act: Any, parcel_id: str, **given: Any) -> None:
        self._tries += 1
        async with self._timed(f"rider: {name}", UNDER_WAY):
            await act(
                self.rider_id, parcel_id, **given,
                key=f"{parcel_id}-{name}-{self.rider_id}-{self._tries}",
            )  # fmt: skip
