"""A service with a city in it: what ``demo``, ``simulate`` and ``replay`` run.

Starts the service (unless one is named by its address), lives a day in it through the public API
alone, and, if asked, kills one of its actor processes again and again meanwhile.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from domain.errors import DoorstepError
from orchestrator import logs
from orchestrator.auth import tokens_of
from orchestrator.bootstrap import sandbox_key
from orchestrator.data_folder import resolve
from orchestrator.pairing import offer_links
from orchestrator.settings import Settings
from orchestrator.supervisor import Supervisor, until_signal
from simulator.city import CityOptions
from simulator.recorded import read_day
from simulator.report import Report
from simulator.run import Options, fresh_tag
from simulator.run import replay as live_recorded
from simulator.run import simulate as live_generated

__all__ = ["live_demo", "replayed_day", "simulated_day"]

DEMO_OPENS_H = 11.5
"""The demo's city wakes up at its busiest hour."""
DEMO_LINKS_S = 86_400


async def live_demo(
    settings: Settings, *, temporary: bool, orders: int, stores: int, riders: int, campaigns: int,
    seed: int, as_json: bool, console: Console,
) -> int:  # fmt: skip
    """Everything at once, and afterwards the service stays up to be looked at until Ctrl-C."""
    city = CityOptions(
        orders=orders, stores=stores, riders=riders, campaigns=campaigns, opens_h=DEMO_OPENS_H
    )
    async with _service(settings, "", temporary, as_json) as up:
        stopped = until_signal()
        options = _options(up, seed, as_json, city=city, tag=fresh_tag())
        links = asyncio.ensure_future(_offer_pages(up, options, console))
        day = asyncio.ensure_future(live_generated(options))
        await _first_of(day, stopped)
        links.cancel()
        if not day.done():
            day.cancel()
            with suppress(asyncio.CancelledError):
                await day
            return 130
        report = day.result()
        if not stopped.done() and console.is_terminal and not as_json:
            console.print(f"The day is over; the service stays up at {up.url} until Ctrl-C.")
            await stopped
        return _verdict(up, report)


async def simulated_day(
    settings: Settings, *, url: str, temporary: bool, orders: int, stores: int, riders: int,
    campaigns: int, seed: int, kill_every_s: float, as_json: bool, console: Console,
) -> int:  # fmt: skip
    """A generated day; 0 when everything is explained."""
    city = CityOptions(orders=orders, stores=stores, riders=riders, campaigns=campaigns)
    async with _service(settings, url, temporary, as_json) as up:
        options = _options(up, seed, as_json, city=city)
        return await _lived(up, lambda: live_generated(options), kill_every_s, console)


async def replayed_day(
    settings: Settings, *, folder: Path | None, url: str, temporary: bool, seed: int,
    kill_every_s: float, as_json: bool, console: Console,
) -> int:  # fmt: skip
    """A recorded day, or a generated one of its size; 0 when everything is explained."""
    if folder is not None:
        read_day(folder, seed)  # a folder that cannot be read is told before anything starts
    async with _service(settings, url, temporary, as_json) as up:
        options = _options(up, seed, as_json, folder=folder)
        return await _lived(up, lambda: live_recorded(options), kill_every_s, console)


class _Up:
    """A service that answers: ours, or a named one."""

    def __init__(self, url: str, settings: Settings, supervisor: Supervisor | None) -> None:
        self.url = url
        self.settings = settings
        self.supervisor = supervisor
        self.keep = False
        """Leave logs and data where they are: something is to be looked at."""


@asynccontextmanager
async def _service(
    settings: Settings, url: str, temporary: bool, as_json: bool
) -> AsyncIterator[_Up]:
    if url:
        # tokens are signed with the secret of the data folder that the named service runs on
        yield _Up(url, resolve(settings), None)
        return
    folder = Path(tempfile.mkdtemp(prefix="doorstep-")) if temporary else settings.data
    settings = settings.model_copy(update={"data": folder})
    told = Console(stderr=True)
    folder.mkdir(parents=True, exist_ok=True)
    log_file = (folder / "supervisor.log").open("a", buffering=1)
    logs.configure(settings.model_copy(update={"log_json": True}), log_file)
    failed = True
    try:
        async with Supervisor(settings, lambda text: told.print(f"[dim]{text}[/]")) as supervisor:
            up = _Up(supervisor.url, supervisor.settings, supervisor)
            yield up
            failed = up.keep
    finally:
        log_file.close()
        if temporary and failed:
            told.print(f"[dim]Logs and data are kept in {folder}[/]", soft_wrap=True)
        elif temporary:
            shutil.rmtree(folder, ignore_errors=True)


def _options(up: _Up, seed: int, as_json: bool, **given: Any) -> Options:
    tokens = tokens_of(up.settings)
    return Options(
        base_url=up.url,
        token=lambda role, subject: tokens.issue(role, subject, 86_400.0),
        seed=seed,
        sandbox_key=sandbox_key(up.settings) if up.settings.sandbox else "",
        addresses=[
            ("API", f"{up.url}/docs"),
            ("metrics", f"{up.url}/metrics"),
            ("logs", str(up.settings.data / "logs")),
        ],
        as_json=as_json,
        **given,
    )


async def _offer_pages(up: _Up, options: Options, console: Console) -> None:
    """Links to the three pages, each good for one browser, among the summary's addresses."""
    tag = options.tag or ""
    wanted = [("ops", "demo"), ("store", f"{tag}store-001"), ("rider", f"{tag}rider-001")]
    shown = options.addresses

    def told(page: str, link: str) -> None:
        if isinstance(shown, list):
            shown.append((page, link))
        if not console.is_terminal:
            Console(stderr=True).print(f"{page}: {link}", soft_wrap=True)

    try:
        token = options.token("ops", "demo")
        await offer_links(up.url, token, wanted, DEMO_LINKS_S, told)
    except DoorstepError as error:
        log.warning("city.no_links", code=error.code, detail=error.detail)


async def _lived(
    up: _Up, live: Callable[[], Coroutine[Any, Any, Report]], kill_every_s: float, console: Console
) -> int:
    killer = None
    if kill_every_s > 0 and up.supervisor is not None:
        killer = asyncio.ensure_future(_kill(up.supervisor, kill_every_s))
    day: asyncio.Task[Report] = asyncio.ensure_future(live())
    stopped = until_signal()
    try:
        await _first_of(day, stopped)
        if not day.done():
            day.cancel()
            with suppress(asyncio.CancelledError):
                await day
            return 130
        return _verdict(up, day.result())
    finally:
        if killer is not None:
            killer.cancel()
            killed = await asyncio.gather(killer, return_exceptions=True)
            del killed


async def _first_of(*watched: "asyncio.Future[Any]") -> None:
    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)


async def _kill(supervisor: Supervisor, every_s: float) -> None:
    """``kill -9`` one actor process after the other, for ever."""
    turn = 0
    while True:
        await asyncio.sleep(every_s)
        actors = sorted(name for name in supervisor.pids if name.startswith("node-"))
        if not actors:
            continue
        name = actors[turn % len(actors)]
        turn += 1
        log.warning("city.kill", node=name)
        with suppress(ProcessLookupError, KeyError):
            os.kill(supervisor.pids[name], signal.SIGKILL)


def _verdict(up: _Up, report: Report) -> int:
    up.keep = not report.explained
    return 0 if report.explained else 1


log = logs.logger(__name__)
