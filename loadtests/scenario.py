"""Scenarios on the real service, driven by Locust, with a verdict from the service's own books.

``python -m loadtests.scenario flash-sale | group-buy | tablets | mixed-day``: starts a service of
its own in a temporary folder (or drives the one at ``--url``), plays the scenario with so many
customers for so long, waits until everything is final, and compares what customers, tablets and
riders saw with the service's orders, stock, campaigns and ledger. Exit code 0: everything is
explained; 1: something is not; 2: the scenario could not be played.

With ``--page`` Locust's web page takes over: start and stop there as often as you like; each run
is judged (``/verdict`` beside the page shows the last one), and Ctrl-C ends it.
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from loadtests.processes import child_environment
from loadtests.scene import SCENARIOS

__all__ = ["app", "command"]

FOLDER = Path(__file__).resolve().parent / "locust"
COUNTDOWN_SHARE, COUNTDOWN_S_MAX = 0.15, 10.0
SALE_SHARE = 0.7
"""Of the run's time; what is left is for customers who come too late."""
SPAWN_S = 4.0
"""All users are there after so long."""

app = typer.Typer(add_completion=False, help=__doc__)


@app.command(help=__doc__)
def play(
    scenario: Annotated[str, typer.Argument(help=" | ".join(SCENARIOS))],
    users: Annotated[int, typer.Option(min=1, max=10_000, help="Customers at once.")] = 100,
    seconds: Annotated[float, typer.Option(min=2, max=86_400, help="Of the run.")] = 60.0,
    stores: Annotated[int, typer.Option(min=1, max=200, help="Each with a tablet.")] = 4,
    riders: Annotated[int, typer.Option(min=1, max=1_000, help="Each with a phone.")] = 8,
    quota: Annotated[int, typer.Option(min=1, help="Units of each campaign.")] = 100,
    own_shard: Annotated[
        int, typer.Option(min=0, help="Shard that the campaigns have for themselves, from 1.")
    ] = 0,
    countdown_seconds: Annotated[
        float | None, typer.Option(min=0, help="Until campaigns start; else by --seconds.")
    ] = None,
    pay_seconds: Annotated[float, typer.Option(min=1, help="Unpaid orders last so long.")] = 10.0,
    settle_seconds: Annotated[
        float, typer.Option(min=1, help="All must be final so long after the run.")
    ] = 120.0,
    page: Annotated[bool, typer.Option("--page", help="Use Locust's web page.")] = False,
    page_port: Annotated[int, typer.Option(help="Of the web page, on loopback.")] = 8089,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    url: Annotated[str, typer.Option(help="A running service; else one of its own.")] = "",
    data: Annotated[str, typer.Option(help="The running service's data folder.")] = "",
    token: Annotated[str, typer.Option(help="Token of operations, without --data.")] = "",
    channel_token: Annotated[
        str, typer.Option(help="Token of a channel for the load test alone, without --data.")
    ] = "",
) -> None:
    """See the module."""
    if scenario not in SCENARIOS:
        raise typer.BadParameter(f"Give one of: {', '.join(SCENARIOS)}.", param_hint="SCENARIO")
    with tempfile.TemporaryDirectory(prefix="doorstep-loadtest-") as folder:
        result = Path(folder) / "result.json"
        code = _run(
            command(
                scenario, users=users, seconds=seconds, stores=stores, riders=riders, quota=quota,
                own_shard=own_shard, countdown_seconds=countdown_seconds, pay_seconds=pay_seconds,
                settle_seconds=settle_seconds,
                page_port=page_port if page else 0, url=url, data=data, result=result,
            ),
            {"TOKEN": token, "CHANNEL_TOKEN": channel_token},
            quiet=as_json,
        )  # fmt: skip
        if as_json and result.exists():
            print(result.read_text())
    raise typer.Exit(code)


def command(
    scenario: str, *, users: int, seconds: float, stores: int, riders: int, quota: int,
    own_shard: int, countdown_seconds: float | None, pay_seconds: float, settle_seconds: float,
    page_port: int, url: str, data: str, result: Path,
) -> list[str]:  # fmt: skip
    """Locust's command line. ``users`` are customers; tablets and riders come on top."""
    everybody = users + stores + riders
    countdown_s = countdown_seconds
    if countdown_s is None:
        countdown_s = min(COUNTDOWN_S_MAX, seconds * COUNTDOWN_SHARE)
    found = [
        sys.executable, "-m", "locust", "-f", str(FOLDER / f"{scenario.replace('-', '_')}.py"),
        "--users", str(everybody), "--spawn-rate", f"{max(1.0, everybody / SPAWN_S):.1f}",
        "--run-time", f"{max(1, round(seconds))}s",
        "--stores", str(stores), "--riders", str(riders), "--quota", str(quota),
        "--own-shard", str(own_shard),
        "--countdown-seconds", f"{countdown_s:.1f}",
        "--sale-seconds", f"{seconds * SALE_SHARE:.1f}",
        "--pay-seconds", str(pay_seconds), "--settle-seconds", str(settle_seconds),
        "--result", str(result),
    ]  # fmt: skip
    if url:
        found += ["--host", url]
    if data:
        found += ["--data", str(Path(data).resolve())]
    if page_port:
        return [*found, "--web-host", "127.0.0.1", "--web-port", str(page_port)]
    return [*found, "--headless", "--only-summary"]


def _run(arguments: list[str], tokens: dict[str, str], *, quiet: bool) -> int:
    """Run Locust to its end. Tokens go by the environment, where other users do not see them."""
    environment = child_environment() | {
        f"DOORSTEP_LOADTEST_{name}": value for name, value in tokens.items() if value
    }
    child = subprocess.Popen(
        arguments, env=environment, cwd=FOLDER.parent.parent,
        stdout=sys.stderr if quiet else None,
    )  # fmt: skip
    # Ctrl-C reaches Locust by itself and makes it give its verdict; a SIGTERM is passed on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    app()
