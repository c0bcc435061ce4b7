"""Ids around an order: the stored texts, and the order found in each of them."""

from domain.order import ids
from domain.order.events import Line


def line(line_id: str) -> Line:
    return Line(line_id, "sku", "Sku", 1, 100, 100, "", ())


def test_the_ids_that_are_stored_stay_byte_for_byte() -> None:
    fulfilment = ids.fulfilment_id("oabc", 2)
    claim = ids.claim_id("oabc", 1, "c-1 u-1 2  s-1")
    assert {
        fulfilment,
        claim,
        ids.line_id("oabc", 3),
        ids.payment_id("oabc", "k2m4"),
        ids.free_payment_id("oabc"),
        ids.whole_refund_id("oabc-pk2m4", 0),
        ids.whole_refund_id("oabc-pk2m4", 1),
        ids.cancelled_refund_id(fulfilment),
        ids.short_refund_id(fulfilment, "substitute"),
        ids.ladder_refund_id(claim),
        ids.return_id(fulfilment),
        ids.short_id(fulfilment),
        ids.unwanted_id(fulfilment),
        ids.freed_lock_id(fulfilment),
    } == {
        "oabc-2",
        "oabc-1.3643e615",
        "oabc/3",
        "oabc-pk2m4",
        "oabc-p0",
        "oabc-pk2m4-r",
        "oabc-pk2m4-r2",
        "oabc-2-cancelled",
        "oabc-2-substitute",
        "oabc-1.3643e615-ladder",
        "oabc-2-return",
        "oabc-2-short",
        "oabc-2-unwanted",
        "oabc-2-freed",
    }


def test_the_order_is_found_in_the_id_of_whatever_belongs_to_it() -> None:
    fulfilment = ids.fulfilment_id("oabc", 12)
    assert ids.order_of(fulfilment) == "oabc"
    assert ids.order_of(ids.freed_lock_id(fulfilment)) == "oabc"
    assert ids.order_of_line("oabc/7") == "oabc"
    assert ids.order_of_payment("oabc-pk2m4") == "oabc"
    assert ids.number_of(fulfilment) == 12


def test_a_payment_without_our_mark_is_none_of_ours() -> None:
    assert ids.order_of_payment("somebody-elses") is None


def test_a_new_line_gets_a_number_that_none_had() -> None:
    assert ids.next_line_number([line("oabc/2"), line("oabc/11"), line("oabc/3")]) == 12
    assert ids.next_line_number([]) == 1
