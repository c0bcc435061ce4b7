"""An external load generator: one process, prebuilt HTTP/1.1 requests over keep-alive connections.

``python -m loadtests.generator`` reads a :class:`Load` as JSON on standard input and writes what
it saw as a :class:`Seen` on standard output. It must cost far less than what it measures, so it
knows just enough HTTP: it sends prepared bytes with a fresh ``Idempotency-Key``, and of an answer
it reads the status, the length and, of a few, the ``Location``.

- Closed loop (``rate`` 0): every connection sends its next request when it has its answer.
- Open loop (``rate`` > 0): requests are due at fixed instants whatever the server does, and a
  latency counts from the instant a request was *due*. So a server that stalls cannot hide the
  requests that it kept from being sent (coordinated omission).
"""

import asyncio
import sys
import time
from array import array
from collections import deque
from typing import cast

import msgspec
import uvloop
from msgspec import Struct

from loadtests.figures import quantile

__all__ = ["CUSTOMER", "Load", "Seen"]

SAMPLES_MAX = 4_000
TICK_S = 0.001
SPAN = 10
"""Digits of a request's number in its Idempotency-Key."""
TAG = 8
"""Last characters of the key's prefix, which tell the customers of one run from another's."""
CUSTOMER = "@" * (TAG + 1 + SPAN)
"""Stands in a body for a customer of the request's own: a real customer does not hold thousands of
unpaid orders, and the service would ask them for proof."""


class Load(Struct):
    """What to send. A run ends after ``seconds`` or ``requests``, whichever is first."""

    port: int
    bodies: list[str]
    token: str = ""
    key_prefix: str = "load"
    path: str = "/v1/orders"
    connections: int = 128
    seconds: float = 5.0
    requests: int = 0
    """0: no bound but the time."""
    rate: float = 0.0
    expect: int = 201
    expect_code: str = ""
    """Of the problem that an answer must be to be accepted; "": none is expected."""
    sample_every: int = 16
    """Of one in so many accepted requests the Location is kept, at most :data:`SAMPLES_MAX`."""
    drain_s: float = 20.0
    """Real seconds to wait for the last answers."""


class Seen(Struct):
    """What came back. Times in real seconds or milliseconds as named."""

    sent: int
    accepted: int
    """Answers with the expected status (and code)."""
    by_status: dict[str, int]
    lost: int
    """Requests whose connection broke, that were not answered in time (outcome unknown), or that
    were due and for which no connection ever became free."""
    elapsed_s: float
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    accepted_by_body: list[int]
    """By index into ``Load.bodies``."""
    locations: list[str]
    cpu_s: float
    """Processor time this process used."""


class _Run:
    """State shared by the connections of one run."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.head = _head(load)
        self.tails = [_tail(body) for body in load.bodies]
        self.tag = f"{load.key_prefix[-TAG:]:-<{TAG}}-".encode()
        self.expect = str(load.expect).encode()
        self.mark = f'"code":"{load.expect_code}"'.encode() if load.expect_code else b""
        self.started = 0.0
        self.ends = 0.0
        self.last = 0.0
        self.sent = 0
        self.lost = 0
        self.waiting = 0
        self.by_status: dict[bytes, int] = {}
        self.accepted_by_body = [0] * len(load.bodies)
        self.latencies = array("d")
        self.locations: list[str] = []
        self.due: deque[float] = deque()
        self.idle: list[_Connection] = []

    def more(self, now: float) -> bool:
        """Whether another request may be made."""
        load = self.load
        return now < self.ends and (not load.requests or self.sent < load.requests)

    def next_request(self) -> tuple[int, list[bytes]]:
        """(index of the body, the request's bytes)."""
        number = self.sent
        self.sent += 1
        body = number % len(self.tails)
        serial = str(number).zfill(SPAN).encode()
        first, *rest = self.tails[body]
        parts = [self.head, serial, first]
        for part in rest:
            parts += [self.tag, serial, part]
        return body, parts

    def seen(self) -> Seen:
        """The result so far."""
        times = sorted(self.latencies)
        accepted = sum(self.accepted_by_body)
        elapsed = max(self.last - self.started, 1e-9)
        return Seen(
            sent=self.sent,
            accepted=accepted,
            by_status={status.decode(): count for status, count in self.by_status.items()},
            lost=self.lost + self.waiting + len(self.due),
            elapsed_s=elapsed,
            per_s=accepted / elapsed,
            p50_ms=quantile(times, 0.50) * 1000,
            p99_ms=quantile(times, 0.99) * 1000,
            max_ms=times[-1] * 1000 if times else 0.0,
            accepted_by_body=self.accepted_by_body,
            locations=self.locations,
            cpu_s=time.process_time(),
        )


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request in flight at most."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.open = False
        self._transport: asyncio.Transport
        self._buffer = b""
        self._body = -1
        self._since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The server or the network ended it; what was in flight has an unknown outcome."""
        self.open = False
        if self._body >= 0:
            self._body = -1
            self.run.waiting -= 1
            self.run.lost += 1

    def send(self, since: float) -> None:
        """Send the next request; its latency counts from ``since``."""
        self._body, parts = self.run.next_request()
        self._since = since
        self.run.waiting += 1
        self._transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or all of it."""
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or len(buffer) < end + 4 + _length(buffer, end):
            self._buffer = buffer
            return
        self._buffer = b""
        self._answered(buffer, end)

    def _answered(self, answer: bytes, end: int) -> None:
        run, now = self.run, time.perf_counter()
        status = answer[9:12]
        run.waiting -= 1
        run.last = now
        run.by_status[status] = run.by_status.get(status, 0) + 1
        if status == run.expect and (not run.mark or answer.find(run.mark, end) > 0):
            if len(run.latencies) % run.load.sample_every == 0 and len(run.locations) < SAMPLES_MAX:
                run.locations.append(_location(answer, end))
            run.accepted_by_body[self._body] += 1
            run.latencies.append(now - self._since)
        self._body = -1
        if run.load.rate:
            if run.due:
                self.send(run.due.popleft())
            else:
                run.idle.append(self)
        elif run.more(now):
            self.send(now)


async def _drive(load: Load) -> Seen:
    loop = asyncio.get_running_loop()
    run = _Run(load)
    connections: list[_Connection] = []
    for _ in range(load.connections):
        _, connection = await loop.create_connection(
            lambda: _Connection(run), "127.0.0.1", load.port
        )
        connections.append(connection)
    run.started = run.last = time.perf_counter()
    run.ends = run.started + load.seconds
    if load.rate:
        run.idle = connections[:]
        await _open_loop(run)
    else:
        for connection in connections:
            if run.more(run.started):
                connection.send(run.started)
        while run.more(time.perf_counter()) and any(one.open for one in connections):
            await asyncio.sleep(0.02)
    give_up = time.perf_counter() + load.drain_s
    while (run.waiting or run.due) and time.perf_counter() < give_up:
        await asyncio.sleep(0.01)
    return run.seen()


async def _open_loop(run: _Run) -> None:
    rate, number = run.load.rate, 0
    while True:
        now = time.perf_counter()
        planned = int((min(now, run.ends) - run.started) * rate) + 1
        if run.load.requests:
            planned = min(planned, run.load.requests)
        while number < planned:
            run.due.append(run.started + number / rate)
            number += 1
        while run.due and run.idle:
            connection = run.idle.pop()
            if connection.open:
                connection.send(run.due.popleft())
        if now >= run.ends or number == run.load.requests:
            return
        await asyncio.sleep(TICK_S)


def _head(load: Load) -> bytes:
    authorization = f"Authorization: Bearer {load.token}\r\n" if load.token else ""
    return (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n"
        f"Content-Type: application/json\r\n{authorization}Idempotency-Key: {load.key_prefix}-"
    ).encode()


def _tail(body: str) -> list[bytes]:
    """What follows the key, cut where a customer is to be filled in."""
    encoded = body.encode()
    whole = b"\r\nContent-Length: " + str(len(encoded)).encode() + b"\r\n\r\n" + encoded
    return whole.split(CUSTOMER.encode())


def _length(answer: bytes, end: int) -> int:
    at = answer.find(b"content-length: ", 0, end)
    if at < 0:
        at = answer.lower().find(b"content-length: ", 0, end)
        if at < 0:
            raise ValueError(f"An answer without a length: {answer[:end]!r}")
    return int(answer[at + 16 : answer.index(b"\r", at)])


def _location(answer: bytes, end: int) -> str:
    at = answer.find(b"location: ", 0, end)
    return "" if at < 0 else answer[at + 10 : answer.index(b"\r", at)].decode()


def main() -> None:
    """One run, as told on standard input."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(_drive(load))
    sys.stdout.buffer.write(msgspec.json.encode(seen))


if __name__ == "__main__":
    main()
