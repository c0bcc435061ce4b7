"""A session on a real socket: the ASGI shell around the sans-I/O protocol."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from orchestrator import metrics
from orchestrator.push.direct import DIRECT, Direct, Writers
from orchestrator.push.protocol import (
    Authenticate,
    Close,
    Phase,
    Read,
    Register,
    Session,
    Want,
)

__all__ = ["Connection", "Receive", "Send"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WRITE_BYTES = 65_536
"""Bytes handed to a transport at once; then it is asked whether it takes more."""
CLOSE_S = 5.0
"""Real seconds for the last frames and the close to leave, then the socket is dropped."""


class Connection:
    """Pumps frames both ways until either side closes.

    ``on_want`` is called with whatever the session wants but :class:`Close`; ``on_received`` after
    each client frame; ``on_drained`` when everything queued was written. Where the server offers
    its socket (see ``orchestrator.push.direct``), ``writers`` writes; else, and for the end, a
    task of this connection does.
    """

    __slots__ = (
        "_close", "_direct", "_limit", "_loop", "_now", "_queued", "_wake", "_writers", "audience",
        "check", "due_at", "on_drained", "on_received", "on_want", "session",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        *,
        audience: str,
        writers: Writers,
        now: Callable[[], float],
        on_want: Callable[[Authenticate | Register | Read], None],
        on_received: Callable[[], None] = lambda: None,
        on_drained: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.on_want = on_want
        self.on_received = on_received
        self.on_drained = on_drained
        self.check: Callable[[], object] = lambda: None
        """Raises ``Refused`` when the token it was opened with is good no more."""
        self.due_at = 0.0
        """When the hub's timer ticks it next."""
        self.audience = audience
        self._writers = writers
        self._direct: Direct | None = None
        self._queued = False
        """``writers`` will ask this connection to write."""
        self._now = now
        self._close: Close | None = None
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._limit: asyncio.Timeout | None = None
        session.outbox.wake = self._on_frame

    def handle(self, want: Want | None) -> None:
        """Carry out what the session wants."""
        if want is None:
            return
        if not isinstance(want, Close):
            self.on_want(want)
        elif self._close is None:
            self._close = want
            self._wake.set()
            if self._limit is not None:
                self._limit.reschedule(self._loop.time() + CLOSE_S)

    @property
    def ended(self) -> bool:
        """Nothing more will be said here."""
        return self.session.phase is Phase.CLOSED

    def attach(self, direct: Direct) -> None:
        """From now on frames go straight to this socket, which has been accepted."""
        self._direct = direct
        direct.on_ready = self._on_frame

    def tick(self) -> None:
        """Time passed."""
        self.handle(self.session.tick(self._now()))

    async def run(self, receive: Receive, send: Send) -> None:
        """Accept, and serve until the end. Returns when the socket is closed."""
        connect = await receive()
        if connect["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        if (direct := connect.get(DIRECT)) is not None:
            self.attach(direct)
        gauge = metrics.sockets.labels(self.audience)
        gauge.inc()
        writer = asyncio.create_task(self._write(send))
        try:
            async with asyncio.timeout(None) as self._limit:
                if self._close is not None:
                    self._limit.reschedule(self._loop.time() + CLOSE_S)
                await self._read(receive)
        except TimeoutError:
            pass
        finally:
            self._limit = None
            gauge.dec()
            self.session.end()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def write_out(self) -> int:
        """Write what is queued as far as the transport takes it; how many frames that was."""
        self._queued = False
        direct, outbox, count = self._direct, self.session.outbox, 0
        if direct is None or self._close is not None:
            # The task says the last words.
            self._wake.set()
            return 0
        while direct.ready:
            wire, frames = outbox.take_wire(WRITE_BYTES)
            if not frames:
                self.on_drained()
                break
            direct.write(wire)
            count += frames
        return count

    def _on_frame(self) -> None:
        """There is something to write, or the transport takes more again."""
        if self._direct is None:
            self._wake.set()
        elif not self._queued:
            self._queued = True
            self._writers.add(self)

    async def _read(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            self.handle(self.session.receive(message.get("text"), self._now()))
            self.on_received()

    async def _write(self, send: Send) -> None:
        outbox = self.session.outbox
        counted = metrics.socket_messages.labels(self.audience)
        while True:
            await self._wake.wait()
            self._wake.clear()
            count = 0
            # A whole batch without giving way: the transport joins the writes into few packets.
            while (frame := outbox.take()) is not None:
                await send(frame.message)
                outbox.written(frame)
                count += 1
            counted.inc(count)
            if self._close is not None:
                metrics.socket_closes.labels(str(int(self._close.code))).inc()
                await send({
                    "type": "websocket.close",
                    "code": int(self._close.code),
                    "reason": self._close.reason,
                })  # fmt: skip
                return
            self.on_drained()
