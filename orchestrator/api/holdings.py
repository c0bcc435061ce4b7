"""Who holds stock without paying, as this gateway knows it from the orders' feed.

This is what keeps placing free of a further hop: a customer's record is asked only for somebody
whom these figures make suspicious. They are a moment old for other gateways' orders, and exact for
this one's, whose orders count from the moment they are sent.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from domain.order.commands import BY_CUSTOMER
from domain.order.events import Cancelled, Paid, Placed
from domain.order.rules import was_left_unpaid
from domain.order.state import OrderState

__all__ = ["Holdings"]

CUSTOMERS_MAX = 100_000
"""Most customers remembered for an order that they left unpaid, the latest."""
DEVICES_MAX = 50_000
DEVICE_S = 86_400.0
DEVICE_CUSTOMERS_MAX = 64
"""More different customers of one device are not told apart."""
ENDED_MAX = 10_000
GRACE_S = 60.0
"""An unpaid order counts so long after its expiry, unless its end is heard of before."""


class Holdings:
    """A consumer of the gateway's tail. Memory follows unpaid orders."""

    kinds: Sequence[str] = ("order",)

    def __init__(self) -> None:
        self._devices: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._sent: dict[str, int] = {}
        self.reset()

    # Questions ----------------------------------------------------------------------------------

    def unpaid(self, customer_id: str, now: float) -> tuple[int, int]:
        """(orders, minor units) that the customer has not paid yet; those on their way to an
        answer included, of a value still unknown."""
        held = self._unpaid.get(customer_id)
        count, value = self._sent.get(customer_id, 0), 0
        if held:
            late = [order_id for order_id, (_, until) in held.items() if until + GRACE_S <= now]
            for order_id in late:
                self._release(order_id)
            count += len(held)
            value = sum([amount for amount, _ in held.values()])
        return count, value

    def left_unpaid(self, customer_id: str) -> bool:
        """Whether an order of the customer expired or was cancelled for them unpaid, as far as is
        remembered here."""
        return customer_id in self._left

    def device_customers(self, device_id: str, customer_id: str, now: float) -> int:
        """Different customers of the device within a day, this one included."""
        known = self._devices.get(device_id)
        if known is None:
            if len(self._devices) >= DEVICES_MAX:
                self._devices.popitem(last=False)
            known = self._devices[device_id] = {}
        else:
            self._devices.move_to_end(device_id)
        if customer_id in known or len(known) < DEVICE_CUSTOMERS_MAX:
            known.pop(customer_id, None)
            known[customer_id] = now
        while known and now - known[next(iter(known))] >= DEVICE_S:
            del known[next(iter(known))]
        return len(known)

    # This gateway's own orders ------------------------------------------------------------------

    def begin(self, customer_id: str) -> None:
        """An order is sent; call :meth:`end` when it is answered."""
        self._sent[customer_id] = self._sent.get(customer_id, 0) + 1

    def end(self, customer_id: str) -> None:
        """It was answered."""
        left = self._sent[customer_id] - 1
        if left:
            self._sent[customer_id] = left
        else:
            del self._sent[customer_id]

    def placed(self, order_id: str, customer_id: str, total: int, expires_at: float) -> None:
        """An order waits for its payment; heard of again, or after its end, nothing changes."""
        if order_id not in self._customers and order_id not in self._ended:
            self._customers[order_id] = customer_id
            self._unpaid.setdefault(customer_id, {})[order_id] = (total, expires_at)

    # Following ----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget what the feed told."""
        self._unpaid: dict[str, dict[str, tuple[int, float]]] = {}
        self._customers: dict[str, str] = {}
        self._left: OrderedDict[str, None] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def load(self, kind: str, entity: str, state: OrderState) -> None:
        """An order as it is now."""
        customer_id = state.customer.customer_id
        if state.state == "placed" and state.expires_at is not None:
            self.placed(entity, customer_id, state.total, state.expires_at)
        elif was_left_unpaid(state):
            self._remember(customer_id)

    def loaded(self) -> None:
        """All orders were loaded."""

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """One event of an order."""
        match event:
            case Placed() if event.expires_at is not None and event.total:
                customer_id = event.customer.customer_id
                self.placed(entity, customer_id, event.total, event.expires_at)
            case Paid():
                self._release(entity)
            case Cancelled():
                customer_id = self._release(entity)
                if customer_id and event.by in ("timeout", BY_CUSTOMER):
                    self._remember(customer_id)

    def _release(self, order_id: str) -> str:
        customer_id = self._customers.pop(order_id, "")
        held = self._unpaid.get(customer_id)
        if held is not None:
            held.pop(order_id, None)
            if not held:
                del self._unpaid[customer_id]
        if len(self._ended) >= ENDED_MAX:
            self._ended.popitem(last=False)
        self._ended[order_id] = None
        return customer_id

    def _remember(self, customer_id: str) -> None:
        if len(self._left) >= CUSTOMERS_MAX:
            self._left.popitem(last=False)
        self._left[customer_id] = None
        self._left.move_to_end(customer_id)
