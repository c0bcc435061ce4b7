"""The gateway's HTTP protocol, on a real socket or alone with a clock of its own."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from orchestrator.api.wire import send_answer
from orchestrator.whole import Answer, Http, head_of


@asynccontextmanager
async def served(
    app: Any, http: type[HttpToolsProtocol], timeout_keep_alive: int = 5
) -> AsyncIterator[int]:
    """The app on a free port; its number."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=http, log_level="error", lifespan="off",
        access_log=False, server_header=False, proxy_headers=False,
        timeout_keep_alive=timeout_keep_alive,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.001)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def said(port: int, *pieces: bytes) -> bytes:
    """All that is answered to these pieces until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return re.sub(rb"(x-request-id|date): [^\r]+", rb"\1: -", answer)


async def said_in_turn(port: int, *requests: bytes) -> bytes:
    """The same, but each request is sent when the one before was answered with ``ok``, and the
    connection ends after the last of them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    async with asyncio.timeout(20):
        for one in requests:
            writer.write(one)
            answer += await reader.readuntil(b"\r\n\r\nok")
    writer.close()
    return re.sub(rb"(x-request-id|date): [^\r]+", rb"\1: -", answer)


class Application:
    """Answers every request with ``answer``: whole, at once or when it was awaited, or by ASGI, as
    all below ``/messages`` are, which wait until they are :attr:`let_go`."""

    def __init__(self, answer: Answer, *, awaited: bool) -> None:
        self.answer = answer
        self.awaited = awaited
        self.whole: list[bytes] = []
        self.by_messages = 0
        self.scope: Any = None
        self.body = b""
        self.left = 0
        """Clients that went away before their request was whole."""
        self.let_go = asyncio.Event()

    def whole_route(self, _method: bytes, path: bytes) -> Any:
        return None if path.startswith(b"/messages") else path

    def answer_whole(self, route: Any, scope: Any, _headers: Any, body: bytes) -> Any:
        assert route.decode() == scope["path"]
        self.whole.append(body)
        return self._later() if self.awaited else self.answer

    async def _later(self) -> Answer:
        await asyncio.sleep(0)
        return self.answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        self.scope, self.body, more = scope, b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        self.by_messages += 1
        if scope["path"].startswith("/messages"):
            await self.let_go.wait()
        await send_answer(self.answer, send)


def application(*, awaited: bool) -> Application:
    return Application(Answer(200, head_of([(b"content-length", b"2")]), b"ok"), awaited=awaited)


def get(*headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"GET / HTTP/" + version, b"host: a", *headers]
    return b"\r\n".join([*lines, b"", b""])


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def post(body: bytes, *headers: bytes, path: bytes = b"/") -> bytes:
    length = b"content-length: %d" % len(body)
    return get(length, *headers).replace(b"GET /", b"POST " + path, 1) + body


LAST = get(b"connection: close")


class Sent:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("The transport is closed.")
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """All of it comes anyway."""

    def resume_reading(self) -> None:
        """See :meth:`pause_reading`."""

    def get_extra_info(self, _name: str) -> None:
        return None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Timer(NamedTuple):
    """A callback at a time of :class:`Clockwork`."""

    clockwork: "Clockwork"
    at: float
    callback: Any

    def cancel(self) -> None:
        self.clockwork.timers.remove(self)


class Clockwork:
    """The timers of a loop, and its time."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.timers: list[Timer] = []
        self.create_task = asyncio.get_running_loop().create_task

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Any) -> Timer:
        self.timers.append(Timer(self, self.now + delay_s, callback))
        return self.timers[-1]

    @property
    def due(self) -> list[float]:
        return [timer.at for timer in self.timers]

    def advance(self, now: float) -> None:
        self.now = now
        for timer in [timer for timer in self.timers if timer.at <= now]:
            timer.cancel()
            timer.callback()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def anything(transport: Sent) -> None:
    """Wait until something was written."""
    await until(lambda: bool(transport.written))


async def closed(transport: Sent) -> None:
    """Wait until the server has ended the connection."""
    await until(lambda: transport.closed)


def connected(app: Any, loop: Any = None) -> tuple[Any, Http, Sent]:
    config = uvicorn.Config(
        app, http=Http, access_log=False, log_level="error", lifespan="off", proxy_headers=False
    )
    protocol = Http(config, ServerState(), {}, loop)
    transport = Sent()
    protocol.connection_made(transport)  # type: ignore[arg-type]
    return app, protocol, transport
