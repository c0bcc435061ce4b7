"""Rate limits: moving windows in memory and in Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from adapters.rate_limits import (
    AWAY_S,
    BoundedMemory,
    MemoryRateLimits,
    SharedRateLimits,
    parse_limit,
    refusal,
)
from adapters.redis.server import EmbeddedRedis
from domain.errors import Busy


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def rules(text: str = "3/minute") -> dict[tuple[str, str], object]:
    limit = parse_limit(text)
    assert limit is not None
    return {("place", "account"): limit, ("place", "device"): limit, ("pair", "address"): limit}


async def refused(limits: MemoryRateLimits | SharedRateLimits, route: str, **who: str) -> str:
    try:
        await limits.check(route, **who)
    except Busy as busy:
        return str(busy.extra["limit"]) if busy.code == "too-many-requests" else busy.code
    return ""


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[str]:
    server = EmbeddedRedis(tmp_path / "redis")
    await server.start()
    yield server.url
    await server.stop()


async def test_so_many_are_let_through_then_none_until_the_oldest_is_out_of_the_window() -> None:
    clock = Clock()
    limits = MemoryRateLimits(rules(), clock=clock)  # type: ignore[arg-type]
    for _ in range(3):
        assert not await refused(limits, "place", account="c-1")
        clock.now += 10
    with pytest.raises(Busy) as busy:
        await limits.check("place", account="c-1")
    assert busy.value.extra == {
        "limit": "account", "quota": 3, "window_s": 60, "retry_after_s": 30,
    }  # fmt: skip
    clock.now += 30
    assert not await refused(limits, "place", account="c-1")
    assert await refused(limits, "place", account="c-1") == "account"


async def test_who_is_refused_is_not_counted() -> None:
    clock = Clock()
    limits = MemoryRateLimits(rules("1/minute"), clock=clock)  # type: ignore[arg-type]
    await limits.check("place", account="c-1")
    for _ in range(50):
        clock.now += 1
        assert await refused(limits, "place", account="c-1")
    clock.now += 10
    assert not await refused(limits, "place", account="c-1")


async def test_accounts_devices_and_routes_are_counted_apart_and_nobody_is_not_counted() -> None:
    limits = MemoryRateLimits(rules("1/minute"))  # type: ignore[arg-type]
    assert not await refused(limits, "place", account="c-1", device="d-1", address="a-1")
    assert await refused(limits, "place", account="c-2", device="d-1") == "device"
    assert not await refused(limits, "pair", address="a-1")
    assert await refused(limits, "pair", address="a-1") == "address"
    assert not await refused(limits, "queue", account="c-1")
    for _ in range(5):
        assert not await refused(limits, "place", account="", device="", address="a-1")


async def test_memory_is_bounded_and_the_longest_silent_are_forgotten() -> None:
    memory = BoundedMemory(keys_max=3)
    for key in ("a", "b", "c", "a", "d"):
        memory.acquire_entry(key, 5, 60)
    assert memory.get("a") == 2
    assert memory.get("b") == 0
    assert memory.reset() == 3


async def test_memory_follows_who_is_active() -> None:
    clock = Clock()
    memory = BoundedMemory(clock=clock)
    for number in range(1_000):
        clock.now += 1
        memory.acquire_entry(f"c-{number}", 5, 60)
    assert memory.get("c-999") == 1
    assert memory.reset() <= 61


async def test_two_gateways_count_together_in_redis(redis: str) -> None:
    one, two = (SharedRateLimits(rules("2/minute"), redis) for _ in range(2))  # type: ignore[arg-type]
    customer = uuid4().hex
    try:
        assert not await refused(one, "place", account=customer)
        assert not await refused(two, "place", account=customer)
        assert await refused(one, "place", account=customer) == "account"
        with pytest.raises(Busy) as busy:
            await two.check("place", account=customer)
        assert 1 <= busy.value.extra["retry_after_s"] <= 60
    finally:
        await one.close()
        await two.close()


async def test_nobody_is_held_back_while_redis_is_away() -> None:
    limits = SharedRateLimits(rules("1/minute"), "redis://127.0.0.1:1/0")  # type: ignore[arg-type]
    for _ in range(3):
        assert not await refused(limits, "place", account="c-1")
    await limits.close()


async def test_an_answer_that_does_not_come_in_time_holds_nobody_back(redis: str) -> None:
    clock = Clock()
    limits = SharedRateLimits(rules("1/minute"), redis, clock=clock, answer_s=0.0)  # type: ignore[arg-type]
    customer = uuid4().hex
    try:
        for _ in range(3):
            assert not await refused(limits, "place", account=customer)
            clock.now += AWAY_S
    finally:
        await limits.close()


class Muted:
    """Stands before a Redis; while it is mute, it accepts and never answers."""

    def __init__(self, redis: str) -> None:
        self._url = urlsplit(redis)
        self.mute = True
        self.callers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Its own URL."""
        self._server = await asyncio.start_server(self._called, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._url.netloc.rpartition("@")
        return self._url._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers += 1
        if self.mute:
            await reader.read(-1)  # until the caller hangs up
            writer.close()
            return
        behind = await asyncio.open_connection(self._url.hostname, self._url.port)
        self._tasks |= {
            asyncio.create_task(_pass_on(reader, behind[1])),
            asyncio.create_task(_pass_on(behind[0], writer)),
        }

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while heard := await reader.read(65_536):
            writer.write(heard)
    writer.close()


async def test_a_redis_that_accepts_and_never_answers_is_asked_once_in_a_while_until_it_is_back(
    redis: str,
) -> None:
    clock, muted = Clock(), Muted(redis)
    limits = SharedRateLimits(
        rules("1/minute"),
        await muted.open(),
        clock=clock,
        answer_s=0.5,  # type: ignore[arg-type]
    )
    customer = uuid4().hex
    try:
        with capture_logs() as logs:
            for outage in (1, 2):
                for _ in range(5):
                    assert not await refused(limits, "place", account=customer)
                assert muted.callers == outage, "known to be away, it is not asked"
                clock.now += AWAY_S
            muted.mute = False
            together = [refused(limits, "place", account=customer) for _ in range(5)]
            assert not any(await asyncio.gather(*together)), "one finds out, none waits for it"
            assert await refused(limits, "place", account=customer) == "account"
        assert [line["event"] for line in logs] == ["rate_limits.away", "rate_limits.back"]
    finally:
        await limits.close()
        await muted.close()


def test_a_limit_is_read_as_the_library_writes_it_and_a_wait_is_a_second_at_least() -> None:
    assert parse_limit(" ") is None
    limit = parse_limit("10 per 30 second")
    assert limit is not None
    assert (limit.amount, limit.get_expiry()) == (10, 30)
    assert refusal(limit, "account", -5.0).extra["retry_after_s"] == 1
    with pytest.raises(ValueError, match="parse"):
        parse_limit("often")
