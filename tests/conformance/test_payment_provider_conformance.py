"""What every payment provider must do (``adapters.payments.port``), run on each of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from adapters.payments.port import PaymentProvider
from adapters.payments.signature import SIGNATURE_HEADER, TOLERANCE_REAL_S, sign
from domain.errors import Refused
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)
from tests.fakes.fake_provider import FakeProvider
from tests.fakes.manual_clock import ManualClock
from tests.fakes.sandbox_world import SECRET, SandboxWorld, sandbox_world

SPEED = 60.0


class World(Protocol):
    clock: ManualClock
    secret: str

    @property
    def provider(self) -> PaymentProvider: ...

    async def pay(self, payment_id: str, late: bool = False) -> None: ...

    async def decline(self, payment_id: str) -> None: ...

    async def webhooks(self) -> list[tuple[bytes, dict[str, str]]]: ...


class FakeWorld:
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.secret = "fake-secret"
        self.provider = FakeProvider(clock, self.secret)

    async def pay(self, payment_id: str, late: bool = False) -> None:
        self.provider.pay(payment_id, late)

    async def decline(self, payment_id: str) -> None:
        self.provider.decline(payment_id)

    async def webhooks(self) -> list[tuple[bytes, dict[str, str]]]:
        return self.provider.take_webhooks()


class HttpWorld:
    def __init__(self, sandbox: SandboxWorld) -> None:
        self.clock = sandbox.clock
        self.secret = SECRET
        self.provider = sandbox.provider
        self._sandbox = sandbox

    async def pay(self, payment_id: str, late: bool = False) -> None:
        await self._sandbox.pay(payment_id, outcome="pay", late=late)

    async def decline(self, payment_id: str) -> None:
        await self._sandbox.pay(payment_id, outcome="fail")

    async def webhooks(self) -> list[tuple[bytes, dict[str, str]]]:
        await self._sandbox.sandbox.send_due()
        return self._sandbox.receiver.take()


@pytest.fixture(params=["fake", "sandbox"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock(speed=SPEED)
    if request.param == "fake":
        yield FakeWorld(clock)
        return
    async with sandbox_world(tmp_path, clock=clock) as sandbox:
        yield HttpWorld(sandbox)


def create(world: World, amount: int = 1_000, payment_id: str = "o1-p1") -> CreatePayment:
    return CreatePayment(payment_id, "o1", amount, "EUR", world.clock.now() + 900)


def refund(refund_id: str, amount: int, currency: str = "EUR") -> RefundPayment:
    return RefundPayment("o1-p1", refund_id, amount, currency)


async def paid(world: World, amount: int = 1_000) -> None:
    await world.provider.create(create(world, amount), "e-create")
    await world.pay("o1-p1")


async def status(world: World, payment_id: str = "o1-p1") -> str:
    return (await world.provider.query(QueryPayment(payment_id), "e-query")).status


def code(refusal: pytest.ExceptionInfo[Refused]) -> str:
    return refusal.value.code


async def test_a_new_payment_is_pending_with_its_amount_and_a_reference(world: World) -> None:
    answer = await world.provider.create(create(world), "e1")
    assert (answer.payment_id, answer.status) == ("o1-p1", "pending")
    assert (answer.amount, answer.currency) == (1_000, "EUR")
    assert answer.reference


async def test_creating_again_is_answered_with_what_the_payment_became(world: World) -> None:
    command = create(world)
    first = await world.provider.create(command, "e1")
    await world.pay("o1-p1")
    again = await world.provider.create(command, "e1")
    assert (again.status, again.reference) == ("captured", first.reference)


async def test_creating_with_another_amount_under_the_same_id_is_refused(world: World) -> None:
    await world.provider.create(create(world, 1_000), "e1")
    with pytest.raises(Refused) as refusal:
        await world.provider.create(create(world, 999), "e2")
    assert code(refusal) == "idempotency-conflict"


async def test_a_paid_payment_is_captured_and_a_declined_one_failed(world: World) -> None:
    await world.provider.create(create(world, payment_id="o1-p1"), "e1")
    await world.provider.create(create(world, payment_id="o1-p2"), "e2")
    await world.pay("o1-p1")
    await world.decline("o1-p2")
    assert await status(world, "o1-p1") == "captured"
    assert await status(world, "o1-p2") == "failed"


async def test_a_payment_nobody_heard_of_is_unknown(world: World) -> None:
    assert await status(world, "o9-p9") == "unknown"


async def test_an_unpaid_payment_expires_and_can_still_be_captured_late(world: World) -> None:
    await world.provider.create(create(world), "e1")
    world.clock.advance(901)
    assert await status(world) == "expired"
    await world.pay("o1-p1")
    assert await status(world) == "expired"
    await world.pay("o1-p1", late=True)
    assert await status(world) == "captured"


async def test_capturing_what_is_captured_answers_so_and_what_is_unpaid_is_refused(
    world: World,
) -> None:
    await world.provider.create(create(world), "e1")
    with pytest.raises(Refused) as refusal:
        await world.provider.capture(CapturePayment("o1-p1", 1_000, "EUR"), "e2")
    assert code(refusal) == "payment-not-authorised"
    await world.pay("o1-p1")
    answer = await world.provider.capture(CapturePayment("o1-p1", 1_000, "EUR"), "e2")
    assert answer.status == "captured"
    with pytest.raises(Refused) as refusal:
        await world.provider.capture(CapturePayment("o1-p1", 999, "EUR"), "e3")
    assert code(refusal) == "wrong-amount"


async def test_a_refund_happens_once_however_often_it_is_asked(world: World) -> None:
    await paid(world)
    answers = [await world.provider.refund(refund("r1", 600), f"e{i}") for i in range(5)]
    assert len(set(answers)) == 1
    assert (answers[0].status, answers[0].refund_id, answers[0].amount) == ("refunded", "r1", 600)
    await world.provider.refund(refund("r2", 400), "e-rest")
    with pytest.raises(Refused) as refusal:
        await world.provider.refund(refund("r3", 1), "e-more")
    assert code(refusal) == "refund-exceeds-captured"


async def test_never_more_is_refunded_than_was_captured(world: World) -> None:
    await paid(world)
    with pytest.raises(Refused) as refusal:
        await world.provider.refund(refund("r1", 1_001), "e1")
    assert code(refusal) == "refund-exceeds-captured"
    answer = await world.provider.refund(refund("r1", 1_000), "e2")
    assert answer.status == "refunded"


async def test_a_refund_id_cannot_be_used_for_another_amount(world: World) -> None:
    await paid(world)
    await world.provider.refund(refund("r1", 100), "e1")
    with pytest.raises(Refused) as refusal:
        await world.provider.refund(refund("r1", 200), "e2")
    assert code(refusal) == "idempotency-conflict"


async def test_two_payments_may_use_the_same_refund_id_each_for_itself(world: World) -> None:
    for payment_id in ("o1-p1", "o1-p2"):
        await world.provider.create(create(world, payment_id=payment_id), "e1")
        await world.pay(payment_id)
        await world.provider.refund(RefundPayment(payment_id, "r1", 700, "EUR"), f"e-{payment_id}")
    events = [event for event in await verified(world) if event.refund_id]
    assert {(event.payment_id, event.amount) for event in events} == {
        ("o1-p1", 700), ("o1-p2", 700),
    }  # fmt: skip
    assert len({event.event_id for event in events}) == 2


async def test_a_refund_id_made_of_anybodys_idempotency_key_is_taken_as_it_is(
    world: World,
) -> None:
    await paid(world)
    refund_id = "refund:é key/with?odd&things#" + "x" * 200
    answer = await world.provider.refund(refund(refund_id, 100), "e1")
    assert (answer.status, answer.refund_id) == ("refunded", refund_id)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (RefundPayment("o9-p9", "r1", 100, "EUR"), "unknown-payment"),
        (RefundPayment("o1-p1", "r1", 100, "EUR"), "payment-not-captured"),
        (RefundPayment("o1-p1", "r1", 100, "USD"), "wrong-currency"),
    ],
)
async def test_a_refund_without_its_money_is_refused(
    world: World, command: RefundPayment, expected: str
) -> None:
    await world.provider.create(create(world), "e1")
    with pytest.raises(Refused) as refusal:
        await world.provider.refund(command, "e2")
    assert code(refusal) == expected


async def verified(world: World) -> list[ProviderAnswer]:
    now = world.clock.now()
    return [world.provider.verify(body, headers, now) for body, headers in await world.webhooks()]


async def test_webhooks_tell_the_payments_life_in_order_and_each_event_has_its_own_id(
    world: World,
) -> None:
    await paid(world)
    await world.provider.refund(refund("r1", 250), "e1")
    events = await verified(world)
    assert [(e.status, e.refund_id, e.amount) for e in events] == [
        ("pending", "", 1_000), ("captured", "", 1_000), ("refunded", "r1", 250),
    ]  # fmt: skip
    assert {e.payment_id for e in events} == {"o1-p1"}
    assert len({e.event_id for e in events}) == 3
    assert all(e.occurred_at == pytest.approx(world.clock.now(), abs=0.001) for e in events)


async def test_asking_for_the_same_refund_again_announces_it_once(world: World) -> None:
    await paid(world)
    await verified(world)
    for attempt in range(3):
        await world.provider.refund(refund("r1", 250), f"e{attempt}")
    assert [event.refund_id for event in await verified(world)] == ["r1"]


async def test_a_declined_payment_is_announced_as_failed(world: World) -> None:
    await world.provider.create(create(world), "e1")
    await world.decline("o1-p1")
    assert [event.status for event in await verified(world)] == ["pending", "failed"]


async def test_an_expired_payment_is_announced_without_anybody_asking(world: World) -> None:
    await world.provider.create(create(world), "e1")
    world.clock.advance(900)
    assert [event.status for event in await verified(world)] == ["pending", "expired"]


async def a_webhook(world: World) -> tuple[bytes, dict[str, str]]:
    await world.provider.create(create(world), "e1")
    return (await world.webhooks())[0]


async def test_a_webhook_signed_with_another_secret_is_refused(world: World) -> None:
    body, _ = await a_webhook(world)
    forged = {SIGNATURE_HEADER: sign(body, "a guess", world.clock.now())}
    with pytest.raises(Refused) as refusal:
        world.provider.verify(body, forged, world.clock.now())
    assert code(refusal) == "bad-signature"


async def test_a_webhook_whose_body_was_altered_is_refused(world: World) -> None:
    body, headers = await a_webhook(world)
    assert b"1000" in body
    with pytest.raises(Refused) as refusal:
        world.provider.verify(body.replace(b"1000", b"1"), headers, world.clock.now())
    assert code(refusal) == "bad-signature"


async def test_a_webhook_whose_timestamp_was_altered_is_refused(world: World) -> None:
    body, headers = await a_webhook(world)
    parts = headers[SIGNATURE_HEADER].split(",")
    moved = ",".join([f"t={world.clock.now() + 5:.3f}", *parts[1:]])
    with pytest.raises(Refused) as refusal:
        world.provider.verify(body, {SIGNATURE_HEADER: moved}, world.clock.now())
    assert code(refusal) == "bad-signature"


async def test_an_unsigned_webhook_is_refused(world: World) -> None:
    body, _ = await a_webhook(world)
    for headers in ({}, {SIGNATURE_HEADER: ""}, {SIGNATURE_HEADER: "v1=ü,t"}):
        with pytest.raises(Refused) as refusal:
            world.provider.verify(body, headers, world.clock.now())
        assert code(refusal) == "bad-signature"


async def test_an_old_webhook_that_is_replayed_is_refused_after_five_real_minutes(
    world: World,
) -> None:
    body, headers = await a_webhook(world)
    world.clock.advance(TOLERANCE_REAL_S * SPEED - 1)
    assert world.provider.verify(body, headers, world.clock.now()).payment_id == "o1-p1"
    world.clock.advance(2)
    with pytest.raises(Refused) as refusal:
        world.provider.verify(body, headers, world.clock.now())
    assert code(refusal) == "stale-webhook"


async def test_a_webhook_from_the_far_future_is_refused(world: World) -> None:
    body, headers = await a_webhook(world)
    earlier = world.clock.now() - TOLERANCE_REAL_S * SPEED - 1
    with pytest.raises(Refused) as refusal:
        world.provider.verify(body, headers, earlier)
    assert code(refusal) == "stale-webhook"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"id":1}', b"\xff\xfe"])
async def test_a_signed_body_that_is_no_event_is_refused_as_malformed(
    world: World, body: bytes
) -> None:
    headers = {SIGNATURE_HEADER: sign(body, world.secret, world.clock.now())}
    with pytest.raises(Refused) as refusal:
        world.provider.verify(body, headers, world.clock.now())
    assert code(refusal) == "malformed-webhook"
