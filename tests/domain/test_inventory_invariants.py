"""Units are conserved whatever happens to a store's stock: an independent book beside the state."""

from collections import Counter
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from actors.engine.kind import Answered, Context, Decision, Wake
from actors.inventory import KIND
from domain import inventory
from domain.errors import Refused
from domain.inventory.commands import LockItem, ReturnItem, StockItem
from domain.inventory.events import (
    Counted,
    Deducted,
    KeptOnShelf,
    Locked,
    Received,
    Released,
    Returned,
    ShortCorrected,
    TransferredOut,
)
from domain.inventory.state import InventoryState

SKUS = ("milk", "tea")
CHANNELS = ("app", "market")
skus = st.sampled_from(SKUS)
units = st.integers(1, 6)


class StockMachine(RuleBasedStateMachine):
    """Commands in any order, repeated at random; the book is written from events alone."""

    fulfilments = Bundle("fulfilments")

    def __init__(self) -> None:
        super().__init__()
        self.state: InventoryState | None = None
        self.now = 1_000.0
        self.number = 0
        self.on_hand: Counter[str] = Counter()
        self.locked: dict[str, Counter[str]] = {}
        self.sold: dict[str, Counter[str]] = {}
        self.ended: dict[str, set[str]] = {}
        self.last: Any = None

    @initialize()
    def open_store(self) -> None:
        self.do(inventory.Receive("first", tuple(StockItem(sku, 10) for sku in SKUS)))

    def do(self, command: Any) -> bool:
        """Whether it was accepted. What each accepted command leads to is also checked."""
        try:
            decision = KIND.decide(self.state, command, Context(self.now, "s-1", "c"))
        except Refused:
            return False
        assert isinstance(decision, Decision)
        before = {} if self.state is None else {
            sku: (cell.sellable, {n: a.free for n, a in cell.allotments.items()})
            for sku, cell in self.state.cells.items()
        }  # fmt: skip
        for event in decision.events:
            self.state = KIND.evolve(self.state, event)
            self.book(event, before)
        self.left_is_true(decision.events)
        self.last = command
        return True

    def left_is_true(self, events: Any) -> None:
        """What an event says is left agrees with the state after it."""
        assert self.state is not None
        for event in events:
            for left in getattr(event, "left", ()):
                cell = self.state.cells[left.sku]
                assert left.sellable == cell.sellable
                free = {name: held.free for name, held in cell.allotments.items()}
                assert {name: n for name, n in left.channels if n} == {
                    name: n for name, n in free.items() if n
                }

    def book(self, event: Any, before: Any) -> None:
        match event:
            case Received(_, items):
                self.on_hand.update({item.sku: item.quantity for item in items})
            case TransferredOut(_, _, items):
                self.on_hand.subtract({item.sku: item.quantity for item in items})
            case Counted(_, sku, _, _, difference):
                self.on_hand[sku] += difference
            case Locked(fulfilment_id, _, items):
                taken: Counter[str] = Counter()
                for item in items:
                    taken[item.sku] += item.quantity
                for sku, quantity in taken.items():
                    sellable, free = before[sku]
                    assert quantity <= sellable + free.get(event.channel, 0)
                self.locked[fulfilment_id] = taken
            case Released(fulfilment_id):
                assert "sold" not in self.ended.setdefault(fulfilment_id, set())
                self.ended[fulfilment_id].add("released")
                del self.locked[fulfilment_id]
            case Deducted(fulfilment_id):
                self.ended.setdefault(fulfilment_id, set()).add("sold")
                sale = self.locked.pop(fulfilment_id)
                self.on_hand.subtract(sale)
                self.sold[fulfilment_id] = sale
            case Returned(_, fulfilment_id, items):
                for item in items:
                    self.sold[fulfilment_id][item.sku] -= item.quantity
                    assert self.sold[fulfilment_id][item.sku] >= 0
                    self.on_hand[item.sku] += item.quantity
            case ShortCorrected(_, fulfilment_id, items, was_locked):
                for item in items:
                    book = self.locked if was_locked else self.sold
                    book[fulfilment_id][item.sku] -= item.quantity
                    assert book[fulfilment_id][item.sku] >= 0
                    if was_locked:
                        self.on_hand[item.sku] -= item.quantity

            case KeptOnShelf(_, fulfilment_id, items, was_locked):
                for item in items:
                    book = self.locked if was_locked else self.sold
                    book[fulfilment_id][item.sku] -= item.quantity
                    assert book[fulfilment_id][item.sku] >= 0
                    if not was_locked:
                        self.on_hand[item.sku] += item.quantity

    @rule(target=fulfilments, data=st.data(), wanted=st.dictionaries(skus, units, min_size=1))
    def lock(self, data: st.DataObject, wanted: dict[str, int]) -> tuple[str, Any]:
        self.number += 1
        name = f"o{self.number}-1"
        items = tuple(LockItem(f"o{self.number}/{sku}", sku, n) for sku, n in wanted.items())
        expires_at = data.draw(st.sampled_from((None, self.now + 100)))
        channel = data.draw(st.sampled_from(CHANNELS))
        command = inventory.Lock(name, f"o{self.number}", items, expires_at, channel)
        self.do(command)
        return name, command

    @rule(fulfilment=fulfilments)
    def lock_again(self, fulfilment: tuple[str, Any]) -> None:
        name, command = fulfilment
        held = name in self.locked or name in self.sold
        book = (self.on_hand.copy(), {key: value.copy() for key, value in self.locked.items()})
        self.do(command)
        if held:
            assert (self.on_hand, self.locked) == book

    @rule(fulfilment=fulfilments)
    def release(self, fulfilment: tuple[str, Any]) -> None:
        accepted = self.do(inventory.Release(fulfilment[0]))
        assert accepted == (fulfilment[0] not in self.sold)

    @rule(fulfilment=fulfilments)
    def deduct(self, fulfilment: tuple[str, Any]) -> None:
        may = fulfilment[0] in self.locked or fulfilment[0] in self.sold
        assert self.do(inventory.Deduct(fulfilment[0])) == may

    @rule(fulfilment=fulfilments, sku=skus, quantity=units, damaged=st.integers(0, 2))
    def give_back(self, fulfilment: tuple[str, Any], sku: str, quantity: int, damaged: int) -> None:
        name, command = fulfilment
        item = ReturnItem(f"{command.order_id}/{sku}", sku, quantity, damaged)
        self.number += 1
        self.do(inventory.Return(f"r{self.number}", name, (item,)))

    @rule(fulfilment=fulfilments, sku=skus, quantity=units)
    def short_pick(self, fulfilment: tuple[str, Any], sku: str, quantity: int) -> None:
        name, command = fulfilment
        self.number += 1
        items = (LockItem(f"{command.order_id}/{sku}", sku, quantity),)
        sellable = self.state.cells[sku].sellable if self.state else 0
        if self.do(inventory.CorrectShort(f"k{self.number}", name, items)):
            assert self.state is not None
            assert self.state.cells[sku].sellable == sellable

    @rule(fulfilment=fulfilments, sku=skus, quantity=units)
    def unwanted(self, fulfilment: tuple[str, Any], sku: str, quantity: int) -> None:
        name, command = fulfilment
        self.number += 1
        items = (LockItem(f"{command.order_id}/{sku}", sku, quantity),)
        available = self.state.cells[sku].available if self.state else 0
        if self.do(inventory.KeepOnShelf(f"k{self.number}", name, items)):
            assert self.state is not None
            assert self.state.cells[sku].available == available + quantity

    @rule(sku=skus, quantity=units)
    def receive(self, sku: str, quantity: int) -> None:
        self.number += 1
        self.do(inventory.Receive(f"d{self.number}", (StockItem(sku, quantity),)))

    @rule(sku=skus, quantity=units)
    def transfer(self, sku: str, quantity: int) -> None:
        self.number += 1
        self.do(inventory.Transfer(f"d{self.number}", "s-2", (StockItem(sku, quantity),)))

    @rule(sku=skus, counted=st.integers(0, 15), ago=st.integers(0, 300))
    def count(self, sku: str, counted: int, ago: int) -> None:
        self.number += 1
        self.do(inventory.Count(f"d{self.number}", sku, counted, self.now - ago))

    @rule(sku=skus, quantity=st.integers(-3, 3))
    def damage(self, sku: str, quantity: int) -> None:
        self.number += 1
        self.do(inventory.MarkDamaged(f"d{self.number}", sku, quantity))

    @rule(sku=skus, channel=st.sampled_from(CHANNELS), quantity=st.integers(0, 6))
    def allot(self, sku: str, channel: str, quantity: int) -> None:
        self.do(inventory.Allot(sku, channel, quantity))

    @rule(sku=skus, safety=st.integers(0, 4), limit=st.integers(0, 3))
    def set_limits(self, sku: str, safety: int, limit: int) -> None:
        self.do(inventory.SetSafety(sku, safety))
        self.do(inventory.SetOversell(sku, limit))

    @rule(seconds=st.sampled_from((1, 60, 400)), wanted=st.booleans())
    def time_passes(self, seconds: int, wanted: bool) -> None:
        self.now += seconds
        if self.state is None or KIND.wake_at(self.state) > self.now:
            return
        decision = KIND.decide(self.state, Wake(), Context(self.now, "s-1", "c"))
        assert isinstance(decision, Decision)
        self.do(Wake())
        assert KIND.wake_at(self.state) > self.now
        for send in decision.sends:
            self.do(Answered(send.to, send.command, wanted))

    @rule()
    def repeat_the_last_command(self) -> None:
        if self.last is not None and not isinstance(self.last, Wake | Answered):
            book = (self.on_hand.copy(), {key: value.copy() for key, value in self.locked.items()})
            if not isinstance(self.last, inventory.Lock):
                self.do(self.last)
                assert (self.on_hand, self.locked) == book

    @rule()
    def restart(self) -> None:
        raw = msgspec.msgpack.encode(self.state)
        self.state = msgspec.msgpack.decode(raw, type=InventoryState | None)

    @invariant()
    def every_unit_is_accounted_for(self) -> None:
        if self.state is None:
            return
        for sku, cell in self.state.cells.items():
            assert cell.on_hand == self.on_hand[sku]
            assert cell.locked == sum(lock[sku] for lock in self.locked.values())
            assert cell.reserved == sum(held.free for held in cell.allotments.values())
            assert min(cell.locked, cell.reserved, cell.damaged) >= 0
            for held in cell.allotments.values():
                assert held.free >= 0
                assert held.taken >= 0
        assert self.state.locks.keys() == self.locked.keys()

    @invariant()
    def the_next_wake_up_is_the_earliest_lock(self) -> None:
        if self.state is not None:
            asks = [lock.ask_at for lock in self.state.locks.values() if lock.ask_at is not None]
            assert KIND.wake_at(self.state) == min(asks, default=float("inf")) + 30.0


StockMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestUnitsAreConserved = StockMachine.TestCase
