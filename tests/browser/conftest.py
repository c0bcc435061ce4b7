"""The real service and real Chromium for tests of the pages.

Without Chromium, or without built pages, these tests are skipped and say why. Screenshots of every
state go to ``build/screenshots`` so that a person can look through them.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from orchestrator import pages
from orchestrator.auth import tokens_of
from orchestrator.data_folder import resolve
from orchestrator.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "build" / "screenshots"


def _chromium() -> str | None:
    """Chromium's program: from PATH, else the one that Playwright has installed."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


CHROMIUM = _chromium()
READY_S = 120.0
LOG_LINES = 40
HOME = {"lat": 52.52, "lon": 13.40}
SKUS = (
    ("tea", "Darjeeling tea 250 g", 450),
    ("cup", "Porcelain cup", 1290),
    ("jam", "Plum jam", 395),
)


def eventually(check: Callable[[], Any], seconds: float = 45) -> Any:
    """The first true answer: a page, told by its socket, may be ahead of the read models."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)
    return found


def whereabouts(store_id: str) -> dict[str, float]:
    """Where a store of the house is: a degree from the next one."""
    row, column = divmod(int(store_id.removeprefix("s")), 30)
    return {"lat": HOME["lat"] + column, "lon": HOME["lon"] + row}


class House:
    """A running service with goods; ``store`` makes a fresh store, ``order`` places one there."""

    def __init__(self, url: str, data: Path, pid: int) -> None:
        self.url = url
        self.data = data
        self.supervisor = psutil.Process(pid)
        self.tokens = tokens_of(resolve(Settings(data=data)))
        self.http = httpx.Client(base_url=url, timeout=20.0)
        self._stores = 0

    def call(self, method: str, path: str, by: str, /, **body: Any) -> Any:
        """As the role ``by``; the answer's document."""
        headers = {
            "authorization": f"Bearer {self.tokens.issue(by, by)}",
            "idempotency-key": uuid4().hex,
        }
        answer = self.http.request(method, f"/v1{path}", headers=headers, json=body or None)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def store(self, name: str = "Corner shop", **more: Any) -> str:
        """A store far from all others, so that no order goes elsewhere."""
        self._stores += 1
        store_id = f"s{self._stores}"
        where = whereabouts(store_id)
        profile = {
            "name": name, "position": where, "currency": "EUR", "dispatch_zone": f"z{store_id}",
            "time_zone": "Europe/Berlin", "accept_s": 600,
            "zones": [{"zone_id": f"near-{store_id}", "tier": 1, "promise_s": 2_400,
                       "area": {"type": "circle", "centre": where, "radius_m": 3_000}}],
            **more,
        }  # fmt: skip
        self.call("PUT", f"/stores/{store_id}", "ops", **profile)
        items = [{"sku": sku, "quantity": 500} for sku, _, _ in SKUS]
        self.call("POST", f"/stores/{store_id}/stock/receipts", "ops", items=items)
        # The read model is a moment behind, and a rider's page reads it as it opens.
        eventually(lambda: profile["dispatch_zone"] in self.dispatch_zones())
        return store_id

    def dispatch_zones(self) -> list[str]:
        """The zones that riders can choose from, by the service's present answer."""
        return [zone["zone_id"] for zone in self.call("GET", "/dispatch", "ops")["items"]]

    def order(self, store_id: str, customer: str = "Ada Lovelace", **more: Any) -> str:
        """A paid (cash) order at the store; its id."""
        body: dict[str, Any] = {
            "customer": {"customer_id": f"c{uuid4().hex[:8]}", "name": customer,
                         "phone": "+493012345642"},
            "lines": [{"sku": "tea", "quantity": 2}, {"sku": "cup", "quantity": 1},
                      {"sku": "jam", "quantity": 3}],
            "currency": "EUR", "payment": "cod",
            "address": {"position": whereabouts(store_id), "text": "Torstr. 1"},
            **more,
        }  # fmt: skip
        if body.get("delivery") == "pickup":
            body["store_id"] = store_id
        deadline = time.monotonic() + 40
        while True:
            headers = {
                "authorization": f"Bearer {self.tokens.issue('channel', 'app')}",
                "idempotency-key": uuid4().hex,
            }
            answer = self.http.post("/v1/orders", headers=headers, json=body)
            # The catalogue's read model is a moment behind a new store.
            if answer.status_code == 201 or time.monotonic() > deadline:
                assert answer.status_code == 201, answer.text
                return str(answer.json()["order_id"])
            time.sleep(0.1)

    def read(self, order_id: str) -> Any:
        return self.call("GET", f"/orders/{order_id}", "ops")

    def link(self, page: str, role: str, subject: str) -> str:
        deadline = time.monotonic() + 40
        while True:
            try:
                made = self.call("POST", "/devices/codes", "ops", role=role, subject=subject)
                return f"{self.url}/{page}#pair={made['code']}"
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    @contextmanager
    def gateway_killed(self) -> Iterator[None]:
        """Every gateway is killed with SIGKILL, and stays away until the block ends: the supervisor
        that would replace it at once is held meanwhile. Afterwards the service is ready again."""
        self.supervisor.suspend()
        try:
            for process in self.supervisor.children():
                if "orchestrator.gateway" in process.cmdline():
                    process.send_signal(signal.SIGKILL)
            yield
        finally:
            self.supervisor.resume()
        eventually(self.ready, READY_S)

    def ready(self) -> bool:
        """Whether orders can be taken."""
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The service, in its own processes."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: install one (Debian: apt-get install chromium), or ./run test")
    if not (pages.STATIC / "tablet.html").is_file():
        pytest.skip("the pages are not built: ./run pages")
    data = tmp_path_factory.mktemp("house")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (data / "service.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", "serve", "--port", str(port),
         "--data", str(data)],
        cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        env={**os.environ, "DOORSTEP_ACTORS": "1", "DOORSTEP_HEARTBEAT_S": "2"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(
                    f"the service did not start:\n{(data / 'service.log').read_text()[-3000:]}"
                )
            time.sleep(0.2)
        made = House(url, data, process.pid)
        for sku, name, price in SKUS:
            made.call(
                "PUT", f"/skus/{sku}", "ops", name=name, price=price, barcode=f"40063813{price:05d}"
            )
        yield made
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that fails tells what the service's processes logged last: it cannot be asked later,
    and what a page waited for in vain happened, or did not happen, there."""
    outcome: Any = yield
    report = outcome.get_result()
    running = getattr(item, "funcargs", {}).get("house")
    if report.failed and running is not None:
        for file in sorted(running.data.glob("**/*.log")):
            if "ray" not in file.parts:
                report.sections.append((str(file.relative_to(running.data)), _end_of(file)))


def _end_of(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-LOG_LINES:])


@pytest.fixture(scope="module")
def chromium(house: House) -> Iterator[Any]:
    """The browser, ended with each file: while Playwright runs, its event loop counts as running,
    and no asyncio test of another file could start one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def device(chromium: Any) -> Iterator[Any]:
    """``device(width, height)`` is a fresh device's page; a script error fails the test."""
    opened: list[Any] = []
    errors: list[str] = []

    def open_one(width: int = 1280, height: int = 800, **more: Any) -> Any:
        chosen = {"locale": "en-GB", "color_scheme": "light", **more}
        context = chromium.new_context(viewport={"width": width, "height": height}, **chosen)
        context.set_default_timeout(60_000)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        return page

    yield open_one
    for context in opened:
        context.close()
    assert not errors


@pytest.fixture
def shot() -> Any:
    """``shot(page, name)`` keeps a screenshot for people."""

    def take(page: Any, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{name}.png", animations="disabled")

    return take
