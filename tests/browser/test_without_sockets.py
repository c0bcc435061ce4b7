"""Networks that block WebSockets: the pages ask over HTTP, say so, and lose nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.axe import violations
from tests.browser.conftest import House, eventually
from tests.browser.narrow_network import NarrowNetwork, narrow_network
from tests.browser.shop import PHONE, Shop, action

pytestmark = pytest.mark.timeout(180)

POLLING = "[data-banner=polling]"


@pytest.fixture
def network(house: House) -> Iterator[NarrowNetwork]:
    with narrow_network(house.url) as made:
        yield made


def through(network: NarrowNetwork, house: House, page: str, role: str, subject: str) -> str:
    return house.link(page, role, subject).replace(house.url, network.url)


def test_a_tablet_works_over_http_and_goes_back_to_its_socket_when_one_gets_through(
    house: House, device: Any, shot: Any, network: NarrowNetwork
) -> None:
    shop = Shop(house)
    page = device()
    page.goto(through(network, house, "tablet", "store", shop.store_id))
    page.locator(POLLING).wait_for()
    order_id = house.order(shop.store_id)
    new = page.locator(f"[data-column=new] [data-fulfilment^='{order_id}-']")
    new.wait_for()
    shot(page, "narrow-1-tablet")
    assert violations(page) == []
    new.get_by_role("button", name="Accept", exact=True).click()
    page.locator(f"[data-column=accepted] [data-fulfilment^='{order_id}-']").wait_for()
    ticket = f"/stores/{shop.store_id}/tickets/{order_id}-1"
    eventually(lambda: house.call("GET", ticket, "ops")["state"] == "accepted")
    # It listens, though it has no socket: nobody needs to call the store.
    counter = eventually(lambda: house.call("GET", "/monitor", "ops")["stores"].get(shop.store_id))
    assert counter["devices"] == 1

    page.reload()
    page.locator(POLLING).wait_for()
    page.locator(f"[data-column=accepted] [data-fulfilment^='{order_id}-']").wait_for()
    network.blocks = False
    page.get_by_text("Live", exact=True).wait_for(timeout=60_000)
    page.locator(POLLING).wait_for(state="detached")
    later = house.order(shop.store_id, "Grace Hopper")
    page.locator(f"[data-column=new] [data-fulfilment^='{later}-']").wait_for()
    assert page.locator(f"[data-fulfilment^='{order_id}-']").count() == 1


def test_a_rider_gets_offers_and_delivers_over_http(
    house: House, device: Any, shot: Any, network: NarrowNetwork
) -> None:
    shop = Shop(house)
    page = device(geolocation=shop.place, permissions=["geolocation"], **PHONE)
    page.goto(through(network, house, "rider", "rider", shop.rider_id))
    action(page, "Start shift").click()
    page.locator(POLLING).wait_for()
    page.get_by_role("heading", name="Waiting for offers").wait_for()
    shop.packed()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    action(page, "I am at the store").click()
    action(page, "Picked up").wait_for()
    shot(page, "narrow-2-rider")
    assert violations(page) == []
    eventually(lambda: [p["state"] for p in shop.rider()["parcels"]] == ["at_store"])


def test_the_monitor_goes_on_over_http(house: House, device: Any, network: NarrowNetwork) -> None:
    store_id = house.store("Quiet corner")
    page = device(1440, 900)
    page.goto(through(network, house, "monitor", "ops", "ana"))
    page.get_by_text("Every second (no WebSocket)").wait_for()
    figure = page.locator(".figures dd").nth(1)
    before = int(figure.inner_text().split()[0])
    house.order(store_id)
    page.wait_for_function(
        "open => parseInt(document.querySelectorAll('.figures dd')[1].textContent) > open",
        arg=before,
    )
