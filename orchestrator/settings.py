"""All configuration: one object, from ``DOORSTEP_`` variables. Printed at start, secrets masked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.bounds import DURATION_S_MAX

__all__ = ["SPEED_MAX", "SPEED_MIN", "Settings", "configuration", "environment"]

SPEED_MIN, SPEED_MAX = 0.01, 10_000.0
"""Service seconds per real second. Slower, no timeout would ever come; faster, no answer would come
before its own."""

Processes = Annotated[int, Field(ge=1, le=256)]
"""More than a machine has a use for is a slip of the finger."""
Shards = Annotated[int, Field(ge=1, le=1_024)]
Bytes = Annotated[int, Field(ge=1_000, le=1_000_000_000)]
Seconds = Annotated[float, Field(ge=0, le=DURATION_S_MAX)]


class Settings(BaseSettings):
    """See each field; durations are seconds of service time unless named ``real``. What no
    service can run with is a ``ValidationError``, before anything is started."""

    model_config = SettingsConfigDict(env_prefix="DOORSTEP_", env_file=".env", extra="ignore")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """0: any free one."""
    gateways: Processes = 1
    """Gateway processes behind the one port."""
    data: Path = Path("data")
    """Folder of the embedded Redis, SQLite, secrets and logs."""
    redis_url: str = ""
    """Empty: the service starts its own Redis in ``data``."""
    database_url: str = ""
    """Empty: SQLite in ``data``. ``postgresql+asyncpg://…`` for PostgreSQL."""
    ray_address: str = ""
    """Empty: a local Ray."""
    ray_namespace: str = "doorstep"
    actors: Processes = 2
    """Ray actors (processes) that host the shards."""
    order_shards: Shards = 1
    inventory_shards: Shards = 1
    """Two shards in one process gain nothing (a process decides one batch at a time) and cost a
    batch each. Give as many as processes will ever share them, before the first start: the number
    is fixed with the first data."""
    campaign_shards: Shards = 1
    """A campaign's quota is its shard's alone: a hot one does not slow the stock down."""
    campaign_own_shards: Annotated[int, Field(ge=0, le=99)] = 1
    """Further shards that hold no campaign but those opened with ``own_shard``, on a node without
    stock where there is one. An idle one costs next to nothing. It may be raised later, never
    lowered."""
    store_shards: Shards = 1
    rider_shards: Shards = 1
    clock_speed: Annotated[float, Field(ge=SPEED_MIN, le=SPEED_MAX)] = 1.0
    """Service seconds per real second, for simulation."""
    clock_start: Annotated[float, Field(ge=946_684_800, lt=7_258_118_400)] | None = None
    """Service time (epoch seconds) at start, for replay of recorded days; None: now.
    As every time: from 2000 to before 2200."""
    jwt_secret: SecretStr = SecretStr("")
    """Empty: made at first start and kept in ``data``."""
    webhook_secret: SecretStr = SecretStr("")
    """Shared with the sandbox provider. Empty: made at first start and kept in ``data``."""
    pickup_secret: SecretStr = SecretStr("")
    """Keys the one-time codes of self-pickup. Empty: made at first start and kept in ``data``."""
    queue_secret: SecretStr = SecretStr("")
    """Signs queue tokens, clearances and one-time codes of challenges. Empty: made at first start
    and kept in ``data``."""
    limit_account: str = "60/minute"
    """Most placings, and as often most queueings, of one customer; ``""``: no limit. As the
    ``limits`` library writes it: ``10 per 30 seconds``. Limits count real time."""
    limit_device: str = "120/minute"
    """The same of one device (header ``Device-Id``)."""
    limit_address: str = ""
    """The same of one address, of IPv6 one /64. Behind a channel's server all its customers share
    one: set it with ``trusted_proxies``."""
    limit_pairing: str = "120/minute"
    """Most pairings of one address."""
    limits_url: str = ""
    """Redis in which all gateways count together; ``own`` is the service's. Empty: each gateway
    counts for itself."""
    trusted_proxies: str = ""
    """Addresses or networks, by commas, whose ``X-Forwarded-For`` is believed."""
    risk: bool = True
    """Decide on risk before anything is locked."""
    risk_rules: str = ""
    """JSON: rule name -> threshold, or null to switch it off; see ``domain.risk.table``."""
    sandbox: bool = True
    """Mount the sandbox payment provider."""
    sandbox_faults: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of webhooks that are repeated, late, out of order or lost (0 to 1)."""
    sandbox_capture: Literal["automatic", "manual"] = "automatic"
    """``manual``: the sandbox holds the customer's money until the order asks for it."""
    seed: int = 0
    pending_max: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Commands a gateway may have in flight; beyond it answers 503 at once."""
    body_bytes_max: Bytes = 262_144
    socket_queue_bytes_max: Bytes = 1_048_576
    heartbeat_s: Annotated[float, Field(ge=0.1, le=3_600)] = 10.0
    """Real seconds between socket heartbeats."""
    passivate_s: Seconds = 600.0
    """Finished entities leave memory after so long."""
    cold_retention_s: Annotated[float, Field(ge=1, le=DURATION_S_MAX)] = 30 * 86_400.0
    """How long a finished entity can be brought back from the journal store: an order refunded,
    paid late, or recognised by its Idempotency-Key."""
    ledger_behind_s: Seconds = 5.0
    """Real seconds the books may stay behind while the machine is full, so that orders come first;
    0: they never wait."""
    log_json: bool | None = None
    """None: JSON unless standard error is a terminal."""
    log_level: Annotated[str, Field(pattern="(?i)^(debug|info|warning|error|critical)$")] = "info"


def environment(settings: Settings) -> dict[str, str]:
    """The same settings as variables, for a child process."""
    return {f"DOORSTEP_{name.upper()}": str(value) for name, value in _plain(settings)}


def configuration(settings: Settings) -> dict[str, Any]:
    """The same settings as plain data, for a Ray actor."""
    return dict(_plain(settings))


def _plain(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Each field that is set, secrets in the clear."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is not None:
            yield name, value.get_secret_value() if isinstance(value, SecretStr) else value
