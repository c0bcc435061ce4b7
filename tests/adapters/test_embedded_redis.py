"""The embedded Redis answers those alone who know its password."""

import asyncio
from pathlib import Path

import psutil
import pytest
import redis.asyncio as redis

from adapters.redis import server as rewriting
from adapters.redis.server import EmbeddedRedis


async def test_who_does_not_know_the_password_is_refused(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, password='s3cret "quoted" @/')
    await server.start()
    knowing, stranger = redis.Redis.from_url(server.url), redis.Redis(port=server.port)
    try:
        assert await knowing.ping()
        with pytest.raises(redis.AuthenticationError):
            await stranger.ping()
    finally:
        await knowing.aclose()
        await stranger.aclose()
        await server.stop()


async def test_a_password_is_made_up_where_none_is_given_and_no_command_line_shows_it(
    tmp_path: Path,
) -> None:
    server = EmbeddedRedis(tmp_path)
    await server.start()
    knowing, stranger = redis.Redis.from_url(server.url), redis.Redis(port=server.port)
    try:
        assert (await knowing.config_get("appendfsync"))["appendfsync"] == "always"
        with pytest.raises(redis.AuthenticationError):
            await stranger.ping()
        assert server.process is not None
        password = server.url.split(":")[2].split("@")[0]
        shown = psutil.Process(server.process.pid)
        assert password not in " ".join([*shown.cmdline(), *shown.environ().values()])
    finally:
        await knowing.aclose()
        await stranger.aclose()
        await server.stop()


async def test_a_grown_file_is_rewritten_in_a_quiet_moment_and_keeps_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = 90.0
    monkeypatch.setattr(psutil, "cpu_percent", lambda _interval: busy)
    monkeypatch.setattr(rewriting, "TIDY_EVERY_S", 0.01)
    monkeypatch.setattr(rewriting, "TIDY_BYTES_MIN", 10_000)
    server = EmbeddedRedis(tmp_path)
    await server.start()
    client = redis.Redis.from_url(server.url)
    tidying = asyncio.ensure_future(server.tidy())
    try:
        for number in range(1_000):
            await client.set("counter", str(number) * 100)
        assert (await client.info("stats"))["total_forks"] == 0, "nobody is disturbed in a rush"
        busy = 5.0
        async with asyncio.timeout(30):
            while (await client.info("persistence"))["aof_current_size"] > 10_000:
                await asyncio.sleep(0.01)
        assert await client.get("counter") == b"999" * 100
    finally:
        tidying.cancel()
        await client.aclose()
        await server.stop()
