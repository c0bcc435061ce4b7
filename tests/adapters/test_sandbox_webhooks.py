"""The sandbox's webhooks: repeated, late, out of order, lost, retried, kept over a restart."""

import asyncio
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payments.sandbox_book import Book
from adapters.payments.sandbox_faults import Fate, Fault, captures_late, fate_of, retry_delay_s
from domain.payment import CreatePayment, QueryPayment, RefundPayment
from tests.fakes.manual_clock import ManualClock
from tests.fakes.sandbox_world import SandboxWorld, sandbox_world


def create(world: SandboxWorld, payment_id: str = "o1-p1") -> CreatePayment:
    return CreatePayment(payment_id, "o1", 1_000, "EUR", world.clock.now() + 900)


@pytest.fixture
def fates(monkeypatch: pytest.MonkeyPatch) -> dict[int, Fate]:
    """The fate of the nth webhook that is queued; none listed: no trouble."""
    chosen: dict[int, Fate] = {}
    seen: list[str] = []

    def choose(event_id: str, faults: float, seed: int) -> Fate:
        seen.append(event_id)
        return chosen.get(len(seen), Fate(Fault.NONE))

    monkeypatch.setattr("adapters.payments.sandbox_book.fate_of", choose)
    return chosen


async def test_a_repeated_webhook_has_the_same_event_id_and_body_and_a_fresh_signature(
    tmp_path: Path, fates: dict[int, Fate]
) -> None:
    fates[1] = Fate(Fault.REPEATED, repeats=2)
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        for _ in range(5):
            await world.sandbox.send_due()
            world.clock.advance(60)
        received = world.receiver.take()
        assert len(received) == 3
        assert len({body for body, _ in received}) == 1
        assert len({headers["doorstep-signature"] for _, headers in received}) == 3
        latest = world.provider.verify(*received[-1], world.clock.now())
        assert latest.event_id.startswith("evt_")


async def test_a_late_webhook_comes_when_its_delay_is_over_and_not_before(
    tmp_path: Path, fates: dict[int, Fate]
) -> None:
    fates[2] = Fate(Fault.LATE, delay_s=200.0)
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        await world.pay("o1-p1")
        paid_at = world.clock.now()
        assert [event.status for event in await world.settle()] == ["pending"]
        world.clock.advance(199)
        assert await world.settle() == []
        world.clock.advance(2)
        [event] = await world.settle()
        assert event.status == "captured"
        assert event.occurred_at == pytest.approx(paid_at, abs=0.001)


async def test_captured_can_overtake_pending(tmp_path: Path, fates: dict[int, Fate]) -> None:
    fates[1] = Fate(Fault.OUT_OF_ORDER, delay_s=100.0)
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        assert await world.settle() == []
        await world.pay("o1-p1")
        assert [event.status for event in await world.settle()] == ["captured"]
        world.clock.advance(1)
        assert [event.status for event in await world.settle()] == ["pending"]


async def test_a_webhook_that_nothing_overtakes_still_comes(
    tmp_path: Path, fates: dict[int, Fate]
) -> None:
    fates[1] = Fate(Fault.OUT_OF_ORDER, delay_s=100.0)
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        world.clock.advance(100)
        assert [event.status for event in await world.settle()] == ["pending"]


async def test_a_lost_webhook_never_comes_and_a_query_tells_the_truth(
    tmp_path: Path, fates: dict[int, Fate]
) -> None:
    fates[2] = Fate(Fault.LOST)
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        await world.pay("o1-p1")
        statuses = [event.status for event in await world.settle()]
        for _ in range(20):
            world.clock.advance(7_200)
            statuses += [event.status for event in await world.settle()]
        assert statuses == ["pending"]
        answer = await world.provider.query(QueryPayment("o1-p1"), "e2")
        assert (answer.status, answer.amount) == ("captured", 1_000)


@pytest.mark.parametrize("answer", [500, 409, 302, 429])
async def test_a_webhook_is_sent_again_ever_less_often_until_it_is_accepted(
    tmp_path: Path, answer: int
) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(CreatePayment("o1-p1", "o1", 1_000, "EUR", None), "e1")
        world.receiver.status = answer
        gaps = []
        sent_at = world.clock.now()
        await world.sandbox.send_due()
        for _ in range(6):
            [webhook] = await world.sandbox.call(Book.webhooks)
            gaps.append(webhook["due_at"] - sent_at)
            assert await world.sandbox.send_due() == 0
            world.clock.advance(gaps[-1])
            sent_at = world.clock.now()
            assert await world.sandbox.send_due() == 1
        for number, gap in enumerate(gaps):
            assert 2.0**number <= gap <= 2.0 ** (number + 1)
        world.receiver.status = 200
        world.receiver.take()
        world.clock.advance(3_600)
        assert [event.status for event in await world.settle()] == ["pending"]
        assert await world.sandbox.call(Book.next_due) is None


async def test_a_webhook_does_not_follow_a_redirect_to_another_place(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        world.receiver.status, world.receiver.location = 307, "/elsewhere"
        await world.sandbox.send_due()
        assert world.elsewhere.take() == []
        [webhook] = await world.sandbox.call(Book.webhooks)
        assert webhook["state"] == "due"


async def test_a_webhook_nobody_accepts_for_days_is_given_up(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        command = CreatePayment("o1-p1", "o1", 1_000, "EUR", None)
        await world.provider.create(command, "e1")
        world.receiver.status = 500
        attempts = 0
        for _ in range(200):
            attempts += await world.sandbox.send_due()
            world.clock.advance(3_600)
        [webhook] = await world.sandbox.call(Book.webhooks)
        assert webhook["state"] == "given_up"
        assert 70 < attempts < 120
        assert await world.sandbox.call(Book.next_due) is None


async def test_webhooks_wait_for_a_receiver_that_is_away_and_survive_a_restart(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    nobody = {"webhook_url": "http://127.0.0.1:1/"}
    async with sandbox_world(tmp_path, clock=clock, **nobody) as world:
        await world.provider.create(create(world), "e1")
        await world.pay("o1-p1")
        assert await world.sandbox.send_due() == 2
    clock.advance(10)
    async with sandbox_world(tmp_path, clock=clock) as world:
        events = await world.settle()
        assert sorted(event.status for event in events) == ["captured", "pending"]
        clock.advance(10_000)
        assert await world.settle() == []


async def test_a_webhook_that_a_dead_sender_had_taken_is_sent_when_its_lease_ends(
    tmp_path: Path,
) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        now = world.clock.now()
        [taken] = await world.sandbox.call(Book.claim, now, 10, now + 60)
        assert await world.settle() == []
        world.clock.advance(60)
        [event] = await world.settle()
        assert event.event_id == taken.event_id


async def test_two_senders_on_one_book_send_each_webhook_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with (
        sandbox_world(tmp_path, clock=clock) as first,
        sandbox_world(tmp_path, clock=clock) as second,
    ):
        for number in range(20):
            await first.provider.create(create(first, f"o{number}-p1"), "e1")
        await asyncio.gather(first.sandbox.send_due(), second.sandbox.send_due())
        events = first.receiver.take() + second.receiver.take()
        assert len(events) == len({body for body, _ in events}) == 20


async def test_the_sender_in_the_background_sends_without_being_asked(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path, send=True) as world:
        await world.provider.create(create(world), "e1")
        await world.receiver.arrival.wait()
        [(body, headers)] = world.receiver.take()
        assert world.provider.verify(body, headers, world.clock.now()).status == "pending"
        await world.pay("o1-p1")
        await world.receiver.arrival.wait()
        [(body, headers)] = world.receiver.take()
        assert world.provider.verify(body, headers, world.clock.now()).status == "captured"


async def test_the_sender_in_the_background_wakes_for_a_late_webhook(
    tmp_path: Path, fates: dict[int, Fate]
) -> None:
    fates[1] = Fate(Fault.LATE, delay_s=3.0)
    async with sandbox_world(tmp_path, send=True) as world:
        await world.provider.create(create(world), "e1")
        while not world.receiver.arrival.is_set():
            world.clock.advance(0.5)
            await world.sandbox.call(Book.next_due)
        [(body, _)] = world.receiver.take()
        assert b"pending" in body


async def a_day(folder: Path, seed: int) -> list[tuple[str, str, int]]:
    async with sandbox_world(folder, seed=seed, faults=0.6) as world:
        for number in range(12):
            payment_id = f"o{number}-p1"
            await world.provider.create(create(world, payment_id), "e1")
            await world.pay(payment_id)
            await world.provider.refund(
                RefundPayment(payment_id, f"r{number}", 300, "EUR"), f"e{number}"
            )
        for _ in range(20):
            await world.sandbox.send_due()
            world.clock.advance(30)
        rows = await world.sandbox.call(Book.webhooks)
        received = Counter(
            msgspec.json.decode(body)["id"] for body, _headers in world.receiver.take()
        )
    return [(row["event_id"], row["fault"], received[row["event_id"]]) for row in rows]


async def test_one_seed_makes_the_same_troubles_again_and_another_seed_others(
    tmp_path: Path,
) -> None:
    first = await a_day(tmp_path / "a", seed=7)
    again = await a_day(tmp_path / "b", seed=7)
    other = await a_day(tmp_path / "c", seed=8)
    assert first == again
    assert first != other
    assert {fault for _, fault, _ in first} == {fault.value for fault in Fault}
    for _, fault, times in first:
        expected = {"lost": {0}, "repeated": {2, 3, 4}}.get(fault, {1})
        assert times in expected


@given(st.text(max_size=30), st.integers())
def test_without_faults_nothing_goes_wrong(event_id: str, seed: int) -> None:
    assert fate_of(event_id, 0.0, seed) == Fate(Fault.NONE)
    assert not captures_late(event_id, 0.0, seed)


@given(st.text(max_size=30), st.integers())
def test_with_faults_everywhere_something_always_goes_wrong(event_id: str, seed: int) -> None:
    fate = fate_of(event_id, 1.0, seed)
    assert fate.fault is not Fault.NONE
    assert fate == fate_of(event_id, 1.0, seed)
    assert captures_late(event_id, 1.0, seed)


@given(st.text(max_size=30), st.integers(1, 100_000), st.integers())
def test_the_wait_before_sending_again_is_bounded(event_id: str, attempts: int, seed: int) -> None:
    assert 1.0 <= retry_delay_s(event_id, attempts, seed) <= 3_600.0
