"""The verdict finds what a book that does not add up looks like, and is silent on one that does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from loadtests.outcome import Outcome, Result, show
from loadtests.verdict import (
    COMES_BACK_S,
    UNANSWERED_SHARE_MAX,
    CustomersSaw,
    Evidence,
    RiderSaw,
    SoldOut,
    TabletSaw,
    figures,
    is_fault,
    is_surprise,
    judge,
)
from orchestrator.client import models

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUOTA, PRICE, RECEIVED, PAY_S = 2, 990, 10, 60.0
STORE, SKU, CAMPAIGN, RIDER = "s1", "cup", "c1", "r1"


def order(
    number: int,
    *,
    state: str = "completed",
    group_id: str = "",
    refunded: int = 0,
    paid: int = PRICE,
) -> models.Order:
    """One unit of the campaign, delivered and paid online unless it was given up."""
    order_id, part_id = f"o{number}", f"o{number}-1"
    part = "delivered" if state == "completed" else "cancelled"
    payments = [models.Payment(f"p{number}", "sandbox", "captured", paid, "EUR")] if paid else []
    refunds = (
        [models.Refund(f"f{number}", f"p{number}", refunded, "done", "ladder")] if refunded else []
    )
    line = models.OrderLine(f"{order_id}/1", SKU, SKU, 1, PRICE, PRICE, part_id, 0, refunded, 0, 0)
    return models.Order(
        order_id, state, "app", f"customer{number}", "EUR", PRICE, 0, PRICE, refunded, 0, "online",
        "delivery", [line], [models.Fulfilment(part_id, STORE, part, NOW, 0, 0, RIDER, "")],
        payments, refunds, NOW, None, "", None, "", CAMPAIGN, group_id,
    )  # fmt: skip


def campaign(sold: int = 2, *, group: models.GroupTerms | None = None) -> models.Campaign:
    share = models.CampaignQuota(STORE, QUOTA, QUOTA, 0, 0, sold, QUOTA - sold, "")
    return models.Campaign(
        CAMPAIGN, "sale", "group_buy" if group else "flash_sale", "ended", SKU, PRICE, 1_990, "EUR",
        NOW, NOW, 1, PAY_S, ["app"], "platform", group, 0,
        models.UnitTally(0, 0, sold, QUOTA - sold), [share], 0, 1 if group else 0, 0,
    )  # fmt: skip


def stock(on_hand: int, *, locked: int = 0, reserved: int = 0) -> models.Stock:
    cell = models.Cell(SKU, on_hand, locked, reserved, 0, 0, on_hand, 0, 0, 0, {})
    return models.Stock(STORE, [cell], 0)


def ledger(on_hand: int, *, locked: int = 0) -> models.LedgerStock:
    row = models.LedgerCell(
        STORE, SKU, on_hand, locked, 0, RECEIVED - on_hand, 0, RECEIVED, 0, 0, 0, 0
    )
    return models.LedgerStock(STORE, [row])


def reconciliation(*differences: dict[str, object]) -> models.Reconciliation:
    return models.Reconciliation(
        not differences, len(differences), list(differences), {}, {}, {}, {}, {}, 7
    )


def sold_out() -> Evidence:
    """A flash sale of two units to two customers, and a third who did not pay in time."""
    orders = [order(1), order(2), order(3, state="cancelled", paid=0)]
    return Evidence(
        customers=CustomersSaw(["o1", "o2", "o3"], {"p1": PRICE, "p2": PRICE}),
        orders={one.order_id: one for one in orders},
        campaigns={CAMPAIGN: campaign()},
        received={STORE: {SKU: RECEIVED}},
        stock={STORE: stock(8)},
        ledger_stock={STORE: ledger(8)},
        reconciliation=reconciliation(),
        given_back={"p1": 0, "p2": 0},
        tablets={STORE: TabletSaw({"o1-1": "o1", "o2-1": "o2"}, stored=9, head=9)},
        riders={RIDER: RiderSaw(["o1-1", "o2-1"], stored=5, head=5)},
    )


def kinds(evidence: Evidence) -> set[str]:
    return {finding.kind for finding in judge(evidence)}


def test_books_that_add_up_leave_nothing_to_say() -> None:
    assert judge(sold_out()) == []
    found = figures(sold_out())
    assert (found["sold"], found["quota"], found["units_delivered"]) == (2, 2, 2)
    assert (found["orders"], found["orders_given_up"], found["captured"]) == (3, 1, 2 * PRICE)


def oversell(evidence: Evidence) -> None:
    third = order(3)
    evidence.orders["o3"] = third
    evidence.campaigns[CAMPAIGN] = replace(campaign(), units=models.UnitTally(0, 0, 3, -1))
    evidence.stock[STORE] = stock(7)
    evidence.ledger_stock[STORE] = ledger(7)


def sell_to_one_twice(evidence: Evidence) -> None:
    evidence.orders["o2"] = replace(order(2), customer_id="customer1")


def lose_an_order(evidence: Evidence) -> None:
    evidence.orders.pop("o3")


def leave_an_order_open(evidence: Evidence) -> None:
    evidence.orders["o3"] = order(3, state="placed", paid=0)


def repeat_differently(evidence: Evidence) -> None:
    evidence.customers.repeats_differ.append("key-1")


def keep_a_cancelled_customers_money(evidence: Evidence) -> None:
    evidence.orders["o3"] = order(3, state="cancelled")


def forget_a_payment(evidence: Evidence) -> None:
    evidence.customers.paid["p9"] = PRICE


def leave_a_refund_open(evidence: Evidence) -> None:
    refund = models.Refund("f1", "p1", PRICE, "requested", "late")
    evidence.orders["o1"] = replace(order(1), refunds=[refund])


def refund_twice(evidence: Evidence) -> None:
    """The books know of one: the difference of a ladder, which its payment had room for twice."""
    evidence.orders["o1"] = order(1, refunded=100)
    evidence.given_back["p1"] = 200


def refund_in_the_books_alone(evidence: Evidence) -> None:
    evidence.orders["o3"] = order(3, state="cancelled", refunded=PRICE)
    evidence.given_back["p3"] = 0


def refund_of_what_no_book_knows(evidence: Evidence) -> None:
    evidence.given_back["p2"] = PRICE


def refuse_a_customer(evidence: Evidence) -> None:
    for number in range(7):
        evidence.customers.surprises.note(f"404 to POST /v1/orders: request {number}")


def refuse_a_clerk(evidence: Evidence) -> None:
    evidence.tablets[STORE].surprises.note("401 to POST tablet: accept")


def refuse_a_rider(evidence: Evidence) -> None:
    evidence.riders[RIDER].surprises.note("422 to POST rider: deliver")


def answer_hardly_anybody(evidence: Evidence) -> None:
    evidence.customers.calls, evidence.customers.unanswered = 100, 97


def sell_above_the_price(evidence: Evidence) -> None:
    dear = order(1, paid=PRICE + 10)
    line = replace(dear.lines[0], amount=PRICE + 10)
    evidence.orders["o1"] = replace(dear, lines=[line])
    evidence.customers.paid["p1"] = PRICE + 10


def leak_a_unit_of_quota(evidence: Evidence) -> None:
    whole = campaign()
    share = replace(whole.quota[0], sold=1)
    evidence.campaigns[CAMPAIGN] = replace(whole, quota=[share])


def hold_a_unit_for_ever(evidence: Evidence) -> None:
    evidence.campaigns[CAMPAIGN] = replace(campaign(), units=models.UnitTally(0, 1, 1, 0))


def sell_what_nobody_has(evidence: Evidence) -> None:
    evidence.orders["o2"] = order(2, state="cancelled", paid=0)
    evidence.customers.paid.pop("p2")


def lose_a_unit_of_stock(evidence: Evidence) -> None:
    evidence.stock[STORE] = stock(7)
    evidence.ledger_stock[STORE] = ledger(7)


def leave_a_lock(evidence: Evidence) -> None:
    evidence.stock[STORE] = stock(8, locked=1)
    evidence.ledger_stock[STORE] = ledger(8, locked=1)


def leave_a_reservation(evidence: Evidence) -> None:
    evidence.stock[STORE] = stock(8, reserved=1)


def let_documents_differ(evidence: Evidence) -> None:
    evidence.ledger_stock[STORE] = ledger(9)


def list_a_difference(evidence: Evidence) -> None:
    evidence.reconciliation = reconciliation(
        {"check": "accounts_agree", "account": "suspense", "expected": 0, "found": 5}
    )


def miss_a_ticket(evidence: Evidence) -> None:
    evidence.tablets[STORE].tickets.pop("o2-1")


def show_a_ghost(evidence: Evidence) -> None:
    evidence.tablets[STORE].tickets["o9-1"] = "o9"


def keep_showing_what_was_cancelled(evidence: Evidence) -> None:
    evidence.tablets[STORE].tickets["o3-1"] = "o3"
    evidence.tablets[STORE].open.add("o3-1")


def keep_showing_what_was_delivered(evidence: Evidence) -> None:
    evidence.tablets[STORE].open.add("o1-1")


def keep_showing_what_another_store_has(evidence: Evidence) -> None:
    evidence.tablets["s2"] = TabletSaw({"o1-0": "o1"}, {"o1-0"})


def fail_inside(evidence: Evidence) -> None:
    for number in range(7):
        evidence.customers.faults.note(f"500 to POST /v1/orders: request {number}")


def fail_inside_at_a_tablet(evidence: Evidence) -> None:
    evidence.tablets[STORE].faults.note("500 to POST tablet: accept")


def fail_inside_at_a_phone(evidence: Evidence) -> None:
    evidence.riders[RIDER].faults.note("502 to POST rider: deliver")


def skip_a_message(evidence: Evidence) -> None:
    evidence.tablets[STORE].gaps.append("message 4 came after 2")


def leave_a_message_unread(evidence: Evidence) -> None:
    evidence.riders[RIDER].head = 6


def deliver_twice(evidence: Evidence) -> None:
    evidence.riders["r2"] = RiderSaw(["o1-1"])


def deliver_in_the_books_alone(evidence: Evidence) -> None:
    evidence.riders[RIDER].delivered.remove("o1-1")


def keep_the_cash(evidence: Evidence) -> None:
    evidence.riders[RIDER].owes = 500


def take_cash_unbooked(evidence: Evidence) -> None:
    evidence.riders[RIDER].cash["o1-1"] = 500


def stumble(evidence: Evidence) -> None:
    evidence.customers.trouble.append("FlashCustomer: KeyError('order_id')")


@pytest.mark.parametrize(("breaks", "kind"), [
    (oversell, "oversold"),
    (sell_to_one_twice, "over-limit"),
    (lose_an_order, "order-lost"),
    (leave_an_order_open, "order-stuck"),
    (repeat_differently, "repeat-differs"),
    (keep_a_cancelled_customers_money, "money-mismatch"),
    (forget_a_payment, "payment-mismatch"),
    (leave_a_refund_open, "refund-open"),
    (refund_twice, "refund-twice"),
    (refund_of_what_no_book_knows, "refund-twice"),
    (refund_in_the_books_alone, "refund-missing"),
    (sell_above_the_price, "wrong-price"),
    (leak_a_unit_of_quota, "quota-leaks"),
    (hold_a_unit_for_ever, "campaign-open"),
    (sell_what_nobody_has, "sold-mismatch"),
    (lose_a_unit_of_stock, "stock-mismatch"),
    (leave_a_lock, "locked-left"),
    (leave_a_reservation, "reserved-left"),
    (let_documents_differ, "ledger-stock-mismatch"),
    (list_a_difference, "books-unexplained"),
    (miss_a_ticket, "ticket-missed"),
    (show_a_ghost, "ghost-ticket"),
    (keep_showing_what_was_cancelled, "ticket-left"),
    (keep_showing_what_was_delivered, "ticket-left"),
    (keep_showing_what_another_store_has, "ticket-left"),
    (fail_inside, "internal-error"),
    (fail_inside_at_a_tablet, "internal-error"),
    (fail_inside_at_a_phone, "internal-error"),
    (refuse_a_customer, "unexpected-answer"),
    (refuse_a_clerk, "unexpected-answer"),
    (refuse_a_rider, "unexpected-answer"),
    (answer_hardly_anybody, "unanswered"),
    (skip_a_message, "inbox-gap"),
    (leave_a_message_unread, "inbox-unread"),
    (deliver_twice, "delivered-twice"),
    (deliver_in_the_books_alone, "not-delivered"),
    (keep_the_cash, "cash-not-remitted"),
    (take_cash_unbooked, "cash-mismatch"),
    (stumble, "trouble"),
])  # fmt: skip
def test_what_nothing_explains_is_found(breaks: Callable[[Evidence], None], kind: str) -> None:
    evidence = sold_out()
    breaks(evidence)
    assert kind in kinds(evidence)


def test_a_ticket_that_is_left_after_a_cancel_is_named_with_its_store() -> None:
    evidence = sold_out()
    keep_showing_what_was_cancelled(evidence)
    [finding] = judge(evidence)
    assert (finding.kind, finding.subject) == ("ticket-left", "o3-1")
    assert finding.text == f"is still open on the tablet of {STORE}, the books say cancelled"


def test_a_ticket_of_a_part_that_goes_on_may_be_open() -> None:
    evidence = sold_out()
    going = order(3, state="paid")
    part = replace(going.fulfilments[0], state="picking")
    evidence.orders["o3"] = replace(going, fulfilments=[part])
    evidence.tablets[STORE].tickets["o3-1"] = "o3"
    evidence.tablets[STORE].open.add("o3-1")
    assert "ticket-left" not in kinds(evidence)
    evidence.orders["o3"] = replace(going, fulfilments=[part], state="cancelled")
    assert "ticket-left" in kinds(evidence)


@pytest.mark.parametrize(("status", "code", "fault"), [
    (500, "internal-error", True),
    (500, "", True),
    (502, "", True),
    (503, "", True),
    (503, "internal-error", True),
    (503, "busy", False),
    (503, "gateway-busy", False),
    (503, "unavailable", False),
    (503, "outcome-unknown", False),
    (503, "journal-away", False),
    (409, "wrong-state", False),
    (429, "too-many-requests", False),
    (0, "unreachable", False),
])  # fmt: skip
def test_a_refusal_that_the_service_states_is_no_failure_of_its_own(
    status: int, code: str, fault: bool
) -> None:
    assert is_fault(status, code) is fault


@pytest.mark.parametrize(("status", "code", "surprise"), [
    (409, "group-full", False),
    (409, "customer-limit", True),
    (404, "unknown-campaign", True),
    (404, "", True),
    (401, "unauthorised", True),
    (422, "malformed-request", True),
    (429, "too-many-requests", True),
    (302, "", True),
    (503, "busy", False),
    (500, "internal-error", False),
    (0, "unreachable", False),
])  # fmt: skip
def test_a_refusal_is_a_surprise_unless_it_was_expected_of_this_call(
    status: int, code: str, surprise: bool
) -> None:
    assert is_surprise(status, code, {"group-full"}) is surprise


def test_a_few_calls_may_have_no_answer() -> None:
    evidence = sold_out()
    evidence.customers.calls = 1_000
    evidence.customers.unanswered = round(1_000 * UNANSWERED_SHARE_MAX)
    assert judge(evidence) == []
    evidence.customers.unanswered += 1
    [finding] = judge(evidence)
    assert finding.text == "21 of 1000 calls had no answer"


def test_answers_that_failed_inside_are_told_with_their_number_and_a_sample() -> None:
    evidence = sold_out()
    fail_inside(evidence)
    [finding] = judge(evidence)
    assert finding.subject == "customers"
    assert finding.text.endswith(": 7, the first: 500 to POST /v1/orders: request 0")


def test_a_sample_is_shown_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    evidence = sold_out()
    evidence.customers.faults.note('500 to GET /v1: {"errors": ["[/red]"]}')
    show(result("mixed-day", evidence))
    assert '["[/red]"]' in capsys.readouterr().out


def test_a_run_in_which_nothing_happened_proves_nothing() -> None:
    evidence = sold_out()
    evidence.orders, evidence.customers = {}, CustomersSaw()
    evidence.campaigns[CAMPAIGN] = campaign(0)
    evidence.stock[STORE], evidence.ledger_stock[STORE] = stock(10), ledger(10)
    evidence.tablets[STORE].tickets = {}
    evidence.riders[RIDER].delivered = []
    assert kinds(evidence) == {"nothing-happened", "nothing-sold"}


def test_every_campaign_must_have_sold_something() -> None:
    evidence = sold_out()
    unsold = replace(campaign(0), campaign_id="c2", name="ladder")
    evidence.campaigns["c2"] = unsold
    [finding] = judge(evidence)
    assert (finding.kind, finding.subject) == ("nothing-sold", "c2")
    assert finding.text.startswith("ladder sold nothing")


def test_a_group_buy_in_which_no_group_formed_proves_nothing() -> None:
    evidence = grouped("normal", 2, [])
    formed = evidence.campaigns[CAMPAIGN]
    none = replace(
        formed, units=models.UnitTally(0, 0, 0, QUOTA), formed_groups=0, failed_groups=2,
        quota=[replace(formed.quota[0], sold=0, returned=QUOTA)],
    )  # fmt: skip
    for number in (1, 2):
        evidence.orders[f"o{number}"] = order(number, state="cancelled", paid=0)
    evidence.orders["o4"] = replace(order(4), campaign_id="")
    evidence.campaigns[CAMPAIGN] = none
    found = {finding.kind: finding.subject for finding in judge(evidence)}
    assert found["nothing-formed"] == found["nothing-sold"] == CAMPAIGN
    assert "nothing-happened" not in found


def one_came_back(told_after_s: float, **changes: object) -> Evidence:
    """One unit was sold. The other was not paid for in time and came back, and nobody had it in the
    end; so long after the start somebody was last told that all was sold."""
    evidence = sold_out()
    evidence.orders["o2"] = replace(order(2, state="cancelled", paid=0), **changes)  # type: ignore[arg-type]
    evidence.orders.pop("o3")
    evidence.customers = CustomersSaw(["o1", "o2"], {"p1": PRICE})
    evidence.customers.sold_out[CAMPAIGN] = SoldOut(NOW.timestamp() + told_after_s, 0)
    evidence.campaigns[CAMPAIGN] = campaign(1)
    evidence.stock[STORE], evidence.ledger_stock[STORE] = stock(9), ledger(9)
    evidence.tablets[STORE].tickets.pop("o2-1")
    evidence.riders[RIDER].delivered.remove("o2-1")
    return evidence


LONG_AFTER_S = PAY_S + COMES_BACK_S + 1.0


def test_who_is_told_sold_out_long_after_units_came_back_that_nobody_got_was_turned_away() -> None:
    [finding] = judge(one_came_back(LONG_AFTER_S))
    assert (finding.kind, finding.subject) == ("turned-away", CAMPAIGN)
    assert finding.text == (
        "1 units were never sold, but 76.0 s after the start, when 1 had long been free, somebody "
        "was told sold out (the page said 0)"
    )


@pytest.mark.parametrize("told_after_s", [0.5, PAY_S - 1.0, PAY_S + COMES_BACK_S])
def test_sold_out_is_true_until_units_are_back_and_the_news_is_everywhere(
    told_after_s: float,
) -> None:
    assert judge(one_came_back(told_after_s)) == []


def test_how_long_news_takes_is_real_time_however_fast_the_services_clock() -> None:
    evidence = one_came_back(LONG_AFTER_S)
    evidence.clock_speed = 4.0
    assert judge(evidence) == []


def test_units_that_came_back_and_were_sold_again_turned_nobody_away() -> None:
    evidence = sold_out()
    told_at = NOW.timestamp() + LONG_AFTER_S
    evidence.customers.sold_out[CAMPAIGN] = SoldOut(told_at, 0)
    assert judge(evidence) == []


def test_units_whose_payment_may_still_have_come_were_not_free() -> None:
    failed = models.Payment("p2", "sandbox", "failed", PRICE, "EUR")
    assert judge(one_came_back(LONG_AFTER_S, payments=[failed])) == []


def test_units_of_a_later_order_that_was_given_up_too_were_not_free() -> None:
    evidence = one_came_back(LONG_AFTER_S)
    later = replace(order(3, state="cancelled", paid=0), placed_at=NOW + timedelta(seconds=70))
    evidence.orders["o3"] = later
    assert judge(evidence) == []


def grouped(kind: str, size: int, steps: list[models.PriceStep], refunded: int = 0) -> Evidence:
    """The two units of the quota went to the members of one group."""
    evidence = sold_out()
    terms = models.GroupTerms(kind, size, 60.0, "on_payment", "refund", 0, steps)
    evidence.campaigns[CAMPAIGN] = campaign(group=terms)
    for number in (1, 2):
        evidence.orders[f"o{number}"] = order(number, group_id="g1", refunded=refunded)
        evidence.given_back[f"p{number}"] = refunded
    return evidence


def test_a_group_that_is_full_and_delivered_to_is_explained() -> None:
    assert judge(grouped("normal", 2, [])) == []


def test_a_group_with_more_paid_members_than_seats_is_found() -> None:
    evidence = grouped("normal", 2, [])
    form_a_group_with_one_too_many(evidence)
    assert "group-overfull" in kinds(evidence)


def test_goods_of_a_group_that_never_formed_are_found() -> None:
    assert "group-unformed" in kinds(grouped("normal", 3, []))


def test_every_member_of_a_ladder_pays_the_step_that_its_members_reached() -> None:
    steps = [models.PriceStep(2, PRICE - 100)]
    assert judge(grouped("ladder", 2, steps, refunded=100)) == []
    assert kinds(grouped("ladder", 2, steps)) == {"wrong-price"}


def test_a_campaign_that_counts_other_groups_than_were_delivered_to_is_found() -> None:
    evidence = grouped("normal", 2, [])
    whole = evidence.campaigns[CAMPAIGN]
    evidence.campaigns[CAMPAIGN] = replace(whole, formed_groups=2)
    assert kinds(evidence) == {"groups-mismatch"}


def test_a_ticket_that_was_given_to_another_store_is_no_ghost() -> None:
    evidence = sold_out()
    evidence.tablets["s2"] = TabletSaw({"o1-0": "o1"})
    assert judge(evidence) == []


def form_a_group_with_one_too_many(evidence: Evidence) -> None:
    evidence.orders["o3"] = order(3, group_id="g1")


def without_campaigns() -> Evidence:
    """Ordinary orders, all of them seen on their store's tablet."""
    evidence = sold_out()
    evidence.campaigns = {}
    return evidence


@pytest.mark.parametrize(("scenario", "books", "breaks", "finding"), [
    ("flash-sale", sold_out, oversell, "oversold"),
    ("group-buy", lambda: grouped("normal", 2, []), form_a_group_with_one_too_many,
     "group-overfull"),
    ("tablets", without_campaigns, miss_a_ticket, "ticket-missed"),
    ("tablets", without_campaigns, keep_showing_what_was_cancelled, "ticket-left"),
    ("mixed-day", sold_out, lose_a_unit_of_stock, "stock-mismatch"),
    ("mixed-day", sold_out, fail_inside, "internal-error"),
    ("mixed-day", sold_out, refuse_a_customer, "unexpected-answer"),
])  # fmt: skip
def test_books_that_add_up_exit_with_zero_and_wrong_ones_with_one(
    scenario: str, books: Callable[[], Evidence], breaks: Callable[[Evidence], None], finding: str
) -> None:
    evidence = books()
    assert exit_code(scenario, evidence) == 0
    breaks(evidence)
    assert finding in kinds(evidence)
    assert exit_code(scenario, evidence) == 1


def exit_code(scenario: str, evidence: Evidence) -> int:
    return result(scenario, evidence).exit_code


def result(scenario: str, evidence: Evidence) -> Result:
    findings = judge(evidence)
    outcome = Outcome(scenario, not findings, len(findings), findings, figures(evidence))
    return Result(scenario, outcome, "", [])


def test_a_scenario_that_could_not_be_played_exits_with_two() -> None:
    assert Result("flash-sale", None, "the service is not there", []).exit_code == 2
