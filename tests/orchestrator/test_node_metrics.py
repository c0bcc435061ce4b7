"""What a gateway shows of the nodes behind it."""

from typing import Any

from actors.engine.local_runtime import LocalRuntime
from actors.engine.mailbox import PeerLost
from orchestrator import metrics
from orchestrator.nodes import FACTS, NodeWatch
from tests.fakes.engine_world import engine_world


def shown(name: str, **labels: str) -> float | None:
    """The value of one series at ``/metrics``, None when it is not there."""
    for line in metrics.rendered().decode().splitlines():
        series, _, value = line.rpartition(" ")
        if series.startswith(f"{name}{{") and all(
            f'{key}="{label}"' in series for key, label in labels.items()
        ):
            return float(value)
    return None


def health_of(runtime: LocalRuntime, down: set[str]) -> Any:
    async def ask(name: str) -> dict[str, Any]:
        if name in down:
            raise PeerLost(f"{name} is down")
        return {"pid": 4711, "shards": runtime.nodes[name].facts()}

    return ask


async def test_the_facts_of_every_shard_are_shown_by_node() -> None:
    async with engine_world() as world:
        runtime: LocalRuntime = world.runtime
        put = await world.call("PUT", "/v1/channels/app", "ops", "ana", {})
        assert put.status_code < 300
        await NodeWatch(runtime.nodes, health_of(runtime, set())).look()
        for name, node in runtime.nodes.items():
            assert shown("doorstep_node_up", node=name) == 1
            assert shown("doorstep_node_pid", node=name) == 4711
            for shard, facts in node.facts().items():
                for fact in FACTS:
                    seen = shown(f"doorstep_shard_{fact}", node=name, shard=shard)
                    assert seen == facts[fact], (shard, fact)
        assert (shown("doorstep_shard_position", shard="catalogue.0") or 0) > 0


async def test_a_node_that_is_down_is_shown_so_and_its_shards_are_not() -> None:
    async with engine_world() as world:
        down: set[str] = set()
        watch = NodeWatch(world.runtime.nodes, health_of(world.runtime, down))
        await watch.look()
        name = next(iter(world.runtime.nodes))
        assert shown("doorstep_shard_backlog", node=name) is not None
        down.add(name)
        await watch.look()
        assert shown("doorstep_node_up", node=name) == 0
        assert shown("doorstep_shard_backlog", node=name) is None
        down.clear()
        await watch.look()
        assert shown("doorstep_node_up", node=name) == 1
        assert shown("doorstep_shard_backlog", node=name) is not None


def test_answers_are_counted_by_their_seconds_each_bucket_with_those_below_it() -> None:
    of = {"method": "GET", "route": "/measured", "status": "200"}
    for seconds in (0.0004, 0.0005, 0.3, 11.0):
        metrics.http_seconds.observe("GET", "/measured", 200, seconds)
    for bound, count in (("0.0005", 2), ("0.25", 2), ("0.5", 3), ("10.0", 3), ("+Inf", 4)):
        assert shown("doorstep_http_seconds_bucket", **of, le=bound) == count
    assert shown("doorstep_http_seconds_count", **of) == 4
    assert shown("doorstep_http_seconds_sum", **of) == 0.0004 + 0.0005 + 0.3 + 11.0
