"""What a connection may send, how long it may take, and how it is told that this was no request."""

import asyncio
import re
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator import whole
from orchestrator.corked import Corked
from orchestrator.whole import Http
from tests.fakes.api_world import ApiWorld
from tests.fakes.http_connection import (
    LAST,
    OK,
    Clockwork,
    Sent,
    anything,
    application,
    closed,
    connected,
    get,
    post,
    said,
    served,
    until,
)
from tests.orchestrator.test_node_metrics import shown

LARGE = b"x-large: " + b"a" * 70_000


@pytest.mark.parametrize("cut", [None, 20, 60_000, -1])
@pytest.mark.parametrize("before", [0, 1])
async def test_a_large_head_is_refused_however_it_is_cut_and_wherever_it_stands(
    cut: int | None, before: int
) -> None:
    app, protocol, transport = connected(application(awaited=True))
    head = get(LARGE)
    first = get() * before + head[:cut]
    refused = counted(431)
    protocol.data_received(first)
    if cut is not None:
        protocol.data_received(head[cut:])
    await closed(transport)
    assert re.findall(rb"HTTP/1.1 (\d+)", transport.written) == [b"200"] * before + [b"431"]
    assert (app.whole, app.by_messages) == ([b""] * before, 0)
    assert counted(431) == refused + 1


@pytest.mark.parametrize("cut", [30, 6_000, -1])
async def test_a_head_is_not_measured_by_what_stands_before_it(cut: int) -> None:
    """60 kB of another request's body are no part of it, nor is a head of 60 kB too large."""
    first = post(b"a" * 60_000)
    second = get(b"x: " + b"a" * 60_000, b"connection: close")
    app, protocol, transport = connected(application(awaited=True))
    for piece in (first + second[:cut], second[cut:]):
        protocol.data_received(piece)
    await closed(transport)
    assert re.findall(rb"HTTP/1.1 (\d+)", transport.written) == [b"200", b"200"]
    async with served(app, Http) as port:
        answer = await said(port, first + second[:cut], second[cut:])
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200"]
    async with served(app, HttpToolsProtocol) as port:
        assert answer == await said(port, first + second[:cut], second[cut:])


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("rubbish", [b"GARBAGE\r\n\r\n", get(LARGE)])
async def test_what_is_no_request_is_refused_behind_all_answers_that_are_owed(
    awaited: bool, rubbish: bytes
) -> None:
    app = application(awaited=awaited)
    async with served(app, Http) as port:
        answer = await said(port, get() + post(b"a") + get() + rubbish + get())
    statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
    assert statuses == [b"200"] * 3 + [b"400" if rubbish.startswith(b"GARBAGE") else b"431"]
    assert len(app.whole) + app.by_messages == 3, "nothing is read behind it"


async def test_who_waits_for_an_answer_is_not_idle_however_it_was_asked() -> None:
    loop = Clockwork(10.0)
    app, protocol, transport = connected(application(awaited=False), loop)
    protocol.data_received(get() + post(b"", path=b"/messages"))
    assert transport.written.count(b"ok") == 1
    for at in range(11, 100):
        loop.advance(float(at))
    assert not transport.closed
    app.let_go.set()
    await until(lambda: transport.written.count(b"ok") == 2)
    loop.advance(104.0)
    assert transport.closed


async def test_who_connects_and_says_nothing_is_left_without_a_word() -> None:
    loop = Clockwork(10.0)
    _, protocol, transport = connected(application(awaited=False), loop)
    protocol.data_received(b"\r\n\r\n")
    for at in range(11, 25):
        loop.advance(float(at))
    assert not transport.closed
    loop.advance(25.0)
    assert (transport.closed, transport.written) == (True, b"")


@pytest.mark.parametrize("before", [b"", get(), post(b"a" * 100)])
async def test_half_a_head_is_waited_for_from_its_first_byte(before: bytes) -> None:
    loop = Clockwork(10.0)
    app, protocol, transport = connected(application(awaited=False), loop)
    slow, refused = get(b"x: " + b"a" * 100), counted(408)
    loop.advance(12.0)
    protocol.data_received(before + slow[:10])
    for at in range(13, 27):  # a byte now and then is no reason to wait longer
        loop.advance(float(at))
        protocol.data_received(slow[at - 3 : at - 2])
    assert not transport.closed
    loop.advance(27.0)
    assert transport.closed
    answered = transport.written.removeprefix(OK) if before else transport.written
    assert answered.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close\r\n" in answered
    assert counted(408) == refused + 1
    protocol.data_received(slow[24:] + get())
    assert len(app.whole) == bool(before)


async def test_a_head_that_takes_long_is_refused_after_the_answers_that_are_owed() -> None:
    loop = Clockwork(10.0)
    app, protocol, transport = connected(application(awaited=False), loop)
    protocol.data_received(post(b"", path=b"/messages") + get()[:10])
    for at in (15.0, 20.0, 25.0):
        loop.advance(at)
    assert not transport.closed
    protocol.data_received(get()[10:])  # too late
    app.let_go.set()
    await closed(transport)
    assert re.findall(rb"HTTP/1.1 (\d+)", transport.written) == [b"200", b"408"]
    assert (app.whole, app.by_messages) == ([], 1)


@pytest.mark.parametrize("path", [b"/", b"/messages"])
async def test_half_a_body_is_waited_for_and_then_never_done(path: bytes) -> None:
    loop = Clockwork(10.0)
    app, protocol, transport = connected(application(awaited=False), loop)
    slow = post(b"a" * 100, path=path)
    protocol.data_received(slow[:-50])
    await asyncio.sleep(0)
    for at in range(11, 70):  # slow phones are given time
        loop.advance(float(at))
        if at % 5 == 0:
            protocol.data_received(slow[-50:-49])
    assert (transport.closed, transport.written) == (False, b"")
    loop.advance(70.0)
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert transport.closed
    await until(lambda: app.left == 1)
    assert (app.whole, app.by_messages) == ([], 0)


async def test_half_a_body_behind_a_request_is_refused_after_its_answer() -> None:
    loop = Clockwork(10.0)
    app, protocol, transport = connected(application(awaited=False), loop)
    protocol.data_received(post(b"", path=b"/messages") + post(b"a" * 100)[:-50])
    assert protocol.flow.read_paused
    for at in range(11, 100):
        loop.advance(float(at))
    assert not transport.closed, "nobody reads what they send"
    protocol.flow.resume_reading()
    for at in range(100, 160):
        loop.advance(float(at))
    app.let_go.set()
    await closed(transport)
    assert re.findall(rb"HTTP/1.1 (\d+)", transport.written) == [b"200", b"408"]
    assert (app.whole, app.by_messages, app.left) == ([], 1, 0)


async def test_who_was_answered_before_the_body_was_there_may_not_send_it_for_ever() -> None:
    loop = Clockwork(10.0)
    world = ApiWorld()
    _, protocol, transport = connected(world.app, loop)
    large = post(b" " * (world.settings.body_bytes_max + 1), path=b"/v1/orders")
    protocol.data_received(large[:2_000])
    await anything(transport)
    assert transport.written.startswith(b"HTTP/1.1 413 ")
    for at in range(11, 70):
        loop.advance(float(at))
        protocol.data_received(b" ")
    assert not transport.closed
    loop.advance(70.0)
    assert transport.closed
    assert transport.written.count(b"HTTP/1.1") == 1


async def test_bounds_in_time_hold_on_a_real_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "HEAD_S_MAX", 0.2)
    monkeypatch.setattr(whole, "BODY_S_MAX", 0.3)
    app = application(awaited=False)
    async with served(app, Http, timeout_keep_alive=1) as port:
        nothing, head, body = await asyncio.gather(
            said(port), said(port, get()[:10]), said(port, post(b"ab")[:-1])
        )
    assert nothing == b""
    assert head.startswith(b"HTTP/1.1 408 ")
    assert body.startswith(b"HTTP/1.1 408 ")
    assert (app.whole, app.by_messages) == ([], 0)


ODD = {
    "a length and chunks": post(b"abc", b"transfer-encoding: chunked"),
    "two lengths": post(b"abc", b"content-length: 3"),
    "a list of lengths": get(b"content-length: 3, 3") + b"abc",
    "a signed length": get(b"content-length: +3") + b"abc",
    "chunks twice": get(b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
    "a folded header": get(b"x: a\r\n b"),
    "a line feed alone": get(b"x: a\ny: b"),
    "a carriage return alone": get(b"x: a\ry: b"),
    "a blank before the colon": get(b"content-length : 3") + b"abc",
    "a null": get(b"x: a\0b"),
    "a header without a name": get(b": a"),
    "a proxy's": get().replace(b"GET /", b"CONNECT a:80", 1),
    "another protocol's": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_what_two_servers_could_read_in_two_ways_is_read_by_nobody(odd: bytes) -> None:
    """RFC 9112, 11.2: whoever stands before us may have seen another end of it."""
    app = application(awaited=False)
    async with served(app, Http) as port:
        answer = await said(port, odd + get())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert (app.whole, app.by_messages) == ([], 0)


async def test_a_wish_for_another_protocol_changes_nothing() -> None:
    app = application(awaited=False)
    wish = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAA")
    async with served(app, Http) as port:
        answer = await said(port, post(b"abc", *wish) + get(*wish) + post(b"d") + LAST)
        assert answer.count(b"HTTP/1.1 200 ") == 4
    assert app.whole == [b"abc", b"", b"d"]


async def test_a_body_behind_a_wish_for_another_protocol_is_read_as_that() -> None:
    """Not as the next request, which a proxy that knows better would not have let through."""
    app, protocol, transport = connected(application(awaited=False))
    hidden = post(b"abc", path=b"/hidden")
    protocol.data_received(post(hidden, b"connection: upgrade", b"upgrade: h2c")[: -len(hidden)])
    protocol.data_received(hidden)
    await anything(transport)
    assert app.body == hidden
    assert (app.whole, app.by_messages) == ([], 1)


SOCKET = get(
    b"connection: upgrade",
    b"upgrade: websocket",
    b"sec-websocket-version: 13",
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
)


async def test_a_socket_behind_a_request_that_is_not_answered_is_refused_after_its_answer() -> None:
    async with served(application(awaited=True), Http) as port:
        answer = await said(port, get() + SOCKET)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]


async def test_a_socket_has_no_bound_in_time() -> None:
    loop = Clockwork(10.0)
    _, protocol, transport = connected(application(awaited=False), loop)
    protocol.data_received(get())
    protocol.data_received(SOCKET)
    assert loop.due == []
    assert type(transport.protocol) is not Http


async def test_trailers_are_no_headers() -> None:
    app, protocol, transport = connected(application(awaited=False))
    chunks = b"1\r\na\r\n0\r\nauthorization: theirs\r\nx: y\r\n\r\n"
    protocol.data_received(get(b"transfer-encoding: chunked", b"x: z") + chunks)
    await anything(transport)
    assert app.body == b"a"
    headers = [(b"host", b"a"), (b"transfer-encoding", b"chunked"), (b"x", b"z")]
    assert app.scope["headers"] == headers


async def test_who_speaks_http_1_0_is_not_told_to_continue() -> None:
    app = application(awaited=False)
    old = post(b"a", b"expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    async with served(app, Http) as port:
        assert (await said(port, old)).startswith(b"HTTP/1.1 200 ")


async def test_trailers_without_end_are_cut_off() -> None:
    app, protocol, transport = connected(application(awaited=False))
    protocol.data_received(get(b"transfer-encoding: chunked") + b"1\r\na\r\n0\r\n")
    for number in range(70):
        protocol.data_received(b"x-%d: %b\r\n" % (number, b"a" * 1_000))
    assert transport.written.startswith(b"HTTP/1.1 431 ")
    await until(lambda: app.left == 1)


async def test_a_body_in_small_chunks_is_not_cut_off() -> None:
    app, protocol, transport = connected(application(awaited=False))
    protocol.data_received(get(b"transfer-encoding: chunked"))
    for _ in range(100):
        protocol.data_received(b"1\r\na\r\n" * 1_000)
    protocol.data_received(b"0\r\n\r\n")
    await anything(transport)
    assert len(app.body) == 100_000


async def test_a_client_that_goes_away_ends_none_of_its_requests_but_those_not_begun() -> None:
    app, protocol, transport = connected(application(awaited=True))
    protocol.data_received(post(b"", path=b"/messages") + get() + get())
    await until(lambda: app.by_messages == 1)
    protocol.connection_lost(ConnectionResetError())
    app.let_go.set()
    await asyncio.gather(*protocol.tasks)
    assert (app.whole, app.by_messages, transport.written) == ([], 1, b"")


async def test_what_is_corked_when_the_connection_ends_is_let_go_of() -> None:
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: failures.append(what))
    transport = Sent()
    corked = Corked(transport)  # type: ignore[arg-type]
    corked.write(b"a")
    transport.close()
    await asyncio.sleep(0)
    assert (transport.written, failures) == (b"", [])


def counted(status: int) -> float:
    """How often requests that nobody could read were answered with this status."""
    of = {"method": "other", "route": "unread", "status": str(status)}
    return shown("doorstep_http_seconds_count", **of) or 0.0
