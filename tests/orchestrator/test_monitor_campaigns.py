"""Campaigns and their held orders on the monitor."""

from typing import Any

from domain import campaign
from orchestrator.monitor.flow import Flow
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, flash_terms, group_terms
from tests.fakes.order_world import START


def shown(world: CampaignWorld) -> dict[str, Any]:
    """The monitor's document after everything that happened so far."""
    flow = Flow(lambda: world.now, world.views.stores)
    flow.loaded()
    for to, event in world.every_event:
        kind, _, entity = to.partition("/")
        if kind in flow.kinds:
            flow.apply(kind, entity, event, START)
    flow.advance()
    return flow.document()


def test_a_paid_order_is_held_until_its_group_forms_and_is_not_called_stuck() -> None:
    world = CampaignWorld(group_terms({"size": 2, "open_s": 90_000.0}, ends_at=START + 99_000))
    group_id = world.place(1).group_id
    world.pay(1)
    world.at(50_000)
    document = shown(world)
    assert document["fulfilments"]["by_state"]["held"] == 1
    assert not document["anomalies"]
    assert document["campaigns"]["c-1"]["open_groups"] == 1
    assert document["campaigns"]["c-1"]["remaining"] == 9
    world.place(2, group_id=group_id)
    world.pay(2)
    document = shown(world)
    assert document["fulfilments"]["by_state"]["new"] == 2
    assert document["campaigns"]["c-1"]["formed_groups"] == 1


def test_a_store_that_set_nothing_aside_is_an_anomaly_until_the_campaign_is_over() -> None:
    quota = (campaign.Share("s-1", 5), campaign.Share("s-2", 99))
    world = CampaignWorld(flash_terms(quota=quota))
    (anomaly,) = shown(world)["anomalies"].values()
    assert (anomaly["code"], anomaly["ids"]["store_id"]) == ("quota-refused", "s-2")
    assert anomaly["facts"] == {"reason": "short-stock"}
    assert anomaly["detail"].endswith("The shared pool cannot spare so many units.")
    world.ask(CAMPAIGN, campaign.End("ops", "mistake"))
    document = shown(world)
    assert (document["anomalies"], document["campaigns"]) == ({}, {})


def test_a_campaign_with_a_shard_of_its_own_is_told_apart() -> None:
    world = CampaignWorld(flash_terms())
    flow = Flow(lambda: world.now, world.views.stores)
    for to, event in world.every_event:
        if to == CAMPAIGN:
            for campaign_id in ("c-1", "own2-c1"):
                flow.apply("campaign", campaign_id, event, START)
    shown = flow.document()["campaigns"]
    assert (shown["c-1"]["own_shard"], shown["own2-c1"]["own_shard"]) == (0, 2)
