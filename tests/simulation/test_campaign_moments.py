"""The moments at which campaigns break, on the whole engine under virtual time.

Seeds draw the delays of network and disk, so that the same instant comes out in many orders; or
else a node is killed just before or just after the appends of a story, one run each: of three such
moments one, another one the next day, so that three days see them all
(``DOORSTEP_SIMULATION_EVERY_CRASH=1``: every single one of them at once). A failing test prints how
to play its moments again. The auditor checks each run after every step (quota, seats, limits) and
at its end (units and cents).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import permutations, product
from typing import Any

import pytest

from actors.engine.ports import Shard
from domain import campaign
from domain.errors import DoorstepError, Problem, Refused
from domain.inventory.events import QuotaSold
from domain.order.commands import Cancel
from domain.order.events import Cancelled, FulfilmentRerouted
from domain.order.views import OrderView
from domain.store.events import TicketOpened
from tests.simulation.faults import Weather
from tests.simulation.playing import quiet_engine
from tests.simulation.stage import (
    CAMPAIGN,
    ON_OWN_SHARD,
    ONE_NODE,
    OWN_SHARD,
    STOCK_APART,
    Stage,
    flash_terms,
    group_terms,
    order_id,
    perform,
    rejected_while_stock_is_away,
    wish_of,
)

pytestmark = pytest.mark.timeout(900)
"""Of real time, on a busy machine: a timeout within a virtual loop is not told as one."""

__all__ = ["quiet_engine"]

Script = Callable[[Stage], Awaitable[None]]

EVERY = int(os.environ.get("DOORSTEP_SIMULATION_EVERY_CRASH", "3"))
TODAY = datetime.now(UTC).toordinal()
OFFSET = int(os.environ.get("DOORSTEP_SIMULATION_CRASH_OFFSET", TODAY))
"""Moments that are left out before the first one that is played, modulo ``EVERY``."""
CUPS = (campaign.Share("s-1", 9),)
LADDER = (campaign.Step(2, 500), campaign.Step(4, 400))


def jittery() -> Weather:
    """Slow enough that what is sent in one instant arrives in any order, and twice at times."""
    return Weather(
        append_s=0.005, network_s=0.01, network_slow=0.02, request_lost=0.02, answer_lost=0.02,
        repeated=0.05, append_unknown=0.02, effect_fails=0.1, snapshot_every_s=900.0,
        snapshot_every_records=8,
    )  # fmt: skip


def every_crash(
    script: Script,
    terms: campaign.Terms,
    mp: pytest.MonkeyPatch,
    *,
    seed: int = 0,
    every: int = EVERY,
    **changes: Any,
) -> Iterator[Stage]:
    """The story as it goes without a crash, then once for every moment (or for each ``every``-th of
    them) at which a node can die from ``arm`` on. Of a failure pytest shows what is printed: the
    last of the moments is the one that was played."""
    print(
        "Play these moments again with "
        f"DOORSTEP_SIMULATION_EVERY_CRASH={every} DOORSTEP_SIMULATION_CRASH_OFFSET={OFFSET % every}"
    )
    whole = perform(script, terms, mp, seed=seed, **changes)
    yield whole
    assert whole.moments >= 20, "the story should be longer"
    for number in played(whole.moments, every, OFFSET):
        print(f"Seed {seed}: a node dies at moment {number} of {whole.moments}")
        stage = perform(script, terms, mp, seed=seed, crash=number, **changes)
        assert stage.nodes.crashes == 1, f"moment {number} never came"
        yield stage


def played(moments: int, every: int, offset: int) -> range:
    """Each ``every``-th moment of 1 to ``moments``; which ones, ``offset`` tells."""
    return range(1 + offset % every, moments + 1, every)


@pytest.mark.parametrize("every", [1, 3, 7])
def test_days_that_follow_on_each_other_play_every_moment_once(every: int) -> None:
    days = [played(40, every, TODAY + day) for day in range(every)]
    assert sorted(moment for day in days for moment in day) == list(range(1, 41))


# The last seat, the last unit --------------------------------------------------------------------


@pytest.mark.parametrize("late", ["refund", "head_of_new_group"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "free"])
def test_of_many_who_pay_for_the_last_seat_at_one_instant_one_gets_it(
    late: str, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rivals = range(3, 7)

    async def script(stage: Stage) -> None:
        head = await stage.buy(1)
        await stage.buy(2, group_id=head.group_id)
        for rival in rivals:  # each had the seat and lost it; the last one may hold it still
            await stage.place(rival, group_id=head.group_id)
            await stage.open_payment(rival)
            if rival != rivals[-1] or not held:
                while rival_has_seat(stage, rival):
                    await asyncio.sleep(1.0)
        await asyncio.gather(*(stage.pay(rival) for rival in rivals))

    def rival_has_seat(stage: Stage, rival: int) -> bool:
        claims = stage.auditor.campaigns.books[CAMPAIGN].claims.values()
        return any(one.state == "open" for one in claims if one.order_id == order_id(rival))

    terms = group_terms({"size": 3, "open_s": 250.0, "late": late}, quota=CUPS, ends_at=300.0)
    winners = set()
    for seed in range(4):
        stage = perform(script, terms, monkeypatch, seed=seed, weather=jittery())
        served = [number for number in (1, 2, *rivals) if stage.served(number)]
        assert served[:2] == [1, 2]
        assert len(served) == 3, "a group of three has three paid members, and no payer is lost"
        winners.add(served[2])
        if held:
            assert served[2] == rivals[-1], "a seat that is held is nobody else's"
        assert stage.tally().sold == 3
        groups = stage.auditor.campaigns.books[CAMPAIGN].groups
        assert len(groups) == (4 if late == "head_of_new_group" else 1)
    assert held or len(winners) > 1, "the seeds should differ in who comes first"


def test_in_whatever_order_payments_arrive_no_group_has_more_members_than_seats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for order in permutations((2, 3, 4)):

        async def script(stage: Stage, order: tuple[int, ...] = order) -> None:
            head = await stage.buy(1)
            for number in (2, 3, 4):
                await stage.place(number, group_id=head.group_id)
                await stage.open_payment(number)
                await stage.at(30.0 * (number - 1))
            for number in order:
                await stage.pay(number)

        terms = group_terms({"open_s": 150.0}, ends_at=160.0)
        stage = perform(script, terms, monkeypatch)
        served = [number for number in (1, 2, 3, 4) if stage.served(number)]
        assert served == [1, order[0]], "the first to pay has the seat"


@pytest.mark.parametrize("late", ["refund", "head_of_new_group"])
def test_a_newcomer_whose_first_seat_expired_gets_one_seat_however_both_are_paid(
    late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stage: Stage) -> None:
        heads = [await stage.buy(number) for number in (1, 2)]
        await stage.place(3, customer="k-9", group_id=heads[0].group_id)
        await stage.open_payment(3)

        async def takes_another() -> None:
            while isinstance(
                await stage.try_to_place(4, customer="k-9", group_id=heads[1].group_id), Problem
            ):
                if stage.auditor.orders[order_id(3)].state == "paid":
                    return
                await asyncio.sleep(0.02)
            await stage.open_payment(4)
            await stage.pay(4)

        async def pays_late() -> None:
            while stage.auditor.orders[order_id(3)].state == "placed":
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05 * (stage.seed % 4))
            await stage.pay(3)

        await asyncio.gather(takes_another(), pays_late())

    terms = group_terms(
        {"kind": "newcomers", "late": late, "open_s": 80.0}, quota=CUPS, ends_at=120.0
    )
    winners = set()
    for seed in range(8):
        stage = perform(script, terms, monkeypatch, seed=seed, weather=jittery())
        groups = stage.auditor.campaigns.books[CAMPAIGN].groups
        formed = [group for group in groups.values() if group.outcome == "formed"]
        assert len(formed) == 1, "the newcomer makes one group full, never two"
        winners.add(stage.served(1))
        assert stage.served(2) != stage.served(1)
    assert winners == {True, False}, "the seeds should differ in which seat it is"


def test_of_two_full_groups_that_pay_at_one_instant_one_gets_the_last_units(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        heads = [await stage.buy(number) for number in (1, 3)]
        for head, number in zip(heads, (2, 4), strict=True):
            await stage.place(number, group_id=head.group_id)
            await stage.open_payment(number)
        await asyncio.gather(stage.pay(2), stage.pay(4))

    terms = group_terms({"stock": "on_formation"}, quota=(campaign.Share("s-1", 2),))
    for seed in range(4):
        stage = perform(script, terms, monkeypatch, seed=seed, weather=jittery())
        served = [number for number in (1, 2, 3, 4) if stage.served(number)]
        assert served in ([1, 2], [3, 4]), "a group is served whole or not at all"
        for number in {1, 2, 3, 4} - set(served):
            assert stage.told(number, "group-failed") == 1


def test_a_burst_for_few_units_sells_each_once_and_keeps_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        async def wants(number: int) -> None:
            await stage.at(1.0)
            customer = f"k-{number % 4}"  # each presses on three phones, and may buy one
            placed = await stage.try_to_place(number, customer=customer)
            if isinstance(placed, Problem):
                assert placed.code in ("campaign-sold-out", "customer-limit"), placed
                return
            await stage.open_payment(number)
            await stage.pay(number)

        await asyncio.gather(*(wants(number) for number in range(12)))

    quota = (campaign.Share("s-1", 1), campaign.Share("s-2", 2))
    for seed in range(4):
        stage = perform(
            script, flash_terms(quota=quota, limit_per_customer=1), monkeypatch, seed=seed,
            weather=jittery(),
        )  # fmt: skip
        assert stage.tally() == campaign.Tally(0, 0, 3, 0)


# Time --------------------------------------------------------------------------------------------


def test_a_payment_at_the_instant_of_expiry_is_kept_or_refunded_never_both_nor_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terms = flash_terms(quota=(campaign.Share("s-1", 1),))

    async def waiting(stage: Stage) -> None:
        await stage.place(1)
        await stage.open_payment(1)

    quiet = perform(waiting, terms, monkeypatch)
    (cancelled,) = [one for _, one in quiet.events if isinstance(one, Cancelled)]
    expiry_s = cancelled.at - quiet.began_at
    outcomes = set()
    for early_ms in range(-6, 10):

        async def racing(stage: Stage, early_ms: int = early_ms) -> None:
            async def pays() -> None:
                await stage.at(expiry_s - early_ms / 1_000)
                await stage.pay(1)

            async def takes_over() -> None:
                await stage.at(expiry_s - 0.01)
                for _ in range(20):  # presses the button until the unit is there
                    if isinstance(await stage.try_to_place(2), OrderView):
                        await stage.open_payment(2)
                        await stage.pay(2)
                        return

            await waiting(stage)
            await asyncio.gather(pays(), takes_over())

        stage = perform(racing, terms, monkeypatch)
        first = stage.served(1)
        second = order_id(2) in stage.auditor.orders and stage.served(2)
        assert first != second, "one unit, one customer"
        assert stage.account(1).captured == 1100
        outcomes.add(first)
    assert outcomes == {True, False}, "the instants should reach to both sides of the expiry"


def test_the_window_opens_and_closes_to_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    replies: dict[int, Any] = {}

    async def script(stage: Stage) -> None:
        async def press(number: int, seconds: float) -> None:
            await stage.at(seconds)
            to, wish = f"order/{order_id(number)}", wish_of(f"k-{number}")
            try:
                replies[number] = await stage.runtime.ask(to, wish, command_id="place")
            except Refused as refused:
                replies[number] = refused.as_problem()

        await asyncio.gather(
            press(1, 9.999), press(2, 10.0), press(3, 49.999), press(4, 50.0), press(5, 50.001)
        )

    terms = flash_terms(starts_at=10.0, ends_at=50.0, quota=(campaign.Share("s-1", 5),), pay_s=30.0)
    still = Weather(append_s=0.0001, snapshot_every_s=900.0)
    stage = perform(script, terms, monkeypatch, plan=ONE_NODE, weather=still)
    assert replies[1].code == "campaign-not-started"
    assert isinstance(replies[2], OrderView)
    assert isinstance(replies[3], OrderView)
    assert (replies[4].code, replies[5].code) == ("campaign-ended", "campaign-ended")
    assert stage.tally() == campaign.Tally(0, 0, 0, 5)


def test_who_claimed_before_the_end_may_pay_after_it_and_the_rest_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        await stage.at(99.0)
        for number in (1, 2):
            await stage.place(number)
            await stage.open_payment(number)
        await stage.at(104.0)
        await stage.pay(1)

    stage = perform(script, flash_terms(), monkeypatch)
    assert stage.served(1)
    assert not stage.served(2), "it was never paid, and its unit is with its store again"
    assert stage.tally() == campaign.Tally(0, 0, 1, 1)


# Crashes -----------------------------------------------------------------------------------------


def test_a_crash_at_any_moment_between_seat_and_payment_loses_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        stage.arm()
        head = await stage.buy(1)
        await stage.buy(2, group_id=head.group_id)
        await asyncio.sleep(3.0)

    terms = group_terms({"open_s": 80.0}, pay_s=60.0)
    for stage in every_crash(script, terms, monkeypatch):
        assert stage.served(1)
        assert stage.served(2)
        assert stage.tally().sold == 2


def test_a_crash_at_any_moment_while_a_seat_moves_to_another_store_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        head = await stage.place(1)
        await stage.place(2)
        await stage.place(3, group_id=head.group_id)
        for number in (1, 3):
            await stage.open_payment(number)
        stage.arm()
        for number in (1, 3):
            await stage.pay(number)
        await asyncio.sleep(3.0)

    quota = (campaign.Share("s-1", 1), campaign.Share("s-2", 1))
    rule = {"size": 2, "stock": "on_formation", "open_s": 80.0}
    for stage in every_crash(script, group_terms(rule, quota=quota, pay_s=60.0), monkeypatch):
        assert stage.served(1)
        assert stage.served(3)
        assert not stage.served(2)
        stores = {part.store_id for number in (1, 3) for part in stage.order(number).fulfilments}
        assert stores == {"s-1", "s-2"}
        assert stage.tally().sold == 2
        moved = [one for _, event in stage.events for one in getattr(event, "moved", ())]
        assert len(moved) == 1


def test_a_claim_whose_order_died_before_it_was_placed_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        stage.arm()
        with suppress(DoorstepError):  # the client asks once, and is never seen again
            to, wish = f"order/{order_id(1)}", wish_of("k-1")
            await stage.runtime.ask(to, wish, command_id="place", timeout_s=2.0)
        while isinstance(await stage.try_to_place(2), Problem):
            await asyncio.sleep(1.0)
        await stage.open_payment(2)
        await stage.pay(2)

    orphans = 0
    terms = flash_terms(quota=(campaign.Share("s-1", 1),), pay_s=25.0, ends_at=150.0)
    stages = [
        one
        for seed in range(3)
        for one in every_crash(script, terms, monkeypatch, seed=seed, every=1)
    ]
    for stage in stages:
        assert stage.served(2)
        claims = stage.auditor.campaigns.books[CAMPAIGN].claims.values()
        claimed = any(claim.order_id == order_id(1) for claim in claims)
        orphans += claimed and order_id(1) not in stage.auditor.orders
    assert orphans, "some crash should come between the claim and the placing"


@pytest.mark.parametrize(
    ("stock", "ends"), [("on_payment", "by its time"), ("on_formation", "with its campaign")]
)
def test_a_failed_group_is_refunded_once_whatever_dies_meanwhile(
    stock: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stage: Stage) -> None:
        head = await stage.buy(1)
        await stage.buy(2, group_id=head.group_id)
        if ends == "by its time":
            await stage.at(39.9)
            stage.arm()
        else:
            stage.arm()
            await stage.sure(f"campaign/{CAMPAIGN}", campaign.End("ops", "a mistake"))
        await asyncio.sleep(8.0)

    terms = group_terms({"size": 3, "stock": stock})
    for stage in every_crash(script, terms, monkeypatch):
        for number in (1, 2):
            assert not stage.served(number)
            assert stage.told(number, "group-failed") == 1
        assert stage.tally() == campaign.Tally(0, 0, 0, 8)


def test_a_ladder_gives_the_difference_back_once_whatever_dies_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        head = await stage.buy(1, quantity=2)
        await stage.buy(2, group_id=head.group_id)
        await stage.at(39.9)
        stage.arm()
        await asyncio.sleep(8.0)

    terms = group_terms({"kind": "ladder", "steps": LADDER})
    for stage in every_crash(script, terms, monkeypatch):
        for number, units in ((1, 2), (2, 1)):
            assert stage.served(number)
            assert list(stage.account(number).refunds.values()) == [301 * units]
            assert stage.told(number, "group-formed") == 1


def test_a_campaign_on_its_own_shard_keeps_every_unit_whatever_dies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        stage.arm()
        await asyncio.gather(*(press(stage, number) for number in range(1, 5)))
        await asyncio.sleep(3.0)

    async def press(stage: Stage, number: int) -> None:
        if isinstance(await stage.try_to_place(number), OrderView):
            await stage.open_payment(number)
            await stage.pay(number)

    where: dict[str, Any] = {"plan": OWN_SHARD, "campaign_id": ON_OWN_SHARD}
    terms = flash_terms(pay_s=60.0, ends_at=200.0)
    stages = list(every_crash(script, terms, monkeypatch, **where))
    for stage in stages:
        assert stage.tally() == campaign.Tally(0, 0, 2, 0)
        asked = [number for number in range(1, 5) if order_id(number) in stage.auditor.orders]
        assert [stage.served(number) for number in asked].count(True) == 2
        assert stage.memory.head[Shard("campaign", 1)], "it lives there ..."
        assert Shard("campaign", 0) not in stage.memory.head, "... and nowhere else"
    died = [line for stage in stages for line in stage.history if "hot crashes" in line]
    assert died, "its node should be among those that die"


REJECTED = flash_terms(quota=(campaign.Share("s-1", 1), campaign.Share("s-2", 2)))


def test_another_share_serves_what_a_store_rejects_whatever_dies_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(stage: Stage) -> None:
        stage.busy = frozenset({"s-1"})
        await stage.place(1)
        await stage.open_payment(1)
        stage.arm()
        await stage.pay(1)
        await asyncio.sleep(8.0)

    for stage in every_crash(script, REJECTED, monkeypatch):
        assert stage.served(1)
        assert [part.store_id for part in stage.order(1).fulfilments] == ["s-2"]
        assert stage.tally() == campaign.Tally(0, 0, 2, 1)


def test_a_customer_who_cancels_what_a_store_rejects_leaves_no_unit_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer of the campaign may be lost with the order's node, and the cancel come first."""

    async def script(stage: Stage) -> None:
        stage.busy = frozenset({"s-1"})
        await stage.place(1)
        await stage.open_payment(1)
        stage.arm()
        await stage.pay(1)
        while not any(isinstance(event, TicketOpened) for _, event in stage.events):
            await asyncio.sleep(0.01)
        await stage.ask(f"order/{order_id(1)}", Cancel("changed my mind", "customer"), "cancel")
        await asyncio.sleep(8.0)

    sold = set()
    for seed in range(3):
        for stage in every_crash(script, REJECTED, monkeypatch, seed=seed, weather=jittery()):
            stage.served(1)
            sold.add(stage.tally().sold)
    assert 1 in sold, "some cancel should come before another store has the units"


def test_units_of_every_part_leave_the_quota_though_a_rejection_overtakes_their_sale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overtaken = []
    for seed, away_s in product(range(3), (2.0, 20.0, 23.0, 29.0)):

        async def script(stage: Stage, away_s: float = away_s) -> None:
            await rejected_while_stock_is_away(stage, away_s)

        terms = flash_terms(pay_s=60.0)
        stage = perform(script, terms, monkeypatch, plan=STOCK_APART, seed=seed)
        assert stage.served(1)
        assert stage.tally() == campaign.Tally(0, 0, 2, 0)
        overtaken += sold_after_rerouting(stage)
    both = {f"{order_id(1)}-1", f"{order_id(1)}-2"}
    assert both <= set(overtaken), "some seed should do that to each part"


def sold_after_rerouting(stage: Stage) -> list[str]:
    """Fulfilments that left the quota when another store served their part already."""
    rerouted, late = set(), []
    for _, event in stage.events:
        if isinstance(event, FulfilmentRerouted):
            rerouted.add(event.fulfilment_id)
        elif isinstance(event, QuotaSold) and event.fulfilment_id in rerouted:
            late.append(event.fulfilment_id)
    return late
