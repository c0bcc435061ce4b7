"""``doorstep``: the commands of operators and developers."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from domain.errors import DoorstepError
from orchestrator import logs
from orchestrator.auth import ROLES, tokens_of
from orchestrator.client import ProblemError
from orchestrator.client.opening import NotSellable
from orchestrator.masking import masked
from orchestrator.settings import SPEED_MAX, SPEED_MIN, Settings
from simulator.plan import PlanError

__all__ = ["app", "main"]

app = typer.Typer(
    name="doorstep",
    help="Real-time order orchestration for retailers whose stores are their front warehouses.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
console = Console()
errors = Console(stderr=True)

TOKEN_HOURS_MAX = 87_600
"""Ten years."""

Seed = Annotated[int, typer.Option(help="Seed of everything drawn.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Speed = Annotated[
    float, typer.Option(min=SPEED_MIN, max=SPEED_MAX, help="Service seconds per real second.")
]
Orders = Annotated[int, typer.Option(min=0, help="Orders of the day.")]
Stores = Annotated[int, typer.Option(min=1, help="Stores of the city.")]
Riders = Annotated[int, typer.Option(min=1, help="Riders of the city.")]
Campaigns = Annotated[int, typer.Option(min=0, help="A flash sale, then group-buys; 0: none.")]
Faults = Annotated[float, typer.Option(min=0, max=1, help="Share of webhooks that go wrong.")]
KillEvery = Annotated[
    float,
    typer.Option(min=0, help="Kill one actor process every so many real seconds; 0: never."),
]
Data = Annotated[Path | None, typer.Option(help="Data folder (default: a fresh temporary one).")]


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
) -> None:
    """Start the service and run it until Ctrl-C."""
    settings = _settings(port=port, data=data)
    _run(_serve(settings))


@app.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    orders: Orders = 600,
    stores: Stores = 8,
    riders: Riders = 40,
    campaigns: Campaigns = 3,
    speed: Speed = 30.0,
    seed: Seed = 1,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Start everything with a simulated city in it, and watch the orders move."""
    from orchestrator.city import live_demo

    _run(
        live_demo(
            _settings(port=port, data=data, clock_speed=speed), temporary=data is None,
            orders=orders, stores=stores, riders=riders, campaigns=campaigns, seed=seed,
            as_json=as_json, console=console,
        )
    )  # fmt: skip


@app.command()
def simulate(
    url: Annotated[str, typer.Option(help="A running service; empty starts one.")] = "",
    orders: Orders = 300,
    stores: Stores = 8,
    riders: Riders = 40,
    campaigns: Campaigns = 3,
    speed: Speed = 60.0,
    seed: Seed = 1,
    faults: Faults = 0.1,
    kill_every: KillEvery = 0.0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Live a generated day through the public API; fails if anything is unexplained."""
    from orchestrator.city import simulated_day

    _run(
        simulated_day(
            _settings(port=0, data=data, clock_speed=speed, sandbox_faults=faults, seed=seed),
            url=url, temporary=data is None, orders=orders, stores=stores, riders=riders,
            campaigns=campaigns, seed=seed, kill_every_s=kill_every, as_json=as_json,
            console=console,
        )
    )  # fmt: skip


@app.command()
def replay(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A recorded day (Rappi CSV or MDRP text); none: a generated equal."),
    ] = None,
    url: Annotated[str, typer.Option(help="A running service; empty starts one.")] = "",
    speed: Speed = 120.0,
    seed: Seed = 1,
    faults: Faults = 0.0,
    kill_every: KillEvery = 0.0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Live a recorded day through the public API; fails if anything is unexplained."""
    from orchestrator.city import replayed_day

    _run(
        replayed_day(
            _settings(port=0, data=data, clock_speed=speed, sandbox_faults=faults, seed=seed),
            folder=folder, url=url, temporary=data is None, seed=seed, kill_every_s=kill_every,
            as_json=as_json, console=console,
        )
    )  # fmt: skip


@app.command()
def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is missing or unreachable, and how to mend it."""
    from orchestrator.doctor import examine

    findings = asyncio.run(examine(_settings(data=data)))
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        table = Table("", "part", "found", "how to mend it", box=None, pad_edge=False)
        for finding in findings:
            mark = "[green]ok[/]" if finding.ok else "[red]no[/]"
            table.add_row(mark, finding.part, finding.found, finding.mend)
        console.print(table)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def token(
    role: Annotated[str, typer.Option(help=" | ".join(ROLES))],
    subject: Annotated[
        list[str] | None, typer.Option(help="The channel's, store's or rider's id; repeatable.")
    ] = None,
    hours: Annotated[float, typer.Option(help="How long it is valid.")] = 12.0,
    data: Annotated[Path | None, typer.Option(help="Data folder of the service.")] = None,
) -> None:
    """Print a token for the API; one per line for several subjects."""
    if role not in ROLES:
        raise _wrong(f"There is no role {role!r}.", f"Give one of: {', '.join(ROLES)}.")
    if not 0 < hours <= TOKEN_HOURS_MAX:
        raise _wrong(f"{hours} hours are no lifetime.", f"More than 0, up to {TOKEN_HOURS_MAX}.")
    subjects = [_subject(role, one) for one in subject or [""]]
    tokens = tokens_of(_of_a_service(data))
    for one in subjects:
        print(tokens.issue(role, one, hours * 3600))


@app.command()
def pair(
    role: Annotated[str, typer.Option(help="store | rider | ops")],
    subject: Annotated[str, typer.Option(help="The store's or rider's id.")] = "",
    url: Annotated[str, typer.Option(help="The running service.")] = "",
    minutes: Annotated[int, typer.Option(help="How long the code is good; it works once.")] = 10,
    data: Annotated[Path | None, typer.Option(help="Data folder of the service.")] = None,
) -> None:
    """Print a link that pairs a tablet, a rider's phone or a monitor."""
    from orchestrator.pairing import PAGE_OF, pairing_link

    if role not in PAGE_OF:
        raise _wrong(f"There is no page for {role!r}.", f"Give one of: {', '.join(PAGE_OF)}.")
    subject = _subject(role, subject)
    settings = _of_a_service(data)
    address = url.rstrip("/") or f"http://{settings.host}:{settings.port}"
    ops = tokens_of(settings).issue("ops", "pair", 60.0)

    async def show() -> int:
        print(await pairing_link(address, ops, role, subject, minutes * 60))
        return 0

    _run(show())


# ------------------------------------------------------------------ helpers


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):  # it may be a secret
            name = "_".join(str(part) for part in one["loc"])
            errors.print(f"[red]DOORSTEP_{name.upper()}[/]: {one['msg']}.")
        raise typer.Exit(2) from None


def _of_a_service(data: Path | None) -> Settings:
    """Settings with the secrets of a service that was started once. A token by secrets made here
    and now would be good for none."""
    from orchestrator.data_folder import DataFolder, resolve

    settings = _settings(data=data)
    if settings.jwt_secret.get_secret_value():
        return settings
    try:
        folder = DataFolder(settings.data)
        if folder.has_secrets:
            return resolve(settings)
    except DoorstepError as error:
        raise _wrong(f"{error.code}:", error.detail) from None
    raise _wrong(
        f"No service was ever started on {folder.path}.",
        "Give its folder as --data (or DOORSTEP_DATA), or start it first: doorstep serve.",
    )


def _subject(role: str, given: str) -> str:
    """Operations may stay nameless; whoever else a token is for must be named."""
    if given or role == "ops":
        return given or role
    raise _wrong(f"Which {role}?", f"Give its id as --subject (--role {role} --subject …).")


def _wrong(what: str, advice: str) -> typer.Exit:
    errors.print(f"[red]{what}[/] {advice}")
    return typer.Exit(2)


async def _serve(settings: Settings) -> int:
    from orchestrator.supervisor import Supervisor, until_signal

    logs.configure(settings)
    print_settings(settings)
    async with Supervisor(settings, progress=lambda text: errors.print(f"[dim]{text}[/]")) as up:
        stopped = until_signal()
        for name, path in (("API", "/docs"), ("health", "/readyz"), ("metrics", "/metrics")):
            console.print(f"{name:8} {up.url}{path}")
        console.print("Ctrl-C stops everything.")
        await stopped
        errors.print("[dim]Stopping[/]")
    return 0


def print_settings(settings: Settings) -> None:
    """The configuration, secrets and passwords in addresses masked, on standard error."""
    shown = settings.model_dump(mode="json")
    errors.print(
        "[dim]"
        + "  ".join(f"{name}={masked(str(value))}" for name, value in shown.items() if value != "")
        + "[/]",
        highlight=False,
    )


def _run(work: Awaitable[int]) -> None:
    async def run() -> int:
        return await work

    try:
        raise typer.Exit(asyncio.run(run()))
    except DoorstepError as error:
        errors.print(f"[red]{error.code}[/]: {error.detail}")
        raise typer.Exit(2) from None
    except (PlanError, ProblemError, NotSellable) as error:
        errors.print(f"[red]{type(error).__name__}[/]: {error}")
        raise typer.Exit(2) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None


def main() -> None:
    """Entry point."""
    with contextlib.suppress(BrokenPipeError):
        app()
    sys.exit(0)


if __name__ == "__main__":
    main()
