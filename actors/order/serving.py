"""What stores and riders report of fulfilments. Old, repeated and disordered reports change
nothing and are no error: their senders repeat them until they are answered."""

from typing import TypeAlias

from actors.engine.kind import Ask, Context, Decision
from actors.order.cancelling import cancel_part, resolve
from actors.order.owing import (
    close_ticket,
    correct_freed,
    correct_short,
    deduct,
    give_back,
    keep_on_shelf,
    notify_customer,
    notify_ops,
    refund,
    refund_cancelled,
    revise_ticket,
    settle,
    unassign,
)
from actors.order.rerouting import hand_on
from actors.order.turn import Turn
from domain.order.commands import (
    RecordDelivered,
    RecordFailed,
    RecordPicked,
    RecordProgress,
    RecordRejected,
    RecordReturned,
)
from domain.order.events import (
    CancelRequested,
    FulfilmentCancelled,
    FulfilmentDelivered,
    FulfilmentFailed,
    FulfilmentMoved,
    FulfilmentPicked,
    FulfilmentReturned,
    FulfilmentUncollected,
    PaymentFlagged,
)
from domain.order.ids import short_refund_id
from domain.order.money import cash_due, refund_short
from domain.order.rules import LIVE_STATES, WITH_STORE, progresses
from domain.order.state import (
    CASH,
    FINAL_PARTS,
    OrderState,
    Part,
    due_units,
    find_part,
    lines_of,
    units_due,
)
from domain.reasons import ALL_SHORT, CASH_DIFFERENCE, code_of
from domain.store.commands import (
    MISSING,
    SHORT_REASONS,
    SUBSTITUTE_REFUSED,
    UNWANTED,
    CancelTicket,
)

__all__ = [
    "record_delivered", "record_failed", "record_picked", "record_progress", "record_rejected",
    "record_returned",
]  # fmt: skip

Units: TypeAlias = tuple[tuple[str, int], ...]
"""(line id, units)."""

NOT_THERE = (MISSING, SUBSTITUTE_REFUSED)
"""Why units are short that the shelf did not have: a substitute is offered for nothing else."""

REFUNDS = {
    MISSING: ("short", "short"),
    SUBSTITUTE_REFUSED: ("substitute", SUBSTITUTE_REFUSED),
    UNWANTED: ("unwanted", UNWANTED),
}
"""By why units are short: the end of their refund's id, and the reason it gives."""


def record_progress(state: OrderState, command: RecordProgress, context: Context) -> Decision:
    """Mirror the fulfilment's state. Goods sold for cash leave the books when they leave the
    store. *collected* ends a paid fulfilment; one paid at the counter ends with its cash, by
    ``RecordDelivered``. *uncollected* reminds the customer."""
    part = _live(state, command.fulfilment_id)
    if part is None or not progresses(part, command.state, command.rider_id, command.at):
        return Decision()
    turn = Turn(state, context)
    if command.state == "uncollected":
        turn.record(FulfilmentUncollected(command.fulfilment_id, command.at))
        notify_customer(turn, "parcel-uncollected", fulfilment_id=command.fulfilment_id)
        return turn.decision()
    if command.state == "collected":
        if state.payment == "online":
            _deliver(turn, part, command.at, "", 0)
        return turn.decision()
    if command.state in ("picked_up", "at_customer"):
        _sell(turn, part)
    turn.record(FulfilmentMoved(command.fulfilment_id, command.state, command.at, command.rider_id))
    return turn.decision()


def record_picked(state: OrderState, command: RecordPicked, context: Context) -> Decision:
    """Packed; units that are not in it are refunded (or not collected). Those that the shelf did
    not have leave the books, unwanted ones are free again. A fulfilment with nothing in it is
    cancelled. May come late, even after the delivery; after a cancel it is told to stock alone."""
    part = find_part(state, command.fulfilment_id)
    if part is None or part.picked or part.fulfilment.store_id != command.store_id:
        return Decision()
    if part.state == "cancelled":
        return _picked_too_late(state, part, command, context)
    if state.state not in LIVE_STATES | {"completed"} or part.state in (
        "held", "parked", "returned", "returning",
    ):  # fmt: skip
        return Decision()
    short = _short(state, part, command)
    due = cash_due(state, part, short)
    reasons = _reasons(short, command)
    turn = Turn(state, context)
    turn.record(
        FulfilmentPicked(command.fulfilment_id, command.at, short, due, tuple(reasons.items()))
    )
    if not short:
        return turn.decision()
    correct_short(turn, part, _of(short, reasons, *NOT_THERE))
    keep_on_shelf(turn, part, _of(short, reasons, UNWANTED))
    cash_taken = state.payment == "cod" and part.state in ("delivered", "collected", "completed")
    if not due_units(turn.state, part) and not cash_taken:
        _nothing_left(turn, part, UNWANTED if UNWANTED in reasons.values() else "nothing-there")
        return turn.decision()
    for reason, (suffix, why) in REFUNDS.items():
        units = _of(short, reasons, reason)
        refund_id = short_refund_id(command.fulfilment_id, suffix)
        refund(turn, refund_short(turn.state, units, refund_id, turn.now, why))
    if cash_taken:
        if part.cash == due and not (state.flags or {}).get(command.fulfilment_id):
            due = cash_due(state, part)  # a difference that was closed before is one again
        _compare_cash(turn, command.fulfilment_id, part.cash, due)
    elif state.payment == "cod":
        revise_ticket(turn, part)
    return turn.decision()


def record_rejected(state: OrderState, command: RecordRejected, context: Context) -> Decision | Ask:
    """The store will not serve it: the next one is tried; while cancelling, it is cancelled."""
    part = find_part(state, command.fulfilment_id)
    if part is None or part.fulfilment.store_id != command.store_id:
        return Decision()
    turn, code = Turn(state, context), code_of(command.reason, command.reason_code)
    if part.state == "cancelled":
        _nothing_was_there(turn, part, code)
        return turn.decision()
    if _live(state, command.fulfilment_id) is None or part.state not in WITH_STORE:
        return Decision()
    if state.state != "cancelling":
        return hand_on(turn, part, command.reason, code)
    cancel_part(turn, part, state.reason)
    _nothing_was_there(turn, part, code)
    resolve(turn)
    settle(turn)
    return turn.decision()


def record_delivered(state: OrderState, command: RecordDelivered, context: Context) -> Decision:
    """At the door or collected; another sum than was due is flagged for operations."""
    part = _live(state, command.fulfilment_id)
    if part is None or part.state in ("parked", "returning"):
        return Decision()
    turn = Turn(state, context)
    _deliver(turn, part, command.at, command.rider_id, command.cash)
    return turn.decision()


def record_failed(state: OrderState, command: RecordFailed, context: Context) -> Decision:
    """Not delivered: the goods are on their way back."""
    part = _live(state, command.fulfilment_id)
    if part is None or part.state in ("parked", "returning"):
        return Decision()
    turn = Turn(state, context)
    _fail(turn, part, command.at, command.reason, command.rider_id)
    resolve(turn)
    return turn.decision()


def record_returned(state: OrderState, command: RecordReturned, context: Context) -> Decision:
    """The store has the goods: undelivered ones are back, or a cancel found them in the store
    (``accepted``), or they had left already (not ``accepted``)."""
    part = _live(state, command.fulfilment_id)
    if part is None or part.fulfilment.store_id != command.store_id or part.state == "parked":
        return Decision()
    turn = Turn(state, context)
    if not command.accepted:
        _left_already(turn, command.fulfilment_id)
    elif part.state in WITH_STORE:
        cancel_part(turn, part, state.reason or "held-back", command.damaged)
    else:
        _take_back(turn, part, command)
    resolve(turn)
    settle(turn)
    return turn.decision()


def _live(state: OrderState, fulfilment_id: str) -> Part | None:
    """The fulfilment, if reports of it can still mean something."""
    if state.state not in LIVE_STATES:
        return None
    part = find_part(state, fulfilment_id)
    return None if part is None or part.state in FINAL_PARTS else part


def _sell(turn: Turn, part: Part) -> None:
    if not part.sold:
        deduct(turn, part)


def _deliver(turn: Turn, part: Part, at: float, rider_id: str, cash: int) -> None:
    fulfilment_id = part.fulfilment.fulfilment_id
    due = cash_due(turn.state, part)
    _sell(turn, part)
    turn.record(FulfilmentDelivered(fulfilment_id, at, rider_id, cash))
    _compare_cash(turn, fulfilment_id, cash, due)
    close_ticket(turn, part, "delivered")
    resolve(turn)
    settle(turn)


def _compare_cash(turn: Turn, fulfilment_id: str, cash: int, due: int) -> None:
    """Operations hear of cash that was not what was due, as far as is known by now."""
    if cash == due:
        return
    reason = f"cash {cash} taken, {due} due"
    turn.record(
        PaymentFlagged(
            fulfilment_id, CASH, cash, turn.state.currency, reason, turn.now,
            reason_code=CASH_DIFFERENCE, due=due,
        )
    )  # fmt: skip
    notify_ops(turn, "cash-difference", fulfilment_id=fulfilment_id, reason=reason)


def _fail(turn: Turn, part: Part, at: float, reason: str, rider_id: str) -> None:
    _sell(turn, part)
    turn.record(FulfilmentFailed(part.fulfilment.fulfilment_id, at, reason, rider_id))


def _take_back(turn: Turn, part: Part, command: RecordReturned) -> None:
    fulfilment_id = command.fulfilment_id
    if part.state != "returning":  # the store's report overtook the rider's
        _fail(turn, part, command.at, "returned", part.rider_id)
    current = find_part(turn.state, fulfilment_id)
    assert current is not None
    give_back(turn, current, current.reason, command.damaged)
    turn.record(FulfilmentReturned(fulfilment_id, command.at, command.damaged))
    refund_cancelled(turn, [fulfilment_id], current.reason)
    close_ticket(turn, current, "returned")


def _left_already(turn: Turn, fulfilment_id: str) -> None:
    state = turn.state
    if fulfilment_id not in state.awaiting:
        return
    rest = tuple(each for each in state.awaiting if each != fulfilment_id)
    turn.record(CancelRequested(state.cancelled_by, state.reason, turn.now, rest))


def _nothing_left(turn: Turn, part: Part, reason: str) -> None:
    fulfilment = part.fulfilment
    unassign(turn, part)
    turn.record(FulfilmentCancelled(fulfilment.fulfilment_id, reason, turn.now))
    refund_cancelled(turn, [fulfilment.fulfilment_id], reason)
    turn.owe(f"store/{fulfilment.store_id}", CancelTicket(fulfilment.fulfilment_id, reason))
    close_ticket(turn, part, "cancelled")
    resolve(turn)
    settle(turn)


def _short(state: OrderState, part: Part, command: RecordPicked) -> Units:
    picked = dict(command.picked)
    short = []
    for line in lines_of(state, part):
        due = units_due(state, line)
        missing = due - max(0, picked.get(line.line_id, due))
        if missing > 0:
            short.append((line.line_id, missing))
    return tuple(short)


def _reasons(short: Units, command: RecordPicked) -> dict[str, str]:
    """Why each short line is; missing when the store did not say."""
    said = dict(command.reasons)
    known = ((line_id, said.get(line_id, MISSING)) for line_id, _units in short)
    return {line_id: why if why in SHORT_REASONS else MISSING for line_id, why in known}


def _of(short: Units, reasons: dict[str, str], *wanted: str) -> Units:
    return tuple((line_id, units) for line_id, units in short if reasons[line_id] in wanted)


def _picked_too_late(
    state: OrderState, part: Part, command: RecordPicked, context: Context
) -> Decision:
    """The order's cancel was faster and has freed all units, also those that the shelf did not
    have: these leave the books."""
    turn = Turn(state, context)
    short = _short(state, part, command)
    _count_freed(turn, part, _of(short, _reasons(short, command), *NOT_THERE))
    return turn.decision()


def _nothing_was_there(turn: Turn, part: Part, code: str) -> None:
    """A cancel has freed units that the store did not find: they leave the books."""
    if code == ALL_SHORT:
        _count_freed(turn, part, due_units(turn.state, part))


def _count_freed(turn: Turn, part: Part, missing: Units) -> None:
    """Once: what another report of the cancelled part says was missing changes nothing, nor what
    one says that its store had refused before (it was parked then, its units free). An order that
    was never paid was at no store."""
    state = turn.state
    old = part.picked or bool(part.until)
    if missing and not old and (state.payment == "cod" or state.kept):
        turn.record(FulfilmentPicked(part.fulfilment.fulfilment_id, turn.now, (), 0))
        correct_freed(turn, part, missing)
