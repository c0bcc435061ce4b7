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

Either way a request has a bound in bytes and in time, and what is no request is refused when all
that came before it has its answer.
"""

import asyncio
from collections.abc import Coroutine, MutableMapping, Sequence
from typing import Any, Literal, Protocol

from httptools import HttpParserError, HttpParserUpgrade
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from orchestrator import metrics
from orchestrator.corked import Corked
from orchestrator.logs import logger

__all__ = ["Answer", "Headers", "Http", "WholeRoutes", "head_of"]

HEAD_BYTES_MAX = 65_536
"""Of a request's line and headers, and of what comes around a body: trailers, framing of chunks.
Who sends more is told so and cut off, before anybody knows who they are."""
HEAD_S_MAX = 15.0
"""From connecting, or from a head's first byte, to the head's end. Heads are a packet or a few: a
phone that loses some of them and tries again needs seconds; who needs more holds a connection."""
BODY_S_MAX = 60.0
"""From a head's end to its body's. The largest body that is taken (256 KiB) needs 35 kbit/s for it,
which the slowest of phone networks have."""

log = logger(__name__)

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


def _in_plain_text(status: int, text: bytes) -> Answer:
    """For whom nobody knows yet what they want."""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
    ]
    return Answer(status, head_of(headers), text)


_UNREADABLE = _in_plain_text(400, b"Invalid HTTP request received.")
_TOO_SLOW = _in_plain_text(
    408, b"A head must be here within %d s, its body %d s later." % (HEAD_S_MAX, BODY_S_MAX)
)
_TOO_LARGE = _in_plain_text(
    431, b"The request's line and headers may have at most %d bytes." % HEAD_BYTES_MAX
)


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

        self._coming: Literal["head", "body"] | None = None
        """What of a request is on its way; None: nothing."""
        self._coming_since = 0.0
        """Of the loop's time; 0: it began in what is being read."""
        self._bytes = 0
        """Read since that request began, and before it in the same reading."""
        self._behind = False
        """Whether there was a request before it in the same reading."""
        self._bytes_max = 0
        """At more :attr:`_bytes` who sends no body is cut off."""

        self._running: RequestResponseCycle | None = None
        """Of the requests that went through ASGI the last one that was begun."""
        self._last_word: Answer | None = None
        """Why this connection ends, to be said when what was asked before is answered."""
        self._idle_until = 0.0
        """When (of the loop's time) a client that has all it asked for has waited long enough."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is open."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]
        self._idle_until = self.loop.time() + HEAD_S_MAX
        self._timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended. Requests that were not begun never are; the one that was goes on, and is
        told that nobody waits for it."""
        super().connection_lost(exc)
        self._stop_timer()
        self.pipeline.clear()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
            self._running = None

    # A request comes ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._coming is None:
            self._bytes = len(data)
            self._behind = False
        else:
            self._bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._upgrade(memoryview(data)[upgrade.args[0] :])
        except HttpParserError as error:
            self._refuse_unread(error)
        if self._coming is not None:
            self._await_rest()

    def on_message_begin(self) -> None:
        """A request comes. What ASGI wants of it is put together when that is known to be asked."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._coming = "head"
        self._coming_since = 0.0

    def on_headers_complete(self) -> None:
        """A request's head is there."""
        if self._bytes > HEAD_BYTES_MAX and self._head_bytes() > HEAD_BYTES_MAX:
            raise _HeadTooLarge
        if self._routes is not None:
            path, _, query = self.url.partition(b"?")
            route = self._routes.whole_route(self.parser.get_method(), path)
            if route is not None and b"#" not in query:
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
            self._bytes_max = self._bytes + HEAD_BYTES_MAX
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._coming = None
        self._behind = True
        if self._taken is None:
            if not self.parser.should_upgrade():
                super().on_message_complete()
                self._idle_until = self.loop.time() + self.timeout_keep_alive
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

    def _is_usual(self, headers: Headers) -> bool:
        cycle, parser = self.cycle, self.parser
        return (
            (cycle is None or cycle.response_complete)
            and not self.expect_100_continue
            and b"transfer-encoding" not in headers  # or the body could come in many pieces
            and not parser.should_upgrade()
            and parser.should_keep_alive()
            # HTTP/1.0 is kept alive by these headers alone, and that uvicorn does not do.
            and (
                (b"connection" not in headers and b"proxy-connection" not in headers)
                or parser.get_http_version() == "1.1"
            )
        )

    def _owes(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _head_bytes(self) -> int:
        """Of the request's line and headers, without blanks around values."""
        line = len(self.parser.get_method()) + len(self.url) + len(b"  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _await_rest(self) -> None:
        """What was read ends within a request."""
        if self._taken is not None:
            self._leave_to_uvicorn()
        if self._coming_since == 0.0:
            self._coming_since = self.loop.time()
            # What stood before it is not its own. How much that was nobody knows, so what came of
            # it in the same reading is not counted, until its head is complete.
            exact = self._coming == "head" and not self._behind
            self._bytes_max = HEAD_BYTES_MAX if exact else self._bytes + HEAD_BYTES_MAX
        if self._bytes > self._bytes_max:
            self._refuse(_TOO_LARGE, "no end of headers")

    # uvicorn's way ------------------------------------------------------------------------------

    def _begin_for_uvicorn(self) -> None:
        parser = self.parser
        if parser.should_upgrade() and not self._should_upgrade():
            return  # see _upgrade
        self._coming, self._coming_since = "body", 0.0
        url, headers = self.url, self.headers
        expects = self.expect_100_continue and parser.get_http_version() == "1.1"
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # which the scope holds
        super().on_headers_complete()
        if not parser.should_upgrade():
            self.headers = []  # for trailers, which are no headers (RFC 9110, 6.5.1)

    def _leave_to_uvicorn(self) -> None:
        """As though the request's head had just come."""
        self._taken, body, self._body = None, self._body, b""
        self._begin_for_uvicorn()
        if body:
            super().on_body(body)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _upgrade(self, behind: memoryview) -> None:
        """A request asks for another protocol; its body, if it has one, was left unread ``behind``
        it. A socket begins, or the request is read again without that wish, which nobody needs to
        fulfil (RFC 9110, 7.8): some clients ask for HTTP/2 with each request."""
        while not self._should_upgrade():
            method, version = self.parser.get_method(), self.parser.get_http_version()
            if method == b"CONNECT":
                self._refuse(_UNREADABLE, "this is no proxy")
                return
            lines = [method, b" ", self.url, b" HTTP/", version.encode(), b"\r\n"]
            for name, value in self.headers:
                if name != b"upgrade":
                    lines += (name, b": ", value, b"\r\n")
            lines.append(b"\r\n")
            try:
                self.parser.feed_data(b"".join(lines))
                self.parser.feed_data(behind)
                return
            except HttpParserUpgrade as upgrade:
                behind = behind[upgrade.args[0] :]
            except HttpParserError as error:
                self._refuse_unread(error)
                return
        if self._owes():  # whose answer would stand among the socket's frames
            self._refuse(_UNREADABLE, "a socket behind a request that is not answered")
        else:
            self._stop_timer()
            self.handle_websocket_upgrade()

    # An answer goes -----------------------------------------------------------------------------

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
        if not self.transport.is_closing():
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
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """An answer was sent, whichever way; what is behind it is next."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_word is not None:
            self._send(self._last_word, keep_alive=False)
        else:
            self._idle_until = self.loop.time() + self.timeout_keep_alive

    # What is no request, or takes too long ------------------------------------------------------

    def _refuse_unread(self, error: HttpParserError) -> None:
        if isinstance(error.__context__, _HeadTooLarge):
            self._refuse(_TOO_LARGE, "a large head")
        else:
            self._refuse(_UNREADABLE, str(error))

    def _refuse(self, answer: Answer, why: str) -> None:
        """Say that as the last word of this connection, in its turn, and read no more."""
        coming, self._coming = self._coming, None
        self.parser = _Deaf()  # type: ignore[assignment]
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if coming == "body":  # of a request that has begun, or would in its turn
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
            if self.pipeline:
                self.pipeline.popleft()
            else:
                cycle = None  # type: ignore[assignment]
        since = self._coming_since if coming else 0.0
        seconds = self.loop.time() - since if since else 0.0
        metrics.http_seconds.observe("other", "unread", answer.status, seconds)
        log.debug("http.refused", status=answer.status, why=why, client=self.client)
        if cycle is None or cycle.response_complete:
            self._send(answer, keep_alive=False)
        else:
            self._last_word = answer

    def _look(self) -> None:
        """See what this connection waits for. It has one timer, which looks at the time when it is
        due, instead of one for each thing that is waited for."""
        now = self.loop.time()
        due = now + self.timeout_keep_alive
        if self._coming is not None:
            if self.flow.read_paused:  # then the delay is ours
                self._coming_since = now
            due = self._coming_since + (HEAD_S_MAX if self._coming == "head" else BODY_S_MAX)
        elif not self._owes():
            due = self._idle_until
        if now < due:
            self._timer = self.loop.call_later(min(due - now, self.timeout_keep_alive), self._look)
        elif self._coming is not None:
            self._refuse(_TOO_SLOW, f"no end of the {self._coming}")
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _HeadTooLarge(Exception):
    """Ends the reading of a request whose head has more than :data:`HEAD_BYTES_MAX`."""


class _Deaf:
    """The parser of a connection that has said its last word."""

    def feed_data(self, data: bytes) -> None:
        """Nobody listens."""


class _Pending:
    """A request whose answer is awaited: what uvicorn wants to know of it, or tells it."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    message_event = asyncio.Event()
    """Nobody waits for news of it."""

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False
