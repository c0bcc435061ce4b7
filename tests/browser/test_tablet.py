"""The store's tablet as a clerk uses it: real Chromium, real service."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import violations
from tests.browser.conftest import ROOT, House, eventually
from tests.browser.shop import Shop

pytestmark = pytest.mark.timeout(180)


def paired(house: House, device: Any, store_id: str, **more: Any) -> Any:
    page = device(**more)
    page.goto(house.link("tablet", "store", store_id))
    page.get_by_text("Live", exact=True).wait_for()
    return page


def column(page: Any, name: str) -> Any:
    return page.locator(f"[data-column={name}]")


def card(page: Any, order_id: str) -> Any:
    return page.locator(f"[data-fulfilment^='{order_id}-']")


def all_sent(page: Any) -> None:
    """Nothing that was pressed waits for its answer any more."""
    page.locator(".pending").first.wait_for(state="detached")


def test_an_order_goes_over_the_counter_from_new_to_ready(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    assert "pair=" not in page.url
    shot(page, "tablet-1-empty")
    order_id = house.order(store_id)
    house.order(store_id, "Grace Hopper", lines=[{"sku": "tea", "quantity": 1}], note="Ring twice")
    house.order(store_id, "Alan Turing", delivery="pickup")
    card(page, order_id).wait_for()
    column(page, "new").get_by_text("Alan Turing").wait_for()
    shot(page, "tablet-2-new")
    assert "3" in page.title()
    card(page, order_id).get_by_role("button", name="Accept", exact=True).click()
    column(page, "accepted").locator(f"[data-fulfilment^='{order_id}-']").wait_for()
    card(page, order_id).get_by_role("button", name="Start picking").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_role("button", name="Found: Darjeeling").click()
    sheet.get_by_role("button", name="Not there: Plum jam").click()
    sheet.get_by_text("2 of 3 packed").wait_for()
    shot(page, "tablet-3-picking")
    sheet.get_by_role("button", name="Ready", exact=True).click()
    sheet.get_by_text("1 line not ticked").wait_for()
    shot(page, "tablet-4-unticked")
    sheet.get_by_role("button", name="Yes, all packed").click()
    column(page, "ready").locator(f"[data-fulfilment^='{order_id}-']").wait_for()
    shot(page, "tablet-5-ready")
    all_sent(page)
    ticket = house.call("GET", f"/stores/{store_id}/tickets/{order_id}-1", "ops")
    assert ticket["state"] == "ready"
    assert {line["sku"]: line["picked"] for line in ticket["lines"]} == {
        "tea": 2, "cup": 1, "jam": 2,
    }  # fmt: skip
    assert ticket["accepted_by"].startswith("tablet-")


def test_a_customer_collects_with_the_code_and_pays_the_exact_cash(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    order_id = house.order(store_id, "Alan Turing", delivery="pickup")
    card(page, order_id).get_by_role("button", name="Accept", exact=True).click()
    card(page, order_id).get_by_role("button", name="Start picking").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_role("button", name="Ready", exact=True).click()
    sheet.get_by_role("button", name="Yes, all packed").click()
    card(page, order_id).get_by_role("button", name="Customer is here").click()
    sheet.get_by_label("Pick-up code").fill("000000")
    sheet.get_by_role("checkbox").check()
    sheet.get_by_role("button", name="Hand out").click()
    sheet.get_by_text("the code is wrong.").wait_for()
    shot(page, "tablet-6-wrong-code")
    sheet.get_by_label("Pick-up code").fill(house.read(order_id)["pickup_code"])
    sheet.get_by_role("button", name="Hand out").click()
    card(page, order_id).wait_for(state="detached")
    page.get_by_role("button", name="Finished today").click()
    page.get_by_role("dialog").get_by_text("Collected").wait_for()
    shot(page, "tablet-7-finished")
    eventually(
        lambda: house.read(order_id)["fulfilments"][0]["state"] in ("collected", "completed")
    )


def test_why_units_are_short_is_said_offline_and_decides_what_becomes_of_the_stock(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    order_id = house.order(store_id)
    card(page, order_id).get_by_role("button", name="Accept", exact=True).click()
    card(page, order_id).get_by_role("button", name="Start picking").click()
    all_sent(page)
    page.context.set_offline(True)
    page.locator("[data-banner=offline]").wait_for()
    sheet = page.get_by_role("dialog")
    for item, button, hint in (
        ("Darjeeling", "Not there", "The rest is not on the shelf: it leaves the stock."),
        ("Plum jam", "There, but not wanted", "it can be sold again."),
        ("Plum jam", "Not there, substitute refused", "the customer wants nothing else"),
        ("Plum jam", "There, but not wanted", "it can be sold again."),
    ):
        why = sheet.get_by_role("button", name=f"{button}: {item}")
        why.click()
        line = sheet.locator(".line", has_text=item)
        line.get_by_text(hint).wait_for()
        assert why.get_attribute("aria-pressed") == "true"
        assert line.locator(".why[aria-pressed=true]").count() == 1
    assert violations(page) == []
    shot(page, "tablet-18-why-short")
    page.context.set_offline(False)
    page.get_by_text("Live", exact=True).wait_for()
    sheet.get_by_role("button", name="Ready", exact=True).click()
    sheet.get_by_role("button", name="Yes, all packed").click()
    column(page, "ready").locator(f"[data-fulfilment^='{order_id}-']").wait_for()
    all_sent(page)

    def told() -> dict[str, tuple[int, str]]:
        lines = house.read(order_id)["lines"]
        return {line["sku"]: (line["short_quantity"], line["short_reason"]) for line in lines}

    eventually(lambda: told() == {"tea": (1, "missing"), "cup": (0, ""), "jam": (1, "unwanted")})


def test_the_clerk_counts_a_riders_cash_and_says_why_some_is_missing(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    owed = shop.delivered_for_cash()
    page = paired(house, device, shop.store_id)
    page.get_by_role("button", name="Riders’ cash").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=f"Take cash: {shop.rider_id}").click()
    counted = dialog.get_by_label("Cash counted (EUR)")
    counted.fill(f"{(owed - 50) / 100:.2f}")
    dialog.get_by_text("€0.50 is missing").wait_for()
    take = dialog.get_by_role("button", name=f"Take €{(owed - 50) / 100:.2f}")
    assert take.is_disabled()
    dialog.get_by_label("Why is it another sum?").fill("gave too much change")
    assert violations(page) == []
    shot(page, "tablet-19-riders-cash")
    take.click()
    page.get_by_text(f"taken from rider {shop.rider_id}").first.wait_for()
    rider = house.call("GET", f"/riders/{shop.rider_id}", "ops")
    assert rider["cash_held"] == 0
    dialog.locator(f"[data-rider='{shop.rider_id}']").get_by_text("Owes nothing").wait_for()


def test_cash_that_operations_took_meanwhile_is_not_booked_again(
    house: House, device: Any, shot: Any
) -> None:
    shop = Shop(house)
    owed = shop.delivered_for_cash()
    page = paired(house, device, shop.store_id)
    page.get_by_role("button", name="Riders’ cash").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=f"Take cash: {shop.rider_id}").click()
    sum_owed = f"€{owed / 100:.2f}"
    dialog.get_by_role("button", name=f"Exactly {sum_owed}").click()
    path = f"/riders/{shop.rider_id}/remittances"
    taken = house.call("POST", path, "ops", amount=owed, owed=owed)
    assert taken["cash_held"] == 0
    take = dialog.get_by_role("button", name=f"Take {sum_owed}")
    take.click()
    dialog.get_by_role("alert").get_by_text("Nothing was booked").wait_for()
    dialog.get_by_text("Owes €0.00", exact=True).wait_for()
    assert take.is_disabled()
    assert violations(page) == []
    shot(page, "tablet-20-cash-taken-meanwhile")
    dialog.get_by_role("button", name="Cancel").click()
    dialog.locator(f"[data-rider='{shop.rider_id}']").get_by_text("Owes nothing").wait_for()


def test_a_rejected_order_needs_a_reason_and_leaves_the_board(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    order_id = house.order(store_id)
    card(page, order_id).get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("button", name="Reject").is_disabled()
    dialog.get_by_text("Too much to do").click()
    shot(page, "tablet-8-reject")
    dialog.get_by_role("button", name="Reject").click()
    card(page, order_id).wait_for(state="detached")
    all_sent(page)


def test_offline_the_list_stays_and_actions_are_sent_once_on_return(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    kept, cancelled = house.order(store_id), house.order(store_id, "Grace Hopper")
    card(page, kept).wait_for()
    card(page, cancelled).wait_for()
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url) if one.method == "POST" else None)
    page.context.set_offline(True)
    page.locator("[data-banner=offline]").wait_for()
    card(page, kept).get_by_role("button", name="Accept", exact=True).click()
    card(page, cancelled).get_by_role("button", name="Accept", exact=True).click()
    page.get_by_text("2 actions waiting to be sent").wait_for()
    column(page, "accepted").locator(".ticket").nth(1).wait_for()
    shot(page, "tablet-9-offline")
    house.call("POST", f"/orders/{cancelled}/cancel", "ops", reason="changed my mind")
    later = house.order(store_id, "Mary Somerville")
    page.context.set_offline(False)
    page.get_by_text("Live", exact=True).wait_for()
    card(page, later).wait_for()
    page.locator("[data-banner=notice]").get_by_text("Grace Hopper").wait_for()
    page.get_by_text("Too late for order").wait_for()
    shot(page, "tablet-10-back-online")
    card(page, cancelled).wait_for(state="detached")
    all_sent(page)
    ticket = house.call("GET", f"/stores/{store_id}/tickets/{kept}-1", "ops")
    assert ticket["state"] == "accepted"
    assert len([url for url in sent if f"{kept}-1/accept" in url]) == 1


def test_the_board_says_how_old_it_is_also_while_the_service_is_tried_again(
    house: House, device: Any
) -> None:
    store_id = house.store()
    page = device()
    hangs: list[bool] = []
    page.route_web_socket("**/socket", lambda one: one.connect_to_server() if not hangs else None)
    page.goto(house.link("tablet", "store", store_id))
    page.get_by_text("Live", exact=True).wait_for()
    hangs.append(True)
    told = page.locator("[data-banner=offline]")
    page.context.set_offline(True)
    told.wait_for()
    # There is a network again, and the connection that is begun over it brings nothing yet.
    page.context.set_offline(False)
    page.get_by_text("Connecting", exact=True).wait_for()
    assert told.get_by_text("Orders shown are as of").count() == 1
    # It is no longer said once all orders are here, over HTTP.
    page.locator("[data-banner=polling]").wait_for()
    assert told.count() == 0


def test_a_reload_without_network_shows_what_the_device_holds_and_keeps_the_queue(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    order_id = house.order(store_id)
    card(page, order_id).wait_for()
    page.evaluate("navigator.serviceWorker.ready.then(() => 1)")
    page.context.set_offline(True)
    page.locator("[data-banner=offline]").wait_for()
    card(page, order_id).get_by_role("button", name="Accept", exact=True).click()
    card(page, order_id).get_by_text("Not sent yet").wait_for()
    page.reload()
    column(page, "accepted").locator(f"[data-fulfilment^='{order_id}-']").wait_for()
    page.locator("[data-banner=offline]").get_by_text("Orders shown are as of").wait_for()
    shot(page, "tablet-11-reloaded-offline")
    page.context.set_offline(False)
    page.get_by_text("Live", exact=True).wait_for()
    all_sent(page)
    ticket = house.call("GET", f"/stores/{store_id}/tickets/{order_id}-1", "ops")
    assert ticket["state"] == "accepted"


def test_a_cancelled_order_disappears_and_says_so(house: House, device: Any, shot: Any) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    order_id = house.order(store_id)
    card(page, order_id).get_by_role("button", name="Accept", exact=True).click()
    column(page, "accepted").locator(f"[data-fulfilment^='{order_id}-']").wait_for()
    all_sent(page)
    house.call("POST", f"/orders/{order_id}/cancel", "ops", reason="changed my mind")
    page.locator("[data-banner=notice]").get_by_text("changed my mind").wait_for()
    card(page, order_id).wait_for(state="detached")
    page.reload()
    page.locator("[data-banner=notice]").get_by_text("changed my mind").wait_for()
    shot(page, "tablet-12-cancelled")
    page.get_by_role("button", name="Dismiss").first.click()
    page.locator("[data-banner=notice]").wait_for(state="detached")


def test_a_cancel_while_picking_asks_whether_the_goods_are_held_back(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    order_id = house.order(store_id)
    card(page, order_id).get_by_role("button", name="Accept", exact=True).click()
    card(page, order_id).get_by_role("button", name="Start picking").click()
    page.keyboard.press("Escape")
    all_sent(page)
    house.call("POST", f"/orders/{order_id}/cancel", "ops", reason="wrong address")
    card(page, order_id).get_by_text("The customer wants to cancel").wait_for()
    shot(page, "tablet-13-cancel-asked")
    card(page, order_id).get_by_role("button", name="Yes, kept here").click()
    card(page, order_id).wait_for(state="detached")


def test_two_tablets_of_a_store_show_the_same_and_one_act_is_seen_by_both(
    house: House, device: Any
) -> None:
    store_id = house.store()
    one, other = paired(house, device, store_id), paired(house, device, store_id)
    order_id = house.order(store_id)
    card(other, order_id).wait_for()
    card(one, order_id).get_by_role("button", name="Accept", exact=True).click()
    column(other, "accepted").locator(f"[data-fulfilment^='{order_id}-']").wait_for()


def test_a_second_window_takes_over_and_the_first_can_take_it_back(
    house: House, device: Any, shot: Any
) -> None:
    store_id = house.store()
    first = paired(house, device, store_id)
    order_id = house.order(store_id)
    card(first, order_id).locator(".cover").click()
    first.get_by_role("dialog").wait_for()
    second = first.context.new_page()
    second.goto(f"{house.url}/tablet")
    second.get_by_text("Live", exact=True).wait_for()
    first.get_by_role("button", name="Use it here").wait_for()
    first.get_by_role("dialog").wait_for(state="detached")
    # It still shows the order, and nothing on it can be pressed.
    place = card(first, order_id).locator(".act button", has_text="Accept").bounding_box()
    first.mouse.click(place["x"] + 9, place["y"] + 9)
    assert column(first, "new").locator(".ticket").count() == 1
    assert first.get_by_role("button", name="Pause", exact=True).is_disabled()
    assert violations(first) == []
    shot(first, "tablet-21-superseded")
    card(second, order_id).get_by_role("button", name="Accept", exact=True).click()
    column(second, "accepted").locator(".ticket").wait_for()
    all_sent(second)
    first.get_by_role("button", name="Use it here").click()
    first.get_by_text("Live", exact=True).wait_for()
    column(first, "accepted").locator(".ticket").wait_for()
    second.get_by_role("button", name="Use it here").wait_for()


def test_a_stores_session_reaches_nothing_of_another_store(house: House, device: Any) -> None:
    own, foreign = house.store(), house.store("Other shop")
    page = paired(house, device, own)
    ask = """async ([path, method]) => (await fetch(path, {method, headers: {
        'doorstep-requested-with': 'store', 'idempotency-key': 'x', 'content-type':
        'application/json'}, body: method === 'POST' ? '{"paused": true}' : null})).status"""
    assert page.evaluate(ask, [f"/v1/stores/{own}/tickets", "GET"]) == 200
    assert page.evaluate(ask, [f"/v1/stores/{foreign}/tickets", "GET"]) == 403
    assert page.evaluate(ask, [f"/v1/stores/{foreign}/pause", "POST"]) == 403
    closed = page.evaluate(
        """id => new Promise(done => {
            const socket = new WebSocket(`ws://${location.host}/v1/stores/${id}/socket`);
            socket.onopen = () => socket.send(JSON.stringify(
                {frame: 'auth', token: '', device_id: 'd', epoch: '', acked: null}));
            socket.onclose = event => done(event.code);
        })""",
        foreign,
    )
    assert closed == 4200
    assert page.evaluate("document.cookie") == ""


def test_the_store_and_an_item_are_paused_and_resumed(house: House, device: Any, shot: Any) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    page.get_by_role("button", name="Pause", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Find an item").fill("jam")
    dialog.get_by_role("button", name="Pause: Plum jam").click()
    dialog.get_by_role("button", name="Resume: Plum jam").wait_for()
    dialog.get_by_role("button", name="Pause the store").click()
    page.get_by_text("The store takes no new orders until").first.wait_for()
    shot(page, "tablet-14-paused")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Resume orders").click()
    page.get_by_text("The store takes no new orders until").wait_for(state="detached")


def test_search_finds_by_customer_and_item_from_the_keyboard(house: House, device: Any) -> None:
    store_id = house.store()
    page = paired(house, device, store_id)
    one = house.order(store_id, "Ada Lovelace", lines=[{"sku": "tea", "quantity": 1}])
    other = house.order(store_id, "Grace Hopper", lines=[{"sku": "jam", "quantity": 1}])
    card(page, other).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("hopper")
    card(page, one).wait_for(state="detached")
    page.keyboard.press("Escape")
    page.keyboard.type("darjeeling")
    card(page, other).wait_for(state="detached")
    card(page, one).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tablet_is_usable_by_everybody(
    house: House, device: Any, shot: Any, scheme: str
) -> None:
    store_id = house.store()
    page = paired(house, device, store_id, color_scheme=scheme)
    order_id = house.order(store_id)
    card(page, order_id).wait_for()
    page.emulate_media(reduced_motion="reduce")
    assert violations(page) == []
    shot(page, f"tablet-15-{scheme}")
    card(page, order_id).get_by_role("button", name="Accept", exact=True).click()
    card(page, order_id).get_by_role("button", name="Start picking").click()
    page.get_by_role("button", name="Found: Darjeeling").click()
    assert violations(page) == []
    shot(page, f"tablet-16-sheet-{scheme}")


def test_the_language_is_switched_in_the_page(house: House, device: Any, shot: Any) -> None:
    store_id = house.store()
    page = paired(house, device, store_id, width=820, height=1180)
    house.order(store_id)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("radio", name="中文").check()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="新订单").wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    shot(page, "tablet-17-chinese")


def test_an_unpaired_device_asks_for_a_code_and_explains_a_wrong_one(
    house: House, device: Any, shot: Any
) -> None:
    page = device(820, 1180)
    page.goto(f"{house.url}/tablet")
    page.get_by_label("Pairing code").fill("ABCD2345")
    page.get_by_role("button", name="Pair").click()
    page.get_by_text("This code is unknown, used or no longer valid").wait_for()
    assert violations(page) == []
    shot(page, "tablet-0-pairing")


def test_a_page_paints_before_the_service_has_answered_anything(house: House, device: Any) -> None:
    page = device()
    page.route("**/v1/**", lambda route: None)  # never answered
    painted = "() => performance.getEntriesByName('first-contentful-paint').length === 1"
    with page.expect_request("**/v1/devices/me"):
        page.goto(f"{house.url}/tablet", wait_until="commit")
        page.wait_for_function(painted)


def test_no_page_carries_more_script_than_its_budget() -> None:
    from tests.browser.weights import script_bytes

    static = Path(ROOT / "orchestrator" / "static")
    if not (static / "tablet.html").is_file():
        pytest.skip("the pages are not built: ./run pages")
    budgets = {"tablet": 350_000, "rider": 350_000, "monitor": 700_000}
    for page, budget in budgets.items():
        assert 0 < script_bytes(static, page) <= budget, page
