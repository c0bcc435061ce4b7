"""The HTTP API over the whole engine in this process, journal in memory: nothing is scripted."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import SecretStr

from actors import (
    campaign,
    catalogue,
    customer,
    device,
    dispatch,
    inventory,
    order,
    rider,
    risk,
    store,
    waiting,
)
from actors.engine.codec import Registry
from actors.engine.local_runtime import LocalRuntime
from actors.engine.placement import Plan
from actors.views import Views
from adapters.travel import StraightLine
from domain.errors import Refused
from domain.message import Command
from domain.notice import Notify
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)
from orchestrator.api.app import create_app
from orchestrator.auth import tokens_of
from orchestrator.ports import RateLimits, Service
from orchestrator.settings import Settings
from tests.fakes.api_world import FakeBooks
from tests.fakes.manual_clock import ManualClock
from tests.fakes.memory_journal import MemoryJournal

__all__ = ["EngineWorld", "engine_world"]

KINDS = (
    campaign.KIND, catalogue.KIND, customer.KIND, device.KIND,
    dispatch.make_kind(StraightLine()), inventory.KIND, order.KIND, rider.KIND, risk.KIND,
    store.KIND, waiting.KIND,
)  # fmt: skip


class Webhooks:
    """A provider whose webhooks are JSON of a :class:`ProviderAnswer`'s members, unsigned."""

    def verify(self, body: bytes, headers: dict[str, str], now: float) -> ProviderAnswer:
        return ProviderAnswer(**json.loads(body))

    def pay_url(self, payment_id: str) -> str:
        return ""


class EngineWorld:
    """A gateway whose ``call`` speaks as a role; see :func:`engine_world`."""

    def __init__(self, limits: RateLimits | None = None, **settings: Any) -> None:
        self.settings = Settings(
            _env_file=None, jwt_secret=SecretStr("s" * 32), queue_secret=SecretStr("q" * 32),
            **settings,
        )  # fmt: skip
        self.clock = ManualClock()
        self.journal = MemoryJournal()
        self.views = Views(pickup_secret=b"p" * 32)
        self.owed: list[Command] = []
        registry = Registry(
            KINDS,
            CreatePayment | CapturePayment | RefundPayment | QueryPayment | Notify,
            ProviderAnswer | None,
        )
        plan = Plan.spread(
            {kind.name: 1 for kind in KINDS} | {"campaign": self.settings.campaign_shards},
            [tuple(kind.name for kind in KINDS)],
            own={"campaign": self.settings.campaign_own_shards},
        )
        self.runtime = LocalRuntime(
            plan, registry, self.journal, self.clock, make_views=lambda: self.views,
            effects={"provider": self._provider, "notify": self._notify},
        )  # fmt: skip
        self.books = FakeBooks()
        self.tokens = tokens_of(self.settings)
        service = Service(
            self.settings,
            self.runtime,
            self.clock,
            self.views,
            self.books,
            {"sandbox": Webhooks()},
            limits=limits,
        )
        self.app = create_app(service, self.tokens)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app),  # type: ignore[arg-type]
            base_url="http://doorstep",
        )

    async def call(
        self, method: str, path: str, role: str, subject: str, body: Any = None, key: str = ""
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.tokens.issue(role, subject)}"}
        if key:
            headers["idempotency-key"] = key
        return await self.http.request(method, path, headers=headers, json=body)

    async def _provider(self, name: str, command: Command, effect_id: str) -> ProviderAnswer:
        self.owed.append(command)
        match command:
            case CreatePayment():
                return ProviderAnswer(command.payment_id, "pending")
            case RefundPayment():
                return ProviderAnswer(
                    command.payment_id, "refunded", "ref", command.amount, command.currency,
                    command.refund_id,
                )  # fmt: skip
        raise Refused("unknown-payment", "Not here.")

    async def _notify(self, name: str, command: Command, effect_id: str) -> None:
        self.owed.append(command)


@asynccontextmanager
async def engine_world(
    limits: RateLimits | None = None, **settings: Any
) -> AsyncIterator[EngineWorld]:
    """A running one."""
    world = EngineWorld(limits, **settings)
    await world.runtime.start()
    try:
        yield world
    finally:
        await world.runtime.close()
