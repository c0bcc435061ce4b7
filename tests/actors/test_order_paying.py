"""Money: every captured sum is kept once or goes back once, whatever order the news comes in."""

from collections import Counter
from typing import Any

import pytest

from actors.engine.kind import Wake
from actors.order import KIND
from domain import order, payment, store
from domain.errors import Problem
from domain.inventory.commands import Deduct, Lock, LockItem, Release
from domain.notice import Notify
from tests.fakes.order_world import (
    ORDER_ID,
    World,
    captured,
    line_id,
    paid_world,
    part_id,
    payment_of,
    place,
    placed_world,
    refused,
)


def started(*goods: tuple[str, int], **changes: Any) -> World:
    world = placed_world(*goods, **changes)
    world.tell_and_run(order.StartPayment(payment_of(), "sandbox"))
    return world


def expired(*goods: tuple[str, int], **changes: Any) -> World:
    """A world whose order ran out of time with its payment open."""
    world = started(*goods, **changes)
    world.wake(world.now + 1000)
    assert world.order.state == "cancelled"
    return world


def buy_up(world: World, store_id: str, sku: str, units: int) -> None:
    item = LockItem("rival/1", sku, units)
    lock = Lock(f"rival-{store_id}", "rival", (item,), None)
    world.ask(f"inventory/{store_id}", lock)


def refunds(world: World) -> list[tuple[str, int]]:
    return [(each.payment_id, each.amount) for each in world.sends_of(payment.RefundPayment)]


def test_a_started_payment_is_created_at_its_provider_with_the_orders_total_and_expiry() -> None:
    world = started()
    (sent,) = world.sends_of(payment.CreatePayment)
    assert (sent.amount, sent.currency, sent.expires_at) == (1299, "EUR", world.order.expires_at)


def test_starting_the_same_payment_again_opens_nothing() -> None:
    world = started()
    view = world.tell_and_run(order.StartPayment(payment_of(), "sandbox"))
    assert view.state == "created"
    assert len(world.sends_of(payment.CreatePayment)) == 1
    assert refused(world, order.StartPayment(payment_of(), "other")).code == "payment-exists"


def test_a_payment_cannot_be_opened_after_the_time_to_pay() -> None:
    world = placed_world()
    world.now += 900
    assert refused(world, order.StartPayment(payment_of(), "sandbox")).code == "expired"


def test_a_paid_order_is_deducted_and_sent_to_its_store() -> None:
    world = paid_world(("cup", 2))
    assert world.order.state == "paid"
    assert world.cell("s-1", "cup") == (8, 0)
    (ticket,) = world.sends_of(store.OpenTicket)
    assert (ticket.cash_due, ticket.lines[0].quantity) == (0, 2)
    assert ticket.accept_by == world.now + 300
    assert ticket.due_at == world.now + 1800


@pytest.mark.parametrize("status", ["captured", "failed", "expired", "pending", "unknown"])
def test_news_after_the_capture_changes_nothing(status: str) -> None:
    world = paid_world()
    before = len(world.facts)
    world.tell_and_run(captured(1299, status=status))
    assert len(world.facts) == before


def test_a_capture_after_a_failure_counts_because_the_money_was_taken() -> None:
    world = started()
    world.tell_and_run(captured(0, status="failed"))
    assert world.order.payments[payment_of()].state == "failed"
    world.tell_and_run(captured(1299))
    assert world.order.state == "paid"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"amount": 1298}, "wrong-amount"), ({"amount": 1300}, "wrong-amount"),
     ({"currency": "USD"}, "wrong-currency"), ({"payment_id": payment_of(7)}, "unknown-payment")],
)  # fmt: skip
def test_money_that_does_not_match_is_flagged_and_goes_back_whole_once(
    changes: dict[str, Any], reason: str
) -> None:
    world = started()
    command = captured(**{"amount": 1299, **changes})
    world.tell_and_run(command)
    world.tell_and_run(command)
    assert world.order.state == "placed"
    (flag,) = world.facts_of(order.PaymentFlagged)
    assert flag.reason == reason
    (refund,) = world.sends_of(payment.RefundPayment)
    assert (refund.payment_id, refund.amount) == (command.payment_id, command.amount)
    assert refund.currency == command.currency
    assert [each.state for each in world.order.refunds.values()] == ["done"]


def test_a_flagged_order_can_still_be_paid_by_another_payment() -> None:
    world = started()
    world.tell_and_run(captured(1))
    world.tell_and_run(order.StartPayment(payment_of(2), "sandbox"))
    world.tell_and_run(captured(1299, 2))
    assert world.order.state == "paid"
    assert refunds(world) == [(payment_of(), 1)]


def test_a_webhook_of_another_provider_or_of_no_payment_is_refused() -> None:
    world = started()
    assert refused(world, captured(1299, provider="other")).code == "wrong-provider"
    unknown = captured(1299, 9, status="failed")
    assert refused(world, unknown).code == "unknown-payment"
    assert refused(world, captured(1299, status="odd")).code == "unknown-status"


def test_two_providers_one_is_kept_and_one_is_refunded() -> None:
    world = started()
    world.tell_and_run(order.StartPayment(payment_of(2), "other"))
    world.tell_and_run(captured(1299, 2, provider="other"))
    world.tell_and_run(captured(1299))
    world.tell_and_run(captured(1299))
    assert world.order.kept == payment_of(2)
    assert refunds(world) == [(payment_of(), 1299)]
    assert len(world.sends_of(Deduct)) == 1


def test_an_unpaid_order_without_payments_ends_at_its_expiry_and_frees_its_stock() -> None:
    world = placed_world()
    world.wake(world.now + 899)
    assert world.order.state == "placed"
    world.wake(world.now + 1)
    assert world.order.state == "cancelled"
    assert world.cell("s-1", "cup") == (10, 0)


def test_a_silent_payment_is_asked_about_before_the_order_is_given_up() -> None:
    world = started()
    start = world.now
    asked: list[float] = []

    def says(command: Any) -> Any:
        asked.append(world.now - start)
        status = "captured" if world.now >= start + 900 else "pending"
        return payment.ProviderAnswer(payment_of(), status, "ref", 1299, "EUR")

    world.provider_says = says
    world.wake(start + 5000)
    assert asked == [30, 120, 900]
    assert world.order.state == "paid"
    assert not world.sends_of(Release)


def test_a_payment_whose_provider_never_answers_is_asked_about_long_after_the_end() -> None:
    world = started()
    start = world.now
    world.wake(start + 10_000)
    times = [fact.at - start for fact in world.facts_of(order.ProviderQueried)]
    assert times == [30, 120, 900, 960, 1500, 4500]
    cancelled = world.facts_of(order.Cancelled)[0]
    assert cancelled.at == start + 915

    assert KIND.finished_at(world.order) == start + 4500


def test_a_payment_opened_just_before_the_expiry_is_asked_about_before_the_end() -> None:
    world = placed_world()
    start = world.now
    world.now += 895
    world.tell_and_run(order.StartPayment(payment_of(), "sandbox"))
    world.wake(start + 914)
    assert world.order.state == "placed"
    assert [fact.at - start for fact in world.facts_of(order.ProviderQueried)] == [900]
    world.wake(start + 915)
    assert world.order.state == "cancelled"


def test_a_wake_up_that_comes_late_still_asks_before_it_cancels() -> None:
    world = started()
    world.now += 5000
    world.tell_and_run(Wake())
    assert world.order.state == "placed"
    world.now += 15
    world.tell_and_run(Wake())
    assert world.order.state == "cancelled"


def test_a_wake_up_that_comes_early_or_twice_changes_nothing() -> None:
    world = started()
    world.tell_and_run(Wake())
    assert not world.facts_of(order.ProviderQueried)


def test_paid_after_expiry_the_order_is_locked_again_and_goes_on() -> None:
    world = expired(("cup", 2))
    world.tell_and_run(captured(2299))
    assert world.order.state == "paid"
    assert world.cell("s-1", "cup") == (8, 0)
    assert [part.fulfilment.fulfilment_id for part in world.order.parts] == [part_id(2)]
    assert not refunds(world)
    assert len(world.facts_of(order.Reinstated)) == 1


def test_paid_after_expiry_another_store_serves_when_the_first_is_sold_out() -> None:
    world = expired(("cup", 2))
    buy_up(world, "s-1", "cup", 9)
    world.tell_and_run(captured(2299))
    assert [part.fulfilment.store_id for part in world.order.parts] == ["s-2"]
    assert sum(part.fulfilment.freight for part in world.order.parts) == world.order.freight
    assert not refunds(world)


def test_paid_too_late_and_sold_out_the_money_goes_back_once_and_the_customer_is_told() -> None:
    world = expired(("cup", 2))
    for name in ("s-1", "s-2", "s-3"):
        buy_up(world, name, "cup", 10)
    for _ in range(2):
        world.tell_and_run(captured(2299))
    assert world.order.state == "cancelled"
    assert refunds(world) == [(payment_of(), 2299)]
    (told,) = world.sends_of(Notify)
    assert told.audience == "customer:c-1"
    assert not world.facts_of(order.Reinstated)


def test_money_for_an_order_that_its_customer_cancelled_goes_back() -> None:
    world = started()
    world.tell_and_run(order.Cancel("changed my mind"))
    world.tell_and_run(captured(1299))
    assert world.order.state == "cancelled"
    assert refunds(world) == [(payment_of(), 1299)]
    assert world.locked_anywhere() == 0


def test_a_late_capture_that_only_a_query_finds_is_refunded_or_used_not_kept_silently() -> None:
    world = started()
    start = world.now

    def says(command: Any) -> Any:
        if isinstance(command, payment.RefundPayment):
            return payment.ProviderAnswer(payment_of(), "refunded", refund_id=command.refund_id)
        status = "captured" if world.now > start + 1000 else "pending"
        return payment.ProviderAnswer(payment_of(), status, "ref", 1299, "EUR")

    world.provider_says = says
    world.wake(start + 10_000)
    assert world.order.state == "paid"


def test_a_payment_that_expired_at_its_provider_is_asked_about_until_no_money_can_come() -> None:
    world = started()
    start = world.now

    def says(command: Any) -> Any:
        status = "captured" if world.now > start + 1600 else "expired"
        return payment.ProviderAnswer(payment_of(), status, "ref", 1299, "EUR")

    world.provider_says = says
    world.wake(start + 1000)
    assert world.order.payments[payment_of()].state == "failed"
    world.wake(start + 10_000)
    assert world.order.state == "paid", "captured after the provider had called it expired"


def test_a_payment_that_stays_expired_is_asked_about_no_more_in_the_end() -> None:
    world = started()
    world.provider_says = lambda _: payment.ProviderAnswer(payment_of(), "expired")
    world.wake(world.now + 10_000)
    assert world.order.payments[payment_of()].query_at is None
    assert KIND.finished_at(world.order) < world.now


def test_a_provider_that_will_not_open_a_payment_has_failed_it() -> None:
    world = placed_world()
    world.provider_says = lambda command: Problem("no-such-method", "Not today.")
    world.tell_and_run(order.StartPayment(payment_of(), "sandbox"))
    assert world.order.payments[payment_of()].state == "failed"


def test_a_refund_that_its_provider_refuses_is_told_to_operations() -> None:
    world = paid_world()
    world.provider_says = lambda command: payment.ProviderAnswer(
        payment_of(), "refused", refund_id=command.refund_id, reason="closed account"
    )
    world.tell_and_run(order.Cancel("no"))
    (refund,) = world.order.refunds.values()
    assert refund.state == "refused"
    assert world.sends_of(Notify)[-1].audience == "ops"


@pytest.mark.parametrize("answer", [payment.ProviderAnswer(payment_of(), "unknown"), "nonsense"])
def test_an_unclear_answer_to_a_refund_is_not_taken_for_money_given_back(answer: Any) -> None:
    world = paid_world()
    world.provider_says = lambda command: answer
    world.tell_and_run(order.Cancel("no"))
    assert [refund.state for refund in world.order.refunds.values()] == ["refused"]


def test_refund_only_gives_back_exactly_what_units_cost_and_never_restocks() -> None:
    world = paid_world(("tea", 3))
    for number in range(3):
        units = (order.RefundUnits(line_id(), 1),)
        command = order.RefundLines(f"r-{number}", units, "broken", "ops:eve")
        world.tell_and_run(command)
        world.tell_and_run(command)
    assert sum(amount for _, amount in refunds(world)) == 999
    assert len(refunds(world)) == 3
    assert world.cell("s-1", "tea") == (7, 0)
    more = order.RefundLines("r-9", (order.RefundUnits(line_id(), 1),), "broken", "ops:eve")
    assert refused(world, more).code == "refund-exceeds"


@pytest.mark.parametrize(
    ("units", "code"),
    [((), "bad-quantity"), ((order.RefundUnits(line_id(), 0),), "bad-quantity"),
     ((order.RefundUnits(line_id(5), 1),), "unknown-line"),
     ((order.RefundUnits(line_id(), 1), order.RefundUnits(line_id(), 1)), "refund-exceeds")],
)  # fmt: skip
def test_a_refund_of_what_was_not_bought_is_refused(units: Any, code: str) -> None:
    assert refused(paid_world(), order.RefundLines("r", units, "why", "ops:eve")).code == code


def test_cash_orders_are_not_refunded_through_a_provider() -> None:
    world = placed_world(payment="cod")
    command = order.RefundLines("r", (order.RefundUnits(line_id(), 1),), "why", "ops:eve")
    assert refused(world, command).code == "refund-by-cash"


def test_stock_is_told_to_keep_the_lock_of_a_live_order_and_no_other() -> None:
    world = placed_world()
    assert world.tell(order.ConfirmLock(part_id(), "s-1")) is True
    assert world.tell(order.ConfirmLock(part_id(), "s-2")) is False
    assert world.tell(order.ConfirmLock(part_id(2), "s-1")) is False
    assert world.ask("order/ounknown", order.ConfirmLock("ounknown-1", "s-1")) is False


def test_an_expired_lock_that_stock_asks_about_ends_the_unpaid_order() -> None:
    world = placed_world()
    world.now += 901
    assert world.tell(order.ConfirmLock(part_id(), "s-1")) is False
    world.run()
    assert world.order.state == "cancelled"
    assert world.locked_anywhere() == 0


def test_the_lock_of_a_cash_order_outlives_its_expiry_until_the_hand_over() -> None:
    world = placed_world(payment="cod")
    world.now += 5000
    assert world.tell(order.ConfirmLock(part_id(), "s-1")) is True
    world.run()
    assert world.cell("s-1", "cup") == (10, 1)


def test_a_sale_whose_lock_is_gone_is_locked_again_under_a_new_fulfilment() -> None:
    world = started()
    world.ask("inventory/s-1", Release(part_id(), "by mistake"))
    world.tell_and_run(captured(1299))
    assert [part.fulfilment.fulfilment_id for part in world.order.parts] == [part_id(2)]
    assert world.cell("s-1", "cup") == (9, 0)
    assert world.order.refused == []
    assert not refunds(world)


def test_a_sale_whose_lock_is_gone_everywhere_is_refunded() -> None:
    world = started()
    world.ask("inventory/s-1", Release(part_id(), "by mistake"))
    for name in ("s-1", "s-2", "s-3"):
        buy_up(world, name, "cup", 10)
    world.tell_and_run(captured(1299))
    assert refunds(world) == [(payment_of(), 1299)]
    assert world.order.state == "cancelled"


def test_nothing_but_placing_reaches_an_order_that_was_never_placed() -> None:
    world = World()
    assert refused(world, order.Get()).code == "unknown-order"
    assert refused(world, captured(1)).code == "unknown-order"
    assert world.tell(place()).order_id == ORDER_ID
    assert world.tell(order.Get()).state == "placed"


def sums(world: World) -> tuple[list[int], list[tuple[str, int]]]:
    """Amounts kept, and whole sums given back by their refund ids; the books agree with both."""
    kept = [fact.amount for fact in world.facts_of(order.Paid) if fact.kept]
    given_back = {sent.refund_id: sent.amount for sent in world.sends_of(payment.RefundPayment)}
    assert len(given_back) == len(world.sends_of(payment.RefundPayment))
    return kept, sorted(given_back.items())


def test_the_right_sum_after_a_wrong_one_of_the_same_payment_is_kept_once() -> None:
    world = started()
    for amount in (1, 1299, 1, 1299):
        world.tell_and_run(captured(amount))
    assert world.order.state == "paid"
    assert sums(world) == ([1299], [(f"{payment_of()}-r", 1)])
    assert len(world.sends_of(Deduct)) == 1


def test_a_kept_payment_is_not_shown_as_refunded_because_more_was_given_back_before() -> None:
    world = started()
    world.tell_and_run(captured(1300))
    view = world.tell_and_run(captured(1299))
    assert [(each.payment_id, each.state) for each in view.payments] == [(payment_of(), "captured")]


def test_each_wrong_sum_goes_back_once_in_its_own_currency() -> None:
    world = started()
    wrong = [
        captured(1), captured(2), captured(2, provider_reference="other"),
        captured(1299, currency="USD"),
    ]  # fmt: skip
    for command in [*wrong, *wrong]:
        world.tell_and_run(command)
    world.tell_and_run(captured(1299))
    kept, given_back = sums(world)
    first = f"{payment_of()}-r"
    assert kept == [1299]
    assert given_back == [(first, 1), (f"{first}2", 2), (f"{first}3", 2), (f"{first}4", 1299)]
    (last,) = [each for each in world.sends_of(payment.RefundPayment) if each.currency == "USD"]
    assert last.refund_id == f"{first}4"


def test_the_right_sum_after_a_wrong_one_goes_back_whole_when_another_payment_was_kept() -> None:
    world = started()
    world.tell_and_run(captured(1))
    world.tell_and_run(order.StartPayment(payment_of(2), "sandbox"))
    world.tell_and_run(captured(1299, 2))
    world.tell_and_run(captured(1299))
    world.tell_and_run(captured(1299))
    assert world.order.kept == payment_of(2)
    assert sums(world) == ([1299], [(f"{payment_of()}-r", 1), (f"{payment_of()}-r2", 1299)])


def test_the_right_sum_after_a_wrong_one_and_after_the_end_reinstates_the_order() -> None:
    world = started()
    world.tell_and_run(captured(1))
    world.wake(world.now + 1000)
    assert world.order.state == "cancelled"
    world.tell_and_run(captured(1299))
    assert (world.order.state, sums(world)[0]) == ("paid", [1299])


def test_no_sum_of_a_payment_that_was_never_opened_is_kept() -> None:
    world = started()
    world.tell_and_run(captured(5, 7))
    world.tell_and_run(captured(1299, 7))
    assert sums(world) == ([], [(f"{payment_of(7)}-r", 5), (f"{payment_of(7)}-r2", 1299)])


@pytest.mark.parametrize("amounts", [(1, 1299), (1, 2, 1299), (1300, 1299, 1300), (7, 8)])
@pytest.mark.parametrize("lapsed", [False, True])
def test_the_books_hold_what_was_captured_less_what_was_given_back(
    amounts: tuple[int, ...], lapsed: bool
) -> None:
    from adapters.ledger.postings import account_order

    world = started()
    if lapsed:
        world.wake(world.now + 1000)
        for name in ("s-1", "s-2", "s-3"):
            buy_up(world, name, "cup", 10)
    for amount in amounts:
        world.tell_and_run(captured(amount))
    account, held = None, Counter[str]()
    for fact in world.facts:
        account, documents = account_order(account, fact)
        for document in documents:
            assert sum(leg.amount for leg in document.postings) == 0
            held.update({leg.account: leg.amount for leg in document.postings})
    kept = sum(sums(world)[0])
    assert held["provider_clearing:sandbox"] == kept
    assert held["customer_prepaid"] == -kept
    assert held["customer_unallocated"] == held["refunds_payable"] == 0
    paid_out = held["refunds_payable"], sum(amount for _, amount in sums(world)[1])
    assert paid_out == (0, sum(set(amounts)) - kept)


# Money that is held first -----------------------------------------------------------------------


def authorised(amount: int = 1299, number: int = 1, currency: str = "EUR") -> order.RecordPayment:
    return captured(amount, number, status="authorised", currency=currency)


def taking(command: Any) -> Any:
    """A provider that takes what it holds when it is asked to."""
    taken = isinstance(command, payment.CapturePayment)
    status = "captured" if taken else "pending"
    return payment.ProviderAnswer(command.payment_id, status, "ref", 1299, "EUR")


def test_money_that_is_held_for_an_order_is_taken_and_pays_it() -> None:
    world = started()
    world.provider_says = taking
    world.tell_and_run(authorised())
    (sent,) = world.sends_of(payment.CapturePayment)
    assert (sent.payment_id, sent.amount, sent.currency) == (payment_of(), 1299, "EUR")
    assert world.order.state == "paid"
    assert len(world.sends_of(Deduct)) == 1


def test_the_news_that_money_is_held_may_come_again_and_late() -> None:
    world = started()
    world.provider_says = taking
    for _ in range(2):
        world.tell_and_run(authorised())
    world.tell_and_run(captured(1299))
    world.tell_and_run(authorised())
    assert len(world.sends_of(payment.CapturePayment)) == 1
    assert world.order.payments[payment_of()].state == "captured"
    assert not refunds(world)


def test_until_it_is_taken_the_order_is_not_paid() -> None:
    world = started()
    world.tell(authorised())
    assert world.order.state == "placed"
    assert world.order.payments[payment_of()].state == "authorised"
    assert not world.sends_of(Deduct)


def test_held_money_that_only_a_query_finds_is_taken() -> None:
    world = started()
    world.provider_says = lambda command: payment.ProviderAnswer(
        payment_of(),
        "captured" if isinstance(command, payment.CapturePayment) else "authorised",
        "ref", 1299, "EUR",
    )  # fmt: skip
    world.wake(world.now + 60)
    assert world.order.state == "paid"


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [(1298, "EUR", "wrong-amount"), (1299, "USD", "wrong-currency")],
)
def test_another_sum_that_is_held_is_flagged_and_never_taken(
    amount: int, currency: str, reason: str
) -> None:
    world = started()
    for _ in range(2):
        world.tell_and_run(authorised(amount, currency=currency))
    assert not world.sends_of(payment.CapturePayment)
    (flagged,) = world.facts_of(order.PaymentFlagged)
    assert (flagged.amount, flagged.reason) == (0, reason)
    assert not refunds(world)
    (told,) = world.sends_of(Notify)
    assert (told.audience, told.template) == ("ops", "payment-flagged")
    world.tell_and_run(authorised(1299))
    assert len(world.sends_of(payment.CapturePayment)) == 1, "then the right sum was held"


def test_another_sum_that_its_provider_takes_all_the_same_is_found_and_goes_back() -> None:
    world = started()
    start = world.now
    world.tell_and_run(authorised(1298))

    def says(command: Any) -> Any:
        if isinstance(command, payment.RefundPayment):
            return payment.ProviderAnswer(payment_of(), "refunded", refund_id=command.refund_id)
        return payment.ProviderAnswer(payment_of(), "captured", "ref", 1298, "EUR")

    world.provider_says = says
    world.wake(start + 1000)
    assert refunds(world) == [(payment_of(), 1298)]


def test_nothing_is_taken_for_an_order_that_its_customer_cancelled() -> None:
    world = started()
    world.tell_and_run(order.Cancel("changed my mind"))
    for _ in range(2):
        world.tell_and_run(authorised())
    assert not world.sends_of(payment.CapturePayment)


def test_what_a_provider_takes_for_a_cancelled_order_by_itself_is_found_and_goes_back() -> None:
    world = started()
    world.tell_and_run(order.Cancel("changed my mind"))
    world.tell_and_run(authorised())

    def says(command: Any) -> Any:
        if isinstance(command, payment.RefundPayment):
            return payment.ProviderAnswer(payment_of(), "refunded", refund_id=command.refund_id)
        return payment.ProviderAnswer(payment_of(), "captured", "ref", 1299, "EUR")

    world.provider_says = says
    world.wake(world.now + 10_000)
    assert refunds(world) == [(payment_of(), 1299)]


def test_nothing_is_taken_once_another_payment_has_paid() -> None:
    world = started()
    world.tell_and_run(order.StartPayment(payment_of(2), "other"))
    world.tell_and_run(captured(1299, 2, provider="other"))
    world.tell_and_run(authorised())
    assert not world.sends_of(payment.CapturePayment)
    assert not refunds(world)


def test_a_provider_that_will_not_take_what_it_held_has_failed_the_payment() -> None:
    world = started()
    world.provider_says = lambda command: Problem("payment-not-authorised", "It has lapsed.")
    world.tell_and_run(authorised())
    assert world.order.state == "placed"
    assert world.order.payments[payment_of()].state == "failed"


def test_a_refusal_that_was_not_true_is_found_out_by_asking() -> None:
    """The first answer was lost, and the second says that there is nothing to take."""
    world = started()
    world.provider_says = lambda command: (
        Problem("payment-not-authorised", "It is taken.")
        if isinstance(command, payment.CapturePayment)
        else payment.ProviderAnswer(payment_of(), "captured", "ref", 1299, "EUR")
    )
    world.tell_and_run(authorised())
    world.wake(world.now + 200)
    assert world.order.state == "paid"


def test_a_provider_that_goes_on_holding_is_asked_anew_and_not_for_ever() -> None:
    world = started()
    world.provider_says = lambda command: payment.ProviderAnswer(
        payment_of(), "authorised", "ref", 1299, "EUR"
    )
    world.tell_and_run(authorised())
    world.wake(world.now + 100_000)
    asked = len(world.sends_of(payment.CapturePayment))
    assert 2 <= asked <= 20
    assert world.order.payments[payment_of()].query_at is None
    assert KIND.finished_at(world.order) < world.now


def test_money_held_just_before_the_expiry_is_waited_for() -> None:
    """Also where the card before it was declined, so that nothing is asked about any more."""
    world = started()
    world.tell_and_run(captured(0, status="failed"))
    world.now = world.order.expires_at - 1  # type: ignore[operator]
    world.tell(authorised())
    world.queue.clear()  # the provider takes its time
    world.wake(world.now + 10)
    assert world.order.state == "placed"
    world.tell_and_run(captured(1299))
    assert world.order.state == "paid"


def test_money_held_long_after_the_end_is_asked_about_if_nothing_is_heard_of_it() -> None:
    world = expired()
    world.wake(world.now + 10_000)
    assert world.order.payments[payment_of()].query_at is None
    world.tell(authorised())
    world.queue.clear()  # what became of it is lost
    world.provider_says = lambda command: payment.ProviderAnswer(
        payment_of(), "captured", "ref", 1299, "EUR"
    )
    world.wake(world.now + 100)
    assert world.order.state == "paid"


def test_money_held_after_the_expiry_is_taken_and_brings_the_order_back() -> None:
    world = expired()
    world.provider_says = taking
    world.tell_and_run(authorised())
    assert world.order.state == "paid"
    assert len(world.facts_of(order.Reinstated)) == 1


def test_money_taken_while_the_customer_cancelled_goes_back() -> None:
    world = started()
    world.tell(authorised())
    world.tell(order.Cancel("changed my mind"))
    world.provider_says = taking
    world.run()
    assert refunds(world) == [(payment_of(), 1299)]
