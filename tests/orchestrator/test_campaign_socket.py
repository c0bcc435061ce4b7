"""What remains of a campaign, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from actors.engine.kind import Wake
from orchestrator.client import DoorstepClient, SocketClosed
from orchestrator.push.campaigns import CampaignTopics
from orchestrator.push.frames import CloseCode
from orchestrator.push.outbox import Outbox
from orchestrator.push.protocol import TopicSession
from orchestrator.push.topics import Topic
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, flash_terms
from tests.fakes.push_world import PushWorld, push_world


async def told(world: PushWorld, played: CampaignWorld, seen: int) -> int:
    """Commit what happened since ``seen`` events; how many there are now."""
    events = [event for to, event in played.every_event if to == CAMPAIGN]
    for event in events[seen:]:
        world.runtime.commit(CAMPAIGN, event)
    await world.runtime.publish()
    return len(events)


async def until(updates: AsyncIterator[Any], remaining: int) -> None:
    async with asyncio.timeout(30):
        async for update in updates:
            if update.document["remaining"] == remaining:
                return


async def test_the_remaining_number_is_pushed_down_to_nothing_and_up_again() -> None:
    async with push_world() as world:
        start = world.clock.now()
        played = CampaignWorld(flash_terms(starts_at=start - 60, ends_at=start + 3_600), now=start)
        seen = await told(world, played, 0)
        client = DoorstepClient(world.url, world.token("channel", "app"), session=world.http)
        while "c-1" not in world.push.campaigns._briefs:
            await asyncio.sleep(0.001)
        updates = aiter(client.campaign_socket("c-1"))
        first = (await anext(updates)).document
        assert (first["state"], first["sku"], first["price"]) == ("running", "cup", 600)
        played.place(1, 10)
        seen = await told(world, played, seen)
        await until(updates, 0)
        played.now += 300
        played.ask(f"order/{played.order_of(1).order_id}", Wake())
        played.run()
        await told(world, played, seen)
        await until(updates, 10)


@pytest.mark.parametrize(
    ("role", "campaign_id", "code"),
    [("channel", "c-9", CloseCode.UNKNOWN), ("store", "c-1", CloseCode.FORBIDDEN)],
)
async def test_an_unknown_campaign_and_a_wrong_role_are_closed(
    role: str, campaign_id: str, code: CloseCode
) -> None:
    async with push_world() as world:
        client = DoorstepClient(world.url, world.token(role, "x"), session=world.http)
        with pytest.raises(SocketClosed) as closed:
            await anext(aiter(client.campaign_socket(campaign_id)))
        assert closed.value.code == code


def test_a_campaign_that_cannot_be_told_does_not_silence_the_others() -> None:
    now = 1e9
    played = CampaignWorld(flash_terms(starts_at=now - 60, ends_at=now + 3_600), now=now)
    topics = CampaignTopics(lambda: now)
    sessions = {}
    for campaign_id in ("broken", "sound"):
        for to, event in played.every_event:
            if to == CAMPAIGN:
                topics.apply("campaign", campaign_id, event, now)
        topic = topics._topics[campaign_id] = Topic()
        session = sessions[campaign_id] = TopicSession(Outbox(10_000), heartbeat_s=10.0, now=0.0)
        session.receive('{"frame":"auth","token":"t"}', 0.0)
        session.authenticated(0.0, topic.epoch)
        topic.join(session)
    cast(Any, topics._briefs["broken"]).tally = None
    with capture_logs() as logs:
        topics.tick()
    assert {name: session.sent for name, session in sessions.items()} == {"broken": 0, "sound": 1}
    assert [(log["event"], log["campaign_id"]) for log in logs] == [
        ("campaigns.tick_failed", "broken")
    ]
