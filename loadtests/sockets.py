"""Thousands of watching sockets in one process, each as cheap as it goes.

``python -m loadtests.sockets`` reads a :class:`Watch` as JSON on standard input, opens the sockets,
and writes one JSON line when all of them hold their snapshot. From then on it counts frames:
each line on standard input is a mark, answered by a line with a :class:`Count` since the last.
It ends with its standard input. It knows just enough of RFC 6455 for frames of a server: nothing
is parsed but their headers, and of one socket in a hundred the sending time in the text.
"""

import asyncio
import os
import resource
import sys
import time
from array import array
from base64 import b64encode
from datetime import datetime
from typing import Any, cast

import msgspec
import uvloop
from msgspec import Struct

from loadtests.figures import quantile

__all__ = ["Count", "Watch", "Watcher", "Watchers"]

CONNECTING = 64
"""Handshakes under way at the same time."""
TIMED_EVERY = 100
"""Of one socket in so many the latency is measured."""
MASK = b"\x00\x00\x00\x00"
HEARTBEAT = b'{"frame":"heartbeat"}'
BEAT_STEP_S = 0.05
OPEN_S = 120.0


class Watch(Struct):
    """Which sockets to open. The text of a measured frame begins with ``prefix``."""

    port: int
    path: str
    token: str
    sockets: int
    prefix: str = '{"frame":"latest"'
    heartbeat_s: float = 5.0
    """Each socket sends a heartbeat so often."""


class Count(Struct):
    """What came since the last mark, over all sockets."""

    frames: int
    """Of those that begin with the prefix."""
    bytes: int
    """Of all that came, headers included."""
    elapsed_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    fewest: int
    """Frames that the socket with the fewest got."""
    open: int
    """Sockets that are open now."""
    frame_bytes: float
    """Mean text length of the counted frames."""
    cpu_s: float
    """Processor time of this process."""


class Watcher(asyncio.Protocol):
    """One socket, the ``number``-th. A header is 2 bytes, and 2 or 8 more for long texts."""

    def __init__(self, number: int, watch: Watch, prefix: bytes) -> None:
        self.opened = asyncio.Event()
        self.upgraded = False
        """The HTTP answer was read; what follows are frames."""
        self.frames = 0
        self.text_bytes = 0
        self.bytes = 0
        self.alive = False
        self.latencies = array("d") if number % TIMED_EVERY == 0 else None
        self._watch = watch
        self._prefix = prefix
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        key = b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {self._watch.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Counted as not open from now on."""
        self.alive = False
        self.opened.set()

    def beat(self) -> None:
        """The client lives."""
        if self.alive:
            self._transport.write(_masked(HEARTBEAT))

    def data_received(self, data: bytes) -> None:
        """Some frames, perhaps not whole."""
        self.bytes += len(data)
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at = 0 if self.upgraded else self._upgrade(data)
        end = len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if start + length > end or start > end:
                break
            self._frame(data, start, length)
            at = start + length
        if at < end:
            self._rest = data[at:]

    def _upgrade(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        self.upgraded = True
        if not data.startswith(b"HTTP/1.1 101"):
            self._transport.close()
            return len(data)
        auth = {"frame": "auth", "token": self._watch.token}
        self._transport.write(_masked(msgspec.json.encode(auth)))
        return end + 4

    def _frame(self, data: bytes, start: int, length: int) -> None:
        if data.startswith(self._prefix, start):
            self.frames += 1
            self.text_bytes += length
            if self.latencies is not None:
                self.latencies.append(time.time() - _sent_at(data[start : start + length]))
        elif not self.alive and data.startswith(b'{"frame":"snapshot"', start):
            self.alive = True
            self.opened.set()


def _masked(text: bytes) -> bytes:
    """A client's frame; the mask is all zeros, which is one of those allowed."""
    if len(text) < 126:
        return bytes((0x81, 0x80 | len(text))) + MASK + text
    return b"\x81\xfe" + len(text).to_bytes(2, "big") + MASK + text


def _sent_at(text: bytes) -> float:
    """Epoch seconds that the frame tells as ``at``."""
    at = msgspec.json.decode(text)["data"]["at"]
    return float(msgspec.convert(at, type=datetime).timestamp())


class Watchers:
    """All sockets of this process."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.watchers = [
            Watcher(number, watch, watch.prefix.encode()) for number in range(watch.sockets)
        ]
        self._marked_at = time.perf_counter()

    async def open(self) -> int:
        """Connects all; how many hold their snapshot."""
        room = asyncio.Semaphore(CONNECTING)
        loop = asyncio.get_running_loop()

        async def connect(watcher: Watcher) -> None:
            async with room:
                await loop.create_connection(lambda: watcher, "127.0.0.1", self.watch.port)
                await watcher.opened.wait()

        async with asyncio.timeout(OPEN_S):
            await asyncio.gather(*map(connect, self.watchers))
        return sum(watcher.alive for watcher in self.watchers)

    async def beat_for_ever(self) -> None:
        """Heartbeats, spread over their interval; a late turn makes up for what it missed."""
        started, beaten = time.perf_counter(), 0
        while True:
            await asyncio.sleep(BEAT_STEP_S)
            share = (time.perf_counter() - started) / self.watch.heartbeat_s
            due = min(int(share * len(self.watchers)), beaten + len(self.watchers))
            for number in range(beaten, due):
                self.watchers[number % len(self.watchers)].beat()
            beaten = due

    def count(self) -> Count:
        """Since the last mark."""
        now = time.perf_counter()
        times: list[float] = []
        for watcher in self.watchers:
            if watcher.latencies is not None:
                times += watcher.latencies
                del watcher.latencies[:]
        frames = [watcher.frames for watcher in self.watchers]
        texts = sum(watcher.text_bytes for watcher in self.watchers)
        count = Count(
            frames=sum(frames),
            bytes=sum(watcher.bytes for watcher in self.watchers),
            elapsed_s=now - self._marked_at,
            p50_ms=quantile(times, 0.5) * 1000,
            p99_ms=quantile(times, 0.99) * 1000,
            max_ms=max(times, default=0.0) * 1000,
            fewest=min(frames, default=0),
            open=sum(watcher.alive for watcher in self.watchers),
            frame_bytes=texts / max(sum(frames), 1),
            cpu_s=time.process_time(),
        )
        for watcher in self.watchers:
            watcher.frames = watcher.bytes = watcher.text_bytes = 0
        self._marked_at = now
        return count


async def _serve(watch: Watch, marks: asyncio.StreamReader) -> None:
    crowd = Watchers(watch)
    opened = await crowd.open()
    beating = asyncio.create_task(crowd.beat_for_ever())
    _say({"opened": opened})
    while await marks.readline():
        _say(crowd.count())
    beating.cancel()


def _say(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


async def _run() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    watch = msgspec.json.decode(await reader.readline(), type=Watch)
    await _serve(watch, reader)


def main() -> None:
    """The sockets that are told on standard input."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run())


if __name__ == "__main__":
    main()
