"""The dispatch zone: rounds, offers, who has a parcel, news in any order."""

from typing import Any

import pytest

from actors.engine.kind import Answered
from domain import dispatch, order, rider, store
from domain.dispatch import state as dispatch_state
from domain.dispatch.rules import (
    CASH_BLOCKED_S,
    HORIZON_S,
    OFFER_S,
    PAY_BASE,
    PAY_PER_KM,
    PAY_PER_PARCEL,
    ROUND_S,
    SILENT_S,
    pay,
)
from domain.dispatch.state import BARRED_S
from domain.errors import Refused
from domain.geo import Position
from domain.notice import Notify
from domain.rider.commands import OfferedParcel
from tests.fakes.counter_world import START, ZONE, World

Z = f"dispatch/{ZONE}"
HERE = Position(52.501, 13.401)


def parcel(parcel_id: str = "o1-1", **changes: Any) -> OfferedParcel:
    facts: dict[str, Any] = {
        "parcel_id": parcel_id,
        "order_id": parcel_id.rsplit("-", 1)[0],
        "store_id": "s1",
        "store_name": "Store s1",
        "pick_up": Position(52.50, 13.40),
        "drop_off": Position(52.51, 13.41),
        "address": "1 Road",
        "customer_name": "Ann",
        "phone_ending": "4711",
        "ready_at": START,
        "due_at": START + 1800,
        "cash_due": 0,
        "currency": "EUR",
    }
    return OfferedParcel(**(facts | changes))


def join(rider_id: str = "r1", **changes: Any) -> dispatch.JoinRider:
    facts: dict[str, Any] = {
        "vehicle": "bike", "position": HERE, "capacity": 3, "cash_headroom": 5000, "at": START,
    }  # fmt: skip
    return dispatch.JoinRider(rider_id, **(facts | changes))


class Zone(World):
    """A zone alone: what it sends to riders and stores stays in the bag."""

    def zone(self, *commands: Any) -> Any:
        reply = None
        for command in commands:
            reply = self.do(Z, command)
        return reply

    @property
    def now_state(self) -> Any:
        return self.state(Z)

    def round(self) -> list[rider.Offer]:
        """The next round's offers."""
        self.bag.clear()
        self.later(ROUND_S)
        return self.owed(rider.Offer)


def waiting(*riders: str) -> Zone:
    zone = Zone()
    zone.zone(dispatch.AddParcel(parcel()), *(join(rider_id) for rider_id in riders))
    return zone


def offered(*riders: str) -> Zone:
    zone = waiting(*(riders or ("r1",)))
    assert zone.round()
    return zone


def assigned(*others: str) -> Zone:
    zone = waiting("r1")
    (made,) = zone.round()
    zone.bag.clear()
    zone.zone(dispatch.ConfirmOffer(made.offer_id, "r1"), *(join(each) for each in others))
    return zone


def phase(zone: Zone, parcel_id: str = "o1-1") -> str:
    return str(zone.now_state.parcels[parcel_id].phase)


# -------------------------------------------------------------------- rounds


def test_a_round_comes_soon_after_there_is_something_to_match() -> None:
    zone = Zone()
    zone.zone(dispatch.AddParcel(parcel()))
    assert zone.now_state.round_at is None
    zone.zone(join())
    assert zone.now_state.round_at == START + ROUND_S
    assert dispatch_state.wake_at(zone.now_state) == START + ROUND_S


@pytest.mark.parametrize("vehicle", ["bicycle", "bike", "ebike", "scooter", "motorcycle", "car"])
def test_a_nearer_walker_is_passed_over_for_whoever_is_there_sooner(vehicle: str) -> None:
    zone = Zone()
    zone.zone(
        dispatch.AddParcel(parcel()),
        join("r1", vehicle="walking", position=Position(52.504, 13.40)),
        join("r2", vehicle=vehicle, position=Position(52.495, 13.40)),
    )
    zone.round()
    assert [offer.rider_id for offer in zone.now_state.offers.values()] == ["r2"]


def test_rounds_stop_when_nothing_waits() -> None:
    zone = offered()
    assert zone.now_state.round_at is None
    assert dispatch_state.wake_at(zone.now_state) == START + ROUND_S + OFFER_S


def test_rounds_go_on_while_a_parcel_waits_for_a_rider_who_may_take_it() -> None:
    zone = Zone()
    zone.zone(dispatch.AddParcel(parcel(cash_due=900)), join(cash_headroom=0))
    assert zone.round() == []
    assert zone.now_state.round_at == zone.now + ROUND_S


def test_parcels_for_much_later_wait_for_their_horizon_unless_packed_early() -> None:
    zone = Zone()
    later = parcel(ready_at=START + 2 * HORIZON_S)
    zone.zone(dispatch.AddParcel(later), join())
    assert zone.round() == []
    assert zone.now_state.round_at == START + HORIZON_S
    zone.zone(dispatch.MarkReady("o1-1", zone.now))
    assert len(zone.round()) == 1


def test_an_offer_says_what_it_pays_for_parcels_of_one_store() -> None:
    zone = waiting()
    zone.zone(dispatch.AddParcel(parcel("o2-1", drop_off=Position(52.511, 13.411))), join())
    (made,) = zone.round()
    assert {each.parcel_id for each in made.parcels} == {"o1-1", "o2-1"}
    assert made.pay == pay(made.distance_m, 2)
    assert pay(1001, 2) == PAY_BASE + 2 * PAY_PER_KM + PAY_PER_PARCEL
    assert made.expires_at == zone.now + OFFER_S


def test_silent_riders_are_offered_nothing_until_they_are_heard_of() -> None:
    zone = Zone()
    zone.zone(join())
    zone.now += SILENT_S + 1
    zone.zone(dispatch.AddParcel(parcel()))
    assert zone.round() == []
    assert zone.now_state.round_at is None
    zone.zone(dispatch.MoveRider("r1", HERE, 5000, zone.now))
    assert len(zone.round()) == 1


def test_a_rider_about_to_finish_gets_the_next_offer_one_in_the_middle_does_not() -> None:
    zone = assigned()
    zone.zone(dispatch.AddParcel(parcel("o2-1")))
    assert zone.round() == []
    zone.zone(
        dispatch.MarkPickedUp("o1-1", "r1"),
        dispatch.MoveRider("r1", Position(52.5095, 13.4095), 5000, zone.now),
    )
    assert [each.offer_id for each in zone.round()] == [f"{ZONE}-2"]


# -------------------------------------------------------------------- offers


def test_a_declined_parcel_goes_to_another_rider_and_later_to_the_first_again() -> None:
    zone = offered()
    zone.zone(dispatch.DeclineOffer(f"{ZONE}-1", "r1", "too far"))
    assert zone.round() == []
    zone.zone(join("r2", position=Position(52.52, 13.43)))
    zone.bag.clear()
    zone.later(ROUND_S)
    assert [send.to for *_, send in zone.bag] == ["rider/r2"]
    zone.zone(dispatch.DeclineOffer(f"{ZONE}-2", "r2", "no"), dispatch.DropRider("r2", zone.now))
    zone.now += BARRED_S
    zone.zone(dispatch.MoveRider("r1", HERE, 5000, zone.now))
    zone.bag.clear()
    zone.later(ROUND_S)
    assert [send.to for *_, send in zone.bag] == ["rider/r1"]


def test_an_expired_offer_is_withdrawn_and_can_no_longer_be_taken() -> None:
    zone = offered()
    zone.later(OFFER_S)
    assert zone.owed(rider.WithdrawOffer)[0].reason == "expired"
    assert phase(zone) == "waiting"
    with pytest.raises(Refused) as caught:
        zone.zone(dispatch.ConfirmOffer(f"{ZONE}-1", "r1"))
    assert caught.value.code == "offer-gone"


def test_a_rider_who_cannot_take_the_offer_gives_it_free_at_once() -> None:
    zone = offered()
    (made,) = zone.owed(rider.Offer)
    problem = Refused("rider-unavailable", "off shift").as_problem()
    for _ in range(2):
        zone.zone(Answered("rider/r1", made, problem))
    assert phase(zone) == "waiting"
    assert len(zone.happened(Z, dispatch.OfferClosed)) == 1


def test_confirming_makes_the_parcels_theirs_once_and_tells_store_and_order() -> None:
    zone = offered()
    zone.bag.clear()
    for _ in range(2):
        reply = zone.zone(dispatch.ConfirmOffer(f"{ZONE}-1", "r1"))
        assert [each.parcel_id for each in reply.parcels] == ["o1-1"]
    assert [each.state for each in zone.owed(store.RecordParcel)] == ["rider_assigned"]
    assert [each.rider_id for each in zone.owed(order.RecordProgress)] == ["r1"]


def test_nobody_takes_another_riders_offer() -> None:
    zone = offered("r1")
    zone.zone(join("r2"))
    with pytest.raises(Refused) as caught:
        zone.zone(dispatch.ConfirmOffer(f"{ZONE}-1", "r2"))
    assert caught.value.code == "offer-gone"


def test_the_confirmed_parcel_carries_the_latest_cash() -> None:
    zone = Zone()
    zone.zone(dispatch.AddParcel(parcel(cash_due=900)), join())
    (made,) = zone.round()
    zone.zone(dispatch.ReviseParcel("o1-1", 650, zone.now))
    reply = zone.zone(dispatch.ConfirmOffer(made.offer_id, "r1"))
    assert reply.parcels[0].cash_due == 650
    zone.zone(dispatch.ReviseParcel("o1-1", 600, zone.now + 1))
    assert zone.owed(rider.ReviseParcel)[-1].cash_due == 600


# -------------------------------------------------------------------- withdrawals and remedies


def test_a_withdrawn_parcel_ends_the_open_offer_and_frees_the_others_in_it() -> None:
    zone = waiting()
    zone.zone(dispatch.AddParcel(parcel("o2-1", drop_off=Position(52.511, 13.411))), join())
    zone.round()
    zone.bag.clear()
    zone.zone(dispatch.WithdrawParcel("o1-1", "cancelled"))
    assert zone.owed(rider.WithdrawOffer)[0].reason == "cancelled"
    assert list(zone.now_state.parcels) == ["o2-1"]
    assert [each.parcels[0].parcel_id for each in zone.round()] == ["o2-1"]


def test_a_withdrawn_parcel_is_taken_out_of_the_run_unless_it_was_picked_up() -> None:
    zone = assigned()
    zone.zone(dispatch.WithdrawParcel("o1-1", "cancelled"))
    assert zone.owed(rider.CancelParcel)
    zone = assigned()
    zone.zone(dispatch.MarkPickedUp("o1-1", "r1"), dispatch.WithdrawParcel("o1-1", "cancelled"))
    assert not zone.owed(rider.CancelParcel)
    assert phase(zone) == "picked_up"


def test_an_unassigned_parcel_is_offered_to_somebody_else_and_the_store_knows() -> None:
    zone = assigned("r2")
    zone.zone(dispatch.FinishParcel("o1-1", "r1", "unassigned", 5000, "ops:kim", "ill"))
    assert [each.state for each in zone.owed(store.RecordParcel)][-1] == "rider_unassigned"
    zone.round()
    assert [send.to for *_, send in zone.bag] == ["rider/r2"]


def test_a_late_notice_of_an_earlier_assignment_does_not_end_the_new_one() -> None:
    zone = assigned()
    late = dispatch.FinishParcel("o1-1", "r1", "unassigned", 5000, "ops", "ill", f"{ZONE}-1")
    zone.zone(late, dispatch.ReofferParcel("o1-1", "ops:kim", "nobody else"))
    (made,) = zone.round()
    zone.zone(dispatch.ConfirmOffer(made.offer_id, "r1"), late)
    assert phase(zone) == "assigned"


def test_reoffering_puts_a_parcel_first_for_every_rider_with_who_and_why() -> None:
    zone = offered()
    zone.zone(dispatch.DeclineOffer(f"{ZONE}-1", "r1", "no"))
    zone.zone(dispatch.ReofferParcel("o1-1", "ops:kim", "customer calls"))
    (first,) = zone.happened(Z, dispatch.ParcelPrioritised)
    assert (first.by, first.why) == ("ops:kim", "customer calls")
    assert len(zone.round()) == 1


@pytest.mark.parametrize(("parcel_id", "code"), [("o1-1", "wrong-state"), ("x", "unknown-parcel")])
def test_what_a_rider_has_or_nobody_knows_cannot_be_reoffered(parcel_id: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        assigned().zone(dispatch.ReofferParcel(parcel_id, "ops:kim", "why"))
    assert caught.value.code == code


# -------------------------------------------------------------------- any order, any number


def test_news_that_comes_before_its_parcel_is_kept_for_it() -> None:
    zone = Zone()
    zone.zone(
        dispatch.MarkReady("o1-1", START + 1),
        dispatch.ReviseParcel("o1-1", 500, START + 1),
        dispatch.AddParcel(parcel(ready_at=START + 9000, cash_due=900)),
    )
    known = zone.now_state.parcels["o1-1"]
    assert (known.ready, known.ready_at, known.cash_due) == (True, START + 1, 500)


def test_a_parcel_withdrawn_before_it_came_or_after_it_left_does_not_come_back() -> None:
    zone = Zone()
    zone.zone(dispatch.WithdrawParcel("o1-1", "cancelled"), dispatch.AddParcel(parcel()))
    assert not zone.now_state.parcels
    zone = assigned()
    zone.zone(
        dispatch.FinishParcel("o1-1", "r1", "delivered", 5000),
        dispatch.MarkPickedUp("o1-1", "r1"),
        dispatch.AddParcel(parcel()),
        dispatch.MarkReady("o1-1", START),
    )
    assert not zone.now_state.parcels
    assert not zone.now_state.riders["r1"].parcels


def test_a_late_start_of_an_earlier_shift_does_not_bring_the_rider_back() -> None:
    zone = Zone()
    zone.zone(
        join(at=START),
        dispatch.DropRider("r1", START + 10),
        dispatch.DropRider("r1", START + 40),
        join(at=START + 30),
    )
    assert not zone.now_state.riders
    zone.zone(join(at=START + 50), dispatch.DropRider("r1", START + 40))
    assert "r1" in zone.now_state.riders


def test_an_older_position_does_not_replace_a_newer_and_small_moves_are_not_stored() -> None:
    zone = Zone()
    zone.zone(join(), dispatch.MoveRider("r1", Position(52.6, 13.4), 5000, START + 9))
    before = len(zone.events[("dispatch", ZONE)])
    zone.zone(
        dispatch.MoveRider("r1", Position(52.7, 13.4), 5000, START + 8),
        dispatch.MoveRider("r1", Position(52.60001, 13.4), 5000, START + 12),
    )
    assert zone.now_state.riders["r1"].position == Position(52.6, 13.4)
    assert len(zone.events[("dispatch", ZONE)]) == before


def test_room_for_cash_told_before_an_assignment_does_not_undo_it() -> None:
    zone = Zone()
    zone.zone(dispatch.AddParcel(parcel(cash_due=900)), join())
    (made,) = zone.round()
    zone.zone(dispatch.ConfirmOffer(made.offer_id, "r1"))
    zone.zone(dispatch.MoveRider("r1", Position(52.505, 13.4), 5000, zone.now - 1))
    assert zone.now_state.riders["r1"].cash_headroom == 4100


def test_a_leaving_rider_keeps_the_run_and_goes_with_its_last_parcel() -> None:
    zone = assigned()
    zone.zone(dispatch.AddParcel(parcel("o2-1")), dispatch.DropRider("r1", zone.now))
    assert zone.round() == []
    zone.zone(dispatch.FinishParcel("o1-1", "r1", "delivered", 5000))
    assert not zone.now_state.riders


def rounds_for(zone: Zone, seconds: float) -> list[rider.Offer]:
    """Rounds for so long, each rider still heard of; their offers."""
    offers: list[rider.Offer] = []
    for _ in range(int(seconds / ROUND_S)):
        for rider_id, known in zone.now_state.riders.items():
            moved = dispatch.MoveRider(rider_id, HERE, known.cash_headroom, zone.now)
            zone.zone(moved)
        offers += zone.round()
    return offers


def expensive(cash: int = 9_000, *rooms: int) -> Zone:
    """One parcel with so much cash, and riders with so much room each."""
    zone = Zone()
    zone.zone(dispatch.AddParcel(parcel(cash_due=cash)))
    zone.zone(*(join(f"r{n}", cash_headroom=room) for n, room in enumerate(rooms)))
    return zone


def test_cash_above_every_riders_room_is_brought_to_operations_once() -> None:
    zone = expensive(9_000, 5_000, 8_999)
    assert not rounds_for(zone, CASH_BLOCKED_S)
    assert not zone.happened(Z, dispatch.CashEscalated)
    rounds_for(zone, ROUND_S)
    (told,) = zone.owed(Notify)
    assert (told.audience, told.template, told.facts["room"]) == ("ops", "cash-over-limits", "8999")
    rounds_for(zone, CASH_BLOCKED_S)
    (escalated,) = zone.happened(Z, dispatch.CashEscalated)
    assert (escalated.parcel_id, escalated.cash_due, escalated.room) == ("o1-1", 9_000, 8_999)


def test_a_rider_with_room_ends_the_alarm() -> None:
    zone = expensive(9_000, 5_000)
    rounds_for(zone, CASH_BLOCKED_S + 2 * ROUND_S)
    zone.zone(dispatch.MoveRider("r0", HERE, 10_000, zone.now))
    (offer,) = zone.round()
    assert offer.parcels[0].parcel_id == "o1-1"
    assert zone.happened(Z, dispatch.CashUnblocked)
    assert not zone.now_state.parcels["o1-1"].escalated_at


def test_another_sum_ends_the_alarm_and_begins_it_anew() -> None:
    zone = expensive(9_000, 5_000)
    rounds_for(zone, CASH_BLOCKED_S - ROUND_S)
    zone.zone(dispatch.ReviseParcel("o1-1", 4_000, zone.now))
    assert rounds_for(zone, ROUND_S)
    zone.zone(dispatch.DeclineOffer("o1-1", "r0", "far"))
    assert not zone.happened(Z, dispatch.CashEscalated)


def test_parcels_that_wait_for_something_else_raise_no_alarm_about_cash() -> None:
    for zone in (expensive(0, 0), expensive(9_000), expensive(5_000, 5_000)):
        rounds_for(zone, 2 * CASH_BLOCKED_S)
        assert not zone.happened(Z, dispatch.CashBlocked)


def test_riders_nobody_hears_of_do_not_make_it_a_matter_of_cash() -> None:
    zone = expensive(9_000, 5_000)
    zone.later(SILENT_S + 1)
    for _ in range(100):
        zone.round()
    assert not zone.happened(Z, dispatch.CashEscalated)


def test_the_view_shows_parcels_riders_and_open_offers() -> None:
    view = offered().zone(dispatch.GetZone())
    assert [(each.parcel_id, each.phase, each.rider_id) for each in view.parcels] == [
        ("o1-1", "offered", "r1")
    ]
    assert [(each.rider_id, each.state) for each in view.riders] == [("r1", "offered")]
    assert [each.offer_id for each in view.offers] == [f"{ZONE}-1"]


def test_a_rider_who_lets_offer_after_offer_pass_is_left_alone_longer_each_time() -> None:
    state = dispatch_state.born()
    rider_on = dispatch.RiderJoined("r1", "bicycle", HERE, 3, 50_000, START)
    state = dispatch_state.evolve(state, rider_on)
    rests = []
    for number in range(6):
        made = dispatch.OfferMade(f"n-{number}", "r1", (), START + 45.0, 0, 0, START)
        state = dispatch_state.evolve(state, made)
        state = dispatch_state.evolve(state, dispatch.OfferClosed(f"n-{number}", "expired", START))
        rests.append(state.riders["r1"].resting_until - START)
    assert rests == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    state = dispatch_state.evolve(state, dispatch.OfferClosed("gone", "declined", START))
    state = dispatch_state.evolve(
        state, dispatch.OfferMade("n-9", "r1", (), START + 45.0, 0, 0, START)
    )
    state = dispatch_state.evolve(state, dispatch.OfferClosed("n-9", "declined", START))
    assert state.riders["r1"].unanswered == 0, "an answer, even a no, shows that somebody looks"
