"""One service of real processes whose Redis, then whose SQL, goes away and comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from adapters.redis.server import EmbeddedRedis
from orchestrator.auth import tokens_of
from orchestrator.settings import Settings
from orchestrator.supervisor import Supervisor

pytest_plugins = ("tests.ledger_databases",)
pytestmark = pytest.mark.timeout(240)

SHOP = {"lat": 52.5, "lon": 13.4}
STORE = {
    "name": "One", "position": SHOP, "currency": "EUR", "dispatch_zone": "north",
    "zones": [{"zone_id": "z-1", "tier": 1, "promise_s": 1800,
               "area": {"type": "circle", "centre": SHOP, "radius_m": 5_000}}],
}  # fmt: skip
WISH = {
    "customer": {"customer_id": "c-1", "name": "Ana", "phone": "+4915112345678"},
    "lines": [{"sku": "MILK", "quantity": 1}],
    "currency": "EUR",
    "address": {"position": SHOP, "text": "Door 1"},
}


class Gate:
    """A TCP port in front of a server's Unix socket; closed, the server is away."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._through, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._path)
        self._open |= {writer, inner_writer}
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        self._open -= {writer, inner_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


class City:
    """The service, its one shop, and the parts that a test takes away."""

    def __init__(self, supervisor: Supervisor, redis: EmbeddedRedis, sql: Gate) -> None:
        self.redis = redis
        self.sql = sql
        self.url = supervisor.url
        self.session = aiohttp.ClientSession()
        self._tokens = tokens_of(supervisor.settings)

    async def call(
        self, method: str, path: str, role: str = "ops", body: Any = None, key: str = ""
    ) -> tuple[int, Any, Any]:
        """(status, headers, body)."""
        headers = {"idempotency-key": key} if key else {}
        if role:
            subject = "app" if role == "channel" else "ana"
            headers["authorization"] = f"Bearer {self._tokens.issue(role, subject)}"
        async with self.session.request(
            method, self.url + path, json=body, headers=headers
        ) as answer:
            return answer.status, answer.headers, await answer.json(content_type=None)

    async def place(self, key: str) -> tuple[int, Any, Any]:
        return await self.call("POST", "/v1/orders", "channel", WISH, key)

    async def ready(self) -> int:
        return (await self.call("GET", "/readyz", ""))[0]

    async def open_shop(self) -> None:
        for method, path, body, key in (
            ("PUT", "/v1/channels/app", {}, ""),
            ("POST", "/v1/skus", {"skus": [{"sku": "MILK", "name": "Milk", "price": 99}]}, "sku"),
            ("PUT", "/v1/stores/s-1", STORE, ""),
            ("POST", "/v1/stores/s-1/stock/receipts",
             {"items": [{"sku": "MILK", "quantity": 100}]}, "stock"),
        ):  # fmt: skip
            status, _, answer = await self.call(method, path, body=body, key=key)
            assert status < 300, answer
        query = "/v1/availability?sku=MILK&lat=52.5&lon=13.4"

        async def seen() -> bool:
            _, _, shown = await self.call("GET", query)
            return bool(shown["items"][0]["sellable"])

        await until(seen)
        await until(lambda: self._placeable("warm"))

    async def _placeable(self, key: str) -> bool:
        return (await self.place(key))[0] == 201


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it holds; the test's time limit ends what never does."""
    while not await holds():
        await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> AsyncIterator[City]:
    folder: Path = tmp_path_factory.mktemp("away")
    redis = EmbeddedRedis(folder / "redis")
    await redis.start()
    server = make_url(postgres_url)
    sql = Gate(f"{server.query['host']}/.s.PGSQL.{server.port or 5432}")
    await sql.open()
    database = server.set(host="127.0.0.1", port=sql.port, query={}, database="postgres")
    settings = Settings(
        data=folder, port=0, ray_namespace="doorstep-away", redis_url=redis.url,
        database_url=database.render_as_string(hide_password=False),
    )  # fmt: skip
    async with Supervisor(settings) as supervisor:
        city = City(supervisor, redis, sql)
        await city.open_shop()
        yield city
        await city.session.close()
    await sql.close()
    await redis.stop()


@pytest.mark.asyncio(loop_scope="module")
async def test_without_redis_nothing_is_ready_writes_are_503_and_all_goes_on_by_itself(
    city: City,
) -> None:
    status, _, before = await city.place("before")
    assert (status, await city.ready()) == (201, 200)
    assert city.redis.process is not None
    city.redis.process.kill()
    await city.redis.process.wait()
    status, headers, refused = await city.place("while")
    assert (status, headers["Retry-After"]) == (503, "1"), refused
    assert refused["code"] in ("journal-away", "outcome-unknown")
    status, _, readiness = await city.call("GET", "/readyz", "")
    assert (status, readiness["parts"]["journal"]["ok"]) == (503, False)
    await city.redis.start()

    async def placed() -> bool:
        return (await city.place("while"))[0] == 201

    async def ready() -> bool:
        return await city.ready() == 200

    await until(placed)
    await until(ready)  # each process notices for itself that Redis is back
    assert (await city.place("before"))[2] == before
    _, _, known = await city.call("GET", f"/v1/orders/{before['order_id']}")
    assert known["order_id"] == before["order_id"]


@pytest.mark.asyncio(loop_scope="module")
async def test_without_sql_orders_go_on_and_the_ledger_catches_up(city: City) -> None:
    await city.sql.close()
    status, _, order = await city.place("no sql")
    assert status == 201
    status, headers, refused = await city.call("GET", "/v1/orders")
    assert (status, refused["code"], headers["Retry-After"]) == (503, "ledger-away", "1")
    status, _, readiness = await city.call("GET", "/readyz", "")
    assert (status, readiness["parts"]["ledger"]["ok"]) == (200, False)
    await city.sql.open()

    async def projected() -> bool:
        status, _, page = await city.call("GET", "/v1/orders")
        return status == 200 and any(one["order_id"] == order["order_id"] for one in page["items"])

    await until(projected)

    async def caught_up() -> bool:
        return bool((await city.call("GET", "/readyz", ""))[2]["ledger_lag"] == 0)

    await until(caught_up)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_gateway_shows_every_node_in_its_metrics(city: City) -> None:
    async def shown() -> bool:
        async with city.session.get(f"{city.url}/metrics") as answer:
            text = await answer.text()
        nodes = ('doorstep_node_up{node="node-0"} 1.0', 'doorstep_node_up{node="node-1"} 1.0')
        return all(node in text for node in nodes) and "doorstep_shard_backlog{" in text

    await until(shown)


@pytest.mark.asyncio(loop_scope="module")
async def test_sockets_are_not_compressed_whatever_a_client_offers(city: City) -> None:
    url = f"{city.url}/v1/monitor/socket"
    async with city.session.ws_connect(url, compress=15) as socket:
        assert not socket.compress
