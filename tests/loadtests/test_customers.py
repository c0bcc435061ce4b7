"""What a load test's customers note when the service fails, or refuses what it should not."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest_asyncio
from aiohttp import web

from loadtests.processes import child_environment
from loadtests.verdict import CustomersSaw, SoldOut

PROBLEM = "application/problem+json"
ANSWERS = {
    "/internal": (500, PROBLEM, '{"code": "internal-error", "detail": "Something of ours."}'),
    "/bare": (500, "text/plain", "Internal Server Error"),
    "/refused": (409, PROBLEM, '{"code": "wrong-state", "detail": "It is over."}'),
    "/gone": (404, PROBLEM, '{"code": "not-found", "detail": "No such route."}'),
    "/nobody": (401, "text/plain", "Unauthorized"),
    "/proxy": (503, "text/html", "<html>no upstream</html>"),
    "/busy": (503, PROBLEM, '{"code": "gateway-busy", "detail": "Nothing was changed."}'),
}
"""The first answer to each path; a customer who asks again is answered."""

# Locust patches the sockets of its process: a customer needs one of their own.
CALLS = """
import sys
from types import SimpleNamespace
from loadtests.customers import Customer
from loadtests.verdict import CustomersSaw
from locust.env import Environment
import msgspec, random
url, *paths = sys.argv[1:]
Customer.host = url
customer = Customer(Environment(user_classes=[Customer]))
scene = SimpleNamespace(channel_token="token")
customer.stage = SimpleNamespace(scene=scene, customers=CustomersSaw())
customer.device_id, customer.dice = "device", random.Random(1)
for path in paths:
    expected = frozenset({"wrong-state"})
    customer.call("POST", path, f"{path} (a call)", {}, key="key", expected=expected)
sys.stdout.buffer.write(msgspec.json.encode(customer.stage.customers))
"""


@pytest_asyncio.fixture
async def service() -> AsyncIterator[str]:
    """A service that fails at the first call of each path; its address."""
    answered: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        if request.path in answered:
            return web.json_response({})
        answered.add(request.path)
        status, kind, body = ANSWERS[request.path]
        return web.Response(status=status, content_type=kind, text=body)

    app = web.Application()
    app.router.add_post("/{path}", answer)
    async with serving(app) as url:
        yield url


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def told(script: str, *arguments: str) -> CustomersSaw:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *arguments,
        stdout=asyncio.subprocess.PIPE, env=child_environment(),
    )  # fmt: skip
    out, _ = await child.communicate()
    return msgspec.json.decode(out, type=CustomersSaw)


# A customer who wants a unit of a campaign that is sold out, as one after the other is told.
WANTS = """
import sys
from types import SimpleNamespace
from loadtests.customers import FLASH, Customer
from loadtests.verdict import CustomersSaw
from locust.env import Environment
import msgspec, random
url, *moments = sys.argv[1:]
Customer.host = url
customer = Customer(Environment(user_classes=[Customer]))
clock = iter(map(float, moments))
scene = SimpleNamespace(channel_token="token", now=lambda: next(clock))
customer.stage = SimpleNamespace(scene=scene, customers=CustomersSaw())
customer.device_id, customer.dice = "device", random.Random(1)
customer.customer_id, customer.position = "c1", {"lat": 1.0, "lon": 2.0}
customer.clearance, customer.keys = "", 0
for _ in moments:
    wish = {"lines": [{"sku": "cup", "quantity": 1}], "campaign_id": "s1"}
    assert customer.place(wish, FLASH) is None
sys.stdout.buffer.write(msgspec.json.encode(customer.stage.customers))
"""


async def test_who_is_told_sold_out_notes_when_and_looks_at_the_page_again() -> None:
    pages = iter((3, 2, 1))

    async def refuse(_request: web.Request) -> web.Response:
        body = {"code": "campaign-sold-out", "detail": "Sold out for now."}
        return web.json_response(body, status=409, content_type=PROBLEM)

    async def page(_request: web.Request) -> web.Response:
        return web.json_response({"remaining": next(pages)})

    app = web.Application()
    app.router.add_post("/v1/orders", refuse)
    app.router.add_get("/v1/campaigns/s1", page)
    async with serving(app) as url:
        found = await told(WANTS, url, "10.0", "30.0", "20.0")
    assert found.sold_out == {"s1": SoldOut(30.0, 2)}, "the last to be told, whoever notes it last"
    assert found.faults.count == 0


async def test_customers_note_what_failed_inside_and_no_refusal(service: str) -> None:
    found = await told(CALLS, service, *ANSWERS)
    assert found.faults.count == 3
    assert [sample.split(": ")[0] for sample in found.faults.samples] == [
        "500 to POST /internal (a call)", "500 to POST /bare (a call)",
        "503 to POST /proxy (a call)",
    ]  # fmt: skip
    assert "internal-error" in found.faults.samples[0]


async def test_customers_note_what_nobody_had_a_reason_to_refuse_them(service: str) -> None:
    found = await told(CALLS, service, *ANSWERS)
    assert [sample.split(": ")[0] for sample in found.surprises.samples] == [
        "404 to POST /gone (a call)", "401 to POST /nobody (a call)"
    ]  # fmt: skip
    assert found.surprises.count == 2
    repeated = 4  # what failed, and 503
    assert (found.calls, found.unanswered) == (len(ANSWERS) + repeated, 0)


async def test_customers_note_that_nobody_answered() -> None:
    async def slam(request: web.Request) -> web.Response:
        assert request.transport is not None
        if not slammed:
            slammed.append(request.path)
            request.transport.abort()
        return web.json_response({})

    slammed: list[str] = []
    app = web.Application()
    app.router.add_post("/{path}", slam)
    async with serving(app) as url:
        found = await told(CALLS, url, "/lost")
    assert (found.calls, found.unanswered) == (2, 1)
    assert found.faults.count == found.surprises.count == 0
