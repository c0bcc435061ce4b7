"""The auditor's books of campaigns find what was planted in the campaigns' rules."""

from collections.abc import Callable
from typing import Any

import pytest

from actors import customer as customers
from actors.order import mending, owing, paying, seating
from actors.order.turn import Turn
from domain import campaign
from domain.campaign import quota, rules
from domain.customer.events import NewcomerReserved
from domain.order.events import Paid
from tests.simulation.auditor import AuditFailed
from tests.simulation.playing import quiet_engine
from tests.simulation.stage import (
    STOCK_APART,
    Stage,
    flash_terms,
    group_terms,
    perform,
    rejected_while_stock_is_away,
)

pytestmark = pytest.mark.timeout(900)
"""Of real time, on a busy machine: a timeout within a virtual loop is not told as one."""

__all__ = ["quiet_engine"]

LADDER = (campaign.Step(2, 500), campaign.Step(4, 400))


async def everybody_presses(stage: Stage) -> None:
    for number in range(1, 4):
        await stage.try_to_place(number, customer="k-1")


async def early_birds(stage: Stage) -> None:
    await stage.try_to_place(1)


async def three_join(stage: Stage) -> None:
    head = await stage.place(1)
    for number in (2, 3):
        await stage.try_to_place(number, group_id=head.group_id)


async def one_buys(stage: Stage) -> None:
    await stage.buy(1)


async def two_buy(stage: Stage) -> None:
    head = await stage.buy(1)
    await stage.buy(2, group_id=head.group_id)


async def one_joins_twice(stage: Stage) -> None:
    heads = [await stage.buy(number) for number in (1, 2)]
    for number, head in zip((3, 4), heads, strict=True):
        await stage.place(number, customer="k-9", group_id=head.group_id)
        await stage.open_payment(number)
    for number in (3, 4):
        await stage.pay(number)


def nothing(*_: Any, **__: Any) -> None:
    return None


def units_are_not_held(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(quota, "hold", nothing)


def nobody_counts_per_customer(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(rules, "_check_limit", nothing)


def nobody_looks_at_the_clock(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(rules, "check_window", nothing)


def seats_without_number(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(rules, "capacity", lambda _: 99)


def paid_is_shipped(mp: pytest.MonkeyPatch) -> None:
    def hasty(turn: Turn, paid: Paid) -> None:
        owing.keep(turn, paid)
        for part in turn.state.parts:
            owing.sell_reserved(turn, part)
            owing.open_ticket(turn, part)

    mp.setattr(paying, "keep", hasty)


def failed_is_not_refunded(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(seating, "refund_cancelled", nothing)


def failed_is_not_told(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(seating, "notify_customer", nothing)


def the_fall_of_a_price_is_kept(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(seating, "refund_cuts", nothing)


def everybody_is_new(mp: pytest.MonkeyPatch) -> None:
    def check(_state: Any, order_id: str, until: float, _instead: str, now: float) -> Any:
        return [NewcomerReserved(order_id, now, until)]

    mp.setattr(customers, "check_newcomer", check)


def the_end_gives_nothing_back(mp: pytest.MonkeyPatch) -> None:
    mp.setattr(quota, "end", nothing)


def a_group_of_one_forms(mp: pytest.MonkeyPatch) -> None:
    outcome = rules._outcome

    def generous(state: Any, group_id: str, paid: Any, unpaid: Any, ahead: Any, now: float) -> Any:
        if len(paid) == 1:
            return campaign.GroupFormed(
                group_id, tuple(state.seats[name].order_id for name in paid), 801,
                ahead.after(), now,
            )  # fmt: skip
        return outcome(state, group_id, paid, unpaid, ahead, now)

    mp.setattr(rules, "_outcome", generous)


@pytest.mark.parametrize(
    ("plant", "script", "terms", "said"),
    [
        (units_are_not_held, everybody_presses, flash_terms(), "left, not|it tells"),
        (nobody_counts_per_customer, everybody_presses, flash_terms(limit_per_customer=1),
         "the limit is 1"),
        (nobody_looks_at_the_clock, early_birds, flash_terms(starts_at=50.0), "no orders then"),
        (seats_without_number, three_join, group_terms(), "more seats than it has"),
        (paid_is_shipped, two_buy, group_terms({"size": 3}), "while its claim was open"),
        (failed_is_not_refunded, two_buy, group_terms({"size": 3}), "of a failed group"),
        (failed_is_not_told, two_buy, group_terms({"size": 3}), "told 0 times that it failed"),
        (the_fall_of_a_price_is_kept, two_buy, group_terms({"kind": "ladder", "steps": LADDER}),
         "as the price fell"),
        (the_end_gives_nothing_back, early_birds, flash_terms(), "left, not|it tells"),
        (a_group_of_one_forms, one_buys, group_terms(), "formed with 1 members"),
        (everybody_is_new, one_joins_twice, group_terms({"kind": "newcomers", "size": 3}),
         "k-9 is a newcomer in"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_what_was_planted_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    script: Any,
    terms: campaign.Terms,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    with pytest.raises(AuditFailed, match=said):
        perform(script, terms, monkeypatch)


def test_a_quota_whose_rerouted_units_are_sold_beside_it_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        await rejected_while_stock_is_away(stage, 25.0)

    monkeypatch.setattr(mending, "_from_quota", lambda _state, _fulfilment_id: False)
    with pytest.raises(AuditFailed, match="not held"):
        perform(script, flash_terms(pay_s=60.0), monkeypatch, plan=STOCK_APART)


@pytest.mark.parametrize(
    ("script", "terms"),
    [
        (everybody_presses, flash_terms(limit_per_customer=1)),
        (three_join, group_terms()),
        (two_buy, group_terms({"size": 3})),
        (two_buy, group_terms({"kind": "ladder", "steps": LADDER})),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_without_a_defect_nothing_is_found(
    script: Any, terms: campaign.Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform(script, terms, monkeypatch)
