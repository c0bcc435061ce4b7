"""What is served whole, below ASGI, says byte for byte what uvicorn would have said."""

import asyncio
import gc
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from orchestrator import whole
from orchestrator.corked import Corked
from orchestrator.whole import Http, head_of
from tests.fakes.api_world import PLACE, ApiWorld
from tests.fakes.http_connection import (
    LAST,
    Clockwork,
    anything,
    application,
    connected,
    get,
    said,
    said_in_turn,
    served,
)  # fmt: skip


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


async def test_garbage_behind_a_request_ends_the_connection_when_that_is_answered() -> None:
    world = ApiWorld()
    async with served(world.app, Http) as port:
        answer = await said(port, request(world, "k-1") + b"GARBAGE\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"201", b"400"]
    assert answer.endswith(b"connection: close\r\n\r\nInvalid HTTP request received.")
    assert b"Invalid HTTP request" in await both_say(world, b"GARBAGE\r\n\r\n")


async def test_who_sends_headers_without_end_is_cut_off_and_nobody_else() -> None:
    world = ApiWorld()
    async with served(world.app, Http) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\n")
        with suppress(ConnectionError):
            async with asyncio.timeout(20):
                for number in range(10_000):
                    writer.write(b"x-%d: %b\r\n" % (number, b"a" * 1_000))
                    await writer.drain()
        assert number < 9_999, "60 MB were read before"
        writer.close()
        large = b"x-large: %b\r\n" % (b"a" * 50_000)
        answer = await said(
            port, b"GET /healthz HTTP/1.1\r\nconnection: close\r\n" + large, b"\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 200 ")
        more = b"GET /healthz HTTP/1.1\r\n" + large
        assert (await said(port, more, large)).startswith(b"HTTP/1.1 431 ")


async def test_a_body_that_is_too_large_is_refused_whole_and_in_pieces() -> None:
    world = ApiWorld()
    large = request(world, "k-1", b" " * (world.settings.body_bytes_max + 1))
    head, _, body = large.partition(b"\r\n\r\n")
    for pieces in ((large,), (head + b"\r\n\r\n", body)):
        _, protocol, transport = connected(world.app)
        for piece in pieces:
            protocol.data_received(piece)
        await anything(transport)
        assert transport.written.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("pause", [False, True])
async def test_requests_that_are_all_there_need_no_messages(awaited: bool, pause: bool) -> None:
    app = application(awaited=awaited)
    async with served(app, Http) as port:
        if pause:  # one after the other, as clients do
            answer = await said_in_turn(port, get(), get(b"connection: keep-alive"), LAST)
            assert app.whole == [b"", b""]
        else:
            answer = await said(port, get() + get() + LAST)
            assert app.whole == ([b""] if awaited else [b"", b""]), "behind one that is awaited"
    assert app.by_messages == 3 - len(app.whole)
    async with served(app, HttpToolsProtocol) as port:
        assert answer == await said(port, get() + get() + LAST)


@pytest.mark.parametrize(
    "unusual",
    [
        LAST,
        get(b"connection: keep-alive", version=b"1.0"),
        get(b"expect: 100-continue", b"connection: close"),
        get(b"transfer-encoding: chunked") + b"1\r\na\r\n0\r\n\r\n" + LAST,
        get(b"proxy-connection: keep-alive", version=b"1.0"),
    ],
)
async def test_what_is_unusual_is_left_to_uvicorn(unusual: bytes) -> None:
    app = application(awaited=False)
    answers = []
    for http in (Http, HttpToolsProtocol):
        async with served(app, http) as port:
            answers.append(await said_in_turn(port, unusual))
    assert answers[0] == answers[1]
    assert app.whole == []


async def test_a_body_that_is_not_all_there_with_its_head_is_left_to_uvicorn() -> None:
    app, protocol, transport = connected(application(awaited=False))
    protocol.data_received(get(b"content-length: 2"))
    protocol.data_received(b"a")
    assert not transport.written
    protocol.data_received(b"b")
    await anything(transport)
    assert transport.written.endswith(b"\r\n\r\nok")
    assert (app.whole, app.by_messages) == ([], 1)


async def test_an_answer_waits_until_the_client_has_read_what_was_sent_before() -> None:
    app, protocol, transport = connected(application(awaited=False))
    protocol.pause_writing()
    protocol.data_received(get())
    await asyncio.sleep(0)
    assert (app.whole, transport.written) == ([b""], b"")
    protocol.resume_writing()
    await anything(transport)
    assert transport.written.endswith(b"\r\n\r\nok")


async def test_nothing_is_written_for_a_client_that_has_gone() -> None:
    app, protocol, transport = connected(application(awaited=True))
    protocol.data_received(get())
    protocol.connection_lost(None)
    await asyncio.gather(*protocol.tasks)
    assert (app.whole, transport.written) == ([b""], b"")


async def test_a_server_that_ends_lets_the_request_under_way_be_the_last() -> None:
    _, protocol, transport = connected(application(awaited=True))
    protocol.data_received(get())
    protocol.shutdown()
    await asyncio.gather(*protocol.tasks)
    assert b"connection: close\r\n" in transport.written
    assert transport.closed


async def test_an_idle_connection_is_closed_by_one_timer_for_many_requests() -> None:
    loop = Clockwork(10.0)
    _, protocol, transport = connected(application(awaited=False), loop)
    for at in (11.0, 12.0, 14.0):
        loop.advance(at)
        protocol.data_received(get())
    assert loop.due == [15.0], "uvicorn waits 5 s"
    loop.advance(15.0)
    protocol.data_received(get()[:20])  # a request that is on its way is waited for
    loop.advance(19.0)
    loop.advance(24.0)
    assert not transport.closed
    protocol.data_received(get()[20:])
    assert len(loop.due) == 1
    loop.advance(28.9)
    assert not transport.closed
    loop.advance(29.0)
    assert transport.closed


@pytest.mark.parametrize("mark", [b"\r\nset-cookie: a=b", b"\n", b"\0"])
def test_a_header_that_would_begin_another_is_never_sent(mark: bytes) -> None:
    for name, value in ((b"location", b"/here" + mark), (b"a" + mark, b"b")):
        with pytest.raises(ValueError, match="line's end"):
            head_of([(b"content-length", b"2"), (name, value)])


async def test_what_was_answered_is_let_go_of_without_the_collector() -> None:
    world, known = ApiWorld(), set(map(id, of_connections()))
    gc.disable()
    try:
        async with served(world.app, Http) as port:
            await said(port, request(world, "k-1") + request(world, "k-2", connection="close"))
        async with asyncio.timeout(20):
            while any(id(one) not in known for one in of_connections()):
                await asyncio.sleep(0)
    finally:
        gc.enable()


def of_connections() -> list[Any]:
    kinds = (Http, Corked, RequestResponseCycle, whole._Pending)
    return [one for one in gc.get_objects() if type(one) in kinds]
