"""The live monitor as an operator uses it: real Chromium, real service."""

import re
import time
from typing import Any

import pytest

from orchestrator import pages
from tests.browser.axe import violations
from tests.browser.conftest import House, eventually
from tests.browser.shop import Shop, refused
from tests.browser.weights import script_bytes

pytestmark = pytest.mark.timeout(180)

SCRIPT_BYTES_MAX = 700_000


def watching(house: House, device: Any, **more: Any) -> Any:
    page = device(**{"width": 1440, "height": 900, **more})
    page.goto(house.link("monitor", "ops", "ana"))
    page.get_by_role("heading", name=re.compile("^(Anomalies|异常)$")).wait_for()
    return page


def row(page: Any, order_id: str) -> Any:
    return page.locator(".anomalies li", has_text=order_id)


def figure(page: Any, name: str) -> int:
    text = page.locator(f".figures div:has(dt:text-is('{name}')) dd").inner_text()
    return int(text.split()[0])


def test_an_anomaly_comes_first_and_its_remedy_asks_why(
    house: House, device: Any, shot: Any
) -> None:
    page = watching(house, device)
    before = figure(page, "Open orders")
    store_id = house.store("Corner shop")
    house.order(store_id)
    page.wait_for_function(
        "open => parseInt(document.querySelectorAll('.figures dd')[1].textContent) > open",
        arg=before,
    )
    order_id = refused(house, store_id)
    row(page, order_id).get_by_text("No store serves it").first.wait_for()
    page.wait_for_timeout(1_500)  # some samples for the charts' picture
    shot(page, "monitor-1-anomaly")
    assert violations(page) == []

    row(page, order_id).get_by_role("button", name="Give up").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_role("button", name="Give up").click()
    sheet.get_by_role("alert").get_by_text("Say why").wait_for()
    assert house.read(order_id)["fulfilments"][0]["state"] == "parked"
    sheet.get_by_label("Why?").fill("The shop has no power until tomorrow.")
    shot(page, "monitor-2-remedy")
    assert violations(page) == []
    sheet.get_by_role("button", name="Give up").click()
    sheet.wait_for(state="detached")
    row(page, order_id).wait_for(state="detached")
    eventually(lambda: house.read(order_id)["state"] in ("cancelled", "closed"))
    deadline = time.monotonic() + 20
    while "no power until tomorrow" not in (story := str(history(house, order_id))):
        assert time.monotonic() < deadline, story
        time.sleep(0.1)
    assert "ops:ana" in story


def history(house: House, order_id: str) -> Any:
    return house.call("GET", f"/orders/{order_id}/history", "ops")


def test_a_parked_order_is_sent_to_the_store_that_was_chosen(house: House, device: Any) -> None:
    page = watching(house, device)
    store_id = house.store("Corner shop")
    order_id = refused(house, store_id)
    row(page, order_id).get_by_role("button", name="Re-route").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_label("Store").select_option(store_id)
    sheet.get_by_label("Why?").fill("Power is back.")
    sheet.get_by_role("button", name="Re-route").click()
    sheet.wait_for(state="detached")
    row(page, order_id).wait_for(state="detached")
    parts = {part["fulfilment_id"]: part["state"] for part in house.read(order_id)["fulfilments"]}
    assert parts[f"{order_id}-2"] == "new"


def test_an_order_is_found_by_phone_and_tells_its_whole_story(
    house: House, device: Any, shot: Any
) -> None:
    page = watching(house, device)
    store_id = house.store("Corner shop")
    order_id = house.order(store_id)
    deadline = time.monotonic() + 20
    while order_id not in str(house.call("GET", "/orders?phone_ending=5642", "ops")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    search.press_sequentially("5642")
    search.press("Enter")
    page.get_by_role("dialog").get_by_text(order_id).click()
    story = page.locator("dialog.side")
    story.get_by_text("Placed, priced and routed").wait_for()
    story.get_by_text("Cash on delivery confirmed").wait_for()
    story.get_by_text("Stock locked").wait_for()
    shot(page, "monitor-3-story")
    assert violations(page) == []
    story.get_by_role("button", name="Documents").click()
    story.get_by_text("Placed, priced and routed").wait_for(state="detached")
    story.get_by_role("button", name="Cancel order").click()
    sheet = page.locator("dialog:not(.side)", has_text="Cancel order?")
    sheet.get_by_label("Why?").fill("The customer called.")
    sheet.get_by_role("button", name="Cancel order").click()
    story.locator(".state").get_by_text("Cancelled").wait_for()
    eventually(lambda: house.read(order_id)["state"] == "cancelled")


def test_the_monitor_in_the_dark_in_chinese_and_on_a_phone(
    house: House, device: Any, shot: Any
) -> None:
    refused(house, house.store("Corner shop"))
    page = watching(house, device, locale="zh-CN", color_scheme="dark")
    page.get_by_role("tab", name="骑手").click()
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1_500)
    shot(page, "monitor-4-dark-zh")
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("scrollTo(0, 0)")  # what the header covers is no finding
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "monitor-5-phone")
    assert violations(page) == []


def test_a_lost_connection_is_told_and_what_is_shown_stays(house: House, device: Any) -> None:
    page = watching(house, device)
    page.get_by_text("Live", exact=True).wait_for()
    page.context.set_offline(True)
    page.get_by_text("No connection. What you see is from").wait_for()
    assert figure(page, "Open orders") >= 0
    page.context.set_offline(False)
    page.get_by_text("Live", exact=True).wait_for()


def test_a_rider_may_not_watch(house: House, device: Any) -> None:
    page = device()
    page.goto(house.link("monitor", "rider", "r-1"))
    page.get_by_text("This code is for another kind of device").wait_for()


def test_the_scripts_are_light(house: House) -> None:
    assert script_bytes(pages.STATIC, "monitor") <= SCRIPT_BYTES_MAX


def test_cash_is_taken_against_the_sum_that_is_owed_now(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    owed = shop.delivered_for_cash()
    page = watching(house, device)
    page.get_by_role("tab", name="Riders").click()
    line = page.get_by_role("row").filter(has_text=shop.rider_id)
    line.get_by_role("button", name=f"Take cash: €{owed / 100:.2f}").click()
    sheet = page.get_by_role("dialog")
    shop.delivered_for_cash()
    both = house.call("GET", f"/riders/{shop.rider_id}", "ops")["cash_held"]
    assert both > owed
    take = sheet.get_by_role("button", name="Take cash")
    take.click()
    sheet.get_by_role("alert").get_by_text("Nothing was booked").wait_for()
    sheet.get_by_text(f"Owes €{both / 100:.2f}", exact=True).wait_for()
    assert house.call("GET", f"/riders/{shop.rider_id}", "ops")["cash_held"] == both
    assert sheet.get_by_label("Why?").count() == 0, "the sum shown is the exact one"
    sheet.get_by_label("Amount (EUR)").fill(f"{(both - 50) / 100:.2f}")
    sheet.get_by_label("Why?").fill("gave too much change")
    assert violations(page) == []
    shot(page, "monitor-8-cash")
    take.click()
    sheet.wait_for(state="detached")
    assert house.call("GET", f"/riders/{shop.rider_id}", "ops")["cash_held"] == 0
