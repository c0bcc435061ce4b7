"""What the catalogue does not have is refused before anything is asked of an actor."""

import asyncio
from typing import Any

import pytest

from domain.campaign.brief import Brief
from domain.catalogue.model import Component, Sku
from domain.errors import Refused
from domain.order.commands import Place
from orchestrator.api import desk
from tests.fakes.api_world import ORDER_VIEW, PLACE, ApiWorld

RECEIPT = {"items": [{"sku": "MILK", "quantity": 3}]}
STRANGE = {"items": [{"sku": "MILK", "quantity": 3}, {"sku": "GHOST", "quantity": 1}]}
SHIFT = {"dispatch_zone": "nowhere", "vehicle": "car", "position": {"lat": 1.0, "lon": 2.0}}
TRANSFER = {"to_store": "nowhere", "items": [{"sku": "MILK", "quantity": 3}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/v1/stores/nowhere/stock/receipts", RECEIPT, "unknown-store"),
        ("POST", "/v1/stores/s-1/stock/receipts", STRANGE, "unknown-sku"),
        ("POST", "/v1/stores/s-1/stock/transfers", TRANSFER, "unknown-store"),
        ("POST", "/v1/stores/nowhere/pause", {"paused": True, "reason": "x"}, "unknown-store"),
        ("GET", "/v1/stores/nowhere/stock", None, "unknown-store"),
        ("GET", "/v1/stores/nowhere/tickets", None, "unknown-store"),
        ("GET", "/v1/stores/nowhere/riders", None, "unknown-store"),
        ("GET", "/v1/dispatch/nowhere", None, "unknown-zone"),
        ("POST", "/v1/riders/r-1/shift", SHIFT, "unknown-zone"),
    ],
)
async def test_nothing_happens_at_places_nobody_has_heard_of(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any, code: str
) -> None:
    monkeypatch.setattr(desk, "HEARD_TRIES", 1)
    api = ApiWorld()
    role, subject = ("rider", "r-1") if body is SHIFT else ("ops", "ana")
    answer = await api.call(method, path, role, subject, key="k", json=body)
    assert answer.status_code in (404, 422)
    assert answer.json()["code"] == code
    assert not api.runtime.asked


async def test_what_was_put_a_moment_ago_is_waited_for() -> None:
    """The catalogue's answer may overtake the news of it."""
    api = ApiWorld()
    looks = 0

    class Late(dict[str, Sku]):
        def keys(self) -> Any:
            nonlocal looks
            looks += 1
            if looks == 3:
                self["GHOST"] = Sku("GHOST", "Ghost", 1)
            return super().keys()

    api.views.skus = Late(api.views.skus)
    answer = await api.call(
        "POST", "/v1/stores/s-1/stock/receipts", "ops", "ana", key="k", json=STRANGE
    )
    assert answer.status_code == 201, answer.text
    assert looks >= 3


async def test_an_order_waits_for_a_shard_that_has_not_heard_of_a_new_sku_yet() -> None:
    api = ApiWorld()
    shards = iter([Refused("unknown-sku", "Nothing is sold as MILK."), ORDER_VIEW])
    api.runtime.replies[Place] = lambda _to, _command: next(shards)
    answer = await api.call("POST", "/v1/orders", "channel", "app", key="k", json=PLACE)
    assert answer.status_code == 201, answer.text
    assert len(api.runtime.asked) == 2


async def test_an_order_of_what_the_gateway_does_not_know_either_is_refused_at_once() -> None:
    api = ApiWorld()
    api.runtime.replies[Place] = Refused("unknown-sku", "Nothing is sold as GHOST.")
    wish = {**PLACE, "lines": [{"sku": "GHOST", "quantity": 1}]}
    answer = await api.call("POST", "/v1/orders", "channel", "app", key="k", json=wish)
    assert answer.json()["code"] == "unknown-sku"
    assert len(api.runtime.asked) == 1


async def test_an_order_waits_until_its_gateway_has_heard_of_a_new_campaign() -> None:
    api = ApiWorld()
    known = api.views.campaigns.pop("c-1")

    class Late(dict[str, Brief]):
        looks = 0

        def __contains__(self, campaign_id: object) -> bool:
            self.looks += 1
            if self.looks == 3:
                self["c-1"] = known
            return super().__contains__(campaign_id)

    api.views.campaigns = Late(api.views.campaigns)
    api.clock.advance(known.terms.starts_at + 1.0 - api.clock.now())
    wish = {**PLACE, "campaign_id": "c-1"}
    answer = await api.call("POST", "/v1/orders", "channel", "app", key="k", json=wish)
    assert answer.status_code == 201, answer.text


async def test_a_crowd_that_asks_for_a_campaign_that_is_gone_waits_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk, "HEARD_TRIES", 2)
    api = ApiWorld()
    pauses = 0
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        await pause(seconds)

    monkeypatch.setattr(desk.asyncio, "sleep", sleep)
    for number in range(5):
        wish = {**PLACE, "campaign_id": "gone"}
        answer = await api.call("POST", "/v1/orders", "channel", "app", key=f"k{number}", json=wish)
        assert answer.json()["code"] == "unknown-campaign"
    assert 1 <= pauses <= 3


async def test_a_combo_without_its_parts_is_refused_at_once() -> None:
    api = ApiWorld()
    api.views.skus["BOX"] = Sku("BOX", "Box", 900, components=(Component("GHOST", 1),))
    api.runtime.replies[Place] = Refused("unknown-sku", "The catalogue has no GHOST.")
    wish = {**PLACE, "lines": [{"sku": "BOX", "quantity": 1}]}
    answer = await api.call("POST", "/v1/orders", "channel", "app", key="k", json=wish)
    assert answer.json()["code"] == "unknown-sku"
    assert len(api.runtime.asked) == 1
