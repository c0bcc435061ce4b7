"""The typed client of the service: HTTP with safe retries, sockets with resume.

For integrators in Python, and what the simulated city and the load tests use. Whoever cannot use it
speaks the same HTTP and sockets (``docs/protocol``), as the pages and Locust's users do::

    async with DoorstepClient("http://127.0.0.1:8080", token) as shop:
        order = await shop.place_order({...}, key="basket-17")
        payment = await shop.start_payment(order.order_id, "sandbox")

    async with DoorstepClient(url, tablet_token) as tablet:
        async for message in tablet.store_socket("s-1", "tablet-1"):
            ...
"""

from collections.abc import Callable

from orchestrator import models
from orchestrator.client.campaigns import CampaignCalls
from orchestrator.client.devices import DeviceCalls
from orchestrator.client.operations import OperationsCalls
from orchestrator.client.orders import OrderCalls
from orchestrator.client.problems import ProblemError, Refusal, SocketClosed, Unanswered
from orchestrator.client.retries import Retries
from orchestrator.client.riders import RiderCalls
from orchestrator.client.risk import RiskCalls
from orchestrator.client.sockets import (
    FileOffsets,
    InboxMessage,
    InboxSnapshot,
    InboxSocket,
    MemoryOffsets,
    Offsets,
    TokenSource,
    TopicSocket,
    TopicUpdate,
)
from orchestrator.client.stores import CatalogueCalls, StockCalls, TicketCalls

__all__ = [
    "DoorstepClient", "FileOffsets", "InboxMessage", "InboxSnapshot", "InboxSocket",
    "MemoryOffsets", "Offsets", "ProblemError", "Refusal", "Retries", "SocketClosed", "TokenSource",
    "TopicSocket", "TopicUpdate", "Unanswered", "models",
]  # fmt: skip


class DoorstepClient(
    OrderCalls,
    CampaignCalls,
    TicketCalls,
    StockCalls,
    CatalogueCalls,
    RiderCalls,
    OperationsCalls,
    DeviceCalls,
    RiskCalls,
):
    """The calls of channels, stores, riders and operations, with one token. Safe to share between
    tasks.

    A route without a method of its own (the list of dispatch zones, a provider's webhook, what is
    outside ``/v1``) has none here: below ``/v1``, :meth:`get` and :meth:`post` reach it.

    Methods that call over HTTP raise :class:`ProblemError`: a :class:`Refusal` of the service, or
    :class:`Unanswered`. A call is repeated until its outcome is known or the retries are used up, a
    ``POST`` with one Idempotency-Key.
    """

    def store_socket(
        self,
        store_id: str,
        device_id: str,
        *,
        offsets: Offsets | None = None,
        on_state: Callable[[str], None] | None = None,
    ) -> InboxSocket:
        """The store's inbox for one tablet. ``on_state`` is told each change of the socket's
        ``state``."""
        return self._inbox(f"/stores/{store_id}/socket", device_id, offsets, on_state)

    def rider_socket(
        self,
        rider_id: str,
        device_id: str,
        *,
        offsets: Offsets | None = None,
        on_state: Callable[[str], None] | None = None,
    ) -> InboxSocket:
        """The rider's inbox for one phone; ``on_state`` as of :meth:`store_socket`."""
        return self._inbox(f"/riders/{rider_id}/socket", device_id, offsets, on_state)

    def order_socket(self, order_id: str) -> TopicSocket:
        """An order's tracking: its document, and the rider's position as ``latest``."""
        return TopicSocket(self.session, self._address(f"/orders/{order_id}/socket"), self._token)

    def campaign_socket(self, campaign_id: str) -> TopicSocket:
        """What remains of a campaign, as it changes."""
        address = self._address(f"/campaigns/{campaign_id}/socket")
        return TopicSocket(self.session, address, self._token)

    def monitor_socket(self) -> TopicSocket:
        """The order flow as it happens."""
        return TopicSocket(self.session, self._address("/monitor/socket"), self._token)

    def _inbox(
        self,
        path: str,
        device_id: str,
        offsets: Offsets | None,
        on_state: Callable[[str], None] | None,
    ) -> InboxSocket:
        return InboxSocket(
            self.session, self._address(path), self._token, device_id,
            offsets=offsets, on_state=on_state or (lambda _state: None), dice=self._dice,
        )  # fmt: skip

    def _address(self, path: str) -> str:
        return f"ws{self.base_url.removeprefix('http')}/v1{path}"
