"""The only wiring: which adapters serve which ports, for each process of the service.

Four kinds of process are built here, all from one :class:`Settings`, resolved (:func:`resolve`):

- a node (Ray actor): :func:`build_node`
- a gateway (HTTP and sockets): :func:`build_service`
- the projector of the ledger: :func:`project`
- the supervisor's own part (the embedded Redis): :func:`open_parts`

A node must be back quickly when it was killed, so what it does not need (SQL, the provider's
server) is imported by the functions that do.
"""

import asyncio
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis.asyncio as redis
from pydantic import SecretStr

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
from actors.engine.clock import ClockSettings, ServiceClock
from actors.engine.codec import Registry
from actors.engine.feed import JournalFeed, keep_views, prime_views
from actors.engine.node import Node
from actors.engine.placement import Plan
from actors.engine.ports import Effect, JournalUnavailable
from actors.engine.ray_runtime import connect_ray, ray_connector, ray_health
from actors.engine.remote_runtime import RemoteRuntime
from actors.views import KINDS_FOLLOWED, Views
from adapters.notifications import NotificationLog, notify_effect
from adapters.payments.port import provider_effect
from adapters.payments.sandbox_client import SandboxProvider
from adapters.redis.journal import RedisJournal
from adapters.redis.server import EmbeddedRedis, find_redis_server
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
from orchestrator.pace import Pace
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from adapters.payments.sandbox_server import Sandbox
    from orchestrator.ports import RateLimits, Service

__all__ = [
    "KINDS", "DataFolder", "Parts", "build_node", "build_service", "check_ledger", "configuration",
    "environment", "find_redis_server", "make_registry", "open_clock", "open_parts", "plan_of",
    "project", "redis_facts", "resolve", "sandbox_key", "survivors", "tied",
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
SECRETS = ("jwt", "webhook", "pickup", "queue", "redis")
SELLING = ("order", "inventory", "customer", "catalogue", "campaign")
"""Kinds that a placing touches: together on a node, its messages never leave the process."""
SERVING = ("store", "rider", "dispatch", "device", "queue", "risk")


def make_registry() -> Registry:
    """All kinds, and what may be owed to the outside."""
    return Registry(
        KINDS,
        CreatePayment | CapturePayment | RefundPayment | QueryPayment | Notify,
        ProviderAnswer | None,
    )


def plan_of(settings: Settings) -> Plan:
    """Shards per kind, and the nodes that host them: selling on all nodes but the last, which
    serves stores and riders. One node hosts everything. Campaigns' own shards are kept from the
    nodes of the stock, where there is another: a burst on one does not slow down all the rest."""
    shards = {
        "campaign": settings.campaign_shards,
        "catalogue": 1,
        "customer": settings.order_shards,
        "order": settings.order_shards,
        "inventory": settings.inventory_shards,
        "store": settings.store_shards,
        "rider": settings.rider_shards,
        "dispatch": settings.rider_shards,
        "device": 1,
        "queue": 1,
        "risk": 1,
    }
    groups = [SELLING] * (settings.actors - 1) + [SERVING]
    return Plan.spread(
        shards,
        groups if settings.actors > 1 else [SELLING + SERVING],
        own={"campaign": settings.campaign_own_shards},
        apart_from={"inventory"},
    )


# ------------------------------------------------------------------ configuration


class DataFolder:
    """The folder of everything embedded; one service at a time may hold it."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: Any = None

    def lock(self) -> None:
        """Raises ``Refused``: ``data-in-use`` when another service runs on this folder,
        ``data-unusable`` when nothing can be written there."""
        self._make()
        with self._usable():
            (self.path / "logs").mkdir(exist_ok=True)
            self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                "data-in-use",
                f"Another Doorstep runs on {self.path}. Stop it, or set DOORSTEP_DATA to another "
                "folder.",
            ) from None

    def unlock(self) -> None:
        """Let another service have the folder, once no child holds the lock any more."""
        if self._lock is not None:
            self._lock.close()

    @property
    def held(self) -> tuple[int, ...]:
        """The lock's descriptor, for children that write here: while one lives, the folder stays
        locked, though the supervisor be gone."""
        return () if self._lock is None else (self._lock.fileno(),)

    def _make(self) -> None:
        """Orders, addresses and money lie here: the owner's alone."""
        with self._usable():
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Refused(
                "data-unusable",
                f"The data folder {self.path} cannot be used: {error.strerror}. Set DOORSTEP_DATA "
                "(or --data) to a folder of yours.",
            ) from error

    @property
    def has_secrets(self) -> bool:
        """Whether a service was ever started on this folder. Makes nothing."""
        with self._usable():
            return (self.path / "secrets.json").exists()

    def secrets(self) -> dict[str, str]:
        """Secrets made at the first start, readable by the owner alone. Raises ``Refused`` with
        ``data-unusable``."""
        file = self.path / "secrets.json"
        with self._usable():
            kept = dict(json.loads(file.read_text())) if file.exists() else {}
        missing = [name for name in SECRETS if name not in kept]
        if missing:
            self._make()
            kept |= {name: secrets.token_urlsafe(32) for name in missing}
            # Whole or not at all: a half-written file would be a lost secret.
            new = file.with_suffix(".new")
            with self._usable():
                made = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
                with os.fdopen(made, "w") as out:
                    json.dump(kept, out)
                new.replace(file)
        return kept


def resolve(settings: Settings) -> Settings:
    """Settings with secrets and the ledger's URL filled in from the data folder."""
    folder = DataFolder(settings.data)
    kept = folder.secrets()
    filled: dict[str, Any] = {"data": folder.path}
    if not settings.jwt_secret.get_secret_value():
        filled["jwt_secret"] = SecretStr(kept["jwt"])
    if not settings.webhook_secret.get_secret_value():
        filled["webhook_secret"] = SecretStr(kept["webhook"])
    if not settings.pickup_secret.get_secret_value():
        filled["pickup_secret"] = SecretStr(kept["pickup"])
    if not settings.queue_secret.get_secret_value():
        filled["queue_secret"] = SecretStr(kept["queue"])
    if not settings.database_url:
        filled["database_url"] = f"sqlite+aiosqlite:///{folder.path / 'ledger.db'}"
    return settings.model_copy(update=filled)


def environment(settings: Settings) -> dict[str, str]:
    """The same settings as variables, for a child process."""
    variables = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            variables[f"DOORSTEP_{name.upper()}"] = str(value)
    return variables


def configuration(settings: Settings) -> dict[str, Any]:
    """The same settings as plain data, for a Ray actor."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name in type(settings).model_fields
        if (value := getattr(settings, name)) is not None
    }


async def open_clock(settings: Settings, url: str) -> ServiceClock:
    """The one clock of all processes. Kept beside the journal, so that service time never runs
    backwards over a restart, whatever speed it is given now."""
    client: Any = redis.Redis.from_url(url)
    try:
        kept = await client.hgetall("doorstep:clock")
        real = time.time()
        if kept:
            old = ServiceClock(
                ClockSettings(float(kept[b"speed"]), float(kept[b"real"]), float(kept[b"service"]))
            )
            if old.speed == settings.clock_speed:
                return old
            origin = old.now()
        else:
            origin = real if settings.clock_start is None else settings.clock_start
        made = ClockSettings(settings.clock_speed, real, origin)
        fields = {"speed": made.speed, "real": made.real_origin, "service": made.service_origin}
        await client.hset("doorstep:clock", mapping={key: repr(v) for key, v in fields.items()})
        return ServiceClock(made)
    finally:
        await client.aclose()


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
    clock = await open_clock(settings, settings.redis_url)
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


def make_views(settings: Settings, kinds_followed: tuple[str, ...] = KINDS_FOLLOWED) -> Views:
    """Empty read models with the secrets that rules need. Needs resolved settings."""
    secret = settings.pickup_secret.get_secret_value().encode()
    return Views(pickup_secret=secret, kinds_followed=kinds_followed)


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
    from adapters.ledger.engine import open_engine
    from orchestrator.nodes import NodeWatch
    from orchestrator.ports import Service

    connect_ray(settings.ray_address, settings.ray_namespace)
    registry, plan, journal = make_registry(), plan_of(settings), _journal(settings)
    clock = await open_clock(settings, settings.redis_url)
    runtime = RemoteRuntime(
        plan,
        registry,
        journal,
        ray_connector(settings.ray_namespace),
        f"gateway-{os.getpid()}-{secrets.token_hex(4)}",
        pending_max=settings.pending_max,
    )
    views = make_views(settings, (*KINDS_FOLLOWED, "device"))
    followed = [shard for kind in views.kinds_followed for shard in plan.shards_of(kind)]
    cursors = await prime_views(views, runtime.feed, followed)
    following = asyncio.get_running_loop().create_task(
        keep_views(views, runtime.feed, followed, cursors, plan.shard_of)
    )
    watch = NodeWatch(plan.hosts, ray_health(settings.ray_namespace))
    watching = asyncio.get_running_loop().create_task(watch.run())
    engine = open_engine(settings.database_url)
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
    from adapters.ledger.engine import open_engine
    from adapters.ledger.projector import Projector

    journal, engine = _journal(settings), open_engine(settings.database_url)
    feed = JournalFeed(journal, make_registry())
    pace = Pace(await open_clock(settings, settings.redis_url), settings.ledger_behind_s)
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
    from adapters.ledger.engine import open_engine
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
    await _same_shards(settings)
    engine = open_engine(settings.database_url)
    try:
        await migrate_engine(engine)
    except Exception as error:
        raise Refused(
            "ledger-away", f"The ledger's database: {error}. Check DOORSTEP_DATABASE_URL."
        ) from error
    parts = Parts(settings, server, journal, engine)
    if server is not None:
        loop = asyncio.get_running_loop()
        parts._tasks += [loop.create_task(server.watch()), loop.create_task(server.tidy())]
    return parts


async def _same_shards(settings: Settings) -> None:
    """An entity's shard follows from the number of shards: with another number it would be looked
    for where it is not. The first start writes the numbers down, later ones must agree.

    An id names its own shard by number: of these there may be more than before, never fewer."""
    plan = plan_of(settings)
    own = {"campaign (own)": plan.own.get("campaign", 0)}
    wanted = {**plan.shards, **own}
    client: Any = redis.Redis.from_url(settings.redis_url, decode_responses=True)
    try:
        for kind, count in wanted.items():
            await client.hsetnx("doorstep:shards", kind, count)
        found = {kind: int(n) for kind, n in (await client.hgetall("doorstep:shards")).items()}
        other = {
            kind: found[kind]
            for kind, count in wanted.items()
            if (found[kind] > count if kind in own else found[kind] != count)
        }
        if not other and any(found[kind] < count for kind, count in own.items()):
            await client.hset("doorstep:shards", mapping=own)
    finally:
        await client.aclose()
    if other:
        numbers = ", ".join(f"{kind} {count}" for kind, count in sorted(other.items()))
        raise Refused(
            "shards-changed",
            f"This journal was written with other numbers of shards ({numbers}). Set the "
            "DOORSTEP_…_SHARDS variables back, or begin with an empty data folder.",
        )


# ------------------------------------------------------------------ for the doctor


async def redis_facts(url: str) -> dict[str, str]:
    """How a given Redis keeps its data. Raises when it cannot be reached."""
    client: Any = redis.Redis.from_url(url, socket_connect_timeout=3.0, decode_responses=True)
    try:
        return dict(await client.config_get("append*"))
    finally:
        await client.aclose()


async def check_ledger(url: str) -> None:
    """Raises when the ledger's database cannot be reached."""
    from adapters.ledger.engine import open_engine

    engine = open_engine(url)
    try:
        async with engine.connect():
            pass
    finally:
        await engine.dispose()
