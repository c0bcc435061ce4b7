"""Whole answers: what a hot route says leaves as one piece of bytes.

ASGI sends an answer as a head and a body, and the server looks at each header on its way out. A hot
route has all of it at hand, so the gateway's server offers an ASGI extension that takes it whole;
under a server without it an answer goes the usual way, and says the same (docs/decisions/0017).
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from orchestrator.corked import Corked

__all__ = ["EXTENSION", "Http", "answer_whole"]

EXTENSION = "doorstep.whole_answer"
_forbidden = re.compile(rb"[\r\n\0]").search
"""No header holds one of these: another header, or another answer, would begin there."""

Scope = Mapping[str, Any]
Headers = Sequence[tuple[bytes, bytes]]


def answer_whole(scope: Scope, status: int, headers: Headers, body: bytes) -> bool:
    """Send the answer (names of headers in lower case, ``content-length`` among them) if the server
    takes it whole; False: nothing was sent."""
    extensions = scope.get("extensions")
    if not extensions or EXTENSION not in extensions:
        return False
    sent: bool = extensions[EXTENSION](scope, status, headers, body)
    return sent


class Http(HttpToolsProtocol):
    """uvicorn's, writing through a cork, and with the extension."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is open."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]
        self._extensions = {EXTENSION: self._answer}

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended; nothing is kept that would hold it in a circle."""
        super().connection_lost(exc)
        self._extensions.clear()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]

    def _answer(self, scope: Scope, status: int, headers: Headers, body: bytes) -> bool:
        """In the place of ``RequestResponseCycle.send``, for the request of this scope."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not scope:
            return False  # the next request is already here (pipelining)
        if cycle.disconnected:
            return True  # nobody is there to be told
        if (
            cycle.flow.write_paused
            or cycle.response_started
            or cycle.access_log
            or scope["method"] == "HEAD"
        ):
            return False
        parts = [STATUS_LINE[status]]
        values = []
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            values.append(value)
        if _forbidden(b"".join(values)) is not None:
            return False  # the server refuses it
        parts += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write_alone(b"".join(parts))  # type: ignore[attr-defined]
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True
