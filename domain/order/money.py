"""What is due, what can still go back, and exactly how much. DOMAIN, Order life and Payment.

Rule of freight: a fulfilment's freight goes back when that fulfilment was not delivered.
"""

from collections.abc import Iterable

from domain.errors import Refused
from domain.order.commands import RefundUnits
from domain.order.events import Line, RefundLine, RefundRequested
from domain.order.ids import whole_refund_id
from domain.order.state import OrderState, Part, lines_of
from domain.pricing import units_amount

__all__ = [
    "cash_due", "refund_cuts", "refund_parts", "refund_payment", "refund_short", "refund_units",
    "short_amount",
]  # fmt: skip


def cash_due(state: OrderState, part: Part, short: Iterable[tuple[str, int]] = ()) -> int:
    """Cash to collect for a fulfilment, minor units: nothing of an online order; else its lines
    less the units its store did not have (``short``: those just found missing), and its freight."""
    if state.payment != "cod" or part.state in ("cancelled", "returned"):
        return 0
    due = part.fulfilment.freight
    found_missing = dict(short)
    for line in lines_of(state, part):
        due += line.amount
        mark = state.marks.get(line.line_id)
        missing = found_missing.get(line.line_id, 0) + (mark.short if mark else 0)
        if missing:
            due -= units_amount(line.amount, line.quantity, 0, missing)
    return due


def short_amount(state: OrderState, line: Line) -> int:
    """What a COD order's missing units of a line would have cost, minor units: never collected."""
    mark = state.marks.get(line.line_id)
    if state.payment != "cod" or mark is None or not mark.short:
        return 0
    return units_amount(line.amount, line.quantity, 0, mark.short)


def refund_parts(
    state: OrderState, parts: Iterable[Part], refund_id: str, reason: str, at: float
) -> RefundRequested | None:
    """All that was paid for these fulfilments and not yet given back, freight included; None when
    that is nothing or the order was not paid online."""
    units: list[tuple[Line, int]] = []
    freight_of: list[Part] = []
    for part in parts:
        units += [(line, line.quantity) for line in lines_of(state, part)]
        if not part.freight_refunded:
            freight_of.append(part)
    return _refund(state, refund_id, units, freight_of, reason, at)


def refund_short(
    state: OrderState, short: Iterable[tuple[str, int]], refund_id: str, at: float,
    reason: str = "short",
) -> RefundRequested | None:  # fmt: skip
    """What units that were not packed had cost; None when nothing is owed."""
    by_id = {line.line_id: line for line in state.lines}
    units = [(by_id[line_id], quantity) for line_id, quantity in short]
    return _refund(state, refund_id, units, [], reason, at)


def refund_units(
    state: OrderState, units: Iterable[RefundUnits], refund_id: str, reason: str, at: float
) -> RefundRequested | None:
    """Exactly what these units had cost; None when they had cost nothing.

    Raises ``Refused``: ``unknown-line``, ``bad-quantity``, ``refund-exceeds`` (fewer are left).
    """
    wanted: dict[str, int] = {}
    for unit in units:
        if unit.quantity <= 0:
            raise Refused("bad-quantity", "Name at least one unit of each line to refund.")
        wanted[unit.line_id] = wanted.get(unit.line_id, 0) + unit.quantity
    if not wanted:
        raise Refused("bad-quantity", "Name at least one line to refund.")
    by_id = {line.line_id: line for line in state.lines}
    for line_id, quantity in wanted.items():
        if line_id not in by_id:
            raise Refused("unknown-line", f"The order has no line {line_id}.", line_id=line_id)
        left = _left(state, by_id[line_id])
        if quantity > left:
            raise Refused(
                "refund-exceeds",
                f"Only {left} unit(s) of line {line_id} can still be refunded.",
                line_id=line_id,
                left=left,
            )
    return _refund(
        state, refund_id, [(by_id[key], value) for key, value in wanted.items()], [], reason, at
    )


def refund_payment(
    payment_id: str, provider: str, amount: int, currency: str, reason: str, at: float,
    number: int = 0,
) -> RefundRequested:  # fmt: skip
    """A payment's ``number``-th captured sum that the order cannot use, whole: once, by its id."""
    refund_id = whole_refund_id(payment_id, number)
    return RefundRequested(
        refund_id, payment_id, provider, amount, 0, (), reason, at, currency=currency
    )


def refund_cuts(
    state: OrderState, cuts: Iterable[tuple[str, int]], refund_id: str, reason: str, at: float
) -> RefundRequested | None:
    """The difference to a price that fell after it was paid, for the units still paid for; call it
    before the event that records the cuts. None when nothing is owed."""
    by_id = {line.line_id: line for line in state.lines}
    lines = []
    for line_id, cut in cuts:
        line = by_id[line_id]
        done = _refunded(state, line)
        amount = cut - cut * done // line.quantity
        if amount:
            lines.append(RefundLine(line_id, 0, amount))
    total = sum(line.amount for line in lines)
    if not total or not state.kept or refund_id in state.refunds:
        return None
    provider = state.payments[state.kept].provider
    return RefundRequested(refund_id, state.kept, provider, total, 0, tuple(lines), reason, at)


def _refund(
    state: OrderState,
    refund_id: str,
    units: list[tuple[Line, int]],
    freight_of: list[Part],
    reason: str,
    at: float,
) -> RefundRequested | None:
    if not state.kept or refund_id in state.refunds:
        return None
    lines = []
    for line, quantity in units:
        quantity = min(quantity, _left(state, line))
        if quantity:
            done = _refunded(state, line)
            price = line.amount - _cut(state, line)
            amount = units_amount(price, line.quantity, done, quantity)
            lines.append(RefundLine(line.line_id, quantity, amount))
    freight = sum(part.fulfilment.freight for part in freight_of)
    amount = sum(line.amount for line in lines) + freight
    if not amount:
        return None
    return RefundRequested(
        refund_id,
        state.kept,
        state.payments[state.kept].provider,
        amount,
        freight,
        tuple(lines),
        reason,
        at,
        freight_of=tuple(part.fulfilment.fulfilment_id for part in freight_of),
    )


def _refunded(state: OrderState, line: Line) -> int:
    mark = state.marks.get(line.line_id)
    return mark.refunded if mark else 0


def _cut(state: OrderState, line: Line) -> int:
    mark = state.marks.get(line.line_id)
    return mark.cut if mark else 0


def _left(state: OrderState, line: Line) -> int:
    return line.quantity - _refunded(state, line)
