"""The rider's phone: real Chromium, real service, one hand."""

import re
from typing import Any

import pytest

from orchestrator import pages
from tests.browser.axe import violations
from tests.browser.conftest import House, eventually
from tests.browser.shop import Shop, action
from tests.browser.weights import script_bytes

pytestmark = pytest.mark.timeout(180)

SCRIPT_BYTES_MAX = 350_000


def test_a_rider_takes_an_offer_to_the_door_and_brings_the_cash(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    page = shop.phone(device)
    assert "pair=" not in page.url
    shot(page, "rider-1-off-shift")
    assert violations(page) == []
    page.get_by_label("Scooter").check()
    action(page, "Start shift").click()
    page.get_by_role("heading", name="Waiting for offers").wait_for()
    shot(page, "rider-2-waiting")
    assert violations(page) == []
    eventually(lambda: shop.rider()["vehicle"] == "scooter")

    order_id = shop.packed()
    offer = page.get_by_role("dialog")
    offer.get_by_text("New offer").wait_for()
    due = f"€{house.read(order_id)['total'] / 100:.2f}"
    offer.get_by_text(due).first.wait_for()
    shot(page, "rider-3-offer")
    assert violations(page) == []
    offer.get_by_role("button", name="Accept").click()

    action(page, "I am at the store").wait_for()
    page.get_by_text("phone …5642").wait_for()
    shot(page, "rider-4-run")
    assert violations(page) == []
    action(page, "I am at the store").click()
    action(page, "Picked up").click()
    action(page, "I am at the door").click()
    action(page, f"Take {due}").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_role("textbox", name="Cash received").fill("1")
    sheet.get_by_text("short").wait_for()
    assert sheet.get_by_role("button", name="Delivered, cash taken").is_disabled()
    sheet.get_by_role("textbox", name="Cash received").fill("50")
    sheet.get_by_text("Give back").wait_for()
    shot(page, "rider-5-cash")
    assert violations(page) == []
    sheet.get_by_role("button", name="Delivered, cash taken").click()

    page.get_by_role("heading", name="Waiting for offers").wait_for()
    page.get_by_role("button", name=re.compile(f"You hold.*{due}")).click()
    page.get_by_role("dialog").get_by_text(shop.rider_id).wait_for()
    shot(page, "rider-6-owed")
    assert violations(page) == []
    done = eventually(lambda: (o := house.read(order_id))["cash_collected"] and o)
    assert done["cash_collected"] == done["total"]
    eventually(lambda: shop.rider()["cash_held"] == done["total"])


def test_what_is_pressed_without_a_network_is_sent_once_on_return(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    page = shop.on_shift(device)
    shop.packed()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    action(page, "I am at the store").wait_for()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.context.set_offline(True)
    page.get_by_text("No connection. Your run stays here").wait_for()
    action(page, "I am at the store").click()
    page.get_by_text("1 action waiting to be sent.").wait_for()
    action(page, "Picked up").wait_for()
    shot(page, "rider-7-offline")
    assert violations(page) == []
    page.reload()
    page.get_by_text("1 action waiting to be sent.").wait_for()
    action(page, "Picked up").wait_for()
    eventually(lambda: [p["state"] for p in shop.rider()["parcels"]] == ["accepted"])
    page.context.set_offline(False)
    eventually(lambda: [p["state"] for p in shop.rider()["parcels"]] == ["at_store"])
    page.get_by_text("No connection. Your run stays here").wait_for(state="detached")
    assert sum("arrive-at-store" in url for url in sent) == 1


def test_a_second_window_takes_over_and_the_first_can_take_it_back(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    first = shop.on_shift(device)
    second = first.context.new_page()
    second.goto(f"{house.url}/rider")
    second.get_by_role("heading", name="Waiting for offers").wait_for()
    first.get_by_role("button", name="Use this one").wait_for()
    place = first.locator("footer button", has_text="End shift").bounding_box()
    first.mouse.click(place["x"] + 9, place["y"] + 9)
    assert first.get_by_role("dialog").count() == 0
    assert violations(first) == []
    shot(first, "rider-11-superseded")
    shop.packed()
    second.get_by_role("dialog").get_by_role("button", name="Accept").click()
    action(second, "I am at the store").wait_for()
    eventually(lambda: shop.rider()["parcels"])
    first.get_by_role("button", name="Use this one").click()
    action(first, "I am at the store").click()
    eventually(lambda: [p["state"] for p in shop.rider()["parcels"]] == ["at_store"])
    second.get_by_role("button", name="Use this one").wait_for()


def test_a_parcel_that_cannot_be_delivered_goes_back_with_the_reason(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    page = shop.on_shift(device, color_scheme="dark")
    order_id = shop.packed()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    action(page, "I am at the store").click()
    action(page, "Picked up").click()
    action(page, "Cannot deliver").click()
    page.get_by_role("dialog").get_by_role("button", name="Nobody there").click()
    page.get_by_text("Hand it to the store").first.wait_for()
    parcel = eventually(
        lambda: [one for one in shop.rider()["parcels"] if one["state"] == "returning"]
    )[0]
    assert parcel["reason"] == "absent"
    shot(page, "rider-8-return-dark")
    assert violations(page) == []
    shop.clerk(f"{order_id}-1/returned")
    page.get_by_role("heading", name="Waiting for offers").wait_for()
    action(page, "End shift").click()
    page.get_by_role("dialog").get_by_role("button", name="End shift").click()
    action(page, "Start shift").wait_for()
    eventually(lambda: shop.rider()["state"] == "off")  # the page may be ahead of the read model


def test_a_rider_who_declines_says_why_and_gets_no_run(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    page = shop.on_shift(device)
    page.evaluate("localStorage.setItem('doorstep-language', 'zh')")
    page.reload()
    page.get_by_role("heading", name="等待派单").wait_for()
    shop.packed()
    offer = page.get_by_role("dialog")
    offer.get_by_text("新派单").wait_for()
    shot(page, "rider-9-offer-zh")
    assert violations(page) == []
    offer.get_by_role("button", name="拒绝").click()
    offer.get_by_role("button", name="太远").click()
    page.get_by_role("heading", name="等待派单").wait_for()
    assert eventually(lambda: shop.rider()["state"] == "free")
    eventually(lambda: shop.rider()["parcels"] == [])


def test_without_a_position_of_its_own_the_phone_takes_a_tap_on_the_map(
    house: House, device: Any
) -> None:
    shop = Shop(house)
    page = shop.phone(device, permissions=[])
    page.get_by_text("This phone does not give its position").wait_for()
    zone = page.get_by_label("Zone")
    zone.select_option(f"z{shop.store_id}")
    assert action(page, "Start shift").is_disabled()
    page.get_by_role("application").click()
    action(page, "Start shift").click()
    page.get_by_role("heading", name="Waiting for offers").wait_for()
    eventually(lambda: shop.rider()["position"] is not None)
    assert shop.rider()["dispatch_zone"] == f"z{shop.store_id}"


def test_a_phone_that_finds_its_position_late_starts_in_the_zone_it_is_in(
    house: House, device: Any
) -> None:
    elsewhere, shop = Shop(house), Shop(house)
    page = shop.phone(device, geolocation=elsewhere.place)
    action(page, "Start shift").click(trial=True)
    page.context.set_geolocation(None)
    page.reload()
    page.locator(f"option[value=z{shop.store_id}]").wait_for(state="attached")
    assert page.get_by_label("Zone").input_value() == "", "where they were is not where they are"
    assert action(page, "Start shift").is_disabled()
    page.context.set_geolocation(shop.place)
    action(page, "Start shift").click()
    page.get_by_role("heading", name="Waiting for offers").wait_for()
    assert shop.rider()["dispatch_zone"] == f"z{shop.store_id}"
    shop.packed()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    action(page, "I am at the store").wait_for()


def test_a_zone_opened_while_the_page_was_open_can_be_chosen_once_it_connects_again(
    house: House, device: Any
) -> None:
    page = Shop(house).phone(device)
    opened = f"z{house.store()}"
    page.context.set_offline(True)
    page.get_by_text("No connection. Your run stays here").wait_for()
    page.context.set_offline(False)
    page.get_by_label("Zone").select_option(opened)
    assert page.get_by_label("Zone").input_value() == opened


def test_the_page_can_be_installed_and_its_scripts_are_light(house: House) -> None:
    manifest = house.http.get("/rider.webmanifest").json()
    assert manifest["start_url"] == "/rider"
    assert house.http.get("/rider-worker.js").status_code == 200
    assert script_bytes(pages.STATIC, "rider") <= SCRIPT_BYTES_MAX
