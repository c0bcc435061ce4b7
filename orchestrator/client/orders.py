"""What channels do: place, pay, read, cancel; and what operations mend on an order."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from orchestrator.client.transport import Transport
from orchestrator.models import (
    Availability,
    HistoryPage,
    Order,
    OrderPage,
    Payment,
    PaymentOpened,
)

__all__ = ["OrderCalls"]


class OrderCalls(Transport):
    """Routes below ``/orders``. ``key`` is the Idempotency-Key, a fresh one when None."""

    async def place_order(
        self, order: dict[str, Any], *, key: str | None = None, device_id: str = ""
    ) -> Order:
        """Place an order (the body of ``POST /orders``); its stock is locked when this returns.
        ``device_id``: the customer's device, for rules of risk."""
        headers = {"Device-Id": device_id} if device_id else {}
        return await self.post(Order, "/orders", order, key, headers)

    async def order(self, order_id: str) -> Order:
        """An order, open or closed."""
        return await self.get(Order, f"/orders/{quote(order_id)}")

    async def orders(
        self,
        *,
        state: str = "",
        customer_id: str = "",
        store_id: str = "",
        channel: str = "",
        phone_ending: str = "",
        rider_id: str = "",
        after: str = "",
        limit: int = 100,
    ) -> OrderPage:
        """A page of orders, newest first; pass ``next`` as ``after`` for the one behind it."""
        query = {
            "state": state or None, "customer_id": customer_id, "store_id": store_id,
            "channel": channel, "phone_ending": phone_ending, "rider_id": rider_id,
            "after": after, "limit": limit,
        }  # fmt: skip
        return await self.get(OrderPage, "/orders", query)

    async def order_history(self, order_id: str) -> HistoryPage:
        """Its events and documents in order."""
        return await self.get(HistoryPage, f"/orders/{quote(order_id)}/history")

    async def start_payment(
        self, order_id: str, provider: str, *, key: str | None = None
    ) -> PaymentOpened:
        """Open a payment; the customer pays at its ``pay_url``."""
        path = f"/orders/{quote(order_id)}/payments"
        return await self.post(PaymentOpened, path, {"provider": provider}, key)

    async def pay_sandbox(
        self,
        payment: PaymentOpened | Payment,
        *,
        outcome: str = "pay",
        late: bool | None = None,
        key: str = "",
    ) -> str:
        """Act as the customer at the sandbox provider: ``outcome`` is ``pay | fail | abandon``;
        ``late`` None lets it decide. What the payment is then, such as ``captured``; the service
        hears of it by webhook, in its own time."""
        url = getattr(payment, "pay_url", None) or f"/sandbox/pay/{quote(payment.payment_id)}"
        if not url.startswith("http"):
            url = self.base_url + url
        body = {"outcome": outcome, "late": late}
        answer = await self.call(dict[str, Any], "POST", url, body=body, key=key)
        return str(answer.get("status", ""))

    async def cancel(self, order_id: str, reason: str, *, key: str | None = None) -> Order:
        """Cancel the whole order: ``cancelled``, or ``cancelling`` while a store must confirm."""
        return await self.post(Order, f"/orders/{quote(order_id)}/cancel", {"reason": reason}, key)

    async def refund(
        self, order_id: str, units: dict[str, int], reason: str, *, key: str | None = None
    ) -> Order:
        """Refund units (line id -> quantity) without goods."""
        lines = [{"line_id": line_id, "quantity": count} for line_id, count in units.items()]
        body = {"units": lines, "reason": reason}
        return await self.post(Order, f"/orders/{quote(order_id)}/refunds", body, key)

    async def reroute(
        self,
        order_id: str,
        fulfilment_id: str,
        why: str,
        *,
        store_id: str = "",
        key: str | None = None,
    ) -> Order:
        """Try a parked fulfilment again, at ``store_id`` or anywhere."""
        path = f"/orders/{quote(order_id)}/fulfilments/{quote(fulfilment_id)}/reroute"
        return await self.post(Order, path, {"store_id": store_id, "why": why}, key)

    async def close_parked(
        self, order_id: str, fulfilment_id: str, why: str, *, key: str | None = None
    ) -> Order:
        """Give a parked fulfilment up: cancelled and refunded."""
        path = f"/orders/{quote(order_id)}/fulfilments/{quote(fulfilment_id)}/close"
        return await self.post(Order, path, {"why": why}, key)

    async def resolve_flag(
        self, order_id: str, payment_id: str, why: str, *, key: str | None = None
    ) -> Order:
        """Close the flag of a payment, or (by its fulfilment's id) of cash that was not due."""
        path = f"/orders/{quote(order_id)}/flags/{quote(payment_id)}/resolve"
        return await self.post(Order, path, {"why": why}, key)

    async def retry_refund(
        self, order_id: str, refund_id: str, why: str, *, key: str | None = None
    ) -> Order:
        """Have the provider asked again for a refund that it refused."""
        path = f"/orders/{quote(order_id)}/refunds/{quote(refund_id, safe='')}/retry"
        return await self.post(Order, path, {"why": why}, key)

    async def availability(self, skus: Sequence[str], lat: float, lon: float) -> Availability:
        """How many units of each SKU are sellable at a place."""
        query = {"sku": list(skus), "lat": lat, "lon": lon}
        return await self.get(Availability, "/availability", query)
