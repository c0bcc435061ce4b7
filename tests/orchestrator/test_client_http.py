"""The client's HTTP side: retries with the same key, problems, and structs that fit the service."""

import inspect
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI, Request, Response

from orchestrator.api import access
from orchestrator.client import DoorstepClient, ProblemError, Refusal, Retries, Unanswered
from orchestrator.models import Remedy
from tests.fakes.push_world import serving


class Shop:
    """A service that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Response] = []
        self.asked: list[tuple[str, str, str, Any]] = []
        self.app = FastAPI()
        self.app.add_api_route("/{path:path}", self._answer, methods=["GET", "POST", "PUT"])

    def say(self, status: int, document: Any = None, **headers: str) -> None:
        body = b"" if document is None else msgspec.json.encode(document)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(Response(body, status, named, "application/json"))

    async def _answer(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        raw = await request.body()
        body = msgspec.json.decode(raw) if raw else None
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.asked.append((request.method, target, key, body))
        return self.answers.pop(0)


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, DoorstepClient]]:
    shop = Shop()
    retries = Retries(attempts=4, timeout_s=5, pause_s_min=0.001, pause_s_max=0.002)
    async with (
        serving(shop.app) as (_, url),
        DoorstepClient(url, "token", retries=retries, dice=random.Random(1)) as client,
    ):
        yield shop, client


World = tuple[Shop, DoorstepClient]
BUSY = {"code": "busy", "status": 503, "detail": "Later.", "title": "Busy", "type": "/p"}


async def test_a_busy_service_is_asked_again_with_the_same_key(shop: World) -> None:
    service, client = shop
    service.say(503, BUSY, Retry_After="0.001")
    service.say(502)
    service.say(200, {"done": True})
    assert (await client.reoffer("north", "o1-1", "late")).done
    keys = {key for _, _, key, _ in service.asked}
    assert len(service.asked) == 3
    assert len(keys) == 1
    assert keys != {""}


async def test_each_call_has_its_own_key_unless_one_is_given(shop: World) -> None:
    service, client = shop
    for _ in range(3):
        service.say(200, {"done": True})
    await client.reoffer("north", "o1-1", "late")
    await client.reoffer("north", "o1-1", "late")
    await client.reoffer("north", "o1-1", "late", key="mine")
    keys = [key for _, _, key, _ in service.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


async def test_a_refusal_is_raised_at_once_with_its_facts(shop: World) -> None:
    service, client = shop
    problem = {"code": "short-stock", "status": 409, "detail": "Only 1.", "short": {"tea": 1}}
    service.say(409, problem)
    with pytest.raises(ProblemError) as raised:
        await client.place_order({"lines": []})
    assert (raised.value.code, raised.value.status) == ("short-stock", 409)
    assert raised.value.extra == {"short": {"tea": 1}}
    assert len(service.asked) == 1


async def test_a_service_that_stays_away_is_given_up_after_the_last_attempt(shop: World) -> None:
    service, client = shop
    for _ in range(4):
        service.say(503, BUSY)
    with pytest.raises(ProblemError) as raised:
        await client.clock()
    assert raised.value.code == "busy"
    assert len(service.asked) == 4


async def test_a_service_that_is_not_there_is_unreachable() -> None:
    retries = Retries(attempts=2, pause_s_min=0.001)
    async with DoorstepClient("http://127.0.0.1:9", retries=retries) as client:
        with pytest.raises(ProblemError) as raised:
            await client.clock()
    assert (raised.value.code, raised.value.status) == ("unreachable", 0)


class Clock:
    """Real seconds, as a test lets them pass."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_whoever_insists_for_a_time_gives_up_when_the_next_attempt_would_come_too_late() -> None:
    clock = Clock()
    retries = Retries(attempts=None, pause_s_min=1.0, pause_s_max=2.0, give_up_s=10.0)
    patience = retries.begin(random.Random(1), clock)
    pauses = []
    while (pause_s := patience.pause_s(503)) is not None:
        pauses.append(pause_s)
        clock.now_s += pause_s
    assert 100.0 + 10.0 - 3.0 < clock.now_s <= 110.0
    assert all(1.0 <= pause_s <= 3.0 for pause_s in pauses)


def test_a_pause_is_never_shorter_than_the_service_asks_for() -> None:
    patience = Retries(attempts=2).begin(random.Random(1), Clock())
    pause_s = patience.pause_s(429, wait_s=30.0)
    assert pause_s is not None
    assert pause_s >= 30.0
    assert patience.pause_s(429) is None, "the second attempt"


def test_retries_without_any_bound_are_refused() -> None:
    with pytest.raises(ValueError, match="Bound the retries"):
        Retries(attempts=None)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_an_answer_that_leaves_the_outcome_open_is_asked_for_again(
    shop: World, status: int
) -> None:
    service, client = shop
    service.say(status)
    service.say(200, {"done": True})
    assert (await client.reoffer("north", "o1-1", "late")).done
    assert len({key for _, _, key, _ in service.asked}) == 1


async def test_each_answer_after_which_a_call_is_sent_again_can_be_heard(shop: World) -> None:
    service, client = shop
    heard: list[str] = []
    retries = Retries(attempts=3, pause_s_min=0.001, on_retry=lambda why: heard.append(why.code))
    service.say(500, {"code": "internal-error", "status": 500})
    service.say(503, BUSY)
    service.say(503, BUSY)
    async with DoorstepClient(client.base_url, "token", retries=retries) as patient:
        with pytest.raises(Unanswered):
            await patient.clock()
    assert heard == ["internal-error", "busy"], "the third is the outcome"


async def test_no_and_not_now_are_told_apart(shop: World) -> None:
    service, client = shop
    service.say(409, {"code": "wrong-state", "status": 409})
    with pytest.raises(Refusal):
        await client.clock()
    for _ in range(4):
        service.say(503, BUSY)
    with pytest.raises(Unanswered):
        await client.clock()


async def test_ids_are_quoted_and_queries_leave_empty_members_out(shop: World) -> None:
    service, client = shop
    service.say(200, {"items": [], "next": None})
    service.say(200, {"at": "2026-01-01T00:00:00Z", "items": []})
    service.say(202)
    await client.orders(state="paid")
    await client.availability(["a b", "c&d"], 1.5, 2.0)
    await client.move("r/1", 1.0, 2.0)
    assert [target for _, target, _, _ in service.asked] == [
        "/v1/orders?state=paid&limit=100",
        "/v1/availability?sku=a+b&sku=c%26d&lat=1.5&lon=2.0",
        "/v1/riders/r/1/position",
    ]


async def test_a_remedy_is_carried_out_as_it_says(shop: World) -> None:
    service, client = shop
    service.say(200, {"done": True})
    remedy = Remedy("re-route", "POST", "/v1/orders/o1/fulfilments/o1-1/reroute", {}, ["why"], [])
    await client.apply_remedy(remedy, why="asked", key="k")
    path = "/v1/orders/o1/fulfilments/o1-1/reroute"
    assert service.asked == [("POST", path, "k", {"why": "asked"})]


def test_the_client_needs_nothing_of_the_servers() -> None:
    """An integrator installs no web framework, no Ray and no database to speak to the service."""
    program = (
        "import sys, orchestrator.client; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "msgspec" in loaded
    servers = {"fastapi", "starlette", "uvicorn", "ray", "redis", "sqlalchemy", "pydantic"}
    assert not servers.union({"domain", "actors", "adapters"}).intersection(loaded)


def test_every_route_of_the_service_has_a_method() -> None:
    """Each route of the access table is the path of some call in the client's source."""
    source = "".join(
        inspect.getsource(room)
        for room in {inspect.getmodule(kind) for kind in DoorstepClient.__mro__[:-1]}
        if room is not None
    )
    words = set(re.findall(r"[a-z][a-z-]+", source))
    for route in access.ROLES_OF:
        fixed = re.sub(r"\{[^}]*\}", "", route.partition("/v1/")[2])
        for word in filter(None, fixed.split("/")):
            assert word in words, route
