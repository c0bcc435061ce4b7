"""An inbox without a socket, over the whole engine: read, store, acknowledge."""

from typing import Any

import httpx
import pytest

from domain import rider, store
from domain.errors import Refused
from tests.fakes.engine_world import EngineWorld, engine_world


async def acknowledge(
    world: EngineWorld,
    offset: int,
    device: str = "tablet-1",
    owner: str = "stores/s-1",
    **more: str,
) -> httpx.Response:
    role = "rider" if owner.startswith("riders") else "store"
    body = {"device_id": device, "offset": offset}
    path = f"/v1/{owner}/inbox/acknowledgements"
    return await world.call("POST", path, role, owner.partition("/")[2], body, "k")


async def noted(world: EngineWorld, times: int) -> None:
    """So many messages for the tablets of s-1."""
    for number in range(times):
        pause = store.PauseItem("MILK", number % 2 == 0)
        await world.runtime.ask("store/s-1", pause, command_id=f"pause-{number}")


def devices(world: EngineWorld) -> Any:
    (node,) = world.runtime.nodes.values()
    shell = node.shells[world.runtime.plan.shard_of("store", "s-1")]
    return dict(shell.host.states())["s-1"].inbox.devices


async def test_the_first_acknowledgement_registers_the_device_and_the_next_go_on() -> None:
    async with engine_world() as world:
        await noted(world, 3)
        assert (await acknowledge(world, 1)).json() == {"done": True}
        assert devices(world)["tablet-1"].acked == 1
        assert (await acknowledge(world, 3)).status_code == 200
        assert devices(world)["tablet-1"].acked == 3
        again = await acknowledge(world, 2)
        assert again.status_code == 200
        assert devices(world)["tablet-1"].acked == 3, "an older one changes nothing"


async def test_messages_are_kept_until_the_device_without_a_socket_has_them() -> None:
    async with engine_world() as world:
        await noted(world, 1)
        await acknowledge(world, 1)
        await noted(world, 4)
        page = (await world.call("GET", "/v1/stores/s-1/inbox?after=1", "store", "s-1")).json()
        assert [one["offset"] for one in page["messages"]] == list(range(2, page["head"] + 1))


async def test_nothing_can_be_acknowledged_that_was_never_sent() -> None:
    async with engine_world() as world:
        await noted(world, 2)
        refused = await acknowledge(world, 999)
        assert (refused.status_code, refused.json()["code"]) == (409, "offset-ahead")
        assert devices(world) == {}, "and nothing was registered by it"


async def test_the_newest_connection_of_a_device_wins_be_it_a_socket_or_not() -> None:
    async with engine_world() as world:
        await noted(world, 3)
        await acknowledge(world, 1)
        world.clock.advance(1)
        socket = store.RegisterDevice("tablet-1", "socket-1", 1, connected_at=world.clock.now())
        await world.runtime.ask("store/s-1", socket, command_id="")
        world.clock.advance(1)
        assert (await acknowledge(world, 2)).status_code == 200
        stale = store.AcknowledgeInbox("tablet-1", "socket-1", 3)
        with pytest.raises(Refused) as refused:
            await world.runtime.ask("store/s-1", stale, command_id="")
        assert refused.value.code == "stale-connection"


async def test_a_registration_delayed_at_one_gateway_does_not_evict_a_newer_one() -> None:
    async with engine_world() as world:
        now = world.clock.now()
        for kind, owner in ((store, "store/s-1"), (rider, "rider/r-1")):
            newer = kind.RegisterDevice("phone", "newer", None, connected_at=now + 2)
            delayed = kind.RegisterDevice("phone", "older", None, connected_at=now + 1)
            await world.runtime.ask(owner, newer, command_id="")
            with pytest.raises(Refused) as refused:
                await world.runtime.ask(owner, delayed, command_id="")
            assert refused.value.code == "stale-connection"
            page = await world.runtime.ask(owner, kind.ReadInbox(0), command_id="")
            acknowledged = kind.AcknowledgeInbox("phone", "newer", page.head)
            assert await world.runtime.ask(owner, acknowledged, command_id="") is None


async def test_a_riders_phone_acknowledges_its_own_inbox_alone() -> None:
    async with engine_world() as world:
        assert (await acknowledge(world, 0, "phone", "riders/r-1")).status_code == 200
        path = "/v1/riders/r-2/inbox/acknowledgements"
        body = {"device_id": "phone", "offset": 0}
        foreign = await world.call("POST", path, "rider", "r-1", body, "k")
        assert foreign.status_code == 403
