"""What operations and finance read, the remedies beside each anomaly, and the service itself."""

from typing import Any
from urllib.parse import quote

from orchestrator.client.transport import Transport
from orchestrator.models import (
    AccountPage,
    AnomalyPage,
    Clock,
    DocumentPage,
    Done,
    LedgerStock,
    PostingPage,
    Readiness,
    Reconciliation,
    Remedy,
    Zone,
)

__all__ = ["OperationsCalls"]


class OperationsCalls(Transport):
    """The monitor, the books, dispatch, the clock."""

    async def monitor(self) -> dict[str, Any]:
        """The order flow now (see ``docs/protocol/socket.md`` for its members)."""
        return await self.get(dict[str, Any], "/monitor")

    async def anomalies(self, code: str = "") -> AnomalyPage:
        """What is wrong now, oldest first."""
        return await self.get(AnomalyPage, "/anomalies", {"code": code})

    async def apply_remedy(self, remedy: Remedy, *, key: str | None = None, **given: Any) -> Any:
        """Carry a remedy out; ``given`` are the members it ``asks`` for."""
        path = remedy.path.removeprefix("/v1")
        body = {**remedy.body, **given}
        if remedy.method == "PUT":
            return await self.put(Any, path, body)
        return await self.post(Any, path, body, key)

    async def dispatch_zone(self, zone_id: str) -> Zone:
        """Parcels, riders and open offers of a zone."""
        return await self.get(Zone, f"/dispatch/{quote(zone_id)}")

    async def reoffer(
        self, zone_id: str, parcel_id: str, why: str, *, key: str | None = None
    ) -> Done:
        """Put a parcel first in the next round."""
        path = f"/dispatch/{quote(zone_id)}/parcels/{quote(parcel_id)}/reoffer"
        return await self.post(Done, path, {"why": why}, key)

    async def ledger_accounts(self) -> AccountPage:
        """The trial balance."""
        return await self.get(AccountPage, "/ledger/accounts")

    async def ledger_documents(
        self, *, after: str = "", limit: int = 100, kind: str = ""
    ) -> DocumentPage:
        """A page of documents, oldest first."""
        query = {"after": after, "limit": limit, "kind": kind}
        return await self.get(DocumentPage, "/ledger/documents", query)

    async def ledger_postings(
        self, *, after: str = "", limit: int = 100, account: str = ""
    ) -> PostingPage:
        """A page of postings, oldest first."""
        query = {"after": after, "limit": limit, "account": account}
        return await self.get(PostingPage, "/ledger/postings", query)

    async def ledger_stock(self, store_id: str) -> LedgerStock:
        """A store's stock from documents alone."""
        return await self.get(LedgerStock, "/ledger/stock", {"store_id": store_id})

    async def reconciliation(self) -> Reconciliation:
        """Whether every unit and every cent is explained. It walks the whole ledger."""
        return await self.get(Reconciliation, "/ledger/reconciliation")

    async def clock(self) -> Clock:
        """Service time and its speed."""
        return await self.get(Clock, "/clock")

    async def readiness(self) -> Readiness:
        """Whether orders can be taken; raises ``ProblemError`` with status 503 when not."""
        return await self.get(Readiness, f"{self.base_url}/readyz")
