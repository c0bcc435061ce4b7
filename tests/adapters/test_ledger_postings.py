"""The rules of the books, without a database."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ledger.documents import Document, Unbalanced, balanced
from adapters.ledger.postings import OrderAccount, account_order, account_rider
from adapters.ledger.stock import account_stock
from domain import order, rider
from domain.inventory.commands import LockItem
from domain.inventory.events import LocksAsked, Sold
from tests.fakes.order_tales import Tale, random_tale

MUST_END_AT_ZERO = {
    "customer_prepaid", "customer_receivable", "customer_unallocated", "refunds_payable",
    "suspense",
}  # fmt: skip


def booked(tale: Tale) -> list[Document]:
    """All documents of money that a tale leads to."""
    account: OrderAccount | None = None
    documents: list[Document] = []
    for kind, entity, event in tale.facts:
        if kind == "order":
            account, made = account_order(account, event)
            documents += made
        elif kind == "rider":
            documents += account_rider(entity, event)
    return documents


def balances(documents: list[Document], currency: str = "EUR") -> dict[str, int]:
    """Balances that are not zero."""
    sums: Counter[str] = Counter()
    for document in documents:
        for leg in document.postings:
            if leg.currency == currency:
                sums[leg.account] += leg.amount
    return {account: amount for account, amount in sums.items() if amount}


def entry(documents: list[Document], kind: str) -> dict[str, int]:
    """The legs of the only document of a kind."""
    (found,) = [document for document in documents if document.kind == kind]
    return {leg.account: leg.amount for leg in found.postings}


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_every_document_balances_in_its_currency(draw: Random) -> None:
    for document in booked(random_tale("o1", draw)):
        assert len({leg.currency for leg in document.postings}) <= 1
        assert sum(leg.amount for leg in document.postings) == 0
        assert all(leg.amount != 0 for leg in document.postings)


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_final_order_with_its_refunds_made_owns_no_money(draw: Random) -> None:
    documents = booked(random_tale("o1", draw))
    for currency in ("EUR", "USD"):
        left = balances(documents, currency)
        assert not MUST_END_AT_ZERO & left.keys(), left
        assert not [name for name in left if name.startswith("cash_clearing:")]


@given(st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_income_is_what_was_captured_or_collected_less_what_was_given_back(draw: Random) -> None:
    tale = random_tale("o1", draw)
    left = balances(booked(tale))
    income = -sum(amount for name, amount in left.items() if "revenue:" in name)
    money = sum(
        amount
        for name, amount in left.items()
        if name.startswith(("provider_clearing:", "rider_cash:", "store_till:"))
    )
    assert income == money


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_events_seen_again_never_unbalance_the_books(draw: Random) -> None:
    tale = random_tale("o1", draw)
    account: OrderAccount | None = None
    for kind, _, event in tale.facts:
        if kind == "order" and not isinstance(event, order.Placed):
            assert account is not None
            for _ in range(2):
                _, documents = account_order(account, event)
                for document in documents:
                    assert sum(leg.amount for leg in document.postings) == 0
        elif kind == "order":
            account, _ = account_order(account, event)


def test_a_payment_is_a_liability_until_the_goods_are_delivered() -> None:
    tale = Tale("o1", [("s-1", 300, [(1000, 2)])])
    tale.paid()
    assert balances(booked(tale)) == {"provider_clearing:sandbox": 1300, "customer_prepaid": -1300}
    tale.delivered("o1-1")
    assert entry(booked(tale), "delivery") == {
        "customer_prepaid": 1300, "revenue:s-1": -1000, "freight_revenue:s-1": -300,
    }  # fmt: skip


def test_each_store_earns_its_own_lines_and_freight() -> None:
    tale = Tale("o1", [("s-1", 100, [(1000, 1)]), ("s-2", 200, [(500, 1), (250, 1)])])
    tale.paid()
    tale.delivered("o1-1")
    tale.delivered("o1-2")
    assert balances(booked(tale)) == {
        "provider_clearing:sandbox": 2050, "revenue:s-1": -1000, "freight_revenue:s-1": -100,
        "revenue:s-2": -750, "freight_revenue:s-2": -200,
    }  # fmt: skip


def test_cash_on_delivery_is_owed_by_the_rider_until_it_is_handed_in() -> None:
    tale = Tale("o1", [("s-1", 300, [(1000, 2)])], cod=True)
    assert booked(tale) == []
    tale.picked("o1-1")
    tale.delivered("o1-1", rider_id="r-7")
    documents = booked(tale)
    assert balances(documents) == {
        "rider_cash:r-7": 1300, "revenue:s-1": -1000, "freight_revenue:s-1": -300,
    }  # fmt: skip
    remitted = rider.Remitted("m-1", 1300, 1250, -50, "cashier", "EUR", 9.0)
    documents += account_rider("r-7", remitted)
    assert entry(documents, "remittance") == {
        "cash_in_hand": 1250, "cash_difference:r-7": 50, "rider_cash:r-7": -1300,
    }  # fmt: skip
    assert "rider_cash:r-7" not in balances(documents)


def test_cash_that_rider_and_order_tell_differently_stays_visible() -> None:
    tale = Tale("o1", [("s-1", 0, [(1000, 1)])], cod=True)
    tale.delivered("o1-1", rider_id="r-7")
    documents = booked(tale)
    liar = rider.ParcelDelivered("o1-1", "o1", 900, 900, 0, "EUR", 5.0)
    documents = [document for document in documents if document.kind != "cash_collected"]
    documents += account_rider("r-7", liar)
    assert balances(documents)["cash_clearing:r-7"] == 100


def test_cash_at_the_counter_goes_into_the_store_till() -> None:
    tale = Tale("o1", [("s-1", 0, [(1000, 1)])], cod=True)
    tale.delivered("o1-1", rider_id="")
    assert balances(booked(tale)) == {"store_till:s-1": 1000, "revenue:s-1": -1000}


def test_a_short_pick_paid_in_cash_is_neither_due_nor_earned() -> None:
    tale = Tale("o1", [("s-1", 100, [(1000, 3)])], cod=True)
    tale.picked("o1-1", (("o1/1", 1),))
    tale.delivered("o1-1", rider_id="r-1")
    assert balances(booked(tale)) == {
        "rider_cash:r-1": 767, "revenue:s-1": -667, "freight_revenue:s-1": -100,
    }  # fmt: skip


def test_a_short_pick_told_after_its_cash_was_taken_is_owed_until_the_flag_is_resolved() -> None:
    tale = Tale("o1", [("s-1", 100, [(1000, 3)])], cod=True)
    tale.delivered("o1-1", rider_id="r-1")
    tale.picked("o1-1", (("o1/1", 1),))
    assert balances(booked(tale)) == {
        "rider_cash:r-1": 1100, "revenue:s-1": -667, "freight_revenue:s-1": -100,
        "customer_receivable": -333,
    }  # fmt: skip
    resolved = order.FlagResolved("o1-1", "eve", "paid back at the till", 9.0)
    tale.happened(resolved)
    assert entry(booked(tale), "flag_resolved") == {
        "cash_difference:r-1": -333, "customer_receivable": 333,
    }  # fmt: skip


def test_a_refund_before_delivery_comes_out_of_what_was_prepaid() -> None:
    tale = Tale("o1", [("s-1", 300, [(1000, 2)])])
    tale.paid()
    tale.cancelled()
    assert entry(booked(tale), "refund") == {"customer_prepaid": 1300, "refunds_payable": -1300}
    tale.refunds_made()
    assert balances(booked(tale)) == {}


def test_a_refund_after_delivery_takes_the_income_back() -> None:
    tale = Tale("o1", [("s-1", 300, [(1000, 3)])])
    tale.paid()
    tale.delivered("o1-1")
    tale.refunded_only("o1/1", 1)
    assert entry(booked(tale), "refund") == {"revenue:s-1": 333, "refunds_payable": -333}


def test_money_that_no_order_can_use_goes_back_where_it_came_from() -> None:
    tale = Tale("o1", [("s-1", 0, [(1000, 1)])])
    tale.paid("first")
    tale.paid_again("second")
    assert balances(booked(tale)) == {
        "provider_clearing:first": 1000, "customer_prepaid": -1000,
        "provider_clearing:second": 1000, "refunds_payable": -1000,
    }  # fmt: skip
    tale.refunds_made()
    assert balances(booked(tale)) == {"provider_clearing:first": 1000, "customer_prepaid": -1000}


def test_a_flagged_payment_enters_the_books_only_if_it_was_captured() -> None:
    tale = Tale("o1", [("s-1", 0, [(1000, 1)])])
    tale.flagged(77, "USD", captured=False)
    assert [document.postings for document in booked(tale)] == [()]
    tale.flagged(78, "USD", captured=True)
    documents = booked(tale)
    assert balances(documents, "USD") == {"provider_clearing:sandbox": 78, "refunds_payable": -78}
    tale.refunds_made()
    assert balances(booked(tale), "USD") == {}


def test_a_refused_refund_stays_owed_in_an_account_of_its_own() -> None:
    tale = Tale("o1", [("s-1", 0, [(1000, 1)])])
    tale.paid()
    tale.cancelled()
    tale.refunds_made(refused="account closed")
    assert balances(booked(tale)) == {
        "provider_clearing:sandbox": 1000, "refunds_refused:sandbox": -1000,
    }  # fmt: skip


def test_a_refund_that_its_lines_do_not_explain_is_in_suspense() -> None:
    tale = Tale("o1", [("s-1", 0, [(1000, 1)])])
    tale.paid()
    odd = order.RefundRequested("x", "o1-p1", "sandbox", 400, 0, (), "odd", 1.0)
    tale.facts.append(("order", "o1", odd))
    assert balances(booked(tale))["suspense"] == 400


def test_a_rerouted_part_is_earned_by_the_store_that_delivered_it() -> None:
    tale = Tale("o1", [("s-1", 300, [(1000, 2)])])
    tale.paid()
    new_id = tale.rerouted("o1-1", "s-2")
    tale.delivered(new_id)
    assert balances(booked(tale)) == {
        "provider_clearing:sandbox": 1300, "revenue:s-2": -1000, "freight_revenue:s-2": -300,
    }  # fmt: skip


def test_events_of_an_order_that_was_never_placed_lead_to_nothing() -> None:
    assert account_order(None, order.Paid(1.0, "p", "sandbox", "r", 100)) == (None, [])


def test_an_entry_that_does_not_balance_is_refused() -> None:
    with pytest.raises(Unbalanced):
        balanced("EUR", [("a", 100), ("b", -99)])


def test_legs_of_the_same_account_are_added_up_and_zeros_left_out() -> None:
    legs = balanced("EUR", [("a", 100), ("b", -60), ("b", -40), ("c", 0)])
    assert [(leg.account, leg.amount) for leg in legs] == [("a", 100), ("b", -100)]


def test_a_short_pick_is_not_due_at_the_next_store_either() -> None:
    tale = Tale("o1", [("s-1", 100, [(1000, 3)])], cod=True)
    tale.picked("o1-1", (("o1/1", 1),))
    new_id = tale.rerouted("o1-1", "s-2")
    tale.delivered(new_id, rider_id="r-1")
    assert balances(booked(tale)) == {
        "rider_cash:r-1": 767, "revenue:s-2": -667, "freight_revenue:s-2": -100,
    }  # fmt: skip


@pytest.mark.parametrize("cash", [0, 2_298, 2_300])
def test_a_resolved_cash_flag_closes_what_the_customer_owes_as_a_difference(cash: int) -> None:
    account: OrderAccount | None = None
    documents: list[Document] = []
    line = order.Line("o1/1", "cup", "Cup", 2, 1_000, 2_000, "o1-1", ())
    part = order.Fulfilment("o1-1", "s-1", "z", 299, 1_800, 300, 600)
    resolved = order.FlagResolved("o1-1", "ops:eve", "counted twice", 4.0)
    for event in (
        order.Placed(
            "o1", 1.0, "app", order.Customer("c-1"), "EUR", "delivery", "cod", None, (line,),
            (part,), 2_000, 299, 2_299, None,
        ),
        order.FulfilmentDelivered("o1-1", 2.0, "r-1", cash),
        order.PaymentFlagged("o1-1", "cash", cash, "EUR", "odd", 3.0),
        resolved,
        resolved,
    ):  # fmt: skip
        account, made = account_order(account, event)
        documents += made
    assert "customer_receivable" not in balances(documents)
    assert balances(documents)["cash_difference:r-1"] == 2_299 - cash
    first, again = [one for one in documents if one.kind == "flag_resolved"]
    assert (first.data["by"], first.data["why"]) == ("ops:eve", "counted twice")
    assert again.postings == ()


def test_cash_taken_for_what_was_paid_online_is_a_difference_once_its_flag_is_resolved() -> None:
    tale = Tale("o1", [("s-1", 300, [(1000, 2)])])
    tale.paid()
    tale.happened(order.FulfilmentDelivered("o1-1", 2.0, "r-1", 100))
    tale.happened(order.PaymentFlagged("o1-1", "cash", 100, "EUR", "100 cash taken, 0 due", 2.0))
    assert balances(booked(tale))["customer_receivable"] == -100
    tale.happened(order.FlagResolved("o1-1", "ops:eve", "the rider keeps it", 4.0))
    left = balances(booked(tale))
    assert left.keys() & MUST_END_AT_ZERO == set()
    assert left["cash_difference:r-1"] == -100


def test_a_refund_made_at_the_second_asking_leaves_nothing_refused() -> None:
    account: OrderAccount | None = None
    documents: list[Document] = []
    line = order.Line("o1/1", "cup", "Cup", 2, 1_000, 2_000, "o1-1", ())
    part = order.Fulfilment("o1-1", "s-1", "z", 299, 1_800, 300, 600)
    back = (order.RefundLine("o1/1", 2, 2_000),)
    for event in (
        order.Placed(
            "o1", 1.0, "app", order.Customer("c-1"), "EUR", "delivery", "online", None, (line,),
            (part,), 2_000, 299, 2_299, None,
        ),
        order.Paid(2.0, "o1-p1", "sandbox", "ref", 2_299),
        order.RefundRequested(
            "f-1", "o1-p1", "sandbox", 2_299, 299, back, "no", 3.0, ("o1-1",), "EUR"
        ),
        order.RefundDone("f-1", 4.0, "closed"),
        order.RefundRetried("f-1", "ops:eve", "open again", 5.0),
        order.RefundDone("f-1", 6.0),
    ):  # fmt: skip
        account, made = account_order(account, event)
        documents += made
    assert balances(documents) == {}
    (retried,) = [one for one in documents if one.kind == "refund_retried"]
    assert retried.data["why"] == "open again"


def test_goods_that_left_without_a_lock_are_a_sale_that_took_no_lock() -> None:
    items = (LockItem("o1/1", "cup", 2),)
    document = account_stock("s-1", Sold("o1-1", "o1", items, (), 4.0))
    assert document is not None
    assert (document.kind, document.order_id) == ("sale_without_lock", "o1")
    (line,) = document.stock
    assert line.deltas == {"on_hand": -2, "sold": 2}


def test_asking_after_overdue_locks_moves_no_stock_and_is_not_left_out() -> None:
    document = account_stock("s-1", LocksAsked(("o1-1",), 60.0))
    assert document is not None
    assert not document.stock
