"""Links: exchanges between processes over a stream of their own.

Ray finds a node, starts it and starts it again; what the node exchanges with its peers goes over a
TCP connection between the two processes (docs/decisions/0010). A frame is a header of 8 bytes, two
unsigned 32-bit numbers in network order (length of the payload, number of the exchange), and the
payload. The first frame of a caller carries the node's token; without it the link is cut.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from secrets import token_bytes
from struct import Struct as Layout
from typing import NamedTuple, cast

import structlog

from actors.engine.mailbox import PeerLost

__all__ = ["Address", "Link", "LinkServer"]

log = structlog.get_logger(__name__)

Exchange = Callable[[bytes], Awaitable[bytes]]

HEADER = Layout("!II")
FRAME_MAX = 64 * 1024 * 1024
"""Bytes; a longer frame is not one of ours, and cuts the link."""
TOKEN_BYTES = 32
CONNECT_S = 5.0


class Address(NamedTuple):
    """Where a node listens, and the token that it wants to hear."""

    host: str
    port: int
    token: bytes


class _Frames(asyncio.Protocol):
    """Cuts a stream into frames."""

    frame_max = FRAME_MAX

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is open."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class

    def data_received(self, data: bytes) -> None:
        """Some bytes, with no regard to frames."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while size - at >= HEADER.size:
            length, number = HEADER.unpack_from(data, at)
            if length > self.frame_max:
                self.cut()
                return
            end = at + HEADER.size + length
            if end > size:
                break
            self.frame(number, data[at + HEADER.size : end])
            at = end
        self._rest = data[at:]

    def send(self, number: int, payload: bytes) -> None:
        """One frame; to a stream that has ended it goes nowhere."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(HEADER.pack(len(payload), number) + payload)

    def cut(self) -> None:
        """End the stream at once."""
        if self.transport is not None:
            self.transport.abort()

    def frame(self, number: int, payload: bytes) -> None:
        """A whole frame has come."""
        raise NotImplementedError


class LinkServer:
    """A node's end: answers every frame with what ``exchange`` makes of it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._token = token_bytes(TOKEN_BYTES)
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> Address:
        """Listen on a free port of ``host``; where."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._open, host, 0)
        return Address(host, self._server.sockets[0].getsockname()[1], self._token)

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def _open(self) -> "_Called":
        return _Called(self._exchange, self._token)


class _Called(_Frames):
    """One caller at a node. A stranger may send a token's bytes and no more."""

    frame_max = TOKEN_BYTES

    def __init__(self, exchange: Exchange, token: bytes) -> None:
        super().__init__()
        self._exchange = exchange
        self._token = token
        self._known = False
        self._tasks: set[asyncio.Task[None]] = set()

    def frame(self, number: int, payload: bytes) -> None:
        """The token, then exchanges."""
        if not self._known:
            self._known = compare_digest(payload, self._token)
            self.frame_max = FRAME_MAX
            if not self._known:
                self.cut()
            return
        task = asyncio.get_running_loop().create_task(self._answer(number, payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller sends again what was not answered; nobody waits for these."""
        for task in self._tasks:
            task.cancel()

    async def _answer(self, number: int, payload: bytes) -> None:
        try:
            self.send(number, await self._exchange(payload))
        except Exception:
            log.exception("link.exchange_failed")
            self.cut()  # the caller sends it again at once, not after its patience


class Link(_Frames):
    """A caller's end."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self.lost = False

    @classmethod
    async def open(cls, address: Address) -> "Link":
        """Connect. Raises :class:`PeerLost`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, link = await loop.create_connection(cls, address.host, address.port)
        except (OSError, TimeoutError) as error:
            raise PeerLost(f"{address.host}:{address.port}: {error!r}") from error
        link.send(0, address.token)
        return link

    def call(self, payload: bytes) -> "asyncio.Future[bytes]":
        """One exchange; it leaves at once. The future raises :class:`PeerLost` when the link ends
        before the answer."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self.lost:
            answer.set_exception(PeerLost("the link has ended"))
            return answer
        number = self._number = (self._number + 1) & 0xFFFFFFFF
        self._waiting[number] = answer
        self.send(number, payload)
        return answer

    def frame(self, number: int, payload: bytes) -> None:
        """An answer."""
        answer = self._waiting.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_result(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer died, or cut the link."""
        self.lost = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(PeerLost(f"the link has ended: {exc!r}"))
