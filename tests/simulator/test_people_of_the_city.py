import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.client import Refusal, Unanswered
from simulator.clock import ServiceClock
from simulator.day import PATIENT, Day
from simulator.geometry import Point
from simulator.people.clerk import Clerk
from simulator.people.customer import Customer
from simulator.people.operator import Operator
from simulator.people.rider import Rider
from simulator.plan import ClerkPlan, Goods, OrderPlan, Plan, RiderPlan, StorePlan
from simulator.world import Handed, World
from tests.fakes.scripted_service import Asked, ScriptedService

SPEED = 5_000.0
MILK = Goods("milk", "Milk", 200, "2000000000015", 1_000, 1_000)
TEA = Goods("tea", "Tea", 300, "2000000000022", 100, 100)
HERE, THERE = Point(4.80, -75.70), Point(4.81, -75.70)
TABLET, PHONE = "/v1/stores/s/socket", "/v1/riders/r/socket"


def an_order(**changes: Any) -> OrderPlan:
    given: dict[str, Any] = {
        "key": "k", "at_s": 0.0, "channel": "app", "customer_id": "c", "name": "", "phone": "",
        "lines": (("milk", 1), ("tea", 2)), "position": THERE,
    }  # fmt: skip
    return OrderPlan(**{**given, **changes})


def a_day(
    service: ScriptedService, order: OrderPlan | None = None, clerk: ClerkPlan | None = None
) -> Day:
    store = StorePlan("s", "Shop", HERE, "z", (), {"milk": 10, "tea": 10}, clerk or ClerkPlan())
    rider = RiderPlan("r", "car", HERE, 0.0, 1e9, "z", 10.0)
    plan = Plan("t", 1, "EUR", (MILK, TEA), (store,), (rider,), (order or an_order(),))
    day = Day(plan, World(plan), ServiceClock(0.0, SPEED), service, lambda role, sub: role + sub)
    day.world.receive("s", store.stock)
    return day


async def until(happened: Callable[[], Any]) -> None:
    """Let the others act until it has happened."""
    async with asyncio.timeout(20.0):
        while not happened():
            await asyncio.sleep(0.005)


async def stop(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


# --- Asking


async def test_a_request_without_an_answer_is_repeated_with_the_same_key() -> None:
    service = ScriptedService()
    busy = Unanswered("busy", 503, "")
    service.when("POST", "/v1/orders", TimeoutError("gone"), busy, {"order_id": "o1"})
    day = a_day(service)
    placed = await day.client("channel", "app").place_order({}, key="same")
    assert placed.order_id == "o1"
    assert [asked.key for asked in service.asked] == ["same"] * 3
    assert day.world.counts["requests repeated"] == 2


async def test_a_refusal_is_not_repeated_and_silence_ends_the_patience() -> None:
    service = ScriptedService()
    service.when("POST", "*/cancel", Refusal("wrong-state", 409, ""))
    service.when("GET", "/v1/orders/o1", TimeoutError("gone"))
    day = a_day(service)
    with pytest.raises(Refusal):
        await day.client("channel", "app").cancel("o1", "changed my mind")
    with pytest.raises(Unanswered):
        await service.client("t", replace(PATIENT, give_up_s=0.0)).order("o1")
    assert len(service.asked) == 2


async def test_what_is_not_worth_a_second_attempt_is_sent_once() -> None:
    service = ScriptedService()
    service.when("PUT", "*/position", Unanswered("busy", 503, ""))
    day = a_day(service)
    with pytest.raises(Unanswered):
        await day.hasty("rider", "r").move("r", 4.8, -75.7)
    assert len(service.asked) == 1
    assert day.world.counts["requests repeated"] == 0


# --- Customers


def _placed(asked: Asked) -> dict[str, Any]:
    return {"order_id": "o1", "payment": asked.body["payment"], "expires_at": None}


async def test_an_impatient_customer_presses_again_and_gets_one_order() -> None:
    service = ScriptedService()
    service.when("POST", "/v1/orders", _placed)
    day = a_day(service, an_order(repeats=2, payment="cod"))
    await Customer(day.plan.orders[0], day).live()
    assert [asked.key for asked in service.asked] == ["k", "k", "k"]
    assert list(day.world.by_order_id) == ["o1"]
    assert day.world.wonders == []


async def test_two_orders_for_one_key_are_a_wonder() -> None:
    service = ScriptedService()
    numbers = iter(range(9))
    service.when(
        "POST", "/v1/orders", lambda asked: _placed(asked) | {"order_id": f"o{next(numbers)}"}
    )
    day = a_day(service, an_order(repeats=1, payment="cod"))
    await Customer(day.plan.orders[0], day).live()
    assert len(day.world.wonders) == 1


async def test_a_customer_pays_at_the_page_as_soon_as_it_is_there() -> None:
    service = ScriptedService()
    service.when("POST", "/v1/orders", _placed)
    opened = {"payment_id": "o1-p1", "pay_url": "/sandbox/pay/o1-p1", "amount": 800}
    service.when("POST", "/v1/orders/o1/payments", opened)
    service.when(
        "POST", "/sandbox/pay/*", Refusal("unknown-payment", 404, ""), {"status": "captured"}
    )
    day = a_day(service)
    await Customer(day.plan.orders[0], day).live()
    assert day.world.traces["k"].paid == {"o1-p1": 800}


async def test_a_customer_who_may_not_pay_cash_pays_online() -> None:
    service = ScriptedService()
    service.when("POST", "/v1/orders", Refusal("cod-denied", 403, ""), _placed)
    service.when("POST", "/v1/orders/o1/payments", Refusal("wrong-state", 409, ""))
    day = a_day(service, an_order(payment="cod"))
    await Customer(day.plan.orders[0], day).live()
    assert [asked.key for asked in service.asked[:2]] == ["k", "k-online"]
    assert service.asked[1].body["payment"] == "online"
    assert day.world.traces["k"].order_id == "o1"


async def test_a_refused_customer_goes_away_and_the_reason_is_kept() -> None:
    service = ScriptedService()
    service.when("POST", "/v1/orders", Refusal("short-stock", 409, ""))
    day = a_day(service)
    await Customer(day.plan.orders[0], day).live()
    assert day.world.traces["k"].refused == "short-stock"
    assert len(service.asked) == 1


async def test_a_late_cancel_waits_until_somebody_picks() -> None:
    service = ScriptedService()
    service.when("POST", "/v1/orders", _placed)
    looks = [
        {"state": "cod_confirmed", "fulfilments": [{"state": state}]}
        for state in ("new", "picking")
    ]
    service.when("GET", "/v1/orders/o1", *looks)
    day = a_day(service, an_order(payment="cod", cancels="late"))
    await Customer(day.plan.orders[0], day).live()
    assert service.steps() == ["orders", "cancel"]
    assert [asked.method for asked in service.asked].count("GET") == 2


# --- Clerks


def progress(state: str, **more: Any) -> dict[str, Any]:
    return {
        "state": state, "cash_due": 0, "rider_id": "", "rider_at_store": False,
        "cancel_asked": False, **more,
    }  # fmt: skip


def a_ticket() -> dict[str, Any]:
    lines = [
        {"line_id": "o1/1", "sku": "milk", "quantity": 1},
        {"line_id": "o1/2", "sku": "tea", "quantity": 2},
    ]
    return {
        "fulfilment_id": "o1-1", "order_id": "o1", "lines": lines, "progress": progress("new"),
    }  # fmt: skip


def serving() -> ScriptedService:
    service = ScriptedService()
    after = {"accept": "accepted", "picking": "picking", "ready": "ready"}
    for step, state in after.items():
        service.when("POST", f"/v1/stores/s/tickets/o1-1/{step}", progress(state))
    return service


async def test_a_clerk_picks_line_by_line_and_packs() -> None:
    service = serving()
    day = a_day(service)
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": a_ticket()})
    await until(lambda: "ready" in service.steps())
    await stop(working)
    assert service.steps() == ["accept", "picking", "1", "2", "ready"]
    assert day.world.shelf("s", "tea") == 8
    assert day.world.tickets_seen["s"] == {"o1-1"}
    assert day.world.wonders == []


async def test_a_short_shelf_is_told_to_the_service_and_kept_in_mind() -> None:
    service = serving()
    day = a_day(service, clerk=ClerkPlan(shorts=1.0))
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": a_ticket()})
    await until(lambda: "ready" in service.steps())
    await stop(working)
    found = [asked.body["quantity"] for asked in service.asked if asked.method == "PUT"]
    assert sum(found) == 2
    assert sum(day.world.missing.values()) == 1


@pytest.mark.parametrize(
    ("ways", "why", "left"),
    [
        (ClerkPlan(substitutes=1.0), "substitute_refused", 20 - 3),
        (ClerkPlan(unwanted=1.0), "unwanted", 20 - 2),
    ],
)
async def test_what_the_customer_lets_go_of_is_told_to_the_service_with_its_reason(
    ways: ClerkPlan, why: str, left: int
) -> None:
    service = serving()
    day = a_day(service, clerk=ways)
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": a_ticket()})
    await until(lambda: "ready" in service.steps())
    await stop(working)
    reasons = [a.body.get("reason") for a in service.asked if a.method == "PUT"]
    assert sorted(reasons) == sorted(["missing", why]), "of a whole line it says nothing"
    assert list(day.world.packed["o1-1"].told.values()) == [(1, why)]
    assert day.world.shelf("s", "milk") + day.world.shelf("s", "tea") == left


async def test_packing_is_undone_when_the_ticket_was_taken_away_meanwhile() -> None:
    service = serving()
    service.when("POST", "*/ready", Refusal("wrong-state", 409, ""))
    day = a_day(service, clerk=ClerkPlan(shorts=1.0))
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": a_ticket()})
    await until(lambda: "ready" in service.steps())
    await until(lambda: not day.world.packed)
    await stop(working)
    assert day.world.shelf("s", "milk") == day.world.shelf("s", "tea") == 10


async def test_a_packed_order_that_is_called_back_is_held_back_and_unpacked() -> None:
    service = serving()
    day = a_day(service)
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": a_ticket()})
    await until(lambda: "ready" in service.steps())
    asked = {"fulfilment_id": "o1-1", "progress": progress("ready", cancel_asked=True)}
    service.push(TABLET, "ticket.cancel_asked", asked)
    await until(lambda: not day.world.packed)
    await stop(working)
    assert service.asked[-1].body == {"held_back": True}
    assert day.world.shelf("s", "tea") == 10


async def test_a_parcel_a_rider_holds_is_not_held_back() -> None:
    service = serving()
    day = a_day(service)
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": a_ticket()})
    await until(lambda: "ready" in service.steps())
    day.world.carry("o1-1", "r")
    asked = {"fulfilment_id": "o1-1", "progress": progress("ready", cancel_asked=True)}
    service.push(TABLET, "ticket.cancel_asked", asked)
    await until(lambda: "held-back" in service.steps())
    await stop(working)
    assert service.asked[-1].body == {"held_back": False}
    assert day.world.shelf("s", "tea") == 8


async def test_a_gap_in_the_tablets_messages_is_a_wonder() -> None:
    service = serving()
    day = a_day(service)
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "store.paused", {"paused": True})
    service.push(TABLET, "store.paused", {"paused": False}, skip=1)
    await until(lambda: day.world.wonders)
    await stop(working)
    assert "got message 3, not 2" in day.world.wonders[0]


async def test_a_rejecting_clerk_touches_no_goods() -> None:
    service = serving()
    service.when("POST", "*/reject", progress("rejected"))
    day = a_day(service, clerk=ClerkPlan(rejects=1.0))
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": a_ticket()})
    await until(lambda: "reject" in service.steps())
    await stop(working)
    assert service.steps() == ["reject"]
    assert day.world.packed == {}


async def test_what_is_due_at_the_counter_is_taken_once_the_code_was_right() -> None:
    service = serving()
    service.when("GET", "/v1/stores/s/tickets/o1-1", {"cash_due": 800, "lines": []})
    day = a_day(service)
    day.world.acknowledge(day.world.traces["k"], "o1", 1.0)
    day.world.pack("s", "o1-1", [("milk", 1, 1)])
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    day.world.counters["s"].put_nowait(Handed("collect", "o1-1", "1234"))
    await until(lambda: day.world.first_delivered_at)
    await stop(working)
    assert service.asked[-1].body == {"code": "1234", "cash": 800}
    assert (day.world.tills["s"], day.world.traces["k"].cash) == (800, 800)


# --- Riders


class Dispatching(ScriptedService):
    """A rider's side of the service: one offer of one parcel, and its run."""

    def __init__(self, cash_due: int = 0) -> None:
        super().__init__()
        self.state = ""
        self.cash_due = cash_due
        moves = {
            "offers/of1/accept": "accepted", "parcels/o1-1/arrive-at-store": "at_store",
            "parcels/o1-1/pick-up": "picked_up", "parcels/o1-1/arrive-at-customer": "at_customer",
            "parcels/o1-1/deliver": "", "parcels/o1-1/fail": "returning",
        }  # fmt: skip
        for path, state in moves.items():
            self.when("POST", f"/v1/riders/r/{path}", self._moves_to(state))
        self.when("GET", "/v1/riders/r", lambda _asked: self.run())

    def offer(self, day: Day, for_s: float = 5_000.0) -> None:
        """Propose the parcel."""
        expires_at = day.clock.rfc3339(day.clock.now() + for_s)
        offer = {"offer_id": "of1", "expires_at": expires_at, "parcels": []}
        self.push(PHONE, "offer.opened", {"offer": offer})

    def run(self) -> dict[str, Any]:
        """The run as it is now."""
        if not self.state:
            return {"parcels": [], "stops": []}
        parcel = {
            "parcel_id": "o1-1", "store_id": "s", "pick_up": HERE.as_json(),
            "drop_off": THERE.as_json(), "cash_due": self.cash_due,
        }  # fmt: skip
        kinds = {"returning": ["return"], "picked_up": ["drop_off"], "at_customer": ["drop_off"]}
        stops = [{"kind": kind, "parcel_id": "o1-1"} for kind in
                 kinds.get(self.state, ["pick_up", "drop_off"])]  # fmt: skip
        run = {"parcel": parcel, "state": self.state, "cash_due": self.cash_due}
        return {"parcels": [run], "stops": stops}

    def _moves_to(self, state: str) -> Callable[[Asked], Any]:
        def move(_asked: Asked) -> Any:
            self.state = state
            return self.run()

        return move


def riding(service: Dispatching, order: OrderPlan, **ways: Any) -> tuple[Day, asyncio.Task[None]]:
    day = a_day(service, order)
    day.world.acknowledge(day.world.traces["k"], "o1", 1.0)
    day.world.pack("s", "o1-1", [("milk", 1, 1)])
    plan = RiderPlan("r", "car", HERE, 0.0, 1e9, "z", 10.0, stays=True, **ways)
    return day, asyncio.create_task(Rider(plan, day).work())


async def test_a_rider_delivers_gives_change_and_hands_the_cash_in() -> None:
    service = Dispatching(cash_due=1_830)
    day, working = riding(service, an_order(payment="cod", note_value=1_000))
    service.offer(day)
    await until(lambda: day.world.first_delivered_at)
    day.over.set()
    await asyncio.wait_for(working, 20.0)
    steps = [step for step in service.steps() if step != "position"]
    assert steps == [
        "shift", "accept", "arrive-at-store", "pick-up", "arrive-at-customer", "deliver", "end",
        "remittances",
    ]  # fmt: skip
    delivered = next(asked for asked in service.asked if asked.step == "deliver")
    assert delivered.body == {"cash_received": 2_000, "change": 170}
    assert day.world.traces["k"].cash == 1_830
    assert day.world.pockets["r"] == 0
    assert [(r.owed, r.amount) for r in day.world.remittances] == [(1_830, 1_830)]
    assert day.world.carriers == {"o1-1": "r"}


async def test_a_rider_waits_at_the_counter_until_the_parcel_is_packed() -> None:
    service = Dispatching()
    service.when("POST", "*/pick-up", Refusal("not-ready", 409, ""), service._moves_to("picked_up"))
    day, working = riding(service, an_order())
    service.offer(day)
    await until(lambda: day.world.first_delivered_at)
    await stop(working)
    pressed = [asked for asked in service.asked if asked.step == "pick-up"]
    assert len(pressed) == 2
    assert len({asked.key for asked in pressed}) == 2


async def test_a_refused_parcel_goes_back_to_the_counter_of_its_store() -> None:
    service = Dispatching(cash_due=500)
    day, working = riding(service, an_order(payment="cod", door="refused"))
    service.offer(day)
    handed = await asyncio.wait_for(day.world.counters["s"].get(), 20.0)
    service.state = ""
    handed.done.set()
    day.over.set()
    await asyncio.wait_for(working, 20.0)
    assert (handed.kind, handed.fulfilment_id) == ("return", "o1-1")
    assert next(a.body for a in service.asked if a.step == "fail") == {"reason": "refused"}
    assert day.world.traces["k"].cash == 0


async def test_a_rider_who_declines_carries_nothing() -> None:
    service = Dispatching()
    day, working = riding(service, an_order(), declines=1.0)
    service.offer(day)
    await until(lambda: "decline" in service.steps())
    day.over.set()
    await asyncio.wait_for(working, 20.0)
    assert day.world.carriers == {}
    assert day.world.counts["offers declined"] == 1


async def test_a_short_offer_is_answered_before_it_expires() -> None:
    service = Dispatching()
    day, working = riding(service, an_order())
    service.offer(day, for_s=SPEED * 5.0)
    await until(lambda: "accept" in service.steps())
    await stop(working)
    assert day.world.counts["offers seen too late"] == 0


async def test_a_phone_without_network_comes_back_and_the_run_goes_on() -> None:
    service = Dispatching()
    day, working = riding(service, an_order(), goes_dark=1.0)
    service.offer(day)
    await until(lambda: day.world.first_delivered_at)
    await stop(working)
    assert day.world.counts["phones without network"] == 1


async def test_a_rider_who_went_home_leaves_no_socket_open() -> None:
    service = Dispatching()
    day, working = riding(service, an_order())
    await until(lambda: "phone-r" in service.connected)
    day.over.set()
    await asyncio.wait_for(working, 20.0)
    assert service.connected == set()


async def test_a_shift_that_is_over_before_it_began_is_left_out() -> None:
    service = Dispatching()
    day = a_day(service)
    plan = RiderPlan("r", "car", HERE, 0.0, 30.0, "z", 10.0)
    await asyncio.wait_for(Rider(plan, day).work(), 5.0)
    assert service.asked == []
    assert day.world.counts["shifts over before they could begin"] == 1


# --- Operations


async def test_operations_fills_in_the_blanks_of_the_remedy_beside_the_anomaly() -> None:
    service = ScriptedService()
    remedies = [
        {"name": "re-route", "method": "POST", "path": "/v1/orders/o1/fulfilments/o1-1/reroute",
         "body": {}, "asks": ["store_id", "why"]},
        {"name": "close", "method": "POST", "path": "/v1/orders/o1/fulfilments/o1-1/close",
         "body": {}, "asks": ["why"]},
    ]  # fmt: skip
    anomaly = {"code": "parked", "key": "parked:o1-1", "ids": {}, "remedies": remedies}
    service.when("GET", "/v1/anomalies", {"items": [anomaly]})
    day = a_day(service)
    working = asyncio.create_task(Operator(day).work())
    await until(lambda: "close" in service.steps())
    await stop(working)
    assert service.steps() == ["reroute", "reroute", "close"]
    first = next(asked for asked in service.asked if asked.step == "reroute")
    assert first.body == {"store_id": "", "why": "simulated operations"}


async def test_cash_due_that_changed_at_the_last_moment_is_looked_up_anew() -> None:
    service = serving()
    path = "/v1/stores/s/tickets/o1-1"
    service.when("GET", path, {"cash_due": 800, "lines": []}, {"cash_due": 600, "lines": []})
    service.when("POST", f"{path}/collect", Refusal("wrong-cash", 409, ""), {})
    day = a_day(service)
    day.world.acknowledge(day.world.traces["k"], "o1", 1.0)
    day.world.pack("s", "o1-1", [("milk", 1, 1)])
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    day.world.counters["s"].put_nowait(Handed("collect", "o1-1", "1234"))
    await until(lambda: day.world.first_delivered_at)
    await stop(working)
    pressed = [asked for asked in service.asked if asked.step == "collect"]
    assert [asked.body["cash"] for asked in pressed] == [800, 600]
    assert len({asked.key for asked in pressed}) == 2
    assert day.world.tills["s"] == 600


async def test_one_ticket_that_goes_wrong_does_not_close_the_shop() -> None:
    service = serving()
    day = a_day(service)
    working = asyncio.create_task(Clerk(day.plan.stores[0], day).work())
    service.push(TABLET, "ticket.opened", {"ticket": {**a_ticket(), "lines": [{}]}})
    service.push(TABLET, "ticket.opened", {"ticket": {**a_ticket(), "fulfilment_id": "o2-1"}})
    for step, state in (("accept", "accepted"), ("picking", "picking"), ("ready", "ready")):
        service.when("POST", f"/v1/stores/s/tickets/o2-1/{step}", progress(state))
    await until(lambda: "o2-1" in day.world.packed)
    await stop(working)
    assert len(day.world.wonders) == 1
