"""A small world for one order: the real order, stock and customer kinds, scripted stores and
providers, played synchronously. Owed effects wait in a queue until they are delivered."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import msgpack

from actors import campaign, customer, inventory
from actors import order as order_kind
from actors.engine.kind import Answered, Ask, Context, Decision, Kind, Send, Wake
from actors.views import Views
from domain import payment, store
from domain.catalogue.events import ChannelPut, SkuPut, StorePut
from domain.catalogue.model import (
    ChannelPolicy,
    CodRule,
    Component,
    Freight,
    Sku,
    StoreProfile,
    Zone,
)
from domain.errors import DoorstepError, Problem
from domain.geo import Circle, Position
from domain.inventory.commands import Lock, Receive, StockItem
from domain.order import commands
from domain.order.state import OrderState

KINDS: dict[str, Kind] = {
    "order": order_kind.KIND,
    "inventory": inventory.KIND,
    "customer": customer.KIND,
    "campaign": campaign.KIND,
}
ORDER_ID = "oaaaaaaaaaaaaaaaaaaaa"
HOME = Position(52.50, 13.40)
STORES = ("s-1", "s-2", "s-3")
START = 1_000_000.0


@dataclass
class World:
    """``stock``: store -> SKU -> units received at the start. The order under test is
    ``ORDER_ID``; the nearest store is ``s-1``."""

    stock: dict[str, dict[str, int]] = field(
        default_factory=lambda: {name: {"tea": 10, "cup": 10, "pot": 10} for name in STORES}
    )
    policy: ChannelPolicy = field(
        default_factory=lambda: ChannelPolicy("app", cod=CodRule(limit=100_000))
    )
    freight: Freight = field(default_factory=lambda: Freight(base=299))
    now: float = START
    states: dict[str, Any] = field(default_factory=dict)
    facts: list[Any] = field(default_factory=list)
    """The order's events."""
    queue: list[tuple[str, Send]] = field(default_factory=list)
    sent: list[Send] = field(default_factory=list)
    """Every owed effect of the order, in order."""
    cancel_answers: dict[str, str] = field(default_factory=dict)
    """What a store answers to CancelTicket, by fulfilment id; "cancelled" when not listed."""
    before_lock: Callable[["World", str, Lock], None] | None = None
    provider_says: Callable[[Any], Any] | None = None
    commands: int = 0

    def __post_init__(self) -> None:
        self.views = Views(pickup_secret=b"secret of pick-up codes")
        self._put(SkuPut(Sku("tea", "Tea", 333, weight_g=100)))
        self._put(SkuPut(Sku("cup", "Cup", 1000, weight_g=300)))
        self._put(SkuPut(Sku("pot", "Pot", 2500, weight_g=900)))
        parts = (Component("tea", 2), Component("cup", 1))
        self._put(SkuPut(Sku("set", "Tea set", 1499, components=parts)))
        for number, name in enumerate(STORES):
            where = Position(HOME.lat + 0.001 * number, HOME.lon)
            zone = Zone(f"z-{name}", 1, Circle(where, 5000.0), 1800)
            self._put(StorePut(StoreProfile(name, name, where, "EUR", (zone,), "d-1",
                                            freight=self.freight)))  # fmt: skip
        self._put(ChannelPut(self.policy))
        for name, goods in self.stock.items():
            listed = {"tea": 0, "cup": 0, "pot": 0, **goods}
            items = tuple(StockItem(sku, units) for sku, units in listed.items())
            self.ask(f"inventory/{name}", Receive("open", items))

    def _put(self, event: Any) -> None:
        self.views.apply("catalogue", "", event, self.now)

    # Talking ----------------------------------------------------------------------------------

    @property
    def order(self) -> OrderState:
        state: OrderState = self.states[f"order/{ORDER_ID}"]
        return state

    def tell(self, command: Any) -> Any:
        """A command to the order; effects stay queued."""
        return self.ask(f"order/{ORDER_ID}", command)

    def tell_and_run(self, command: Any) -> Any:
        """A command to the order, and all that follows from it."""
        reply = self.tell(command)
        self.run()
        return reply

    def ask(self, to: str, command: Any, command_id: str = "") -> Any:
        kind, _, entity = to.partition("/")
        if kind == "store":
            return self._store(command)
        self.commands += 1
        command_id = command_id or f"command-{self.commands}"
        if isinstance(command, Lock) and self.before_lock is not None:
            hook, self.before_lock = self.before_lock, None
            hook(self, entity, command)
        answers: tuple[Any, ...] = ()
        memo = None
        while True:
            before = msgpack.encode(self.states.get(to))
            context = Context(self.now, entity, command_id, "", self.views, answers, memo)
            outcome = KINDS[kind].decide(self.states.get(to), command, context)
            assert msgpack.encode(self.states.get(to)) == before, "decide changed the state"
            if isinstance(outcome, Decision):
                return self._apply(to, outcome)
            assert isinstance(outcome, Ask)
            answers += tuple([self._asked(each, wish) for each, wish in outcome.requests])
            memo = outcome.memo

    def run(self) -> None:
        """Deliver everything that is owed until nothing is."""
        while self.queue:
            self.deliver(0)

    def deliver(self, index: int, repeat: bool = False) -> None:
        """Deliver one owed effect, and the answer if one is wanted; ``repeat`` leaves it owed."""
        sender, send = self.queue[index] if repeat else self.queue.pop(index)
        kind = send.to.partition("/")[0]
        if kind == "notify":
            answer: Any = True
        elif kind == "provider":
            answer = self._provider(send.command)
        else:
            answer = self._try(send.to, send.command)
        if send.wants_answer and answer is not None:
            self.ask(sender, Answered(send.to, send.command, answer))

    def wake(self, at: float) -> None:
        """Let time pass up to ``at``; every wake-up on the way fires."""
        while True:
            wake_at = KINDS["order"].wake_at(self.order)
            if wake_at > at:
                break
            self.now = max(self.now, wake_at)
            self.tell(Wake())
            self.run()
        self.now = max(self.now, at)

    # What others do ---------------------------------------------------------------------------

    def _asked(self, to: str, question: Any) -> Any:
        """The answer to a question. One that was answered with trouble is asked again, as the
        engine does."""
        answer = self._try(to, question)
        trouble = isinstance(answer, Problem) and answer.retryable
        return self._try(to, question) if trouble else answer

    def _try(self, to: str, command: Any) -> Any:
        try:
            return self.ask(to, command)
        except DoorstepError as error:
            return error.as_problem()

    def _apply(self, to: str, decision: Decision) -> Any:
        kind, _, entity = to.partition("/")
        for event in decision.events:
            state = KINDS[kind].evolve(self.states.get(to), event)
            # a state must survive being stored at any moment
            self.states[to] = msgpack.decode(msgpack.encode(state), type=KINDS[kind].state)
            if kind in ("inventory", "campaign"):
                self.views.apply(kind, entity, event, self.now)
        if to == f"order/{ORDER_ID}":
            self.facts += decision.events
            self.sent += decision.sends
        self.queue += [(to, send) for send in decision.sends]
        return decision.reply

    def _store(self, command: Any) -> Any:
        if isinstance(command, store.CancelTicket):
            return self.cancel_answers.get(command.fulfilment_id, "cancelled")
        return True

    def _provider(self, command: Any) -> Any:
        if self.provider_says is not None:
            return self.provider_says(command)
        if isinstance(command, payment.RefundPayment):
            return payment.ProviderAnswer(
                command.payment_id, "refunded", amount=command.amount, refund_id=command.refund_id
            )
        return payment.ProviderAnswer(command.payment_id, "pending")

    # Reading ----------------------------------------------------------------------------------

    def sends_of(self, kind: type) -> list[Any]:
        """The commands of one type that the order owed, oldest first."""
        return [send.command for send in self.sent if isinstance(send.command, kind)]

    def facts_of(self, kind: type) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def cell(self, store_id: str, sku: str) -> tuple[int, int]:
        """(on hand, locked)."""
        cell = self.states[f"inventory/{store_id}"].cells[sku]
        return cell.on_hand, cell.locked

    def locked_anywhere(self) -> int:
        return sum(
            cell.locked for name in self.stock
            for cell in self.states[f"inventory/{name}"].cells.values()
        )  # fmt: skip


def place(*goods: tuple[str, int], **changes: Any) -> commands.Place:
    """An order for one cup, delivered and paid online, unless said otherwise."""
    wanted = goods or (("cup", 1),)
    facts: dict[str, Any] = {
        "channel": "app",
        "customer": commands.Customer("c-1", "Ada", "+4915112345678"),
        "lines": tuple(commands.PlaceLine(sku, units) for sku, units in wanted),
        "currency": "EUR",
        "address": commands.Address(HOME, "1 Harbour Street"),
    }
    return commands.Place(**{**facts, **changes})


def payment_of(number: int = 1) -> str:
    return f"{ORDER_ID}-p{number}"


def part_id(number: int = 1) -> str:
    return f"{ORDER_ID}-{number}"


def line_id(number: int = 1) -> str:
    return f"{ORDER_ID}/{number}"


def captured(amount: int, number: int = 1, **changes: Any) -> commands.RecordPayment:
    facts: dict[str, Any] = {
        "payment_id": payment_of(number), "provider": "sandbox", "provider_reference": "ref",
        "status": "captured", "amount": amount, "currency": "EUR",
    }  # fmt: skip
    return commands.RecordPayment(**{**facts, **changes})


def placed_world(*goods: tuple[str, int], **changes: Any) -> World:
    """A world whose order is placed."""
    world_changes = {
        key: changes.pop(key) for key in ("stock", "policy", "freight") if key in changes
    }
    world = World(**world_changes)
    world.tell_and_run(place(*goods, **changes))
    return world


def paid_world(*goods: tuple[str, int], **changes: Any) -> World:
    """A world whose order is placed and paid."""
    world = placed_world(*goods, **changes)
    world.tell_and_run(commands.StartPayment(payment_of(), "sandbox"))
    world.tell_and_run(captured(world.order.total))
    return world


def refused(world: World, command: Any) -> Problem:
    """The refusal of a command that must be refused, and must change nothing."""
    before = len(world.facts)
    try:
        world.tell(command)
    except DoorstepError as error:
        assert len(world.facts) == before
        return error.as_problem()
    raise AssertionError(f"{command} was not refused")
