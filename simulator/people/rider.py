"""A rider: a shift, one offer at a time, straight lines at the vehicle's speed, exact cash."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestrator.client import ProblemError, Refusal, models
from simulator.clock import seconds
from simulator.day import Day
from simulator.geometry import Point, distance_m, towards
from simulator.plan import RiderPlan, chance
from simulator.wire import Message
from simulator.world import Handed

__all__ = ["Rider"]

STEP_S = 20.0
STEP_REAL_S_MIN = 2.0
"""A moving rider tells the position every ``STEP_S``, but not more often in real time than this."""
STILL_HERE_S = 400.0
"""A resting rider tells the position this often: dispatch forgets who is silent for ten minutes."""
ASKS_AGAIN_S = 60.0
ASKS_AGAIN_REAL_S_MIN = 0.4
"""How often a rider at the counter asks whether the parcel is ready now."""
AT_THE_COUNTER_S = 60.0
AT_THE_DOOR_S = 90.0
ABSENT_S = 180.0
REMITS_AT_SHARE = 0.7
"""Share of the cash limit at which a rider hands the cash in between two runs."""
IN_HAND = ("picked_up", "at_customer", "returning")
SHIFT_S_MIN = 60.0
SHIFT_REAL_S_MIN = 1.0
OFFER_SHARE = 0.25
"""Of an offer's time at most this is spent thinking, whatever the speed."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One parcel of the run as the phone shows it."""

    parcel_id: str
    store_id: str
    pick_up: Point
    drop_off: Point
    cash_due: int
    state: str


class Rider:
    """Lives one planned shift. ``work`` returns when the rider has gone home with empty hands."""

    def __init__(self, plan: RiderPlan, day: Day) -> None:
        self._plan = plan
        self._day = day
        self._clock = day.clock
        self._rider_id = plan.rider_id
        self._phone = day.client("rider", plan.rider_id)
        self._telling = day.hasty("rider", plan.rider_id)
        self._draw = chance(day.plan.seed, "riding", plan.rider_id)
        self._position = plan.position
        self._told_at = 0.0
        self._parcels: dict[str, Parcel] = {}
        self._stops: list[tuple[str, str]] = []
        self._on_shift = False
        self._news = asyncio.Event()
        self._online = asyncio.Event()
        self._online.set()
        self._dark_s = 0.0
        self._receiving: asyncio.Task[None] | None = None
        self._tries = 0
        self._remittances = 0
        self._on_counter: set[str] = set()

    async def work(self) -> None:
        """The whole shift, as long as the last parcel takes."""
        if not await self._day.sleep_until(self._day.at(self._plan.on_s)):
            return
        if not self._plan.stays and self._clock.now() > self._last_start_at:
            self._day.count("shifts over before they could begin")
            return
        await self._start()
        listening = asyncio.create_task(self._listen(), name=f"phone {self._plan.rider_id}")
        listening.add_done_callback(self._deaf)
        try:
            await self._ride()
            await self._go_home()
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            self._day.on_shift.discard(self._plan.rider_id)
            self._day.carrying.discard(self._plan.rider_id)

    # --- Shift

    @property
    def _last_start_at(self) -> float:
        """A shift that has less than this left (recorded ones may last a minute) is not begun."""
        left_s = max(SHIFT_S_MIN, SHIFT_REAL_S_MIN * self._clock.speed)
        return self._day.at(self._plan.off_s) - left_s

    async def _start(self) -> None:
        plan = self._plan
        off_at = datetime.fromtimestamp(self._day.at(plan.off_s), UTC)
        self._learn(
            await self._phone.start_shift(
                plan.rider_id, plan.dispatch_zone, plan.vehicle, self._position.lat,
                self._position.lon, capacity=plan.capacity, cash_limit=plan.cash_limit,
                ends_at=None if plan.stays else off_at, key=f"{plan.rider_id}-shift",
            )
        )  # fmt: skip
        self._on_shift = True
        self._told_at = self._clock.now()
        self._day.on_shift.add(plan.rider_id)

    async def _ride(self) -> None:
        while True:
            await self._online.wait()
            if self._stops:
                await self._do(*self._stops[0])
            elif self._day.world.pockets[self._plan.rider_id] >= self._cash_full:
                await self._remit()
            elif self._time_to_go() and await self._end_shift():
                return
            else:
                await self._wait(STILL_HERE_S)

    async def _end_shift(self) -> bool:
        """Off shift, unless an offer was taken in the same instant."""
        if self._on_shift:
            self._tries += 1
            key = f"{self._plan.rider_id}-end-{self._tries}"
            try:
                await self._phone.end_shift(self._rider_id, key=key)
            except Refusal as refusal:
                if refusal.code == "run-not-empty":
                    await self._refresh()
                    await self._clock.sleep(ASKS_AGAIN_S)
                    return False
                # Its end had come by the service's clock already.
        self._on_shift = False
        return True

    async def _go_home(self) -> None:
        if self._day.world.pockets[self._plan.rider_id]:
            await self._remit()

    def _time_to_go(self) -> bool:
        if self._day.over.is_set():
            return True
        if self._plan.stays:
            return False
        return self._clock.now() >= self._day.at(self._plan.off_s)

    # --- The phone

    async def _listen(self) -> None:
        """Keep the phone connected, except for the minutes in which it has no network."""
        async with asyncio.TaskGroup() as answers:
            while True:
                self._receiving = asyncio.create_task(self._receive(answers))
                try:
                    await asyncio.wait([self._receiving])
                finally:
                    self._receiving.cancel()
                    await asyncio.wait([self._receiving])
                if not self._receiving.cancelled():
                    self._receiving.result()
                await self._clock.sleep(self._dark_s)
                self._online.set()
                await self._refresh()

    async def _receive(self, answers: asyncio.TaskGroup) -> None:
        inbox = self._day.wire.inbox(
            f"/v1/riders/{self._rider_id}/socket",
            token=self._day.signs("rider", self._rider_id),
            device_id=f"phone-{self._rider_id}",
        )
        async with inbox as messages:
            async for message in messages:
                self._show(message, answers)

    def _deaf(self, listening: asyncio.Task[None]) -> None:
        if not listening.cancelled() and listening.exception() is not None:
            self._day.world.wonders.append(
                f"the phone of {self._plan.rider_id} went silent: {listening.exception()!r}"
            )

    def _show(self, message: Message, answers: asyncio.TaskGroup) -> None:
        data = message.data
        if message.type in ("snapshot", "run.changed"):
            self._hear(data)
        elif message.type == "shift.changed":
            self._on_shift = data["shift"] is not None
            self._news.set()
        elif message.type == "parcel.cancelled":
            self._day.count(f"parcels taken away: {data['outcome']}")
        offer = data.get("offer") if message.type in ("snapshot", "offer.opened") else None
        if offer:
            answers.create_task(self._answer(offer))

    async def _answer(self, offer: Mapping[str, Any]) -> None:
        """Say yes or no well within the offer's time."""
        offer_id = offer["offer_id"]
        left_s = seconds(offer["expires_at"]) - self._clock.now()
        if left_s <= 0:
            self._day.count("offers seen too late")
            return
        dice = chance(self._day.plan.seed, "offer", offer_id, self._plan.rider_id)
        await self._clock.sleep(min(dice.uniform(2.0, 8.0), left_s * OFFER_SHARE))
        declines = dice.random() < self._plan.declines or (
            self._time_to_go() and not self._plan.stays
        )
        try:
            if declines:
                self._day.count("offers declined")
                await self._phone.decline_offer(
                    self._rider_id, offer_id, "too far", key=f"{offer_id}-decline"
                )
                return
            reply = await self._phone.accept_offer(
                self._rider_id, offer_id, key=f"{offer_id}-accept"
            )
        except ProblemError as no:
            self._day.count(f"offers lost: {no.code if isinstance(no, Refusal) else 'no answer'}")
            return
        self._day.count("offers accepted")
        self._learn(reply)
        if dice.random() < self._plan.goes_dark:
            self._go_dark(dice.uniform(60.0, 240.0))

    def _go_dark(self, for_s: float) -> None:
        """No network for a while: the socket is cut, nothing is told, no button works."""
        self._day.count("phones without network")
        self._dark_s = for_s
        self._online.clear()
        if self._receiving is not None:
            self._receiving.cancel()

    def _hear(self, document: Mapping[str, Any]) -> None:
        """The run as a message of the inbox told it."""
        run = document.get("run", document)
        if "stops" in run:
            parcels = [_parcel(parcel) for parcel in run["parcels"]]
            self._have(parcels, [_stop(stop) for stop in run["stops"]])

    def _learn(self, answer: models.Rider) -> None:
        """The run as the service just answered."""
        parcels = [_parcel_of(one) for one in answer.parcels]
        self._have(parcels, [(stop.kind, stop.parcel_id) for stop in answer.stops])

    def _have(self, parcels: list[Parcel], stops: list[tuple[str, str]]) -> None:
        self._parcels = {parcel.parcel_id: parcel for parcel in parcels}
        self._stops = stops
        for parcel in self._parcels.values():
            if parcel.state in IN_HAND:
                self._day.world.carry(parcel.parcel_id, self._plan.rider_id)
        if self._parcels:
            self._day.carrying.add(self._plan.rider_id)
        else:
            self._day.carrying.discard(self._plan.rider_id)
        self._news.set()

    async def _refresh(self) -> None:
        """Look at the phone's state anew."""
        with suppress(ProblemError):
            self._learn(await self._phone.rider(self._rider_id))

    # --- Stops

    async def _do(self, kind: str, parcel_id: str) -> None:
        parcel = self._parcels.get(parcel_id)
        if parcel is None:
            await self._refresh()
            return
        goal = parcel.drop_off if kind == "drop_off" else parcel.pick_up
        if not await self._travel(goal, (kind, parcel_id)):
            return
        try:
            if kind == "pick_up":
                await self._pick_up(parcel)
            elif kind == "drop_off":
                await self._drop_off(parcel)
            else:
                await self._give_back(parcel)
        except Refusal as refusal:
            self._day.count(f"rider steps refused: {refusal.code}")
            await self._refresh()
            await self._wait(ASKS_AGAIN_S)

    async def _travel(self, goal: Point, stop: tuple[str, str]) -> bool:
        """Ride there in a straight line; False when the stop was taken out on the way."""
        while (left_m := distance_m(self._position, goal)) > 1.0:
            step_s = min(STILL_HERE_S, max(STEP_S, STEP_REAL_S_MIN * self._clock.speed))
            needed_s = left_m / self._plan.speed_mps
            began = self._clock.now()
            await self._clock.sleep(min(step_s, needed_s))
            ridden_s = max(self._clock.now() - began, min(step_s, needed_s))
            self._position = towards(self._position, goal, ridden_s * self._plan.speed_mps)
            await self._tell_position()
            if not self._stops or self._stops[0] != stop:
                return False
        await self._online.wait()
        return bool(self._stops) and self._stops[0] == stop

    async def _pick_up(self, parcel: Parcel) -> None:
        """Ask at the counter until the parcel is there; or the clerk hands it over first."""
        if parcel.state == "accepted":
            await self._step(parcel, "arrive-at-store", self._phone.arrive_at_store)
            await self._wait(AT_THE_COUNTER_S, for_news=False)
        while self._state(parcel) in ("accepted", "at_store"):
            try:
                await self._step(parcel, "pick-up", self._phone.pick_up)
            except Refusal as refusal:
                if refusal.code in ("unknown-parcel", "wrong-rider"):
                    raise
                await self._wait(max(ASKS_AGAIN_S, ASKS_AGAIN_REAL_S_MIN * self._clock.speed))
                await self._online.wait()

    async def _drop_off(self, parcel: Parcel) -> None:
        if self._state(parcel) == "picked_up":
            await self._step(parcel, "arrive-at-customer", self._phone.arrive_at_customer)
        trace = self._day.world.trace_of_fulfilment(parcel.parcel_id)
        door = trace.plan.door if trace is not None else "opens"
        await self._wait(ABSENT_S if door == "absent" else AT_THE_DOOR_S, for_news=False)
        await self._online.wait()
        if door != "opens":
            self._day.count(f"deliveries failed: {door}")
            await self._step(parcel, "fail", self._phone.fail, reason=door)
            return
        await self._deliver(parcel, trace.plan.note_value if trace is not None else 0)

    async def _deliver(self, parcel: Parcel, note: int) -> None:
        """Take exactly what is due: the sum itself, or a note and the change for it."""
        current = self._parcels.get(parcel.parcel_id, parcel)
        due = current.cash_due
        received = due if not due or not note else -(-due // note) * note
        given = {"cash_received": received, "change": received - due}
        try:
            await self._step(parcel, "deliver", self._phone.deliver, **given)
        except Refusal as refusal:
            if refusal.code == "wrong-cash":
                await self._refresh()
            raise
        now = self._clock.now()
        if due:
            self._day.world.take_cash(parcel.parcel_id, due, rider_id=self._plan.rider_id)
        self._day.world.hand_out(parcel.parcel_id, now)

    async def _give_back(self, parcel: Parcel) -> None:
        """Put the parcel on its store's counter and wait until a clerk has checked it."""
        if parcel.parcel_id not in self._on_counter:
            self._on_counter.add(parcel.parcel_id)
            handed = Handed("return", parcel.parcel_id)
            self._day.world.counters[parcel.store_id].put_nowait(handed)
            await handed.done.wait()
        await self._wait(ASKS_AGAIN_S)
        await self._refresh()

    async def _step(
        self, parcel: Parcel, step: str, act: Callable[..., Awaitable[models.Rider]], **given: Any
    ) -> None:
        """One button of the run; its answer is the whole run as it is now."""
        self._tries += 1
        key = f"{parcel.parcel_id}-{step}-{self._rider_id}-{self._tries}"
        self._learn(await act(self._rider_id, parcel.parcel_id, key=key, **given))

    def _state(self, parcel: Parcel) -> str:
        known = self._parcels.get(parcel.parcel_id)
        return known.state if known is not None else "gone"

    # --- Cash

    @property
    def _cash_full(self) -> int:
        return max(1, int(self._plan.cash_limit * REMITS_AT_SHARE))

    async def _remit(self) -> None:
        """Hand the cash in at the shop's cashier; now and then the count is not what it should be,
        which the service must book as a difference."""
        rider_id = self._plan.rider_id
        owed = self._day.world.pockets[rider_id]
        self._remittances += 1
        dice = chance(self._day.plan.seed, "remittance", rider_id, self._remittances)
        amount = owed
        if dice.random() < self._plan.miscounts:
            amount = max(0, owed - dice.randint(1, 300))
        zone = self._plan.dispatch_zone
        store = next(one for one in self._day.plan.stores if one.dispatch_zone == zone)
        cashier = self._day.client("store", store.store_id)
        await cashier.remit(
            rider_id,
            amount,
            owed=owed,
            reason="" if amount == owed else "counted twice",
            key=f"{rider_id}-remittance-{self._remittances}",
        )
        self._day.world.remit(rider_id, amount)
        self._day.count("remittances")

    # --- Time and place

    async def _wait(self, for_s: float, *, for_news: bool = True) -> None:
        """Rest; with ``for_news`` no longer than until the phone shows something."""
        until = self._clock.now() + for_s
        if for_news:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._clock.real_s(for_s)):
                    await _first_of(self._news, self._day.over if not self._stops else None)
        else:
            await self._clock.sleep_until(until)
        if self._clock.now() - self._told_at >= STILL_HERE_S:
            await self._tell_position()

    async def _tell_position(self) -> None:
        """Where the rider is; a lost one does not matter, the next follows."""
        if not self._online.is_set():
            return
        self._told_at = self._clock.now()
        with suppress(ProblemError):
            await self._telling.move(self._rider_id, self._position.lat, self._position.lon)


async def _first_of(*events: asyncio.Event | None) -> None:
    """Wait until one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _parcel(document: Mapping[str, Any]) -> Parcel:
    inner = document.get("parcel", document)
    return Parcel(
        parcel_id=inner["parcel_id"],
        store_id=inner["store_id"],
        pick_up=_point(inner["pick_up"]),
        drop_off=_point(inner["drop_off"]),
        cash_due=int(document.get("cash_due", inner["cash_due"])),
        state=document["state"],
    )


def _parcel_of(one: models.RunParcel) -> Parcel:
    goods = one.parcel
    return Parcel(
        parcel_id=goods.parcel_id,
        store_id=goods.store_id,
        pick_up=Point(goods.pick_up.lat, goods.pick_up.lon),
        drop_off=Point(goods.drop_off.lat, goods.drop_off.lon),
        cash_due=one.cash_due,
        state=one.state,
    )


def _stop(stop: Any) -> tuple[str, str]:
    if isinstance(stop, Mapping):
        return stop["kind"], stop["parcel_id"]
    return stop[0], stop[1]


def _point(document: Mapping[str, float]) -> Point:
    return Point(document["lat"], document["lon"])
