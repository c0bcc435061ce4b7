"""At 320 pixels, with long names, in both languages: nothing is cut off or scrolls sideways
(WCAG 1.4.10, Reflow)."""

from typing import Any

import pytest

from tests.browser.axe import violations
from tests.browser.conftest import House
from tests.browser.shop import Shop, refused

pytestmark = pytest.mark.timeout(180)

LONG = "欧阳上官夏侯诸葛尔朱独孤 von und zu Hohenstaufen-Sigmaringen"
SMALL = {"width": 320, "height": 640}
LANGUAGES = ("en-GB", "zh-CN")


CUT_OFF = """() => {
  const reads = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== "";
  const box = (one) => {
    const style = getComputedStyle(one);
    const seen = one.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    const forEars = style.clipPath !== "none";
    const scrolls = ["auto", "scroll"].includes(style.overflowX);
    return seen && !forEars && !scrolls && one.clientWidth > 0 && one.innerText.trim() !== "" &&
      ([...one.childNodes].some(reads) || ["hidden", "clip"].includes(style.overflowX));
  };
  const elsewhere = ".leaflet-container, [_echarts_instance_], select, svg, [role=table]";
  const cut = [...document.body.querySelectorAll("*")]
    .filter((one) => one instanceof HTMLElement && !one.closest(elsewhere))
    .filter((one) => box(one) && one.scrollWidth > one.clientWidth + 1)
    .map((one) => `<${one.localName} class="${one.className}"> ${one.innerText.slice(0, 60)}`);
  const wide = document.documentElement.scrollWidth > innerWidth;
  return [...(wide ? ["the page scrolls sideways"] : []), ...cut];
}"""


def cut_off(page: Any) -> list[str]:
    """What cannot be read without scrolling sideways: the page if it is too wide, and every visible
    text that does not fit its box, unless that is meant to scroll (a board of columns, a map). Data
    tables are their own case (WCAG 1.4.10 exempts them): they scroll by themselves."""
    found: list[str] = page.evaluate(CUT_OFF)
    return found


@pytest.mark.parametrize("locale", LANGUAGES)
def test_a_tablet_page_on_a_small_phone(house: House, device: Any, shot: Any, locale: str) -> None:
    store_id = house.store("南锣鼓巷旗舰店 Corner shop at the old town hall")
    page = device(**SMALL, locale=locale)
    page.goto(house.link("tablet", "store", store_id))
    order_id = house.order(store_id, LONG, note="请放在门口，不要按门铃，婴儿在睡觉。" * 3)
    card = page.locator(f"[data-fulfilment^='{order_id}-']")
    card.wait_for()
    shot(page, f"small-tablet-{locale}")
    assert cut_off(page) == []
    assert violations(page) == []
    card.locator(".cover").click()
    page.get_by_role("dialog").wait_for()
    assert cut_off(page) == []
    shot(page, f"small-tablet-sheet-{locale}")


@pytest.mark.parametrize("locale", LANGUAGES)
def test_a_rider_page_on_a_small_phone(house: House, device: Any, shot: Any, locale: str) -> None:
    shop = Shop(house)
    page = device(geolocation=shop.place, permissions=["geolocation"], **SMALL, locale=locale)
    page.goto(house.link("rider", "rider", shop.rider_id))
    page.get_by_role("button", name="Start shift" if locale == "en-GB" else "开始上班").click()
    page.locator(".idle").wait_for()
    shop.packed(customer=LONG)
    page.get_by_role("dialog").wait_for(timeout=60_000)
    assert cut_off(page) == []
    shot(page, f"small-rider-offer-{locale}")
    page.get_by_role("button", name="Accept" if locale == "en-GB" else "接单").click()
    page.locator(".run li").first.wait_for()
    page.get_by_text(LONG).first.wait_for()
    assert cut_off(page) == []
    assert violations(page) == []
    shot(page, f"small-rider-run-{locale}")


@pytest.mark.parametrize("locale", LANGUAGES)
def test_the_monitor_on_a_small_phone(house: House, device: Any, shot: Any, locale: str) -> None:
    order_id = refused(house, house.store("Corner shop"))
    page = device(**SMALL, locale=locale)
    page.goto(house.link("monitor", "ops", "ana"))
    page.locator(".figures").wait_for()
    page.locator(".anomalies li", has_text=order_id).wait_for()
    assert cut_off(page) == []
    assert violations(page) == []
    shot(page, f"small-monitor-{locale}")
    page.get_by_role("button", name="Settings" if locale == "en-GB" else "设置").click()
    page.get_by_role("button", name="Devices" if locale == "en-GB" else "设备").click()
    page.get_by_role("dialog").get_by_role("listitem").first.wait_for()
    assert cut_off(page) == []
    shot(page, f"small-monitor-devices-{locale}")


def test_a_text_that_does_not_fit_its_box_is_found(device: Any) -> None:
    page = device(**SMALL)
    page.set_content(
        "<p style='width: 40px; overflow: hidden; white-space: nowrap'>a word too many</p>"
        "<p style='width: 40px; overflow: auto; white-space: nowrap'>this one may scroll</p>"
        "<p>this one wraps where it has to, however long it may be: it is read in whole</p>"
    )
    assert cut_off(page) == ['<p class=""> a word too many']
