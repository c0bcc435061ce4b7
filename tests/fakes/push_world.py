"""A gateway with sockets alone, on a real port of the loopback, over a fake runtime."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from orchestrator.auth import Tokens, tokens_of
from orchestrator.ports import Service
from orchestrator.push.direct import DirectSocket
from orchestrator.push.routes import Push, mount
from orchestrator.settings import Settings
from tests.fakes.fake_push import FakeRuntime
from tests.fakes.manual_clock import ManualClock

__all__ = ["PushWorld", "push_world", "serving"]


class PushWorld:
    """What a test holds: the runtime it writes to, tokens, and a client session."""

    def __init__(self, engine: Any = None, **settings: Any) -> None:
        self.runtime: Any = FakeRuntime() if engine is None else engine
        self.clock: Any = ManualClock() if engine is None else engine.clock
        chosen = {"heartbeat_s": 30.0, "jwt_secret": SecretStr("s" * 32), **settings}
        self.settings = Settings(_env_file=None, **chosen)
        self.tokens: Tokens = tokens_of(self.settings)
        self.service = Service(
            self.settings, self.runtime, self.clock, None, None, {}  # type: ignore[arg-type]
        )  # fmt: skip
        self.app = FastAPI()
        self.push: Push = mount(self.app, self.service)
        self.url = ""
        self.http: aiohttp.ClientSession
        self.server: uvicorn.Server

    def token(self, role: str = "store", subject: str = "s-1", lifetime_s: float = 3600.0) -> str:
        return self.tokens.issue(role, subject, lifetime_s)

    async def listening(self) -> None:
        """Until the gateway follows the feed."""
        while self.push.tail is None or not self.push.tail.running:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    app: FastAPI, ws: Any = DirectSocket
) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """The app under uvicorn on a free port; ends with uvicorn's own graceful shutdown. ``ws``: its
    sockets, by default those of a gateway."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", ws=ws, ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def push_world(engine: Any = None, **settings: Any) -> AsyncIterator[PushWorld]:
    """A running gateway, over a fake runtime unless an ``engine`` is given."""
    world = PushWorld(engine, **settings)
    async with serving(world.app) as (server, url), aiohttp.ClientSession() as http:
        world.server, world.url, world.http = server, url, http
        await world.listening()
        yield world
