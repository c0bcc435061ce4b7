"""Tales: what happened to one order, told as the events that its order, its stores' stock and its
riders would have stored. Amounts come from the domain's own money rules."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from actors.engine.ports import Shard
from domain import inventory, order, rider
from domain.geo import Position
from domain.message import Event
from domain.order.money import cash_due, refund_parts, refund_payment, refund_short, refund_units
from domain.order.state import OrderState, Part, evolve, find_part, lines_of

CURRENCY = "EUR"


class Tale:
    """Tell it by calling its methods; ``facts`` is (kind, entity, event) in order."""

    def __init__(
        self, order_id: str, parts: list[tuple[str, int, list[tuple[int, int]]]], *,
        cod: bool = False, currency: str = CURRENCY, at: float = 1000.0, channel: str = "app",
        customer_id: str = "c-1", phone: str = "",
    ) -> None:  # fmt: skip
        """``parts``: (store, freight, [(amount of the line, quantity)]) each."""
        self.order_id = order_id
        self.at = at
        self.facts: list[tuple[str, str, Event]] = []
        self.state: OrderState | None = None
        self.number = 0
        fulfilments: list[order.Fulfilment] = []
        lines: list[order.Line] = []
        for number, (store_id, freight, goods) in enumerate(parts, 1):
            fulfilment_id = f"{order_id}-{number}"
            fulfilments.append(
                order.Fulfilment(fulfilment_id, store_id, "z-1", freight, 1800, 300, 600)
            )
            for amount, quantity in goods:
                index = len(lines) + 1
                lines.append(
                    order.Line(
                        f"{order_id}/{index}", f"sku-{index}", f"Goods {index}", quantity,
                        amount // quantity, amount, fulfilment_id, (order.Unit(f"sku-{index}", 1),),
                    )
                )  # fmt: skip
        goods_total = sum(line.amount for line in lines)
        freight_total = sum(part.freight for part in fulfilments)
        for part in fulfilments:
            self._lock(part.fulfilment_id, part.store_id, lines)
        self.happened(
            order.Placed(
                order_id, at, channel, order.Customer(customer_id, "", phone), currency, "delivery",
                "cod" if cod else "online", order.Address(Position(52.5, 13.4)), tuple(lines),
                tuple(fulfilments), goods_total, freight_total, goods_total + freight_total,
                None if cod else at + 900,
            )
        )  # fmt: skip
        if cod:
            self.happened(order.CodConfirmed(at))

    @property
    def now(self) -> OrderState:
        """The order's state."""
        assert self.state is not None
        return self.state

    def happened(self, event: Event) -> None:
        """One fact of the order."""
        self.state = evolve(self.state, event)
        self.facts.append(("order", self.order_id, event))

    def paid(self, provider: str = "sandbox") -> None:
        """The order's money came in; its stock is sold."""
        self._payment(provider, kept=True)
        for part in self.now.parts:
            self._sell(part)

    def paid_again(self, provider: str = "second") -> None:
        """Money that the order cannot use, and its refund."""
        payment_id = self._payment(provider, kept=False)
        self._ask_refund(
            refund_payment(payment_id, provider, self.now.total, self.now.currency, "late", self.at)
        )

    def flagged(self, amount: int, currency: str, *, captured: bool) -> None:
        """A payment of another amount or currency; given back if it was captured."""
        payment_id = self._payment_id()
        self.happened(order.PaymentFlagged(payment_id, "sandbox", amount, currency, "mismatch"))
        if captured:
            self._ask_refund(
                refund_payment(payment_id, "sandbox", amount, currency, "mismatch", self.at)
            )

    def picked(self, fulfilment_id: str, short: tuple[tuple[str, int], ...] = ()) -> None:
        """Packed; what is short is refunded or not collected, and leaves the books of stock."""
        part = self._part(fulfilment_id)
        for line_id, units in short:
            line = next(line for line in self.now.lines if line.line_id == line_id)
            self.stock(
                part.fulfilment.store_id,
                inventory.ShortCorrected(
                    f"{fulfilment_id}-short-{line_id}", fulfilment_id,
                    (inventory.LockItem(line_id, line.sku, units),), not part.sold,
                ),
            )  # fmt: skip
        self.happened(order.FulfilmentPicked(fulfilment_id, self.at, short, cash_due=0))
        event = self.facts.pop()[2]
        assert isinstance(event, order.FulfilmentPicked)
        due = cash_due(self.now, part)
        self.facts.append(
            ("order", self.order_id, order.FulfilmentPicked(fulfilment_id, self.at, short, due))
        )
        if short:
            self._ask_refund(refund_short(self.now, short, f"{fulfilment_id}-short", self.at))

    def delivered(self, fulfilment_id: str, rider_id: str = "r-1") -> None:
        """At the door (``rider_id`` "": collected at the counter), cash on delivery taken."""
        part = self._part(fulfilment_id)
        if not part.sold:
            self._sell(part)
        cash = cash_due(self.now, part)
        if rider_id:
            self.facts.append(
                (
                    "rider", rider_id,
                    rider.ParcelDelivered(
                        fulfilment_id, self.order_id, cash, cash + 50, 50, self.now.currency,
                        self.at,
                    ),
                )
            )  # fmt: skip
        self.happened(order.FulfilmentDelivered(fulfilment_id, self.at, rider_id, cash))

    def came_back(self, fulfilment_id: str, damaged: int = 0) -> None:
        """Not delivered; the goods are at the store again and paid money goes back."""
        part = self._part(fulfilment_id)
        if not part.sold:
            self._sell(part)
        self.happened(order.FulfilmentFailed(fulfilment_id, self.at, "absent", "r-1"))
        units = self._units(part)
        self.stock(
            part.fulfilment.store_id,
            inventory.Returned(
                f"{fulfilment_id}-return", fulfilment_id,
                tuple(
                    inventory.ReturnItem(line_id, sku, quantity, min(damaged, quantity))
                    for line_id, sku, quantity in units
                ),
                tuple(inventory.StockItem(sku, quantity) for _, sku, quantity in units), "absent",
            ),
        )  # fmt: skip
        self.happened(order.FulfilmentReturned(fulfilment_id, self.at))
        self._ask_refund(
            refund_parts(self.now, [part], f"{fulfilment_id}-back", "returned", self.at)
        )

    def rerouted(self, fulfilment_id: str, store_id: str) -> str:
        """Another store serves it; returns the new fulfilment's id."""
        part = self._part(fulfilment_id)
        new_id = f"{self.order_id}-{self.now.number + 1}"
        to = order.Fulfilment(new_id, store_id, "z-1", part.fulfilment.freight, 1800, 300, 600)
        lines = tuple(
            order.Line(
                line.line_id, line.sku, line.name, line.quantity, line.unit_price, line.amount,
                new_id, line.stock,
            )
            for line in lines_of(self.now, part)
        )  # fmt: skip
        self._give_back(part)
        self._lock(new_id, store_id, list(lines))
        self.happened(order.FulfilmentRerouted(fulfilment_id, to, lines, "rejected", self.at))
        new = self._part(new_id)
        if new.sold:
            self._sell(new)
        return new_id

    def cancelled(self) -> None:
        """Off as a whole, before anything was delivered."""
        parts = list(self.now.parts)
        for part in parts:
            self._give_back(part)
        self.happened(order.Cancelled("customer", "changed my mind", self.at))
        self._ask_refund(
            refund_parts(self.now, parts, f"{self.order_id}-cancel", "cancelled", self.at)
        )

    def refunded_only(self, line_id: str, quantity: int) -> None:
        """Units given back in money alone."""
        self.number += 1
        units = [order.RefundUnits(line_id, quantity)]
        self._ask_refund(
            refund_units(self.now, units, f"{self.order_id}-ops{self.number}", "stale", self.at)
        )

    def completed(self) -> None:
        """Every part is final."""
        some = any(part.state in ("delivered", "collected") for part in self.now.parts)
        self.happened(order.Completed(self.at, closed=not some))

    def refunds_made(self, refused: str = "") -> None:
        """The provider makes (or refuses) every open refund."""
        for refund_id, refund in list(self.now.refunds.items()):
            if refund.state == "requested":
                self.happened(order.RefundDone(refund_id, self.at, refused))

    def stock(self, store_id: str, event: Event) -> None:
        """One fact of a store's stock."""
        self.facts.append(("inventory", store_id, event))

    def _payment_id(self) -> str:
        return f"{self.order_id}-p{len(self.now.payments) + 1}"

    def _payment(self, provider: str, *, kept: bool) -> str:
        payment_id = self._payment_id()
        self.happened(
            order.Paid(self.at, payment_id, provider, f"ref-{payment_id}", self.now.total, kept)
        )
        return payment_id

    def _ask_refund(self, event: order.RefundRequested | None) -> None:
        if event is not None:
            self.happened(event)

    def _part(self, fulfilment_id: str) -> Part:
        part = find_part(self.now, fulfilment_id)
        assert part is not None
        return part

    def _units(self, part: Part) -> list[tuple[str, str, int]]:
        """(line, SKU, units) that the store really has for a part."""
        units = []
        for line in lines_of(self.now, part):
            mark = self.now.marks.get(line.line_id)
            left = line.quantity - (mark.short if mark else 0)
            if left:
                units.append((line.line_id, line.sku, left))
        return units

    def _lock(self, fulfilment_id: str, store_id: str, lines: list[order.Line]) -> None:
        items = tuple(
            inventory.LockItem(line.line_id, line.sku, line.quantity)
            for line in lines
            if line.fulfilment_id == fulfilment_id
        )
        self.stock(store_id, inventory.Locked(fulfilment_id, self.order_id, items, self.at + 900))

    def _items(self, part: Part) -> tuple[inventory.LockItem, ...]:
        return tuple(inventory.LockItem(*unit) for unit in self._units(part))

    def _sell(self, part: Part) -> None:
        fulfilment_id, store_id = part.fulfilment.fulfilment_id, part.fulfilment.store_id
        self.stock(store_id, inventory.Deducted(fulfilment_id, self._items(part)))

    def _give_back(self, part: Part) -> None:
        fulfilment_id, store_id = part.fulfilment.fulfilment_id, part.fulfilment.store_id
        if not part.sold:
            items = self._items(part)
            self.stock(store_id, inventory.Released(fulfilment_id, items, "cancelled"))
            return
        units = self._units(part)
        back = tuple(inventory.ReturnItem(*unit) for unit in units)
        skus = tuple(inventory.StockItem(sku, quantity) for _, sku, quantity in units)
        event = inventory.Returned(f"{fulfilment_id}-x", fulfilment_id, back, skus, "held back")
        self.stock(store_id, event)


def random_tale(order_id: str, draw: Any, *, at: float = 1000.0) -> Tale:
    """A whole life drawn from ``draw`` (a ``random.Random`` or anything with ``randint``): it ends
    in a final state with every refund made."""
    parts = [
        (
            f"s-{draw.randint(1, 4)}",
            draw.randint(0, 700),
            [(draw.randint(0, 9_999), draw.randint(1, 6)) for _ in range(draw.randint(1, 3))],
        )
        for _ in range(draw.randint(1, 3))
    ]
    cod = draw.randint(0, 2) == 0
    tale = Tale(order_id, parts, cod=cod, at=at, customer_id=f"c-{draw.randint(1, 5)}")
    if not cod:
        if draw.randint(0, 4) == 0:
            tale.flagged(draw.randint(1, 9_999), "USD", captured=draw.randint(0, 1) == 0)
        if draw.randint(0, 5) == 0:
            _cancel_unpaid(tale, draw)
            return tale
        tale.paid()
        if draw.randint(0, 5) == 0:
            tale.paid_again()
    if draw.randint(0, 6) == 0:
        tale.cancelled()
        tale.refunds_made()
        return tale
    for part in list(tale.now.parts):
        _finish_part(tale, part.fulfilment.fulfilment_id, draw)
    tale.completed()
    tale.refunds_made()
    return tale


def _cancel_unpaid(tale: Tale, draw: Any) -> None:
    tale.cancelled()
    if draw.randint(0, 1):
        tale.paid_again("sandbox")
    tale.refunds_made()


def _finish_part(tale: Tale, fulfilment_id: str, draw: Any) -> None:
    if draw.randint(0, 4) == 0:
        fulfilment_id = tale.rerouted(fulfilment_id, f"s-{draw.randint(1, 4)}")
    part = find_part(tale.now, fulfilment_id)
    assert part is not None
    lines = lines_of(tale.now, part)
    if draw.randint(0, 3) == 0:
        line = lines[0]
        tale.picked(fulfilment_id, ((line.line_id, draw.randint(1, line.quantity)),))
    else:
        tale.picked(fulfilment_id)
    if draw.randint(0, 4) == 0:
        tale.came_back(fulfilment_id, damaged=draw.randint(0, 1))
        return
    tale.delivered(fulfilment_id, rider_id=f"r-{draw.randint(0, 3)}".replace("r-0", ""))
    line = lines[-1]
    mark = tale.now.marks.get(line.line_id)
    left = line.quantity - (mark.refunded if mark else 0)
    if tale.now.kept and left and draw.randint(0, 3) == 0:
        tale.refunded_only(line.line_id, draw.randint(1, left))


def random_tales(seed: int, count: int) -> list[Tale]:
    """Tales of many orders, the same for the same seed."""
    draw = Random(seed)
    return [random_tale(f"o{seed}x{number}", draw, at=1000.0 + number) for number in range(count)]


STORES = tuple(f"s-{number}" for number in range(1, 5))


def opening_stock(units: int = 1_000_000) -> list[tuple[str, str, Event]]:
    """Goods received before anything is sold: enough of every SKU of :func:`random_tale`."""
    items = tuple(inventory.StockItem(f"sku-{number}", units) for number in range(1, 10))
    return [
        ("inventory", store, inventory.Received(f"open-{store}", items, "erp")) for store in STORES
    ]


def tell(feed: Any, *tales: Tale, facts: Sequence[tuple[str, str, Event]] = ()) -> None:
    """Put the facts, then the tales' facts in turns, into a ``ListFeed``: two shards of orders."""
    for fact in facts:
        _put(feed, fact, 999.0)
    longest = max((len(tale.facts) for tale in tales), default=0)
    for index in range(longest):
        for tale in tales:
            if index < len(tale.facts):
                _put(feed, tale.facts[index], tale.at + index)


def tell_facts(feed: Any, facts: Iterable[tuple[str, str, Event]]) -> None:
    """Put facts into a ``ListFeed`` in their order."""
    for at, fact in enumerate(facts):
        _put(feed, fact, 1000.0 + at)


SHARDS = (Shard("order", 0), Shard("order", 1), Shard("inventory", 0), Shard("rider", 0))


def _put(feed: Any, fact: tuple[str, str, Event], at: float) -> None:
    kind, entity, event = fact
    shard = Shard(kind, sum(entity.encode()) % 2 if kind == "order" else 0)
    feed.put(shard, entity, event, at=at)
