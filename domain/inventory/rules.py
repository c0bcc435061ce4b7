"""The rules of one store's stock (DOMAIN, Stock): what a command leads to, or why it is refused.

Each function returns the event to store and its warnings (:data:`Change`). Rules stated here:

- **Channels**: an allotment is taken out of the shared pool. Its channel sells from it first and
  then from the pool; other channels sell from the pool alone. Its quantity counts what the channel
  has locked; a sale uses it up, a release gives it back to the channel.
- **Oversell** lets locks exceed the pool by its limit, safety stock still held back.
- **Campaigns**: a quota is taken out of the pool, and only its campaign's orders sell from it. A
  return of such a sale goes to the pool.
- **Documents** are remembered as long as ``state.REMEMBERED_S`` says, and so are sales: a return
  later than that needs the order's word for the sale.
"""

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from math import ceil, inf, sqrt
from statistics import NormalDist
from typing import TypeAlias

from msgspec.structs import astuple

from domain.bounds import QUANTITY_MAX
from domain.errors import Refused
from domain.inventory.commands import (
    Allot,
    CorrectShort,
    Count,
    Deduct,
    GiveBack,
    KeepOnShelf,
    Lock,
    LockItem,
    MarkDamaged,
    Receive,
    RecordSale,
    Release,
    Return,
    SellReserved,
    SetAside,
    SetOversell,
    SetSafety,
    StockItem,
    Transfer,
    TransferIn,
)
from domain.inventory.events import (
    Allotted,
    AnomalyFound,
    Counted,
    DamageMarked,
    Deducted,
    KeptOnShelf,
    Left,
    Locked,
    LocksAsked,
    OversellSet,
    QuotaGivenBack,
    QuotaSetAside,
    QuotaSold,
    Received,
    Released,
    ReplenishmentSuggested,
    Returned,
    SafetySet,
    ShortCorrected,
    Sold,
    TransferredIn,
    TransferredOut,
)
from domain.inventory.state import (
    Cell,
    Deed,
    InventoryEvent,
    InventoryState,
    LockRecord,
    item_key,
    left_of,
)
from domain.inventory.views import CellView, StockView

__all__ = [
    "ASKED_MAX",
    "ASK_AGAIN_S",
    "ASK_GRACE_S",
    "LOCK_GONE",
    "QUANTITY_MAX",
    "Change",
    "Warned",
    "allot",
    "ask_overdue",
    "correct_short",
    "count",
    "deduct",
    "give_back",
    "keep_on_shelf",
    "lock",
    "locked_reply",
    "mark_damaged",
    "receive",
    "record_sale",
    "release",
    "reorder_point",
    "return_goods",
    "sell_reserved",
    "set_aside",
    "set_oversell",
    "set_safety",
    "transfer",
    "transfer_in",
    "view",
]  # fmt: skip

LOCK_GONE = "lock-gone"
"""Code: what a fulfilment should hold, it does not hold (any more)."""
Warned: TypeAlias = ReplenishmentSuggested | AnomalyFound
"""Low stock, or a negative sellable: operations is told."""
Change: TypeAlias = tuple[()] | tuple[InventoryEvent, *tuple[Warned, ...]]
"""The event that a command leads to and the warnings that follow from it; nothing when the command
was seen before."""

ASK_GRACE_S = 30.0
"""The order cancels itself at the lock's expiry; it is asked only if it has not by then."""
ASK_AGAIN_S = 300.0
"""A lock still wanted, or whose order did not answer, is asked about again so much later."""
ASKED_MAX = 256
"""Most orders asked at one wake-up; the rest follow at the next, which comes at once."""
ANOMALY_DOCUMENTS = 10
"""How many of the newest documents an anomaly names."""


# Locks: hot path first --------------------------------------------------------------------------


def lock(
    state: InventoryState, command: Lock, now: float
) -> tuple[()] | tuple[Locked, *tuple[Warned, ...]]:
    """Lock all items or none. Raises ``Refused``: ``unknown-sku``, ``short-stock``,
    ``quantity-not-positive``, ``lock-differs`` (same fulfilment, other items).

    A fulfilment whose lock was released may lock again (payment after expiry); should that be a
    straggler of the first attempt, the order is asked, even for a lock that never expires.
    """
    fulfilment_id = command.fulfilment_id
    if fulfilment_id in state.locks:
        _same_lock(state.locks[fulfilment_id], command)
        return ()
    if (sale := state.sale(fulfilment_id)) is not None:
        _same_lock(sale, command)
        return ()
    items = command.items
    wanted: dict[str, int] = {}
    for item in items:
        if item.quantity <= 0:
            raise Refused("quantity-not-positive", "Lock at least one unit of each item.")
        wanted[item.sku] = wanted.get(item.sku, 0) + item.quantity
    if not wanted:
        raise Refused("no-items", "Name at least one item to lock.")
    left, warnings = _take_from_cells(state, wanted, command.channel)
    expires_at = command.expires_at
    if expires_at is None and state.has_seen(Deed.RELEASED, fulfilment_id):
        expires_at = now + ASK_AGAIN_S
    locked = Locked(
        fulfilment_id, command.order_id, items, expires_at, tuple(left), command.channel
    )
    return (locked, *warnings) if warnings else (locked,)


def _take_from_cells(
    state: InventoryState, wanted: Mapping[str, int], channel: str
) -> tuple[list[Left], list[Warned]]:
    """What is left after a lock, and warnings that follow from it; raises if it cannot be."""
    cells = state.cells
    left: list[Left] = []
    warnings: list[Warned] = []
    for sku, units in wanted.items():
        cell = cells.get(sku)
        if cell is None:
            raise Refused("unknown-sku", f"This store does not list {sku}.", sku=sku)
        if not cell.allotments:
            sellable = (
                cell.on_hand - cell.locked - cell.reserved - cell.safety - cell.damaged
                + cell.oversell - units
            )  # fmt: skip
            if sellable < 0:
                raise _short(state, wanted, channel)
            left.append(Left(sku, sellable))
        else:
            held = cell.allotments.get(channel)
            own = 0 if held is None else min(held.free, units)
            if units - own > cell.sellable:
                raise _short(state, wanted, channel)
            left.append(_left_after_lock(sku, cell, channel, own, units))
        if not cell.alerted:
            available = cell.on_hand - cell.locked - cell.damaged - units
            if available <= cell.reorder_point > 0 or available < cell.safety > 0:
                warnings.append(_suggestion(sku, cell, available))
    return left, warnings


def _left_after_lock(sku: str, cell: Cell, channel: str, own: int, units: int) -> Left:
    left = left_of(sku, cell, own - units)
    channels = tuple(
        (name, free - own if name == channel else free) for name, free in left.channels
    )
    return Left(sku, left.sellable, channels)


def _short(state: InventoryState, wanted: Mapping[str, int], channel: str) -> Refused:
    short = {}
    for sku, units in wanted.items():
        cell = state.cells.get(sku)
        if cell is None:
            short[sku] = 0
            continue
        held = cell.allotments.get(channel)
        sellable = cell.sellable + (0 if held is None else held.free)
        if sellable < units:
            short[sku] = sellable
    return Refused(
        "short-stock",
        "Not enough is sellable: " + ", ".join(f"{n} of {sku}" for sku, n in short.items()) + ".",
        short=short,
    )


def _same_lock(record: LockRecord, command: Lock) -> None:
    if not record.shortened and sorted(map(astuple, record.items)) != sorted(
        map(astuple, command.items)
    ):
        raise Refused("lock-differs", "This fulfilment already locked other items. Use a new id.")


def locked_reply(state: InventoryState, fulfilment_id: str) -> Locked:
    """The answer to a repeated ``Lock``: what the fulfilment holds (or was sold)."""
    record = state.locks.get(fulfilment_id) or state.sale(fulfilment_id)
    if record is None:
        raise Refused(LOCK_GONE, "This fulfilment holds no lock.")
    left = tuple(
        left_of(sku, state.cells[sku]) for sku in dict.fromkeys(i.sku for i in record.items)
    )
    return Locked(fulfilment_id, record.order_id, record.items, record.ask_at, left, record.channel)


def release(state: InventoryState, command: Release, now: float) -> Change:
    """Give a lock back, once; nothing happens for a lock that is gone or never was.
    Raises ``Refused`` with ``already-sold`` after the deduction: that takes a return."""
    record = state.locks.get(command.fulfilment_id)
    if record is None:
        if state.sale(command.fulfilment_id) is not None:
            raise Refused("already-sold", "The goods were deducted; they come back as a return.")
        return ()
    left = []
    for sku, units in _by_sku(record.items).items():
        cell = state.cells[sku]
        held = cell.allotments.get(record.channel)
        back = 0
        if held is not None and record.taken:
            own = sum(
                taken
                for item, taken in zip(record.items, record.taken, strict=True)
                if item.sku == sku
            )
            back = min(own, held.taken)
        left.append(_left_after_lock(sku, cell, record.channel, -back, -units))
    return (Released(command.fulfilment_id, record.items, command.reason, tuple(left), now),)


def deduct(state: InventoryState, command: Deduct, now: float) -> Change:
    """Turn a lock into a sale, once. Raises ``Refused`` with ``lock-gone`` when it was released
    (or never was): lock again."""
    record = state.locks.get(command.fulfilment_id)
    if record is None:
        if state.sale(command.fulfilment_id) is not None:
            return ()
        raise Refused(LOCK_GONE, "This fulfilment holds no lock. Lock again, or refund.")
    left = tuple(left_of(sku, state.cells[sku]) for sku in _by_sku(record.items))
    return (Deducted(command.fulfilment_id, record.items, left, now),)


def record_sale(state: InventoryState, command: RecordSale, now: float) -> Change:
    """Goods that left, once: from their lock if there is one, else from the count itself. Raises
    ``Refused``: ``no-items``, ``quantity-not-positive``."""
    if command.fulfilment_id in state.locks or state.sale(command.fulfilment_id) is not None:
        return deduct(state, Deduct(command.fulfilment_id), now)
    _some(command.items)
    if any(item.quantity <= 0 for item in command.items):
        raise Refused("quantity-not-positive", "Sell at least one unit of each item.")
    out = {sku: -units for sku, units in _by_sku(command.items).items()}
    sold = Sold(
        command.fulfilment_id, command.order_id, command.items, _left_after(state, out), now
    )
    return (sold, *_warnings(state, out, (command.fulfilment_id,)))


def ask_overdue(state: InventoryState, now: float) -> list[tuple[str, str]]:
    """(fulfilment id, order id) of locks past their time and grace, at most ``ASKED_MAX``, the
    oldest first: the state's heap is walked in order, and left as it is."""
    heap = state.expiries
    overdue: list[tuple[str, str]] = []
    fringe = [(heap[0], 0)] if heap else []
    while fringe and len(overdue) < ASKED_MAX:
        (ask_at, fulfilment_id), place = heappop(fringe)
        if ask_at + ASK_GRACE_S > now:
            break
        record = state.locks.get(fulfilment_id)
        if record is not None and record.ask_at == ask_at:
            overdue.append((fulfilment_id, record.order_id))
        for child in (2 * place + 1, 2 * place + 2):
            if child < len(heap):
                heappush(fringe, (heap[child], child))
    return list(dict.fromkeys(overdue))


def asked(overdue: Iterable[tuple[str, str]], now: float) -> LocksAsked:
    """The record that these orders were asked."""
    return LocksAsked(tuple(fulfilment_id for fulfilment_id, _ in overdue), now + ASK_AGAIN_S)


# Goods that come back, or never were there ------------------------------------------------------


def return_goods(state: InventoryState, command: Return, now: float) -> Change:
    """Accepted goods of a sale return to stock; a forgotten sale is the order's to vouch for.
    Raises ``Refused``: ``not-deducted``, ``unknown-fulfilment``, ``exceeds-sale``,
    ``wrong-quantity``, ``no-items``, ``unknown-sku``."""
    if state.has_seen(Deed.RETURN, command.document_id):
        return ()
    _some(command.items)
    sold, back = _sold_and_back(state, command)
    units: dict[str, int] = {}
    sound: dict[str, int] = {}
    for item in command.items:
        key = item_key(item.line_id, item.sku)
        if item.quantity <= 0 or not 0 <= item.damaged <= item.quantity:
            raise Refused("wrong-quantity", "Return one unit or more, no more damaged than those.")
        back[key] = back.get(key, 0) + item.quantity
        if back[key] > sold.get(key, 0):
            raise Refused(
                "exceeds-sale", f"More units of {item.sku} than line {item.line_id} was sold."
            )
        units[item.sku] = units.get(item.sku, 0) + item.quantity
        sound[item.sku] = sound.get(item.sku, 0) + item.quantity - item.damaged
    left = tuple(left_of(sku, state.cells[sku], change) for sku, change in sound.items())
    skus = tuple(StockItem(sku, quantity) for sku, quantity in units.items())
    return (
        Returned(
            command.document_id, command.fulfilment_id, command.items, skus, command.reason,
            left, now,
        ),
    )  # fmt: skip


def _sold_and_back(state: InventoryState, command: Return) -> tuple[dict[str, int], dict[str, int]]:
    """Units of the fulfilment that were sold, and that came back before, by item."""
    sale = state.sale(command.fulfilment_id)
    if sale is not None:
        sold = {item_key(item.line_id, item.sku): item.quantity for item in sale.items}
        return sold, dict(sale.returned or {})
    if command.fulfilment_id in state.locks:
        raise Refused("not-deducted", "These goods are locked, not sold: release the lock.")
    if not command.sold_long_ago:
        raise Refused(
            "unknown-fulfilment",
            "No sale of this fulfilment is remembered. Bring the goods in with a receipt.",
        )
    unlisted = [item.sku for item in command.items if item.sku not in state.cells]
    if unlisted:
        raise Refused("unknown-sku", f"This store does not list {unlisted[0]}.", sku=unlisted[0])
    return {item_key(item.line_id, item.sku): item.quantity for item in command.items}, {}


def correct_short(state: InventoryState, command: CorrectShort, now: float) -> Change:
    """Missing units leave the lock and the physical count, or the sale; sellable stays as it is.

    A sale had taken them from the count already: it only gets smaller, so that they can never come
    back as a return. Raises ``Refused``: ``lock-gone``, ``exceeds-lock``, ``no-items``.
    """
    if state.has_seen(Deed.SHORT, command.document_id):
        return ()
    _held_record(state, command)
    left = tuple(left_of(sku, state.cells[sku]) for sku in _by_sku(command.items))
    was_locked = command.fulfilment_id in state.locks
    return (
        ShortCorrected(
            command.document_id, command.fulfilment_id, command.items, was_locked, left, now
        ),
    )


def keep_on_shelf(state: InventoryState, command: KeepOnShelf, now: float) -> Change:
    """Sound units that will not be packed leave the lock, or the sale as if they were returned, and
    are free again: first for the channel whose allotment they came from.

    Raises ``Refused``: ``lock-gone``, ``exceeds-lock``, ``no-items``.
    """
    if state.has_seen(Deed.KEPT, command.document_id):
        return ()
    record = _held_record(state, command)
    was_locked = command.fulfilment_id in state.locks
    left = []
    for sku, units in _by_sku(command.items).items():
        cell = state.cells[sku]
        back = _back_to_allotment(cell, record, command, sku) if was_locked else 0
        if back:
            left.append(_left_after_lock(sku, cell, record.channel, -back, -units))
        else:
            left.append(left_of(sku, cell, units))
    return (
        KeptOnShelf(
            command.document_id, command.fulfilment_id, command.items, was_locked, command.reason,
            tuple(left), now,
        ),
    )  # fmt: skip


def _back_to_allotment(cell: Cell, record: LockRecord, command: KeepOnShelf, sku: str) -> int:
    """Of a lock's units that it no longer needs, those that its channel's allotment gets back."""
    held = cell.allotments.get(record.channel)
    if held is None or not record.taken:
        return 0
    freed = {item_key(item.line_id, item.sku): item.quantity for item in command.items}
    own = sum(
        min(taken, freed.get(item_key(item.line_id, item.sku), 0))
        for item, taken in zip(record.items, record.taken, strict=True)
        if item.sku == sku
    )
    return min(own, held.taken)


def _held_record(state: InventoryState, command: CorrectShort | KeepOnShelf) -> LockRecord:
    """The lock or sale that holds all these units; refused with ``lock-gone``, ``exceeds-lock``,
    ``no-items``."""
    _some(command.items)
    record = state.locks.get(command.fulfilment_id) or state.sale(command.fulfilment_id)
    if record is None:
        raise Refused(LOCK_GONE, "This fulfilment holds neither a lock nor a sale.")
    held = {item_key(item.line_id, item.sku): item.quantity for item in record.items}
    for key, units in (record.returned or {}).items():
        held[key] = held.get(key, 0) - units
    for item in command.items:
        key = item_key(item.line_id, item.sku)
        held[key] = held.get(key, 0) - item.quantity
        if item.quantity <= 0 or held[key] < 0:
            raise Refused(
                "exceeds-lock", f"Line {item.line_id} does not hold so many units of {item.sku}."
            )
    return record


# Documents of goods -----------------------------------------------------------------------------


def receive(state: InventoryState, command: Receive, now: float) -> Change:
    """Goods in; lists SKUs. Raises ``Refused``: ``wrong-quantity``, ``no-items``."""
    if state.has_seen(Deed.RECEIVE, command.document_id):
        return ()
    _document(command.document_id)
    units = _quantities(command.items, least=0)
    return (
        Received(command.document_id, command.items, command.actor, _left_after(state, units), now),
    )


def transfer(state: InventoryState, command: Transfer, store_id: str, now: float) -> Change:
    """Goods leave for another store. Raises ``Refused``: ``same-store``, ``unknown-sku``,
    ``short-stock`` (only what the pool really holds may leave), ``wrong-quantity``."""
    if state.has_seen(Deed.TRANSFER_OUT, command.document_id):
        return ()
    _document(command.document_id)
    if command.to_store in ("", store_id):
        raise Refused("same-store", "Name another store to transfer to.")
    units = _quantities(command.items, least=1)
    short = {sku: max(0, _known(state, sku).pool) for sku in units}
    short = {sku: held for sku, held in short.items() if held < units[sku]}
    if short:
        raise Refused("short-stock", "Less than that is free to leave this store.", short=short)
    out = {sku: -quantity for sku, quantity in units.items()}
    event = TransferredOut(
        command.document_id, command.to_store, command.items, command.actor,
        _left_after(state, out), now,
    )  # fmt: skip
    return (event, *_warnings(state, out))


def transfer_in(state: InventoryState, command: TransferIn, now: float) -> Change:
    """Goods arrive from another store, once per sender and document; lists SKUs."""
    if state.has_seen(Deed.TRANSFER_IN, command.from_store, command.document_id):
        return ()
    units = _quantities(command.items, least=1)
    return (
        TransferredIn(
            command.document_id, command.from_store, command.items, _left_after(state, units), now
        ),
    )


def count(state: InventoryState, command: Count, now: float) -> Change:
    """A stock-take: ``on_hand`` becomes what was counted plus what moved since ``as_of``.

    The result of a count older than one that was already applied changes nothing. Raises
    ``Refused``: ``wrong-quantity``, ``count-in-future``, ``count-too-old`` (movements since are no
    longer all remembered: count again), ``unknown-sku`` is no reason: a count lists the SKU.
    """
    if state.has_seen(Deed.COUNT, command.document_id):
        return ()
    _document(command.document_id)
    if not 0 <= command.counted <= QUANTITY_MAX:
        raise Refused("wrong-quantity", f"Count between 0 and {QUANTITY_MAX} units.")
    if command.as_of > now:
        raise Refused("count-in-future", "A stock-take cannot be of a time to come.")
    cell = state.cells.get(command.sku) or Cell()
    difference = 0
    if command.as_of > cell.counted_as_of:
        if command.as_of < cell.moves_since:
            raise Refused("count-too-old", "Too much has moved since this count. Count again.")
        since = sum(move.units for move in cell.moves if move.at > command.as_of)
        difference = command.counted + since - cell.on_hand
    change = {command.sku: difference}
    event = Counted(
        command.document_id, command.sku, command.counted, command.as_of, difference,
        command.actor, _left_after(state, change), now,
    )  # fmt: skip
    return (event, *_warnings(state, change, (command.document_id,)))


def mark_damaged(state: InventoryState, command: MarkDamaged, now: float) -> Change:
    """Units become damaged, or are mended. Raises ``Refused``: ``unknown-sku``,
    ``wrong-quantity`` (0, more than is there, more mended than damaged)."""
    if state.has_seen(Deed.DAMAGE, command.document_id):
        return ()
    _document(command.document_id)
    cell = _known(state, command.sku)
    damaged = cell.damaged + command.quantity
    if command.quantity == 0 or damaged < 0 or (command.quantity > 0 and damaged > cell.on_hand):
        raise Refused(
            "wrong-quantity",
            f"{command.sku} has {cell.on_hand} unit(s) on hand, {cell.damaged} of them damaged.",
        )
    change = {command.sku: -command.quantity}
    event = DamageMarked(
        command.document_id, command.sku, command.quantity, command.actor,
        _left_after(state, change), now,
    )  # fmt: skip
    return (event, *_warnings(state, change, (command.document_id,)))


# Settings of a cell -----------------------------------------------------------------------------


def set_safety(state: InventoryState, command: SetSafety) -> Change:
    """Safety stock and reorder model. Raises ``Refused``: ``unknown-sku``, ``wrong-model``."""
    cell = _known(state, command.sku)
    if not (0 <= command.safety <= QUANTITY_MAX and 0 <= command.order_quantity <= QUANTITY_MAX):
        raise Refused(
            "wrong-model", f"Safety stock and order quantity are between 0 and {QUANTITY_MAX}."
        )
    point = reorder_point(command)
    if (cell.safety, cell.reorder_point, cell.order_quantity) == (
        command.safety, point, command.order_quantity,
    ):  # fmt: skip
        return ()
    left = left_of(command.sku, cell, cell.safety - command.safety)
    event = SafetySet(command.sku, command.safety, point, command.order_quantity, (left,))
    after = Cell(
        cell.on_hand, cell.locked, cell.reserved, command.safety, cell.damaged, cell.oversell,
        point, command.order_quantity,
    )  # fmt: skip
    if after.is_low and not (cell.alerted and cell.is_low):
        return (event, _suggestion(command.sku, after, after.available))
    return (event,)


def reorder_point(model: SetSafety) -> int:
    """Fixed-quantity model: the demand of the lead time, and a buffer for its deviation at the
    service level (z of the normal distribution) or the safety stock, whichever is larger.

    0 (no reorder point: only the safety stock warns) when no demand is stated. Raises ``Refused``
    with ``wrong-model``, also for a point beyond ``QUANTITY_MAX``.
    """
    if not 0 < model.service_level < 1:
        raise Refused("wrong-model", "The service level lies between 0 and 1, such as 0.95.")
    figures = (model.lead_time_days, model.daily_demand, model.demand_deviation)
    if not all(0 <= figure < inf for figure in figures):
        raise Refused("wrong-model", "Lead time, demand and its deviation must be 0 or more.")
    if not (model.daily_demand or model.demand_deviation):
        return 0
    z = max(0.0, NormalDist().inv_cdf(model.service_level))
    buffer = z * model.demand_deviation * sqrt(model.lead_time_days)
    point = round(model.daily_demand * model.lead_time_days + max(buffer, model.safety), 9)
    if point > QUANTITY_MAX:
        raise Refused(
            "wrong-model",
            f"The reorder point would be above {QUANTITY_MAX} units: check lead time and demand.",
        )
    return ceil(point)


def set_oversell(state: InventoryState, command: SetOversell) -> Change:
    """How far beyond stock a SKU may be sold. Raises ``Refused``: ``unknown-sku``,
    ``wrong-quantity``. A limit below what is oversold already is reported as an anomaly."""
    cell = _known(state, command.sku)
    if not 0 <= command.limit <= QUANTITY_MAX:
        raise Refused("wrong-quantity", "The limit must be 0 or more.")
    if command.limit == cell.oversell:
        return ()
    left = left_of(command.sku, cell, command.limit - cell.oversell)
    changed = OversellSet(command.sku, command.limit, (left,))
    free = cell.available - cell.reserved
    if free < -command.limit and not cell.anomalous:
        documents = tuple(move.document for move in cell.moves[-ANOMALY_DOCUMENTS:])
        return changed, AnomalyFound(command.sku, free, documents)
    return (changed,)


def allot(state: InventoryState, command: Allot) -> Change:
    """Hold units for a channel, those it has locked already included. Raises ``Refused``:
    ``unknown-sku``, ``short-stock`` (the pool cannot spare so many), ``wrong-quantity``."""
    cell = _known(state, command.sku)
    if not 0 <= command.quantity <= QUANTITY_MAX or not command.channel:
        raise Refused("wrong-quantity", "Name a channel and 0 units or more.")
    held = cell.allotments.get(command.channel)
    free, taken = (0, 0) if held is None else (held.free, held.taken)
    if command.quantity == free + taken:
        return ()
    free_after = command.quantity - min(taken, command.quantity)
    if free_after - free > max(0, cell.pool):
        raise Refused(
            "short-stock", "The shared pool cannot spare so many units.",
            short={command.sku: max(0, cell.pool)},
        )  # fmt: skip
    left = left_of(command.sku, cell, free - free_after)
    channels = dict(left.channels)
    channels[command.channel] = free_after
    left = Left(command.sku, left.sellable, tuple(channels.items()))
    return (Allotted(command.sku, command.channel, command.quantity, (left,)),)


# Campaigns --------------------------------------------------------------------------------------


def set_aside(state: InventoryState, command: SetAside, now: float) -> Change:
    """Take a campaign's quota out of the pool. Raises ``Refused``: ``unknown-sku``,
    ``short-stock`` (what may be oversold is not stock), ``wrong-quantity``."""
    if state.has_seen(Deed.SET_ASIDE, command.document_id):
        return ()
    _document(command.document_id)
    units = _quantities(command.items, least=1)
    short = {sku: max(0, _known(state, sku).pool) for sku in units}
    short = {sku: held for sku, held in short.items() if held < units[sku]}
    if short:
        raise Refused("short-stock", "The shared pool cannot spare so many units.", short=short)
    left = _left_after(state, {sku: -quantity for sku, quantity in units.items()})
    return (QuotaSetAside(command.document_id, command.campaign_id, command.items, left, now),)


def give_back(state: InventoryState, command: GiveBack, now: float) -> Change:
    """A campaign's units return to the pool. Raises ``Refused`` with ``exceeds-quota``,
    ``unknown-sku``, ``wrong-quantity``."""
    if state.has_seen(Deed.GIVE_BACK, command.document_id):
        return ()
    _document(command.document_id)
    units = _quantities(command.items, least=1)
    for sku, quantity in units.items():
        if _known(state, sku).campaigns.get(command.campaign_id, 0) < quantity:
            raise Refused("exceeds-quota", f"The campaign does not hold so many units of {sku}.")
    left = _left_after(state, units)
    return (QuotaGivenBack(command.document_id, command.campaign_id, command.items, left, now),)


def sell_reserved(state: InventoryState, command: SellReserved, now: float) -> Change:
    """Units of a quota are sold, once per fulfilment. Raises ``Refused`` with ``lock-gone`` when
    the quota does not hold them: lock others, or refund."""
    if state.sale(command.fulfilment_id) is not None:
        return ()
    _some(command.items)
    for sku, quantity in _by_sku(command.items).items():
        cell = state.cells.get(sku)
        if cell is None or cell.campaigns.get(command.campaign_id, 0) < quantity:
            raise Refused(LOCK_GONE, f"The campaign's quota does not hold the units of {sku}.")
    units = _by_sku(command.items)
    left = tuple(left_of(sku, state.cells[sku]) for sku in units)
    sold = QuotaSold(
        command.fulfilment_id, command.order_id, command.campaign_id, command.items, left, now
    )
    warnings = _warnings(state, {sku: -quantity for sku, quantity in units.items()})
    # on hand falls, the pool does not: only low stock is to be told of
    return (sold, *[one for one in warnings if isinstance(one, ReplenishmentSuggested)])


def view(state: InventoryState | None, store_id: str, skus: Iterable[str]) -> StockView:
    """The cells asked for (all when none are named); SKUs that are not listed are left out."""
    if state is None:
        return StockView(store_id, ())
    names = list(dict.fromkeys(skus)) or sorted(state.cells)
    cells = [(sku, state.cells[sku]) for sku in names if sku in state.cells]
    return StockView(store_id, tuple(_cell_view(sku, cell) for sku, cell in cells),
                     len(state.locks))  # fmt: skip


def _cell_view(sku: str, cell: Cell) -> CellView:
    return CellView(
        sku, cell.on_hand, cell.locked, cell.reserved, cell.safety, cell.damaged, cell.sellable,
        cell.oversell, cell.reorder_point, cell.order_quantity,
        {channel: held.free for channel, held in cell.allotments.items()}, dict(cell.campaigns),
    )  # fmt: skip


# Warnings ---------------------------------------------------------------------------------------


def _warnings(
    state: InventoryState, change: Mapping[str, int], documents: tuple[str, ...] = ()
) -> list[Warned]:
    """Low stock and anomalies after sound units changed; each is told once until it has ended."""
    warnings: list[Warned] = []
    for sku, units in change.items():
        cell = state.cells.get(sku) or Cell()
        if units >= 0:
            continue
        available = cell.available + units
        if cell.would_be_low(available) and not cell.alerted:
            warnings.append(_suggestion(sku, cell, available))
        free = available - cell.reserved
        if free < -cell.oversell and not cell.anomalous:
            led_to_it = (*(move.document for move in cell.moves), *documents)
            warnings.append(AnomalyFound(sku, free, led_to_it[-ANOMALY_DOCUMENTS:]))
    return warnings


def _suggestion(sku: str, cell: Cell, available: int) -> ReplenishmentSuggested:
    """The model's fixed quantity, or what fills up to the reorder point and safety stock."""
    quantity = cell.order_quantity or max(1, cell.reorder_point + cell.safety - available)
    return ReplenishmentSuggested(sku, available, cell.reorder_point, quantity)


# Small checks -----------------------------------------------------------------------------------


def _known(state: InventoryState, sku: str) -> Cell:
    cell = state.cells.get(sku)
    if cell is None:
        raise Refused("unknown-sku", f"This store does not list {sku}. Receive it first.", sku=sku)
    return cell


def _document(document_id: str) -> None:
    if not document_id:
        raise Refused("no-document", "Give the document an id of its own.")


def _some(items: tuple[object, ...]) -> None:
    if not items:
        raise Refused("no-items", "Name at least one item.")


def _quantities(items: tuple[StockItem, ...], *, least: int) -> dict[str, int]:
    _some(items)
    units: dict[str, int] = {}
    for item in items:
        if not item.sku or not least <= item.quantity <= QUANTITY_MAX:
            raise Refused(
                "wrong-quantity", f"Name a SKU and between {least} and {QUANTITY_MAX} units."
            )
        units[item.sku] = units.get(item.sku, 0) + item.quantity
    return units


def _by_sku(items: Iterable[LockItem]) -> dict[str, int]:
    units: dict[str, int] = {}
    for item in items:
        units[item.sku] = units.get(item.sku, 0) + item.quantity
    return units


def _left_after(state: InventoryState, change: Mapping[str, int]) -> tuple[Left, ...]:
    return tuple(
        left_of(sku, state.cells.get(sku) or Cell(), units) for sku, units in change.items()
    )
