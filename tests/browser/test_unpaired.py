"""A device that operations unpaired: told at once, shown the pairing screen, holding nothing."""

from typing import Any

import pytest

from tests.browser.axe import violations
from tests.browser.conftest import House
from tests.browser.shop import Shop

pytestmark = pytest.mark.timeout(180)

TOLD = "This device was unpaired."
HELD = """database => new Promise((done, fail) => {
    const opening = indexedDB.open(database);
    opening.onerror = () => fail(opening.error);
    opening.onsuccess = () => {
        const work = opening.result.transaction(['facts', 'items']);
        const items = work.objectStore('items').count();
        const held = work.objectStore('facts').get('document');
        work.oncomplete = () => {
            opening.result.close();
            done(items.result + (held.result === undefined ? 0 : 1));
        };
    };
})"""
"""How many records of the store or rider the device holds."""


def test_operations_unpair_a_lost_tablet_and_it_forgets_what_it_held(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    lost, kept = device(820, 1180), device(820, 1180)
    for page in (lost, kept):
        page.goto(house.link("tablet", "store", store_id))
        page.get_by_text("Live", exact=True).wait_for()
    order_id = house.order(store_id)
    card = f"[data-fulfilment^='{order_id}-']"
    for page in (lost, kept):
        page.locator(card).wait_for()
    assert lost.evaluate(HELD, "doorstep-tablet") > 0

    monitor = device(1280, 900)
    monitor.goto(house.link("monitor", "ops", "ana"))
    monitor.get_by_role("button", name="Settings").click()
    monitor.get_by_role("button", name="Devices").click()
    listed = monitor.get_by_role("dialog").get_by_role("listitem").filter(has_text=store_id)
    listed.nth(1).wait_for()
    shot(monitor, "unpair-1-devices")
    assert violations(monitor) == []
    # The latest comes first: the tablet that was paired before is the second.
    listed.nth(1).get_by_role("button", name="Unpair").click()
    sure = monitor.get_by_role("dialog")
    sure.get_by_role("button", name="Unpair").click()
    sure.get_by_text("Say why").wait_for()
    sure.get_by_label("Why?").fill("Left in a taxi.")
    sure.get_by_role("button", name="Unpair").click()

    lost.get_by_text(TOLD).wait_for()
    lost.get_by_label("Pairing code").wait_for()
    shot(lost, "unpair-2-tablet")
    assert violations(lost) == []
    lost.wait_for_function(f"async () => (await ({HELD})('doorstep-tablet')) === 0")
    lost.reload()
    lost.get_by_text(TOLD).wait_for()
    assert kept.locator(card).is_visible()
    later = house.order(store_id, "Grace Hopper")
    kept.locator(f"[data-fulfilment^='{later}-']").wait_for()

    code = house.link("tablet", "store", store_id).partition("#pair=")[2]
    lost.get_by_label("Pairing code").fill(code)
    lost.get_by_role("button", name="Pair").click()
    lost.get_by_text("Live", exact=True).wait_for()
    lost.locator(card).wait_for()


def test_a_rider_who_was_unpaired_while_offline_is_told_on_return(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    page = shop.on_shift(device)
    page.context.set_offline(True)
    page.get_by_text("No connection. Your run stays here").wait_for()
    listed = house.call("GET", f"/devices?role=rider&subject={shop.rider_id}", "ops")
    (session,) = listed["items"]
    house.call("POST", f"/devices/{session['session_id']}/end", "ops", why="left the company")
    page.context.set_offline(False)
    page.get_by_text(TOLD).wait_for()
    shot(page, "unpair-3-rider")
    assert violations(page) == []
    page.wait_for_function(f"async () => (await ({HELD})('doorstep-rider')) === 0")
