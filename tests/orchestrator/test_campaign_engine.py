"""Campaigns over HTTP and the whole engine in this process."""

import asyncio
from typing import Any

import msgspec
import pytest

from actors.engine.placement import own_shard_of
from actors.engine.ports import Shard
from domain.payment import RefundPayment
from domain.wire import moment
from orchestrator.api.show import show_campaign
from orchestrator.push.campaigns import CampaignTopics
from tests.fakes.engine_world import EngineWorld, engine_world

HOME = {"lat": 4.6601, "lon": -74.0561}


async def shop(world: EngineWorld, units: int = 10) -> None:
    """One store with goods."""
    area = {"type": "circle", "centre": HOME, "radius_m": 5_000}
    store = {
        "name": "Shop", "position": HOME, "currency": "USD", "dispatch_zone": "north",
        "zones": [{"zone_id": "z-1", "tier": 1, "area": area, "promise_s": 1_800}],
    }  # fmt: skip
    sku = {"name": "Milk", "price": 1_000}
    for path, body in (("skus/MILK", sku), ("stores/s-1", store)):
        answer = await world.call("PUT", f"/v1/{path}", "ops", "ana", body)
        assert answer.status_code == 200, answer.text
    items = {"items": [{"sku": "MILK", "quantity": units}]}
    answer = await world.call("POST", "/v1/stores/s-1/stock/receipts", "ops", "ana", items, "k")
    assert answer.status_code == 201, answer.text


def terms_of(world: EngineWorld, **changes: Any) -> dict[str, Any]:
    now = world.clock.now()
    return {
        "name": "Milk", "sku": "MILK", "price": 600, "currency": "USD",
        "starts_at": moment(now).isoformat(), "ends_at": moment(now + 3_600).isoformat(),
        "quota": [{"store_id": "s-1", "units": 2}], **changes,
    }  # fmt: skip


async def open_(world: EngineWorld, terms: dict[str, Any], key: str = "campaign") -> Any:
    return await world.call("POST", "/v1/campaigns", "ops", "ana", terms, key)


async def opened(world: EngineWorld, key: str = "campaign", **changes: Any) -> str:
    """A campaign whose store has answered."""
    answer = await open_(world, terms_of(world, **changes), key)
    assert answer.status_code == 201, answer.text
    campaign_id = str(answer.json()["campaign_id"])
    while (await read(world, campaign_id))["state"] == "preparing":
        await asyncio.sleep(0)
    return campaign_id


async def read(world: EngineWorld, campaign_id: str) -> Any:
    answer = await world.call("GET", f"/v1/campaigns/{campaign_id}", "channel", "app")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def place(world: EngineWorld, campaign_id: str, number: int, **changes: Any) -> Any:
    body = {
        "customer": {"customer_id": f"c-{number}"}, "lines": [{"sku": "MILK", "quantity": 1}],
        "currency": "USD", "address": {"position": HOME}, "campaign_id": campaign_id, **changes,
    }  # fmt: skip
    return await world.call("POST", "/v1/orders", "channel", "app", body, f"order-{number}")


async def pay(world: EngineWorld, order: Any) -> None:
    path = f"/v1/orders/{order['order_id']}/payments"
    opened = await world.call("POST", path, "channel", "app", {"provider": "sandbox"}, "pay")
    assert opened.status_code == 201, opened.text
    event = {
        "payment_id": opened.json()["payment_id"], "status": "captured", "reference": "r",
        "amount": order["total"], "currency": "USD", "event_id": "e",
    }  # fmt: skip
    answer = await world.http.post("/v1/webhooks/sandbox", json=event)
    assert answer.status_code == 200, answer.text


async def until(world: EngineWorld, order_id: str, state: str) -> Any:
    """The order once its first fulfilment is in ``state``."""
    for _ in range(2_000):
        answer = await world.call("GET", f"/v1/orders/{order_id}", "channel", "app")
        if answer.json()["fulfilments"][0]["state"] == state:
            return answer.json()
        await asyncio.sleep(0)
    pytest.fail(f"{order_id} never was {state}: {answer.text}")


def listened(world: EngineWorld) -> list[str]:
    """Whom the gateway asks from now on."""
    asked: list[str] = []
    ask = world.runtime.ask

    async def listening(to: str, command: Any, **rest: Any) -> Any:
        asked.append(to)
        return await ask(to, command, **rest)

    world.runtime.ask = listening  # type: ignore[method-assign]
    return asked


async def test_a_flash_sale_sells_out_at_the_gateway_and_reopens_when_units_come_back() -> None:
    async with engine_world() as world:
        await shop(world)
        campaign_id = await opened(world)
        orders = [await place(world, campaign_id, number) for number in (1, 2)]
        assert [order.status_code for order in orders] == [201, 201]
        first = orders[0].json()
        assert (first["campaign_id"], first["goods"]) == (campaign_id, 600)
        while world.views.campaign(campaign_id).remaining:
            await asyncio.sleep(0)
        ask = world.runtime.ask
        asked = listened(world)
        sold_out = await place(world, campaign_id, 3)
        assert (sold_out.status_code, sold_out.json()["code"]) == (409, "campaign-sold-out")
        assert not asked, "sold out costs no hop"
        again = await place(world, campaign_id, 1)  # a retry gets the first answer all the same
        assert (again.status_code, again.json()["order_id"]) == (201, first["order_id"])
        world.runtime.ask = ask  # type: ignore[method-assign]
        cancel = f"/v1/orders/{first['order_id']}/cancel"
        await world.call("POST", cancel, "channel", "app", {"reason": "no"}, "cancel")
        while not world.views.campaign(campaign_id).remaining:
            await asyncio.sleep(0)
        assert (await place(world, campaign_id, 3)).status_code == 201


async def test_a_paid_flash_sale_order_reaches_its_store_and_leaves_the_quota() -> None:
    async with engine_world() as world:
        await shop(world)
        campaign_id = await opened(world)
        order = (await place(world, campaign_id, 1)).json()
        await pay(world, order)
        await until(world, order["order_id"], "new")
        while not world.views.campaign(campaign_id).tally.sold:
            await asyncio.sleep(0)
        assert (await read(world, campaign_id))["units"] == {
            "available": 1, "held": 0, "sold": 1, "returned": 0,
        }  # fmt: skip
        end = f"/v1/campaigns/{campaign_id}/end"
        ended = await world.call("POST", end, "ops", "ana", {"why": "over"}, "end")
        assert (ended.json()["state"], ended.json()["units"]["returned"]) == ("ended", 1)
        refused = await place(world, campaign_id, 2)
        assert refused.json()["code"] in ("campaign-ended", "campaign-sold-out")


async def test_a_group_is_listed_joined_and_formed() -> None:
    async with engine_world() as world:
        await shop(world)
        campaign_id = await opened(world, group={"size": 2})
        head = (await place(world, campaign_id, 1)).json()
        await pay(world, head)
        await until(world, head["order_id"], "held")
        groups = f"/v1/campaigns/{campaign_id}/groups?near_completion=1"
        listed: list[Any] = []
        while not listed:
            listed = (await world.call("GET", groups, "channel", "app")).json()["items"]
            await asyncio.sleep(0)
        assert (listed[0]["group_id"], listed[0]["missing"]) == (head["group_id"], 1)
        member = (await place(world, campaign_id, 2, group_id=head["group_id"])).json()
        await pay(world, member)
        for order in (head, member):
            await until(world, order["order_id"], "new")
        assert not [one for one in world.owed if isinstance(one, RefundPayment)]


async def test_pages_that_count_down_and_list_groups_do_not_ask_the_campaign() -> None:
    async with engine_world() as world:
        await shop(world)
        campaign_id = await opened(world, group={"size": 2})
        order = (await place(world, campaign_id, 1)).json()
        while not world.views.campaign(campaign_id).tally.held:
            await asyncio.sleep(0)
        path = f"/v1/campaigns/{campaign_id}"
        ops = (await world.call("GET", path, "ops", "ana")).json()
        assert [share["held"] for share in ops["quota"]] == [1], "operations see each store"
        asked = listened(world)
        assert await read(world, campaign_id) == ops | {"quota": []}
        for role, name in (("channel", "app"), ("ops", "ana")):
            listed = await world.call("GET", f"{path}/groups", role, name)
            (group,) = listed.json()["items"]
            assert (group["group_id"], group["claimed"]) == (order["group_id"], 1)
        assert not asked


async def test_a_campaign_that_its_gateway_does_not_follow_is_asked_itself() -> None:
    """It was opened a moment ago, or has been over for long."""
    async with engine_world() as world:
        await shop(world)
        campaign_id = await opened(world, group={"size": 2})
        brief = world.views.campaigns.pop(campaign_id)
        path = f"/v1/campaigns/{campaign_id}"
        assert await read(world, campaign_id) == msgspec.to_builtins(
            show_campaign(brief.view_at(world.clock.now()))
        )
        listed = await world.call("GET", f"{path}/groups", "channel", "app")
        assert (listed.status_code, listed.json()["items"]) == (200, [])
        for missing in ("/v1/campaigns/c-none", "/v1/campaigns/c-none/groups"):
            answer = await world.call("GET", missing, "channel", "app")
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown-campaign")


async def test_terms_that_cannot_be_are_a_problem_that_names_the_field() -> None:
    async with engine_world() as world:
        await shop(world)
        answer = await open_(world, terms_of(world, price=2_000), "k")
        assert (answer.status_code, answer.json()["field"]) == (422, "price")


async def test_watchers_are_told_what_remains_once_per_tick() -> None:
    async with engine_world() as world:
        await shop(world)
        campaign_id = await opened(world)
        topics = CampaignTopics(world.clock.now)
        (state,) = [
            state
            for shard in world.runtime.shards_of("campaign")
            for state in (await world.runtime.feed.states(shard))[0].values()
        ]
        topics.load("campaign", campaign_id, state)
        topic = await topics.topic(campaign_id)
        assert (topic.document["remaining"], topic.document["state"]) == (2, "running")
        head = topic.head
        topics.tick()
        assert topic.head == head, "nothing changed, nothing is told"


def campaigns_on(world: EngineWorld, number: int) -> set[str]:
    """The campaigns that live on a shard."""
    (node,) = world.runtime.nodes.values()
    return {name for name, _ in node.shells[Shard("campaign", number)].host.states()}


async def test_a_hot_flash_sale_has_its_shard_for_itself() -> None:
    async with engine_world(campaign_shards=3, campaign_own_shards=2) as world:
        await shop(world, units=100)
        ordinary = {await opened(world, key=f"campaign-{number}") for number in range(12)}
        hot = await opened(world, key="hot", own_shard=True)
        other = 3 - own_shard_of(hot)
        hotter = await opened(world, key="hotter", own_shard=other)
        assert campaigns_on(world, 2 + own_shard_of(hot)) == {hot}
        assert campaigns_on(world, 2 + other) == {hotter}
        spread = [campaigns_on(world, number) for number in range(3)]
        assert set.union(*spread) == ordinary
        assert all(spread), "ordinary campaigns are spread over all the other shards"
        assert (await read(world, hot))["own_shard"] == own_shard_of(hot)
        assert (await read(world, min(ordinary)))["own_shard"] == 0
        orders = [await place(world, hot, number) for number in (1, 2)]
        for order in orders:
            await pay(world, order.json())
            await until(world, order.json()["order_id"], "new")
        while world.views.campaign(hot).remaining:
            await asyncio.sleep(0)
        assert (await place(world, hot, 3)).json()["code"] == "campaign-sold-out"
        while world.views.campaign(hot).tally.sold < 2:
            await asyncio.sleep(0)
        for campaign_id, sold in ((hot, 2), (hotter, 0), (min(ordinary), 0)):
            assert (await read(world, campaign_id))["units"]["sold"] == sold


async def test_a_key_opens_one_campaign_on_whichever_shard() -> None:
    async with engine_world(campaign_own_shards=2) as world:
        await shop(world)
        terms = terms_of(world)
        anywhere, second = terms | {"own_shard": True}, terms | {"own_shard": 2}
        first = await open_(world, second)
        campaign_id = first.json()["campaign_id"]
        assert (first.status_code, first.json()["own_shard"]) == (201, 2)
        assert (await open_(world, second)).json() == first.json(), "a retry gets the first answer"
        assert (await open_(world, anywhere)).json()["campaign_id"] == campaign_id
        for other in (terms, terms | {"own_shard": False}, terms | {"own_shard": 1}):
            refused = await open_(world, other)
            assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
        world.settings.campaign_own_shards = 1
        usual = await open_(world, terms, "usual")
        assert usual.json()["own_shard"] == 0
        for refused in (await open_(world, anywhere, "usual"), await open_(world, second, "usual")):
            assert refused.json()["code"] == "idempotency-key-reused"
        assert len(world.views.campaigns) == 2


async def test_a_shard_that_is_not_configured_is_refused() -> None:
    async with engine_world(campaign_own_shards=0) as world:
        await shop(world)
        for wish in (True, 1, 2):
            refused = await open_(world, terms_of(world, own_shard=wish))
            assert (refused.status_code, refused.json()["code"]) == (422, "no-own-shard")
            assert refused.json()["own_shards"] == 0
        assert not world.views.campaigns
        for wrong in (0, 100, "1", 1.0):
            refused = await open_(world, terms_of(world, own_shard=wrong))
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request"), wrong
