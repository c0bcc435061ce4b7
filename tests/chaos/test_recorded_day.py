"""The service's main job on one machine: a recorded day lived through the public API, explained to
the last unit and cent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.auth import tokens_of
from orchestrator.bootstrap import sandbox_key
from orchestrator.settings import Settings
from orchestrator.supervisor import Supervisor
from simulator.city import CityOptions, generate
from simulator.plan import Plan
from simulator.recorded import RecordedOptions, read_day
from simulator.report import Report
from simulator.run import fresh_tag, run

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "rappi" / "day-10"
FIRST = 100
"""Orders before noon: the first of them are hours apart."""
ORDERS = 25
SPEED = 120.0


def noon(plan: Plan) -> Plan:
    """The last orders of the plan, and every third of the riders who are on duty then."""
    orders = tuple(sorted(plan.orders, key=lambda order: order.at_s)[-ORDERS:])
    begin, end = orders[0].at_s, orders[-1].at_s + 3600.0
    on_duty = [rider for rider in plan.riders if rider.on_s < begin and rider.off_s > end]
    return replace(plan, orders=orders, riders=tuple(on_duty[::3]))


def check(report: Report) -> None:
    """Everything is explained, and people really bought: whoever was refused is one of few."""
    assert report.explained, report.as_json()
    assert report.acknowledged + sum(report.refused.values()) == report.planned, report.as_json()
    assert report.acknowledged >= ORDERS * 0.8, report.as_json()
    assert report.states.get("completed", 0) >= ORDERS * 0.6, report.as_json()
    assert report.parcels_delivered >= ORDERS * 0.6, report.as_json()


async def lived(plan: Plan, data: Path, **changes: Any) -> Report:
    """The plan lived on a service of its own."""
    settings = Settings(
        data=data, port=0, clock_speed=SPEED, sandbox_faults=0.1, ray_namespace="doorstep-day",
        **changes,
    )  # fmt: skip
    async with Supervisor(settings) as up:
        tokens = tokens_of(up.settings)
        return await run(
            plan,
            up.url,
            lambda role, subject: tokens.issue(role, subject, 86_400.0),
            sandbox_key=sandbox_key(up.settings),
        )


@pytest.mark.timeout(240)
@pytest.mark.skipif(
    not RECORDED.is_dir(),
    reason="the recorded day is not beside this checkout (shared/data/rappi/day-10)",
)
async def test_orders_of_a_recorded_noon_end_explained(tmp_path: Path) -> None:
    plan = noon(read_day(RECORDED, 1, RecordedOptions(orders_max=FIRST + ORDERS, tag=fresh_tag())))
    assert (len(plan.orders), plan.source) == (ORDERS, "rappi")
    check(await lived(plan, tmp_path))


@pytest.mark.timeout(240)
async def test_a_generated_day_of_that_size_whose_money_is_held_first_ends_explained(
    tmp_path: Path,
) -> None:
    city = CityOptions(stores=4, riders=14, orders=ORDERS, hours=0.75, tag=fresh_tag())
    check(await lived(generate(1, city), tmp_path, sandbox_capture="manual"))
