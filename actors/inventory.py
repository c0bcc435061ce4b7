"""One store's stock as an actor kind; the rules are in ``domain.inventory.rules``.

Entity id = store id. Low stock and anomalies are told through ``notify/log``; overdue locks are
asked about at their orders, and given back when the order no longer wants (or knows) them.
"""

from typing import Any, TypeAlias, assert_never

from actors.engine.kind import NEVER, Answered, Context, Decision, Kind, Send, Wake
from domain.errors import Refused
from domain.inventory import rules
from domain.inventory.commands import (
    Allot,
    CorrectShort,
    Count,
    Deduct,
    Get,
    GiveBack,
    KeepOnShelf,
    Lock,
    MarkDamaged,
    Receive,
    RecordSale,
    Release,
    Return,
    SellReserved,
    SetAside,
    SetOversell,
    SetSafety,
    Transfer,
    TransferIn,
)
from domain.inventory.events import (
    LockConfirmed,
    Locked,
    ReplenishmentSuggested,
)
from domain.inventory.state import InventoryEvent, InventoryState, evolve
from domain.inventory.views import Accepted, StockView
from domain.notice import Notify
from domain.order.commands import ConfirmLock

__all__ = ["KIND", "decide", "wake_at"]

NOTICES = "notify/log"

InventoryCommand: TypeAlias = (
    Lock | Release | Deduct | RecordSale | Return | CorrectShort | KeepOnShelf | Receive | Transfer
    | TransferIn | Count | MarkDamaged | SetSafety | SetOversell | Allot | SetAside | GiveBack
    | SellReserved | Get
)  # fmt: skip
DocumentCommand: TypeAlias = (
    Return
    | CorrectShort
    | KeepOnShelf
    | Receive
    | Transfer
    | TransferIn
    | Count
    | MarkDamaged
    | SetAside
    | GiveBack
)


def decide(
    state: InventoryState | None, command: InventoryCommand | Wake | Answered, context: Context
) -> Decision:
    """Replies: ``Locked`` to ``Lock``, ``StockView`` to ``Get``, ``Accepted`` to documents, True to
    the rest."""
    now = context.now
    known = InventoryState() if state is None else state
    match command:
        case Lock():
            change = rules.lock(known, command, now)
            if not change:
                return Decision(reply=rules.locked_reply(known, command.fulfilment_id))
            return _decision(change, change[0], context)
        case Deduct():
            return Decision(rules.deduct(known, command, now), True)
        case RecordSale():
            return _decision(rules.record_sale(known, command, now), True, context)
        case SellReserved():
            return _decision(rules.sell_reserved(known, command, now), True, context)
        case Release():
            return Decision(rules.release(known, command, now), True)
        case Get(skus):
            return Decision(reply=rules.view(state, context.entity_id, skus))
        case Wake():
            return _ask_orders(known, context)
        case Answered():
            return _order_answered(known, command, now)
        case SetSafety():
            return _decision(rules.set_safety(known, command), True, context)
        case SetOversell():
            return _decision(rules.set_oversell(known, command), True, context)
        case Allot():
            return _decision(rules.allot(known, command), True, context)
        case _:
            return _document(known, command, context)


def _document(state: InventoryState, command: DocumentCommand, context: Context) -> Decision:
    now = context.now
    change: rules.Change
    sends: list[Send] = []
    match command:
        case Return():
            change = rules.return_goods(state, command, now)
        case CorrectShort():
            change = rules.correct_short(state, command, now)
        case KeepOnShelf():
            change = rules.keep_on_shelf(state, command, now)
        case Receive():
            change = rules.receive(state, command, now)
        case Transfer(document_id, to_store, items):
            change = rules.transfer(state, command, context.entity_id, now)
            if change:
                arrival = TransferIn(document_id, context.entity_id, items)
                sends.append(Send(f"inventory/{to_store}", arrival))
        case TransferIn():
            change = rules.transfer_in(state, command, now)
        case Count():
            change = rules.count(state, command, now)
        case SetAside():
            change = rules.set_aside(state, command, now)
        case GiveBack():
            change = rules.give_back(state, command, now)
        case MarkDamaged():
            change = rules.mark_damaged(state, command, now)
        case _:
            assert_never(command)
    return _decision(change, Accepted(command.document_id), context, sends)


def _decision(
    change: rules.Change, reply: Any, context: Context, sends: list[Send] | None = None
) -> Decision:
    """The decision with a notice for each warning of the change."""
    if len(change) < 2:
        return Decision(change, reply, sends or ())
    _event, *warnings = change
    notices = [Send(NOTICES, _notice(warning, context.entity_id)) for warning in warnings]
    return Decision(change, reply, [*(sends or ()), *notices])


def _notice(event: rules.Warned, store_id: str) -> Notify:
    if isinstance(event, ReplenishmentSuggested):
        facts = {
            "store_id": store_id, "sku": event.sku, "available": str(event.on_hand),
            "reorder_point": str(event.reorder_point), "quantity": str(event.quantity),
        }  # fmt: skip
        return Notify("ops", "replenishment-suggested", facts)
    facts = {
        "store_id": store_id, "sku": event.sku, "sellable": str(event.sellable),
        "documents": ", ".join(event.documents),
    }  # fmt: skip
    return Notify("ops", "stock-anomaly", facts)


# Overdue locks ----------------------------------------------------------------------------------


def wake_at(state: InventoryState) -> float:
    """When the next lock is past its expiry and the order's grace."""
    return state.expiries[0][0] + rules.ASK_GRACE_S if state.expiries else NEVER


def _ask_orders(state: InventoryState, context: Context) -> Decision:
    overdue = rules.ask_overdue(state, context.now)
    if not overdue:
        return Decision()
    sends = [
        Send(f"order/{order_id}", ConfirmLock(fulfilment_id, context.entity_id), wants_answer=True)
        for fulfilment_id, order_id in overdue
    ]
    return Decision([rules.asked(overdue, context.now)], sends=sends)


def _order_answered(state: InventoryState, command: Answered, now: float) -> Decision:
    """Any refusal but *unknown order* leaves the lock as it is: it will be asked about again."""
    fulfilment_id = command.command.fulfilment_id
    if fulfilment_id not in state.locks:
        return Decision()
    if command.answer is True:
        return Decision([LockConfirmed(fulfilment_id, now + rules.ASK_AGAIN_S)])
    problem = command.problem
    if command.answer is False or (problem is not None and problem.code == "unknown-order"):
        try:
            return Decision(rules.release(state, Release(fulfilment_id, "expired"), now))
        except Refused:
            return Decision()
    return Decision()


KIND = Kind(
    name="inventory",
    never_packed=True,
    state=InventoryState,
    commands=InventoryCommand,
    events=InventoryEvent,
    replies=Locked | StockView | Accepted | bool,
    decide=decide,
    evolve=evolve,
    wake_at=wake_at,
)
