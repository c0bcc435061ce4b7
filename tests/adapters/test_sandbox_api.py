"""The sandbox provider's API, its customers' side and its statement, over real HTTP."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.payments.sandbox_book import LATE_FOR_S, Book, Trouble
from adapters.payments.sandbox_client import SandboxProvider
from adapters.payments.sandbox_server import create_sandbox
from domain.errors import Refused, Unavailable
from domain.payment import CapturePayment, CreatePayment, QueryPayment, RefundPayment
from tests.fakes.manual_clock import ManualClock
from tests.fakes.sandbox_world import API_KEY, SECRET, SandboxWorld, sandbox_world

GOOD = {"payment_id": "o1-p1", "order_id": "o1", "amount": 1_000, "currency": "EUR"}


def create(world: SandboxWorld, payment_id: str = "o1-p1", amount: int = 1_000) -> CreatePayment:
    return CreatePayment(payment_id, "o1", amount, "EUR", world.clock.now() + 900)


async def post(
    world: SandboxWorld, path: str, document: Any, key: str | None = API_KEY
) -> tuple[int, dict[str, Any]]:
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    async with world.session.post(world.base_url + path, json=document, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY + "x", "ключ"])
async def test_the_api_answers_nobody_without_its_key(tmp_path: Path, key: str | None) -> None:
    async with sandbox_world(tmp_path) as world:
        status, problem = await post(world, "/payments", GOOD, key)
        assert (status, problem["code"]) == (401, "unauthorised")
        async with world.session.get(world.base_url + "/statement") as answer:
            assert answer.status == 401
        assert await world.sandbox.call(Book.webhooks) == []


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0}, {"amount": -1}, {"amount": 10.5}, {"amount": "1000"}, {"amount": 2**60},
        {"currency": "eur"}, {"currency": "EURO"}, {"payment_id": ""}, {"payment_id": "a b"},
        {"payment_id": "o1\n"}, {"payment_id": "x" * 129}, {"expires_at": 17},
        {"expires_at": "2026-01-01T00:00:00"}, {"capture": "never"},
        {"expires_at": "9999-12-31T23:59:59-14:00"}, {"expires_at": "0001-01-01T00:00:00+14:00"},
    ],
)  # fmt: skip
async def test_a_wrong_request_is_refused_and_changes_nothing(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    async with sandbox_world(tmp_path) as world:
        status, problem = await post(world, "/payments", GOOD | change)
        assert (status, problem["code"]) == (422, "malformed-request")
        assert await world.sandbox.call(Book.webhooks) == []


async def test_bodies_that_are_no_json_or_too_large_and_unknown_routes_are_refused(
    tmp_path: Path,
) -> None:
    async with sandbox_world(tmp_path) as world:
        key = {"authorization": f"Bearer {API_KEY}"}
        url = world.base_url + "/payments"
        deep = b"[" * 30_000 + b"]" * 30_000
        for body, expected in (
            (b"{", 422), (b"[]", 422), (b"\xff", 422), (b'{"x":%s}' % deep, 422),
            (b" " * 70_000, 413),
        ):  # fmt: skip
            async with world.session.post(url, data=body, headers=key) as answer:
                assert answer.status == expected
                assert answer.content_type == "application/problem+json"
        async with world.session.get(world.base_url + "/nothing", headers=key) as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (
                404, "no-such-route",
            )  # fmt: skip


async def test_a_payment_is_captured_once_though_the_customer_presses_pay_many_times(
    tmp_path: Path,
) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        statuses = await asyncio.gather(*(world.pay("o1-p1") for _ in range(10)))
        assert set(statuses) == {200}
        page = await world.provider.statement()
        assert [entry.type for entry in page.entries] == ["capture"]
        assert [event.status for event in await world.settle()] == ["pending", "captured"]


async def test_a_customer_who_walks_away_leaves_the_payment_open(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        assert await world.pay("o1-p1", outcome="abandon") == 200
        assert (await world.provider.query(QueryPayment("o1-p1"), "e2")).status == "pending"
        assert await world.pay("o1-p1") == 200


async def test_a_declined_payment_cannot_be_paid_any_more(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        assert await world.pay("o1-p1", outcome="fail") == 200
        assert await world.pay("o1-p1") == 409
        assert await world.pay("o1-p1", outcome="fail") == 409
        answer = await world.provider.query(QueryPayment("o1-p1"), "e2")
        assert (answer.status, answer.reason) == ("failed", "declined by the customer")


async def test_paying_what_does_not_exist_or_in_an_unknown_way_is_refused(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        assert await world.pay("o9-p9") == 404
        await world.provider.create(create(world), "e1")
        assert await world.pay("o1-p1", outcome="steal") == 422
        assert (await world.provider.query(QueryPayment("o1-p1"), "e2")).status == "pending"


@pytest.mark.parametrize(
    ("share", "late", "expected"),
    [(0.0, None, 409), (0.0, True, 200), (1.0, None, 200), (1.0, False, 409)],
)
async def test_a_payment_after_its_expiry_is_captured_when_asked_so_or_by_the_stated_share(
    tmp_path: Path, share: float, late: bool | None, expected: int
) -> None:
    async with sandbox_world(tmp_path, late_captures=share) as world:
        await world.provider.create(create(world), "e1")
        world.clock.advance(900)
        assert await world.pay("o1-p1", late=late) == expected
        answer = await world.provider.query(QueryPayment("o1-p1"), "e2")
        assert answer.status == ("captured" if expected == 200 else "expired")
        statuses = [event.status for event in await world.settle()]
        assert statuses == ["pending", "expired"] + ["captured"] * (expected == 200)


async def test_half_an_hour_after_its_expiry_no_money_reaches_a_payment_any_more(
    tmp_path: Path,
) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        world.clock.advance(900 + LATE_FOR_S + 1)
        assert await world.pay("o1-p1", late=True) == 409
        assert (await world.provider.query(QueryPayment("o1-p1"), "e2")).status == "expired"


async def test_with_manual_capture_paying_authorises_and_a_later_call_takes_the_money(
    tmp_path: Path,
) -> None:
    async with sandbox_world(tmp_path) as world:
        provider = SandboxProvider(world.base_url, API_KEY, SECRET, capture="manual")
        await provider.create(create(world), "e1")
        await world.pay("o1-p1")
        assert (await provider.query(QueryPayment("o1-p1"), "e2")).status == "authorised"
        with pytest.raises(Refused, match="payment-not-captured"):
            await provider.refund(RefundPayment("o1-p1", "r1", 1, "EUR"), "e3")
        for _ in range(2):
            answer = await provider.capture(CapturePayment("o1-p1", 1_000, "EUR"), "e4")
            assert answer.status == "captured"
        assert len((await provider.statement()).entries) == 1
        await provider.close()


async def test_racing_refunds_never_give_back_more_than_was_captured(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        await world.pay("o1-p1")
        answers = await asyncio.gather(
            *(
                world.provider.refund(RefundPayment("o1-p1", f"r{n % 8}", 300, "EUR"), f"e{n}")
                for n in range(24)
            ),
            return_exceptions=True,
        )
        done = {answer.refund_id for answer in answers if not isinstance(answer, BaseException)}
        assert len(done) == 3
        entries = (await world.provider.statement()).entries
        assert sum(entry.amount for entry in entries if entry.type == "refund") == 900


async def test_the_statement_lists_captures_and_refunds_in_order_page_by_page(
    tmp_path: Path,
) -> None:
    async with sandbox_world(tmp_path) as world:
        for number in range(3):
            await world.provider.create(create(world, f"o{number}-p1", 500 + number), "e1")
            await world.pay(f"o{number}-p1")
            world.clock.advance(1)
        await world.provider.refund(RefundPayment("o1-p1", "r1", 501, "EUR"), "e2")
        first = await world.provider.statement(limit=3)
        assert [(e.type, e.amount) for e in first.entries] == [
            ("capture", 500), ("capture", 501), ("capture", 502),
        ]  # fmt: skip
        assert first.after is not None
        rest = await world.provider.statement(after=first.after, limit=3)
        assert [(e.type, e.payment_id, e.refund_id, e.amount) for e in rest.entries] == [
            ("refund", "o1-p1", "r1", 501)
        ]
        assert rest.after is None
        assert rest.entries[0].at == datetime.fromtimestamp(world.clock.now(), UTC)


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=501", "limit=1e9", "after=²"])
async def test_a_wrong_cursor_or_limit_is_refused(tmp_path: Path, query: str) -> None:
    async with sandbox_world(tmp_path) as world:
        key = {"authorization": f"Bearer {API_KEY}"}
        async with world.session.get(f"{world.base_url}/statement?{query}", headers=key) as answer:
            assert answer.status == 422


async def test_payments_survive_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with sandbox_world(tmp_path, clock=clock) as world:
        await world.provider.create(create(world), "e1")
        await world.pay("o1-p1")
        before = await world.provider.refund(RefundPayment("o1-p1", "r1", 300, "EUR"), "e2")
    async with sandbox_world(tmp_path, clock=clock) as world:
        again = await world.provider.refund(RefundPayment("o1-p1", "r1", 300, "EUR"), "e2")
        assert again == before
        assert len((await world.provider.statement()).entries) == 2


async def test_a_stopped_sandbox_says_try_again(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.sandbox.stop()
        await world.sandbox.stop()
        with pytest.raises(Unavailable):
            await world.provider.query(QueryPayment("o1-p1"), "e1")


async def test_a_browser_sees_the_amount_and_pays_with_a_button(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world, amount=123_450), "e1")
        url = world.provider.pay_url("o1-p1")
        async with world.session.get(url) as answer:
            page = await answer.text()
            assert answer.content_type == "text/html"
            assert "script" not in answer.headers["content-security-policy"]
        assert "1,234.50 EUR" in page
        assert 'value="pay"' in page
        assert 'value="fail"' in page
        async with world.session.post(url, data={"outcome": "pay"}) as answer:
            page = await answer.text()
            assert answer.status == 200
        assert "It is paid" in page
        assert 'value="pay"' not in page
        assert (await world.provider.query(QueryPayment("o1-p1"), "e2")).status == "captured"


async def test_a_browser_that_pays_too_late_is_told_so_on_the_page(tmp_path: Path) -> None:
    async with sandbox_world(tmp_path) as world:
        await world.provider.create(create(world), "e1")
        world.clock.advance(900)
        url = world.provider.pay_url("o1-p1")
        async with world.session.post(url, data={"outcome": "pay"}) as answer:
            assert answer.status == 409
            assert "Too late" in await answer.text()


async def test_a_customer_who_is_quicker_than_the_service_is_asked_to_wait_a_moment(
    tmp_path: Path,
) -> None:
    async with sandbox_world(tmp_path) as world:
        url = world.provider.pay_url("o1-p1")
        async with world.session.get(url) as answer:
            assert (answer.status, answer.content_type) == (404, "text/html")
            assert 'http-equiv="refresh"' in await answer.text()
        async with world.session.post(url) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (404, "1")
            assert (await answer.json(content_type=None))["code"] == "unknown-payment"
        await world.provider.create(create(world), "e1")
        assert await world.pay("o1-p1") == 200


async def test_what_the_page_shows_is_text_and_never_markup(tmp_path: Path) -> None:
    from adapters.payments.sandbox_page import pay_page

    evil = "<script>alert(1)</script>"
    payment = {
        "payment_id": evil, "order_id": evil, "amount": 5, "currency": "JPY", "status": evil,
    }  # fmt: skip
    page = pay_page(payment, evil)
    assert evil not in page
    assert "5 JPY" in page


@pytest.mark.parametrize("change", [{"faults": 1.1}, {"faults": -0.1}, {"late_captures": 2.0}])
def test_a_share_that_is_no_share_is_refused(tmp_path: Path, change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="share"):
        create_sandbox(
            tmp_path / "x.db", api_key="k", webhook_url="", webhook_secret="s",
            clock=ManualClock(), **change,
        )  # fmt: skip


actions = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.sampled_from(["pay", "fail", "abandon"]), st.booleans()),
        st.tuples(st.just("refund"), st.integers(1, 4), st.integers(1, 1_200)),
        st.tuples(st.just("wait"), st.integers(1, 600), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(actions)
def test_whatever_is_asked_money_goes_out_only_after_it_came_in_and_never_more(
    tmp_path_factory: pytest.TempPathFactory, wishes: list[tuple[str, Any, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("book")
    book = Book(folder / "sandbox.db", faults=0.5, late_captures=0.5, seed=1)
    now = 1_000.0
    book.create("o1-p1", "o1", 1_000, "EUR", "automatic", now + 900, now)
    for action, what, how in wishes:
        try:
            if action == "pay":
                book.pay("o1-p1", what, how, now)
            elif action == "refund":
                book.refund("o1-p1", f"r{what}", how, "EUR", now)
            else:
                now += what
        except Trouble:
            continue
    entries = book.statement(0, 500)
    refunds = [entry for entry in entries if entry["type"] == "refund"]
    captures = [entry for entry in entries if entry["type"] == "capture"]
    assert len(captures) <= 1
    assert [entry["amount"] for entry in captures] in ([], [1_000])
    assert sum(e["amount"] for e in refunds) <= sum(e["amount"] for e in captures)
    assert len({entry["refund_id"] for entry in refunds}) == len(refunds)
    assert entries == captures + refunds
    announced = [webhook["event_id"] for webhook in book.webhooks()]
    assert len(announced) == len(set(announced))
    book.close()
