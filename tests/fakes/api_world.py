"""The HTTP API over a scripted runtime, spoken to in process (no port, no network)."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace
from pydantic import SecretStr

from actors.engine.page import Page
from domain import campaign
from domain.campaign.brief import Brief
from domain.catalogue.commands import PutChannel, PutSku, PutStore
from domain.catalogue.model import ChannelPolicy, Sku, StoreProfile
from domain.customer.commands import GetStanding, Standing
from domain.device.commands import CreateCode, EndSession, Pairing, RedeemCode
from domain.device.state import CodeState
from domain.dispatch.commands import GetZone, ReofferParcel
from domain.dispatch.views import ZoneView
from domain.errors import Refused
from domain.geo import Position
from domain.inbox import InboxMessage, InboxPage
from domain.inventory import commands as inventory
from domain.inventory.views import CellView, StockView
from domain.order import commands as order
from domain.order.views import FulfilmentView, LineView, OrderView, PaymentView
from domain.payment import ProviderAnswer
from domain.rider import commands as rider
from domain.rider.views import RiderView
from domain.risk import commands as risk
from domain.risk.blocks import Blocks
from domain.store import commands as store
from domain.store.views import TicketView
from domain.waiting.commands import Admission, Join
from domain.waiting.model import QueueRule
from orchestrator.api.app import create_app
from orchestrator.auth import tokens_of
from orchestrator.ports import Service
from orchestrator.settings import Settings
from tests.fakes.fake_runtime import FakeRuntime
from tests.fakes.manual_clock import ManualClock

__all__ = [
    "ORDER_ID", "ORDER_VIEW", "PLACE", "RIDER_VIEW", "TICKET_VIEW", "ApiWorld", "FakeBooks",
    "FakeViews",
]  # fmt: skip

ORDER_ID = "oabcdefghij234567abcd"
FULFILMENT_ID = f"{ORDER_ID}-1"

ORDER_VIEW = OrderView(
    order_id=ORDER_ID, state="placed", channel="app", customer_id="c-1", currency="USD",
    goods=1_980, freight=300, total=2_280, payment="online", delivery="delivery",
    lines=(LineView(f"{ORDER_ID}/1", "MILK", "Milk", 2, 990, 1_980, FULFILMENT_ID),),
    fulfilments=(FulfilmentView(FULFILMENT_ID, "s-1", "new", 0.0, 0, 300),),
    payments=(), refunds=(), placed_at=1_760_000_000.25, expires_at=1_760_000_900.25,
    drop_off=Position(4.66, -74.05),
)  # fmt: skip
TICKET_VIEW = TicketView(FULFILMENT_ID, ORDER_ID, "accepted", "delivery", "USD", 0)
RIDER_VIEW = RiderView("r-1", "free", dispatch_zone="north", cash_held=1_500, currency="USD")
INBOX_MESSAGE = InboxMessage(1, "store/s-1/1", "item.paused", 1_760_000_000.0, b'{"sku":"MILK"}')
SNAPSHOT = msgspec.json.encode({
    "store_id": "s-1", "paused": False, "paused_until": None, "paused_reason": "",
    "paused_items": {}, "closed": [],
    "tickets": [{
        "fulfilment_id": FULFILMENT_ID, "order_id": ORDER_ID, "delivery": "delivery",
        "opened_at": "2026-03-01T12:00:00Z", "accept_by": "2026-03-01T12:05:00Z",
        "due_at": "2026-03-01T12:30:00Z", "currency": "USD", "customer_name": "Ana",
        "phone_ending": "42", "address": "", "note": "",
        "lines": [
            {"line_id": f"{ORDER_ID}/{n}", "sku": sku, "name": sku, "quantity": 2, "barcode": "",
             "unit_price": 990} for n, sku in enumerate(("MILK", "EGGS"), 1)
        ],
        "progress": {
            "state": "ready", "changed_at": "2026-03-01T12:02:00Z", "cash_due": 0,
            "picked": {f"{ORDER_ID}/1": 1}, "ready_at": None, "accepted_by": "", "rider_id": "",
            "rider_at_store": False, "cancel_asked": False, "escalation": 0, "reason": "",
            "code_locked_until": None,
        },
    }],
})  # fmt: skip
CAMPAIGN_VIEW = campaign.CampaignView(
    "c-1",
    campaign.Terms(
        "Milk", "flash_sale", "MILK", 495, "USD", 1_000_000_000.0, 9_000_000_000.0,
        (campaign.Share("s-1", 10),),
    ),
    "running", 990, 9, campaign.Tally(9, 1, 0, 0),
    (campaign.QuotaView("s-1", 10, 10, 9, 1, 0, 0),), 0, 0, 0,
)  # fmt: skip
STOCK_VIEW = StockView("s-1", (CellView("MILK", 10, 1, 0, 0, 0, 9, 0, 0, 0, {}),))

PLACE: dict[str, Any] = {
    "customer": {"customer_id": "c-1", "name": "Ana", "phone": "+573001234542"},
    "lines": [{"sku": "MILK", "quantity": 2}],
    "currency": "USD",
    "address": {"position": {"lat": 4.66, "lon": -74.05}, "text": "Calle 63"},
}


class FakeViews:
    """A read model that holds what a test puts in."""

    def __init__(self) -> None:
        self.skus = {sku: Sku(sku, "Milk", 990) for sku in ("MILK", "MILK-1L")}
        self.stores = {
            store_id: StoreProfile(store_id, "A store", Position(4.65, -74.06), "USD", (), "north")
            for store_id in ("s-1", "s-8")
        }
        self.channels: dict[str, ChannelPolicy] = {}
        self.region: dict[str, int] = {"MILK": 12}
        self.sessions = {"aq3m7xk2": CodeState("store", "s-1", 0.0, 1.0, "Counter", 9e9)}
        terms = CAMPAIGN_VIEW.terms
        queued = replace(terms, queue=QueueRule())
        self.campaigns = {
            "c-1": Brief("c-1", terms, 990, (), campaign.Tally(9, 1, 0, 0), {"s-1": 9}),
            "c4xk2mzq5vtr3": Brief("c4xk2mzq5vtr3", queued, 990, ()),
        }
        self.blocks = Blocks()

    def campaign(self, campaign_id: str) -> Brief:
        if campaign_id not in self.campaigns:
            raise Refused("unknown-campaign", "No such campaign.")
        return self.campaigns[campaign_id]

    def channel(self, name: str) -> ChannelPolicy:
        return self.channels.get(name, ChannelPolicy(name))

    def region_sellable(
        self, skus: Sequence[str], position: Position, now: float
    ) -> Mapping[str, int]:
        return {sku: self.region[sku] for sku in skus if sku in self.region}


class FakeBooks:
    """Books with rows a test puts in; ``error`` is raised by every read."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.history: list[dict[str, Any]] = []
        self.page = Page([], None)
        self.report: dict[str, Any] = {
            "balanced": True, "difference_count": 0, "differences": [], "checks": {}, "orders": {},
            "accounts": {}, "stock": {}, "open": {}, "documents": 0,
        }  # fmt: skip
        self.asked: list[dict[str, Any]] = []
        self.error: Exception | None = None

    async def orders(self, **asked: Any) -> Page:
        return self._paged(asked)

    async def order(self, order_id: str) -> dict[str, Any] | None:
        self._check()
        return self.rows.get(order_id)

    async def order_history(self, order_id: str) -> Sequence[dict[str, Any]]:
        self._check()
        return self.history

    async def accounts(self) -> Sequence[dict[str, Any]]:
        self._check()
        return list(self.page.rows)

    async def documents(self, **asked: Any) -> Page:
        return self._paged(asked)

    async def postings(self, **asked: Any) -> Page:
        return self._paged(asked)

    async def stock(self, store_id: str) -> Sequence[dict[str, Any]]:
        self._check()
        return list(self.page.rows)

    async def reconciliation(self) -> dict[str, Any]:
        self._check()
        return self.report

    async def lag(self) -> dict[str, int]:
        self._check()
        return {"order.0": 3}

    def _paged(self, asked: dict[str, Any]) -> Page:
        self._check()
        self.asked.append(asked)
        return self.page

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class FakeProvider:
    """Accepts a webhook whose ``signature`` header is ``good``."""

    def __init__(self) -> None:
        self.event = ProviderAnswer(
            f"{ORDER_ID}-p1", "captured", "ref-1", 2_280, "USD", event_id="evt-1"
        )

    def verify(self, body: bytes, headers: dict[str, str], now: float) -> ProviderAnswer:
        if headers.get("signature") != "good":
            raise Refused("bad-signature", "Sign it.")
        return self.event

    def pay_url(self, payment_id: str) -> str:
        return f"http://pay.example/{payment_id}"


class ApiWorld:
    """Everything a test of the API needs; ``call`` speaks to it as a given role."""

    def __init__(self, **settings: Any) -> None:
        chosen = {"jwt_secret": SecretStr("s" * 32), **settings}
        self.settings = Settings(_env_file=None, **chosen)
        self.runtime = FakeRuntime()
        self.clock = ManualClock()
        self.views = FakeViews()
        self.books = FakeBooks()
        self.provider = FakeProvider()
        self.tokens = tokens_of(self.settings)
        self.service = Service(
            self.settings, self.runtime, self.clock, self.views, self.books,  # type: ignore[arg-type]
            {"sandbox": self.provider},
        )  # fmt: skip
        self.app = create_app(self.service, self.tokens)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=True),  # type: ignore[arg-type]
            base_url="http://doorstep",
        )
        self._script()

    def headers(self, role: str = "", subject: str = "", key: str = "") -> dict[str, str]:
        made: dict[str, str] = {}
        if role:
            made["authorization"] = f"Bearer {self.tokens.issue(role, subject or f'{role}-1')}"
        if key:
            made["idempotency-key"] = key
        return made

    async def call(
        self,
        method: str,
        path: str,
        role: str = "",
        subject: str = "",
        *,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> httpx.Response:
        sent = {**self.headers(role, subject, key), **(headers or {})}
        return await self.http.request(method, path, headers=sent, **rest)

    def _script(self) -> None:
        replies = self.runtime.replies
        for command in (order.Place, order.Get, order.Cancel, order.RecordPayment,
                        order.RefundLines, order.Reroute, order.CloseParked,
                        order.ResolveFlag, order.RetryRefund):  # fmt: skip
            replies[command] = ORDER_VIEW
        replies[order.StartPayment] = lambda _to, command: PaymentView(
            command.payment_id, command.provider, "created", 2_280, "USD"
        )
        for command in (store.AcceptTicket, store.RejectTicket, store.StartPicking, store.PickLine,
                        store.MarkReady, store.HandOver, store.Collect, store.ConfirmHeldBack,
                        store.AcceptReturn, store.GetTicket):  # fmt: skip
            replies[command] = TICKET_VIEW
        for command in (rider.GetRider, rider.StartShift, rider.EndShift, rider.AcceptOffer,
                        rider.DeclineOffer, rider.ArriveAtStore, rider.PickUp,
                        rider.ArriveAtCustomer, rider.Deliver, rider.Fail, rider.Remit,
                        rider.Unassign):  # fmt: skip
            replies[command] = RIDER_VIEW
        for command in (inventory.Receive, inventory.Transfer, inventory.Count,
                        inventory.MarkDamaged, inventory.SetSafety, inventory.SetOversell,
                        inventory.Allot):  # fmt: skip
            replies[command] = None
        replies[inventory.Get] = STOCK_VIEW
        replies[campaign.Open] = replies[campaign.End] = CAMPAIGN_VIEW
        replies[campaign.Get] = _campaign
        replies[Join] = lambda _to, command: Admission(
            command.customer_id, 1_760_000_000.0, 1_760_000_120.0, 0
        )
        for command in (risk.PutBlock, risk.RemoveBlock, risk.RecordDecision, risk.OpenChallenge,
                        risk.AnswerChallenge):  # fmt: skip
            replies[command] = True
        replies[risk.GetRecord] = risk.RecordView("c-1", 0, 0, 0, ())
        replies[GetStanding] = Standing(0, 0, 0)
        replies[GetZone] = ZoneView("north", (), (), (), None)
        replies[ReofferParcel] = None
        replies[store.PauseStore] = replies[store.PauseItem] = None
        for kind in (store, rider):
            replies[kind.AcknowledgeInbox] = None
            replies[kind.RegisterDevice] = InboxPage("1", 1, (INBOX_MESSAGE,))
        replies[store.ReadInbox] = InboxPage("1", 1, (INBOX_MESSAGE,))
        replies[rider.ReadInbox] = InboxPage("1", 9, (), b'{"rider_id":"r-1"}')
        replies[store.GetSnapshot] = InboxPage("1", 1, (), SNAPSHOT)
        replies[EndSession] = True
        replies[CreateCode] = replies[RedeemCode] = Pairing("store", "s-1", 1_760_000_600.0)
        for command in (PutSku, PutStore, PutChannel):
            replies[command] = None


def _campaign(to: str, _command: Any) -> campaign.CampaignView:
    """One campaign was opened; the ids that new ones would get have none."""
    if to != "campaign/c-1":
        raise Refused("unknown-campaign", f"There is no {to}.")
    return CAMPAIGN_VIEW
