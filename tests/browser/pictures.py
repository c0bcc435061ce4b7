"""Takes the pictures of README and docs anew: ``python -m tests.browser.pictures``.

Starts a demo of its own, waits until its city is busy, and photographs the pages in Chromium into
``docs/pictures``. Colours are reduced where Pillow is installed; without it the files are larger.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from playwright.sync_api import sync_playwright

from orchestrator.auth import tokens_of
from orchestrator.data_folder import resolve
from orchestrator.settings import Settings
from tests.browser.conftest import CHROMIUM, ROOT

FOLDER = ROOT / "docs" / "pictures"
COLOURS = 128
READY_S = 180.0
TRY_S = 30.0
BUSY_S = 300.0
DELIVERED_MIN = 25
STEPS = ("accept", "picking", "ready")
CUSTOMERS = (
    ("Ada Lovelace", 3), ("Alan Turing", 3), ("Grace Hopper", 2), ("Emmy Noether", 1),
    ("林徽因", 1), ("Mary Somerville", 0), ("Katherine Johnson", 0),
)  # fmt: skip
"""Who ordered at the photographed counter, and how many of :data:`STEPS` are done."""
CITY = ("--orders", "1500", "--stores", "8", "--riders", "45", "--speed", "30")


class Demo:
    """A running demo, asked as operations."""

    def __init__(self, url: str, data: Path) -> None:
        self.url = url
        self._tokens = tokens_of(resolve(Settings(data=data)))
        self._http = httpx.Client(base_url=url, timeout=20.0)
        self.refusal = ""
        """What the service said to the last attempt that it refused."""

    def call(self, method: str, path: str, **body: Any) -> Any:
        headers = {
            "authorization": f"Bearer {self._tokens.issue('ops', 'ana')}",
            "idempotency-key": uuid4().hex,
        }
        answer = self._http.request(method, f"/v1{path}", headers=headers, json=body or None)
        answer.raise_for_status()
        return answer.json()

    def tried(self, role: str, subject: str, path: str, body: dict[str, Any]) -> Any:
        """A POST as somebody; None when it was refused."""
        headers = {
            "authorization": f"Bearer {self._tokens.issue(role, subject)}",
            "idempotency-key": uuid4().hex,
        }
        answer = self._http.post(f"/v1{path}", headers=headers, json=body)
        if not answer.is_success:
            self.refusal = answer.text
            return None
        return answer.json()

    def link(self, page: str, role: str, subject: str) -> str:
        made = self.call("POST", "/devices/codes", role=role, subject=subject)
        return f"{self.url}/{page}#pair={made['code']}"

    def busiest(self, section: str, work: Callable[[dict[str, Any]], int]) -> str:
        """The store or rider with the most to do."""
        found = self.call("GET", "/monitor")[section]
        return str(max(found, key=lambda one: work(found[one])))


def main() -> int:
    """The exit status."""
    if CHROMIUM is None:
        print("No Chromium on PATH: install one (Debian: apt-get install chromium).")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="doorstep-pictures-") as folder,
        demo(Path(folder)) as running,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        photograph(running, browser)
        browser.close()
    return 0


def photograph(running: Demo, browser: Any) -> None:
    """Every picture."""
    monitor = opened(browser, running.link("monitor", "ops", "ana"), 1440, 1500)
    monitor.get_by_text("Live", exact=True).wait_for()
    waited(lambda: running.call("GET", "/monitor")["funnel"].get("delivered", 0) >= DELIVERED_MIN,
           BUSY_S)  # fmt: skip
    keep(monitor, "monitor")

    store_id = counter(running)
    tablet = opened(browser, running.link("tablet", "store", store_id), 1280, 800)
    tablet.get_by_text("Live", exact=True).wait_for()
    tablet.locator("[data-fulfilment]").nth(len(CUSTOMERS) - 1).wait_for()
    keep(tablet, "tablet")
    dark = opened(
        browser, running.link("tablet", "store", store_id), 1280, 800,
        locale="zh-CN", color_scheme="dark",
    )  # fmt: skip
    dark.locator("[data-fulfilment]").nth(len(CUSTOMERS) - 1).wait_for()
    keep(dark, "tablet-chinese-dark")

    rider_id = running.busiest("riders", lambda one: len(one["run"]))
    rider = opened(browser, running.link("rider", "rider", rider_id), 390, 844)
    rider.locator(".run li").first.wait_for()
    keep(rider, "rider")

    items = running.call("GET", "/orders?state=completed&limit=1")["items"]
    monitor.set_viewport_size({"width": 1440, "height": 900})
    monitor.get_by_role("searchbox").fill(items[0]["order_id"])
    monitor.get_by_role("searchbox").press("Enter")
    story = monitor.locator("dialog.side")
    story.get_by_text("Placed, priced and routed").wait_for()
    story.locator(".story").scroll_into_view_if_needed()
    keep(monitor, "story")


def counter(running: Demo) -> str:
    """A shop of its own, without a simulated clerk, with orders in every column. Its id."""
    where = {"lat": 48.2, "lon": 16.37}
    area = {"type": "circle", "centre": where, "radius_m": 3_000}
    listed = running.call("GET", "/skus?limit=40")["items"]
    skus = [one["sku"] for one in listed if not one.get("components")][:12]
    running.call(
        "PUT", "/stores/corner", name="Corner shop", position=where, currency="EUR",
        dispatch_zone="corner", time_zone="Europe/Vienna", accept_s=3_400,
        zones=[{"zone_id": "near", "tier": 1, "promise_s": 5_400, "area": area}],
    )  # fmt: skip
    stock = [{"sku": sku, "quantity": 500} for sku in skus]
    running.call("POST", "/stores/corner/stock/receipts", items=stock)
    for at, (name, steps) in enumerate(CUSTOMERS):
        customer = {"customer_id": f"picture-{at}", "name": name, "phone": f"+43664123{4500 + at}"}
        lines = [{"sku": sku, "quantity": 1 + at % 2} for sku in skus[at : at + 1 + at % 3]]
        order = {
            "customer": customer, "lines": lines, "currency": "EUR", "payment": "cod",
            "address": {"position": where, "text": "Wollzeile 1"},
            **({"delivery": "pickup", "store_id": "corner"} if at % 4 == 3 else {}),
        }  # fmt: skip
        order_id = placed(running, order)
        for step in STEPS[:steps]:
            path = f"/stores/corner/tickets/{order_id}-1/{step}"
            waited(partial(running.tried, "store", "corner", path, {}), TRY_S)
    return "corner"


def placed(running: Demo, order: dict[str, Any]) -> str:
    """The order's id; the catalogue's read model is a moment behind a new store."""
    found: list[str] = []

    def place() -> bool:
        answer = running.tried("channel", "app", "/orders", order)
        found.extend([answer["order_id"]] if answer else [])
        return bool(answer)

    try:
        waited(place, TRY_S)
    except TimeoutError as error:
        raise TimeoutError(running.refusal) from error
    return found[0]


def opened(browser: Any, link: str, width: int, height: int, **more: Any) -> Any:
    chosen = {"locale": "en-GB", "color_scheme": "light", **more}
    context = browser.new_context(viewport={"width": width, "height": height}, **chosen)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(link)
    return page


def keep(page: Any, name: str) -> None:
    page.wait_for_timeout(1_500)  # charts and maps draw what came last
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    try:
        from PIL import Image
    except ImportError:
        print("Pillow is not installed: the picture keeps all its colours.")
    else:
        with Image.open(path) as image:
            reduced = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
        reduced.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KB", flush=True)


@contextmanager
def demo(folder: Path) -> Iterator[Demo]:
    """Its own processes, ended with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    with (folder / "demo.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", "demo", "--port", str(port),
             "--data", str(data), *CITY],
            cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(os.environ),
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            waited(lambda: ready(url), READY_S)
            running = Demo(url, data)
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def waited(check: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError("The demo did not get so far.")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
