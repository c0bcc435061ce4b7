"""Finished frames straight onto a socket's transport, for many sockets in one turn of the loop.

A frame that goes to thousands of sockets is encoded once, WebSocket header included. What is left
to do for each socket is to hand its transport those bytes. A task per socket that is woken for
each message costs several times that, so :class:`Writers` writes for all sockets that have
something; tasks are for servers whose sockets are no :class:`DirectSocket`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from orchestrator import metrics
from orchestrator.corked import Corked

__all__ = ["DIRECT", "Direct", "DirectSocket", "Writer", "Writers"]

DIRECT = "doorstep.direct"
"""Member of the message ``websocket.connect`` that holds the socket, where the server offers it."""
SOCKETS_PER_TURN = 128
"""Sockets written to before others may use the loop: one or two milliseconds."""


class Direct(Protocol):
    """A socket that takes finished frames."""

    on_ready: Callable[[], None]
    """Called when :attr:`ready` turned true again after the transport's buffer was full."""

    @property
    def ready(self) -> bool:
        """Whether bytes may be written now: it is open, and its buffer is below the mark."""
        ...

    def write(self, frames: bytes) -> None:
        """Whole unmasked WebSocket frames; only while :attr:`ready`."""
        ...


class DirectSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which offers itself as :class:`Direct` to the application."""

    on_ready: Callable[[], None] = staticmethod(lambda: None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The HTTP connection became this socket."""
        super().connection_made(
            transport.uncorked() if isinstance(transport, Corked) else transport
        )

    @property
    def ready(self) -> bool:
        """See :class:`Direct`."""
        return (
            self.writable.is_set()
            and self.handshake_complete
            and not (self.close_sent or self.disconnected or self.transport.is_closing())
        )

    def write(self, frames: bytes) -> None:
        """See :class:`Direct`."""
        self.transport.write(frames)

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        super().resume_writing()
        self.on_ready()

    async def receive(self) -> ASGIReceiveEvent:
        """The next message for the application; the first one holds this socket."""
        message = await super().receive()
        if message["type"] == "websocket.connect":
            return cast(ASGIReceiveEvent, {**message, DIRECT: self})
        return message


class Writer(Protocol):
    """Who has something to write now and then."""

    audience: str

    def write_out(self) -> int:
        """Write what there is and the socket takes; how many frames that was."""
        ...


class Writers:
    """The sockets of one event loop that have something to write. Those who get frames in one turn
    of the loop write them in the next, each all of its frames at once."""

    def __init__(self) -> None:
        self._waiting: deque[Writer] = deque()
        self._due = False

    @property
    def busy(self) -> bool:
        """Somebody was added who was not asked to write yet."""
        return self._due

    def add(self, writer: Writer) -> None:
        """``writer`` has something to write. To be called once until it was asked to."""
        self._waiting.append(writer)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        waiting = self._waiting
        written: dict[str, int] = {}
        for _ in range(min(len(waiting), SOCKETS_PER_TURN)):
            writer = waiting.popleft()
            count = writer.write_out()
            written[writer.audience] = written.get(writer.audience, 0) + count
        for audience, count in written.items():
            metrics.socket_messages.labels(audience).inc(count)
        self._due = bool(waiting)
        if waiting:
            asyncio.get_running_loop().call_soon(self._write)
