"""The people of one store: they live by their tablet, pick line by line, and mind the counter."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.client import ProblemError, Refusal, models
from simulator.day import Day
from simulator.plan import StorePlan, chance
from simulator.wire import Message
from simulator.world import Handed

__all__ = ["Clerk"]

OPEN = ("new", "accepted", "picking", "ready", "picked_up", "returning")
UNKNOWN = "unknown"
"""A ticket that left the tablet while it was not connected; the service knows how."""
SHORTS = {
    "missing": "lines picked short",
    "substitute_refused": "substitutes refused",
    "unwanted": "goods not wanted",
}
"""Why not all of a line is packed, as the service knows it; what the day's report calls it."""
COLLECT_TRIES = 3
CHECKS_RETURN_S = 45.0
ANSWERS_CANCEL_S = 20.0


@dataclass(slots=True)
class Ticket:
    """What the tablet shows of one ticket. ``news`` is set whenever that changes."""

    fulfilment_id: str
    order_id: str
    lines: tuple[Mapping[str, Any], ...]
    progress: Mapping[str, Any]
    news: asyncio.Event = field(default_factory=asyncio.Event)
    packed: bool = False

    @property
    def state(self) -> str:
        """As the store last said."""
        return str(self.progress["state"])

    def learn(self, progress: Mapping[str, Any]) -> None:
        """The tablet shows something new."""
        self.progress = progress
        self.news.set()


class Gone(Exception):
    """The ticket is no longer ours to work on (cancelled, given to another store)."""


class Clerk:
    """One store's staff behind one tablet. ``work`` runs until it is cancelled."""

    def __init__(self, plan: StorePlan, day: Day) -> None:
        self._plan = plan
        self._ways = plan.clerk
        self._day = day
        self._clock = day.clock
        self._counter = day.client("store", plan.store_id)
        self._tickets: dict[str, Ticket] = {}
        self.store_id = plan.store_id
        self.last_offset = 0
        """The newest message that the tablet has shown."""

    async def work(self) -> None:
        """Mind the tablet and the counter."""
        async with asyncio.TaskGroup() as duties:
            duties.create_task(self._mind_tablet(duties))
            duties.create_task(self._mind_counter(duties))

    async def _duty(self, duty: Coroutine[Any, Any, None], about: str) -> None:
        """One thing that goes wrong does not close the shop; the audit will tell."""
        try:
            await duty
        except Exception as trouble:
            self._day.world.wonders.append(f"{self.store_id}, {about}: {trouble!r}")

    # --- The tablet

    async def _mind_tablet(self, duties: asyncio.TaskGroup) -> None:
        inbox = self._day.wire.inbox(
            f"/v1/stores/{self.store_id}/socket",
            token=self._day.signs("store", self.store_id),
            device_id=f"tablet-{self.store_id}",
        )
        async with inbox as messages:
            async for message in messages:
                self._show(message, duties)

    def _show(self, message: Message, duties: asyncio.TaskGroup) -> None:
        """One message on the screen; offsets are dense, whatever happened to the connection."""
        data = message.data
        if message.type == "snapshot":
            self._show_all(data, duties)
        else:
            expected = self.last_offset + 1
            if message.offset != expected:
                self._day.world.wonders.append(
                    f"the tablet of {self.store_id} got message {message.offset}, not {expected}"
                )
            self._show_one(message.type, data, duties)
        self.last_offset = message.offset

    def _show_all(self, snapshot: Mapping[str, Any], duties: asyncio.TaskGroup) -> None:
        shown = {ticket["fulfilment_id"]: ticket for ticket in snapshot["tickets"]}
        for document in shown.values():
            self._take(document, duties)
        for finished in snapshot.get("closed", ()):
            self._day.world.tickets_seen[self.store_id].add(finished["fulfilment_id"])
            self._close(finished["fulfilment_id"], finished["state"])
        for fulfilment_id in [known for known in self._tickets if known not in shown]:
            self._close(fulfilment_id, UNKNOWN)

    def _show_one(self, kind: str, data: Mapping[str, Any], duties: asyncio.TaskGroup) -> None:
        if kind == "ticket.opened":
            self._take(data["ticket"], duties)
        elif kind == "ticket.closed":
            self._close(data["closed"]["fulfilment_id"], data["closed"]["state"])
        elif "progress" in data:
            ticket = self._tickets.get(data["fulfilment_id"])
            if ticket is not None:
                ticket.learn(data["progress"])

    def _take(self, document: Mapping[str, Any], duties: asyncio.TaskGroup) -> None:
        fulfilment_id = document["fulfilment_id"]
        known = self._tickets.get(fulfilment_id)
        if known is not None:
            known.learn(document["progress"])
            return
        self._day.world.tickets_seen[self.store_id].add(fulfilment_id)
        ticket = Ticket(
            fulfilment_id, document["order_id"], tuple(document["lines"]), document["progress"]
        )
        self._tickets[fulfilment_id] = ticket
        duties.create_task(self._duty(self._serve(ticket), fulfilment_id))

    def _close(self, fulfilment_id: str, state: str) -> None:
        ticket = self._tickets.pop(fulfilment_id, None)
        if ticket is not None:
            ticket.learn({**ticket.progress, "state": state})

    # --- One ticket

    async def _serve(self, ticket: Ticket) -> None:
        """From *new* to out of the shop."""
        try:
            await self._make_ready(ticket)
            await self._see_off(ticket)
        except (Gone, Refusal):
            await self._answer_cancel(ticket)
        await self._tidy(ticket)

    async def _tidy(self, ticket: Ticket) -> None:
        """A packed parcel that was cancelled over the clerk's head is unpacked again."""
        if not ticket.packed or ticket.fulfilment_id in self._day.world.carriers:
            return
        state = ticket.state
        if state == UNKNOWN:
            try:
                state = (await self._counter.ticket(self.store_id, ticket.fulfilment_id)).state
            except ProblemError:
                return
        if state in ("cancelled", "rejected"):
            ticket.packed = False
            self._day.world.put_back(ticket.fulfilment_id)

    async def _make_ready(self, ticket: Ticket) -> None:
        draw = chance(self._day.plan.seed, "ticket", ticket.fulfilment_id)
        forgets, rejects, shorts = draw.random(), draw.random(), draw.random()
        if ticket.state == "new":
            if forgets < self._ways.forgets:
                self._day.count("tickets forgotten")
                return
            await self._clock.sleep_until(self._accepts_at(ticket))
            if rejects < self._ways.rejects:
                self._day.count("tickets rejected")
                await self._act(ticket, "reject", self._counter.reject_ticket, reason="out of bags")
                return
            prep_s = self._prep_s(ticket)
            await self._act(ticket, "accept", self._counter.accept_ticket, prep_s=prep_s)
        if ticket.state in ("new", "accepted"):
            await self._rest_until(ticket, self._picks_at(ticket))
            await self._act(ticket, "picking", self._counter.start_picking)
        if ticket.state == "picking":
            why = self._customers_word(ticket)
            if shorts < self._ways.shorts:
                why[draw.randrange(len(ticket.lines))] = "missing"
            await self._pick(ticket, why)

    def _customers_word(self, ticket: Ticket) -> dict[int, str]:
        """By line, why the customer lets go of some of it: they refuse a substitute for what is not
        there, or do not want what is."""
        why = {}
        for reason, share in (
            ("unwanted", self._ways.unwanted),
            ("substitute_refused", self._ways.substitutes),
        ):
            draw = chance(self._day.plan.seed, reason, ticket.fulfilment_id)
            if draw.random() < share:
                why[draw.randrange(len(ticket.lines))] = reason
        return why

    async def _pick(self, ticket: Ticket, why: Mapping[int, str]) -> None:
        """Line by line; of those in ``why`` a unit is not packed. A short never leaves the parcel
        empty: that would be a rejection."""
        found = []
        reasons = {}
        left = sum(line["quantity"] for line in ticket.lines)
        for number, line in enumerate(ticket.lines):
            await self._rest_until(ticket, self._clock.now() + self._line_s())
            quantity, reason = line["quantity"], "missing"
            if number in why and left > 1:
                self._day.count(SHORTS[why[number]])
                quantity -= 1
                left -= 1
                reasons[line["sku"]] = reason = why[number]
            found.append((line["sku"], line["quantity"], quantity))
            await self._counter.pick_line(
                self.store_id, ticket.fulfilment_id, line["line_id"], quantity, reason=reason
            )
        await self._rest_until(ticket, self._ready_at(ticket))
        self._day.world.pack(self.store_id, ticket.fulfilment_id, found, reasons)
        try:
            await self._act(ticket, "ready", self._counter.mark_ready)
        except (Refusal, Gone):
            self._day.world.unpack(ticket.fulfilment_id)
            raise
        ticket.packed = True

    async def _see_off(self, ticket: Ticket) -> None:
        """The packed parcel stands on the counter until somebody takes it or it is called back."""
        draw = chance(self._day.plan.seed, "counter", ticket.fulfilment_id)
        presses = draw.random() < self._ways.presses_hand_over
        while ticket.packed and ticket.state == "ready":
            if ticket.progress.get("cancel_asked"):
                raise Gone
            rider_id = ticket.progress.get("rider_id")
            if presses and rider_id and ticket.progress.get("rider_at_store"):
                presses = False
                try:
                    await self._counter.hand_over(
                        self.store_id, ticket.fulfilment_id, rider_id,
                        key=f"{ticket.fulfilment_id}-hand-over",
                    )  # fmt: skip
                    self._day.count("parcels handed over by the clerk")
                except Refusal as refusal:
                    self._day.count(f"hand-overs refused: {refusal.code}")
                continue
            await self._news(ticket)

    async def _answer_cancel(self, ticket: Ticket) -> None:
        """Say whether the goods are held back: they are, unless a rider has them."""
        if not ticket.progress.get("cancel_asked"):
            return
        await self._clock.sleep(ANSWERS_CANCEL_S)
        left = ticket.fulfilment_id in self._day.world.carriers
        try:
            await self._counter.answer_cancel(
                self.store_id, ticket.fulfilment_id, not left,
                key=f"{ticket.fulfilment_id}-held-back",
            )  # fmt: skip
        except Refusal as refusal:
            self._day.count(f"held-back refused: {refusal.code}")
            return
        self._day.count("cancels answered: " + ("left" if left else "held back"))
        if ticket.packed and not left:
            ticket.packed = False
            self._day.world.put_back(ticket.fulfilment_id)

    # --- Pace: the recorded times where there are some

    def _accepts_at(self, ticket: Ticket) -> float:
        trace = self._day.world.by_order_id.get(ticket.order_id)
        if trace is not None and trace.plan.accept_after_s is not None:
            return trace.wanted_at + trace.plan.accept_after_s
        return self._clock.now() + self._ways.accept_after_s

    def _ready_at(self, ticket: Ticket) -> float:
        trace = self._day.world.by_order_id.get(ticket.order_id)
        if trace is not None and trace.plan.ready_after_s is not None:
            return trace.wanted_at + trace.plan.ready_after_s
        return self._clock.now()

    def _picks_at(self, ticket: Ticket) -> float:
        ready_at = self._ready_at(ticket)
        return ready_at - self._line_s() * (len(ticket.lines) + 1)

    def _prep_s(self, ticket: Ticket) -> int:
        work_s = self._line_s() * (len(ticket.lines) + 1)
        return max(0, int(max(work_s, self._ready_at(ticket) - self._clock.now())))

    def _line_s(self) -> float:
        return self._ways.line_s * self._ways.pace

    # --- The counter

    async def _mind_counter(self, duties: asyncio.TaskGroup) -> None:
        counter = self._day.world.counters[self.store_id]
        while True:
            handed = await counter.get()
            if handed.kind == "collect":
                duties.create_task(self._duty(self._give_to_customer(handed), "collect"))
            else:
                duties.create_task(self._duty(self._take_back(handed), "return"))

    async def _give_to_customer(self, handed: Handed) -> None:
        """The customer is there with the code; what is due in cash is taken."""
        fulfilment_id = handed.fulfilment_id
        try:
            due = await self._collect(fulfilment_id, handed.code)
        finally:
            handed.done.set()
        if due is None:
            return
        if due:
            self._day.world.take_cash(fulfilment_id, due, store_id=self.store_id)
        self._day.world.hand_out(fulfilment_id, self._clock.now())
        self._day.count("orders collected")

    async def _collect(self, fulfilment_id: str, code: str) -> int | None:
        """The cash that was taken; None when the goods stay. What is due may change at the last
        moment, so it is looked up anew."""
        for attempt in range(COLLECT_TRIES):
            try:
                due = (await self._counter.ticket(self.store_id, fulfilment_id)).cash_due
                key = f"{fulfilment_id}-{attempt}"
                await self._counter.collect(self.store_id, fulfilment_id, code, cash=due, key=key)
            except Refusal as refusal:
                self._day.count(f"collections refused: {refusal.code}")
                if refusal.code != "wrong-cash":
                    return None
                continue
            return due
        return None

    async def _take_back(self, handed: Handed) -> None:
        """A parcel came back undelivered: check it, book it, put it on the shelf."""
        await self._clock.sleep(CHECKS_RETURN_S)
        fulfilment_id = handed.fulfilment_id
        try:
            ticket = await self._counter.ticket(self.store_id, fulfilment_id)
            broken = self._broken(fulfilment_id, ticket.lines)
            await self._counter.accept_return(
                self.store_id, fulfilment_id, damaged={line.line_id: 1 for line in broken},
                key=f"{fulfilment_id}-returned",
            )  # fmt: skip
        except Refusal as refusal:
            self._day.count(f"returns refused: {refusal.code}")
        else:
            self._day.world.put_back(fulfilment_id, {line.sku: 1 for line in broken})
            self._day.count("parcels taken back")
        finally:
            handed.done.set()

    def _broken(
        self, fulfilment_id: str, lines: Iterable[models.TicketLine]
    ) -> list[models.TicketLine]:
        draw = chance(self._day.plan.seed, "breakage", fulfilment_id)
        if draw.random() >= self._ways.damages:
            return []
        return [line for line in lines if line.picked][:1]

    # --- Speaking to the service

    async def _act(
        self, ticket: Ticket, step: str, act: Callable[..., Awaitable[models.Ticket]], **given: Any
    ) -> None:
        """Press a button of the ticket; its answer is what the tablet shows at once."""
        if ticket.state not in OPEN or ticket.progress.get("cancel_asked"):
            raise Gone
        key = f"{ticket.fulfilment_id}-{step}"
        answer = await act(self.store_id, ticket.fulfilment_id, key=key, **given)
        ticket.progress = {**ticket.progress, **_progress_of(answer)}
        if ticket.state not in OPEN:
            raise Gone

    async def _rest_until(self, ticket: Ticket, at: float) -> None:
        """Wait, with an eye on the tablet. Raises ``Gone`` when the ticket is called back."""
        while True:
            if ticket.state not in OPEN or ticket.progress.get("cancel_asked"):
                raise Gone
            left_s = at - self._clock.now()
            if left_s <= 0:
                return
            ticket.news.clear()
            try:
                async with asyncio.timeout(max(0.001, self._clock.real_s(left_s))):
                    await ticket.news.wait()
            except TimeoutError:
                return

    async def _news(self, ticket: Ticket) -> None:
        await ticket.news.wait()
        ticket.news.clear()


def _progress_of(answer: models.Ticket) -> dict[str, Any]:
    """The part of a ticket's answer that the tablet's progress also holds."""
    names = ("state", "cash_due", "rider_id", "rider_at_store", "cancel_asked")
    return {name: getattr(answer, name) for name in names}
