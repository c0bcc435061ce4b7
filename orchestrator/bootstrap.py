"""The only wiring: which adapters serve which ports, for each process of the service.

Four kinds of process are built here, all from one :class:`Settings`, resolved
(:func:`orchestrator.data_folder.resolve`):

- a node (Ray actor): :func:`build_node`
- a gateway (HTTP and sockets): :func:`build_service`
- the projector of the ledger: :func:`project`
- the supervisor's own part (the embedded Redis): :func:`open_parts`

A node must be back quickly when it was killed, so what it does not need (SQL, the provider's
server) is imported by the functions that do.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from actors import (
    campaign,
    catalogue,
    customer,
    device,
    dispatch,
    inventory,
    order,
    rider,
    risk,
    store,
    waiting,
)
from actors.engine.clock import ServiceClock
from actors.engine.codec import Registry
from actors.engine.feed import JournalFeed, keep_views, prime_views
from actors.engine.node import Node
from actors.engine.ports import Effect, JournalUnavailable
from actors.engine.ray_runtime import connect_ray, ray_connector, ray_health
from actors.engine.remote_runtime import RemoteRuntime
from actors.views import KINDS_FOLLOWED, Views
from adapters.notifications import NotificationLog, notify_effect
from adapters.payments.port import provider_effect
from adapters.payments.sandbox_client import SandboxProvider
from adapters.redis.journal import RedisJournal
from adapters.redis.server import EmbeddedRedis, find_redis_server
from adapters.redis.service_facts import agree_on_shards, durability_of, kept_clock
from adapters.survivors import survivors
from adapters.tied import tied
from adapters.travel import StraightLine
from domain.errors import Refused
from domain.notice import Notify
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)
from orchestrator.data_folder import DataFolder
from orchestrator.pace import Pace
from orchestrator.placement import plan_of
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from adapters.payments.sandbox_server import Sandbox
    from orchestrator.ports import RateLimits, Service

__all__ = [
    "KINDS", "Parts", "build_node", "build_service", "durability_of", "find_redis_server",
    "make_registry", "make_views", "open_clock", "open_ledger", "open_parts", "project",
    "sandbox_key", "survivors", "tied",
]  # fmt: skip

KINDS = (
    campaign.KIND,
    catalogue.KIND,
    customer.KIND,
    device.KIND,
    dispatch.make_kind(StraightLine()),
    inventory.KIND,
    order.KIND,
    rider.KIND,
    risk.KIND,
    store.KIND,
    waiting.KIND,
)


def make_registry() -> Registry:
    """All kinds, and what may be owed to the outside."""
    return Registry(
        KINDS,
        CreatePayment | CapturePayment | RefundPayment | QueryPayment | Notify,
        ProviderAnswer | None,
    )


async def open_clock(settings: Settings) -> ServiceClock:
    """The one clock of all processes. Needs ``redis_url``."""
    return await kept_clock(
        settings.redis_url, speed=settings.clock_speed, start=settings.clock_start
    )


def open_ledger(settings: Settings) -> "AsyncEngine":
    """The ledger's database, which is connected to when it is used. Needs resolved settings."""
    from adapters.ledger.engine import open_engine

    return open_engine(settings.database_url)


# ------------------------------------------------------------------ a node


async def build_node(
    plain: dict[str, Any], name: str, incarnation: str, connect: Callable[[str], Any]
) -> Node:
    """One node of the plan, not yet started. Runs inside its Ray actor."""
    settings = Settings(**plain)
    from orchestrator.logs import configure  # the actor's process starts here

    configure(
        settings.model_copy(update={"log_json": True}),
        (settings.data / "logs" / f"{name}.log").open("a", buffering=1),
    )
    clock = await open_clock(settings)
    return Node(
        name,
        plan_of(settings),
        make_registry(),
        _journal(settings),
        clock,
        views=_views_of(settings, name),
        effects=make_effects(settings, clock),
        connect=connect,
        incarnation=incarnation,
        passivate_s=settings.passivate_s,
        on_fenced=lambda _shard: os._exit(3),  # the successor must be the only one
    )


def _views_of(settings: Settings, node: str) -> Views:
    """A node without orders routes nothing: of others' facts it needs the stores' profiles alone,
    and does not spend its time on reading every lock."""
    if any(shard.kind == "order" for shard in plan_of(settings).hosts[node]):
        return make_views(settings)
    return make_views(settings, ("catalogue",))


def make_views(
    settings: Settings,
    kinds_followed: tuple[str, ...] = KINDS_FOLLOWED,
    *,
    lists_groups: bool = False,
) -> Views:
    """Empty read models with the secrets that rules need. Needs resolved settings."""
    secret = settings.pickup_secret.get_secret_value().encode()
    return Views(pickup_secret=secret, kinds_followed=kinds_followed, lists_groups=lists_groups)


def make_effects(settings: Settings, clock: ServiceClock) -> Mapping[str, Effect]:
    """The outside world: payment providers and notifications."""
    providers = {"sandbox": _sandbox_provider(settings, clock)} if settings.sandbox else {}
    return {
        "provider": provider_effect(providers),
        "notify": notify_effect(
            {"log": NotificationLog(settings.data / "notifications.jsonl", clock)}
        ),
    }


def _sandbox_provider(settings: Settings, clock: ServiceClock) -> SandboxProvider:
    return SandboxProvider(
        f"http://{settings.host}:{settings.port}/sandbox",
        sandbox_key(settings),
        settings.webhook_secret.get_secret_value(),
        clock_speed=clock.speed,
        capture=settings.sandbox_capture,
    )


def sandbox_key(settings: Settings) -> str:
    """The API key of our account at the sandbox provider."""
    secret = settings.webhook_secret.get_secret_value().encode()
    return hmac.new(secret, b"sandbox api key", hashlib.sha256).hexdigest()


def _journal(settings: Settings) -> RedisJournal:
    return RedisJournal(settings.redis_url, cold_retention_s=settings.cold_retention_s)


# ------------------------------------------------------------------ a gateway


async def build_service(settings: Settings) -> tuple["Service", Callable[[], Any]]:
    """A gateway's service and how to close it. Needs resolved settings with ``redis_url`` and
    ``ray_address``."""
    from adapters.ledger.books import SqlBooks
    from orchestrator.nodes import NodeWatch
    from orchestrator.ports import Service

    connect_ray(settings.ray_address, settings.ray_namespace)
    registry, plan, journal = make_registry(), plan_of(settings), _journal(settings)
    clock = await open_clock(settings)
    runtime = RemoteRuntime(
        plan,
        registry,
        journal,
        ray_connector(settings.ray_namespace),
        f"gateway-{os.getpid()}-{secrets.token_hex(4)}",
        pending_max=settings.pending_max,
    )
    views = make_views(settings, (*KINDS_FOLLOWED, "device"), lists_groups=True)
    followed = [shard for kind in views.kinds_followed for shard in plan.shards_of(kind)]
    cursors = await prime_views(views, runtime.feed, followed)
    following = asyncio.get_running_loop().create_task(
        keep_views(views, runtime.feed, followed, cursors, plan.shard_of)
    )
    watch = NodeWatch(plan.hosts, ray_health(settings.ray_namespace))
    watching = asyncio.get_running_loop().create_task(watch.run())
    engine = open_ledger(settings)
    sandbox = _sandbox(settings, clock) if settings.sandbox else None
    if sandbox is not None:
        await sandbox.start()
    providers = {"sandbox": _sandbox_provider(settings, clock)} if settings.sandbox else {}
    limits = _rate_limits(settings)
    service = Service(
        settings=settings,
        runtime=runtime,
        clock=clock,
        views=views,
        books=SqlBooks(engine, journal, plan.all_shards()),
        providers=dict(providers),
        sandbox=sandbox,
        checks={"journal": journal.ping},
        limits=limits,
    )

    async def close() -> None:
        following.cancel()
        watching.cancel()
        if sandbox is not None:
            await sandbox.stop()
        for provider in providers.values():
            await provider.close()
        await runtime.close()
        if limits is not None:
            await limits.close()
        await engine.dispose()
        await journal.close()

    return service, close


def _rate_limits(settings: Settings) -> "RateLimits | None":
    """Raises ``Refused`` with ``wrong-limit`` for one that cannot be read."""
    from adapters.rate_limits import MemoryRateLimits, SharedRateLimits, parse_limit

    rules: dict[tuple[str, str], Any] = {}
    for name, routes, counted in (
        ("limit_account", ("place", "queue"), "account"),
        ("limit_device", ("place", "queue"), "device"),
        ("limit_address", ("place", "queue"), "address"),
        ("limit_pairing", ("pair",), "address"),
    ):
        try:
            limit = parse_limit(getattr(settings, name))
        except ValueError as error:
            raise Refused("wrong-limit", f"DOORSTEP_{name.upper()}: {error}.") from error
        if limit is not None:
            rules |= {(route, counted): limit for route in routes}
    if not rules:
        return None
    if not settings.limits_url:
        return MemoryRateLimits(rules)
    own = settings.limits_url == "own"
    return SharedRateLimits(rules, settings.redis_url if own else settings.limits_url)


def _sandbox(settings: Settings, clock: ServiceClock) -> "Sandbox":
    from adapters.payments.sandbox_server import create_sandbox

    return create_sandbox(
        settings.data / "sandbox.db",
        api_key=sandbox_key(settings),
        webhook_url=f"http://{settings.host}:{settings.port}/v1/webhooks/sandbox",
        webhook_secret=settings.webhook_secret.get_secret_value(),
        clock=clock,
        faults=settings.sandbox_faults,
        seed=settings.seed,
    )


# ------------------------------------------------------------------ the projector


async def project(settings: Settings) -> None:
    """Project the feed into SQL for ever; SQL or Redis away is waited out. Needs resolved settings
    with ``redis_url``."""
    from adapters.ledger.projector import Projector

    journal, engine = _journal(settings), open_ledger(settings)
    feed = JournalFeed(journal, make_registry())
    pace = Pace(await open_clock(settings), settings.ledger_behind_s)
    try:
        await Projector(feed, journal, engine, plan_of(settings).all_shards(), turn=pace.turn).run()
    finally:
        await engine.dispose()
        await journal.close()


# ------------------------------------------------------------------ the supervisor's parts


class Parts:
    """What the supervisor itself runs: Redis if embedded, on a migrated ledger."""

    def __init__(
        self,
        settings: Settings,
        server: EmbeddedRedis | None,
        journal: RedisJournal,
        engine: "AsyncEngine",
    ) -> None:
        self.settings = settings
        self.server = server
        self.journal = journal
        self._engine = engine
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self) -> None:
        """Let an own Redis be watched and tidied up until :meth:`stop`."""
        if self.server is not None:
            loop = asyncio.get_running_loop()
            self._tasks += [
                loop.create_task(self.server.watch()),
                loop.create_task(self.server.tidy()),
            ]

    async def stop(self) -> None:
        """Stop Redis."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engine.dispose()
        await self.journal.close()
        if self.server is not None:
            await self.server.stop()


async def open_parts(settings: Settings, held: Collection[int] = ()) -> Parts:
    """Redis (own or given) and the migrated ledger; settings then carry the Redis URL. An own Redis
    keeps the descriptors ``held`` open.

    Raises ``Refused`` with ``redis-away`` or ``ledger-away`` when a given server does not answer,
    ``shards-changed`` when the journal was written with other numbers of shards.
    """
    from adapters.ledger.migrations import migrate_engine

    server = None
    if not settings.redis_url:
        folder = DataFolder(settings.data)
        server = EmbeddedRedis(folder.path / "redis", password=folder.secrets()["redis"], held=held)
        await server.start()
        settings = settings.model_copy(update={"redis_url": server.url})
    journal = _journal(settings)
    try:
        await journal.ping()
    except JournalUnavailable as error:
        raise Refused("redis-away", f"{error}. Check DOORSTEP_REDIS_URL.") from error
    plan = plan_of(settings)
    own = {"campaign (own)": plan.own.get("campaign", 0)}
    await agree_on_shards(settings.redis_url, plan.shards, own)
    engine = open_ledger(settings)
    try:
        await migrate_engine(engine)
    except Exception as error:
        raise Refused(
            "ledger-away", f"The ledger's database: {error}. Check DOORSTEP_DATABASE_URL."
        ) from error
    parts = Parts(settings, server, journal, engine)
    parts.watch()
    return parts
