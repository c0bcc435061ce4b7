"""The store's counter: tickets from opening to their end, escalation, pauses, inbox."""

import json
from typing import Any

import pytest

from actors.store import KIND
from domain import dispatch, order, rider, store
from domain.catalogue.model import COLLECT_S
from domain.errors import Refused, Unavailable
from domain.notice import Notify
from domain.reasons import ALL_SHORT, NOT_IN_TIME, OFFERED, WORDS
from domain.store.rules import CASH_SETTLED_S, CODE_LOCK_S, NEXT, WRONG_CODES_MAX
from domain.store.state import CLOSED_KEPT
from domain.wire import moment
from tests.fakes.counter_world import START, World, shift, ticket

F = "o1-1"


def opened(**changes: Any) -> World:
    world = World()
    world.open("s1", ticket(F, **changes))
    world.settle()
    return world


def at(state: str, **changes: Any) -> World:
    """A world whose ticket has come so far; its rider is r1."""
    world = opened(**changes)
    steps: dict[str, Any] = {
        "accepted": store.AcceptTicket(F, "t1", 0),
        "picking": store.StartPicking(F),
        "ready": store.MarkReady(F),
    }
    for step, command in steps.items():
        if state == "new":
            break
        world.do("store/s1", command)
        if state == step:
            break
    return world


def with_rider(world: World) -> World:
    """r1 comes on shift and takes the parcel."""
    world.do("rider/r1", shift())
    world.settle()
    world.later(5.0)
    world.settle()
    world.do("rider/r1", rider.AcceptOffer(world.state("rider/r1").offer.offer_id))
    world.settle()
    return world


def known(world: World) -> Any:
    return world.state("store/s1").tickets[F]


def refused(world: World, command: Any, sender: str = "") -> Refused:
    before = world.state("store/s1")
    with pytest.raises(Refused) as caught:
        world.do("store/s1", command, sender)
    assert before == world.state("store/s1") or caught.value.code == "wrong-code"
    return caught.value


def test_an_opened_ticket_is_new_and_told_of_once_however_often_it_comes() -> None:
    world = opened()
    for _ in range(3):
        world.do("store/s1", ticket(F))
    assert known(world).state == "new"
    assert len(world.happened("store/s1", store.Noted)) == 1


def test_accepting_tells_the_order_and_calls_for_a_rider() -> None:
    world = opened(cash_due=900)
    view = world.do("store/s1", store.AcceptTicket(F, "t1"))
    assert (view.state, view.ready_at) == ("accepted", START + 600)
    (added,) = world.owed(dispatch.AddParcel)
    assert (added.parcel.ready_at, added.parcel.cash_due) == (START + 600, 900)
    assert world.owed(order.RecordProgress)[0].state == "accepted"


def test_a_ticket_to_be_collected_calls_for_no_rider() -> None:
    world = at("ready", delivery="pickup")
    assert not world.owed(dispatch.AddParcel)
    assert not world.owed(dispatch.MarkReady)


def test_accepting_again_on_the_same_tablet_changes_nothing_but_another_tablet_is_told() -> None:
    world = at("accepted")
    before = len(world.events[("store", "s1")])
    assert world.do("store/s1", store.AcceptTicket(F, "t1")).state == "accepted"
    assert len(world.events[("store", "s1")]) == before
    assert refused(world, store.AcceptTicket(F, "t2")).code == "wrong-state"


ACTS: dict[str, Any] = {
    "accepted": store.AcceptTicket(F, "t2"),
    "picking": store.StartPicking(F),
    "ready": store.MarkReady(F),
    "rejected": store.RejectTicket(F, "no"),
    "picked_up": store.HandOver(F, "r1"),
    "collected": store.Collect(F, "123456"),
    "returned": store.AcceptReturn(F),
}


WRONG_STEPS = [
    (state, wanted)
    for state in ("new", "accepted", "picking", "ready")
    for wanted in ACTS
    if wanted not in NEXT[state] and (wanted != state or wanted == "accepted")
] + [("picking", "rejected")]


@pytest.mark.parametrize(("state", "wanted"), WRONG_STEPS)
def test_every_step_that_is_not_the_next_one_is_refused_with_what_is_possible(
    state: str, wanted: str
) -> None:
    error = refused(at(state), ACTS[wanted])
    assert error.code == "wrong-state"
    assert state in error.detail


def test_a_ticket_nobody_knows_is_said_to_be_unknown() -> None:
    assert refused(World(), store.StartPicking("o9-1")).code == "unknown-ticket"


def test_a_store_the_catalogue_does_not_know_cannot_accept() -> None:
    world = World()
    world.do("store/s9", ticket(F))
    with pytest.raises(Refused) as caught:
        world.do("store/s9", store.AcceptTicket(F))
    assert caught.value.code == "unknown-store"


def test_units_found_are_reported_line_by_line_when_ready() -> None:
    world = at("picking")
    world.do("store/s1", store.PickLine(F, "o1/2", 1))
    view = world.do("store/s1", store.MarkReady(F))
    assert [line.picked for line in view.lines] == [2, 1]
    assert world.owed(order.RecordPicked)[0].picked == (("o1/1", 2), ("o1/2", 1))
    assert world.owed(dispatch.MarkReady)


@pytest.mark.parametrize(
    ("line_id", "quantity", "code"),
    [("o1/9", 1, "unknown-line"), ("o1/1", 3, "wrong-quantity"), ("o1/1", -1, "wrong-quantity")],
)
def test_nobody_finds_what_was_not_ordered(line_id: str, quantity: int, code: str) -> None:
    assert refused(at("picking"), store.PickLine(F, line_id, quantity)).code == code


def test_a_ticket_of_which_nothing_was_there_is_rejected_and_its_rider_sent_off() -> None:
    world = at("picking")
    for line in ("o1/1", "o1/2"):
        world.do("store/s1", store.PickLine(F, line, 0))
    assert world.do("store/s1", store.MarkReady(F)).state == "rejected"
    assert world.owed(order.RecordRejected)
    assert world.owed(dispatch.WithdrawParcel)
    assert F not in world.state("store/s1").tickets


def test_a_line_is_short_for_a_reason_that_the_order_is_told() -> None:
    world = at("picking")
    refusal = refused(world, store.PickLine(F, "o1/1", 1, reason="tired"))
    assert refusal.code == "wrong-reason"
    world.do("store/s1", store.PickLine(F, "o1/1", 1))
    assert known(world).short_reasons == {"o1/1": "missing"}
    for reason in ("substitute_refused", "unwanted"):
        view = world.do("store/s1", store.PickLine(F, "o1/1", 1, reason=reason))
        assert [line.short_reason for line in view.lines] == [reason, ""]
    world.do("store/s1", store.MarkReady(F))
    (told,) = world.owed(order.RecordPicked)
    assert told.reasons == (("o1/1", "unwanted"),)


def test_a_line_that_is_found_after_all_is_short_for_no_reason() -> None:
    world = at("picking")
    for units in (1, 2):
        world.do("store/s1", store.PickLine(F, "o1/1", units, reason="substitute_refused"))
    assert known(world).short_reasons is None
    world.do("store/s1", store.MarkReady(F))
    assert world.owed(order.RecordPicked)[0].reasons == ()


def test_a_ticket_of_which_nothing_is_wanted_is_not_given_to_another_store() -> None:
    world = at("picking")
    world.do("store/s1", store.PickLine(F, "o1/1", 0, reason="unwanted"))
    world.do("store/s1", store.PickLine(F, "o1/2", 0))
    view = world.do("store/s1", store.MarkReady(F))
    assert (view.state, view.reason) == ("cancelled", "unwanted")
    (told,) = world.owed(order.RecordPicked)
    assert told.reasons == (("o1/1", "unwanted"), ("o1/2", "missing"))
    assert not world.owed(order.RecordRejected)
    assert world.owed(dispatch.WithdrawParcel)
    assert F not in world.state("store/s1").tickets


def test_goods_that_are_missing_here_are_sought_elsewhere_although_no_substitute_was_wanted() -> (
    None
):
    world = at("picking")
    world.do("store/s1", store.PickLine(F, "o1/1", 0, reason="substitute_refused"))
    world.do("store/s1", store.PickLine(F, "o1/2", 0))
    assert world.do("store/s1", store.MarkReady(F)).state == "rejected"
    assert world.owed(order.RecordRejected)
    assert not world.owed(order.RecordPicked)


def test_rejecting_needs_a_reason_and_repeating_it_is_harmless() -> None:
    world = opened()
    assert refused(world, store.RejectTicket(F, "  ")).code == "reason-required"
    for _ in range(2):
        assert world.do("store/s1", store.RejectTicket(F, "fridge broke")).state == "rejected"
    assert [each.reason for each in world.owed(order.RecordRejected)] == ["fridge broke"]


@pytest.mark.parametrize("code", ["", *OFFERED])
def test_the_order_hears_the_code_of_what_a_tablet_offered_beside_the_clerks_words(
    code: str,
) -> None:
    world = opened()
    view = world.do("store/s1", store.RejectTicket(F, "冰箱坏了", "tablet-1", code))
    assert (view.reason, view.reason_code) == ("冰箱坏了", code)
    (told,) = world.owed(order.RecordRejected)
    assert (told.reason, told.reason_code) == ("冰箱坏了", code)
    assert world.state("store/s1").closed[F].reason_code == code


@pytest.mark.parametrize("code", [ALL_SHORT, NOT_IN_TIME, "hungry"])
def test_the_codes_of_the_services_own_reasons_are_not_a_persons_to_give(code: str) -> None:
    assert refused(opened(), store.RejectTicket(F, "why", "", code)).code == "wrong-reason"


def test_rewording_what_the_service_says_changes_nothing_but_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(WORDS, ALL_SHORT, "the shelf is bare")
    world = at("picking")
    world.do("store/s1", store.PickLine(F, "o1/1", 0))
    world.do("store/s1", store.PickLine(F, "o1/2", 0))
    view = world.do("store/s1", store.MarkReady(F))
    assert (view.reason, view.reason_code) == ("the shelf is bare", ALL_SHORT)
    (told,) = world.owed(order.RecordRejected)
    assert (told.reason, told.reason_code) == ("the shelf is bare", ALL_SHORT)


# -------------------------------------------------------------------- nobody acts


def test_a_ticket_nobody_accepts_is_pushed_again_then_notified_then_given_away() -> None:
    world = opened(accept_s=100.0)
    levels = []
    for seconds in (49.0, 1.0, 25.0, 24.0, 1.0):
        world.later(seconds)
        told = world.happened("store/s1", store.Escalated)
        levels.append(told[-1].level if told else 0)
    assert levels == [0, 1, 2, 2, 3]
    world.settle()
    (notified,) = world.sent(Notify)
    assert (notified.audience, notified.facts["fulfilment_id"]) == ("store:s1", F)
    (rejected,) = world.sent(order.RecordRejected)
    assert (rejected.reason, rejected.reason_code) == ("not accepted in time", NOT_IN_TIME)
    assert F not in world.state("store/s1").tickets


def test_a_late_timer_goes_straight_to_the_last_level() -> None:
    world = opened(accept_s=100.0)
    world.later(500.0)
    assert [each.level for each in world.happened("store/s1", store.Escalated)] == [3]


def test_an_accepted_ticket_no_longer_escalates() -> None:
    world = at("accepted")
    world.later(10_000.0)
    assert not world.happened("store/s1", store.Escalated)
    assert KIND.wake_at(world.state("store/s1")) == float("inf")


def test_a_cancel_without_an_answer_is_pushed_again_and_notified() -> None:
    world = at("picking")
    world.cancel(F)
    world.later(120.0)
    world.later(120.0)
    world.later(9999.0)
    assert [each.level for each in world.happened("store/s1", store.Escalated)] == [1, 2]
    assert world.owed(Notify)[0].template == "cancel-unanswered"


# -------------------------------------------------------------------- hand-over and collection


def test_goods_go_only_to_the_assigned_rider() -> None:
    world = at("ready")
    assert refused(world, store.HandOver(F, "r1")).code == "wrong-rider"
    with_rider(world)
    assert refused(world, store.HandOver(F, "r2")).code == "wrong-rider"
    assert refused(world, store.HandOver(F, "r1"), "rider/r2").code == "wrong-rider"
    assert world.do("store/s1", store.HandOver(F, "r1"), "rider/r1").state == "picked_up"


def test_hand_over_pressed_at_the_counter_reaches_the_riders_run() -> None:
    world = with_rider(at("ready"))
    for _ in range(2):
        assert world.do("store/s1", store.HandOver(F, "r1", "t1")).state == "picked_up"
    world.settle()
    assert world.state("rider/r1").parcels[F].state == "picked_up"
    assert known(world).handing_to == ""


def test_goods_handed_to_a_rider_who_no_longer_has_the_parcel_are_ready_again() -> None:
    world = with_rider(at("ready"))
    world.do("rider/r1", rider.Unassign(F, "ops:kim", "ill"))
    world.do("store/s1", store.HandOver(F, "r1", "t1"))
    world.settle()
    assert (known(world).state, known(world).rider_id) == ("ready", "")


def collectable(**changes: Any) -> World:
    return at("ready", delivery="pickup", **changes)


def test_the_customer_collects_with_the_code_and_the_exact_cash() -> None:
    world = collectable(cash_due=950)
    error = refused(world, store.Collect(F, "123456", 900))
    assert (error.code, error.extra["cash_due"]) == ("wrong-cash", 950)
    assert world.do("store/s1", store.Collect(F, " 123456 ", 950)).state == "collected"
    (delivered,) = world.owed(order.RecordDelivered)
    assert (delivered.cash, delivered.rider_id) == (950, "")


@pytest.mark.parametrize("code", ["123456", "000000"])
def test_what_was_collected_is_refused_whatever_the_code_and_says_when(code: str) -> None:
    world = collectable()
    world.do("store/s1", store.Collect(F, "123456"))
    when = f"{moment(world.now):%Y-%m-%d %H:%M:%S} UTC"
    world.later(60)
    error = refused(world, store.Collect(F, code))
    assert (error.code, error.extra["state"]) == ("wrong-state", "collected")
    assert f"collected already, at {when}" in error.detail
    assert len(world.owed(order.RecordDelivered)) == 1


def test_wrong_codes_lock_the_ticket_for_a_while_even_for_the_right_one() -> None:
    world = collectable()
    for _ in range(WRONG_CODES_MAX):
        assert refused(world, store.Collect(F, "000000")).code == "wrong-code"
    assert refused(world, store.Collect(F, "123456")).code == "code-locked"
    world.later(CODE_LOCK_S)
    assert refused(world, store.Collect(F, "000000")).code == "wrong-code"
    assert refused(world, store.Collect(F, "123456")).code == "code-locked"
    world.later(CODE_LOCK_S)
    assert world.do("store/s1", store.Collect(F, "123456")).state == "collected"


def test_the_pickup_code_is_never_shown_to_the_store() -> None:
    world = collectable()
    page = world.do("store/s1", store.GetSnapshot())
    told = [m.data for each in world.happened("store/s1", store.Noted) for m in each.messages]
    assert not any(b"123456" in data for data in [page.snapshot, *told])
    assert "123456" not in repr(world.do("store/s1", store.GetTicket(F)))


def test_a_parcel_nobody_collects_is_told_of_once_and_can_still_be_collected() -> None:
    world = collectable()
    world.later(COLLECT_S - 1)
    assert not world.happened("store/s1", store.Uncollected)
    for _ in range(3):
        world.later(1)
    assert len(world.happened("store/s1", store.Uncollected)) == 1
    told = [one for one in world.owed(order.RecordProgress) if one.state == "uncollected"]
    assert [one.fulfilment_id for one in told] == [F]
    page = json.loads(world.do("store/s1", store.GetSnapshot()).snapshot)
    assert page["tickets"][0]["progress"]["uncollected"] is True
    assert world.do("store/s1", store.Collect(F, "123456")).state == "collected"
    world.later(COLLECT_S)
    assert len(world.happened("store/s1", store.Uncollected)) == 1


def test_a_parcel_collected_in_time_is_never_called_uncollected() -> None:
    world = collectable()
    world.do("store/s1", store.Collect(F, "123456"))
    world.later(2 * COLLECT_S)
    assert not world.happened("store/s1", store.Uncollected)


def test_a_parcel_for_a_rider_is_not_awaited_at_the_counter() -> None:
    world = at("ready")
    world.later(2 * COLLECT_S)
    assert not world.happened("store/s1", store.Uncollected)


@pytest.mark.parametrize("answered_at", [10.0, COLLECT_S + 10.0])
def test_a_cancel_that_came_to_nothing_does_not_hide_an_uncollected_parcel(
    answered_at: float,
) -> None:
    world = collectable()
    world.cancel(F)
    world.later(answered_at)
    world.do("store/s1", store.ConfirmHeldBack(F, False))
    world.later(COLLECT_S)
    assert len(world.happened("store/s1", store.Uncollected)) == 1


# -------------------------------------------------------------------- cancel and return


@pytest.mark.parametrize(
    ("state", "answer"),
    [("new", "cancelled"), ("accepted", "cancelled"), ("picking", "confirming"),
     ("ready", "confirming")],
)  # fmt: skip
def test_a_cancel_is_answered_by_how_far_the_ticket_is(state: str, answer: str) -> None:
    world = at(state)
    assert [world.cancel(F), world.cancel(F)] == [answer, answer]
    withdrawn = bool(world.owed(dispatch.WithdrawParcel))
    assert withdrawn == (state == "accepted")


def test_a_cancel_after_the_hand_over_comes_too_late() -> None:
    world = with_rider(at("ready"))
    world.do("store/s1", store.HandOver(F, "r1"))
    assert world.cancel(F) == "left"
    world.do("store/s1", store.CloseTicket(F, "delivered"))
    assert world.cancel(F) == "left"


def test_a_ticket_cancelled_before_it_came_never_opens() -> None:
    world = World()
    assert world.do("store/s1", store.CancelTicket(F, "gone")) == "unknown"
    world.do("store/s1", ticket(F))
    assert F not in world.state("store/s1").tickets
    assert not world.happened("store/s1", store.Noted)
    assert world.do("store/s1", store.CancelTicket(F, "gone")) == "cancelled"


@pytest.mark.parametrize("held_back", [True, False])
def test_the_clerks_word_on_a_cancel_goes_to_the_order(held_back: bool) -> None:
    world = at("ready")
    assert refused(world, store.ConfirmHeldBack(F, True)).code == "no-cancel-asked"
    world.cancel(F)
    view = world.do("store/s1", store.ConfirmHeldBack(F, held_back))
    assert view.state == ("cancelled" if held_back else "ready")
    (answer,) = world.owed(order.RecordReturned)
    assert answer.accepted is held_back
    assert bool(world.owed(dispatch.WithdrawParcel)) is held_back


def test_handing_over_answers_a_waiting_cancel_with_they_left() -> None:
    world = with_rider(at("ready"))
    world.cancel(F)
    world.do("store/s1", store.HandOver(F, "r1"))
    assert [each.accepted for each in world.owed(order.RecordReturned)] == [False]


def test_goods_that_come_back_are_checked_and_end_the_riders_trip() -> None:
    world = with_rider(at("ready"))
    for command in (
        rider.ArriveAtStore(F), rider.PickUp(F), rider.ArriveAtCustomer(F), rider.Fail(F, "absent"),
    ):  # fmt: skip
        world.do("rider/r1", command)
    world.settle()
    assert known(world).state == "returning"
    assert refused(world, store.AcceptReturn(F, (("o1/1", 3),))).code == "wrong-quantity"
    assert refused(world, store.AcceptReturn(F, (("x", 1),))).code == "unknown-line"
    assert world.do("store/s1", store.AcceptReturn(F, (("o1/1", 1),))).state == "returned"
    assert world.do("store/s1", store.AcceptReturn(F)).state == "returned"
    world.settle()
    (back,) = world.sent(order.RecordReturned)
    assert (back.accepted, back.damaged) == (True, (("o1/1", 1),))
    assert not world.state("rider/r1").parcels


def test_after_a_short_pick_goods_wait_for_the_new_sum_but_not_for_ever() -> None:
    world = at("picking", cash_due=1000, delivery="pickup")
    world.do("store/s1", store.PickLine(F, "o1/1", 1))
    world.do("store/s1", store.MarkReady(F))
    with pytest.raises(Unavailable) as caught:
        world.do("store/s1", store.Collect(F, "123456", 1000))
    assert caught.value.code == "cash-unsettled"
    world.settle()
    assert known(world).cash_due == 990
    assert world.do("store/s1", store.Collect(F, "123456", 990)).state == "collected"

    world = at("picking", cash_due=1000, delivery="pickup")
    world.do("store/s1", store.PickLine(F, "o1/1", 1))
    world.do("store/s1", store.MarkReady(F))
    world.now += CASH_SETTLED_S
    assert world.do("store/s1", store.Collect(F, "123456", 1000)).state == "collected"


def test_an_older_revision_of_the_cash_does_not_undo_a_newer() -> None:
    world = at("accepted", cash_due=1000)
    world.do("store/s1", store.ReviseTicket(F, 700, START + 2))
    world.do("store/s1", store.ReviseTicket(F, 900, START + 1))
    assert known(world).cash_due == 700


def test_news_of_riders_in_the_wrong_order_leaves_the_latest() -> None:
    world = at("ready")
    for news in (
        store.RecordParcel(F, "rider_assigned", "r2", START + 3),
        store.RecordParcel(F, "rider_assigned", "r1", START + 1),
        store.RecordParcel(F, "rider_unassigned", "r1", START + 2),
        store.RecordParcel(F, "at_store", "r2", START + 4),
    ):
        world.do("store/s1", news)
    assert (known(world).rider_id, known(world).rider_at_store) == ("r2", True)


def test_a_closed_ticket_is_still_found_among_the_latest_but_the_list_is_bounded() -> None:
    world = World()
    for number in range(CLOSED_KEPT + 3):
        world.do("store/s1", ticket(f"o{number}-1"))
        world.do("store/s1", store.RejectTicket(f"o{number}-1", "no"))
    state = world.state("store/s1")
    assert len(state.closed) == CLOSED_KEPT
    last = f"o{CLOSED_KEPT + 2}-1"
    assert world.do("store/s1", store.GetTicket(last)).state == "rejected"
    assert refused(world, store.GetTicket("o0-1")).code == "wrong-state"


# -------------------------------------------------------------------- pauses and inbox


def test_a_pause_ends_by_itself() -> None:
    world = World()
    world.do("store/s1", store.PauseStore(True, START + 60, "queue"))
    world.do("store/s1", store.PauseItem("milk", True, START + 30))
    world.do("store/s1", store.PauseItem("eggs", True))
    state = world.state("store/s1")
    assert (state.paused, state.paused_until, set(state.paused_items)) == (
        True, START + 60, {"milk", "eggs"},
    )  # fmt: skip
    world.later(30.0)
    assert set(world.state("store/s1").paused_items) == {"eggs"}
    world.later(30.0)
    assert not world.state("store/s1").paused
    assert KIND.wake_at(world.state("store/s1")) == float("inf")


def test_a_pause_can_be_lengthened_and_lifted() -> None:
    world = World()
    world.do("store/s1", store.PauseStore(True, START + 60))
    world.do("store/s1", store.PauseStore(True, START + 600))
    world.later(60.0)
    assert world.state("store/s1").paused
    world.do("store/s1", store.PauseStore(False))
    assert not world.state("store/s1").paused
    assert refused(world, store.PauseStore(True, START)).code == "wrong-time"


def test_a_tablet_that_reconnects_gets_what_it_missed_and_the_old_socket_is_refused() -> None:
    world = World()
    first = world.do("store/s1", store.RegisterDevice("t1", "c1"))
    assert json.loads(first.snapshot)["tickets"] == []
    world.do("store/s1", ticket(F))
    world.do("store/s1", store.AcceptTicket(F, "t1"))
    page = world.do("store/s1", store.RegisterDevice("t1", "c2", first.head, first.epoch))
    assert [message.type for message in page.messages] == ["ticket.opened", "ticket.changed"]
    error = refused(world, store.AcknowledgeInbox("t1", "c1", 2))
    assert error.code == "stale-connection"
    world.do("store/s1", store.AcknowledgeInbox("t1", "c2", 2))
    assert world.state("store/s1").inbox.messages == []


def test_reading_leaves_no_trace() -> None:
    world = opened()
    before = len(world.events[("store", "s1")])
    page = world.do("store/s1", store.ReadInbox(0))
    world.do("store/s1", store.GetSnapshot())
    world.do("store/s1", store.GetTicket(F))
    assert [message.type for message in page.messages] == ["ticket.opened"]
    assert len(world.events[("store", "s1")]) == before
