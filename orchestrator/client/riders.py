"""What riders do, and who takes their cash."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from orchestrator.client.transport import Transport
from orchestrator.models import Done, InboxPage, Rider, RiderCash, RiderCashPage

__all__ = ["RiderCalls"]


class RiderCalls(Transport):
    """A rider's phone. Every action answers with the rider as they are afterwards."""

    async def rider(self, rider_id: str) -> Rider:
        """Shift, run, offer and cash."""
        return await self.get(Rider, f"/riders/{quote(rider_id)}")

    async def start_shift(
        self,
        rider_id: str,
        dispatch_zone: str,
        vehicle: str,
        lat: float,
        lon: float,
        *,
        capacity: int = 3,
        cash_limit: int = 50_000,
        ends_at: datetime | None = None,
        key: str | None = None,
    ) -> Rider:
        """Come on shift."""
        body = {
            "dispatch_zone": dispatch_zone, "vehicle": vehicle,
            "position": {"lat": lat, "lon": lon}, "capacity": capacity, "cash_limit": cash_limit,
            "ends_at": ends_at,
        }  # fmt: skip
        return await self._do(rider_id, "shift", body, key)

    async def end_shift(self, rider_id: str, *, key: str | None = None) -> Rider:
        """Go off shift; refused with ``run-not-empty``."""
        return await self._do(rider_id, "shift/end", {}, key)

    async def move(self, rider_id: str, lat: float, lon: float) -> None:
        """Where the rider is now; only the latest counts."""
        body = {"position": {"lat": lat, "lon": lon}}
        await self.put(type(None), f"/riders/{quote(rider_id)}/position", body)

    async def accept_offer(self, rider_id: str, offer_id: str, *, key: str | None = None) -> Rider:
        """Take the offer; ``offer-gone`` if it is no longer this rider's."""
        return await self._do(rider_id, f"offers/{quote(offer_id)}/accept", {}, key)

    async def decline_offer(
        self, rider_id: str, offer_id: str, reason: str = "", *, key: str | None = None
    ) -> Rider:
        """Not this one."""
        path = f"offers/{quote(offer_id)}/decline"
        return await self._do(rider_id, path, {"reason": reason}, key)

    async def arrive_at_store(
        self, rider_id: str, parcel_id: str, *, key: str | None = None
    ) -> Rider:
        """At the counter of the parcel's store."""
        return await self._parcel(rider_id, parcel_id, "arrive-at-store", {}, key)

    async def pick_up(self, rider_id: str, parcel_id: str, *, key: str | None = None) -> Rider:
        """Take the parcel."""
        return await self._parcel(rider_id, parcel_id, "pick-up", {}, key)

    async def arrive_at_customer(
        self, rider_id: str, parcel_id: str, *, key: str | None = None
    ) -> Rider:
        """At the door."""
        return await self._parcel(rider_id, parcel_id, "arrive-at-customer", {}, key)

    async def deliver(
        self,
        rider_id: str,
        parcel_id: str,
        *,
        cash_received: int = 0,
        change: int = 0,
        key: str | None = None,
    ) -> Rider:
        """Handed over; ``cash_received - change`` must be the cash due."""
        body = {"cash_received": cash_received, "change": change}
        return await self._parcel(rider_id, parcel_id, "deliver", body, key)

    async def fail(
        self, rider_id: str, parcel_id: str, reason: str, *, key: str | None = None
    ) -> Rider:
        """Not delivered: ``refused | absent | damaged | address``."""
        return await self._parcel(rider_id, parcel_id, "fail", {"reason": reason}, key)

    async def remit(
        self, rider_id: str, amount: int, *, owed: int, reason: str = "", key: str | None = None
    ) -> RiderCash:
        """Cash handed in to whoever holds this token (a store of the rider's dispatch zone, or
        operations), minor units. ``owed`` is the sum that the cashier saw; ``owed-changed`` once it
        is another. An ``amount`` that is not ``owed`` needs a ``reason``."""
        body = {"amount": amount, "owed": owed, "reason": reason}
        return await self.post(RiderCash, f"/riders/{quote(rider_id)}/remittances", body, key)

    async def riders_of(self, store_id: str) -> RiderCashPage:
        """Whose cash the store may take, who owes most first."""
        return await self.get(RiderCashPage, f"/stores/{quote(store_id)}/riders")

    async def unassign(
        self, rider_id: str, parcel_id: str, why: str, *, key: str | None = None
    ) -> Rider:
        """Operations: take a parcel away that was not picked up yet."""
        return await self._parcel(rider_id, parcel_id, "unassign", {"why": why}, key)

    async def rider_inbox(
        self, rider_id: str, *, after: int = 0, limit: int = 100, epoch: str = ""
    ) -> InboxPage:
        """The inbox without a socket. ``epoch``: what ``after`` counts in; ``none``: a snapshot."""
        query = {"after": after, "limit": limit, "epoch": epoch or None}
        return await self.get(InboxPage, f"/riders/{quote(rider_id)}/inbox", query)

    async def acknowledge_rider_inbox(
        self, rider_id: str, device_id: str, offset: int, *, key: str | None = None
    ) -> Done:
        """The phone has stored everything up to ``offset``; for networks without WebSockets."""
        path = f"/riders/{quote(rider_id)}/inbox/acknowledgements"
        return await self.post(Done, path, {"device_id": device_id, "offset": offset}, key)

    async def _do(self, rider_id: str, action: str, body: Any, key: str | None) -> Rider:
        return await self.post(Rider, f"/riders/{quote(rider_id)}/{action}", body, key)

    async def _parcel(
        self, rider_id: str, parcel_id: str, action: str, body: Any, key: str | None
    ) -> Rider:
        return await self._do(rider_id, f"parcels/{quote(parcel_id)}/{action}", body, key)
