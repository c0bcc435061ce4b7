"""What the benchmark of campaigns makes of what it measured and of the campaigns' own accounts."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from loadtests.campaigns import beside, compared, reading, unexplained
from loadtests.figures import wrong
from loadtests.generator import CUSTOMER, Seen
from loadtests.shop import Shop
from orchestrator.client import models

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def campaign(units: models.UnitTally, open_groups: int = 0) -> models.Campaign:
    return models.Campaign(
        "c1", "sale", "flash_sale", "running", "flash", 50, 100, "EUR", NOW, NOW, 0, 60.0, [],
        "platform", None, units.available, units, [], open_groups, 0, 0,
    )  # fmt: skip


def seen(p50_ms: float, p99_ms: float) -> Seen:
    return Seen(1, 1, {}, 0, 1.0, 1.0, p50_ms, p99_ms, p99_ms, [], [], 0.1)


def test_a_campaign_is_compared_with_the_ordinary_orders_of_its_own_round() -> None:
    # The machine was ten times slower in the second round, for both.
    found = compared("crowded_", [1_000.0, 100.0, 1_000.0], {"flash": [800.0, 80.0, 900.0]})
    assert found == {
        "crowded_ordinary_per_s": 1_000.0, "crowded_flash_per_s": 800.0,
        "crowded_flash_ratio": 0.8,
    }  # fmt: skip


def test_ordinary_orders_beside_a_campaign_are_told_with_those_alone() -> None:
    found = beside([seen(5.0, 10.0)], [seen(6.0, 20.0), seen(7.0, 200.0), seen(8.0, 30.0)], 100.0)
    assert found == {
        "modest_rate_per_s": 100.0, "alone_p50_ms": 5.0, "alone_p99_ms": 10.0,
        "beside_p50_ms": 7.0, "beside_p99_ms": 30.0,
    }  # fmt: skip


@pytest.mark.parametrize(("page", "accepted", "opened", "about"), [
    (campaign(models.UnitTally(7, 3, 0, 0)), 3, 0, {}),
    (campaign(models.UnitTally(7, 3, 0, 0), open_groups=2), 3, 2, {}),
    (campaign(models.UnitTally(7, 3, 0, 0)), 4, 0, {"units": 1}),
    (campaign(models.UnitTally(7, 3, 0, 0)), 1, 0, {"units": 2}),
    (campaign(models.UnitTally(-1, 4, 0, 0)), 4, 0, {"oversold": 1}),
    (campaign(models.UnitTally(7, 3, 0, 0), open_groups=1), 3, 2, {"groups": 1}),
])  # fmt: skip
def test_what_a_campaign_promised_is_what_its_customers_were_told(
    page: models.Campaign, accepted: int, opened: int, about: dict[str, int]
) -> None:
    expected = {"oversold": 0, "units": 0, "groups": 0} | about
    assert unexplained(page, accepted, opened) == expected


@pytest.mark.parametrize("key", ["oversold", "units_unexplained", "groups_unexplained",
                                 "orders_missing", "refused", "lost", "reads_failed"])  # fmt: skip
def test_campaigns_that_are_wrong_are_no_result_and_slow_ones_are(key: str) -> None:
    assert wrong("campaigns", {"flash_ratio": 0.01, "beside_p99_ms": 5_000.0, key: 0}) == []
    assert wrong("campaigns", {"flash_ratio": 1.0, key: 1}) == [key]


def test_orders_join_the_groups_in_turn_or_open_one_each() -> None:
    shop = Shop(cast(Any, None), cast(Any, None), "token")
    joining = [json.loads(body) for body in shop.campaign_bodies("c1", 4, ["g1", "g2"])]
    assert [body["group_id"] for body in joining] == ["g1", "g2", "g1", "g2"]
    [opening] = [json.loads(body) for body in shop.campaign_bodies("c1", 1)]
    assert "group_id" not in opening
    assert (opening["campaign_id"], opening["customer"]["customer_id"]) == ("c1", CUSTOMER)


async def test_readers_look_at_both_pages_and_the_groups_and_note_what_failed() -> None:
    reads: Counter[str] = Counter()
    enough = asyncio.Event()

    async def page(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer token"
        reads[request.path] += 1
        if reads.total() >= 6:
            enough.set()
        status = 404 if request.path == "/v1/campaigns/gone" else 200
        return web.json_response({}, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    shop = cast(Any, SimpleNamespace(token="token", service=SimpleNamespace(url=url)))
    try:
        async with reading(shop, 2) as readers:
            readers.look_at("gone", "team")
            with readers.noting():
                await enough.wait()
            readers.look_at()
        told = readers.told("crowded_")
    finally:
        await runner.cleanup()
    assert reads["/v1/campaigns/team"]
    assert reads["/v1/campaigns/team/groups"]
    assert readers.failed >= 1
    assert told["crowded_page_read_p99_ms"] is not None
    assert readers.told("")["reads_per_s"] is None, "what was told is not told again"
