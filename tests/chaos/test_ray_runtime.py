"""Real Ray, real Redis: nodes are killed with ``kill -9`` under traffic and nothing is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import ray

from actors.engine.codec import Registry
from actors.engine.ray_runtime import Cluster, ray_connector
from actors.engine.remote_runtime import RemoteRuntime
from adapters.redis.journal import RedisJournal
from adapters.redis.server import EmbeddedRedis
from domain.errors import Unavailable
from tests.actors.counter_kind import COUNTER, Add, AddVia, Both, Get, Pay
from tests.chaos.counter_node import PLAN, build_counter_node

HERE, THERE = "alice", "bob"
NAMESPACE = "doorstep-chaos"


class Chaos:
    """A cluster of two counter nodes and a gateway's runtime."""

    def __init__(self, server: EmbeddedRedis, cluster: Cluster, runtime: RemoteRuntime) -> None:
        self.server = server
        self.cluster = cluster
        self.runtime = runtime

    async def ask(self, entity: str, command: object, command_id: str = "") -> object:
        """As a client does: retried with the same id until the outcome is known."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await self.runtime.ask(
                        f"counter/{entity}",
                        command,  # type: ignore[arg-type]
                        command_id=command_id,
                        timeout_s=5.0,
                    )
                except Unavailable:
                    await asyncio.sleep(0.1)

    async def kill(self, node: str) -> None:
        """``kill -9`` of the node's present process; waits for one if the last was just killed."""
        async with asyncio.timeout(60):
            while node not in self.cluster.health:
                await asyncio.sleep(0.05)
        os.kill(self.cluster.health.pop(node)["pid"], signal.SIGKILL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chaos(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chaos]:
    folder: Path = tmp_path_factory.mktemp("chaos")
    server = EmbeddedRedis(folder)
    await server.start()
    cluster = Cluster("local", NAMESPACE)
    await asyncio.get_running_loop().run_in_executor(None, cluster.start)
    await cluster.create(build_counter_node, {"redis_url": server.url}, list(PLAN.hosts))
    journal = RedisJournal(server.url)
    runtime = RemoteRuntime(PLAN, Registry([COUNTER]), journal, ray_connector(NAMESPACE), "test")
    yield Chaos(server, cluster, runtime)
    await runtime.close()
    await cluster.stop()
    await journal.close()
    await server.stop()


@pytest.mark.asyncio(loop_scope="module")
async def test_commands_and_questions_cross_processes(chaos: Chaos) -> None:
    assert await chaos.ask(HERE, Add(3), "cross-1") == 3
    assert await chaos.ask(HERE, AddVia(THERE, 2), "cross-2") == Both(2, 5)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_actor_comes_back_with_every_acknowledged_command(chaos: Chaos) -> None:
    entities = [f"k{number}" for number in range(8)]
    for node in PLAN.hosts:

        async def count(entity: str, node: str = node) -> None:
            for number in range(20):
                await chaos.ask(entity, Add(1), f"{node}-{number}")

        counting = [asyncio.ensure_future(count(entity)) for entity in entities]
        await asyncio.sleep(0)
        await chaos.kill(node)
        await asyncio.gather(*counting)
    assert [await chaos.ask(entity, Get()) for entity in entities] == [40] * len(entities)


@pytest.mark.asyncio(loop_scope="module")
async def test_owed_effects_arrive_exactly_once_although_both_ends_are_killed(
    chaos: Chaos,
) -> None:
    paying = [
        asyncio.ensure_future(chaos.ask(f"payer{number}", Pay(f"payee{number}", 5), "pay"))
        for number in range(30)
    ]
    await asyncio.sleep(0)
    for node in PLAN.hosts:
        await chaos.kill(node)
    await asyncio.gather(*paying)
    async with asyncio.timeout(60):
        while any([await chaos.ask(f"payee{number}", Get()) != 5 for number in range(30)]):
            await asyncio.sleep(0.2)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_redis_loses_nothing_that_was_acknowledged(chaos: Chaos) -> None:
    assert await chaos.ask("durable", Add(9), "one") == 9
    process = chaos.server.process
    assert process is not None
    process.kill()
    await process.wait()
    pending = asyncio.ensure_future(chaos.ask("durable", Add(1), "two"))
    await chaos.server.start()
    assert await pending == 10
    assert await chaos.ask("durable", Add(9), "one") == 9


@pytest.mark.asyncio(loop_scope="module")
async def test_an_actor_that_ray_has_given_up_is_made_anew(chaos: Chaos) -> None:
    for node in PLAN.hosts:
        assert await chaos.ask(HERE, Add(1), f"before-{node}")
        before = await chaos.ask(HERE, Get())
        assert isinstance(before, int)
        ray.kill(ray.get_actor(node, namespace=NAMESPACE), no_restart=True)
        assert await chaos.ask(HERE, AddVia(THERE, 1), f"after-{node}")
        assert await chaos.ask(HERE, Get()) == before + 1
