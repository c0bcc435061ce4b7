"""How a load test ended, for people and as JSON, and the exit code that follows from it."""

from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.client.findings import Finding

__all__ = ["Outcome", "Result", "StatisticsRow", "show"]

FINDINGS_SHOWN = 20


class Outcome(Struct):
    """How a run ended. ``findings``: at most 200; ``finding_count`` counts them all."""

    scenario: str
    explained: bool
    finding_count: int
    findings: list[Finding]
    figures: dict[str, int]


class StatisticsRow(Struct):
    """One row of Locust's statistics; times in milliseconds."""

    method: str
    name: str
    requests: int
    failures: int
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class Result(Struct):
    """The verdict beside the statistics. ``error``: why there is no verdict, else ""."""

    scenario: str
    outcome: Outcome | None
    error: str
    statistics: list[StatisticsRow]

    @property
    def exit_code(self) -> int:
        """0: everything is explained; 1: something is not; 2: there is no verdict."""
        if self.error or self.outcome is None:
            return 2
        return 0 if self.outcome.explained else 1


def show(result: Result) -> None:
    """Print the verdict."""
    console = Console(highlight=False)
    outcome = result.outcome
    if result.error or outcome is None:
        console.print(f"[red]No verdict[/] on {result.scenario}: {result.error or 'it never ran'}")
        return
    table = Table.grid(padding=(0, 2))
    for name, value in outcome.figures.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    console.print(f"\n[bold]{result.scenario}[/]: the books at the end")
    console.print(table)
    for finding in outcome.findings[:FINDINGS_SHOWN]:
        console.print(f"[red]  {escape(str(finding))}[/]", markup=True)
    if outcome.explained:
        console.print("[green]Verdict: every unit, every cent and every order is explained.[/]")
        return
    more = outcome.finding_count - min(len(outcome.findings), FINDINGS_SHOWN)
    if more:
        console.print(f"[red]  and {more} more[/]")
    console.print(f"[red]Verdict: {outcome.finding_count} findings that nothing explains.[/]")
