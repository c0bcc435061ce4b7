"""One store's stock as it is kept: cells, locks, sales that may still come back, documents seen.

``evolve`` applies one event in place. It is written for many locks: a lock costs some 700 bytes and
a few microseconds, and the next expiry is known at once (a heap in the state).
"""

from collections.abc import Mapping
from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import TypeAlias, assert_never

from msgspec import Struct, field
from msgspec.msgpack import Decoder

from domain.history import History, recall, remember, reopen
from domain.inventory.commands import LockItem
from domain.inventory.events import (
    Allotted,
    AnomalyFound,
    Counted,
    DamageMarked,
    Deducted,
    KeptOnShelf,
    Left,
    LockConfirmed,
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

__all__ = [
    "MOVES_KEPT_S", "MOVES_MAX", "REMEMBERED_S", "Allotment", "Cell",
    "Deed", "InventoryEvent", "InventoryState", "LockRecord", "Move", "evolve", "left_of",
]  # fmt: skip

MOVES_MAX = 512
"""Most movements a cell remembers; a busier cell forgets its older half."""
MOVES_KEPT_S = 2 * 86_400.0
"""Movements older than this are forgotten: how late the result of a stock-take may arrive."""
REMEMBERED_S = 2 * 86_400.0
"""Sales (for returns) and documents seen (for repeats) are remembered for at least so long. Of an
older sale the order's word is taken."""

InventoryEvent: TypeAlias = (
    Locked | LockConfirmed | LocksAsked | Released | Deducted | Returned | ShortCorrected
    | KeptOnShelf | Received | TransferredOut | TransferredIn | Counted | DamageMarked | SafetySet
    | Sold | OversellSet | Allotted | ReplenishmentSuggested | AnomalyFound | QuotaSetAside
    | QuotaGivenBack | QuotaSold
)  # fmt: skip


class Deed(StrEnum):
    """What was done to the stock, as its memory names it. The values are stored: with them and the
    ids of whoever caused it a deed is recognised when it is asked for again."""

    RELEASED = "released"
    """Of a fulfilment's lock."""
    RETURN = "return"
    SHORT = "short"
    KEPT = "kept"
    RECEIVE = "receive"
    TRANSFER_OUT = "transfer"
    TRANSFER_IN = "transfer-in"
    """Of the sending store and the document: two stores may give theirs the same id."""
    COUNT = "count"
    DAMAGE = "damage"
    SET_ASIDE = "set-aside"
    GIVE_BACK = "give-back"


class Move(Struct, array_like=True, gc=False):
    """One change of ``on_hand`` and the document behind it."""

    at: float
    units: int
    document: str


class Allotment(Struct, array_like=True, gc=False):
    """Units held for one channel: ``free`` to be locked, ``taken`` locked and not yet sold."""

    free: int
    taken: int = 0


class Cell(Struct, array_like=True, gc=False):
    """One SKU at one store (DOMAIN, Stock). ``damaged`` units are part of ``on_hand``."""

    on_hand: int = 0
    locked: int = 0
    reserved: int = 0
    """Sum of the allotments' free units and of the campaigns' quotas."""
    safety: int = 0
    damaged: int = 0
    oversell: int = 0
    reorder_point: int = 0
    order_quantity: int = 0
    alerted: bool = False
    """Low stock was told, and no goods came in since that mended it."""
    anomalous: bool = False
    counted_as_of: float = 0.0
    moves_since: float = 0.0
    """``moves`` is complete from here on."""
    moves: list[Move] = field(default_factory=list)
    allotments: dict[str, Allotment] = field(default_factory=dict)
    campaigns: dict[str, int] = field(default_factory=dict)
    """Units set aside for each campaign and not yet sold or given back."""

    @property
    def available(self) -> int:
        """Sound units not promised to an order; below zero when more was sold than is there."""
        return self.on_hand - self.locked - self.damaged

    @property
    def pool(self) -> int:
        """Units every channel may sell online; below zero when safety stock is touched."""
        return self.on_hand - self.locked - self.reserved - self.safety - self.damaged

    @property
    def sellable(self) -> int:
        """What a lock of any channel would still get: the pool and what may be oversold."""
        return max(0, self.pool + self.oversell)

    @property
    def is_low(self) -> bool:
        """See :meth:`would_be_low`."""
        return self.would_be_low(self.available)

    def would_be_low(self, available: int) -> bool:
        """Whether so many available units are below safety stock, or not above the reorder
        point; a cell without either is never low."""
        return available <= self.reorder_point > 0 or available < self.safety > 0

    @property
    def is_anomalous(self) -> bool:
        """More is promised or held for channels than is there and may be oversold."""
        return self.available - self.reserved < -self.oversell


class LockRecord(Struct, array_like=True, gc=False):
    """A fulfilment's lock, and after the deduction its sale."""

    order_id: str
    items: tuple[LockItem, ...]
    """What is locked (or sold) now; units that were not packed have left it."""
    ask_at: float | None
    """Past this the order is asked; None: never."""
    channel: str = ""
    taken: tuple[int, ...] = ()
    """Per item, units that came from the channel's allotment; () when none did."""
    returned: dict[str, int] | None = None
    """Units of the sale that came back, by :func:`item_key`."""
    shortened: bool = False
    """Units that were not packed have left ``items``."""


class InventoryState(Struct, array_like=True, gc=False):
    """One store's stock."""

    cells: dict[str, Cell] = field(default_factory=dict)
    locks: dict[str, LockRecord] = field(default_factory=dict)
    expiries: list[tuple[float, str]] = field(default_factory=list)
    """A heap of (ask_at, fulfilment id). Entries that no longer hold are left until they come to
    the top, which is always live."""
    sales: History[LockRecord] = field(default_factory=History)
    """Deducted fulfilments; see ``REMEMBERED_S``."""
    seen: History[float] = field(default_factory=History)
    """Documents, and released fulfilments, with their time."""

    def sale(self, fulfilment_id: str) -> LockRecord | None:
        """A deducted fulfilment that is still remembered."""
        return recall(self.sales, fulfilment_id, _SALES)

    def has_seen(self, deed: Deed, *ids: str) -> bool:
        """Whether this was done before for these ids (see :class:`Deed`)."""
        return recall(self.seen, _memory_key(deed, ids), _TIMES) is not None


_SALES: Decoder[list[LockRecord]] = Decoder(list[LockRecord])
_TIMES: Decoder[list[float]] = Decoder(list[float])


def _memory_key(deed: Deed, ids: tuple[str, ...]) -> str:
    return " ".join((deed, *ids))


def item_key(line_id: str, sku: str) -> str:
    """Names one item of a fulfilment: a combo line has several SKUs."""
    return f"{line_id} {sku}"


def left_of(sku: str, cell: Cell, pool_change: int = 0) -> Left:
    """What is sellable of a cell after ``pool_change`` more units in the pool."""
    sellable = (
        cell.on_hand - cell.locked - cell.reserved - cell.safety - cell.damaged
        + cell.oversell + pool_change
    )  # fmt: skip
    if sellable < 0:
        sellable = 0
    if not cell.allotments:
        return Left(sku, sellable)
    return Left(sku, sellable, tuple((name, held.free) for name, held in cell.allotments.items()))


def evolve(state: InventoryState | None, event: InventoryEvent) -> InventoryState:
    """Apply one event in place; never fails on valid history."""
    if state is None:
        state = InventoryState()
    match event:
        case Locked():
            _locked(state, event)
        case Deducted():
            _deducted(state, event)
        case Released():
            _released(state, event)
        case LockConfirmed(fulfilment_id, ask_at):
            _ask_later(state, fulfilment_id, ask_at)
        case LocksAsked(fulfilment_ids, ask_at):
            for fulfilment_id in fulfilment_ids:
                _ask_later(state, fulfilment_id, ask_at)
        case Sold():
            _sold(state, event)
        case Returned():
            _returned(state, event)
        case ShortCorrected():
            _short_corrected(state, event)
        case KeptOnShelf():
            _kept_on_shelf(state, event)
        case Received(document_id, items, _, _, at):
            _see(state, at, Deed.RECEIVE, document_id)
            for item in items:
                _goods_in(_cell(state, item.sku), item.quantity, document_id, at)
        case TransferredIn(document_id, from_store, items, _, at):
            _see(state, at, Deed.TRANSFER_IN, from_store, document_id)
            for item in items:
                _goods_in(_cell(state, item.sku), item.quantity, document_id, at)
        case TransferredOut(document_id, _, items, _, _, at):
            _see(state, at, Deed.TRANSFER_OUT, document_id)
            for item in items:
                _move(_cell(state, item.sku), -item.quantity, document_id, at)
        case Counted():
            _counted(state, event)
        case DamageMarked(document_id, sku, quantity, _, _, at):
            _see(state, at, Deed.DAMAGE, document_id)
            cell = _cell(state, sku)
            cell.damaged += quantity
            _settle(cell, rose=quantity < 0)
        case SafetySet(sku, safety, reorder_point, order_quantity):
            cell = _cell(state, sku)
            cell.safety, cell.reorder_point = safety, reorder_point
            cell.order_quantity = order_quantity
            _settle(cell, rose=True)
        case OversellSet(sku, limit):
            cell = _cell(state, sku)
            cell.oversell = limit
            _settle(cell, rose=False)
        case Allotted(sku, channel, quantity):
            _allotted(_cell(state, sku), channel, quantity)
        case QuotaSetAside(document_id, campaign_id, units, _, at):
            _see(state, at, Deed.SET_ASIDE, document_id)
            for item in units:
                _reserve(_cell(state, item.sku), campaign_id, item.quantity)
        case QuotaGivenBack(document_id, campaign_id, units, _, at):
            _see(state, at, Deed.GIVE_BACK, document_id)
            for item in units:
                _reserve(_cell(state, item.sku), campaign_id, -item.quantity)
        case QuotaSold():
            _quota_sold(state, event)
        case ReplenishmentSuggested(sku):
            _cell(state, sku).alerted = True
        case AnomalyFound(sku):
            _cell(state, sku).anomalous = True
        case _:
            assert_never(event)
    return state


# Locks ------------------------------------------------------------------------------------------


def _locked(state: InventoryState, event: Locked) -> None:
    cells = state.cells
    channel = event.channel
    taken: list[int] | None = None
    for number, item in enumerate(event.items):
        cell = cells[item.sku]
        cell.locked += item.quantity
        if channel in cell.allotments:
            held = cell.allotments[channel]
            units = min(held.free, item.quantity)
            held.free -= units
            held.taken += units
            cell.reserved -= units
            if units:
                taken = taken or [0] * len(event.items)
                taken[number] = units
    ask_at = event.expires_at
    state.locks[event.fulfilment_id] = LockRecord(
        event.order_id, event.items, ask_at, channel, tuple(taken) if taken else ()
    )
    if ask_at is not None:
        heappush(state.expiries, (ask_at, event.fulfilment_id))


def _released(state: InventoryState, event: Released) -> None:
    lock = state.locks.pop(event.fulfilment_id)
    for number, item in enumerate(lock.items):
        _unlock(state.cells[item.sku], lock, number, item.quantity)
    _see(state, event.at, Deed.RELEASED, event.fulfilment_id)
    _tidy(state)


def _deducted(state: InventoryState, event: Deducted) -> None:
    lock = state.locks.pop(event.fulfilment_id)
    for number, item in enumerate(lock.items):
        cell = state.cells[item.sku]
        cell.locked -= item.quantity
        _consume(cell, lock, number, item.quantity)
        _move(cell, -item.quantity, event.fulfilment_id, event.at)
    lock.ask_at = None
    lock.taken = ()
    _remember_sale(state, event.fulfilment_id, lock, event.at)
    _tidy(state)


def _sold(state: InventoryState, event: Sold) -> None:
    for item in event.items:
        _move(_cell(state, item.sku), -item.quantity, event.fulfilment_id, event.at)
    sale = LockRecord(event.order_id, event.items, None)
    _remember_sale(state, event.fulfilment_id, sale, event.at)


def _remember_sale(state: InventoryState, fulfilment_id: str, sale: LockRecord, at: float) -> None:
    remember(state.sales, fulfilment_id, sale, at, REMEMBERED_S)


def _reopened(state: InventoryState, fulfilment_id: str, at: float) -> LockRecord | None:
    """A sale, to be changed in place."""
    return reopen(state.sales, fulfilment_id, _SALES, at, REMEMBERED_S)


def _quota_sold(state: InventoryState, event: QuotaSold) -> None:
    for item in event.items:
        cell = state.cells[item.sku]
        _reserve(cell, event.campaign_id, -item.quantity)
        _move(cell, -item.quantity, event.fulfilment_id, event.at)
    sale = LockRecord(event.order_id, event.items, None)
    _remember_sale(state, event.fulfilment_id, sale, event.at)


def _reserve(cell: Cell, campaign_id: str, units: int) -> None:
    """More units for a campaign (negative: fewer)."""
    cell.reserved += units
    kept = cell.campaigns.get(campaign_id, 0) + units
    if kept:
        cell.campaigns[campaign_id] = kept
    else:
        cell.campaigns.pop(campaign_id, None)
    _settle(cell, rose=False)


def _consume(cell: Cell, lock: LockRecord, number: int, units: int) -> None:
    """Units taken from an allotment are used up."""
    held = cell.allotments.get(lock.channel)
    if held is not None and lock.taken:
        held.taken -= min(lock.taken[number], held.taken, units)


def _taken_from(state: InventoryState, event: ShortCorrected | KeptOnShelf) -> LockRecord | None:
    """The lock or the sale whose units the event is about."""
    if event.was_locked:
        return state.locks[event.fulfilment_id]
    return _reopened(state, event.fulfilment_id, event.at)


def _short_corrected(state: InventoryState, event: ShortCorrected) -> None:
    _see(state, event.at, Deed.SHORT, event.document_id)
    record = _taken_from(state, event)
    if record is None:
        return
    missing = {item_key(item.line_id, item.sku): item.quantity for item in event.items}
    for number, item in enumerate(record.items):
        units = missing.get(item_key(item.line_id, item.sku), 0)
        if units and event.was_locked:
            cell = state.cells[item.sku]
            cell.locked -= units
            _consume(cell, record, number, units)
            _move(cell, -units, event.document_id, event.at)
    _shrink(record, missing)


def _kept_on_shelf(state: InventoryState, event: KeptOnShelf) -> None:
    _see(state, event.at, Deed.KEPT, event.document_id)
    record = _taken_from(state, event)
    freed = {item_key(item.line_id, item.sku): item.quantity for item in event.items}
    if event.was_locked:
        assert record is not None
        for number, item in enumerate(record.items):
            units = freed.get(item_key(item.line_id, item.sku), 0)
            if units:
                _unlock(state.cells[item.sku], record, number, units)
    else:
        for item in event.items:
            _goods_in(state.cells[item.sku], item.quantity, event.document_id, event.at)
    if record is not None:
        _shrink(record, freed)


def _unlock(cell: Cell, lock: LockRecord, number: int, units: int) -> None:
    """Units of one item of a lock are free again, first for the channel they were held for."""
    cell.locked -= units
    held = cell.allotments.get(lock.channel)
    if held is not None and lock.taken:
        back = min(lock.taken[number], held.taken, units)
        held.taken -= back
        held.free += back
        cell.reserved += back
    _settle(cell, rose=False)


def _shrink(record: LockRecord, gone: Mapping[str, int]) -> None:
    """A lock or sale holds so many units less, by :func:`item_key`."""
    kept: list[LockItem] = []
    taken: list[int] = []
    for number, item in enumerate(record.items):
        units = gone.get(item_key(item.line_id, item.sku), 0)
        if item.quantity > units:
            kept.append(LockItem(item.line_id, item.sku, item.quantity - units))
            taken.append(max(0, record.taken[number] - units) if record.taken else 0)
    record.shortened = True
    record.items = tuple(kept)
    record.taken = tuple(taken) if record.taken else ()


def _ask_later(state: InventoryState, fulfilment_id: str, ask_at: float | None) -> None:
    lock = state.locks.get(fulfilment_id)
    if lock is not None:
        lock.ask_at = ask_at
        if ask_at is not None:
            heappush(state.expiries, (ask_at, fulfilment_id))
    _tidy(state)


def _tidy(state: InventoryState) -> None:
    """Keep the heap's top live, and the heap not much larger than the locks it is about."""
    heap, locks = state.expiries, state.locks
    while heap:
        lock = locks.get(heap[0][1])
        if lock is not None and lock.ask_at == heap[0][0]:
            break
        heappop(heap)
    if len(heap) > 2 * len(locks) + 1_000:
        heap[:] = [(lock.ask_at, name) for name, lock in locks.items() if lock.ask_at is not None]
        heapify(heap)


# Goods ------------------------------------------------------------------------------------------


def _returned(state: InventoryState, event: Returned) -> None:
    _see(state, event.at, Deed.RETURN, event.document_id)
    sale = _reopened(state, event.fulfilment_id, event.at)
    for item in event.items:
        cell = _cell(state, item.sku)
        cell.damaged += item.damaged
        _goods_in(cell, item.quantity, event.document_id, event.at)
        if sale is not None:
            key = item_key(item.line_id, item.sku)
            sale.returned = sale.returned or {}
            sale.returned[key] = sale.returned.get(key, 0) + item.quantity


def _counted(state: InventoryState, event: Counted) -> None:
    """A correction belongs to the moment of the count, so that later counts do not see it twice."""
    _see(state, event.at, Deed.COUNT, event.document_id)
    cell = _cell(state, event.sku)
    cell.on_hand += event.difference
    if event.as_of > cell.counted_as_of:
        cell.counted_as_of = event.as_of
    if event.difference:
        place = len(cell.moves)
        while place and cell.moves[place - 1].at > event.as_of:
            place -= 1
        cell.moves.insert(place, Move(event.as_of, event.difference, event.document_id))
    _settle(cell, rose=event.difference > 0)


def _goods_in(cell: Cell, units: int, document: str, at: float) -> None:
    if units:
        _move(cell, units, document, at)
    _settle(cell, rose=True)


def _move(cell: Cell, units: int, document: str, at: float) -> None:
    cell.on_hand += units
    moves = cell.moves
    moves.append(Move(at, units, document))
    if len(moves) > MOVES_MAX or (len(moves) >= 32 and moves[0].at < at - MOVES_KEPT_S):
        kept = moves[-(MOVES_MAX // 2) :] if len(moves) > MOVES_MAX else moves
        cell.moves = [move for move in kept if move.at >= at - MOVES_KEPT_S]
        cell.moves_since = cell.moves[0].at


def _allotted(cell: Cell, channel: str, quantity: int) -> None:
    """``quantity`` counts what the channel has locked already; see ``rules`` for the rule."""
    held = cell.allotments.get(channel)
    taken = 0 if held is None else min(held.taken, quantity)
    if held is not None:
        cell.reserved -= held.free
    if quantity:
        cell.allotments[channel] = Allotment(quantity - taken, taken)
        cell.reserved += quantity - taken
    elif held is not None:
        del cell.allotments[channel]
    _settle(cell, rose=False)


def _settle(cell: Cell, *, rose: bool) -> None:
    """Warnings end when what they told of has ended; low stock only when goods really came in."""
    if cell.alerted and rose and not cell.is_low:
        cell.alerted = False
    if cell.anomalous and not cell.is_anomalous:
        cell.anomalous = False


def _cell(state: InventoryState, sku: str) -> Cell:
    cell = state.cells.get(sku)
    if cell is None:
        cell = state.cells[sku] = Cell()
    return cell


def _see(state: InventoryState, at: float, deed: Deed, *ids: str) -> None:
    remember(state.seen, _memory_key(deed, ids), at, at, REMEMBERED_S)
