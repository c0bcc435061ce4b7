"""The sandbox provider over real HTTP on loopback, with a receiver of its webhooks beside it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from adapters.payments.sandbox_client import SandboxProvider
from adapters.payments.sandbox_server import Sandbox, create_sandbox
from domain.payment import ProviderAnswer
from tests.fakes.manual_clock import ManualClock

__all__ = ["API_KEY", "SECRET", "Receiver", "SandboxWorld", "sandbox_world"]

API_KEY = "key-of-the-tests"
SECRET = "secret-of-the-tests"

Received = tuple[bytes, dict[str, str]]


@dataclass
class Receiver:
    """The service's webhook route, reduced to keeping what came. ``status`` is its answer."""

    status: int = 204
    location: str = ""
    received: list[Received] = field(default_factory=list)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Request) -> Response:
        self.received.append((await request.body(), dict(request.headers)))
        self.arrival.set()
        headers = {"location": self.location} if self.location else {}
        return Response(status_code=self.status, headers=headers)

    def take(self) -> list[Received]:
        taken, self.received = self.received, []
        self.arrival.clear()
        return taken


@dataclass
class SandboxWorld:
    """All parts of a running sandbox; webhooks go out when a test says ``settle``."""

    clock: ManualClock
    sandbox: Sandbox
    receiver: Receiver
    elsewhere: Receiver
    """Another receiver, at ``/elsewhere``."""
    provider: SandboxProvider
    session: aiohttp.ClientSession
    base_url: str

    async def pay(self, payment_id: str, **body: Any) -> int:
        async with self.session.post(self.provider.pay_url(payment_id), json=body) as response:
            return response.status

    async def settle(self) -> list[ProviderAnswer]:
        """Send what is due now; what the receiver got, verified, in the order it came."""
        await self.sandbox.send_due()
        return [
            self.provider.verify(body, headers, self.clock.now())
            for body, headers in self.receiver.take()
        ]


@asynccontextmanager
async def sandbox_world(
    folder: Path, *, clock: ManualClock | None = None, send: bool = False, **options: Any
) -> AsyncIterator[SandboxWorld]:
    """A running sandbox, mounted under ``/sandbox`` as the service mounts it."""
    clock = clock or ManualClock()
    receiver, elsewhere = Receiver(), Receiver()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        host = f"http://127.0.0.1:{listening.getsockname()[1]}"
        options.setdefault("webhook_url", f"{host}/v1/webhooks/sandbox")
        sandbox = create_sandbox(
            folder / "sandbox.db", api_key=API_KEY, webhook_secret=SECRET, clock=clock, **options
        )
        app = Starlette(
            routes=[
                Mount("/sandbox", sandbox),
                Route("/v1/webhooks/sandbox", receiver.__call__, methods=["POST"]),
                Route("/elsewhere", elsewhere.__call__, methods=["POST"]),
            ]
        )
        await sandbox.start(send=send)
        async with _serving(app, listening), aiohttp.ClientSession() as session:
            base_url = f"{host}/sandbox"
            provider = SandboxProvider(base_url, API_KEY, SECRET, session, clock_speed=clock.speed)
            try:
                yield SandboxWorld(clock, sandbox, receiver, elsewhere, provider, session, base_url)
            finally:
                await sandbox.stop()


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _serving(app: Starlette, listening: socket.socket) -> AsyncIterator[None]:
    server = _QuietServer(uvicorn.Config(app, log_level="warning", lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await running
