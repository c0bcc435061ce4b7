"""The pages in a real browser: first paint, an order's way onto a tablet, what the monitor costs.

Clock: a ticket's message carries ``at``, the service time at which its batch was decided, before it
was written to disk; the page notes when the frame with the new card was drawn. Browser and service
share this machine's clock, the service runs at speed 1.0. Processor time is Chromium's own word
(``SystemInfo.getProcessInfo``) on a browser that shows nothing but the monitor.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

from loadtests.figures import quantile
from loadtests.processes import BenchError, service
from loadtests.shop import Shop, open_shop
from orchestrator.client import DoorstepClient, InboxMessage

__all__ = ["measure_pages"]

PAGES = (("tablet", "store", "store-00"), ("rider", "rider", "rider-1"), ("monitor", "ops", "ana"))
PAINTS = 3
OPEN_ORDERS = 2_000
SHOWN_S = 30.0
SETTLE_S = 3.0
PATIENCE_MS = 60_000.0

FIRST_PAINT = """() => new Promise(done => new PerformanceObserver(list => {
    const paint = list.getEntriesByName('first-contentful-paint')[0];
    if (paint) done(paint.startTime);
}).observe({type: 'paint', buffered: true}))"""

NOTE_CARDS = """
globalThis.shown = {};
new MutationObserver(() => {
    const now = () => performance.timeOrigin + performance.now();
    for (const card of document.querySelectorAll('[data-fulfilment]')) {
        const id = card.dataset.fulfilment;
        if (id in globalThis.shown) continue;
        globalThis.shown[id] = null;
        // The task behind the next frame: by then it was drawn.
        requestAnimationFrame(() => setTimeout(() => { globalThis.shown[id] = now(); }));
    }
}).observe(document, {subtree: true, childList: true});
"""


async def measure_pages(
    progress: Callable[[str], None], *, rate: float = 100.0, seconds: float = 20.0
) -> dict[str, Any]:
    """The figures of ``bench pages``. Times in milliseconds, shares in percent of one core."""
    progress("starting the service")
    async with service() as running:
        shop = await open_shop(running, progress)
        try:
            found: dict[str, Any] = {}
            async with _browser() as browser:
                for page, role, subject in PAGES:
                    progress(f"first paint of the {page}")
                    paints = [
                        await _first_paint(browser, shop, page, role, subject)
                        for _ in range(PAINTS)
                    ]
                    found[f"{page}_paint_ms"] = round(median(paints), 1)
                    found[f"{page}_paint_max_ms"] = round(max(paints), 1)
                progress(f"the tablet at {rate:.0f} orders a second for {seconds:.0f} s")
                found |= await _tablet(browser, shop, rate, seconds)
            left = OPEN_ORDERS - await _open_orders(shop)
            if left > 0:
                progress(f"placing {left} more orders")
                await shop.steady(rate, left / rate + 1, 1)
            async with _browser() as browser:
                found |= await _monitor(browser, shop, rate, seconds, progress)
        finally:
            await shop.ops.close()
    found["load_average"] = round(os.getloadavg()[0], 1)
    found["clock"] = "frame drawn minus service time of the decision, one machine, speed 1.0"
    return found


@asynccontextmanager
async def _browser() -> AsyncIterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise BenchError("There is no Chromium on PATH. Debian: apt-get install chromium")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise BenchError("Playwright is not installed: pip install playwright") from None
    async with async_playwright() as running:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = await running.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            await browser.close()


async def _paired(browser: Any, shop: Shop, page: str, role: str, subject: str) -> Any:
    """The page on a device of its own, paired and at work."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(NOTE_CARDS)
    opened = await context.new_page()
    code = (await shop.ops.create_pairing_code(role, subject)).code
    await opened.goto(f"{shop.service.url}/{page}#pair={code}")
    await opened.wait_for_function("() => !location.hash && !document.querySelector('.pair')")
    return opened


async def _first_paint(browser: Any, shop: Shop, page: str, role: str, subject: str) -> float:
    """With nothing in the browser's caches, paired as it is every day."""
    opened = await _paired(browser, shop, page, role, subject)
    context = opened.context
    try:
        fresh = await context.new_page()
        session = await context.new_cdp_session(fresh)
        await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        await session.send("Network.setBypassServiceWorker", {"bypass": True})
        await fresh.goto(f"{shop.service.url}/{page}")
        return float(await fresh.evaluate(FIRST_PAINT))
    finally:
        await context.close()


async def _tablet(browser: Any, shop: Shop, rate: float, seconds: float) -> dict[str, Any]:
    """Orders of the whole city, of which one store's tablet shows its share."""
    store = shop.stores[0]
    page = await _paired(browser, shop, "tablet", "store", store)
    await page.get_by_text("Live", exact=True).wait_for()
    (token,) = await shop.service.tokens("store", [store])
    client = DoorstepClient(shop.service.url, token)
    committed: dict[str, float] = {}
    live = asyncio.Event()
    task = asyncio.create_task(_listen(client, store, committed, live))
    try:
        await asyncio.wait_for(live.wait(), SHOWN_S)
        seen = await shop.steady(rate, seconds, 0)
        shown = await _all_shown(page, committed)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()
        await page.context.close()
    times = [shown[one] - at for one, at in committed.items() if shown.get(one)]
    if not times:
        raise BenchError("No order reached the store that was watched; give it more seconds.")
    return {
        "orders_per_s": round(seen.per_s, 1),
        "tablet_orders": len(committed),
        "missing": len(committed) - len(times),
        "tablet_p50_ms": round(quantile(times, 0.5), 1),
        "tablet_p99_ms": round(quantile(times, 0.99), 1),
        "tablet_max_ms": round(max(times), 1),
    }


async def _listen(
    client: DoorstepClient, store: str, committed: dict[str, float], live: asyncio.Event
) -> None:
    """When each ticket of the store was decided, in epoch milliseconds."""
    async with client.store_socket(store, "bench") as socket:
        async for item in socket:
            if not isinstance(item, InboxMessage):
                live.set()
            elif item.type == "ticket.opened":
                committed[item.data["ticket"]["fulfilment_id"]] = item.at.timestamp() * 1000


async def _all_shown(page: Any, committed: dict[str, float]) -> dict[str, float]:
    """When each was drawn; waits (bounded) for the last ones."""
    until = time.monotonic() + SHOWN_S
    while True:
        shown: dict[str, float] = await page.evaluate("globalThis.shown")
        drawn = all(shown.get(one) for one in committed)
        if (drawn and committed) or time.monotonic() > until:
            return shown
        await asyncio.sleep(0.2)


async def _monitor(
    browser: Any, shop: Shop, rate: float, seconds: float, progress: Callable[[str], None]
) -> dict[str, Any]:
    page = await _paired(browser, shop, "monitor", "ops", "ana")
    await page.get_by_text("Live", exact=True).wait_for()
    await asyncio.sleep(SETTLE_S)
    opened = await _open_orders(shop)
    progress(f"the monitor with {opened} open orders for {seconds:.0f} s")
    quiet = await _core_percent(browser, asyncio.sleep(seconds))
    progress(f"the monitor while {rate:.0f} orders a second come")
    busy = await _core_percent(browser, shop.steady(rate, seconds, 2))
    return {
        "open_orders": opened,
        "monitor_core_percent": quiet["renderer"],
        "monitor_core_percent_all_processes": quiet["all"],
        "monitor_core_percent_at_rate": busy["renderer"],
        "monitor_core_percent_at_rate_all_processes": busy["all"],
    }


async def _core_percent(browser: Any, work: Any) -> dict[str, float]:
    """Processor time while ``work`` goes on: the page's process, and all of the browser."""
    session = await browser.new_browser_cdp_session()
    before, started = await _processor_s(session), time.monotonic()
    await work
    after, passed = await _processor_s(session), time.monotonic() - started
    used = {kind: after[kind] - before.get(kind, 0.0) for kind in after}
    return {
        "renderer": round(100 * used.get("renderer", 0.0) / passed, 1),
        "all": round(100 * sum(used.values()) / passed, 1),
    }


async def _processor_s(session: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for process in (await session.send("SystemInfo.getProcessInfo"))["processInfo"]:
        found[process["type"]] = found.get(process["type"], 0.0) + float(process["cpuTime"])
    return found


async def _open_orders(shop: Shop) -> int:
    return int((await shop.ops.monitor())["orders"]["open"])
