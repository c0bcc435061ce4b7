"""The day's report: what happened, how late, whether every unit and cent is explained."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table

from orchestrator.client import money
from orchestrator.client.findings import Finding
from simulator.audit import Evidence, quantile
from simulator.world import Trace, World

__all__ = ["Report", "Spread", "make_report", "show_report"]

FINDINGS_SHOWN_MAX = 40


@dataclass(frozen=True, slots=True)
class Spread:
    """How a measure lies over the day's deliveries, in seconds (of service time)."""

    count: int
    median_s: float
    p95_s: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of measured values."""
        return cls(len(values), round(quantile(values, 0.5), 1), round(quantile(values, 0.95), 1))


@dataclass(frozen=True, slots=True)
class Report:
    """One day, told. ``explained`` decides the exit code; money is in minor units."""

    name: str
    source: str
    seed: int
    speed: float
    service_s: float
    """Length of the day in service time, draining included."""
    real_s: float
    planned: int
    acknowledged: int
    refused: Mapping[str, int]
    """Refused placings by their error code."""
    states: Mapping[str, int]
    """Final (or last seen) state of every acknowledged order."""
    parcels_delivered: int
    lateness: Spread
    """At the door after the promise; negative is early."""
    late_share: float
    click_to_door: Spread
    first_delivered_real_s: float | None
    stock: Mapping[str, int]
    cash: Mapping[str, int]
    counts: Mapping[str, int]
    """What the people did: declines, failed deliveries, lost connections, repeated requests, …"""
    findings: tuple[Finding, ...]
    campaigns: tuple[Mapping[str, Any], ...] = ()
    """What became of each campaign's units, groups and money."""
    notes: tuple[str, ...] = ()
    currency: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def explained(self) -> bool:
        """Whether nothing is left unexplained."""
        return not self.findings

    def as_json(self) -> str:
        """The whole report as one JSON document."""
        document = asdict(self) | {"explained": self.explained}
        return json.dumps(document, indent=2, ensure_ascii=False)


def make_report(
    world: World,
    evidence: Evidence,
    findings: Sequence[Finding],
    *,
    speed: float,
    service_s: float,
    real_s: float,
    first_delivered_real_s: float | None = None,
) -> Report:
    """The report of a day lived and audited."""
    traces = [trace for trace in world.traces.values() if trace.order_id]
    lateness, click_to_door = _times(traces, evidence)
    return Report(
        name=world.plan.name,
        source=world.plan.source,
        seed=world.plan.seed,
        speed=speed,
        service_s=round(service_s, 1),
        real_s=round(real_s, 1),
        planned=len(world.traces),
        acknowledged=len(traces),
        refused=dict(Counter(t.refused for t in world.traces.values() if t.refused)),
        states=dict(
            Counter(
                evidence.orders[trace.order_id].state
                if trace.order_id in evidence.orders
                else "gone"
                for trace in traces
            )
        ),
        parcels_delivered=sum(len(trace.delivered_at) for trace in traces),
        lateness=Spread.of(lateness),
        late_share=round(sum(late > 0 for late in lateness) / len(lateness), 4)
        if lateness
        else 0.0,
        click_to_door=Spread.of(click_to_door),
        first_delivered_real_s=first_delivered_real_s,
        stock=_stock(world, evidence),
        cash=_cash(world, evidence, traces),
        counts=dict(sorted(world.counts.items())),
        findings=tuple(findings),
        campaigns=tuple(_campaigns(world, evidence, traces)),
        notes=(*world.plan.notes, *_remarks(world)),
        currency=world.plan.currency,
    )


def show_report(report: Report, console: Console | None = None) -> None:
    """Print the report as tables."""
    (console or Console()).print(_page(report))


def _times(traces: Sequence[Trace], evidence: Evidence) -> tuple[list[float], list[float]]:
    """Lateness and click-to-door of every delivered parcel, in seconds.

    The promise is the recorded one where there is one (from the moment the customer pressed the
    button), else the service's own ``due_at``.
    """
    lateness, click_to_door = [], []
    for trace in traces:
        order = evidence.orders.get(trace.order_id)
        if order is None or trace.plan.delivery != "delivery":
            continue
        due = {part.fulfilment_id: part.due_at for part in order.fulfilments}
        for fulfilment_id, at in trace.delivered_at.items():
            click_to_door.append(at - trace.wanted_at)
            if trace.plan.promise_s is not None:
                lateness.append(at - trace.wanted_at - trace.plan.promise_s)
            elif (promised := due.get(fulfilment_id)) is not None:
                lateness.append(at - promised.timestamp())
    return lateness, click_to_door


def _stock(world: World, evidence: Evidence) -> dict[str, int]:
    cells = [cell for skus in evidence.stock.values() for cell in skus.values()]
    return {
        "received": sum(world.received.values()),
        "handed out": sum(world.handed_out.values()),
        "missing from shelves": sum(world.missing.values()),
        "damaged": sum(world.broken.values()),
        "on hand in the books": sum(cell.on_hand for cell in cells),
        "still locked": sum(cell.locked for cell in cells),
    }


def _cash(world: World, evidence: Evidence, traces: Sequence[Trace]) -> dict[str, int]:
    orders = [evidence.orders[t.order_id] for t in traces if t.order_id in evidence.orders]
    return {
        "placed": sum(order.total for order in orders),
        "captured by providers": sum(money.captured(order) for order in orders),
        "refunded by providers": sum(money.refunded(order) for order in orders),
        "cash at the door": sum(order.cash_collected for order in orders)
        - sum(world.tills.values()),
        "cash at the counter": sum(world.tills.values()),
        "kept": sum(money.kept(order) for order in orders),
        "remitted by riders": sum(remittance.amount for remittance in world.remittances),
        "remitted too little": sum(r.owed - r.amount for r in world.remittances),
    }


def _campaigns(
    world: World, evidence: Evidence, traces: Sequence[Trace]
) -> Iterator[dict[str, Any]]:
    for plan in world.plan.campaigns:
        campaign = evidence.campaigns.get(plan.key)
        if campaign is None:
            continue
        orders = [
            evidence.orders[trace.order_id]
            for trace in traces
            if trace.plan.campaign == plan.key and trace.order_id in evidence.orders
        ]
        yield {
            "name": plan.name,
            "kind": plan.group.kind if plan.group else "flash sale",
            "set aside": sum(share.set_aside for share in campaign.quota),
            "sold": campaign.units.sold,
            "given back": campaign.units.returned,
            "groups formed": campaign.formed_groups,
            "groups failed": campaign.failed_groups,
            "orders": len(orders),
            "captured": sum(money.captured(order) for order in orders),
            "refunded": sum(money.refunded(order) for order in orders),
            "kept": sum(money.kept(order) for order in orders),
        }


def _remarks(world: World) -> list[str]:
    return [
        f"{r.rider_id} handed in {r.amount} of {r.owed}: on purpose, booked as a cash difference"
        for r in world.remittances
        if r.amount != r.owed
    ]


# --- The page ------------------------------------------------------------------------------------


def _page(report: Report) -> RenderableType:
    head = (
        f"[bold]{report.name}[/] ({report.source}), seed {report.seed}: "
        f"{report.service_s / 3_600:.1f} h of service time in {report.real_s:.0f} s "
        f"(speed {report.speed:g})"
    )
    columns = Table.grid(padding=(0, 4))
    columns.add_row(_orders(report), _delivery(report))
    columns.add_row(
        _numbers("Stock (units)", report.stock),
        _numbers(f"Money (minor units, {report.currency})", report.cash),
    )
    parts: list[RenderableType] = [head, columns, _numbers("What people did", report.counts)]
    if report.campaigns:
        parts.append(_campaign_table(report))
    if report.notes:
        parts.append("\n".join(f"· {note}" for note in report.notes[:FINDINGS_SHOWN_MAX]))
    parts.append(_verdict(report))
    return Group(*parts)


def _orders(report: Report) -> Table:
    table = _table("Orders")
    table.add_row("planned", f"{report.planned:,}")
    table.add_row("acknowledged", f"{report.acknowledged:,}")
    for state, count in sorted(report.states.items()):
        table.add_row(f"  {state}", f"{count:,}")
    for code, count in sorted(report.refused.items()):
        table.add_row(f"refused: {code}", f"{count:,}")
    return table


def _delivery(report: Report) -> Table:
    table = _table("Delivery")
    table.add_row("parcels delivered", f"{report.parcels_delivered:,}")
    table.add_row("click to door, median", _minutes(report.click_to_door.median_s))
    table.add_row("click to door, p95", _minutes(report.click_to_door.p95_s))
    table.add_row("against the promise, median", _minutes(report.lateness.median_s))
    table.add_row("against the promise, p95", _minutes(report.lateness.p95_s))
    table.add_row("late", f"{report.late_share:.1%}")
    if report.first_delivered_real_s is not None:
        table.add_row("first delivered after (real)", f"{report.first_delivered_real_s:.1f} s")
    return table


def _campaign_table(report: Report) -> Table:
    table = Table(
        title=f"Campaigns (money in minor units, {report.currency})", title_justify="left"
    )
    for name in report.campaigns[0]:
        table.add_column(name, justify="left" if name in ("name", "kind") else "right")
    for row in report.campaigns:
        table.add_row(
            *[f"{value:,}" if isinstance(value, int) else value for value in row.values()]
        )
    return table


def _numbers(title: str, numbers: Mapping[str, int]) -> Table:
    table = _table(title)
    for name, number in numbers.items():
        table.add_row(name, f"{number:,}")
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, min_width=36)
    table.add_column()
    table.add_column(justify="right")
    return table


def _minutes(seconds_: float) -> str:
    return f"{seconds_ / 60:.1f} min"


def _verdict(report: Report) -> Panel:
    if report.explained:
        return Panel(
            f"All {report.acknowledged:,} acknowledged orders are final, "
            f"{report.states.get('completed', 0):,} of them completed; "
            f"{sum(report.refused.values()):,} of {report.planned:,} were refused as planned; "
            "stock is explained to the unit and money to the cent.",
            title="explained",
            style="green",
        )
    shown = [str(finding) for finding in report.findings[:FINDINGS_SHOWN_MAX]]
    if len(report.findings) > len(shown):
        shown.append(f"… and {len(report.findings) - len(shown)} more (see the JSON report)")
    title = f"{len(report.findings)} unexplained"
    return Panel("\n".join(shown), title=title, style="red")
