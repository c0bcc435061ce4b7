"""From a wish to priced lines, and from a routing plan to fulfilments. DOMAIN, Order life, Routing.

Rule of freight: an order bears one delivery fee however it is split: the highest fee that a store
of its plan asks for the whole order's goods. It is shared among the fulfilments in proportion to
their goods, exact to the minor unit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite

from msgspec.structs import replace

from domain.bounds import TOTAL_MAX
from domain.catalogue.model import ChannelPolicy, Sku
from domain.catalogue.rules import explode
from domain.errors import Refused
from domain.inventory.commands import LockItem
from domain.order import ids
from domain.order.commands import Place, PlaceLine
from domain.order.events import Fulfilment, Line, Unit
from domain.pricing import apportion, freight, units_amount
from domain.routing import Demand, Part

__all__ = [
    "Piece", "ServedPart", "allocation_of", "check_wish", "demand_of", "fulfilments_of",
    "order_freight", "pickup_code", "price", "share_freight", "share_out", "stock_items",
    "wrong_currency", "wrong_total",
]  # fmt: skip

Piece = tuple[Line, int]
"""A line (or a part of one) and how many of its units its store is to find."""


@dataclass(slots=True)
class ServedPart:
    """A part of a plan under the id that its fulfilment has (or will have)."""

    fulfilment_id: str
    part: Part
    pieces: list[Piece]


def check_wish(command: Place) -> None:
    """Refuse what cannot be an order whatever the catalogue says.

    Raises ``Refused``: ``bad-delivery``, ``bad-payment``, ``no-address``, ``bad-address``,
    ``no-store``, ``no-customer``.
    """
    if command.delivery == "delivery":
        if command.address is None:
            raise Refused("no-address", "An order to be delivered needs an address.")
        position = command.address.position
        if not (abs(position.lat) <= 90 and abs(position.lon) <= 180 and isfinite(position.lon)):
            raise Refused("bad-address", "Latitude is -90 to 90 and longitude -180 to 180 degrees.")
    elif command.delivery != "pickup":
        raise Refused("bad-delivery", "The delivery is either `delivery` or `pickup`.")
    elif not command.store_id:
        raise Refused("no-store", "Name the store where the order will be collected.")
    if command.payment not in ("online", "cod"):
        raise Refused("bad-payment", "The payment is either `online` or `cod`.")
    if command.payment == "cod" and not command.customer.customer_id:
        raise Refused("no-customer", "Cash on delivery needs a known customer.")


def price(
    order_id: str,
    wishes: Sequence[PlaceLine],
    skus: Mapping[str, Sku],
    policy: ChannelPolicy,
    discount: int = 0,
) -> list[Line]:
    """The order's lines, duplicates added up, each with its exact share of ``discount``.

    Their ``fulfilment_id`` is still empty. Raises ``Refused``: ``no-lines``, ``too-many-lines``,
    ``bad-quantity``, ``unknown-sku`` (with the SKUs).
    """
    wanted = _merge(wishes, policy)
    unknown = [sku for sku in wanted if sku not in skus]
    if unknown:
        raise Refused(
            "unknown-sku", f"Nothing is sold as {', '.join(unknown)}. Remove it.", skus=unknown
        )
    gross = [skus[sku].price * quantity for sku, quantity in wanted.items()]
    if sum(gross) > TOTAL_MAX:
        raise Refused("bad-quantity", "This costs more than one order can: order fewer units.")
    shares = apportion(discount, gross)
    lines = []
    for number, (name, quantity) in enumerate(wanted.items()):
        sku = skus[name]
        lines.append(
            Line(
                ids.line_id(order_id, number + 1),
                name,
                sku.name,
                quantity,
                sku.price,
                gross[number] - shares[number],
                "",
                _stock(sku, skus),
                sku.barcode,
                sku.weight_g,
                sku.volume_ml,
            )
        )
    return lines


def demand_of(line: Line, units: int, sku: Sku | None) -> Demand:
    """``units`` of a line as routing sees them; a SKU that left the catalogue has no rules."""
    return Demand(
        line.line_id,
        units,
        tuple([(unit.sku, unit.quantity) for unit in line.stock]),
        line.amount,
        sku.group if sku else "",
        sku.handling if sku else "normal",
        sku.owner if sku else "",
        line.weight_g,
        line.volume_ml,
    )


def share_out(
    lines: Iterable[Line],
    units: Mapping[str, int],
    parts: Sequence[Part],
    next_line: int,
    whole: Collection[str] = (),
) -> list[list[Piece]]:
    """The lines of each part of a plan, in the plan's order.

    ``units`` are those asked of the plan per line. A line served whole stays as it is. One that is
    divided keeps its id for the first piece; the others get ids from ``next_line`` on, and the
    amounts of the pieces add up to the line's. When a plan leaves units out (a partial order), the
    line shrinks to what is served.

    Raises ``Refused`` with ``line-not-divisible`` when it would have to divide one of the lines
    that must stay ``whole`` (of which units are missing or were refunded).
    """
    by_id = {line.line_id: line for line in lines}
    taken: dict[str, int] = {}
    shares = []
    for part in parts:
        pieces: list[Piece] = []
        for line_id, count in part.lines:
            line = by_id[line_id]
            if count == units[line_id]:
                pieces.append((line, count))
                continue
            if line_id in whole:
                raise Refused("line-not-divisible", f"Line {line_id} is not divided again.")
            before = taken.get(line_id, 0)
            taken[line_id] = before + count
            amount = units_amount(line.amount, line.quantity, before, count)
            piece_id = line_id
            if before:
                piece_id = ids.line_id(ids.order_of_line(line_id), next_line)
                next_line += 1
            piece = replace(line, line_id=piece_id, quantity=count, amount=amount)
            pieces.append((piece, count))
        shares.append(pieces)
    return shares


def stock_items(pieces: Iterable[Piece]) -> tuple[LockItem, ...]:
    """The component units of these pieces, as stock knows them."""
    return tuple(
        [
            LockItem(line.line_id, unit.sku, unit.quantity * units)
            for line, units in pieces
            for unit in line.stock
        ]
    )


def order_freight(parts: Iterable[Part], goods: int) -> int:
    """The order's one delivery fee (see above); nothing for self-pickup (parts without zone)."""
    return max(
        [
            freight(part.store.freight, goods, part.distance_m)
            for part in parts
            if part.zone is not None
        ],
        default=0,
    )


def share_freight(fee: int, shares: Sequence[Sequence[Piece]]) -> list[int]:
    """The fee's exact share per fulfilment, in proportion to its goods."""
    return apportion(fee, [sum([line.amount for line, _ in pieces]) for pieces in shares])


def allocation_of(
    served: Sequence[ServedPart], fee: int, campaign_id: str = ""
) -> tuple[tuple[Fulfilment, ...], tuple[Line, ...]]:
    """The fulfilments that these parts become, which share ``fee``, and the lines they serve. Their
    units come from the campaign's quota; with ``campaign_id`` empty: from locks."""
    lines = tuple(
        [replace(line, fulfilment_id=one.fulfilment_id) for one in served for line, _ in one.pieces]
    )
    return fulfilments_of(served, fee, campaign_id), lines


def fulfilments_of(
    served: Sequence[ServedPart], fee: int, campaign_id: str = ""
) -> tuple[Fulfilment, ...]:
    """The fulfilments alone (see :func:`allocation_of`)."""
    shares = share_freight(fee, [one.pieces for one in served])
    return tuple(
        [
            _fulfilment(one.fulfilment_id, one.part, share, campaign_id)
            for one, share in zip(served, shares, strict=True)
        ]
    )


def wrong_currency(served: str, currency: str) -> Refused:
    """``served`` says what is sold in ``currency``, another than the customer's."""
    return Refused("wrong-currency", f"{served} in {currency}.", currency=currency)


def wrong_total(total: int, expected: int) -> Refused:
    """The customer agreed to another total, minor units."""
    return Refused(
        "wrong-total",
        f"The total is {total}, not {expected}. Show it to the customer and order again.",
        total=total,
        expected=expected,
    )


def pickup_code(command_id: str, order_id: str, secret: bytes) -> str:
    """Six digits that only a holder of ``secret`` (64 bytes at most) can derive."""
    digest = blake2b(f"{order_id}\n{command_id}".encode(), key=secret, digest_size=8).digest()
    return f"{int.from_bytes(digest, 'big') % 1_000_000:06d}"


def _fulfilment(fulfilment_id: str, part: Part, fee: int, campaign_id: str) -> Fulfilment:
    """Promise: the zone's; to collect: accepted and prepared."""
    store, zone = part.store, part.zone
    due_s = zone.promise_s if zone else store.accept_s + store.prep_s
    return Fulfilment(
        fulfilment_id, store.store_id, zone.zone_id if zone else "", fee, due_s, store.accept_s,
        store.prep_s, campaign_id,
    )  # fmt: skip


def _merge(wishes: Sequence[PlaceLine], policy: ChannelPolicy) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for wish in wishes:
        if wish.quantity <= 0:
            raise Refused(
                "bad-quantity", f"Order 1 or more units of {wish.sku}.", sku=wish.sku, minimum=1
            )
        wanted[wish.sku] = wanted.get(wish.sku, 0) + wish.quantity
    if not wanted:
        raise Refused("no-lines", "An order needs at least one line.")
    if len(wanted) > policy.lines_max:
        raise Refused(
            "too-many-lines",
            f"An order has at most {policy.lines_max} lines; place several orders.",
            maximum=policy.lines_max,
        )
    for sku, quantity in wanted.items():
        if quantity > policy.quantity_max:
            raise Refused(
                "bad-quantity",
                f"At most {policy.quantity_max} units of {sku} in one order.",
                sku=sku,
                maximum=policy.quantity_max,
            )
    return wanted


def _stock(sku: Sku, skus: Mapping[str, Sku]) -> tuple[Unit, ...]:
    if not sku.components:
        return (Unit(sku.sku, 1),)
    unknown = [part.sku for part in sku.components if part.sku not in skus]
    if unknown:
        raise Refused(
            "unknown-sku",
            f"{sku.sku} contains {', '.join(unknown)}, which the catalogue lacks.",
            skus=unknown,
        )
    return tuple([Unit(name, units) for name, units in explode(sku)])
