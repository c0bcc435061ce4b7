"""Whole requests in, whole answers out: how hot routes are served below ASGI.

ASGI hands a request's body over as messages that are awaited, and takes the answer as a head and a
body; so each request needs a scope, a cycle and a task of its own, even one that can be answered at
once, and the server looks at each header on its way out. A hot route needs none of that: the
gateway's server gives it the request when all of it is there, and sends what it says in one piece
(docs/decisions/0017).

One request, top-down: its head is there (:meth:`Http.on_headers_complete`), its body, its end
(:meth:`Http.on_message_complete`), at which the route answers, at once or later. What is unusual
takes uvicorn's way through ASGI, and is answered the same: a body that is not all there with its
head, ``Expect: 100-continue``, a request behind one that is not answered yet, the last request of
a connection, an access log.
"""

import asyncio
from collections.abc import Coroutine, MutableMapping, Sequence
from typing import Any, Protocol

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from orchestrator.corked import Corked

__all__ = ["Answer", "Headers", "Http", "WholeRoutes", "head_of"]

HEAD_BYTES_MAX = 65_536
"""Of a request's line and headers; who sends more is told so and cut off, before anybody knows who
they are."""

Scope = MutableMapping[str, Any]
Headers = dict[bytes, bytes]
"""Header names in lower case; of a repeated header the last value counts."""


class Answer(Struct, frozen=True, gc=False):
    """One whole HTTP answer; ``head`` as :func:`head_of` makes it."""

    status: int
    head: bytes
    body: bytes


def head_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The headers' lines. Raises ``ValueError`` for a name or value that would begin another."""
    parts: list[bytes] = []
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    head = b"".join(parts)
    if not head.count(b"\r") == head.count(b"\n") == len(headers) or b"\0" in head:
        raise ValueError("A header holds a line's end.")
    return head


def _too_large() -> Answer:
    text = b"The request's line and headers may have at most %d bytes." % HEAD_BYTES_MAX
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
    ]
    return Answer(431, head_of(headers), text)


class WholeRoutes(Protocol):
    """An ASGI application that also takes whole requests."""

    def whole_route(self, method: bytes, path: bytes) -> Any:
        """Who takes such requests whole; None: nobody. ``path`` as it was sent, without query."""
        ...

    def answer_whole(
        self, route: Any, scope: Scope, headers: Headers, body: bytes
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """The route's answer, or what is to be awaited for it. It raises nothing: every error is an
        answer. Of ASGI's scope there are ``path``, ``query_string`` and ``client``."""
        ...


class Http(HttpToolsProtocol):
    """uvicorn's, writing through a cork; an application's whole routes get their requests whole."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._routes: WholeRoutes | None = None
        if hasattr(self.app, "whole_route") and not (
            self.access_log or self.root_path or self.limit_concurrency
        ):
            self._routes = self.app
        self._taken: tuple[Any, Scope, Headers] | None = None
        """The route of a request that is taken whole, until it is all there; and its body."""
        self._body = b""
        self._head_bytes: int | None = None
        """Of a head that is not all there; None: none is on its way."""
        self._idle_since: float | None = None
        """Since when (of the loop's time) the client has all it asked for; None: it does not."""
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is open."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        super().connection_lost(exc)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    # A request comes ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._idle_since = None
        super().data_received(data)
        if self._taken is not None:
            self._leave_to_uvicorn()  # the rest is still on its way
        elif self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._cut_off()

    def on_message_begin(self) -> None:
        """A request comes. What ASGI wants of it is put together when that is known to be asked."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """A request's head is there."""
        self._head_bytes = None
        if self._routes is not None:
            path, _, query = self.url.partition(b"?")
            route = self._routes.whole_route(self.parser.get_method(), path)
            if route is not None:
                headers = dict(self.headers)
                if self._is_usual(headers):
                    scope = {"path": path.decode(), "query_string": query, "client": self.client}
                    self._taken = route, scope, headers
                    return
        self._begin_for_uvicorn()

    def on_body(self, body: bytes) -> None:
        """Its body, or a piece of it, is there."""
        if self._taken is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """All of it is there."""
        if self._taken is None:
            super().on_message_complete()
            return
        assert self._routes is not None
        route, scope, headers = self._taken
        self._taken, body, self._body = None, self._body, b""
        answer = self._routes.answer_whole(route, scope, headers, body)
        if type(answer) is Answer and not self.flow.write_paused:
            self._send(answer, keep_alive=True)
            return
        self.cycle = pending = _Pending()  # type: ignore[assignment]
        task = self.loop.create_task(self._answer_later(pending, answer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _cut_off(self) -> None:
        """Tell who sends a head without end, in plain text: nobody knows yet what they want."""
        self._head_bytes = None
        if not self.transport.is_closing():
            self._send(_too_large(), keep_alive=False)

    def _is_usual(self, headers: Headers) -> bool:
        cycle, parser = self.cycle, self.parser
        return (
            (cycle is None or cycle.response_complete)
            and not self.expect_100_continue
            and b"transfer-encoding" not in headers  # or the body could come in many pieces
            and parser.should_keep_alive()
            # HTTP/1.0 is kept alive by this header alone, and that uvicorn does not do.
            and (
                b"connection" not in headers
                or (parser.get_http_version() == "1.1" and not parser.should_upgrade())
            )
        )

    def _begin_for_uvicorn(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # which the scope holds
        super().on_headers_complete()

    def _leave_to_uvicorn(self) -> None:
        """As though the request's head had just come."""
        self._taken, body, self._body = None, self._body, b""
        self._begin_for_uvicorn()
        if body:
            super().on_body(body)

    async def _answer_later(
        self, pending: "_Pending", answer: Answer | Coroutine[Any, Any, Answer]
    ) -> None:
        try:
            if not isinstance(answer, Answer):
                answer = await answer
            if self.flow.write_paused:
                await self.flow.drain()
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            self.transport.close()
            raise
        if not pending.disconnected:
            pending.response_complete = True
            self._send(answer, keep_alive=pending.keep_alive)

    def _send(self, answer: Answer, *, keep_alive: bool) -> None:
        """Send it, and end the request as uvicorn would."""
        parts = [STATUS_LINE[answer.status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        parts += (answer.head, end, answer.body)
        self.transport.write_alone(b"".join(parts))  # type: ignore[attr-defined]
        if not keep_alive:
            self.transport.close()
        self._await_next()

    def _await_next(self) -> None:
        """As ``on_response_complete``, but one timer does for many requests: when it is due, it
        looks how long the connection has been idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0:
            self.transport.close()
        else:
            self._idle_timer = self.loop.call_later(left_s, self._close_if_idle)


class _Pending:
    """A request whose answer is awaited: what uvicorn wants to know of it, or tells it."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    message_event = asyncio.Event()
    """Nobody waits for news of it."""

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False
