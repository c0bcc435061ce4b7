"""A node of counters, built inside a Ray actor of the chaos tests."""

from collections.abc import Callable
from typing import Any

from actors.engine.clock import ServiceClock
from actors.engine.codec import Registry
from actors.engine.node import Node
from actors.engine.placement import Plan
from adapters.redis.journal import RedisJournal
from tests.actors.counter_kind import COUNTER

PLAN = Plan.spread({"counter": 4}, [["counter"], ["counter"]])


async def build_counter_node(
    plain: dict[str, Any], name: str, incarnation: str, connect: Callable[[str], Any]
) -> Node:
    return Node(
        name, PLAN, Registry([COUNTER]), RedisJournal(plain["redis_url"]), ServiceClock(),
        connect=connect, incarnation=incarnation,
    )  # fmt: skip
