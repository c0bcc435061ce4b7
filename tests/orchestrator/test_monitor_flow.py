"""The monitor's aggregate, fed with events and compared with fresh states."""

import json
from typing import Any

import msgspec
import pytest

from domain import dispatch, inventory, order, rider, store
from domain.catalogue.model import StoreProfile
from domain.dispatch.state import evolve as evolve_zone
from domain.geo import Position
from domain.inbox import InboxMessage
from domain.order.state import evolve as evolve_order
from domain.rider.commands import OfferedParcel
from orchestrator import models
from orchestrator.monitor.flow import Flow
from orchestrator.monitor.stores import OFFLINE_S
from orchestrator.monitor.tracked import GRACE_S, READY_S
from orchestrator.push.outbox import Outbox
from orchestrator.push.patch import apply_patch
from orchestrator.push.protocol import TopicSession
from orchestrator.push.topics import Topic

T = 1_760_000_000.0
HERE = Position(52.0, 5.0)


class World:
    """A flow and its clock."""

    def __init__(self, *, only_gateway: bool = True) -> None:
        self.now = T
        profile = StoreProfile("s-1", "Corner", HERE, "EUR", (), "north")
        self.flow = Flow(lambda: self.now, {"s-1": profile}, only_gateway=only_gateway)
        self.flow.loaded()
        self.history: list[tuple[str, str, Any, float]] = []

    def happen(self, kind: str, entity: str, *events: Any) -> None:
        for event in events:
            self.history.append((kind, entity, event, self.now))
            self.flow.apply(kind, entity, event, self.now)

    def codes(self) -> list[str]:
        self.flow.advance()
        return [anomaly.code for anomaly in self.flow.anomalies.all()]

    def later(self, seconds: float) -> None:
        self.now += seconds


def part(number: int = 1, order_id: str = "o1") -> order.Fulfilment:
    return order.Fulfilment(f"{order_id}-{number}", "s-1", "z-1", 0, 2400, 300, 600)


def placed(order_id: str = "o1", parts: int = 1, at: float = T) -> order.Placed:
    parts_of = tuple(part(number, order_id) for number in range(1, parts + 1))
    lines = tuple(
        order.Line(f"{order_id}/{n}", "tea", "Tea", 1, 500, 500, one.fulfilment_id, ())
        for n, one in enumerate(parts_of, 1)
    )
    return order.Placed(
        order_id, at, "app", order.Customer("c-1"), "EUR", "delivery", "online", None, lines,
        parts_of, 500, 0, 500, at + 900,
    )  # fmt: skip


def paid(at: float = T, order_id: str = "o1") -> order.Paid:
    return order.Paid(at, f"{order_id}-p1", "sandbox", "ref", 500)


def moved(state: str, at: float = T, fid: str = "o1-1", who: str = "") -> order.FulfilmentMoved:
    return order.FulfilmentMoved(fid, state, at, who)


def test_counts_follow_an_order_from_placed_to_completed() -> None:
    world = World()
    world.happen("order", "o1", placed())
    assert world.flow.orders.orders.counts() == {"placed": 1}
    assert world.flow.orders.parts.counts() == {}, "a fulfilment begins with its payment"
    world.happen("order", "o1", paid(), moved("accepted"), moved("picking"))
    assert world.flow.orders.orders.counts() == {"placed": 0, "paid": 1}
    assert world.flow.orders.parts.state("o1-1") == "picking"
    world.happen("order", "o1", order.FulfilmentPicked("o1-1", T), moved("rider_assigned", who="r"))
    assert world.flow.orders.parts.state("o1-1") == "ready"
    world.happen("order", "o1", moved("picked_up"), order.FulfilmentDelivered("o1-1", T, "r", 0))
    world.happen("order", "o1", order.Completed(T))
    document = world.flow.document()
    assert document["orders"]["open"] == 0
    assert document["fulfilments"]["open"] == 0
    assert document["orders"]["finished"]["completed"] == 1
    assert document["funnel"] == {
        "placed": 1, "confirmed": 1, "accepted": 1, "picking": 1, "ready": 1, "picked_up": 1,
        "delivered": 1, "completed": 1, "cancelled": 0,
    }  # fmt: skip
    assert document["per_second"]["placed"] == pytest.approx(1 / 60, abs=0.001)


def test_rates_forget_what_is_older_than_a_minute() -> None:
    world = World()
    world.happen("order", "o1", placed())
    world.later(61)
    assert world.flow.document()["per_second"]["placed"] == 0


def test_the_oldest_of_each_state_is_known() -> None:
    world = World()
    for number in range(3):
        world.happen("order", f"o{number}", placed(f"o{number}", at=T + number))
    world.happen("order", "o0", paid(T + 5, "o0"))
    world.later(10)
    oldest = world.flow.document()["orders"]["oldest"]
    assert (oldest["placed"]["id"], oldest["placed"]["age_s"]) == ("o1", 9)
    assert (oldest["paid"]["id"], oldest["paid"]["age_s"]) == ("o0", 5)


def test_memory_follows_open_orders() -> None:
    world = World()
    for number in range(3000):
        order_id = f"o{number}"
        world.happen("order", order_id, placed(order_id), paid(T, order_id))
        world.happen("order", order_id, order.Cancelled("customer", "changed mind", T))
    book = world.flow.orders
    assert len(book) == len(book.orders) == len(book.parts) == 0
    assert len(book.orders._deadlines) < 1_500
    assert len(book.parts._deadlines) < 1_500
    assert len(world.flow.anomalies) == 0


def test_an_order_unpaid_beyond_its_expiry_is_stuck_until_it_moves() -> None:
    world = World()
    world.happen("order", "o1", placed())
    world.later(900 + GRACE_S - 1)
    assert world.codes() == []
    world.later(1)
    assert world.codes() == ["stuck-order"]
    world.happen("order", "o1", paid(world.now))
    assert world.codes() == []


@pytest.mark.parametrize(
    ("steps", "wait_s"),
    [
        ([], 300 + GRACE_S),
        (["accepted"], 1200),
        (["accepted", "picking"], 1200),
        (["accepted", "ready"], READY_S),
        (["accepted", "ready", "picked_up"], 2400 + 1800),
    ],
)
def test_a_fulfilment_beyond_the_deadline_of_its_state_is_stuck(
    steps: list[str], wait_s: float
) -> None:
    world = World()
    world.happen("order", "o1", placed(), paid(), *(moved(step) for step in steps))
    world.later(wait_s - 1)
    assert world.codes() == []
    world.later(1)
    assert world.codes() == ["stuck-fulfilment"]
    world.happen("order", "o1", order.FulfilmentDelivered("o1-1", world.now, "r", 0))
    assert world.codes() == []


def test_the_remedy_of_a_ready_parcel_is_a_new_offer() -> None:
    world = World()
    world.happen("order", "o1", placed(), paid(), moved("ready"))
    world.later(READY_S)
    world.flow.advance()
    (anomaly,) = world.flow.anomalies.all()
    assert anomaly.remedies[0].path == "/v1/dispatch/north/parcels/o1-1/reoffer"
    world = World()
    world.happen("order", "o1", placed(), paid(), moved("ready"), moved("rider_assigned", who="r1"))
    world.later(READY_S)
    world.flow.advance()
    (anomaly,) = world.flow.anomalies.all()
    assert anomaly.remedies[0].path == "/v1/riders/r1/parcels/o1-1/unassign"
    assert anomaly.ids["rider_id"] == "r1"


def test_a_parked_fulfilment_offers_reroute_and_close_until_it_has_a_store() -> None:
    world = World()
    world.happen("order", "o1", placed(), paid())
    world.happen("order", "o1", order.FulfilmentParked("o1-1", "rejected", T, T + 1800))
    (shown,) = world.flow.document()["anomalies"].values()
    assert shown["code"] == "parked"
    assert [(one["name"], one["path"]) for one in shown["remedies"]] == [
        ("re-route", "/v1/orders/o1/fulfilments/o1-1/reroute"),
        ("close", "/v1/orders/o1/fulfilments/o1-1/close"),
    ]
    assert shown["remedies"][0]["asks"] == ["why"]
    assert shown["remedies"][0]["optional"] == ["store_id"]
    rerouted = order.FulfilmentRerouted("o1-1", part(2), (), "ops", T)
    world.happen("order", "o1", rerouted)
    assert world.codes() == []
    assert world.flow.orders.parts.state("o1-2") == "new"


def test_a_flagged_payment_and_a_refused_refund_outlive_their_order() -> None:
    world = World()
    world.happen("order", "o1", placed(), order.PaymentFlagged("o1-p1", "sb", 1, "EUR", "amount"))
    world.happen("order", "o1", order.Cancelled("rule", "expired", T))
    world.happen("order", "o1", order.RefundDone("o1-r1", T, "account closed"))
    assert sorted(world.codes()) == ["payment-flagged", "refund-refused"]
    world.happen("order", "o1", order.RefundDone("o1-r1", T))
    assert world.codes() == ["payment-flagged"]


def test_late_fulfilments_are_counted_while_they_are_open() -> None:
    world = World()
    world.happen("order", "o1", placed(), paid(), moved("picked_up"))
    world.later(2401)
    world.flow.advance()
    assert world.flow.document()["fulfilments"]["late"] == 1
    world.happen("order", "o1", order.FulfilmentDelivered("o1-1", world.now, "r", 0))
    assert world.flow.document()["fulfilments"]["late"] == 0


def ticket(fid: str = "o1-1") -> store.TicketOpened:
    return store.TicketOpened(
        store.OpenTicket(fid, "o1", (), "delivery", "EUR", 0, T + 300, T + 2400), T
    )


def test_a_store_with_open_tickets_and_no_tablet_is_an_anomaly() -> None:
    world = World()
    world.flow.presence("store/s-1", "d-1", True)
    world.happen("store", "s-1", ticket())
    world.later(3600)
    assert world.codes() == []
    world.flow.presence("store/s-1", "d-1", False)
    world.later(OFFLINE_S - 1)
    assert world.codes() == []
    world.later(1)
    assert world.codes() == ["tablet-offline"]
    world.flow.presence("store/s-1", "d-1", True)
    assert world.codes() == []
    world.flow.presence("store/s-1", "d-1", False)
    world.happen("store", "s-1", store.TicketClosed("o1-1", "delivered", world.now))
    world.later(OFFLINE_S)
    assert world.codes() == []


def test_with_several_gateways_a_tablet_is_offline_only_if_it_leaves_messages_unread() -> None:
    world = World(only_gateway=False)
    noted = store.Noted((InboxMessage(1, "m", "ticket.opened", T, b"{}"),))
    world.happen("store", "s-1", ticket(), noted, store.DeviceAcknowledged("d-1", 1, T))
    world.later(OFFLINE_S * 2)
    assert world.codes() == []
    world.happen("store", "s-1", store.Noted((InboxMessage(2, "n", "x", T, b"{}"),)))
    assert world.codes() == ["tablet-offline"]


def test_with_several_gateways_a_store_does_not_tell_of_tablets_that_others_may_have() -> None:
    for only_gateway, devices in ((True, 1), (False, msgspec.UNSET)):
        world = World(only_gateway=only_gateway)
        world.flow.presence("store/s-1", "d-1", True)
        document = world.flow.document()
        assert ("devices" in document["stores"]["s-1"]) is only_gateway
        assert msgspec.convert(document, models.Monitor).stores["s-1"].devices == devices


def parcel(parcel_id: str = "o1-1") -> rider.OfferedParcel:
    return rider.OfferedParcel(
        parcel_id, "o1", "s-1", "Corner", HERE, HERE, "", "", "", T, T, 0, "EUR"
    )


def delivered(cash: int) -> rider.ParcelDelivered:
    return rider.ParcelDelivered("o1-1", "o1", cash, cash, 0, "EUR", T)


def test_a_zones_riders_are_those_on_shift_there_and_those_who_left_it_owing() -> None:
    world = World()
    for rider_id, zone in (("r-1", "north"), ("r-2", "north"), ("r-3", "south"), ("r-4", "north")):
        started = rider.ShiftStarted(zone, "bike", HERE, 3, 5_000, None, T)
        world.happen("rider", rider_id, started)
    for rider_id in ("r-2", "r-3"):
        world.happen("rider", rider_id, delivered(900), rider.ShiftEnded(T))
    world.happen("rider", "r-4", rider.ShiftEnded(T))
    seen = [(rider_id, one["cash"]) for rider_id, one in world.flow.fleet.of_zone("north")]
    assert seen == [("r-2", 900), ("r-1", 0)]


def test_riders_show_position_run_and_cash() -> None:
    world = World()
    started = rider.ShiftStarted("north", "bike", HERE, 3, 5_000, None, T)
    taken = rider.ParcelsTaken("f-1", (parcel(),), (), T)
    world.happen("rider", "r-1", started, taken, rider.Moved(Position(52.5, 5.5), T))
    shown = world.flow.document()["riders"]["r-1"]
    assert (shown["lat"], shown["lon"], list(shown["run"])) == (52.5, 5.5, ["o1-1"])
    assert world.flow.fleet.counts() == {"on_shift": 1, "free": 0, "busy": 1, "owing": 0}
    world.happen("rider", "r-1", delivered(5_001))
    assert world.codes() == ["rider-over-cash-limit"]
    world.happen("rider", "r-1", rider.ShiftEnded(T))
    assert "r-1" in world.flow.document()["riders"], "who owes cash stays in sight"
    world.happen("rider", "r-1", rider.Remitted("m-1", 5_001, 5_001, 0, "ops:a", "EUR", T))
    assert world.codes() == []
    assert world.flow.document()["riders"] == {}


def test_an_anomaly_that_lasts_tells_what_is_wrong_now_and_is_sent_again() -> None:
    world = World()
    started = rider.ShiftStarted("north", "bike", HERE, 3, 5_000, None, T)
    world.happen("rider", "r-1", started, delivered(5_001))
    (first,) = world.flow.anomalies.all()
    world.flow.anomalies.dirty.clear()
    world.later(60.0)
    world.happen("rider", "r-1", rider.Moved(Position(52.5, 5.5), T + 60))
    assert not world.flow.anomalies.dirty, "nothing about it has changed"
    world.happen("rider", "r-1", delivered(900))
    assert world.flow.anomalies.dirty == {first.key}
    (now,) = world.flow.anomalies.all()
    assert (now.since, now.ids, now.code) == (first.since, first.ids, first.code)
    assert now.facts["cash"] == 5_901
    assert "5901" in now.detail
    (remedy,) = now.remedies
    assert remedy.body == {"amount": 5_901, "owed": 5_901}


def test_cash_held_is_shown_in_its_own_currency_after_a_paid_parcel_of_another() -> None:
    world = World()
    started = rider.ShiftStarted("north", "bike", HERE, 3, 5_000, None, T)
    paid = rider.ParcelDelivered("o7-1", "o7", 0, 0, 0, "CHF", T)
    world.happen("rider", "r-1", started, delivered(900), paid)
    shown = world.flow.document()["riders"]["r-1"]
    assert (shown["cash"], shown["currency"]) == (900, "EUR")


def test_low_and_negative_stock_are_shown_until_goods_come_in() -> None:
    world = World()
    world.happen("inventory", "s-1", inventory.ReplenishmentSuggested("tea", 3, 5, 20))
    world.happen("inventory", "s-1", inventory.AnomalyFound("tea", -2, ("doc-1", "doc-2")))
    assert world.flow.document()["low_stock"]["s-1/tea"]["suggested_quantity"] == 20
    assert world.codes() == ["negative-stock"]
    left = (inventory.Left("tea", 0),)
    sold = inventory.Deducted("o1-1", (), left)
    world.happen("inventory", "s-1", sold)
    assert world.flow.document()["low_stock"]["s-1/tea"]["sellable"] == 0
    received = inventory.Received("doc-3", (), "", (inventory.Left("tea", 30),))
    world.happen("inventory", "s-1", received)
    assert world.flow.document()["low_stock"] == {}
    assert world.codes() == []


def test_a_ledger_far_behind_is_an_anomaly_until_it_caught_up() -> None:
    world = World()
    world.flow.ledger_lag({"order.0": 9_000, "store.0": 1})
    assert world.codes() == ["ledger-behind"]
    world.flow.ledger_lag({"order.0": 0, "store.0": 0})
    assert world.codes() == []


def story(world: World) -> None:
    """A bit of everything."""
    world.happen("order", "o1", placed(parts=2), paid(), moved("accepted"))
    world.happen("order", "o2", placed("o2"))
    world.happen("order", "o3", placed("o3"), paid(T, "o3"), moved("accepted", T, "o3-1"))
    world.happen("order", "o3", order.CancelRequested("customer", "late", T))
    world.happen("order", "o1", order.FulfilmentParked("o1-2", "rejected", T, T + 1800))
    world.happen("order", "o4", placed("o4"), order.Cancelled("rule", "expired", T))


def test_a_flow_loaded_from_states_counts_as_one_that_saw_all_events() -> None:
    seen = World()
    story(seen)
    states: dict[str, Any] = {}
    for kind, entity, event, _ in seen.history:
        assert kind == "order"
        states[entity] = evolve_order(states.get(entity), event)
    fresh = World()
    for entity, state in states.items():
        fresh.flow.load("order", entity, state)
    fresh.flow.loaded()
    for stages in ("orders", "parts"):
        counts = getattr(seen.flow.orders, stages).counts()
        loaded = getattr(fresh.flow.orders, stages).counts()
        assert {k: v for k, v in counts.items() if v} == {k: v for k, v in loaded.items() if v}
    reached = {step: seen.flow.orders.funnel[step] for step in ("confirmed", "accepted", "picking")}
    assert reached == {step: fresh.flow.orders.funnel[step] for step in reached}
    assert seen.codes() == fresh.codes() == ["parked"]
    for world in (seen, fresh):
        world.later(10_000)
    assert sorted(seen.codes()) == sorted(fresh.codes())
    assert seen.flow.orders.late.keys() == fresh.flow.orders.late.keys()


def test_snapshot_and_deltas_make_the_same_document_as_a_fresh_one() -> None:
    world = World()
    topic = Topic()
    watcher = TopicSession(Outbox(10_000_000), heartbeat_s=10.0, now=0.0)
    watcher.receive('{"frame":"auth","token":"t"}', 0.0)
    watcher.authenticated(0.0, topic.epoch)
    world.flow.refresh(topic)
    topic.join(watcher)
    document: dict[str, Any] = {}

    def check() -> None:
        nonlocal document
        world.flow.advance()
        world.flow.refresh(topic)
        while (frame := watcher.outbox.take()) is not None:
            watcher.outbox.written(frame)
            said = json.loads(frame.text)
            if said["frame"] == "snapshot":
                document = said["data"]
            elif said["frame"] == "delta":
                document = apply_patch(document, said["data"])
        assert document == json.loads(json.dumps(world.flow.document()))

    check()
    recorded = World()
    story(recorded)
    for kind, entity, event, _ in recorded.history:
        world.happen(kind, entity, event)
        check()
    started = rider.ShiftStarted("north", "bike", HERE, 3, 5_000, None, T)
    for event in (started, rider.ParcelsTaken("f-1", (parcel(),), (), T), delivered(9_000)):
        world.happen("rider", "r-1", event)
        check()
    world.happen("store", "s-1", ticket())
    check()
    world.later(4_000)
    check()
    world.happen("rider", "r-1", rider.ShiftEnded(T))
    world.happen("rider", "r-1", rider.Remitted("m", 9_000, 9_000, 0, "a", "EUR", T))
    world.happen("order", "o1", order.Completed(world.now))
    check()
    world.flow.reset()
    world.flow.loaded()
    check()


def test_a_parcel_nobody_collects_is_an_anomaly_until_it_is_collected() -> None:
    world, state = World(), None
    ready = (placed(), paid(), moved("ready"), order.FulfilmentUncollected("o1-1", T + 100))
    for event in ready:
        state = evolve_order(state, event)
    world.happen("order", "o1", *ready)
    assert world.codes() == ["uncollected"]
    other = World()
    assert state is not None
    other.flow.load("order", "o1", state)
    assert other.flow.anomalies.all() == world.flow.anomalies.all()
    world.happen("order", "o1", order.FulfilmentDelivered("o1-1", T + 200, "", 0))
    assert world.codes() == []


def test_cash_above_every_limit_is_an_anomaly_until_somebody_may_collect_it() -> None:
    world, state = World(), None
    offered = OfferedParcel(
        "o1-1", "o1", "s-1", "One", HERE, HERE, "", "", "", T, T, 900, "EUR"
    )  # fmt: skip
    blocked = (
        dispatch.ParcelAdded(dispatch.AddParcel(offered), T),
        dispatch.CashBlocked("o1-1", 900, 500, T),
        dispatch.CashEscalated("o1-1", 900, 500, T + 300),
    )
    for event in blocked:
        state = evolve_zone(state, event)
    world.happen("dispatch", "north", *blocked)
    assert world.codes() == ["cash-over-limits"]
    other = World()
    assert state is not None
    other.flow.load("dispatch", "north", state)
    assert other.flow.anomalies.all() == world.flow.anomalies.all()
    world.happen("dispatch", "north", dispatch.CashUnblocked("o1-1", T + 400))
    assert world.codes() == []
    other.happen("dispatch", "north", dispatch.ParcelLeft("o1-1", "withdrawn", T + 400))
    assert other.codes() == []
