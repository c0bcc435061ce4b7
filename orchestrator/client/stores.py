"""What stores do (tickets, pauses, stock), and the catalogue that operations keep."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from orchestrator.client.transport import Transport
from orchestrator.models import (
    Channel,
    Done,
    InboxPage,
    Paused,
    Sku,
    SkuPage,
    Stock,
    StockDocument,
    Store,
    Stored,
    StorePage,
    Ticket,
    TicketPage,
)

__all__ = ["CatalogueCalls", "StockCalls", "TicketCalls"]


class TicketCalls(Transport):
    """A store's counter. Every action answers with the ticket as it is afterwards."""

    async def tickets(self, store_id: str) -> TicketPage:
        """Every open ticket, oldest first."""
        return await self.get(TicketPage, f"/stores/{quote(store_id)}/tickets")

    async def ticket(self, store_id: str, fulfilment_id: str) -> Ticket:
        """One ticket, open or lately finished."""
        return await self.get(Ticket, _ticket(store_id, fulfilment_id))

    async def accept_ticket(
        self,
        store_id: str,
        fulfilment_id: str,
        *,
        prep_s: int | None = None,
        device_id: str = "",
        key: str | None = None,
    ) -> Ticket:
        """Take the work; ``prep_s`` if it will take another time than usual."""
        body = {"prep_s": prep_s, "device_id": device_id}
        return await self._act(store_id, fulfilment_id, "accept", body, key)

    async def reject_ticket(
        self, store_id: str, fulfilment_id: str, reason: str, *, key: str | None = None
    ) -> Ticket:
        """Refuse it; the next store is tried."""
        return await self._act(store_id, fulfilment_id, "reject", {"reason": reason}, key)

    async def start_picking(
        self, store_id: str, fulfilment_id: str, *, key: str | None = None
    ) -> Ticket:
        """Begin to pick."""
        return await self._act(store_id, fulfilment_id, "picking", {}, key)

    async def pick_line(
        self,
        store_id: str,
        fulfilment_id: str,
        line_id: str,
        quantity: int,
        *,
        reason: str = "missing",
    ) -> Ticket:
        """Set how many units of a line are packed. ``reason`` says why the rest is not: ``missing``
        from the shelf, missing and ``substitute_refused`` by the customer, or there and
        ``unwanted`` (only then does it stay in stock)."""
        path = f"{_ticket(store_id, fulfilment_id)}/lines/{quote(line_id)}"
        return await self.put(Ticket, path, {"quantity": quantity, "reason": reason})

    async def mark_ready(
        self, store_id: str, fulfilment_id: str, *, key: str | None = None
    ) -> Ticket:
        """Packed; lines never set count as fully found."""
        return await self._act(store_id, fulfilment_id, "ready", {}, key)

    async def hand_over(
        self, store_id: str, fulfilment_id: str, rider_id: str, *, key: str | None = None
    ) -> Ticket:
        """The goods leave with the assigned rider."""
        return await self._act(store_id, fulfilment_id, "hand-over", {"rider_id": rider_id}, key)

    async def collect(
        self,
        store_id: str,
        fulfilment_id: str,
        code: str,
        *,
        cash: int = 0,
        key: str | None = None,
    ) -> Ticket:
        """The customer collects with the one-time code."""
        return await self._act(
            store_id, fulfilment_id, "collect", {"code": code, "cash": cash}, key
        )

    async def answer_cancel(
        self, store_id: str, fulfilment_id: str, held_back: bool, *, key: str | None = None
    ) -> Ticket:
        """Say whether the goods of a cancelled order were held back."""
        return await self._act(store_id, fulfilment_id, "held-back", {"held_back": held_back}, key)

    async def accept_return(
        self,
        store_id: str,
        fulfilment_id: str,
        *,
        damaged: dict[str, int] | None = None,
        key: str | None = None,
    ) -> Ticket:
        """Undelivered goods are back; ``damaged``: line id -> units that cannot be sold."""
        lines = [{"line_id": line, "quantity": count} for line, count in (damaged or {}).items()]
        return await self._act(store_id, fulfilment_id, "returned", {"damaged": lines}, key)

    async def pause_store(
        self,
        store_id: str,
        paused: bool,
        *,
        until: datetime | None = None,
        reason: str = "",
        key: str | None = None,
    ) -> Paused:
        """Stop (or resume) taking orders."""
        body = {"paused": paused, "until": until, "reason": reason}
        return await self.post(Paused, f"/stores/{quote(store_id)}/pause", body, key)

    async def pause_item(
        self,
        store_id: str,
        sku: str,
        paused: bool,
        *,
        until: datetime | None = None,
        key: str | None = None,
    ) -> Paused:
        """Stop (or resume) selling one SKU here."""
        path = f"/stores/{quote(store_id)}/items/{quote(sku, safe='')}/pause"
        return await self.post(Paused, path, {"paused": paused, "until": until}, key)

    async def store_inbox(
        self, store_id: str, *, after: int = 0, limit: int = 100, epoch: str = ""
    ) -> InboxPage:
        """The inbox without a socket. ``epoch``: what ``after`` counts in; ``none``: a snapshot."""
        query = {"after": after, "limit": limit, "epoch": epoch or None}
        return await self.get(InboxPage, f"/stores/{quote(store_id)}/inbox", query)

    async def acknowledge_store_inbox(
        self, store_id: str, device_id: str, offset: int, *, key: str | None = None
    ) -> Done:
        """The tablet has stored everything up to ``offset``; for networks without WebSockets."""
        path = f"/stores/{quote(store_id)}/inbox/acknowledgements"
        return await self.post(Done, path, {"device_id": device_id, "offset": offset}, key)

    async def _act(
        self, store_id: str, fulfilment_id: str, action: str, body: Any, key: str | None
    ) -> Ticket:
        return await self.post(Ticket, f"{_ticket(store_id, fulfilment_id)}/{action}", body, key)


class StockCalls(Transport):
    """A store's stock. Documents answer with the cells they touched."""

    async def stock(self, store_id: str, skus: Sequence[str] = ()) -> Stock:
        """Stock cells; all when no SKU is named."""
        return await self.get(Stock, f"/stores/{quote(store_id)}/stock", {"sku": list(skus)})

    async def receive_stock(
        self, store_id: str, units: dict[str, int], *, key: str | None = None
    ) -> StockDocument:
        """Goods in (SKU -> units); 0 only lists the SKU."""
        return await self._document(store_id, "receipts", {"items": _items(units)}, key)

    async def transfer_stock(
        self, store_id: str, to_store: str, units: dict[str, int], *, key: str | None = None
    ) -> StockDocument:
        """Goods leave for another store."""
        body = {"to_store": to_store, "items": _items(units)}
        return await self._document(store_id, "transfers", body, key)

    async def count_stock(
        self, store_id: str, sku: str, counted: int, as_of: datetime, *, key: str | None = None
    ) -> StockDocument:
        """A stock-take of one SKU."""
        body = {"sku": sku, "counted": counted, "as_of": as_of}
        return await self._document(store_id, "counts", body, key)

    async def mark_damaged(
        self, store_id: str, sku: str, quantity: int, *, key: str | None = None
    ) -> StockDocument:
        """Units became damaged (negative: mended)."""
        body = {"sku": sku, "quantity": quantity}
        return await self._document(store_id, "damages", body, key)

    async def set_safety(
        self, store_id: str, sku: str, safety: int, *, key: str | None = None, **model: float
    ) -> Stock:
        """Safety stock and reorder model (``lead_time_days, daily_demand, demand_deviation,
        service_level, order_quantity``)."""
        body = {"sku": sku, "safety": safety, **model}
        return await self._rule(store_id, "safety", body, key)

    async def set_oversell(
        self, store_id: str, sku: str, limit: int, *, key: str | None = None
    ) -> Stock:
        """Units that may be sold beyond stock."""
        return await self._rule(store_id, "oversell", {"sku": sku, "limit": limit}, key)

    async def allot(
        self, store_id: str, sku: str, channel: str, quantity: int, *, key: str | None = None
    ) -> Stock:
        """Hold units for one channel alone (0 gives them back)."""
        body = {"sku": sku, "channel": channel, "quantity": quantity}
        return await self._rule(store_id, "allotments", body, key)

    async def _document(
        self, store_id: str, kind: str, body: Any, key: str | None
    ) -> StockDocument:
        return await self.post(StockDocument, f"/stores/{quote(store_id)}/stock/{kind}", body, key)

    async def _rule(self, store_id: str, kind: str, body: Any, key: str | None) -> Stock:
        return await self.post(Stock, f"/stores/{quote(store_id)}/stock/{kind}", body, key)


class CatalogueCalls(Transport):
    """SKUs, stores and channels. Bodies are the structs of ``models`` or plain dictionaries."""

    async def sku(self, sku: str) -> Sku:
        """One SKU."""
        return await self.get(Sku, f"/skus/{quote(sku, safe='')}")

    async def skus(self, *, after: str = "", limit: int = 100) -> SkuPage:
        """A page of SKUs by id."""
        return await self.get(SkuPage, "/skus", {"after": after, "limit": limit})

    async def put_sku(self, sku: str, body: Sku | dict[str, Any]) -> Sku:
        """Create or replace a SKU."""
        return await self.put(Sku, f"/skus/{quote(sku, safe='')}", body)

    async def put_skus(
        self, skus: Sequence[Sku | dict[str, Any]], *, key: str | None = None
    ) -> Stored:
        """Create or replace many, each with its ``sku``."""
        return await self.post(Stored, "/skus", {"skus": list(skus)}, key)

    async def store(self, store_id: str) -> Store:
        """A store's profile."""
        return await self.get(Store, f"/stores/{quote(store_id)}")

    async def stores(self, *, after: str = "", limit: int = 100) -> StorePage:
        """A page of stores by id."""
        return await self.get(StorePage, "/stores", {"after": after, "limit": limit})

    async def put_store(self, store_id: str, body: Store | dict[str, Any]) -> Store:
        """Create or replace a store's profile."""
        return await self.put(Store, f"/stores/{quote(store_id)}", body)

    async def channel(self, channel: str) -> Channel:
        """A channel's rules."""
        return await self.get(Channel, f"/channels/{quote(channel)}")

    async def put_channel(self, channel: str, body: Channel | dict[str, Any]) -> Channel:
        """Create or replace a channel's rules."""
        return await self.put(Channel, f"/channels/{quote(channel)}", body)


def _ticket(store_id: str, fulfilment_id: str) -> str:
    return f"/stores/{quote(store_id)}/tickets/{quote(fulfilment_id)}"


def _items(units: dict[str, int]) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
