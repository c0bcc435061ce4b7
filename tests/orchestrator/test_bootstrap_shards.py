"""Where shards live, and that their number is fixed with the first data."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis

from actors.engine.placement import id_on_own_shard
from actors.engine.ports import Shard
from actors.views import KINDS_FOLLOWED
from adapters.redis.server import EmbeddedRedis
from domain.errors import Refused
from orchestrator import bootstrap
from orchestrator.data_folder import resolve
from orchestrator.placement import plan_of
from orchestrator.settings import Settings


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis")
    await server.start()
    yield server
    await server.stop()


def settings(tmp_path: Path, server: EmbeddedRedis, **changed: int) -> Settings:
    given = Settings(data=tmp_path, redis_url=server.url, **changed)  # type: ignore[arg-type]
    return resolve(given)


def test_a_node_without_orders_follows_the_catalogue_alone(tmp_path: Path) -> None:
    given = resolve(Settings(data=tmp_path, actors=2))
    hosts = plan_of(given).hosts
    selling = {node for node in hosts if any(shard.kind == "order" for shard in hosts[node])}
    for node in hosts:
        views = bootstrap._views_of(given, node)
        assert views.kinds_followed == (KINDS_FOLLOWED if node in selling else ("catalogue",))
        assert views.pickup_secret == given.pickup_secret.get_secret_value().encode()
    assert 0 < len(selling) < len(hosts)


def test_settings_without_the_secret_of_pick_up_codes_make_no_node() -> None:
    with pytest.raises(ValueError, match="DOORSTEP_PICKUP_SECRET"):
        bootstrap.make_views(Settings(_env_file=None))


async def test_another_number_of_shards_is_refused_before_anything_is_served(
    tmp_path: Path, server: EmbeddedRedis
) -> None:
    parts = await bootstrap.open_parts(settings(tmp_path, server, order_shards=2))
    await parts.stop()
    with pytest.raises(Refused, match="order 2"):
        await bootstrap.open_parts(settings(tmp_path, server, order_shards=3))
    parts = await bootstrap.open_parts(settings(tmp_path, server, order_shards=2, actors=3))
    await parts.stop()


async def test_own_shards_may_become_more_but_never_fewer(
    tmp_path: Path, server: EmbeddedRedis
) -> None:
    for count in (1, 3, 3):
        parts = await bootstrap.open_parts(settings(tmp_path, server, campaign_own_shards=count))
        await parts.stop()
    with pytest.raises(Refused, match=r"campaign \(own\) 3"):
        await bootstrap.open_parts(settings(tmp_path, server, campaign_own_shards=2))
    with pytest.raises(Refused, match=r"numbers of shards \(campaign 1\)"):
        await bootstrap.open_parts(
            settings(tmp_path, server, campaign_own_shards=4, campaign_shards=2)
        )
    with pytest.raises(Refused, match=r"campaign \(own\) 3"):  # the refused start raised nothing
        await bootstrap.open_parts(settings(tmp_path, server, campaign_own_shards=2))


async def test_data_from_before_there_were_own_shards_goes_on_with_some(
    tmp_path: Path, server: EmbeddedRedis
) -> None:
    parts = await bootstrap.open_parts(settings(tmp_path, server, campaign_own_shards=0))
    await parts.stop()
    async with redis.Redis.from_url(server.url) as client:
        await client.hdel("doorstep:shards", "campaign (own)")  # type: ignore[misc]
    parts = await bootstrap.open_parts(settings(tmp_path, server, campaign_own_shards=2))
    await parts.stop()


@pytest.mark.parametrize("actors", [2, 3, 4, 6])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_a_campaign_with_a_shard_of_its_own_shares_no_process_with_the_stock(
    actors: int, shards: int
) -> None:
    plan = plan_of(
        Settings(actors=actors, inventory_shards=shards, order_shards=shards, campaign_own_shards=3)
    )
    stock = {plan.node_of[shard] for shard in plan.shards_of("inventory")}
    own = {plan.node_of[plan.shard_of("campaign", id_on_own_shard(n, "c"))] for n in (1, 2, 3)}
    assert not own & stock
    assert plan.node_of[Shard("campaign", 0)] in stock, "ordinary ones stay beside their orders"


def test_one_node_hosts_own_shards_too() -> None:
    plan = plan_of(Settings(actors=1, campaign_own_shards=2))
    assert set(plan.hosts["node-0"]) == set(plan.all_shards())
    assert len(plan.shards_of("campaign")) == 3
