"""An answer that leaves whole says byte for byte what uvicorn would have said of it."""

import asyncio
import gc
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import ref

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator.whole import EXTENSION, Http, answer_whole
from tests.fakes.api_world import PLACE, ApiWorld


@asynccontextmanager
async def served(app: Any, http: type[HttpToolsProtocol]) -> AsyncIterator[int]:
    """The app on a free port; its number."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=http, log_level="error", lifespan="off",
        access_log=False, server_header=False,
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


def request(world: ApiWorld, key: str, body: Any = PLACE, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {
        "host": "doorstep", "content-type": "application/json",
        "content-length": str(len(content)), **world.headers("channel", "app", key), **headers,
    }  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"POST /v1/orders HTTP/1.1\r\n{lines}\r\n".encode() + content


async def both_say(world: ApiWorld, *pieces: bytes) -> bytes:
    answers = []
    for http in (Http, HttpToolsProtocol):
        async with served(world.app, http) as port:
            answers.append(await said(port, *pieces))
    assert answers[0] == answers[1]
    return answers[0]


async def test_pipelined_requests_are_answered_whole_and_in_order() -> None:
    world = ApiWorld()
    first, bad = request(world, "k-1"), request(world, "k-2", b"{")
    last = request(world, "k-3", connection="close")
    answer = await both_say(world, first + bad + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"201", b"400", b"201"]
    assert b"location: /v1/orders/" in answer
    assert answer.count(b"connection: close") == 1


async def test_a_body_in_pieces_and_a_client_that_waits_to_send_it_are_understood() -> None:
    world = ApiWorld()
    whole = request(world, "k-1", expect="100-continue", connection="close")
    head, _, body = whole.partition(b"\r\n\r\n")
    answer = await both_say(world, head + b"\r\n\r\n", body[:20], body[20:])
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")


async def test_http_1_0_and_other_routes_are_answered_as_ever() -> None:
    world = ApiWorld()
    old = request(world, "k-1").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert (await both_say(world, old)).startswith(b"HTTP/1.1 201 ")
    close = b"GET /healthz HTTP/1.1\r\nhost: doorstep\r\nconnection: close\r\n\r\n"
    assert (await both_say(world, close)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("mark", [b"\r\nset-cookie: a=b", b"\n", b"\0"])
async def test_a_header_that_would_begin_another_is_never_sent(mark: bytes) -> None:
    taken: list[bool] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        assert EXTENSION in scope["extensions"]
        headers = [(b"content-length", b"2"), (b"location", b"/here" + mark)]
        taken.append(answer_whole(scope, 201, headers, b"ok"))
        await send({"type": "http.response.start", "status": 201, "headers": headers})

    async with served(app, Http) as port:
        answer = await said(port, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert taken == [False]
    assert b"/here" not in answer, "uvicorn refuses it, too"


async def test_a_request_that_was_answered_is_let_go_of_without_the_collector() -> None:
    cycles: list[ref[Any]] = []

    class Watched(Http):
        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            cycles.append(ref(self.cycle))

    world = ApiWorld()
    gc.disable()
    try:
        async with served(world.app, Watched) as port:
            await said(port, request(world, "k-1") + request(world, "k-2", connection="close"))
            async with asyncio.timeout(20):
                while any(cycle() is not None for cycle in cycles):
                    await asyncio.sleep(0.001)
    finally:
        gc.enable()
    assert len(cycles) == 2


async def test_without_the_extension_nothing_is_sent() -> None:
    assert not answer_whole({"type": "http"}, 200, [], b"")
    assert not answer_whole({"type": "http", "extensions": {}}, 200, [], b"")
