"""What the service's rooms need of the adapters that ``bootstrap`` wires in."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.engine.page import Page
from actors.engine.ports import Clock, Runtime
from actors.views import Views
from domain.payment import ProviderAnswer
from orchestrator.settings import Settings

__all__ = ["Books", "Page", "RateLimits", "Service", "WebhookVerifier"]


class Books(Protocol):
    """Reads of the SQL ledger (history; open entities answer from memory). All raise
    ``Unavailable`` with code ``ledger-away`` when SQL cannot be reached."""

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
    ) -> Page:
        """Orders, newest first. ``phone_ending``: the last four digits of the customer's phone;
        ``rider_id``: who carries or last carried a part of it."""
        ...  # fmt: skip

    async def order(self, order_id: str) -> dict[str, Any] | None:
        """One order's last projected view (the JSON of ``OrderView``)."""
        ...

    async def order_history(self, order_id: str) -> Sequence[dict[str, Any]]:
        """Its events and documents in order: ``{at, type, data}``."""
        ...

    async def accounts(self) -> Sequence[dict[str, Any]]:
        """Trial balance: ``{account, currency, debit, credit, balance}``; debits equal credits."""
        ...

    async def documents(self, *, after: str = "", limit: int = 100, kind: str = "") -> Page:
        """Documents of stock and money, oldest first."""
        ...

    async def postings(self, *, after: str = "", limit: int = 100, account: str = "") -> Page:
        """Postings, oldest first: ``{document_id, account, currency, amount}`` (debit positive)."""
        ...

    async def stock(self, store_id: str) -> Sequence[dict[str, Any]]:
        """Per SKU from documents alone: ``{sku, on_hand, locked, damaged, sold, returned, …}``."""
        ...

    async def lag(self) -> dict[str, int]:
        """Records not yet projected, per shard."""
        ...

    async def reconciliation(self) -> dict[str, Any]:
        """Is every unit and every cent explained? ``{balanced, difference_count, differences,
        checks, orders, accounts, stock, open, documents}``; each of ``differences`` says
        ``check``, what it is about, ``expected`` and ``found``. Walks the whole ledger."""
        ...


class WebhookVerifier(Protocol):
    """Checks a provider's signature; part of its adapter."""

    def verify(self, body: bytes, headers: dict[str, str], now: float) -> ProviderAnswer:
        """The event. Raises ``Refused`` with ``bad-signature``, ``stale-webhook`` or
        ``malformed-webhook``. Header names in lower case."""
        ...


class RateLimits(Protocol):
    """Counts requests per route and per what they come from."""

    async def check(self, route: str, **subjects: str) -> None:
        """Count one request of ``account``, ``device`` and ``address`` (empty ones are not
        counted). Raises ``Busy`` with ``too-many-requests`` and ``limit``, ``quota``, ``window_s``,
        ``retry_after_s``."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...


@dataclass(slots=True)
class Service:
    """Everything a gateway process holds; built by ``bootstrap``, passed to the rooms."""

    settings: Settings
    runtime: Runtime
    clock: Clock
    views: Views
    books: Books
    providers: dict[str, WebhookVerifier]
    sandbox: Any = None
    """ASGI app of the sandbox provider, mounted under ``/sandbox`` when enabled."""
    checks: dict[str, Callable[[], Awaitable[Any]]] = field(default_factory=dict)
    """What ``/readyz`` asks beside actors and ledger (such as the journal's ``ping``), by name;
    raises when its part is missing."""
    limits: RateLimits | None = None
    """None: nothing is limited."""
