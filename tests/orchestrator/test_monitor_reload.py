"""A monitor that was loaded from states tells what one that saw every event tells: ages too."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from actors.engine.codec import encode
from domain import order
from domain.catalogue.model import StoreProfile
from domain.geo import Position
from domain.order.state import OrderState, Part, evolve
from orchestrator.monitor.flow import Flow
from orchestrator.monitor.orders import CANCELLING_S
from orchestrator.monitor.tracked import READY_S

T = 1_760_000_000.0


class World:
    """A flow and its clock."""

    def __init__(self, now: float) -> None:
        self.now = now
        profile = StoreProfile("s-1", "Corner", Position(52.0, 5.0), "EUR", (), "north")
        self.flow = Flow(lambda: self.now, {"s-1": profile})

    def codes(self, now: float) -> list[str]:
        self.now = now
        self.flow.advance()
        return [anomaly.code for anomaly in self.flow.anomalies.all()]


def part(fid: str = "o1-1", zone_id: str = "z-1", campaign_id: str = "") -> order.Fulfilment:
    return order.Fulfilment(fid, "s-1", zone_id, 0, 2400, 300, 600, campaign_id)


def placed(
    order_id: str = "o1", at: float = T, delivery: str = "delivery", campaign_id: str = ""
) -> order.Placed:
    parts = tuple(
        part(f"{order_id}-{n}", "z-1" if delivery == "delivery" else "", campaign_id)
        for n in (1, 2)
    )
    return order.Placed(
        order_id, at, "app", order.Customer("c-1"), "EUR", delivery, "online", None, (), parts,
        500, 0, 500, at + 900,
    )  # fmt: skip


def paid(at: float, order_id: str = "o1") -> order.Paid:
    return order.Paid(at, f"{order_id}-p1", "sandbox", "ref", 500)


def moved(state: str, at: float, fid: str = "o1-1", who: str = "") -> order.FulfilmentMoved:
    return order.FulfilmentMoved(fid, state, at, who)


def stored(events: Sequence[Any]) -> OrderState:
    """The state after these events, as it comes back from the store."""
    state: OrderState | None = None
    for event in events:
        state = evolve(state, event)
    return msgspec.msgpack.decode(encode(state), type=OrderState)


def loaded(now: float, *states: OrderState) -> World:
    world = World(now)
    for state in states:
        world.flow.load("order", state.order_id, state)
    world.flow.loaded()
    return world


def test_a_parcel_that_just_became_ready_is_not_stuck_because_the_gateway_started() -> None:
    ready = T + 1_200
    state = stored([placed(), paid(T), moved("delivered", T, "o1-2"), moved("ready", ready)])
    world = loaded(ready + 60, state)
    assert world.codes(ready + 60) == []
    assert world.codes(ready + READY_S - 1) == []
    assert world.codes(ready + READY_S) == ["stuck-fulfilment"]
    (anomaly,) = world.flow.anomalies.all()
    assert anomaly.since == ready


def test_a_rider_on_the_way_to_the_store_does_not_make_a_parcel_younger() -> None:
    history = [placed(), paid(T), moved("delivered", T, "o1-2"), moved("ready", T + 100)]
    history.append(moved("rider_assigned", T + 800, who="r-1"))
    assert loaded(T + 900, stored(history)).codes(T + 100 + READY_S) == ["stuck-fulfilment"]


def test_an_order_placed_long_ago_may_take_its_time_to_cancel() -> None:
    asked = T + 2_000
    history = [placed(), paid(T), *(moved("picked_up", asked, f"o1-{n}") for n in (1, 2))]
    state = stored([*history, order.CancelRequested("customer", "late", asked, ("o1-1",))])
    world = loaded(asked + 60, state)
    assert world.codes(asked + CANCELLING_S - 1) == []
    assert world.codes(asked + CANCELLING_S) == ["stuck-order"]


def test_the_oldest_of_each_state_is_known_in_whatever_order_the_store_gives_them() -> None:
    states = [
        stored([placed(f"o{n}", T + n), paid(T + 100 - n, f"o{n}")]) for n in (3, 1, 4, 2)
    ] + [stored([placed(f"p{n}", T + n)]) for n in (7, 5, 6)]
    oldest = loaded(T + 200, *states).flow.document()
    assert oldest["orders"]["oldest"]["placed"]["id"] == "p5"
    assert oldest["orders"]["oldest"]["paid"]["id"] == "o4"
    assert oldest["fulfilments"]["oldest"]["new"]["id"].startswith("o4-")


def times() -> Iterator[float]:
    now = T
    while True:
        yield now
        now += 100.0


def histories() -> dict[str, list[Any]]:
    """Orders' ways, each event 100 s after the one before."""
    t = times()
    seated = ((part("o1-3", campaign_id="c-1"),), (), "c", "g")
    return {
        "delivery": [
            placed(at=next(t)), paid(next(t)), moved("accepted", next(t)),
            moved("picking", next(t)), order.FulfilmentPicked("o1-1", next(t)),
            moved("ready", next(t)), moved("rider_assigned", next(t), who="r-1"),
            moved("picked_up", next(t)), moved("at_customer", next(t)),
            order.FulfilmentDelivered("o1-1", next(t), "r-1", 0),
            order.FulfilmentFailed("o1-2", next(t), "refused"),
            order.FulfilmentReturned("o1-2", next(t)), order.Completed(next(t)),
        ],
        "another store": [
            placed(at=next(t)), order.CodConfirmed(next(t)),
            order.FulfilmentRerouted("o1-1", part("o1-3"), (), "rejected", next(t)),
            order.FulfilmentParked("o1-3", "rejected", next(t), T + 9e9),
            order.FulfilmentRerouted("o1-3", part("o1-4"), (), "ops", next(t)),
            order.FulfilmentCancelled("o1-2", "short", next(t)), moved("accepted", next(t), "o1-4"),
        ],
        "cancel, answered by one store after the other": [
            placed(at=next(t)), paid(next(t)),
            order.CancelRequested("customer", "late", next(t), ("o1-1", "o1-2")),
            order.CancelRequested("customer", "late", next(t), ("o1-2",)),
            order.CancelRefused("already-left", next(t)),
            order.CancelRequested("customer", "late", next(t), ("o1-2",)),
            order.Cancelled("customer", "late", next(t)),
        ],
        "campaign": [
            placed(at=next(t), campaign_id="c-1"), paid(next(t)),
            order.Reseated(next(t), *seated), order.SeatConfirmed(next(t)),
            moved("accepted", next(t), "o1-3"),
        ],
        "paid late": [
            placed(at=next(t), delivery="pickup"), order.Cancelled("timeout", "unpaid", next(t)),
            order.Reinstated(next(t), (part("o1-3", ""),), ()), paid(next(t)),
            moved("ready", next(t), "o1-3"),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("way", histories())
def test_after_every_step_ages_and_deadlines_are_those_of_a_monitor_that_saw_it(way: str) -> None:
    history = histories()[way]
    for steps in range(1, len(history) + 1):
        now = history[steps - 1].at
        if isinstance(history[steps - 1], order.Reinstated):
            continue  # its payment comes with it
        seen = World(now)
        seen.flow.loaded()
        for event in history[:steps]:
            seen.flow.apply("order", "o1", event, event.at)
        fresh = loaded(now, stored(history[:steps]))
        for stages in ("orders", "parts"):
            expected, found = (getattr(w.flow.orders, stages).oldest() for w in (seen, fresh))
            assert expected == found, (steps, stages)
        for wait_s in (0, 300, 900, 1_300, 4_000, 10_000):
            assert sorted(seen.codes(now + wait_s)) == sorted(fresh.codes(now + wait_s))
        assert seen.flow.anomalies.all() == fresh.flow.anomalies.all()


def test_a_state_stored_before_ages_were_kept_is_read_and_its_age_is_guessed() -> None:
    raw = msgspec.msgpack.decode(encode(stored([placed(), paid(T + 50), moved("ready", T + 90)])))
    parts = next(each for each in raw if isinstance(each, list) and len(each) == 2)
    kept = raw[: OrderState.__struct_fields__.index("since")]
    until = Part.__struct_fields__.index("since")
    old = [*(each if each is not parts else [one[:until] for one in parts] for each in kept)]
    state = msgspec.msgpack.decode(encode(old), type=OrderState)
    assert (state.since, state.parts[0].since) == (0.0, 0.0)
    oldest = loaded(T + 100, state).flow.orders
    assert oldest.orders.oldest()["paid"].since == T
    assert oldest.parts.oldest()["ready"].since == T + 50


def test_a_pickup_that_was_paid_late_may_wait_for_its_customer() -> None:
    world = World(T)
    world.flow.loaded()
    for event in histories()["paid late"]:
        world.flow.apply("order", "o1", event, event.at)
        last = event.at
    assert world.codes(last + READY_S + 1) == []
    collected = order.FulfilmentDelivered("o1-3", world.now, "", 0)
    world.flow.apply("order", "o1", collected, world.now)
    assert world.flow.document()["per_second"]["collected"] > 0


def test_a_delivery_that_was_paid_late_is_stuck_when_no_rider_comes() -> None:
    world = World(T)
    world.flow.loaded()
    again = order.Reinstated(T, (part("o1-3"),), ())
    for event in (again, paid(T), moved("ready", T, "o1-3")):
        world.flow.apply("order", "o1", event, T)
    assert world.codes(T + READY_S) == ["stuck-fulfilment"]
