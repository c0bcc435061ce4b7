"""One gateway process: HTTP and sockets on a listening socket that the supervisor holds.

The socket outlives the process: while a killed gateway is replaced, connections wait in its queue
instead of being refused.
"""

import asyncio
import os
import resource
import signal
import socket
import sys

import uvicorn

from actors.engine.collector import calm_collector
from orchestrator import logs
from orchestrator.api.app import create_app
from orchestrator.api.edge import Edge
from orchestrator.bootstrap import build_service
from orchestrator.push.direct import DirectSocket
from orchestrator.settings import Settings
from orchestrator.whole import Http

__all__ = ["configuration", "main"]

log = logs.logger(__name__)


async def run(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight."""
    service, close = await build_service(settings)
    server = uvicorn.Server(configuration(create_app(service), settings))
    calm_collector()
    # Ray puts its own handlers in; ours end the server gracefully.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    try:
        await server._serve([listener])
    finally:
        await close()


def configuration(app: Edge, settings: Settings) -> uvicorn.Config:
    """How a gateway serves ``app``."""
    return uvicorn.Config(
        app,
        http=Http,
        ws=DirectSocket,
        loop="none",
        access_log=False,
        log_config=None,
        lifespan="on",
        ws_ping_interval=None,
        timeout_graceful_shutdown=5,
        backlog=4096,
        ws_max_size=settings.body_bytes_max,
        server_header=False,
        proxy_headers=False,  # ``trusted_proxies`` says whose word is taken (see api.visitor)
        ws_per_message_deflate=False,  # messages are small, a compressor per socket is not
    )


def _allow_many_sockets() -> None:
    """As many descriptors as this process may have: each socket is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """``python -m orchestrator.gateway <fd> <index>``, started by the supervisor."""
    descriptor, index = int(sys.argv[1]), int(sys.argv[2])
    settings = Settings()
    file = settings.data / "logs" / f"gateway-{index}.log"
    logs.configure(settings.model_copy(update={"log_json": True}), file.open("a", buffering=1))
    listener = socket.socket(fileno=descriptor)
    import uvloop

    _allow_many_sockets()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(run(settings, listener))
        except Exception:
            log.exception("gateway.failed")
            os._exit(1)


if __name__ == "__main__":
    main()
