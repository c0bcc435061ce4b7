"""The monitor over HTTP and its socket, in a running gateway."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI, Request, Response

from domain import order, rider, store
from domain.catalogue.model import StoreProfile
from domain.errors import DoorstepError, Unavailable
from domain.geo import Position
from orchestrator.api import problems
from orchestrator.api.access import Access
from orchestrator.client import DoorstepClient, ProblemError, SocketClosed
from orchestrator.models import RiderCash
from orchestrator.monitor import routes
from orchestrator.push.frames import CloseCode
from tests.fakes.push_world import PushWorld, serving

T = 1_760_000_000.0


class Books:
    """A ledger that is far behind, or away."""

    def __init__(self) -> None:
        self.behind = 0
        self.away = False

    async def lag(self) -> dict[str, int]:
        if self.away:
            raise Unavailable("ledger-away", "Later.")
        return {"order.0": self.behind}


class Gateway(PushWorld):
    """With the monitor."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.service.books = self.books  # type: ignore[assignment]
        self.app.state.desk = SimpleNamespace(access=Access(self.tokens))
        self.monitor = routes.mount(self.app, self.service, self.push)
        _explain_errors(self.app)

    def client(self, role: str = "ops", subject: str = "ana") -> DoorstepClient:
        return DoorstepClient(self.url, self.token(role, subject), session=self.http)


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    world = Gateway()
    async with serving(world.app) as (server, url), aiohttp.ClientSession() as http:
        world.server, world.url, world.http = server, url, http
        await world.listening()
        yield world


def placed(order_id: str) -> order.Placed:
    part = order.Fulfilment(f"{order_id}-1", "s-1", "z-1", 0, 2400, 300, 600)
    return order.Placed(
        order_id, T, "app", order.Customer("c-1"), "EUR", "delivery", "online", None, (), (part,),
        500, 0, 500, T + 900,
    )  # fmt: skip


async def counted(client: DoorstepClient, placed_count: int) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            document = await client.monitor()
            if document["orders"]["by_state"].get("placed") == placed_count:
                return document
            await asyncio.sleep(0.01)


async def test_the_monitor_counts_what_was_committed() -> None:
    async with gateway() as world:
        world.runtime.commit("order/o1", placed("o1"))
        world.runtime.commit("order/o2", placed("o2"))
        await world.runtime.publish()
        document = await counted(world.client(), 2)
        assert document["ready"] is True
        assert document["orders"]["oldest"]["placed"]["id"] == "o1"


@pytest.mark.parametrize("path", ["/v1/monitor", "/v1/anomalies"])
async def test_another_role_is_told_of_the_call_it_made_and_not_of_a_socket(path: str) -> None:
    async with gateway() as world:
        headers = {"authorization": f"Bearer {world.token('store', 's-1')}"}
        async with world.http.get(world.url + path, headers=headers) as refused:
            problem = await refused.json()
        assert (refused.status, problem["code"]) == (403, "wrong-role")
        assert "socket" not in problem["detail"]
        async with world.http.get(world.url + path) as nameless:
            assert nameless.status == 401


async def test_a_store_reads_whose_cash_it_may_take_and_no_other_store_does() -> None:
    async with gateway() as world:
        place = Position(4.65, -74.06)
        profile = StoreProfile("s-1", "A store", place, "EUR", (), "north")
        world.service.views = SimpleNamespace(stores={"s-1": profile})  # type: ignore[assignment]
        for rider_id, zone in (("r-1", "north"), ("r-2", "south")):
            started = rider.ShiftStarted(zone, "bike", place, 3, 5_000, None, T)
            cash = rider.ParcelDelivered(f"{rider_id}-p", "o1", 900, 900, 0, "EUR", T)
            world.runtime.commit(f"rider/{rider_id}", started, cash)
        await world.runtime.publish()
        async with asyncio.timeout(30):
            while len((await world.client().monitor())["riders"]) < 2:
                await asyncio.sleep(0.01)
        page = await world.client("store", "s-1").riders_of("s-1")
        assert page.items == [RiderCash("r-1", True, 900, 5_000, "EUR")]
        with pytest.raises(ProblemError) as foreign:
            await world.client("store", "s-9").riders_of("s-1")
        assert foreign.value.code == "foreign-resource"


async def test_deltas_keep_a_watchers_document_equal_to_a_fresh_one() -> None:
    async with gateway() as world:
        client = world.client()
        updates = aiter(client.monitor_socket())
        assert (await anext(updates)).document["orders"]["open"] == 0
        for number in range(20):
            world.runtime.commit(f"order/o{number}", placed(f"o{number}"))
        parked = order.FulfilmentParked("o3-1", "rejected", T, T + 60)
        world.runtime.commit("order/o3", order.Paid(T, "o3-p1", "sb", "r", 500), parked)
        await world.runtime.publish()
        async with asyncio.timeout(30):
            async for update in updates:
                if update.document["anomalies"]:
                    break
        fresh = await counted(client, 19)
        assert update.document == fresh
        assert list(fresh["anomalies"]) == ["parked:o3-1"]


async def test_anomalies_come_with_their_remedies() -> None:
    async with gateway() as world:
        world.books.behind = 1_000_000
        world.monitor.flow.ledger_lag(await world.books.lag())
        world.runtime.commit("order/o1", placed("o1"))
        flagged = order.PaymentFlagged("o1-p1", "sandbox", 1, "EUR", "wrong amount")
        world.runtime.commit("order/o1", flagged)
        await world.runtime.publish()
        client = world.client()
        await counted(client, 1)
        found = {one.code: one for one in (await client.anomalies()).items}
        assert found.keys() == {"ledger-behind", "payment-flagged"}
        (remedy,) = found["payment-flagged"].remedies
        assert (remedy.method, remedy.path) == ("POST", "/v1/orders/o1/flags/o1-p1/resolve")
        assert remedy.asks == ["why"]
        only = await client.anomalies("ledger-behind")
        assert [one.code for one in only.items] == ["ledger-behind"]


async def test_a_tablets_socket_counts_as_presence() -> None:
    async with gateway() as world:
        tablet = world.client("store", "s-1").store_socket("s-1", "d-1")
        async with tablet:
            await anext(tablet)
            ticket = store.OpenTicket("o1-1", "o1", (), "delivery", "EUR", 0, T + 300, T + 2400)
            world.runtime.commit("store/s-1", store.TicketOpened(ticket, T))
            await world.runtime.publish()
            client = world.client()
            async with asyncio.timeout(30):
                while (await client.monitor())["stores"].get("s-1", {}).get("open") != 1:
                    await asyncio.sleep(0.01)
            world.clock.advance(3600)
            document = await client.monitor()
            assert document["stores"]["s-1"]["devices"] == 1
            assert document["anomalies"] == {}
        async with asyncio.timeout(30):
            while world.push.hub.devices("store/s-1"):
                await asyncio.sleep(0.01)
        world.clock.advance(61)
        assert list((await client.monitor())["anomalies"]) == ["tablet-offline:s-1"]


@pytest.mark.parametrize("role", ["store", "rider", "channel"])
async def test_the_monitor_is_for_operations_alone(role: str) -> None:
    async with gateway() as world:
        client = world.client(role, "x")
        for call in (client.monitor, client.anomalies):
            with pytest.raises(ProblemError) as raised:
                await call()
            assert raised.value.status == 403
        with pytest.raises(SocketClosed) as closed:
            await anext(aiter(client.monitor_socket()))
        assert closed.value.code == CloseCode.FORBIDDEN


async def test_the_monitor_ticks_on_while_the_ledger_is_away() -> None:
    async with gateway() as world:
        world.books.away = True
        updates = aiter(world.client().monitor_socket())
        await anext(updates)
        world.runtime.commit("order/o1", placed("o1"))
        await world.runtime.publish()
        async with asyncio.timeout(30):
            async for update in updates:
                if update.document["orders"]["open"] == 1:
                    return


async def test_an_unwatched_monitor_keeps_no_changes() -> None:
    async with gateway() as world:
        flow = world.monitor.flow
        for number in range(50):
            flow.anomalies.raise_("parked", f"o{number}-1", T, "", owner=f"o{number}")
            flow.anomalies.clear_owner(f"o{number}")
        world.monitor.tick()
        assert flow.anomalies.dirty == set()
        assert world.monitor.topic.document == {}


def _explain_errors(app: FastAPI) -> None:
    async def on_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, DoorstepError)
        status, headers, body = problems.encoded(error)
        return Response(body, status, headers)

    app.add_exception_handler(DoorstepError, on_error)


async def test_a_tablet_that_asks_over_http_counts_as_listening_while_it_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with gateway() as world:
        ticket = store.OpenTicket("o1-1", "o1", (), "delivery", "EUR", 0, T + 300, T + 2400)
        world.monitor.flow.apply("store", "s-1", store.TicketOpened(ticket, T), T)
        world.monitor.inbox_read("store/s-1")
        world.clock.advance(3600)
        world.monitor.tick()
        document = world.monitor.flow.document()
        assert (document["stores"]["s-1"]["devices"], document["anomalies"]) == (1, {})
        later = time.monotonic() + routes.READER_S + 1
        monkeypatch.setattr(routes, "time", SimpleNamespace(monotonic=lambda: later))
        world.monitor.tick()
        world.clock.advance(61)
        world.monitor.tick()
        assert list(world.monitor.flow.document()["anomalies"]) == ["tablet-offline:s-1"]
