"""Whole answers: what a hot route says leaves as one piece of bytes.

ASGI sends an answer as a head and a body, and the server looks at each header on its way out. A hot
route has all of it at hand, so the gateway's server offers an ASGI extension that takes it whole;
under a server without it an answer goes the usual way, and says the same (docs/decisions/0017).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import ref

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from orchestrator.corked import Corked

__all__ = ["EXTENSION", "Http", "answer_whole"]

EXTENSION = "doorstep.whole_answer"
FORBIDDEN = (b"\r", b"\n", b"\0")
"""No header holds one of these: another header, or another answer, would begin there."""


def answer_whole(
    scope: Mapping[str, Any], status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> bool:
    """Send the answer (names of headers in lower case, ``content-length`` among them) if the server
    takes it whole; False: nothing was sent."""
    extensions = scope.get("extensions")
    if not extensions or EXTENSION not in extensions:
        return False
    sent: bool = extensions[EXTENSION](status, headers, body)
    return sent


class Http(HttpToolsProtocol):
    """uvicorn's, writing through a cork, and with the extension."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is open."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]

    def on_headers_complete(self) -> None:
        """A request has begun; the application is called in a later turn of the loop."""
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # not a socket's handshake
            self.scope["extensions"] = {EXTENSION: _Whole(cycle)}  # type: ignore[dict-item]


class _Whole:
    """Answers one request, in the place of ``RequestResponseCycle.send``. It holds the request
    weakly, for the request's scope holds it: whoever answers runs within the request, and what is
    answered is let go of at once, not when the collector comes by."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = ref(cycle)

    def __call__(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        cycle = self._cycle()
        if cycle is None or cycle.disconnected:
            return True  # nobody is there to be told
        if (
            cycle.flow.write_paused
            or cycle.response_started
            or cycle.access_log
            or cycle.scope["method"] == "HEAD"
        ):
            return False
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            if any(mark in value for mark in FORBIDDEN):
                return False  # the server refuses it
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        parts.append(body)
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write_alone(b"".join(parts))  # type: ignore[attr-defined]
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True
