"""All configuration: one object, from ``DOORSTEP_`` variables. Printed at start, secrets masked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings", "configuration", "environment"]


class Settings(BaseSettings):
    """See each field; durations are seconds of service time unless named ``real``."""

    model_config = SettingsConfigDict(env_prefix="DOORSTEP_", env_file=".env", extra="ignore")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """0: any free one."""
    gateways: int = 1
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
    actors: int = 2
    """Ray actors (processes) that host the shards."""
    order_shards: int = 1
    inventory_shards: int = 1
    """Two shards in one process gain nothing (a process decides one batch at a time) and cost a
    batch each. Give as many as processes will ever share them, before the first start: the number
    is fixed with the first data."""
    campaign_shards: int = 1
    """A campaign's quota is its shard's alone: a hot one does not slow the stock down."""
    campaign_own_shards: Annotated[int, Field(ge=0, le=99)] = 1
    """Further shards that hold no campaign but those opened with ``own_shard``, on a node without
    stock where there is one. An idle one costs next to nothing. It may be raised later, never
    lowered."""
    store_shards: int = 1
    rider_shards: int = 1
    clock_speed: float = 1.0
    """Service seconds per real second, for simulation."""
    clock_start: float | None = None
    """Service time (epoch seconds) at start, for replay of recorded days; None: now."""
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
    sandbox_faults: float = 0.0
    """Share of webhooks that are repeated, late, out of order or lost (0 to 1)."""
    sandbox_capture: Literal["automatic", "manual"] = "automatic"
    """``manual``: the sandbox holds the customer's money until the order asks for it."""
    seed: int = 0
    pending_max: int = 4096
    """Commands a gateway may have in flight; beyond it answers 503 at once."""
    body_bytes_max: int = 262_144
    socket_queue_bytes_max: int = 1_048_576
    heartbeat_s: float = 10.0
    """Real seconds between socket heartbeats."""
    passivate_s: float = 600.0
    """Finished entities leave memory after so long."""
    cold_retention_s: float = 30 * 86_400.0
    """How long a finished entity can be brought back from the journal store: an order refunded,
    paid late, or recognised by its Idempotency-Key."""
    ledger_behind_s: float = 5.0
    """Real seconds the books may stay behind while the machine is full, so that orders come first;
    0: they never wait."""
    log_json: bool | None = None
    """None: JSON unless standard error is a terminal."""
    log_level: str = "info"


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
