"""The rider: shift, offers, run, cash, inbox."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.rider import KIND
from domain import dispatch, order, rider, store
from domain.errors import Refused
from domain.geo import Position, distance_m
from domain.rider import rules
from domain.rider.commands import OfferedParcel
from domain.rider.run import length_m, with_parcels
from domain.rider.state import ahead
from tests.fakes.counter_world import START, ZONE, World, shift, ticket

F = "o1-1"
R = "rider/r1"


def parcel(parcel_id: str = F, **changes: Any) -> OfferedParcel:
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


def offer(*parcels: OfferedParcel, offer_id: str = "n-1", expires_s: float = 30.0) -> rider.Offer:
    return rider.Offer(offer_id, ZONE, parcels or (parcel(),), START + expires_s, 900, 400)


def on_shift(**changes: Any) -> World:
    world = World()
    world.do(R, shift(**changes))
    world.settle()
    return world


def carrying(cash_due: int = 0, *, until: str = "accepted", **changes: Any) -> World:
    """A rider with one parcel of the real chain, brought so far."""
    world = on_shift(**changes)
    world.open("s1", ticket(F, cash_due=cash_due))
    world.settle()
    for command in (store.AcceptTicket(F, "t1", 0), store.StartPicking(F), store.MarkReady(F)):
        world.do("store/s1", command)
    world.settle()
    world.later(5.0)
    world.settle()
    world.do(R, rider.AcceptOffer(world.state(R).offer.offer_id))
    world.settle()
    for step, command in {
        "at_store": rider.ArriveAtStore(F),
        "picked_up": rider.PickUp(F),
        "at_customer": rider.ArriveAtCustomer(F),
    }.items():
        if world.state(R).parcels[F].state == until:
            break
        world.do(R, command)
        assert world.state(R).parcels[F].state == step
    world.settle()
    return world


def code_of(world: World, command: Any, to: str = R) -> str:
    with pytest.raises(Refused) as caught:
        world.do(to, command)
    return caught.value.code


# -------------------------------------------------------------------- shift


def test_a_shift_starts_from_off_only_and_joins_the_zone_once() -> None:
    world = World()
    for _ in range(2):
        assert world.do(R, shift()).state == "free"
    assert len(world.owed(dispatch.JoinRider)) == 1
    elsewhere = rider.StartShift("south", "bike", Position(52.5, 13.4))
    assert code_of(world, elsewhere) == "already-on-shift"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"capacity": 0}, "wrong-shift"),
        ({"cash_limit": -1}, "wrong-shift"),
        ({"ends_at": START}, "wrong-shift"),
        ({"position": Position(91.0, 0.0)}, "wrong-position"),
    ],
)
def test_a_shift_that_makes_no_sense_is_refused(changes: dict[str, Any], code: str) -> None:
    assert code_of(World(), shift(**changes)) == code


def test_a_shift_does_not_end_with_parcels_in_the_run() -> None:
    assert code_of(carrying(), rider.EndShift()) == "run-not-empty"


def test_a_shift_may_end_with_cash_which_stays_owed_and_is_stated() -> None:
    world = carrying(700, until="at_customer")
    world.do(R, rider.Deliver(F, 700))
    view = world.do(R, rider.EndShift())
    assert (view.state, view.cash_held) == ("off", 700)
    messages = world.happened(R, rider.Noted)[-1].messages
    assert json.loads(messages[0].data) == {"shift": None, "cash_held": 700}
    world.settle()
    assert "r1" not in world.state(f"dispatch/{ZONE}").riders


def test_at_its_planned_end_a_shift_waits_for_the_run_and_takes_no_more_offers() -> None:
    world = carrying(until="at_customer", ends_at=START + 60)
    world.later(60.0)
    assert world.state(R).shift.closing
    assert code_of(world, offer(parcel("o2-1"), expires_s=500.0)) == "rider-unavailable"
    world.do(R, rider.Deliver(F))
    assert world.state(R).shift is None
    world.settle()
    assert "r1" not in world.state(f"dispatch/{ZONE}").riders


def test_an_empty_run_lets_a_planned_shift_end_by_itself() -> None:
    world = on_shift(ends_at=START + 60)
    world.later(60.0)
    assert world.state(R).shift is None


def test_off_shift_nobody_is_followed() -> None:
    assert code_of(World(), rider.MoveTo(Position(52.5, 13.4))) == "off-shift"


def test_positions_reach_dispatch_with_the_room_for_cash() -> None:
    world = on_shift(cash_limit=5000)
    world.now += 1
    assert world.do(R, rider.MoveTo(Position(52.6, 13.5))) is None
    one = world.state(f"dispatch/{ZONE}").riders["r1"]
    assert (one.position, one.cash_headroom) == (Position(52.6, 13.5), 5000)


# -------------------------------------------------------------------- offers


def test_one_offer_at_a_time() -> None:
    world = on_shift()
    for _ in range(2):
        world.do(R, offer())
    assert len(world.happened(R, rider.OfferReceived)) == 1
    assert code_of(world, offer(parcel("o2-1"), offer_id="n-2")) == "rider-unavailable"


@pytest.mark.parametrize(
    ("parcels", "changes", "code"),
    [
        ([parcel(cash_due=10_001)], {}, "cash-limit"),
        ([parcel("a-1"), parcel("b-1")], {"capacity": 1}, "rider-unavailable"),
    ],
)
def test_an_offer_beyond_the_riders_means_is_refused(
    parcels: list[OfferedParcel], changes: dict[str, Any], code: str
) -> None:
    assert code_of(on_shift(**changes), offer(*parcels)) == code


def test_offers_find_nobody_off_shift_or_after_their_time() -> None:
    assert code_of(World(), offer()) == "rider-unavailable"
    assert code_of(on_shift(), offer(expires_s=0.0)) == "rider-unavailable"


def test_an_offer_expires_by_itself_and_a_late_repeat_does_not_open_it() -> None:
    world = on_shift()
    world.do(R, offer())
    world.later(30.0)
    assert world.state(R).offer is None
    assert world.owed(dispatch.DeclineOffer)[0].reason == "expired"
    world.do(R, offer(expires_s=600.0))
    assert world.state(R).offer is None
    assert code_of(world, rider.AcceptOffer("n-1")) == "offer-gone"


def test_a_withdrawal_that_overtakes_its_offer_keeps_it_closed() -> None:
    world = on_shift()
    noted = len(world.happened(R, rider.Noted))
    world.do(R, rider.WithdrawOffer("n-1", "cancelled"))
    world.do(R, offer())
    assert world.state(R).offer is None
    assert len(world.happened(R, rider.Noted)) == noted


def test_an_offer_that_dispatch_no_longer_knows_ends_with_a_clear_refusal() -> None:
    world = on_shift()
    world.do(R, offer())
    assert code_of(world, rider.AcceptOffer("n-1")) == "offer-gone"
    assert world.state(R).offer is None


def test_declining_twice_is_declining_once() -> None:
    world = on_shift()
    world.do(R, offer())
    for _ in range(2):
        assert world.do(R, rider.DeclineOffer("n-1", "too far")).state == "free"
    assert len(world.owed(dispatch.DeclineOffer)) == 1


# -------------------------------------------------------------------- run


def test_steps_out_of_order_are_refused_with_what_is_possible() -> None:
    world = carrying()
    for command in (rider.PickUp(F), rider.ArriveAtCustomer(F), rider.Deliver(F),
                    rider.Fail(F, "absent")):  # fmt: skip
        assert code_of(world, command) == "wrong-state"
    assert code_of(world, rider.ArriveAtStore("o9-1")) == "unknown-parcel"


def test_repeated_steps_change_nothing() -> None:
    world = carrying(until="at_customer")
    before = len(world.events[("rider", "r1")])
    world.do(R, rider.ArriveAtCustomer(F))
    assert len(world.events[("rider", "r1")]) == before
    for _ in range(2):
        world.do(R, rider.Deliver(F))
    assert len(world.happened(R, rider.ParcelDelivered)) == 1


def test_goods_that_are_not_ready_stay_at_the_store() -> None:
    world = on_shift()
    world.open("s1", ticket(F))
    world.settle()
    world.do("store/s1", store.AcceptTicket(F, "t1", 0))
    world.settle()
    world.later(5.0)
    world.settle()
    world.do(R, rider.AcceptOffer(world.state(R).offer.offer_id))
    world.settle()
    world.do(R, rider.ArriveAtStore(F))
    assert code_of(world, rider.PickUp(F)) == "wrong-state"
    assert world.state(R).parcels[F].state == "at_store"


@pytest.mark.parametrize(("received", "change"), [(899, 0), (1000, 0), (1000, 99), (-1, -901)])
def test_any_other_sum_than_the_exact_cash_is_refused_and_the_sum_named(
    received: int, change: int
) -> None:
    world = carrying(900, until="at_customer")
    with pytest.raises(Refused) as caught:
        world.do(R, rider.Deliver(F, received, change))
    assert caught.value.code == "wrong-cash"
    assert "900" in caught.value.detail
    assert world.state(R).cash == 0


def test_a_paid_parcel_takes_no_cash() -> None:
    assert code_of(carrying(until="at_customer"), rider.Deliver(F, 5)) == "wrong-cash"


def test_the_sum_changed_by_a_short_pick_is_the_one_collected() -> None:
    world = carrying(900, until="at_customer")
    world.do("store/s1", store.ReviseTicket(F, 650, world.now))
    world.settle()
    assert code_of(world, rider.Deliver(F, 900)) == "wrong-cash"
    world.do(R, rider.Deliver(F, 1000, 350))
    assert world.owed(order.RecordDelivered)[0].cash == 650


def test_a_parcel_not_delivered_goes_back_and_leaves_the_run_at_the_counter() -> None:
    world = carrying(900, until="at_customer")
    assert code_of(world, rider.Fail(F, "bored")) == "wrong-reason"
    view = world.do(R, rider.Fail(F, "refused"))
    assert view.stops == (("return", F),)
    assert view.cash_headroom == 10_000
    world.settle()
    assert world.sent(order.RecordFailed)[0].reason == "refused"
    world.do("store/s1", store.AcceptReturn(F))
    world.settle()
    assert (world.state(R).parcels, world.state(R).stops) == ({}, [])


def test_a_cancelled_parcel_leaves_the_run_unless_it_is_in_the_riders_hands() -> None:
    world = carrying()
    world.do(R, rider.CancelParcel(F, "customer"))
    assert world.state(R).parcels == {}
    world = carrying(until="picked_up")
    world.do(R, rider.CancelParcel(F, "customer"))
    assert F in world.state(R).parcels


def test_operations_takes_a_parcel_away_with_who_and_why_until_it_is_picked_up() -> None:
    world = carrying()
    for _ in range(2):
        world.do(R, rider.Unassign(F, "ops:kim", "flat tyre"))
    (removed,) = world.happened(R, rider.ParcelRemoved)
    assert (removed.by, removed.why) == ("ops:kim", "flat tyre")
    world.settle()
    (back,) = world.happened(f"dispatch/{ZONE}", dispatch.ParcelReturnedToPool)
    assert (back.by, back.why) == ("ops:kim", "flat tyre")
    assert code_of(carrying(until="picked_up"), rider.Unassign(F, "ops:kim", "x")) == "wrong-state"


places = st.tuples(st.floats(52.4, 52.6), st.floats(13.3, 13.5)).map(lambda at: Position(*at))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(places, places), min_size=1, max_size=5), places)
@example(  # inserting in the given order alone makes a longer run
    trips=[
        (Position(52.5, 13.375), Position(52.4375, 13.375)),
        (Position(52.5, 13.375), Position(52.5625, 13.375)),
        (Position(52.5625, 13.5), Position(52.5625, 13.5)),
    ],
    start=Position(52.5, 13.5),
)
def test_every_pick_up_comes_before_its_drop_off_and_detours_stay_small(
    trips: list[tuple[Position, Position]], start: Position
) -> None:
    added = [
        parcel(f"o{number}-1", pick_up=pick_up, drop_off=drop_off)
        for number, (pick_up, drop_off) in enumerate(trips)
    ]
    where = {one.parcel_id: one for one in added}

    def place(stop: tuple[str, str]) -> Position:
        return where[stop[1]].pick_up if stop[0] == "pick_up" else where[stop[1]].drop_off

    stops = with_parcels([], added, start, place)
    assert len(set(stops)) == len(stops) == 2 * len(added)
    for one in added:
        drop_off = stops.index(("drop_off", one.parcel_id))
        assert stops.index(("pick_up", one.parcel_id)) < drop_off
    one_by_one, here = 0.0, start
    for pick_up, drop_off in trips:
        one_by_one += distance_m(here, pick_up) + distance_m(pick_up, drop_off)
        here = drop_off
    assert length_m(stops, start, place) <= one_by_one + 1e-3


# -------------------------------------------------------------------- cash and inbox


@pytest.mark.parametrize(("amount", "difference"), [(900, 0), (850, -50), (910, 10), (0, -900)])
def test_a_remittance_closes_the_debt_and_documents_the_difference(
    amount: int, difference: int
) -> None:
    world = carrying(900, until="at_customer")
    world.do(R, rider.Deliver(F, 900))
    for _ in range(2):
        assert world.do(R, rider.Remit("m1", amount, "till-3", "torn note")).cash_held == 0
    (remitted,) = world.happened(R, rider.Remitted)
    assert (remitted.owed, remitted.amount, remitted.difference) == (900, amount, difference)
    assert remitted.reason == ("torn note" if difference else "")


def test_a_difference_without_a_reason_is_refused_and_says_what_is_owed() -> None:
    world = carrying(900, until="at_customer")
    world.do(R, rider.Deliver(F, 900))
    with pytest.raises(Refused) as caught:
        world.do(R, rider.Remit("m1", 850, "till-3", "  "))
    assert (caught.value.code, caught.value.extra["owed"]) == ("reason-required", 900)
    assert world.state(R).cash == 900
    assert not world.happened(R, rider.Remitted)


def test_cash_is_not_taken_against_a_sum_that_is_no_longer_owed() -> None:
    world = carrying(900, until="at_customer")
    world.do(R, rider.Deliver(F, 900))
    for amount in (400, 900):
        with pytest.raises(Refused) as caught:
            world.do(R, rider.Remit("m1", amount, "till-3", "because", owed=400))
        assert caught.value.code == "owed-changed"
        assert caught.value.extra == {"owed": 900, "currency": "EUR"}
    assert world.state(R).cash == 900
    assert world.do(R, rider.Remit("m2", 900, "till-3", owed=900)).cash_held == 0


def test_a_second_cashier_does_not_book_the_same_cash_again_and_a_repeat_does_no_harm() -> None:
    world = carrying(900, until="at_customer")
    world.do(R, rider.Deliver(F, 900))
    taken = rider.Remit("m1", 900, "till-3", owed=900)
    assert world.do(R, taken).cash_held == 0
    again = rider.Remit("m2", 900, "till-4", "it was there", owed=900)
    assert code_of(world, again) == "owed-changed"
    assert world.do(R, taken).cash_held == 0
    assert len(world.happened(R, rider.Remitted)) == 1


def test_cash_is_handed_in_before_a_shift_where_another_currency_is_taken() -> None:
    world = carrying(900, until="at_customer")
    world.do(R, rider.Deliver(F, 900))
    world.do(R, rider.EndShift())
    with pytest.raises(Refused) as caught:
        world.do(R, shift(currencies=("CHF", "USD")))
    assert caught.value.code == "remit-first"
    assert caught.value.extra == {"owed": 900, "currency": "EUR"}
    assert world.do(R, shift(currencies=("CHF", "EUR"))).state != "off"
    world.do(R, rider.EndShift())
    world.do(R, rider.Remit("m1", 900, "till-3", owed=900))
    assert world.do(R, shift(currencies=("CHF", "USD"))).state != "off"


def test_cash_held_keeps_its_currency_and_a_rider_without_any_takes_the_parcels() -> None:
    world = carrying(900, until="at_customer")
    world.do(R, rider.Deliver(F, 900))
    swiss = msgspec.structs.replace(parcel("o9-1"), currency="CHF")
    taken = rider.ParcelsTaken("offer-9", (swiss,), (), START)
    held = ahead(world.state(R), [taken])
    assert (held.cash, held.currency) == (900, "EUR")
    remitted = rider.Remitted("m1", 900, 900, 0, "till-3", "EUR", START)
    assert ahead(world.state(R), [remitted, taken]).currency == "CHF"


def test_a_run_that_brings_cash_takes_no_offer_of_another_currency() -> None:
    world = carrying(900)
    swiss = msgspec.structs.replace(parcel("o9-1", cash_due=100), currency="CHF")
    now = world.now
    with pytest.raises(Refused, match="EUR") as caught:
        rules.receive_offer(world.state(R), offer(swiss, offer_id="n-9", expires_s=600.0), now)
    assert caught.value.code == "rider-unavailable"
    euro = offer(parcel("o9-1", cash_due=100), offer_id="n-9", expires_s=600.0)
    assert rules.receive_offer(world.state(R), euro, now)


def test_a_store_takes_the_cash_of_its_own_zones_riders_also_after_their_shift() -> None:
    world = carrying(900, until="at_customer")
    world.do(R, rider.Deliver(F, 900))
    world.do(R, rider.EndShift())
    foreign = rider.Remit("m1", 900, "store:far", dispatch_zone="elsewhere")
    assert code_of(world, foreign) == "foreign-resource"
    assert world.state(R).cash == 900
    own = rider.Remit("m1", 900, "store:s1", dispatch_zone=world.state(R).last_zone)
    assert world.do(R, own).cash_held == 0


def test_nobody_takes_cash_of_a_rider_who_was_never_on_shift() -> None:
    world = World()
    assert code_of(world, rider.Remit("m1", 100, "till-3", "found it")) == "unknown-rider"
    assert not world.happened(R, rider.Remitted)
    world.do(R, rider.RegisterDevice("phone", "c-1"))
    assert code_of(world, rider.Remit("m1", 100, "till-3", "found it")) == "unknown-rider"


def test_cash_of_a_rider_who_never_carried_a_parcel_is_in_the_zones_only_currency() -> None:
    world = on_shift(currencies=("EUR",))
    assert world.do(R, rider.Remit("m1", 100, "till-3", "found it")).currency == "EUR"
    world.do(R, rider.EndShift())
    world.do(R, rider.Remit("m2", 50, "till-3", "found it"))
    assert [one.currency for one in world.happened(R, rider.Remitted)] == ["EUR", "EUR"]


@pytest.mark.parametrize("currencies", [(), ("CHF", "EUR")])
def test_cash_that_may_be_of_any_currency_is_not_booked(currencies: tuple[str, ...]) -> None:
    world = on_shift(currencies=currencies)
    found = rider.Remit("m1", 100, "till-3", "found it")
    assert code_of(world, found) == "unknown-currency"
    assert not world.happened(R, rider.Remitted)
    world.do(R, rider.EndShift())
    world.do(R, shift(currencies=("CHF",)))
    assert world.do(R, found).currency == "CHF"


def test_nothing_comes_of_remitting_nothing() -> None:
    assert code_of(on_shift(), rider.Remit("m1", 0, "till-3")) == "nothing-to-remit"
    assert code_of(on_shift(), rider.Remit("m1", -5, "till-3")) == "wrong-amount"


def test_cash_held_counts_against_further_cash_offers_until_it_is_remitted() -> None:
    world = carrying(900, until="at_customer", cash_limit=1000)
    world.do(R, rider.Deliver(F, 900))
    world.settle()
    assert world.state(f"dispatch/{ZONE}").riders["r1"].cash_headroom == 100
    more = offer(parcel("o2-1", cash_due=500), expires_s=600.0)
    assert code_of(world, more) == "cash-limit"
    world.now += 1
    world.do(R, rider.Remit("m1", 900, "till-3"))
    assert world.state(f"dispatch/{ZONE}").riders["r1"].cash_headroom == 1000
    world.do(R, more)
    assert world.state(R).offer is not None


def test_a_phone_that_lost_its_connection_finds_everything_again() -> None:
    world = on_shift()
    first = world.do(R, rider.RegisterDevice("p1", "c1"))
    world.do(R, offer())
    page = world.do(R, rider.RegisterDevice("p1", "c2", first.head, first.epoch))
    assert [message.type for message in page.messages] == ["offer.opened"]
    assert code_of(world, rider.AcknowledgeInbox("p1", "c1", page.head)) == "stale-connection"
    snapshot = json.loads(world.do(R, rider.GetSnapshot()).snapshot)
    assert snapshot["offer"]["offer_id"] == "n-1"


def test_the_next_timer_is_the_offer_or_the_end_of_the_shift() -> None:
    world = on_shift(ends_at=START + 100)
    assert KIND.wake_at(world.state(R)) == START + 100
    world.do(R, offer())
    assert KIND.wake_at(world.state(R)) == START + 30
