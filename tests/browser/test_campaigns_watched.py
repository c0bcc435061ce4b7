"""Campaigns on the monitor: the quota goes down as orders come, and open groups are listed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.browser.axe import violations
from tests.browser.conftest import House, eventually
from tests.browser.test_monitor import watching

pytestmark = pytest.mark.timeout(180)


def opened(house: House, store_id: str, name: str, **more: Any) -> str:
    """A campaign over 20 cups of the store, on since a minute ago; its id."""
    now = datetime.now(UTC)
    terms = {
        "name": name, "sku": "cup", "price": 900, "currency": "EUR",
        "starts_at": (now - timedelta(minutes=1)).isoformat(),
        "ends_at": (now + timedelta(hours=2)).isoformat(),
        "quota": [{"store_id": store_id, "units": 20}],
        **more,
    }  # fmt: skip
    campaign_id = str(house.call("POST", "/campaigns", "ops", **terms)["campaign_id"])
    running = f"/campaigns/{campaign_id}"
    eventually(lambda: house.call("GET", running, "ops")["state"] == "running")
    return campaign_id


def joined(house: House, store_id: str, campaign_id: str, units: int, group_id: str = "") -> Any:
    more = {"group_id": group_id} if group_id else {}
    order_id = house.order(
        store_id, lines=[{"sku": "cup", "quantity": units}], campaign_id=campaign_id,
        payment="online", **more,
    )  # fmt: skip
    return house.read(order_id)


def row(page: Any, name: str) -> Any:
    return page.get_by_role("table", name="Campaigns").get_by_role("row").filter(has_text=name)


def test_a_campaigns_quota_ticks_and_it_is_ended_with_a_reason(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    name = f"Noon cups {store_id}"
    campaign_id = opened(house, store_id, name, own_shard=True)
    page = watching(house, device)
    page.get_by_role("tab", name="Campaigns").click()
    row(page, name).get_by_text("shard 1 for itself").wait_for()
    quota = "{sold} sold, {held} held, {left} left"
    row(page, name).get_by_label(quota.format(sold=0, held=0, left=20)).wait_for()
    joined(house, store_id, campaign_id, 3)
    row(page, name).get_by_label(quota.format(sold=0, held=3, left=17)).wait_for()
    joined(house, store_id, campaign_id, 2)
    row(page, name).get_by_label(quota.format(sold=0, held=5, left=15)).wait_for()
    shot(page, "monitor-6-campaigns")
    assert violations(page) == []
    row(page, name).get_by_role("button", name=name).click()
    page.get_by_role("heading", name=name).wait_for()
    page.get_by_role("button", name="End campaign").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_label("Why?").fill("The price was wrong.")
    sheet.get_by_role("button", name="End campaign").click()
    sheet.wait_for(state="detached")
    page.get_by_role("button", name="End campaign").wait_for(state="detached")
    page.get_by_role("button", name="Back to campaigns").click()
    row(page, name).get_by_text("Ended").wait_for()


def test_the_open_groups_of_a_group_buy_are_listed_as_they_fill(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    name = f"Together {store_id}"
    campaign_id = opened(house, store_id, name, group={"kind": "normal", "size": 3})
    first = joined(house, store_id, campaign_id, 1)
    page = watching(house, device)
    page.get_by_role("tab", name="Campaigns").click()
    row(page, name).get_by_role("button", name=name).click()
    groups = page.get_by_role("table", name=f"Open groups of {name}")
    one = groups.get_by_role("row").nth(1)
    one.get_by_text("0 of 3").wait_for()
    assert one.get_by_role("cell").nth(2).inner_text() == "1"
    (listed,) = house.call("GET", f"/campaigns/{campaign_id}/groups", "ops")["items"]
    joined(house, store_id, campaign_id, 1, listed["group_id"])
    page.wait_for_function(
        "() => document.querySelectorAll('[role=row] [role=cell]')[2]?.textContent.trim() === '2'"
    )
    assert first["state"] == "placed"
    joined(house, store_id, campaign_id, 1)
    groups.get_by_role("row").nth(2).wait_for()
    shot(page, "monitor-7-groups")
    assert violations(page) == []
    page.get_by_role("button", name="Back to campaigns").click()
    row(page, name).wait_for()
