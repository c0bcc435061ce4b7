"""The gate before orders, over HTTP and the whole engine: queue, limits, blocks, hoarding."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from adapters.rate_limits import MemoryRateLimits, parse_limit
from domain.customer.commands import GetStanding
from domain.errors import Busy
from domain.notice import Notify
from domain.order.events import Cancelled
from orchestrator.api.app import create_app
from tests.fakes.engine_world import EngineWorld, engine_world
from tests.orchestrator.test_api_engine import opened, until, wish

QUEUE = {"sku": "MILK", "per_s": 1.0, "burst": 2, "valid_s": 60}


async def place(
    world: EngineWorld, key: str, customer: str = "c-1", device: str = "", **change: Any
) -> httpx.Response:
    body = wish(1, **change)
    body["customer"] = {**body["customer"], "customer_id": customer}
    headers = {"authorization": f"Bearer {world.tokens.issue('channel', 'app')}"}
    headers |= {"idempotency-key": key} | ({"device-id": device} if device else {})
    return await world.http.post("/v1/orders", json=body, headers=headers)


async def join(world: EngineWorld, key: str, customer: str = "c-1", **target: str) -> Any:
    body = {"customer_id": customer, **(target or {"sku": "MILK"})}
    return await world.call("POST", "/v1/queue", "channel", "app", body, key)


@pytest.mark.parametrize("customer", [" c", "c/1", "c?x", "c#x", "c%2F", "..", "c" * 65])
async def test_a_customers_id_follows_the_rule_of_ids_wherever_it_comes_in(customer: str) -> None:
    async with engine_world() as world:
        await queued(world)
        joined = await join(world, "k-1", customer)
        body = {"customer_id": customer, "passed": True}
        answered = await world.call(
            "POST", "/v1/risk/challenges/q-1/answers", "channel", "app", body, "k-2"
        )
        for refused in (joined, answered):
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")
            assert refused.json()["errors"][0]["field"] == "customer_id"


@pytest.mark.parametrize("customer", ["c-1", "a@b.c", "用户&1", "c;1=2+3"])
async def test_whoever_ordered_has_a_risk_record_that_can_be_read(customer: str) -> None:
    async with engine_world() as world:
        await opened(world, 5)
        assert (await place(world, "k-1", customer)).status_code == 201
        path = f"/v1/risk/customers/{quote(customer, safe='')}"
        record = await world.call("GET", path, "ops", "ana")
        assert (record.status_code, record.json()["customer_id"]) == (200, customer)


async def queued(world: EngineWorld, units: int = 100) -> None:
    """Milk is sold by the queue."""
    await opened(world, units)
    body = {"queues": [QUEUE]}
    put = await world.call("PUT", "/v1/channels/app", "ops", "ana", body)
    assert put.json()["queues"][0]["per_s"] == 1.0
    await until(world, "/v1/channels/app", "ops", "ana", lambda shown: shown["queues"])


def code_of(answer: httpx.Response) -> str:
    return "" if answer.status_code < 300 else str(answer.json()["code"])


async def locked(world: EngineWorld) -> int:
    stock = (await world.call("GET", "/v1/stores/s-1/stock", "store", "s-1")).json()
    return int(stock["items"][0]["locked"])


# The queue --------------------------------------------------------------------------------------


async def test_an_order_needs_the_token_of_its_queue_and_a_token_places_one_order() -> None:
    async with engine_world() as world:
        await queued(world)
        missing = await place(world, "k-0")
        assert (missing.status_code, code_of(missing)) == (403, "queue-token-missing")
        assert missing.json()["targets"] == ["sku:MILK"]
        token = (await join(world, "q-1")).json()["token"]
        first = await place(world, "k-1", queue_token=token)
        again = await place(world, "k-1", queue_token=token)
        other = await place(world, "k-2", queue_token=token)
        assert first.status_code == again.status_code == 201, first.text
        assert first.json() == again.json()
        assert (other.status_code, code_of(other)) == (409, "queue-token-used")
        same = (await join(world, "q-2")).json()["token"]
        assert code_of(await place(world, "k-3", queue_token=same)) == "queue-token-used"
        assert await locked(world) == 1


async def test_a_token_is_used_once_however_many_orders_race_for_it() -> None:
    async with engine_world() as world:
        await queued(world)
        token = (await join(world, "q-1")).json()["token"]
        answers = await asyncio.gather(
            *(place(world, f"k-{number}", queue_token=token) for number in range(8))
        )
        codes = sorted(code_of(answer) for answer in answers)
        assert codes == ["", *["queue-token-used"] * 7]
        assert await locked(world) == 1


async def test_a_token_is_for_its_customer_and_its_time_and_its_repeat_is_answered_later() -> None:
    async with engine_world() as world:
        await queued(world)
        places = [(await join(world, f"q-{n}", f"c-{n}")).json() for n in range(1, 4)]
        assert [one["position"] for one in places] == [0, 0, 1]
        stolen = await place(world, "k-1", "c-2", queue_token=places[0]["token"])
        forged = await place(world, "k-2", queue_token="a.b")
        early = await place(world, "k-3", "c-3", queue_token=places[2]["token"])
        assert code_of(stolen) == "queue-token-foreign"
        assert code_of(forged) == "queue-token-invalid"
        assert (code_of(early), early.headers["retry-after"]) == ("queue-token-early", "1")
        world.clock.advance(1.0)
        assert not code_of(await place(world, "k-3", "c-3", queue_token=places[2]["token"]))
        first = await place(world, "k-4", "c-1", queue_token=places[0]["token"])
        world.clock.advance(60.0)
        again = await place(world, "k-4", "c-1", queue_token=places[0]["token"])
        assert again.json() == first.json()
        late = await place(world, "k-5", "c-2", queue_token=places[1]["token"])
        assert code_of(late) == "queue-token-expired"
        assert await locked(world) == 2


async def test_a_channel_that_lets_customers_in_slowly_keeps_those_of_no_other_waiting() -> None:
    async with engine_world() as world:
        await queued(world)
        slow = {"queues": [{**QUEUE, "per_s": 0.01, "burst": 1}]}
        await world.call("PUT", "/v1/channels/mini", "ops", "ana", slow)
        await until(world, "/v1/channels/mini", "ops", "ana", lambda shown: shown["queues"])
        for number in range(3):
            body = {"customer_id": f"m-{number}", "sku": "MILK"}
            put = await world.call("POST", "/v1/queue", "channel", "mini", body, f"m-{number}")
            assert put.json()["position"] == number
        mine = [(await join(world, f"q-{n}", f"c-{n}")).json() for n in range(4)]
        assert [one["position"] for one in mine] == [0, 0, 1, 2]
        foreign = await place(world, "k-0", "m-0", queue_token=put.json()["token"])
        assert code_of(foreign) == "queue-token-foreign"
        assert not code_of(await place(world, "k-1", "c-1", queue_token=mine[1]["token"]))
        used = await place(world, "k-2", "c-1", queue_token=mine[1]["token"])
        assert code_of(used) == "queue-token-used"


async def test_a_refused_order_leaves_its_token_good() -> None:
    async with engine_world() as world:
        await queued(world)
        token = (await join(world, "q-1")).json()["token"]
        wrong = await place(world, "k-1", queue_token=token, expected_total=1)
        assert code_of(wrong) == "wrong-total"
        assert not code_of(await place(world, "k-2", queue_token=token))


async def test_a_repeat_of_queueing_is_answered_though_the_queues_rule_was_changed() -> None:
    async with engine_world() as world:
        await queued(world)
        first = await join(world, "q-1")
        faster = {"queues": [{**QUEUE, "per_s": 2.0}]}
        await world.call("PUT", "/v1/channels/app", "ops", "ana", faster)
        await until(
            world, "/v1/channels/app", "ops", "ana", lambda shown: shown["queues"][0]["per_s"] == 2
        )
        again = await join(world, "q-1")
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert code_of(await join(world, "q-1", customer="c-2")) == "idempotency-key-reused"


async def test_what_has_no_queue_is_told_so() -> None:
    async with engine_world() as world:
        await opened(world)
        assert code_of(await join(world, "q-1")) == "queue-not-required"
        assert code_of(await join(world, "q-2", sku="GOLD")) == "unknown-sku"
        assert code_of(await join(world, "q-3", campaign_id="none")) == "unknown-campaign"
        both = await join(world, "q-4", sku="MILK", campaign_id="c")
        assert (both.status_code, code_of(both)) == (422, "invalid-request")


async def test_a_campaign_with_a_queue_lets_nobody_in_before_it_starts() -> None:
    async with engine_world() as world:
        await opened(world, 20)
        now = world.clock.now()
        body = {
            "name": "Sale", "sku": "MILK", "price": 500, "currency": "EUR",
            "starts_at": _text(now + 100), "ends_at": _text(now + 1_000),
            "quota": [{"store_id": "s-1", "units": 5}], "queue": {"per_s": 1, "burst": 1},
        }  # fmt: skip
        made = await world.call("POST", "/v1/campaigns", "ops", "ana", body, "sale")
        assert made.json()["queue"]["burst"] == 1, made.text
        campaign_id = made.json()["campaign_id"]
        while world.views.campaigns.get(campaign_id) is None or (
            world.views.campaigns[campaign_id].unanswered
        ):
            await asyncio.sleep(0)
        first = (await join(world, "q-1", campaign_id=campaign_id)).json()
        second = (await join(world, "q-2", "c-2", campaign_id=campaign_id)).json()
        waits = [_seconds(one["admitted_at"]) - now for one in (first, second)]
        assert waits == pytest.approx([100.0, 101.0])
        world.clock.advance(100.0)
        without = await place(world, "k-1", campaign_id=campaign_id)
        assert code_of(without) == "queue-token-missing"
        sold = await place(world, "k-2", campaign_id=campaign_id, queue_token=first["token"])
        assert sold.status_code == 201, sold.text


def asked_of(world: EngineWorld) -> list[str]:
    """Fills with what is asked of whom from now on, such as ``order.get.v1 of order``."""
    asked: list[str] = []
    ask = world.runtime.ask

    async def listening(to: str, command: Any, **more: Any) -> Any:
        kind = to.partition("/")[0]
        asked.append(f"{type(command).__struct_config__.tag} of {kind}")
        return await ask(to, command, **more)

    world.runtime.ask = listening  # type: ignore[method-assign]
    return asked


@asynccontextmanager
async def following(world: EngineWorld, app: Any = None) -> AsyncIterator[None]:
    """A gateway that follows the journals, and has learnt which orders were placed."""
    fastapi = (app or world.app).fastapi
    async with fastapi.router.lifespan_context(fastapi):
        while fastapi.state.desk.gate.placed.may_hold("o-never-placed"):
            await asyncio.sleep(0)
        yield


async def test_who_is_refused_asks_no_order_but_who_repeats_a_placing_gets_its_first_answer() -> (
    None
):
    async with engine_world() as world, following(world):
        await queued(world)
        token = (await join(world, "q-1")).json()["token"]
        late = (await join(world, "q-2", "c-2")).json()["token"]
        first = await place(world, "k-1", queue_token=token)
        world.clock.advance(60.0)
        asked = asked_of(world)
        for number in range(8):
            assert code_of(await place(world, f"k-{number}")) == "queue-token-missing"
            expired = await place(world, f"k-{number}", "c-2", queue_token=late)
            assert code_of(expired) == "queue-token-expired"
        assert asked == [], "neither is on its way to an order that there is"
        again = await place(world, "k-1", queue_token=token)
        assert (again.status_code, again.json()) == (201, first.json())
        assert asked == ["order.get.v1 of order", "order.place.v1 of order"]


async def test_a_gateway_knows_the_orders_of_the_others_and_those_from_before_it_began() -> None:
    async with engine_world() as world, following(world):
        await opened(world)
        first = {key: (await place(world, key, f"c-{key}")).json() for key in ("k-1", "k-2")}
        other = create_app(world.app.fastapi.state.desk.service, world.tokens)
        async with following(world, other):
            first["k-3"] = (await place(world, "k-3", "c-k-3")).json()
            placed = other.fastapi.state.desk.gate.placed
            while not placed.may_hold(first["k-3"]["order_id"]):
                await asyncio.sleep(0)
            await world.call("PUT", "/v1/channels/app", "ops", "ana", {"queues": [QUEUE]})
            await until(world, "/v1/channels/app", "ops", "ana", lambda shown: shown["queues"])
            asked = asked_of(world)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=other), base_url="http://doorstep"
            ) as world.http:
                for key, answer in first.items():
                    again = await place(world, key, f"c-{key}")
                    assert (again.status_code, again.json()) == (201, answer)
                asked.clear()
                assert code_of(await place(world, "k-4")) == "queue-token-missing"
            assert asked == []


# Rate limits ------------------------------------------------------------------------------------


async def test_too_many_placings_of_one_customer_are_told_when_to_come_back() -> None:
    limit = parse_limit("2/minute")
    assert limit is not None
    async with engine_world(MemoryRateLimits({("place", "account"): limit})) as world:
        await opened(world)
        for number in range(2):
            assert not code_of(await place(world, f"k-{number}"))
        refused = await place(world, "k-3")
        assert (refused.status_code, code_of(refused)) == (429, "too-many-requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit-policy"] == '"account";q=2;w=60'
        assert refused.headers["ratelimit"].startswith('"account";r=0;t=')
        assert not code_of(await place(world, "k-4", "c-2"))
        assert await locked(world) == 3


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [("203.0.113.9", "::ffff:203.0.113.9", "203.0.113.10"),
     ("2001:db8:0:7::1", "2001:db8:0:7:ffff::2", "2001:db8:0:8::1")],
)  # fmt: skip
async def test_an_address_is_counted_once_however_written_and_ipv6_by_its_site(
    one: str, same: str, other: str
) -> None:
    limit = parse_limit("1/minute")
    assert limit is not None
    async with engine_world(MemoryRateLimits({("place", "address"): limit})) as world:
        gate = world.app.fastapi.state.desk.gate
        await gate.limit("place", {"client": (one, 1)}, {})
        await gate.limit("place", {"client": (other, 1)}, {})
        with pytest.raises(Busy, match="too-many-requests"):
            await gate.limit("place", {"client": (same, 1)}, {})


# Risk -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [("customer", "c-1"), ("phone", "+4915112345678"), ("device", "phone-77"),
     ("address", "127.0.0.0/8")],
)  # fmt: skip
async def test_who_is_blocked_is_denied_before_anything_is_locked(kind: str, value: str) -> None:
    async with engine_world() as world:
        await opened(world)
        path = f"/v1/risk/blocks/{kind}/{value}"
        first = await place(world, "k-1", device="phone-77")
        body = {"why": "bought out the sale"}
        assert (await world.call("PUT", path, "ops", "ana", body)).status_code == 200
        await until(world, "/v1/risk/blocks", "ops", "ana", lambda shown: shown["items"])
        denied = await place(world, "k-2", device="phone-77")
        assert (denied.status_code, code_of(denied)) == (403, "risk-denied")
        assert denied.json()["reasons"] == [f"blocked-{kind}"]
        again = await place(world, "k-1", device="phone-77")
        assert again.json() == first.json()
        assert await locked(world) == 1
        kept = await world.call("GET", "/v1/risk/customers/c-1", "ops", "ana")
        (decision,) = kept.json()["decisions"]
        assert (decision["decision"], decision["device_id"]) == ("deny", "phone-77")
        lifted = await world.call("DELETE", f"{path}?why=sorry", "ops", "ana")
        assert lifted.status_code == 200, lifted.text
        await until(world, "/v1/risk/blocks", "ops", "ana", lambda shown: not shown["items"])
        assert not code_of(await place(world, "k-3", device="phone-77"))


async def test_who_holds_stock_unpaid_is_challenged_and_let_through_when_cleared() -> None:
    async with engine_world() as world:
        await opened(world, 30)
        for number in range(4):
            assert not code_of(await place(world, f"k-{number}"))
        asked = await place(world, "k-4")
        assert (asked.status_code, code_of(asked)) == (428, "challenge-required")
        assert asked.json()["reasons"] == ["unpaid-orders"]
        challenge = asked.json()["challenge"]
        assert challenge["kind"] == "channel"
        path = f"/v1/risk/challenges/{challenge['challenge_id']}/answers"
        body = {"customer_id": "c-1", "passed": True}
        passed = await world.call("POST", path, "channel", "app", body, "p-1")
        clearance = passed.json()["clearance"]
        assert not code_of(await place(world, "k-4", clearance=clearance))
        assert code_of(await place(world, "k-5", clearance="a.b")) == "challenge-required"
        for number in range(5, 10):
            assert not code_of(await place(world, f"k-{number}", clearance=clearance))
        assert code_of(await place(world, "k-10", clearance=clearance)) == "risk-denied"
        other = await place(world, "k-11", "c-2", clearance=clearance)
        assert not code_of(other)
        assert await locked(world) == 11


@pytest.mark.parametrize("given", [{}, {"passed": False}, {"code": "123456"}], ids=str)
async def test_a_challenge_that_the_channel_does_not_call_passed_is_failed(
    given: dict[str, Any],
) -> None:
    async with engine_world() as world:
        await opened(world, 30)
        for number in range(4):
            await place(world, f"k-{number}")
        challenge = (await place(world, "k-4")).json()["challenge"]
        path = f"/v1/risk/challenges/{challenge['challenge_id']}/answers"
        body = {"customer_id": "c-1", **given}
        failed = await world.call("POST", path, "channel", "app", body, "p-1")
        assert (failed.status_code, code_of(failed)) == (403, "challenge-failed")
        assert "has not passed" in failed.json()["detail"]
        assert "clearance" not in failed.json()
        body = {"customer_id": "c-1", "passed": True}
        passed = await world.call("POST", path, "channel", "app", body, "p-2")
        clearance = passed.json()["clearance"]
        assert not code_of(await place(world, "k-5", clearance=clearance))


async def test_a_burst_of_one_customer_is_counted_while_it_is_under_way() -> None:
    async with engine_world() as world:
        await opened(world, 50)
        answers = await asyncio.gather(*(place(world, f"k-{number}") for number in range(20)))
        codes = [code_of(answer) for answer in answers]
        assert codes.count("") == 4
        assert set(codes) == {"", "challenge-required"}
        assert await locked(world) == 4


@pytest.mark.parametrize("said", [False, True])
async def test_a_code_is_sent_to_the_customer_and_no_guess_passes(said: bool) -> None:
    async with engine_world() as world:
        await opened(world, 30)
        await world.call("PUT", "/v1/channels/app", "ops", "ana", {"challenge": "code"})
        await until(
            world, "/v1/channels/app", "ops", "ana", lambda shown: shown["challenge"] == "code"
        )
        for number in range(4):
            await place(world, f"k-{number}")
        challenge = (await place(world, "k-4")).json()["challenge"]
        assert challenge["kind"] == "code"
        while not world.owed:
            await asyncio.sleep(0)
        (notice,) = world.owed
        assert isinstance(notice, Notify)
        assert (notice.audience, notice.template) == ("customer:c-1", "challenge-code")
        path = f"/v1/risk/challenges/{challenge['challenge_id']}/answers"
        for given in ({"passed": True}, {"code": "00000"}, {"passed": True, "code": "00000"}):
            body = {"customer_id": "c-1", **given}
            wrong = await world.call("POST", path, "channel", "app", body, str(given))
            assert (wrong.status_code, code_of(wrong)) == (403, "challenge-failed")
        body = {"customer_id": "c-1", "passed": said, "code": notice.facts["code"]}
        passed = await world.call("POST", path, "channel", "app", body, "p-3")
        clearance = passed.json()["clearance"]
        assert not code_of(await place(world, "k-5", clearance=clearance))


async def test_who_lets_orders_expire_again_and_again_is_challenged_by_the_customers_record() -> (
    None
):
    async with engine_world() as world:
        await opened(world, 30)
        for number in range(3):
            placed = (await place(world, f"k-{number}")).json()
            world.clock.advance(901.0)
            shown = await until(
                world, f"/v1/orders/{placed['order_id']}", "channel", "app",
                lambda order: order["state"] == "cancelled",
            )  # fmt: skip
            assert shown["reason"] == "unpaid"
            await _follow(world, placed["order_id"])
        asked = await place(world, "k-9")
        assert (code_of(asked), asked.json()["reasons"]) == (
            "challenge-required", ["expired-share"],
        )  # fmt: skip
        assert not code_of(await place(world, "k-10", "c-2"))


async def test_who_cancels_order_after_order_just_before_they_expire_is_challenged() -> None:
    async with engine_world() as world:
        await opened(world, 30)
        for number in range(3):
            placed = (await place(world, f"k-{number}")).json()
            world.clock.advance(899.0)
            path = f"/v1/orders/{placed['order_id']}/cancel"
            body = {"reason": "changed my mind"}
            gone = await world.call("POST", path, "channel", "app", body, f"x-{number}")
            assert gone.json()["state"] == "cancelled", gone.text
            await _follow(world, placed["order_id"], "customer")
        asked = await place(world, "k-9")
        assert (code_of(asked), asked.json()["reasons"]) == (
            "challenge-required", ["expired-share"],
        )  # fmt: skip


async def test_a_device_of_many_customers_is_challenged() -> None:
    async with engine_world() as world:
        await opened(world, 30)
        codes = [
            code_of(await place(world, f"k-{n}", f"c-{n}", device="phone-77")) for n in range(6)
        ]
        assert codes == ["", "", "", "", "challenge-required", "challenge-required"]
        assert not code_of(await place(world, "k-9", "c-9", device="phone-78"))


async def test_an_ordinary_order_asks_nobody_but_itself() -> None:
    async with engine_world() as world:
        await opened(world, 30)
        asked = asked_of(world)
        await place(world, "k-1", device="phone-1")
        await place(world, "k-2", "c-2")
        assert asked == ["order.place.v1 of order"] * 2


async def _follow(world: EngineWorld, order_id: str, by: str = "timeout") -> None:
    """What the gateway's tail would tell, and the customer's record to be written."""
    gate = world.app.fastapi.state.desk.gate
    gate.holdings.apply("order", order_id, Cancelled(by, "unpaid", 0.0), 0.0)
    assert gate.holdings.left_unpaid("c-1")
    before = getattr(world, "unpaid_before", 0)
    while True:
        standing = await world.runtime.ask(
            "customer/c-1", GetStanding(), command_id=f"s-{asyncio.get_running_loop().time()}"
        )
        if standing.left_unpaid > before:
            world.unpaid_before = standing.left_unpaid  # type: ignore[attr-defined]
            return
        await asyncio.sleep(0)


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
