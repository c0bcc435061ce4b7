"""The provider effect, and what the sandbox's adapter makes of trouble on the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.payments.port import provider_effect
from adapters.payments.sandbox_client import SandboxProvider
from adapters.payments.signature import SIGNATURE_HEADER, sign
from domain.errors import Refused, Unavailable
from domain.message import Command
from domain.notice import Notify
from domain.payment import CapturePayment, CreatePayment, QueryPayment, RefundPayment
from tests.fakes.fake_provider import FakeProvider
from tests.fakes.manual_clock import ManualClock

CREATE = CreatePayment("o1-p1", "o1", 1_000, "EUR", None)
CAPTURE = CapturePayment("o1-p1", 1_000, "EUR")
REFUND = RefundPayment("o1-p1", "r1", 100, "EUR")
QUERY = QueryPayment("o1-p1")
DEEP = "[" * 60_000 + "]" * 60_000

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[SandboxProvider]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an odd provider that answers every request as told; gives the adapter for it."""
    servers: list[TestServer] = []
    providers: list[SandboxProvider] = []

    async def start(answering: Answering, timeout_real_s: float = 30.0) -> SandboxProvider:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", answering)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        provider = SandboxProvider(
            str(server.make_url("")), "key", "secret", timeout_real_s=timeout_real_s
        )
        providers.append(provider)
        return provider

    yield start
    for provider in providers:
        await provider.close()
    for server in servers:
        await server.close()


async def test_each_command_reaches_the_named_provider_with_its_effect_id() -> None:
    one, other = FakeProvider(ManualClock()), FakeProvider(ManualClock())
    effect = provider_effect({"one": one, "other": other})
    assert (await effect("one", CREATE, "e1")).status == "pending"
    one.pay("o1-p1")
    assert (await effect("one", CAPTURE, "e2")).status == "captured"
    assert (await effect("one", REFUND, "e3")).status == "refunded"
    assert (await effect("one", QUERY, "e4")).status == "captured"
    assert one.calls == [
        ("CreatePayment", "e1"), ("CapturePayment", "e2"),
        ("RefundPayment", "e3"), ("QueryPayment", "e4"),
    ]  # fmt: skip
    assert other.calls == []


async def test_a_provider_that_is_away_is_asked_again_later() -> None:
    provider = FakeProvider(ManualClock())
    provider.away = True
    with pytest.raises(Unavailable):
        await provider_effect({"one": provider})("one", CREATE, "e1")


@pytest.mark.parametrize("command", [CREATE, QUERY])
async def test_paying_through_a_provider_that_is_not_configured_is_refused(
    command: Command,
) -> None:
    with pytest.raises(Refused, match="unknown-provider"):
        await provider_effect({})("gone", command, "e1")


@pytest.mark.parametrize("command", [CAPTURE, REFUND])
async def test_money_owed_through_a_provider_that_is_not_configured_stays_owed(
    command: Command,
) -> None:
    with pytest.raises(Unavailable, match="unknown-provider"):
        await provider_effect({})("gone", command, "e1")


async def test_a_command_that_is_not_for_providers_is_refused() -> None:
    effect = provider_effect({"one": FakeProvider(ManualClock())})
    with pytest.raises(Refused, match="unknown-command"):
        await effect("one", Notify("ops", "t", {}), "e1")


async def test_requests_carry_key_and_idempotency_key_and_escaped_ids(serve: Serve) -> None:
    seen: list[tuple[str, str, str, Any]] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        seen.append(
            (request.raw_path, request.headers["authorization"],
             request.headers["idempotency-key"], await request.json())
        )  # fmt: skip
        return web.json_response(
            {"payment_id": "a/b", "status": "refunded", "amount": 100, "currency": "EUR"}
        )

    provider = await serve(answering)
    await provider.refund(RefundPayment("a/b?c", "r1", 100, "EUR"), "effect-7")
    assert seen == [
        ("/payments/a%2Fb%3Fc/refunds", "Bearer key", "effect-7",
         {"refund_id": "r1", "amount": 100, "currency": "EUR"})
    ]  # fmt: skip
    assert provider.pay_url("a/b").endswith("/pay/a%2Fb")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 401, 403, 404, 409, 302, 400])
async def test_an_answer_that_is_not_the_providers_own_decision_leaves_the_outcome_open(
    serve: Serve, status: int
) -> None:
    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="<html>a proxy speaks</html>")

    provider = await serve(answering)
    for call in (provider.refund(REFUND, "e1"), provider.query(QUERY, "e2")):
        with pytest.raises(Unavailable):
            await call


async def test_the_providers_own_decision_is_final_and_keeps_its_code(serve: Serve) -> None:
    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"code": "card-lost", "detail": "Call the bank."}, status=422)

    provider = await serve(answering)
    with pytest.raises(Refused) as refusal:
        await provider.refund(REFUND, "e1")
    assert (refusal.value.code, refusal.value.detail) == ("card-lost", "Call the bank.")


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "null", '{"payment_id":1}', '{"payment_id":', f'{{"x":{DEEP}}}']
)
async def test_an_answer_that_makes_no_sense_leaves_the_outcome_open(
    serve: Serve, text: str
) -> None:
    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    provider = await serve(answering)
    with pytest.raises(Unavailable, match="provider-answer-malformed"):
        await provider.create(CREATE, "e1")


async def test_an_endless_answer_is_cut_off(serve: Serve) -> None:
    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b" " * 2_000_000)

    provider = await serve(answering)
    with pytest.raises(Unavailable):
        await provider.create(CREATE, "e1")


async def test_a_provider_that_does_not_answer_in_time_leaves_the_outcome_open(
    serve: Serve,
) -> None:
    never = asyncio.Event()

    async def answering(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    provider = await serve(answering, timeout_real_s=0.05)
    with pytest.raises(Unavailable, match="provider-away"):
        await provider.create(CREATE, "e1")
    never.set()


async def test_a_provider_that_is_not_there_leaves_the_outcome_open() -> None:
    provider = SandboxProvider("http://127.0.0.1:1", "key", "secret")
    with pytest.raises(Unavailable, match="provider-away"):
        await provider.query(QUERY, "e1")
    await provider.close()


async def test_a_status_the_adapter_does_not_know_is_unknown(serve: Serve) -> None:
    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"payment_id": "o1-p1", "status": "in_review", "amount": 1, "currency": "EUR",
             "news": True}
        )  # fmt: skip

    provider = await serve(answering)
    assert (await provider.query(QUERY, "e1")).status == "unknown"


def test_while_a_secret_is_rotated_both_are_accepted_and_no_third() -> None:
    provider = SandboxProvider("http://x", "key", ["new", "old"])
    body = (
        b'{"id":"evt_1","type":"payment.captured","occurred_at":"2026-01-01T00:00:00Z",'
        b'"data":{"payment_id":"o1-p1","status":"captured","amount":5,"currency":"EUR"}}'
    )
    for secret in ("new", "old"):
        answer = provider.verify(body, {SIGNATURE_HEADER: sign(body, secret, 100.0)}, 100.0)
        assert (answer.payment_id, answer.status, answer.event_id) == ("o1-p1", "captured", "evt_1")
    both = f"{sign(body, 'third', 100.0)},{sign(body, 'old', 100.0).split(',')[1]}"
    assert provider.verify(body, {SIGNATURE_HEADER: both}, 100.0).amount == 5
    with pytest.raises(Refused, match="bad-signature"):
        provider.verify(body, {SIGNATURE_HEADER: sign(body, "third", 100.0)}, 100.0)


async def test_a_refusal_nested_without_end_leaves_the_outcome_open(serve: Serve) -> None:
    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=409, text=f'{{"code":"card-lost","x":{DEEP}}}')

    provider = await serve(answering)
    with pytest.raises(Unavailable, match="provider-away"):
        await provider.create(CREATE, "e1")


def test_a_signed_event_nested_without_end_is_malformed() -> None:
    provider = SandboxProvider("http://x", "key", "secret")
    body = b'{"id":"evt_1","x":%s}' % DEEP.encode()
    with pytest.raises(Refused, match="malformed-webhook"):
        provider.verify(body, {SIGNATURE_HEADER: sign(body, "secret", 100.0)}, 100.0)


@pytest.mark.parametrize("amount", [-1, 2**53 + 1, 10**20])
def test_a_signed_event_of_an_impossible_amount_is_malformed(amount: int) -> None:
    provider = SandboxProvider("http://x", "key", "secret")
    body = (
        b'{"id":"evt_1","occurred_at":"2026-01-01T00:00:00Z",'
        b'"data":{"payment_id":"o1-p1","status":"captured","amount":%d,"currency":"EUR"}}' % amount
    )
    with pytest.raises(Refused, match="malformed-webhook"):
        provider.verify(body, {SIGNATURE_HEADER: sign(body, "secret", 100.0)}, 100.0)


@pytest.mark.parametrize(
    "at",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1999-12-31T23:59:59Z",
     "2200-01-01T00:00:00Z", "2026-01-01T00:00:00"],
)  # fmt: skip
def test_a_signed_event_of_an_impossible_time_or_of_no_time_zone_is_malformed(at: str) -> None:
    provider = SandboxProvider("http://x", "key", "secret")
    body = (
        b'{"id":"evt_1","occurred_at":"%s",'
        b'"data":{"payment_id":"o1-p1","status":"captured","amount":5,"currency":"EUR"}}'
        % at.encode()
    )
    with pytest.raises(Refused, match="malformed-webhook"):
        provider.verify(body, {SIGNATURE_HEADER: sign(body, "secret", 100.0)}, 100.0)


def test_the_signature_is_the_documented_one() -> None:
    signature = sign(b'{"id":"evt_1"}', "secret", 1_760_000_000.25)
    assert signature == (
        "t=1760000000.250,"
        "v1=a75d75e6e69e515a272a25674fd7c07173683114f21c2c3cd015571d95fbdfdb"
    )  # fmt: skip


@pytest.mark.parametrize("secrets", ["", [], ["good", ""]])
def test_an_empty_secret_is_no_secret(secrets: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        SandboxProvider("http://x", "key", secrets)
