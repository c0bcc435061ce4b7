"""Benchmarks against the designs people would use instead, and against our own bounds.

``python -m loadtests.bench place | campaigns | push | pages | soak | recovery | idle | micro
[--json] [--save FILE]``: each starts what it needs in a temporary folder, measures, ends it, and
prints a table or one JSON object. Progress goes to standard error. ``--save`` keeps the result in a
file of all benchmarks, of which ``python -m loadtests.report`` makes the chart and the tables of
``docs/performance.md``.

Exit code 1: something was sold twice, lost, refused or is not explained, or it could not be
measured. Bounds of speed say what is aimed at and leave the exit code alone: they are the machine's
as much as the service's.
"""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from loadtests.campaigns import measure_campaigns
from loadtests.figures import BOUNDS, verdict, wrong
from loadtests.idle import measure_idle
from loadtests.micro import measure_micro
from loadtests.pages import measure_pages
from loadtests.place import measure_place
from loadtests.processes import BenchError
from loadtests.push import measure_push
from loadtests.recovery import measure_recovery
from loadtests.report import keep
from loadtests.soak import measure_soak
from orchestrator.client.opening import NotSellable

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console()
errors = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Save = Annotated[
    Path | None, typer.Option(help="Keep the result in this file, for `loadtests.report`.")
]


@app.command()
def place(
    as_json: Json = False,
    save: Save = None,
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 5,
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Of each measurement.")] = 4.0,
    connections: Annotated[int, typer.Option(min=1, max=1_000)] = 128,
    workers: Annotated[
        int, typer.Option(min=1, max=16, help="Processes of each rival's application.")
    ] = 1,
) -> None:
    """Placing, durable, over HTTP, against empty endpoints, PostgreSQL and Redis Lua."""
    work = measure_place(
        progress(), rounds=rounds, seconds=seconds, connections=connections, workers=workers
    )
    _show("place", _run(work), as_json, save)


@app.command()
def campaigns(
    as_json: Json = False,
    save: Save = None,
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Of each measurement.")] = 4.0,
    connections: Annotated[int, typer.Option(min=1, max=1_000)] = 128,
    open_seats: Annotated[
        int, typer.Option(min=1, max=500_000, help="Of each of the two crowded campaigns.")
    ] = 30_000,
    readers: Annotated[
        int, typer.Option(min=0, max=500, help="Apps that look twice a second.")
    ] = 10,
    rate: Annotated[
        float, typer.Option(min=1, max=10_000, help="Orders a second of each kind, at the end.")
    ] = 100.0,
) -> None:
    """Placing in flash sales and group-buys, with few and with many open seats."""
    work = measure_campaigns(
        progress(), rounds=rounds, seconds=seconds, connections=connections, open_seats=open_seats,
        readers=readers, rate=rate,
    )  # fmt: skip
    _show("campaigns", _run(work), as_json, save)


@app.command()
def push(
    as_json: Json = False,
    save: Save = None,
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="Orders a second.")] = 500.0,
    seconds: Annotated[float, typer.Option(min=1, max=300)] = 20.0,
    sockets: Annotated[
        int, typer.Option(min=0, max=60_000, help="Of the fan-out; 0 leaves it out.")
    ] = 5_000,
) -> None:
    """From a commit to the tablet's socket, and how much one gateway can fan out."""
    work = measure_push(progress(), rate=rate, seconds=seconds, sockets=sockets)
    _show("push", _run(work), as_json, save)


@app.command()
def pages(
    as_json: Json = False,
    save: Save = None,
    rate: Annotated[float, typer.Option(min=1, max=1_000, help="Orders a second.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=5, max=300, help="Of each measurement.")] = 20.0,
) -> None:
    """First paint, commit to a tablet's screen, the monitor's processor time: in Chromium."""
    _show("pages", _run(measure_pages(progress(), rate=rate, seconds=seconds)), as_json, save)


@app.command()
def soak(
    as_json: Json = False,
    save: Save = None,
    minutes: Annotated[int, typer.Option(min=1, max=1_440)] = 10,
    rate: Annotated[
        float, typer.Option(min=0, max=100_000, help="Orders a second; 0: as many as go.")
    ] = 0.0,
    unpaid: Annotated[
        float, typer.Option(min=1, max=3_600, help="Seconds until an unpaid order expires.")
    ] = 20.0,
    passivate: Annotated[
        float, typer.Option(min=1, max=3_600, help="Seconds a finished order stays in memory.")
    ] = 60.0,
) -> None:
    """Placing for minutes: whether the rate stays, and what memory and the ledger do."""
    work = measure_soak(
        progress(), minutes=minutes, rate=rate, unpaid_s=unpaid, passivate_s=passivate
    )
    _show("soak", _run(work), as_json, save)


@app.command()
def recovery(
    as_json: Json = False,
    save: Save = None,
    orders: Annotated[int, typer.Option(min=1_000, max=1_000_000)] = 100_000,
    cod_share: Annotated[float, typer.Option(min=0.0, max=1.0)] = 0.5,
) -> None:
    """Memory per open order, and the time a killed process's shards are away."""
    found = _run(measure_recovery(progress(), orders=orders, cod_share=cod_share))
    _show("recovery", found, as_json, save)


@app.command()
def idle(as_json: Json = False, save: Save = None) -> None:
    """Memory of the idle service."""
    _show("idle", _run(measure_idle(progress())), as_json, save)


@app.command()
def micro(
    as_json: Json = False,
    save: Save = None,
    seconds: Annotated[float, typer.Option(min=0.05, max=30, help="Of each loop.")] = 1.0,
) -> None:
    """The inner loops alone: decide, codec, journal, push fan-out, campaigns."""
    _show("micro", _run(measure_micro(progress(), seconds=seconds)), as_json, save)


def progress() -> Callable[[str], None]:
    """Says on standard error what is being done, with the seconds since the start."""
    started = time.monotonic()
    return lambda text: errors.print(f"[dim]{time.monotonic() - started:6.1f} s  {text}[/]")


def _run(work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        task = asyncio.current_task()
        assert task is not None
        # Ended from outside, it still ends what it has started.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(run())
    except (BenchError, NotSellable) as error:
        errors.print(f"[red]{error}[/]")
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None


def _show(name: str, found: dict[str, Any], as_json: bool, save: Path | None) -> None:
    if save is not None:
        keep(save, name, found)
    if as_json:
        print(json.dumps(found))
    else:
        _print(name, found)
    beyond = wrong(name, found)
    if beyond:
        told = ", ".join(f"{key} {_number(found[key])}" for key in beyond)
        errors.print(f"[red]Not as it must be: {told}.[/]")
        raise typer.Exit(1)


def _print(name: str, found: dict[str, Any]) -> None:
    table = Table("figure", "value", "bound", "", title=name, title_justify="left", box=None)
    rows = {key: value for key, value in found.items() if _is_rows(value)}
    for key, value in found.items():
        if key in rows:
            continue
        if isinstance(value, dict):
            table.add_row(key, "")
            for part, number in value.items():
                table.add_row(f"  {part}", _number(number))
        else:
            table.add_row(key, _number(value), *_mark(name, key, value))
    console.print(table)
    for key, value in rows.items():
        detail = Table(*value[0], title=key, title_justify="left", box=None)
        for row in value:
            detail.add_row(*map(_number, row.values()))
        console.print(detail)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _mark(name: str, key: str, value: Any) -> tuple[str, str]:
    within = verdict(name, key, value)
    if within is None:
        return "", ""
    return str(BOUNDS[name][key]), "[green]within[/]" if within else "[red]beyond[/]"


if __name__ == "__main__":
    app()
