"""A small world of stores, riders and one dispatch zone, driven step by step without an engine.

Owed sends wait in a bag and are delivered in any order and more than once; an asker may die
between the answer and its own append. The order's side is a script that answers as orders do.
"""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec

from actors import dispatch as dispatch_kind
from actors import rider as rider_kind
from actors import store as store_kind
from actors.engine.kind import Answered, Ask, Context, Kind, Send, Wake
from adapters.travel import StraightLine
from domain import order, rider, store
from domain.catalogue.model import StoreProfile
from domain.errors import DoorstepError, Problem, Refused, error_of
from domain.geo import Position
from domain.store.rules import CASH_SETTLED_S

KINDS: dict[str, Kind] = {
    "store": store_kind.KIND,
    "rider": rider_kind.KIND,
    "dispatch": dispatch_kind.make_kind(StraightLine()),
}
START = 1_700_000_000.0
ZONE = "north"


def profile(store_id: str, lat: float, lon: float) -> StoreProfile:
    return StoreProfile(store_id, f"Store {store_id}", Position(lat, lon), "EUR", (), ZONE)


STORES = {
    "s1": profile("s1", 52.50, 13.40),
    "s2": profile("s2", 52.52, 13.42),
}
VIEWS = SimpleNamespace(stores=STORES)


def ticket(
    fulfilment_id: str = "o1-1",
    *,
    now: float = START,
    cash_due: int = 0,
    delivery: str = "delivery",
    lines: int = 2,
    quantity: int = 2,
    accept_s: float = 300.0,
    drop_off: Position | None = None,
) -> store.OpenTicket:
    order_id = fulfilment_id.rsplit("-", 1)[0]
    return store.OpenTicket(
        fulfilment_id,
        order_id,
        tuple(
            store.TicketLine(f"{order_id}/{n}", f"sku-{n}", f"Thing {n}", quantity)
            for n in range(1, lines + 1)
        ),
        delivery,
        "EUR",
        cash_due,
        now + accept_s,
        now + 2400,
        drop_off or Position(52.51, 13.41),
        "1 Road",
        "Ann",
        "4711",
        "123456" if delivery == "pickup" else "",
    )


@dataclass
class Parcel:
    """What the world's script knows of one fulfilment."""

    store_id: str
    cash_due: int
    picked: bool = False
    ends: list[str] = field(default_factory=list)
    delivered_cash: int = 0


class World:
    """Entities, the bag of owed sends, and a record of everything that happened."""

    def __init__(self, seed: int = 0, *, trouble: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.trouble = trouble
        self.now = START
        self.states: dict[tuple[str, str], Any] = {}
        self.bag: list[tuple[str, str, Send]] = []
        self.events: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.outside: list[Send] = []
        self.parcels: dict[str, Parcel] = {}
        self.cancels: list[tuple[str, str]] = []
        self.refusals: list[str] = []
        self.late_revisions: set[str] = set()
        """Fulfilments whose new sum came after the goods no longer waited for it."""
        self._acts = 0

    # ------------------------------------------------------------ entities

    def state(self, to: str) -> Any:
        kind, entity_id = to.split("/", 1)
        return self.states.get((kind, entity_id))

    def do(self, to: str, command: Any, sender: str = "") -> Any:
        """Ask an entity; raises ``Refused`` as a runtime would."""
        reply = self._do(to, command, sender)
        if isinstance(reply, Problem):
            raise error_of(reply)
        return reply

    def attempt(self, to: str, command: Any, sender: str = "") -> Any:
        """As ``do``; a refusal is noted and comes back as None."""
        try:
            return self.do(to, command, sender)
        except DoorstepError as refused:
            self.refusals.append(refused.code)
            return None

    def _do(self, to: str, command: Any, sender: str) -> Any:
        kind_name, entity_id = to.split("/", 1)
        kind, key = KINDS[kind_name], (kind_name, entity_id)
        self._acts += 1
        answers: tuple[Any, ...] = ()
        while True:
            state = self.states.get(key)
            before = msgspec.msgpack.encode(state)
            context = Context(self.now, entity_id, f"c{self._acts}", sender, VIEWS, answers=answers)
            outcome = kind.decide(state, command, context)
            assert msgspec.msgpack.encode(state) == before, "decide changed the state"
            if not isinstance(outcome, Ask):
                break
            answers += tuple(self._answer(to, *request) for request in outcome.requests)
            if self.rng.random() < self.trouble:
                raise Refused("died", "The asker died before it stored anything.")
        for event in outcome.events:
            state = kind.evolve(state, self._over_the_wire(event, kind.events))
            self.events[key].append(event)
        if state is not None:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=kind.state)
            self.states[key] = state
        for send in outcome.sends:
            self.bag.append((to, f"{to}#{self._acts}", send))
        for tell in outcome.tells:
            if self.rng.random() >= self.trouble:
                self._do(tell.to, tell.command, to)
        return self._over_the_wire(outcome.reply, kind.replies | Problem)

    def _answer(self, asker: str, to: str, command: Any) -> Any:
        try:
            return self._do(to, command, asker)
        except DoorstepError as refused:
            return refused.as_problem()

    @staticmethod
    def _over_the_wire(value: Any, kind: Any) -> Any:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)

    # ------------------------------------------------------------ time and messages

    def later(self, seconds: float) -> None:
        """Let time pass and fire what is due."""
        self.now += seconds
        for (kind_name, entity_id), state in list(self.states.items()):
            if KINDS[kind_name].wake_at(state) <= self.now:
                self._do(f"{kind_name}/{entity_id}", Wake(), "")

    def deliver_one(self) -> None:
        """Deliver any owed send; in trouble it may stay in the bag and come again."""
        index = self.rng.randrange(len(self.bag)) if self.trouble else 0
        sender, _unique, send = self.bag[index]
        if self.rng.random() >= self.trouble:
            self.bag.pop(index)
        self._deliver(sender, send)

    def settle(self) -> None:
        """Deliver everything owed, and what follows from it."""
        for _ in range(10_000):
            if not self.bag:
                return
            self.deliver_one()
        raise AssertionError("the world does not come to rest")

    def _deliver(self, sender: str, send: Send) -> None:
        kind_name = send.to.split("/", 1)[0]
        if kind_name == "order":
            self._order(send)
            return
        if kind_name not in KINDS:
            self.outside.append(send)
            return
        if isinstance(send.command, store.ReviseTicket):
            known = self.state(send.to).tickets.get(send.command.fulfilment_id)
            if known is not None and self.now < known.ready_at + CASH_SETTLED_S:
                self.late_revisions.discard(send.command.fulfilment_id)
        try:
            answer = self._do(send.to, send.command, sender)
        except Refused as refused:
            answer = refused.as_problem()
        if send.wants_answer:
            self._do(sender, Answered(send.to, send.command, answer), "")

    # ------------------------------------------------------------ the order's script

    def open(self, store_id: str, opened: store.OpenTicket) -> None:
        """The order sends a fulfilment to a store."""
        self.parcels[opened.fulfilment_id] = Parcel(store_id, opened.cash_due)
        self._owe(opened.fulfilment_id, opened)

    def cancel(self, fulfilment_id: str) -> str:
        """The customer wants out."""
        to = f"store/{self.parcels[fulfilment_id].store_id}"
        answer: str = self._do(to, store.CancelTicket(fulfilment_id, "changed my mind"), "order/o")
        self.cancels.append((fulfilment_id, answer))
        if answer in ("cancelled", "unknown"):
            self._end(fulfilment_id, "cancelled")
        return answer

    def _owe(self, fulfilment_id: str, command: Any) -> None:
        to = f"store/{self.parcels[fulfilment_id].store_id}"
        self.bag.append(("order/o", f"order#{self._acts}", Send(to, command)))

    def _order(self, send: Send) -> None:
        command = send.command
        parcel = self.parcels[command.fulfilment_id]
        self.outside.append(send)
        match command:
            case order.RecordPicked():
                short = any(units < 2 for _line, units in command.picked)
                if short and parcel.cash_due and not parcel.picked:
                    parcel.cash_due -= 10
                    self.late_revisions.add(command.fulfilment_id)
                    revised = store.ReviseTicket(command.fulfilment_id, parcel.cash_due, self.now)
                    self._owe(command.fulfilment_id, revised)
                parcel.picked = True
            case order.RecordRejected():
                self._end(command.fulfilment_id, "rejected")
            case order.RecordDelivered():
                if "delivered" not in parcel.ends:
                    parcel.delivered_cash = command.cash
                self._end(command.fulfilment_id, "delivered")
                self._owe(
                    command.fulfilment_id, store.CloseTicket(command.fulfilment_id, "delivered")
                )
            case order.RecordReturned(accepted=True):
                gone = self.state(f"store/{parcel.store_id}").gone
                self._end(command.fulfilment_id, gone[command.fulfilment_id][1])

    def _end(self, fulfilment_id: str, how: str) -> None:
        ends = self.parcels[fulfilment_id].ends
        if {how, *ends} == {"rejected", "cancelled"}:
            return  # the cancel met a ticket whose rejection was still on its way
        if how not in ends:
            ends.append(how)

    # ------------------------------------------------------------ looking

    def sent(self, command_type: type) -> list[Any]:
        """Commands of a type that reached the order or the outside."""
        return [send.command for send in self.outside if isinstance(send.command, command_type)]

    def owed(self, command_type: type) -> list[Any]:
        """Commands of a type still in the bag."""
        return [send.command for _, _, send in self.bag if isinstance(send.command, command_type)]

    def happened(self, to: str, event_type: type) -> list[Any]:
        kind, entity_id = to.split("/", 1)
        return [event for event in self.events[(kind, entity_id)] if isinstance(event, event_type)]


def shift(position: Position | None = None, **changes: Any) -> rider.StartShift:
    facts = {"capacity": 3, "cash_limit": 10_000} | changes
    return rider.StartShift(ZONE, "bike", position or Position(52.501, 13.401), **facts)
