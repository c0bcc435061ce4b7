"""One store's stock, operation by operation (DOMAIN, Stock), through the actor kind."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from actors.engine.kind import NEVER, Answered, Context, Decision, Send, Wake
from actors.inventory import KIND
from domain import history, inventory
from domain.bounds import QUANTITY_MAX
from domain.errors import Problem, Refused
from domain.inventory.commands import LockItem, ReturnItem, StockItem
from domain.inventory.events import AnomalyFound, LockConfirmed, Released, ReplenishmentSuggested
from domain.inventory.rules import ASK_AGAIN_S, ASK_GRACE_S, ASKED_MAX, reorder_point
from domain.inventory.state import MOVES_KEPT_S, MOVES_MAX, REMEMBERED_S, Deed, InventoryState
from domain.inventory.views import Accepted, CellView, StockView
from domain.notice import Notify
from domain.order.commands import ConfirmLock


@dataclass
class Store:
    """An entity driven by hand; every state passes through the codec's format on its way."""

    now: float = 1_000.0
    state: InventoryState | None = None
    sends: list[Send] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)

    def do(self, command: Any) -> Any:
        before = msgspec.msgpack.encode(self.state)
        context = Context(self.now, "s-1", "c")
        try:
            decision = KIND.decide(self.state, command, context)
        finally:
            assert msgspec.msgpack.encode(self.state) == before
        assert isinstance(decision, Decision)
        for event in decision.events:
            self.state = KIND.evolve(self.state, event)
        if self.state is not None:
            self.state = msgspec.msgpack.decode(
                msgspec.msgpack.encode(self.state), type=InventoryState
            )
        self.sends = list(decision.sends)
        self.events = list(decision.events)
        return decision.reply

    def refused(self, command: Any) -> Refused:
        with pytest.raises(Refused) as refusal:
            self.do(command)
        return refusal.value

    def cell(self, sku: str = "milk") -> CellView:
        view = self.do(inventory.Get((sku,)))
        assert isinstance(view, StockView)
        return view.cells[0]


def stocked(units: int = 10, sku: str = "milk") -> Store:
    store = Store()
    store.do(inventory.Receive("first", (StockItem(sku, units),)))
    return store


def lock(
    fulfilment: str = "o1-1", units: int = 3, *, expires_at: float | None = 1_900.0,
    channel: str = "app", sku: str = "milk",
) -> inventory.Lock:  # fmt: skip
    items = (LockItem("o1/1", sku, units),)
    return inventory.Lock(fulfilment, "o1", items, expires_at, channel)


# Locks ------------------------------------------------------------------------------------------


def test_a_lock_takes_units_out_of_sale_and_tells_what_is_left() -> None:
    store = stocked()
    reply = store.do(lock())
    assert isinstance(reply, inventory.Locked)
    assert [(left.sku, left.sellable) for left in reply.left] == [("milk", 7)]
    assert (store.cell().on_hand, store.cell().locked, store.cell().sellable) == (10, 3, 7)


def test_all_items_are_locked_or_none() -> None:
    store = stocked()
    store.do(inventory.Receive("tea", (StockItem("tea", 1),)))
    items = (LockItem("o1/1", "milk", 3), LockItem("o1/2", "tea", 2))
    refusal = store.refused(inventory.Lock("o1-1", "o1", items, None))
    assert (refusal.code, refusal.extra["short"]) == ("short-stock", {"tea": 1})
    assert store.cell().locked == 0


def test_two_items_of_one_sku_are_added_up_before_they_are_checked() -> None:
    store = stocked(5)
    items = (LockItem("o1/1", "milk", 3), LockItem("o1/2", "milk", 3))
    assert store.refused(inventory.Lock("o1-1", "o1", items, None)).code == "short-stock"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (lock(sku="ham"), "unknown-sku"),
        (lock(units=0), "quantity-not-positive"),
        (inventory.Lock("o1-1", "o1", (), None), "no-items"),
    ],
)
def test_nonsense_locks_are_refused(command: inventory.Lock, code: str) -> None:
    assert stocked().refused(command).code == code


def test_repeating_a_lock_release_or_deduction_changes_nothing() -> None:
    store = stocked()
    first = store.do(lock())
    again = store.do(lock())
    assert store.events == []
    assert (again.items, again.expires_at, again.left) == (first.items, 1_900.0, first.left)
    assert store.refused(lock(units=4)).code == "lock-differs"
    assert store.do(inventory.Deduct("o1-1")) is True
    assert store.do(inventory.Deduct("o1-1")) is True
    assert store.do(lock()).items == first.items
    assert store.events == []
    assert (store.cell().on_hand, store.cell().locked) == (7, 0)
    store.do(lock("o2-1"))
    assert store.do(inventory.Release("o2-1")) is True
    assert store.do(inventory.Release("o2-1")) is True
    assert store.events == []
    assert store.cell().sellable == 7


def test_a_release_and_a_deduction_never_both_happen() -> None:
    store = stocked()
    store.do(lock())
    store.do(inventory.Release("o1-1", "cancelled"))
    assert store.refused(inventory.Deduct("o1-1")).code == "lock-gone"
    store.do(lock("o2-1"))
    store.do(inventory.Deduct("o2-1"))
    assert store.refused(inventory.Release("o2-1")).code == "already-sold"
    assert store.refused(inventory.Deduct("never")).code == "lock-gone"


def test_a_released_fulfilment_may_lock_again_and_is_asked_about_even_without_expiry() -> None:
    store = stocked()
    store.do(lock(expires_at=None))
    assert KIND.wake_at(store.state) == NEVER
    store.do(inventory.Release("o1-1"))
    assert store.do(lock(expires_at=None)).expires_at == store.now + ASK_AGAIN_S
    assert KIND.wake_at(store.state) == store.now + ASK_AGAIN_S + ASK_GRACE_S


# Expiry -----------------------------------------------------------------------------------------


def overdue_store() -> tuple[Store, Send]:
    store = stocked()
    store.do(lock())
    assert KIND.wake_at(store.state) == 1_900.0 + ASK_GRACE_S
    store.now = 1_900.0 + ASK_GRACE_S
    store.do(Wake())
    assert store.sends == [Send("order/o1", ConfirmLock("o1-1", "s-1"), True)]
    return store, store.sends[0]


def test_an_early_wake_up_asks_nobody() -> None:
    store = stocked()
    store.do(lock())
    store.now = 1_899.0 + ASK_GRACE_S
    store.do(Wake())
    assert (store.sends, store.events) == ([], [])


def test_an_overdue_lock_is_asked_about_once_and_again_much_later() -> None:
    store, _ = overdue_store()
    assert KIND.wake_at(store.state) == store.now + ASK_AGAIN_S + ASK_GRACE_S
    store.do(Wake())
    assert store.sends == []


def test_a_lock_still_wanted_is_kept_and_asked_about_later() -> None:
    store, sent = overdue_store()
    store.now += 50
    store.do(Answered(sent.to, sent.command, True))
    assert store.events == [LockConfirmed("o1-1", store.now + ASK_AGAIN_S)]
    assert KIND.wake_at(store.state) == store.now + ASK_AGAIN_S + ASK_GRACE_S
    assert store.cell().locked == 3


@pytest.mark.parametrize("answer", [False, Problem("unknown-order", "No such order.")])
def test_a_lock_no_longer_wanted_is_released(answer: Any) -> None:
    store, sent = overdue_store()
    store.do(Answered(sent.to, sent.command, answer))
    assert isinstance(store.events[0], Released)
    assert store.cell().sellable == 10
    assert KIND.wake_at(store.state) == NEVER
    store.do(Answered(sent.to, sent.command, answer))
    assert store.events == []


def test_an_answer_nobody_understands_keeps_the_lock() -> None:
    store, sent = overdue_store()
    store.do(Answered(sent.to, sent.command, Problem("odd", "Odd.")))
    assert store.cell().locked == 3
    assert KIND.wake_at(store.state) < NEVER


def test_an_answer_after_the_sale_changes_nothing() -> None:
    store, sent = overdue_store()
    store.do(inventory.Deduct("o1-1"))
    store.do(Answered(sent.to, sent.command, False))
    assert store.events == []


def test_many_overdue_locks_are_asked_about_oldest_first_each_once() -> None:
    store = stocked(10_000)
    count = ASKED_MAX + 50
    state = store.state
    context = Context(store.now, "s-1", "c")
    for number in range(count):
        command = lock(f"o{number}-1", 1, expires_at=2_000.0 + (number * 7_919) % count)
        for event in KIND.decide(state, command, context).events:
            state = KIND.evolve(state, event)
    store.state, store.now = state, 9_000.0
    asked: list[str] = []
    wakes = 0
    while KIND.wake_at(store.state) <= store.now:
        store.do(Wake())
        assert len(store.sends) <= ASKED_MAX
        asked += [send.command.fulfilment_id for send in store.sends]  # type: ignore[attr-defined]
        wakes += 1
    assert (len(asked), len(set(asked)), wakes) == (count, count, 2)
    assert asked[0] == "o0-1"


# Goods back and short picks ---------------------------------------------------------------------


def sold() -> Store:
    store = stocked()
    store.do(lock())
    store.do(inventory.Deduct("o1-1"))
    return store


def give_back(document: str, units: int, damaged: int = 0) -> inventory.Return:
    return inventory.Return(document, "o1-1", (ReturnItem("o1/1", "milk", units, damaged),))


def test_a_return_brings_sound_units_back_to_sale_and_damaged_ones_not() -> None:
    store = sold()
    assert store.do(give_back("r1", 2, damaged=1)) == Accepted("r1")
    assert store.do(give_back("r1", 2, damaged=1)) == Accepted("r1")
    assert store.events == []
    cell = store.cell()
    assert (cell.on_hand, cell.damaged, cell.sellable) == (9, 1, 8)


def test_more_than_was_sold_never_comes_back() -> None:
    store = sold()
    store.do(give_back("r1", 2))
    assert store.refused(give_back("r2", 2)).code == "exceeds-sale"
    store.do(give_back("r3", 1))
    assert store.cell().on_hand == 10


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (give_back("r", 0), "wrong-quantity"),
        (give_back("r", 1, damaged=2), "wrong-quantity"),
        (inventory.Return("r", "o1-1", ()), "no-items"),
        (inventory.Return("r", "o9-1", (ReturnItem("o9/1", "milk", 1),)), "unknown-fulfilment"),
    ],
)
def test_nonsense_returns_are_refused(command: inventory.Return, code: str) -> None:
    assert sold().refused(command).code == code


def test_a_forgotten_sale_comes_back_on_the_orders_word_once() -> None:
    store = sold()
    store.now += 3 * REMEMBERED_S
    for document in ("a", "b"):
        store.do(inventory.Receive(document, (StockItem("milk", 1),)))
        store.do(lock(f"{document}-1"))
        store.do(inventory.Deduct(f"{document}-1"))
        store.now += 2 * REMEMBERED_S
    assert store.refused(give_back("r", 2)).code == "unknown-fulfilment"
    before = store.cell().on_hand
    for _ in range(2):
        store.do(replace(give_back("r", 2), sold_long_ago=True))
    assert store.cell().on_hand == before + 2


def test_the_orders_word_does_not_make_locked_goods_a_sale() -> None:
    store = stocked()
    store.do(lock())
    vouched = replace(give_back("r", 1), sold_long_ago=True)
    assert store.refused(vouched).code == "not-deducted"


def test_a_busy_days_sales_are_kept_as_bytes_and_come_back_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "PAGE_ENTRIES", 20)
    store = stocked()
    count = 61
    store.do(inventory.Receive("all", (StockItem("milk", 3 * count),)))
    for number in range(count):
        store.do(lock(f"o{number}-1"))
        store.do(inventory.Deduct(f"o{number}-1"))
    assert store.state is not None
    sales = store.state.sales
    assert (len(sales.recent), len(sales.pages)) == (1, 3)
    on_hand = store.cell().on_hand
    item = ReturnItem("o1/1", "milk", 2)
    for document in ("r1", "r1"):
        store.do(inventory.Return(document, "o5-1", (item,)))
    assert store.refused(inventory.Return("r2", "o5-1", (item,))).code == "exceeds-sale"
    assert store.cell().on_hand == on_hand + 2


def test_locked_goods_cannot_be_returned() -> None:
    store = stocked()
    store.do(lock())
    assert store.refused(give_back("r", 1)).code == "not-deducted"


def test_missing_units_leave_lock_and_count_and_sellable_stays() -> None:
    store = stocked()
    store.do(lock())
    short = inventory.CorrectShort("k1", "o1-1", (LockItem("o1/1", "milk", 2),))
    store.do(short)
    store.do(short)
    cell = store.cell()
    assert (cell.on_hand, cell.locked, cell.sellable) == (8, 1, 7)
    store.do(inventory.Deduct("o1-1"))
    assert store.cell().on_hand == 7
    assert store.refused(give_back("r", 2)).code == "exceeds-sale"


def test_missing_units_of_a_sale_can_never_be_returned() -> None:
    store = sold()
    store.do(inventory.CorrectShort("k1", "o1-1", (LockItem("o1/1", "milk", 1),)))
    assert (store.cell().on_hand, store.cell().sellable) == (7, 7)
    assert store.refused(give_back("r", 3)).code == "exceeds-sale"
    too_many = inventory.CorrectShort("k2", "o1-1", (LockItem("o1/1", "milk", 3),))
    assert store.refused(too_many).code == "exceeds-lock"


def keep(document: str, units: int, line: str = "o1/1") -> inventory.KeepOnShelf:
    return inventory.KeepOnShelf(document, "o1-1", (LockItem(line, "milk", units),))


def test_unwanted_units_leave_the_lock_and_can_be_sold_again() -> None:
    store = stocked()
    store.do(lock())
    for _ in range(2):
        store.do(keep("k1", 2))
    cell = store.cell()
    assert (cell.on_hand, cell.locked, cell.sellable) == (10, 1, 9)
    store.do(inventory.Deduct("o1-1"))
    assert store.cell().on_hand == 9
    assert store.refused(give_back("r", 2)).code == "exceeds-sale"


def test_unwanted_units_come_back_from_a_sale_once() -> None:
    store = sold()
    for _ in range(2):
        store.do(keep("k1", 1))
    assert (store.cell().on_hand, store.cell().sellable) == (8, 8)
    assert store.refused(keep("k2", 3)).code == "exceeds-lock"
    assert store.refused(give_back("r", 3)).code == "exceeds-sale"
    store.do(give_back("r", 2))
    assert store.cell().on_hand == 10


def test_unwanted_units_go_back_to_the_channel_they_were_held_for() -> None:
    store = stocked()
    store.do(inventory.Allot("milk", "app", 2))
    items = (LockItem("o1/1", "milk", 3),)
    store.do(inventory.Lock("o1-1", "o1", items, None, "app"))
    store.do(keep("k1", 2))
    cell = store.cell()
    assert (cell.locked, cell.sellable) == (1, 10 - 1 - 2)


def test_nothing_is_kept_for_a_fulfilment_that_holds_no_stock() -> None:
    store = stocked()
    assert store.refused(keep("k1", 1)).code == "lock-gone"


# Documents of goods -----------------------------------------------------------------------------


def test_a_receipt_counts_once_and_quantity_zero_only_lists() -> None:
    store = stocked(0)
    assert store.cell().on_hand == 0
    for _ in range(2):
        assert store.do(inventory.Receive("d1", (StockItem("milk", 4),))) == Accepted("d1")
    assert store.cell().on_hand == 4
    bad = inventory.Receive("d2", (StockItem("milk", -1),))
    assert store.refused(bad).code == "wrong-quantity"


def test_a_transfer_leaves_once_and_owes_the_arrival_to_the_other_store() -> None:
    store = stocked()
    store.do(lock())
    command = inventory.Transfer("t1", "s-2", (StockItem("milk", 7),))
    store.do(command)
    arrival = store.sends[0]
    assert arrival.to == "inventory/s-2"
    store.do(command)
    assert (store.sends, store.cell().on_hand) == ([], 3)
    refusal = store.refused(inventory.Transfer("t2", "s-2", (StockItem("milk", 1),)))
    assert (refusal.code, refusal.extra["short"]) == ("short-stock", {"milk": 0})
    other = Store()
    other.do(arrival.command)
    other.do(arrival.command)
    assert other.cell().on_hand == 7
    assert store.refused(inventory.Transfer("t3", "s-1", (StockItem("milk", 1),))).code == (
        "same-store"
    )


def test_two_stores_may_give_their_transfers_to_a_third_the_same_document_id() -> None:
    receiver = Store()
    for sender in ("s-1", "s-2", "s-1", "s-2"):
        receiver.do(inventory.TransferIn("t1", sender, (StockItem("milk", 10),)))
    assert receiver.cell().on_hand == 20


def test_deeds_are_remembered_by_the_names_they_were_always_stored_with() -> None:
    assert [deed.value for deed in Deed] == [
        "released", "return", "short", "kept", "receive", "transfer", "transfer-in", "count",
        "damage", "set-aside", "give-back",
    ]  # fmt: skip
    store = stocked()
    assert store.state is not None
    assert list(store.state.seen.recent) == ["receive first"]


def test_a_count_keeps_what_moved_after_it() -> None:
    store = stocked()
    store.do(lock())
    store.now = 2_000.0
    store.do(inventory.Deduct("o1-1"))
    store.now = 3_000.0
    store.do(inventory.Count("c1", "milk", 9, as_of=1_500.0))
    assert store.events[0].difference == -1
    assert store.cell().on_hand == 6
    store.do(inventory.Count("c1", "milk", 9, as_of=1_500.0))
    assert store.events == []


def test_the_result_of_an_older_count_that_arrives_late_changes_nothing() -> None:
    store = stocked()
    store.now = 5_000.0
    store.do(inventory.Count("c2", "milk", 8, as_of=4_000.0))
    store.do(inventory.Count("c1", "milk", 9, as_of=3_000.0))
    assert store.cell().on_hand == 8
    store.do(inventory.Count("c3", "milk", 7, as_of=4_500.0))
    assert store.cell().on_hand == 7


def test_a_count_lists_the_sku_and_keeps_open_locks() -> None:
    store = stocked()
    store.do(lock())
    store.do(inventory.Count("c1", "milk", 5, as_of=1_000.0))
    assert (store.cell().locked, store.cell().sellable) == (3, 2)
    store.do(inventory.Count("c2", "tea", 4, as_of=900.0))
    assert store.cell("tea").on_hand == 4


def test_counts_of_the_future_and_of_a_forgotten_past_are_refused() -> None:
    store = stocked()
    assert store.refused(inventory.Count("c", "milk", 1, as_of=1_001.0)).code == "count-in-future"
    assert store.refused(inventory.Count("c", "milk", -1, as_of=1.0)).code == "wrong-quantity"
    for number in range(MOVES_MAX + 1):
        store.now += 1
        store.state = KIND.evolve(
            store.state,
            inventory.Received(f"d{number}", (StockItem("milk", 1),), "", (), store.now),
        )
    assert store.state is not None
    assert len(store.state.cells["milk"].moves) <= MOVES_MAX
    assert store.refused(inventory.Count("c", "milk", 1, as_of=1_001.0)).code == "count-too-old"
    store.do(inventory.Count("c", "milk", 5, as_of=store.now - 10))
    assert store.cell().on_hand == 15


def test_old_movements_are_forgotten() -> None:
    store = stocked()
    for number in range(40):
        event = inventory.Received(f"d{number}", (StockItem("milk", 1),), "", (), 2_000.0 + number)
        store.state = KIND.evolve(store.state, event)
    late = 3_000.0 + MOVES_KEPT_S
    last = inventory.Received("last", (StockItem("milk", 1),), "", (), late)
    store.state = KIND.evolve(store.state, last)
    assert store.state is not None
    assert [move.document for move in store.state.cells["milk"].moves] == ["last"]


def test_damage_moves_units_out_of_sale_and_mending_back() -> None:
    store = stocked()
    store.do(inventory.MarkDamaged("m1", "milk", 4))
    assert (store.cell().on_hand, store.cell().damaged, store.cell().sellable) == (10, 4, 6)
    store.do(inventory.MarkDamaged("m2", "milk", -1))
    assert store.cell().sellable == 7
    for units in (0, 8, -4):
        command = inventory.MarkDamaged("m3", "milk", units)
        assert store.refused(command).code == "wrong-quantity"


# Safety stock, anomalies ------------------------------------------------------------------------


def test_the_reorder_point_covers_the_lead_time_at_the_service_level() -> None:
    model = inventory.SetSafety("milk", 0, 4.0, 10.0, 5.0, 0.95)
    assert reorder_point(model) == 57  # 40 + 1.645 * 5 * 2 = 56.45
    assert reorder_point(inventory.SetSafety("milk", 30, 4.0, 10.0, 5.0, 0.95)) == 70
    assert reorder_point(inventory.SetSafety("milk", 30)) == 0
    assert reorder_point(inventory.SetSafety("milk", 0, 2.0, 3.0, 0.0, 0.5)) == 6


@pytest.mark.parametrize(
    "command",
    [
        inventory.SetSafety("milk", -1),
        inventory.SetSafety("milk", 1, service_level=1.0),
        inventory.SetSafety("milk", 1, lead_time_days=-1.0),
        inventory.SetSafety("milk", 1, order_quantity=-1),
        inventory.SetSafety("milk", QUANTITY_MAX + 1),
        inventory.SetSafety("milk", 10**400, daily_demand=1.0),
        inventory.SetSafety("milk", 1, order_quantity=QUANTITY_MAX + 1),
        inventory.SetSafety("milk", 1, daily_demand=float("nan")),
        inventory.SetSafety("milk", 1, demand_deviation=float("inf")),
        inventory.SetSafety("milk", 1, daily_demand=1e30),
        inventory.SetSafety("milk", 1, lead_time_days=365.0, daily_demand=1e308),
        inventory.SetSafety("milk", 1, daily_demand=float(QUANTITY_MAX)),
    ],
)
def test_a_wrong_model_is_refused(command: inventory.SetSafety) -> None:
    assert stocked().refused(command).code == "wrong-model"


def test_a_reorder_point_may_be_as_high_as_the_units_of_one_item() -> None:
    store = stocked()
    store.do(inventory.SetSafety("milk", 0, daily_demand=float(QUANTITY_MAX)))
    assert store.cell().reorder_point == QUANTITY_MAX


def test_low_stock_raises_one_alert_and_one_suggestion_until_goods_came_in() -> None:
    store = stocked(20)
    store.do(inventory.SetSafety("milk", 2, 2.0, 5.0, order_quantity=48))
    assert store.cell().reorder_point == 12
    store.do(inventory.SetSafety("milk", 2, 2.0, 5.0, order_quantity=48))
    assert store.events == []
    store.do(lock("o1-1", 7))
    assert (len(store.events), store.sends) == (1, [])
    store.do(lock("o2-1", 1))
    assert store.events[1] == ReplenishmentSuggested("milk", 12, 12, 48)
    notice = store.sends[0].command
    assert isinstance(notice, Notify)
    assert (store.sends[0].to, notice.template) == ("notify/log", "replenishment-suggested")
    store.do(lock("o3-1", 1))
    store.do(inventory.Release("o1-1"))
    store.do(lock("o4-1", 7))
    assert (len(store.events), store.sends) == (1, [])
    store.do(inventory.Receive("d", (StockItem("milk", 30),)))
    store.do(lock("o5-1", 30))
    assert isinstance(store.events[1], ReplenishmentSuggested)


def test_safety_stock_set_above_what_is_there_warns_at_once() -> None:
    store = stocked()
    store.do(inventory.SetSafety("milk", 11))
    assert store.events[1] == ReplenishmentSuggested("milk", 10, 0, 1)
    assert store.cell().sellable == 0
    assert store.refused(lock()).code == "short-stock"


def test_a_count_below_the_locks_is_an_anomaly_told_once_with_its_documents() -> None:
    store = stocked()
    store.do(lock(units=8))
    store.do(inventory.Count("c1", "milk", 5, as_of=1_000.0))
    assert store.events[1] == AnomalyFound("milk", -3, ("first", "c1"))
    assert store.sends[0].command.template == "stock-anomaly"  # type: ignore[attr-defined]
    assert store.cell().sellable == 0
    store.do(inventory.MarkDamaged("m1", "milk", 1))
    assert len(store.events) == 1
    store.do(inventory.Receive("d", (StockItem("milk", 20),)))
    store.now += 1
    store.do(inventory.Count("c3", "milk", 1, as_of=store.now))
    assert isinstance(store.events[1], AnomalyFound)


# Overselling and channels -----------------------------------------------------------------------


def test_overselling_stops_at_its_limit() -> None:
    store = stocked(2)
    store.do(inventory.SetOversell("milk", 3))
    assert store.cell().sellable == 5
    store.do(lock(units=5))
    assert store.refused(lock("o2-1", 1)).extra["short"] == {"milk": 0}
    store.do(inventory.SetOversell("milk", 0))
    assert isinstance(store.events[1], AnomalyFound)


def test_an_allotment_is_exclusive_and_its_channel_may_also_use_the_pool() -> None:
    store = stocked()
    store.do(inventory.Allot("milk", "market", 4))
    assert (store.cell().sellable, store.cell().allotments) == (6, {"market": 4})
    assert store.refused(lock(units=7)).extra["short"] == {"milk": 6}
    reply = store.do(lock("o1-1", 5, channel="market"))
    assert (reply.left[0].sellable, reply.left[0].channels) == (5, (("market", 0),))
    assert (store.cell().sellable, store.cell().reserved) == (5, 0)
    store.do(inventory.Release("o1-1"))
    assert (store.cell().sellable, store.cell().allotments) == (6, {"market": 4})


def test_a_sale_uses_the_allotment_up() -> None:
    store = stocked()
    store.do(inventory.Allot("milk", "market", 4))
    store.do(lock("o1-1", 3, channel="market"))
    store.do(inventory.Deduct("o1-1"))
    assert store.cell().allotments == {"market": 1}
    assert (store.cell().sellable, store.cell().on_hand) == (6, 7)


def test_setting_an_allotment_counts_what_the_channel_has_locked() -> None:
    store = stocked()
    store.do(inventory.Allot("milk", "market", 4))
    store.do(lock("o1-1", 3, channel="market"))
    store.do(inventory.Allot("milk", "market", 4))
    assert store.events == []
    store.do(inventory.Allot("milk", "market", 6))
    assert (store.cell().allotments, store.cell().sellable) == ({"market": 3}, 4)
    store.do(inventory.Allot("milk", "market", 0))
    assert (store.cell().allotments, store.cell().sellable) == ({}, 7)
    store.do(inventory.Release("o1-1"))
    assert store.cell().sellable == 10


def test_units_sold_from_an_allotment_no_longer_count_towards_it() -> None:
    store = stocked()
    store.do(inventory.Allot("milk", "market", 4))
    store.do(lock("o1-1", 3, channel="market"))
    store.do(inventory.Deduct("o1-1"))
    store.do(inventory.Allot("milk", "market", 4))
    assert (store.cell().allotments, store.cell().sellable) == ({"market": 4}, 3)


def test_a_release_gives_a_reduced_allotment_back_no_more_than_its_size() -> None:
    store = stocked()
    store.do(inventory.Allot("milk", "market", 4))
    store.do(lock("o1-1", 3, channel="market"))
    store.do(inventory.Allot("milk", "market", 2))
    assert (store.cell().allotments, store.cell().sellable) == ({"market": 0}, 7)
    store.do(inventory.Release("o1-1"))
    assert (store.cell().allotments, store.cell().sellable) == ({"market": 2}, 8)


def test_an_allotment_beyond_the_pool_is_refused() -> None:
    store = stocked()
    store.do(inventory.SetSafety("milk", 3))
    refusal = store.refused(inventory.Allot("milk", "market", 8))
    assert (refusal.code, refusal.extra["short"]) == ("short-stock", {"milk": 7})


def test_reading_an_unheard_of_store_gives_no_cells() -> None:
    assert Store().do(inventory.Get()) == StockView("s-1", ())
