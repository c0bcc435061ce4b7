"""Sockets that come back by themselves: a store's or rider's inbox, and topics.

``InboxSocket`` keeps the promise of the protocol on the device's side: each message is yielded
once and in order, its offset is stored after the consumer is done with it, and acknowledged after
that. However often the connection drops, nothing is missed.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import msgspec
from msgspec import Struct

from orchestrator.client.problems import SocketClosed
from orchestrator.models import InboxMessage
from orchestrator.push import frames
from orchestrator.push.patch import apply_patch

__all__ = [
    "FileOffsets", "InboxMessage", "InboxSnapshot", "InboxSocket", "MemoryOffsets", "Offsets",
    "TokenSource", "TopicSocket", "TopicUpdate",
]  # fmt: skip

TokenSource = str | Callable[[], Awaitable[str]]
"""A token, or where to get a fresh one when the old one has run out."""

ACK_EVERY = 32
"""An acknowledgement is sent when nothing more waits, or after so many messages."""
WAITING_MAX = 1_000
"""Messages that may wait for the consumer; more stay in the network and then in the inbox."""
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
SILENT_INTERVALS = 2.5
"""A server that says nothing for so many heartbeat intervals is taken for lost."""
FIRST_WORD_S = 20.0
"""Real seconds until the server's first word."""
CLOSE_S = 2.0
PAUSE_S_MIN = 0.2
PAUSE_S_MAX = 10.0


class InboxSnapshot(Struct, frozen=True):
    """Everything as it is at ``head``; it replaces all that was folded from messages before."""

    head: int
    epoch: str
    data: Any


class Offsets(Protocol):
    """Where a device keeps what it has stored, with (or after) the effects of the messages."""

    def load(self) -> tuple[str, int | None]:
        """(epoch, last offset done); ("", None) on a new device."""
        ...

    def save(self, epoch: str, offset: int) -> None:
        """Everything up to ``offset`` is done."""
        ...


class MemoryOffsets:
    """For devices that start anew with each process."""

    def __init__(self) -> None:
        self._at: tuple[str, int | None] = ("", None)

    def load(self) -> tuple[str, int | None]:
        """See :class:`Offsets`."""
        return self._at

    def save(self, epoch: str, offset: int) -> None:
        """See :class:`Offsets`."""
        self._at = (epoch, offset)


class FileOffsets:
    """In a small JSON file, replaced atomically."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[str, int | None]:
        """See :class:`Offsets`."""
        if not self._path.exists():
            return "", None
        at = json.loads(self._path.read_text())
        return at["epoch"], at["offset"]

    def save(self, epoch: str, offset: int) -> None:
        """See :class:`Offsets`."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"epoch": epoch, "offset": offset}))
        fresh.replace(self._path)


class InboxSocket:
    """Messages of one inbox for one device, as an async iterator.

    ``async for item in socket`` yields :class:`InboxSnapshot` and :class:`InboxMessage`. Asking
    for the next item says that the one before is done: only then is it stored and acknowledged.
    ``state``: ``connecting | replaying | live | waiting | closed``. Raises :class:`SocketClosed`
    when the server says that coming back is no use.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: TokenSource,
        device_id: str,
        *,
        offsets: Offsets | None = None,
        on_state: Callable[[str], None] = lambda _state: None,
        dice: random.Random | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._token = token
        self._device_id = device_id
        self._offsets = offsets or MemoryOffsets()
        self._on_state = on_state
        self._dice = dice or random.Random()
        self._epoch, self._stored = self._offsets.load()
        self._received = self._stored
        self._waiting: asyncio.Queue[_Item | SocketClosed] = asyncio.Queue(WAITING_MAX)
        self._done: _Item | None = None
        self._acks_due = 0
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended: SocketClosed | None = None
        self.state = "connecting"
        self.head = 0
        """The newest offset the server told of."""
        self.reconnects = 0

    @property
    def stored(self) -> int | None:
        """The last offset whose message the consumer is done with."""
        return self._stored

    async def __aenter__(self) -> "InboxSocket":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator["InboxMessage | InboxSnapshot"]:
        return self

    async def __anext__(self) -> "InboxMessage | InboxSnapshot":
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="inbox-socket")
        await self.done()
        if self._ended is not None and self._waiting.empty():
            raise self._ended
        item = await self._waiting.get()
        if isinstance(item, SocketClosed):
            self._ended = item
            raise item
        self._done = item
        return item.content

    async def done(self) -> None:
        """The consumer is done with the item yielded last: store its offset and acknowledge it.
        The iterator calls this; call it yourself to acknowledge before asking for more."""
        item, self._done = self._done, None
        if item is not None:
            self._epoch, self._stored = item.epoch, item.offset
            self._offsets.save(item.epoch, item.offset)
            self._acks_due += 1
        if self._acks_due and (self._waiting.empty() or self._acks_due >= ACK_EVERY):
            self._acks_due = 0
            await self._say(frames.Ack(self._stored or 0))

    async def drop(self) -> None:
        """Cut the connection as a lost network does; it comes back by itself."""
        if self._socket is not None:
            await self._socket.close(code=1001)

    async def close(self) -> None:
        """Acknowledge what is done, and leave."""
        if self._task is None:
            return
        await self.done()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        if self._socket is not None:
            await self._socket.close()
        self._tell("closed")

    async def _run(self) -> None:
        pauses = _Pauses(self._dice)
        while True:
            self._tell("connecting")
            try:
                ended = await self._converse(pauses)
            except (aiohttp.ClientError, OSError, TimeoutError):
                ended = None
            if ended is not None:
                follows = frames.after_close(ended.code)
                fresh = follows == "re-authenticate" and not isinstance(self._token, str)
                if follows != "resume" and not fresh:
                    self._tell("closed")
                    await self._waiting.put(ended)
                    return
            self._tell("waiting")
            await asyncio.sleep(pauses.next())
            self.reconnects += 1

    async def _converse(self, pauses: "_Pauses") -> SocketClosed | None:
        """One connection, until it ends; the server's close, if it was one."""
        detail = ""
        async with _connected(self._session, self._url) as socket:
            self._socket = socket
            try:
                token = await _token(self._token)
                await socket.send_str(
                    frames.encode(frames.Auth(token, self._device_id, self._epoch, self._stored))
                )
                async for frame in _frames(socket):
                    if isinstance(frame, frames.Problem):
                        detail = frame.detail
                    elif not await self._take(frame, pauses):
                        return None
            finally:
                self._socket = None
        return _ending(socket, detail)

    async def _take(self, frame: frames.ServerFrame, pauses: "_Pauses") -> bool:
        """Handle one frame; False gives the connection up, to resume on a new one."""
        match frame:
            case frames.Hello(epoch=epoch, head=head):
                pauses.reset()
                if epoch != self._epoch:
                    # Another numbering: what was received under the old one does not count.
                    self._epoch, self._received = epoch, None
                self.head = head
                self._tell("replaying")
            case frames.Snapshot(head, epoch, data):
                self._received = self.head = head
                snapshot = InboxSnapshot(head, epoch, msgspec.json.decode(data))
                await self._waiting.put(_Item(epoch, head, snapshot))
            case frames.Event(offset=offset):
                return await self._take_event(frame, offset)
            case frames.CaughtUp(head):
                self.head = head
                self._tell("live")
            case frames.Heartbeat(head):
                self.head = head
                # While messages wait for the consumer, what is stored says nothing of a gap.
                waits = self._received != self._stored and head <= (self._received or 0)
                await self._say(frames.ClientHeartbeat(None if waits else self._stored))
        return True

    async def _take_event(self, frame: frames.Event, offset: int) -> bool:
        received = self._received
        if received is not None and offset <= received:
            return True
        if received is None and offset != 1:
            return False
        if received is not None and offset != received + 1:
            return False
        self._received = offset
        self.head = max(self.head, offset)
        content = InboxMessage(
            offset, frame.id, frame.type, frame.at, msgspec.json.decode(frame.data)
        )
        await self._waiting.put(_Item(self._epoch, offset, content))
        return True

    async def _say(self, frame: frames.ClientFrame) -> None:
        socket = self._socket
        if socket is None or socket.closed or self.state not in ("replaying", "live"):
            return  # the next connection's auth carries what is stored
        try:
            await socket.send_str(frames.encode(frame))
        except (ConnectionError, aiohttp.ClientError):
            return

    def _tell(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._on_state(state)


@dataclass(frozen=True, slots=True)
class _Item:
    epoch: str
    offset: int
    content: InboxMessage | InboxSnapshot


class TopicUpdate(Struct, frozen=True):
    """A topic changed: ``document`` is whole and current to ``head``; ``latest`` holds the newest
    value per key (a rider's position)."""

    head: int
    document: dict[str, Any]
    latest: dict[str, Any]


class TopicSocket:
    """A topic (the monitor, an order's tracking) as an async iterator of :class:`TopicUpdate`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: TokenSource,
        *,
        dice: random.Random | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._token = token
        self._dice = dice or random.Random()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._closed = False
        self.document: dict[str, Any] = {}
        self.latest: dict[str, Any] = {}
        self.head = 0

    async def __aiter__(self) -> AsyncIterator[TopicUpdate]:
        pauses = _Pauses(self._dice)
        while not self._closed:
            ended: SocketClosed | None = None
            try:
                async with _connected(self._session, self._url) as socket:
                    self._socket = socket
                    async for update in self._updates(socket, pauses):
                        yield update
                    ended = _ending(socket, "")
            except (aiohttp.ClientError, OSError, TimeoutError):
                ended = None
            if ended is not None:
                follows = frames.after_close(ended.code)
                fresh = follows == "re-authenticate" and not isinstance(self._token, str)
                if follows != "resume" and not fresh:
                    raise ended
            if not self._closed:
                await asyncio.sleep(pauses.next())

    async def close(self) -> None:
        """Leave; the iterator ends."""
        self._closed = True
        if self._socket is not None:
            await self._socket.close()

    async def _updates(
        self, socket: aiohttp.ClientWebSocketResponse, pauses: "_Pauses"
    ) -> AsyncIterator[TopicUpdate]:
        await socket.send_str(frames.encode(frames.Auth(await _token(self._token))))
        async for frame in _frames(socket):
            match frame:
                case frames.Hello():
                    pauses.reset()
                    continue
                case frames.Snapshot(head, _, data):
                    self.head, self.document = head, msgspec.json.decode(data)
                case frames.Delta(head, data):
                    if head != self.head + 1:
                        return
                    self.head = head
                    self.document = apply_patch(self.document, msgspec.json.decode(data))
                case frames.Latest(key, data):
                    self.latest[key] = msgspec.json.decode(data)
                case frames.Heartbeat(head):
                    await socket.send_str(frames.encode(frames.ClientHeartbeat(head)))
                    continue
                case _:
                    continue
            yield TopicUpdate(self.head, self.document, dict(self.latest))


class _Pauses:
    """Pauses between attempts: doubled each time, jittered over their whole length."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._next_s = PAUSE_S_MIN

    def next(self) -> float:
        pause, self._next_s = self._next_s, min(self._next_s * 2, PAUSE_S_MAX)
        return pause * self._dice.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._next_s = PAUSE_S_MIN


def _connected(session: aiohttp.ClientSession, url: str) -> Any:
    return session.ws_connect(
        url, max_msg_size=MESSAGE_BYTES_MAX, timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S)
    )


async def _frames(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[frames.ServerFrame]:
    """The server's frames until it closes. Raises ``TimeoutError`` when it fell silent."""
    silence_s = FIRST_WORD_S
    while True:
        message = await socket.receive(timeout=silence_s)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return
        frame = frames.decode_server(message.data)
        if isinstance(frame, frames.Hello):
            silence_s = SILENT_INTERVALS * frame.heartbeat_ms / 1000
        yield frame


async def _token(source: TokenSource) -> str:
    return source if isinstance(source, str) else await source()


def _ending(socket: aiohttp.ClientWebSocketResponse, detail: str) -> SocketClosed | None:
    code = socket.close_code
    return SocketClosed(code, "", detail) if code is not None else None
