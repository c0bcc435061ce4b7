"""The sandbox payment provider: a separate ASGI app that behaves like a real provider.

It knows nothing of the service: an API with a key, a page where customers pay, a book of its own
that survives restarts, and signed webhooks that come repeatedly, late, out of order or not at all
(docs/protocol/webhooks.md). Mount it under any path, or serve it alone::

    sandbox = create_sandbox(
        Path("data/sandbox.db"), api_key="…", webhook_secret="…",
        webhook_url="http://127.0.0.1:8080/v1/webhooks/sandbox", clock=clock, seed=7, faults=0.1,
    )
    await sandbox.start()
    app.mount("/sandbox", sandbox)
    …
    await sandbox.stop()
"""

import asyncio
import hmac
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import aiohttp
import msgspec
import structlog
from msgspec import Meta, Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actors.engine.ports import Clock
from adapters.payments.sandbox_book import Book, Sent, Trouble, Webhook, rfc3339
from adapters.payments.sandbox_page import PAGE_HEADERS, pay_page, waiting_page
from adapters.payments.signature import SIGNATURE_HEADER, sign
from domain.bounds import check_time

__all__ = ["Sandbox", "create_sandbox"]

BODY_BYTES_MAX = 65_536
STATEMENT_PAGE_MAX = 500
WEBHOOKS_AT_ONCE = 16
WEBHOOKS_PER_CLAIM = 64
WEBHOOK_TIMEOUT_REAL_S = 10.0
LEASE_REAL_S = 60.0
"""A sender that died gives its webhooks back after so long; longer than any claim can take."""
LOOK_AGAIN_REAL_S = 1.0
"""How long the sender rests at most: another process may have left work in the shared book."""

Identity = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,128}\Z")]
RefundIdentity = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,512}\Z")]
"""A refund's id is never part of a URL and may be made of a foreign idempotency key."""
Amount = Annotated[int, Meta(gt=0, le=2**53)]
Currency = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")]
Moment = Annotated[datetime, Meta(tz=True)]
Body = TypeVar("Body", bound=Struct)
Result = TypeVar("Result")

log = structlog.get_logger("sandbox")


class CreateBody(Struct, frozen=True):
    """``POST /payments``. ``capture``: at paying (automatic), or by a later call (manual)."""

    payment_id: Identity
    order_id: Identity
    amount: Amount
    currency: Currency
    expires_at: Moment | None = None
    capture: Literal["automatic", "manual"] = "automatic"

    def __post_init__(self) -> None:
        if self.expires_at is not None:
            check_time(self.expires_at)


class CaptureBody(Struct, frozen=True):
    """``POST /payments/{payment_id}/capture``."""

    amount: Amount
    currency: Currency


class RefundBody(Struct, frozen=True):
    """``POST /payments/{payment_id}/refunds``."""

    refund_id: RefundIdentity
    amount: Amount
    currency: Currency


class PayBody(Struct, frozen=True):
    """``POST /pay/{payment_id}``; see :meth:`adapters.payments.sandbox_book.Book.pay`."""

    outcome: Literal["pay", "fail", "abandon"] = "pay"
    late: bool | None = None


def create_sandbox(
    database: Path, *, api_key: str, webhook_url: str, webhook_secret: str, clock: Clock,
    faults: float = 0.0, late_captures: float | None = None, seed: int = 0,
) -> "Sandbox":  # fmt: skip
    """The provider as an ASGI app; nothing is opened before :meth:`Sandbox.start`.

    ``database`` is its SQLite file; ``faults`` the share (0 to 1) of webhooks that are repeated,
    late, out of order or lost; ``late_captures`` the share of payments after their expiry that are
    captured all the same (default: ``faults``). ``seed`` draws all of it. Every delay is service
    time of ``clock``, whose speed is the scale to real time.
    """
    for name, share in (("faults", faults), ("late_captures", late_captures or 0.0)):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name} is a share: give 0 to 1, not {share}.")
    open_book = partial(
        Book, database, faults=faults, seed=seed,
        late_captures=faults if late_captures is None else late_captures,
    )  # fmt: skip
    return Sandbox(open_book, api_key, webhook_url, webhook_secret, clock)


class Sandbox:
    """The ASGI app, and the sender of its webhooks. Made by :func:`create_sandbox`."""

    def __init__(
        self, open_book: Callable[[], Book], api_key: str, webhook_url: str,
        webhook_secret: str, clock: Clock,
    ) -> None:  # fmt: skip
        if not api_key or not webhook_secret:
            raise ValueError("The sandbox needs an API key and a webhook secret, not empty ones.")
        self._open_book = open_book
        self._api_key = api_key.encode()
        self._webhook_url = webhook_url
        self._webhook_secret = webhook_secret
        self._clock = clock
        self._app = _routes(self)
        self._book: Book | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._session: aiohttp.ClientSession | None = None
        self._sender: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    async def start(self, *, send: bool = True) -> None:
        """Open the book and start sending; ``send=False`` leaves that to :meth:`send_due`."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-book")
        self._book = await asyncio.get_running_loop().run_in_executor(self._thread, self._open_book)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=WEBHOOK_TIMEOUT_REAL_S)
        )
        if send:
            self._sender = asyncio.create_task(self._send_for_ever(), name="sandbox-webhooks")

    async def stop(self) -> None:
        """Stop sending and close the book; unsent webhooks stay in it. May be called twice."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
            self._sender = None
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._book is not None and self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._book.close)
            self._thread.shutdown()
            self._book = self._thread = None

    async def send_due(self) -> int:
        """Expire what is overdue and send every webhook due by now once; returns how many."""
        count = 0
        now = self._clock.now()
        while webhooks := await self.call(Book.claim, now, WEBHOOKS_PER_CLAIM, self._lease()):
            count += len(webhooks)
            await self._send_all(webhooks)
        return count

    async def call(self, method: Callable[..., Result], *arguments: Any) -> Result:
        """Run one method of the book on its thread. Trouble as the method says; 503 if closed."""
        if self._book is None or self._thread is None:
            raise Trouble(503, "sandbox-closed", "The sandbox is not running; try again.")
        result = await asyncio.get_running_loop().run_in_executor(
            self._thread, partial(method, self._book, *arguments)
        )
        return result

    async def changed(self, method: Callable[..., Result], *arguments: Any) -> Result:
        """As :meth:`call` with the time now as last argument, then wake the sender."""
        try:
            return await self.call(method, *arguments, self._clock.now())
        finally:
            self._news.set()

    async def get(self, payment_id: str) -> dict[str, Any]:
        """A payment as it is now. Trouble: ``unknown-payment``."""
        return await self.call(Book.get, payment_id, self._clock.now())

    def authorise(self, request: Request) -> None:
        """Trouble ``unauthorised`` unless the request carries the API key."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        genuine = hmac.compare_digest(key.strip().encode(), self._api_key)
        if scheme.lower() != "bearer" or not genuine:
            raise Trouble(401, "unauthorised", "Send the API key as a bearer token.")

    async def _send_for_ever(self) -> None:
        while True:
            self._news.clear()
            try:
                await self.send_due()
                due_at = await self.call(Book.next_due)
            except Exception:
                log.exception("sandbox.webhooks_stuck")
                due_at = None
            await self._rest(due_at)

    async def _rest(self, due_at: float | None) -> None:
        """Until ``due_at`` in service time, news, or the time to look again."""
        longest = LOOK_AGAIN_REAL_S * self._clock.speed
        seconds = longest if due_at is None else min(longest, due_at - self._clock.now())
        if seconds <= 0.0:
            return
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._news.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _send_all(self, webhooks: Sequence[Webhook]) -> None:
        """Those of one payment one after the other, different payments side by side."""
        by_payment: defaultdict[str, list[Webhook]] = defaultdict(list)
        for webhook in webhooks:
            by_payment[webhook.payment_id].append(webhook)
        sent: list[Sent] = []
        places = asyncio.Semaphore(WEBHOOKS_AT_ONCE)

        async def send_in_order(queue: Sequence[Webhook]) -> None:
            async with places:
                for webhook in queue:
                    sent.append(Sent(webhook.event_id, await self._post(webhook)))

        try:
            await asyncio.gather(*map(send_in_order, by_payment.values()))
        finally:
            known = {one.event_id for one in sent}
            unsent = [one.event_id for one in webhooks if one.event_id not in known]
            await asyncio.shield(self._settle(sent, unsent))

    async def _settle(self, sent: Sequence[Sent], unsent: Sequence[str]) -> None:
        await self.call(Book.record, sent, self._clock.now())
        if unsent:
            await self.call(Book.release, unsent)

    async def _post(self, webhook: Webhook) -> bool:
        assert self._session is not None, "started before sending"
        headers = {
            "content-type": "application/json",
            "user-agent": "doorstep-sandbox/1",
            SIGNATURE_HEADER: sign(webhook.body, self._webhook_secret, self._clock.now()),
        }
        try:
            async with self._session.post(
                self._webhook_url, data=webhook.body, headers=headers, allow_redirects=False
            ) as response:
                accepted = 200 <= response.status < 300
                reason = f"status {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            accepted, reason = False, repr(problem)
        if not accepted:
            log.info("sandbox.webhook_not_accepted", event_id=webhook.event_id, reason=reason)
        return accepted

    def _lease(self) -> float:
        return self._clock.now() + LEASE_REAL_S * self._clock.speed


def _routes(sandbox: Sandbox) -> Starlette:
    async def create(request: Request) -> Response:
        sandbox.authorise(request)
        body = await _body(request, CreateBody)
        expires_at = body.expires_at.timestamp() if body.expires_at else None
        payment = await sandbox.changed(
            Book.create, body.payment_id, body.order_id, body.amount, body.currency,
            body.capture, expires_at,
        )  # fmt: skip
        return _payment(payment, 201)

    async def get(request: Request) -> Response:
        sandbox.authorise(request)
        return _payment(await sandbox.get(request.path_params["payment_id"]))

    async def capture(request: Request) -> Response:
        sandbox.authorise(request)
        body = await _body(request, CaptureBody)
        payment_id = request.path_params["payment_id"]
        return _payment(await sandbox.changed(Book.capture, payment_id, body.amount, body.currency))

    async def refund(request: Request) -> Response:
        sandbox.authorise(request)
        body = await _body(request, RefundBody)
        payment_id = request.path_params["payment_id"]
        answer = await sandbox.changed(
            Book.refund, payment_id, body.refund_id, body.amount, body.currency
        )
        return _json(answer, 201)

    async def statement(request: Request) -> Response:
        sandbox.authorise(request)
        after = _whole_number(request, "after", 0, 2**53)
        limit = _whole_number(request, "limit", 100, STATEMENT_PAGE_MAX)
        rows = await sandbox.call(Book.statement, after, limit + 1)
        more = len(rows) > limit
        page = rows[:limit]
        return _json({"entries": page, "after": str(page[-1]["number"]) if more else None})

    async def page(request: Request) -> Response:
        try:
            payment = await sandbox.get(request.path_params["payment_id"])
        except Trouble as trouble:
            if trouble.status != 404:
                raise
            return HTMLResponse(waiting_page(), 404, headers=PAGE_HEADERS)
        return HTMLResponse(pay_page(payment), headers=PAGE_HEADERS)

    async def pay(request: Request) -> Response:
        payment_id = request.path_params["payment_id"]
        from_page = request.headers.get("content-type", "").startswith(
            "application/x-www-form-urlencoded"
        )
        body = await (_form(request) if from_page else _body(request, PayBody))
        try:
            payment = await sandbox.changed(Book.pay, payment_id, body.outcome, body.late)
        except Trouble as trouble:
            if not from_page or trouble.status == 404:
                raise
            payment = await sandbox.get(payment_id)
            return HTMLResponse(
                pay_page(payment, trouble.detail), trouble.status, headers=PAGE_HEADERS
            )
        if from_page:
            return HTMLResponse(pay_page(payment), headers=PAGE_HEADERS)
        return _payment(payment)

    return Starlette(
        routes=[
            Route("/payments", create, methods=["POST"]),
            Route("/payments/{payment_id}", get, methods=["GET"]),
            Route("/payments/{payment_id}/capture", capture, methods=["POST"]),
            Route("/payments/{payment_id}/refunds", refund, methods=["POST"]),
            Route("/statement", statement, methods=["GET"]),
            Route("/pay/{payment_id}", page, methods=["GET"]),
            Route("/pay/{payment_id}", pay, methods=["POST"]),
        ],
        exception_handlers={
            Trouble: _on_trouble, HTTPException: _on_http, sqlite3.OperationalError: _on_busy,
        },
    )  # fmt: skip


async def _body(request: Request, kind: type[Body]) -> Body:
    raw = await _read(request)
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise Trouble(422, "malformed-request", str(problem)) from None


async def _form(request: Request) -> PayBody:
    fields = dict(parse_qsl((await _read(request)).decode("ascii", "replace")))
    try:
        return msgspec.convert({"outcome": fields.get("outcome", "pay")}, PayBody)
    except msgspec.ValidationError as problem:
        raise Trouble(422, "malformed-request", str(problem)) from None


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Trouble(413, "body-too-large", f"Send at most {BODY_BYTES_MAX} bytes.")
    return bytes(body)


def _whole_number(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or int(text) > largest:
        raise Trouble(422, "malformed-request", f"{name} is a number from 0 to {largest}.")
    return int(text)


def _payment(payment: dict[str, Any], status: int = 200) -> Response:
    expires_at = payment["expires_at"]
    return _json(
        {**payment, "expires_at": None if expires_at is None else rfc3339(expires_at)}, status
    )


def _json(document: Any, status: int = 200, kind: str = "application/json") -> Response:
    return Response(msgspec.json.encode(document), status, media_type=kind)


def _problem(status: int, code: str, detail: str) -> Response:
    answer = _json(
        {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail},
        status, "application/problem+json",
    )  # fmt: skip
    if status == 503 or code == "unknown-payment":
        answer.headers["retry-after"] = "1"
    return answer


async def _on_trouble(_request: Request, trouble: Exception) -> Response:
    assert isinstance(trouble, Trouble)
    return _problem(trouble.status, trouble.code, trouble.detail)


async def _on_http(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    code = {404: "no-such-route", 405: "method-not-allowed"}.get(problem.status_code, "http-error")
    return _problem(problem.status_code, code, str(problem.detail))


async def _on_busy(_request: Request, problem: Exception) -> Response:
    return _problem(503, "sandbox-busy", f"The sandbox's book cannot be reached: {problem}.")
