"""What a whole service knows of itself, kept beside its journal: its one clock, and with how many
shards the journal is written; and how the Redis keeps all that."""

import time
from collections.abc import Mapping
from typing import Any

import redis.asyncio as redis

from actors.engine.clock import ClockSettings, ServiceClock
from domain.errors import Refused

__all__ = ["agree_on_shards", "durability_of", "kept_clock"]

CLOCK_KEY = "doorstep:clock"
SHARDS_KEY = "doorstep:shards"
CONNECT_S = 3.0


async def kept_clock(url: str, *, speed: float, start: float | None) -> ServiceClock:
    """The one clock of all processes. Kept beside the journal, so that service time never runs
    backwards over a restart, whatever speed it is given now. ``start``: what the first one shows
    (epoch seconds); None: real time."""
    client: Any = redis.Redis.from_url(url)
    try:
        kept = await client.hgetall(CLOCK_KEY)
        real = time.time()
        if kept:
            old = ServiceClock(
                ClockSettings(float(kept[b"speed"]), float(kept[b"real"]), float(kept[b"service"]))
            )
            if old.speed == speed:
                return old
            origin = old.now()
        else:
            origin = real if start is None else start
        made = ClockSettings(speed, real, origin)
        fields = {"speed": made.speed, "real": made.real_origin, "service": made.service_origin}
        await client.hset(CLOCK_KEY, mapping={key: repr(v) for key, v in fields.items()})
        return ServiceClock(made)
    finally:
        await client.aclose()


async def agree_on_shards(url: str, shards: Mapping[str, int], own: Mapping[str, int]) -> None:
    """An entity's shard follows from the number of shards: with another number it would be looked
    for where it is not. The first start writes the numbers (by kind) down, later ones must agree.

    An id names its ``own`` shard by number: of these there may be more than before, never fewer.
    Raises ``Refused`` with ``shards-changed``."""
    wanted = {**shards, **own}
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    try:
        for kind, count in wanted.items():
            await client.hsetnx(SHARDS_KEY, kind, count)
        found = {kind: int(n) for kind, n in (await client.hgetall(SHARDS_KEY)).items()}
        other = {
            kind: found[kind]
            for kind, count in wanted.items()
            if (found[kind] > count if kind in own else found[kind] != count)
        }
        if not other and any(found[kind] < count for kind, count in own.items()):
            await client.hset(SHARDS_KEY, mapping=own)
    finally:
        await client.aclose()
    if other:
        numbers = ", ".join(f"{kind} {count}" for kind, count in sorted(other.items()))
        raise Refused(
            "shards-changed",
            f"This journal was written with other numbers of shards ({numbers}). Set the "
            "DOORSTEP_…_SHARDS variables back, or begin with an empty data folder.",
        )


async def durability_of(url: str) -> dict[str, str]:
    """How a given Redis keeps its data: its ``append…`` settings. Raises when it cannot be
    reached."""
    client: Any = redis.Redis.from_url(url, socket_connect_timeout=CONNECT_S, decode_responses=True)
    try:
        return dict(await client.config_get("append*"))
    finally:
        await client.aclose()
