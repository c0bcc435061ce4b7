"""Nodes as Ray actors. The only module that knows Ray.

A Ray actor is a process of its own; it hosts all shards that the plan gives to its node. Ray starts
it again when it dies (``max_restarts=-1``); the successor claims its shards (fencing whatever may
be left of the old one), recovers them and serves. Ray itself never retries a call: mailboxes do,
because commands carry ids.
"""

import asyncio
import importlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psutil
import structlog

# A Ray of our own listens on loopback only. Ray has one switch for that (it exists for desktop
# systems) and reads it when it is imported; a given cluster decides for itself.
if os.environ.get("DOORSTEP_RAY_ADDRESS", "").split(":")[0] in ("", "local", "127.0.0.1"):
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray
from ray.exceptions import ActorDiedError, RayError

from actors.engine.collector import calm_collector
from actors.engine.link import Address, Link, LinkServer
from actors.engine.mailbox import EXCHANGE_S, PeerLost
from actors.engine.node import Node
from domain.errors import Refused

__all__ = ["Cluster", "check_ray", "connect_ray", "ray_connector", "ray_health"]

log = structlog.get_logger(__name__)

BuildNode = Callable[[dict[str, Any], str, str, Callable[[str], Any]], Awaitable[Node]]
"""(configuration, node name, incarnation, connect) -> a node that is not yet started."""

CONCURRENCY = 1_000
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""The least Ray takes; batches travel inline and hardly use it."""
WATCH_S = 0.5
HEALTH_S = 10.0
HUNG_CHECKS = 6
"""A node that lives but has not answered for a minute is killed, so that Ray starts it anew. (A
recovery of very many orders may take some of that.)"""
READY_S = 60.0
REACH_S = 3.0


class _NodeActor:
    """What runs inside a Ray actor: one node, started by the first call."""

    def __init__(
        self, build: BuildNode, configuration: dict[str, Any], name: str, namespace: str
    ) -> None:
        self._build = build
        self._configuration = configuration
        self._name = name
        self._namespace = namespace
        self._node: Node | None = None
        self._address: Address | None = None
        self._starting: asyncio.Task[None] | None = None

    async def address(self) -> Address:
        """Starts the node if nobody did; where its link listens."""
        await self._ensure_started()
        assert self._address is not None
        return self._address

    async def health(self) -> dict[str, Any]:
        """Starts the node if nobody did; then facts for the supervisor and the metrics."""
        await self._ensure_started()
        assert self._node is not None
        return {"pid": os.getpid(), "node": self._name, "shards": self._node.facts()}

    async def _ensure_started(self) -> None:
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        connect = ray_connector(self._namespace)
        try:
            node = await self._build(self._configuration, self._name, str(os.getpid()), connect)
            await node.start()
            host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
            self._address = await LinkServer(node.exchange).start(host)
        except Exception as error:
            # the process is useless: die, so that a fresh one tries again
            log.error("node.failed", node=self._name, error=repr(error))
            await asyncio.sleep(1.0)
            os._exit(1)
        calm_collector()
        self._node = node


def ray_connector(namespace: str) -> Callable[[str], Callable[[bytes], Awaitable[bytes]]]:
    """How mailboxes reach nodes: Ray knows the actor of a name and the actor its address; the
    exchanges go over a link. All of it is asked again after each death."""

    def connect(name: str) -> Callable[[bytes], Awaitable[bytes]]:
        link: Link | None = None
        opening: asyncio.Task[Link] | None = None

        def call(payload: bytes) -> Awaitable[bytes]:
            if link is not None and not link.lost:
                return link.call(payload)
            return opened(payload)

        async def opened(payload: bytes) -> bytes:
            nonlocal link, opening
            if opening is None:
                opening = asyncio.get_running_loop().create_task(_open_link(name, namespace))
            mine = opening
            try:
                link = await asyncio.shield(mine)
            finally:
                if opening is mine and mine.done():
                    opening = None
            return await link.call(payload)

        return call

    return connect


async def _open_link(name: str, namespace: str) -> Link:
    try:
        handle: Any = await asyncio.get_running_loop().run_in_executor(
            None, lambda: ray.get_actor(name, namespace=namespace)
        )
        async with asyncio.timeout(EXCHANGE_S):
            address = await handle.address.remote()
        return await Link.open(address)
    except TimeoutError as error:
        raise PeerLost(f"{name} does not say where it listens") from error
    except (RayError, ValueError) as error:
        raise PeerLost(str(error).splitlines()[0]) from error


def ray_health(namespace: str) -> Callable[[str], Awaitable[dict[str, Any]]]:
    """How to ask a node how it is (see :meth:`_NodeActor.health`), by name. Raises
    :class:`PeerLost` while it is down."""

    async def ask(name: str) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            handle: Any = await loop.run_in_executor(
                None, lambda: ray.get_actor(name, namespace=namespace)
            )
            return await handle.health.remote()  # type: ignore[no-any-return]
        except (RayError, ValueError) as error:
            raise PeerLost(str(error).splitlines()[0]) from error

    return ask


def connect_ray(address: str, namespace: str) -> None:
    """Join a gateway process to the cluster. Raises ``Refused`` with ``ray-away``."""
    _quiet()
    _join(
        address, namespace=namespace, log_to_driver=False, logging_level=logging.ERROR,
        configure_logging=False,
    )  # fmt: skip


def check_ray(address: str) -> None:
    """Raises ``Refused`` with ``ray-away`` when nothing listens at a cluster's ``host:port``. A Ray
    of our own, and one that Ray itself looks for (``auto``), are not asked."""
    if address in ("", "local", "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        if not host:
            raise ValueError("it is not host:port")
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except (OSError, OverflowError, ValueError) as error:
        raise _away(address, error) from error


def _join(address: str, **options: Any) -> None:
    check_ray(address)  # Ray alone would try for two minutes
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError) as error:
        raise _away(address, error) from error


def _away(address: str, error: Exception) -> Refused:
    why = str(error).strip().partition("\n")[0].rstrip(".")
    return Refused(
        "ray-away",
        f"No Ray answers at {address}: {why}. Start it, or check DOORSTEP_RAY_ADDRESS (empty: the "
        "service brings its own).",
    )


def _children() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True)]


def _quiet() -> None:
    """Ray's own notices go to our log: a driver prints them on its terminal otherwise, across
    whatever the terminal shows, and there is no public setting for it."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    worker = importlib.import_module("ray._private.worker")
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, **_: log.warning(  # type: ignore[attr-defined]
            "ray.notice", lines=data.get("lines")
        )


class Cluster:
    """The supervisor's side: starts Ray (or joins one), creates the node actors, watches them."""

    def __init__(self, address: str, namespace: str) -> None:
        self.namespace = namespace
        self.health: dict[str, dict[str, Any]] = {}
        self._address = address
        self._handles: dict[str, Any] = {}
        self._make: Callable[[str], Any]
        self._watch: asyncio.Task[None] | None = None
        self._strangers: set[int] = set()

    def process_ids(self) -> list[int]:
        """Processes of a Ray that is ours, its agents and actors included; [] of one we joined.
        Call it before others start processes."""
        if self._address and self._address != "local":
            return []
        return [process_id for process_id in _children() if process_id not in self._strangers]

    def start(self) -> str:
        """Start or join; returns the address at which gateways join. Raises ``Refused`` with
        ``ray-away`` for a given address at which no Ray answers."""
        _quiet()
        self._strangers = set(_children())
        # Workers in reserve cost memory each; actors are created once and need none.
        os.environ.setdefault("RAY_enable_worker_prestart", "0")
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray runs workers at nice 15; our actors are the service, not batch work beside it.
        os.environ.setdefault("RAY_worker_niceness", "0")
        options: dict[str, Any] = {
            "namespace": self.namespace,
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "configure_logging": False,
        }
        if self._address and self._address != "local":
            _join(self._address, **options)
        else:
            ray.init(
                address="local", num_cpus=1, include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES, **options,
            )  # fmt: skip
        return str(ray.get_runtime_context().gcs_address)

    async def create(
        self, build: BuildNode, configuration: dict[str, Any], names: Sequence[str]
    ) -> None:
        """Create the node actors and wait until all have recovered their shards."""
        actor = ray.remote(_NodeActor)

        def make(name: str) -> Any:
            return actor.options(
                name=name, namespace=self.namespace, num_cpus=0, max_restarts=-1,
                max_task_retries=0, max_concurrency=CONCURRENCY, get_if_exists=True,
            ).remote(build, configuration, name, self.namespace)  # fmt: skip

        self._make = make
        for name in names:
            self._handles[name] = make(name)
        await asyncio.gather(*(self._first_check(name) for name in names))
        self._watch = asyncio.get_running_loop().create_task(self._watch_all())

    async def _first_check(self, name: str) -> None:
        async with asyncio.timeout(READY_S):
            while name not in self.health:
                try:
                    await self._check(name, READY_S)
                except RayError as error:
                    log.warning("node.lost", node=name, error=type(error).__name__)
                    await asyncio.sleep(WATCH_S)

    async def _check(self, name: str, timeout_s: float) -> None:
        try:
            health = await asyncio.wait_for(self._handles[name].health.remote(), timeout_s)
        except ActorDiedError:
            # Ray restarts what was killed, but not what could not even be created, or was ended
            self._handles[name] = self._make(name)
            raise
        self.health[name] = health

    async def _watch_all(self) -> None:
        """Ask every node how it is; a restarted one is started by this."""
        await asyncio.gather(*(self._watch_one(name) for name in self._handles))

    async def _watch_one(self, name: str) -> None:
        hung = 0
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self._check(name, HEALTH_S)
                hung = 0
            except (RayError, ValueError, TimeoutError) as error:  # ValueError: just made anew
                hung = hung + 1 if isinstance(error, TimeoutError) else 0
                if self.health.pop(name, None) is not None:
                    log.warning("node.lost", node=name, error=type(error).__name__)
            if hung >= HUNG_CHECKS:
                log.error("node.hung", node=name)
                hung = 0
                ray.kill(self._handles[name], no_restart=False)

    async def stop(self) -> None:
        """End the actors and, if it is ours, Ray."""
        if self._watch is not None:
            self._watch.cancel()
        for handle in self._handles.values():
            ray.kill(handle, no_restart=True)
        ray.shutdown()
