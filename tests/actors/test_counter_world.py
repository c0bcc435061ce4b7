"""Stores, riders and dispatch together, with repetition, reordering and dying askers."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import order, rider, store
from domain.dispatch.commands import ReofferParcel
from domain.geo import Position
from domain.message import Command
from domain.rider.events import Noted as RiderNoted
from domain.rider.messages import MESSAGES as RIDER_MESSAGES
from domain.rider.messages import snapshot as rider_snapshot
from domain.rider.state import Carried
from domain.rider.state import born as rider_born
from domain.store.events import Noted as StoreNoted
from domain.store.messages import MESSAGES as STORE_MESSAGES
from domain.store.messages import snapshot as store_snapshot
from domain.store.state import born as store_born
from tests.fakes.counter_devices import Phone, Tablet
from tests.fakes.counter_world import STORES, ZONE, World, shift, ticket

RIDERS = ("r1", "r2", "r3")


class Town(World):
    """The world with people who act at random."""

    def step(self) -> None:
        rng = self.rng
        roll = rng.random()
        if roll < 0.45 and self.bag:
            self.deliver_one()
        elif roll < 0.50 and len(self.parcels) < 14:
            self._order_something()
        elif roll < 0.62:
            self.later(rng.choice([1.0, 5.0, 5.0, 12.0, 40.0]))
        elif roll < 0.80 and self.parcels:
            self._clerk(rng.choice(list(self.parcels)))
        elif roll < 0.97:
            self._rider(rng.choice(RIDERS))
        elif self.parcels:
            self._rare(rng.choice(list(self.parcels)))

    def _order_something(self) -> None:
        rng = self.rng
        number = len(self.parcels) + 1
        self.open(
            rng.choice(list(STORES)),
            ticket(
                f"o{number}-1",
                now=self.now,
                cash_due=rng.choice([0, 0, 900, 4000]),
                delivery="pickup" if rng.random() < 0.1 else "delivery",
                drop_off=Position(52.5 + rng.random() * 0.03, 13.4 + rng.random() * 0.03),
            ),
        )

    def _clerk(self, fulfilment_id: str) -> None:
        rng = self.rng
        to = f"store/{self.parcels[fulfilment_id].store_id}"
        state = self.state(to)
        known = state.tickets.get(fulfilment_id) if state else None
        if known is None:
            return
        if known.cancel_asked and rng.random() < 0.5:
            held = store.ConfirmHeldBack(fulfilment_id, rng.random() < 0.6)
            self.attempt(to, held)
            return
        match known.state:
            case "new":
                act = store.AcceptTicket(fulfilment_id, "t1", rng.choice([0, 60, 400]))
            case "accepted":
                act = store.StartPicking(fulfilment_id)
            case "picking" if rng.random() < 0.4:
                line = rng.choice(known.opened.lines).line_id
                act = store.PickLine(fulfilment_id, line, rng.randint(0, 2))
            case "picking":
                act = store.MarkReady(fulfilment_id)
            case "ready" if known.opened.delivery == "pickup":
                code = rng.choice(["123456", "000000"])
                act = store.Collect(fulfilment_id, code, known.cash_due)
            case "ready":
                act = store.HandOver(fulfilment_id, known.rider_id or "r1")
            case "returning":
                act = store.AcceptReturn(fulfilment_id)
            case _:
                return
        if known.state in ("new", "accepted") and rng.random() < 0.08:
            act = store.RejectTicket(fulfilment_id, "closed early")
        self.attempt(to, act)

    def _rider(self, rider_id: str) -> None:
        rng, to = self.rng, f"rider/{rider_id}"
        state = self.state(to)
        if state is None or state.shift is None:
            ends_at = self.now + 900 if rng.random() < 0.3 else None
            self.attempt(to, shift(ends_at=ends_at, cash_limit=rng.choice([3000, 10_000])))
            return
        if state.offer is not None and rng.random() < 0.7:
            offer_id = state.offer.offer_id
            taken = rng.random() < 0.75
            self.attempt(to, rider.AcceptOffer(offer_id) if taken else rider.DeclineOffer(offer_id))
            return
        if not state.parcels or rng.random() < 0.2:
            self._idle(to)
            return
        parcel_id = rng.choice(list(state.parcels))
        self.attempt(to, self._next_act(state.parcels[parcel_id], parcel_id))

    def _next_act(self, carried: Carried, parcel_id: str) -> Command:
        match carried.state:
            case "accepted":
                return rider.ArriveAtStore(parcel_id)
            case "at_store":
                return rider.PickUp(parcel_id)
            case "picked_up":
                return rider.ArriveAtCustomer(parcel_id)
            case "at_customer" if self.rng.random() < 0.25:
                return rider.Fail(parcel_id, "absent")
        return rider.Deliver(parcel_id, carried.cash_due + 100, 100)

    def _idle(self, to: str) -> None:
        rng = self.rng
        match rng.randint(0, 9):
            case 0:
                self.attempt(to, rider.EndShift())
            case 1:
                owed = self.state(to).cash
                amount = max(0, owed + rng.choice([0, 0, -50, 20]))
                self.attempt(to, rider.Remit(f"m{self._acts}", amount, "till-1"))
            case _:
                position = Position(52.5 + rng.random() * 0.03, 13.4 + rng.random() * 0.03)
                self.attempt(to, rider.MoveTo(position))

    def _rare(self, fulfilment_id: str) -> None:
        rng = self.rng
        match rng.randint(0, 3):
            case 0 | 1:
                self.cancel(fulfilment_id)
            case 2:
                unassign = rider.Unassign(fulfilment_id, "ops:kim", "rider is ill")
                self.attempt(f"rider/{rng.choice(RIDERS)}", unassign)
            case 3:
                again = ReofferParcel(fulfilment_id, "ops:kim", "waits too long")
                self.attempt(f"dispatch/{ZONE}", again)

    # ------------------------------------------------------------ the auditor

    def audit(self) -> None:
        self._one_rider_per_parcel()
        self._zone_is_consistent()
        for rider_id in RIDERS:
            self._run_is_in_order(rider_id)
            self._cash_adds_up(rider_id)

    def _one_rider_per_parcel(self) -> None:
        hands: Counter[str] = Counter()
        for rider_id in RIDERS:
            state = self.state(f"rider/{rider_id}")
            hands.update(list(state.parcels) if state else [])
        assert all(count == 1 for count in hands.values()), hands

    def _zone_is_consistent(self) -> None:
        zone = self.state(f"dispatch/{ZONE}")
        if zone is None:
            return
        places: Counter[str] = Counter(list(zone.waiting))
        for offer in zone.offers.values():
            places.update(offer.parcel_ids)
        for one in zone.riders.values():
            places.update(one.parcels)
        assert dict(places) == dict.fromkeys(zone.parcels, 1)
        riders_offered = [offer.rider_id for offer in zone.offers.values()]
        assert len(set(riders_offered)) == len(riders_offered), "two open offers for one rider"
        expiries = [offer.expires_at for offer in zone.offers.values()]
        assert expiries == sorted(expiries)

    def _run_is_in_order(self, rider_id: str) -> None:
        state = self.state(f"rider/{rider_id}")
        if state is None:
            return
        for parcel_id, one in state.parcels.items():
            mine = [kind for kind, each in state.stops if each == parcel_id]
            wanted = {
                "accepted": ["pick_up", "drop_off"],
                "at_store": ["pick_up", "drop_off"],
                "picked_up": ["drop_off"],
                "at_customer": ["drop_off"],
                "returning": ["return"],
            }[one.state]
            assert mine == wanted, (parcel_id, one.state, state.stops)
        assert len(state.stops) == sum(2 if one.state in ("accepted", "at_store") else 1
                                       for one in state.parcels.values())  # fmt: skip

    def _cash_adds_up(self, rider_id: str) -> None:
        to = f"rider/{rider_id}"
        state = self.state(to)
        if state is None:
            return
        remitted = self.happened(to, rider.Remitted)
        delivered = sum(event.cash for event in self.happened(to, rider.ParcelDelivered))
        handed_in = sum(event.amount for event in remitted)
        differences = sum(event.difference for event in remitted)
        assert state.cash == delivered - handed_in + differences

    def devices_agree(self) -> None:
        """Old state + messages = fresh state, and offsets are dense."""
        for (kind, entity_id), events in self.events.items():
            if kind == "dispatch":
                continue
            state = self.states[(kind, entity_id)]
            if kind == "store":
                empty, fresh = (
                    store_snapshot(each, entity_id) for each in (store_born(0.0), state)
                )
                device, noted, known = Tablet(empty), StoreNoted, STORE_MESSAGES
            else:
                empty, fresh = (
                    rider_snapshot(each, entity_id) for each in (rider_born(0.0), state)
                )
                device, noted, known = Phone(empty), RiderNoted, RIDER_MESSAGES  # type: ignore[assignment]
            told = [m for event in events if isinstance(event, noted) for m in event.messages]
            assert [message.offset for message in told] == list(range(1, len(told) + 1))
            assert len({message.id for message in told}) == len(told)
            for message in told:
                assert message.type in known
                device.fold(message)
            assert device.document() == json.loads(fresh)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), trouble=st.sampled_from([0.0, 0.1, 0.4]))
def test_whatever_happens_a_parcel_has_one_rider_cash_adds_up_and_devices_know(
    seed: int, trouble: float
) -> None:
    town = Town(seed, trouble=trouble)
    for _ in range(260):
        town.step()
        town.audit()
    town.devices_agree()


@pytest.mark.parametrize("seed", range(12))
def test_when_the_trouble_ends_every_order_has_exactly_one_end(seed: int) -> None:
    town = Town(seed, trouble=0.3)
    for _ in range(300):
        town.step()
    town.trouble = 0.0
    for _ in range(400):
        town.settle()
        town.later(5.0)
        for fulfilment_id in town.parcels:
            town._clerk(fulfilment_id)
        for rider_id in RIDERS:
            town._rider(rider_id)
        town.audit()
        if all(parcel.ends for parcel in town.parcels.values()):
            break
    town.settle()
    town.devices_agree()
    for fulfilment_id, parcel in town.parcels.items():
        assert len(parcel.ends) == 1, (fulfilment_id, parcel)
        assert fulfilment_id not in town.state(f"store/{parcel.store_id}").tickets
        if parcel.ends == ["delivered"] and fulfilment_id not in town.late_revisions:
            assert parcel.delivered_cash == parcel.cash_due
    zone = town.state(f"dispatch/{ZONE}")
    assert not zone.parcels
    assert not any(town.state(f"rider/{rider_id}").parcels for rider_id in RIDERS)


def test_an_order_goes_from_the_tablet_to_the_door_with_its_cash() -> None:
    world = World()
    world.do("rider/r1", shift())
    world.open("s1", ticket(cash_due=4200))
    world.settle()
    world.do("store/s1", store.AcceptTicket("o1-1", "t1", 0))
    world.settle()
    world.later(5.0)
    world.settle()
    offer = world.state("rider/r1").offer
    assert [parcel.cash_due for parcel in offer.parcels] == [4200]
    world.do("rider/r1", rider.AcceptOffer(offer.offer_id))
    world.settle()
    assert world.state("store/s1").tickets["o1-1"].rider_id == "r1"
    world.do("store/s1", store.StartPicking("o1-1"))
    world.do("store/s1", store.MarkReady("o1-1"))
    world.do("rider/r1", rider.ArriveAtStore("o1-1"))
    world.do("rider/r1", rider.PickUp("o1-1"))
    world.do("rider/r1", rider.ArriveAtCustomer("o1-1"))
    view = world.do("rider/r1", rider.Deliver("o1-1", 5000, 800))
    assert (view.cash_held, view.state, view.stops) == (4200, "free", ())
    world.settle()
    assert world.parcels["o1-1"].ends == ["delivered"]
    assert [each.state for each in world.sent(order.RecordProgress)] == [
        "accepted", "rider_assigned", "picking", "at_store", "picked_up", "at_customer",
    ]  # fmt: skip
    assert "o1-1" not in world.state("store/s1").tickets
    assert not world.state(f"dispatch/{ZONE}").parcels


def test_a_rider_who_died_while_accepting_gets_the_same_parcels_when_asking_again() -> None:
    world = _offered()
    offer_id = world.state("rider/r1").offer.offer_id
    world.trouble = 1.0
    assert world.attempt("rider/r1", rider.AcceptOffer(offer_id)) is None
    world.trouble = 0.0
    assert not world.state("rider/r1").parcels
    view = world.do("rider/r1", rider.AcceptOffer(offer_id))
    assert [parcel.parcel.parcel_id for parcel in view.parcels] == ["o1-1"]


def test_parcels_confirmed_but_never_taken_are_offered_to_another_rider() -> None:
    world = _offered()
    world.do("rider/r2", shift())
    offer_id = world.state("rider/r1").offer.offer_id
    world.trouble = 1.0
    world.attempt("rider/r1", rider.AcceptOffer(offer_id))
    world.trouble = 0.0
    for _ in range(11):
        world.later(5.0)
        world.settle()
    assert world.state("rider/r1").offer is None
    assert world.state("rider/r2").offer.parcels[0].parcel_id == "o1-1"
    assert world.state("store/s1").tickets["o1-1"].rider_id == ""


def _offered() -> World:
    world = World()
    world.do("rider/r1", shift())
    world.open("s1", ticket())
    world.settle()
    world.do("store/s1", store.AcceptTicket("o1-1", "t1", 0))
    world.settle()
    world.later(5.0)
    world.settle()
    return world
