"""All three pages at once: an order from click to cash, and a gateway killed on the way."""

from collections import Counter
from typing import Any

import pytest

from tests.browser.conftest import House, eventually
from tests.browser.shop import Shop, action

pytestmark = pytest.mark.timeout(240)


class Scene:
    """A store's tablet, its rider's phone and the monitor, side by side in one browser."""

    def __init__(self, house: House, device: Any) -> None:
        self.house = house
        self.shop = Shop(house)
        self.monitor = device(1440, 900)
        self.monitor.goto(house.link("monitor", "ops", "ana"))
        self.tablet = device(1280, 800)
        self.tablet.goto(house.link("tablet", "store", self.shop.store_id))
        self.phone = self.shop.on_shift(device)
        for page in (self.monitor, self.tablet):
            page.get_by_text("Live", exact=True).wait_for()

    def card(self, column: str, order_id: str) -> Any:
        return self.tablet.locator(f"[data-column={column}] [data-fulfilment^='{order_id}-']")

    def sheet(self) -> Any:
        return self.tablet.get_by_role("dialog")

    def funnel(self, step: str) -> int:
        return int(self.house.call("GET", "/monitor", "ops")["funnel"].get(step, 0))

    def hand_in(self, due: str) -> None:
        """The rider brings the cash; the desk counts and takes it."""
        self.monitor.get_by_role("tab", name="Riders").click()
        row = self.monitor.get_by_role("row").filter(has_text=self.shop.rider_id)
        row.get_by_role("button", name=f"Take cash: {due}").click()
        sheet = self.monitor.get_by_role("dialog")
        sheet.get_by_text(f"Owes {due}", exact=True).wait_for()
        assert sheet.get_by_role("textbox", name="Why").count() == 0, "the sum is exact"
        sheet.get_by_role("button", name="Take cash").click()
        sheet.wait_for(state="detached")


def sent_keys(page: Any) -> dict[str, Counter[str]]:
    """Idempotency-Keys of each action the page sends from now on, by the action's address."""
    found: dict[str, Counter[str]] = {}

    def note(request: Any) -> None:
        if request.method == "POST" and "idempotency-key" in request.headers:
            step = found.setdefault(request.url.split("/v1/")[1], Counter())
            step[request.headers["idempotency-key"]] += 1

    page.on("request", note)
    return found


def test_one_order_goes_from_click_to_cash_across_the_three_pages(
    house: House, device: Any, shot: Any
) -> None:
    scene = Scene(house, device)
    tablet, phone, monitor = scene.tablet, scene.phone, scene.monitor
    delivered = scene.funnel("delivered")
    order_id = house.order(scene.shop.store_id)
    total = house.read(order_id)["total"]
    due = f"€{total / 100:.2f}"

    scene.card("new", order_id).get_by_role("button", name="Accept", exact=True).click()
    monitor.get_by_role("searchbox").fill(order_id)
    monitor.get_by_role("searchbox").press("Enter")
    story = monitor.locator("dialog.side")
    story.get_by_text("Placed, priced and routed").wait_for()
    monitor.keyboard.press("Escape")

    scene.card("accepted", order_id).get_by_role("button", name="Start picking").click()
    for item in ("Darjeeling", "Porcelain", "Plum"):
        scene.sheet().get_by_role("button", name=f"Found: {item}").click()
    scene.sheet().get_by_role("button", name="Ready", exact=True).click()
    scene.card("ready", order_id).wait_for()

    phone.get_by_role("dialog").get_by_text(due).first.wait_for()
    phone.get_by_role("dialog").get_by_role("button", name="Accept").click()
    action(phone, "I am at the store").click()
    scene.card("ready", order_id).get_by_text("is here").wait_for()
    shot(tablet, "story-1-rider-at-counter")
    action(phone, "Picked up").click()
    scene.card("out", order_id).wait_for()
    action(phone, "I am at the door").click()
    action(phone, f"Take {due}").click()
    cash = phone.get_by_role("dialog")
    cash.get_by_role("textbox", name="Cash received").fill("50")
    cash.get_by_text(f"€{50 - total / 100:.2f}").wait_for()
    cash.get_by_role("button", name="Delivered, cash taken").click()
    phone.get_by_role("heading", name="Waiting for offers").wait_for()

    phone.get_by_role("button", name=f"You hold {due}").wait_for()
    scene.hand_in(due)
    phone.get_by_role("button", name="You hold €0.00").wait_for()

    tablet.locator(f"[data-fulfilment^='{order_id}-']").wait_for(state="detached")
    eventually(lambda: house.read(order_id)["state"] == "completed")
    eventually(lambda: scene.funnel("delivered") == delivered + 1)
    assert house.read(order_id)["cash_collected"] == total
    monitor.get_by_role("searchbox").fill(order_id)
    monitor.get_by_role("searchbox").press("Enter")
    steps = (
        "Placed, priced and routed", "Cash on delivery confirmed", "Stock locked", "Accepted",
        "Picked and packed", "Picked up", "Stock sold", "Delivered", "Cash taken at the door",
        "Completed",
    )  # fmt: skip
    for step in steps:
        story.locator(".story").get_by_text(step, exact=True).first.wait_for()
    story.locator(".state").get_by_text("Completed").wait_for()
    shot(monitor, "story-2-timeline")


def test_pages_outlive_a_killed_gateway_and_send_once_what_was_pressed_meanwhile(
    house: House, device: Any, shot: Any
) -> None:
    scene = Scene(house, device)
    tablet, phone, monitor = scene.tablet, scene.phone, scene.monitor
    carried = scene.shop.packed()
    phone.get_by_role("dialog").get_by_role("button", name="Accept").click()
    action(phone, "I am at the store").wait_for()
    order_id = house.order(scene.shop.store_id, "Grace Hopper")
    scene.card("new", order_id).wait_for()
    by_tablet, by_phone = sent_keys(tablet), sent_keys(phone)

    with house.gateway_killed():
        tablet.locator("[data-banner=offline]").wait_for()
        phone.get_by_text("No connection. Your run stays here").wait_for()
        monitor.get_by_text("No connection. What you see is from").wait_for()
        scene.card("new", order_id).get_by_role("button", name="Accept", exact=True).click()
        scene.card("accepted", order_id).get_by_text("Not sent yet").wait_for()
        action(phone, "I am at the store").click()
        action(phone, "Picked up").wait_for()
        shot(tablet, "gateway-1-away-tablet")
        shot(phone, "gateway-2-away-rider")
        shot(monitor, "gateway-3-away-monitor")

    later = house.order(scene.shop.store_id, "Mary Somerville")
    scene.card("new", later).wait_for()
    for page in (tablet, monitor):
        page.get_by_text("Live", exact=True).wait_for()
    phone.get_by_text("No connection. Your run stays here").wait_for(state="detached")
    tablet.locator(".pending").first.wait_for(state="detached")
    scene.card("accepted", order_id).wait_for()
    parcels = eventually(
        lambda: [p for p in scene.shop.rider()["parcels"] if p["state"] == "at_store"]
    )
    assert [carried in str(one) for one in parcels] == [True]
    ticket = house.call("GET", f"/stores/{scene.shop.store_id}/tickets/{order_id}-1", "ops")
    assert ticket["state"] == "accepted"
    # However often it went out, it was one action: one key.
    (accepted,) = [keys for path, keys in by_tablet.items() if path.endswith("/accept")]
    (arrived,) = [keys for path, keys in by_phone.items() if path.endswith("/arrive-at-store")]
    assert (len(accepted), len(arrived)) == (1, 1)
    # The phone goes on where it was.
    action(phone, "Picked up").click()
    scene.card("out", carried).wait_for()
