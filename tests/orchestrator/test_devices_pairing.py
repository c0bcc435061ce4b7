"""Pairing and browser sessions, over the real engine in process."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from actors import device
from actors.engine.kind import Context
from actors.views import Views
from domain.device.commands import CreateCode, EndSession, Pairing, RedeemCode, RenewSession
from domain.errors import Refused
from orchestrator import sessions
from orchestrator.api import snapshot
from orchestrator.api.devices import WRONG_TRIES_MAX
from tests.fakes.api_world import ApiWorld
from tests.fakes.manual_clock import ManualClock

STORE = {"doorstep-requested-with": "store"}


class Codes:
    """The device actors behind a scripted runtime: real decisions, kept in a dictionary."""

    def __init__(self, world: ApiWorld) -> None:
        self.states: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}
        self.world = world
        self.views = Views(pickup_secret=b"pick-up")
        world.views.sessions = self.views.sessions
        for command in (CreateCode, RedeemCode, RenewSession, EndSession):
            world.runtime.replies[command] = self.answer

    def answer(self, to: str, command: Any) -> Any:
        command_id = self.world.runtime.asked[-1].command_id
        if command_id and (to, command_id) in self.answers:
            return self.answers[to, command_id]
        now, session_id = self.world.clock.now(), to.partition("/")[2]
        decision = device.KIND.decide(
            self.states.get(to), command, Context(now, session_id, command_id)
        )
        for event in decision.events:
            self.states[to] = device.KIND.evolve(self.states.get(to), event)
            self.views.apply("device", session_id, event, now)
        self.answers[to, command_id] = decision.reply
        return decision.reply


@pytest.fixture
def world() -> ApiWorld:
    made = ApiWorld()
    Codes(made)
    return made


async def code_of(
    world: ApiWorld, role: str = "store", subject: str = "s-1", *, key: str = "give", **more: Any
) -> str:
    body = {"role": role, "subject": subject, **more}
    answer = await world.call("POST", "/v1/devices/codes", "ops", key=key, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["code"])


async def pair(world: ApiWorld, code: str, key: str = "pair", **more: Any) -> httpx.Response:
    return await world.call("POST", "/v1/devices/pair", key=key, json={"code": code, **more})


async def test_a_code_makes_a_browser_a_stores_device_and_no_script_can_read_its_token(
    world: ApiWorld,
) -> None:
    paired = await pair(world, await code_of(world), device_name="Counter")
    assert paired.json()["role"] == "store"
    assert paired.json()["subject"] == "s-1"
    cookie = paired.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert cookie.split("=", 1)[1].split(";")[0] not in paired.text
    me = await world.call("GET", "/v1/devices/me", headers=STORE)
    assert (me.status_code, me.json()["subject"]) == (200, "s-1")
    ticket = await world.call("GET", "/v1/stores/s-1/tickets", headers=STORE)
    assert ticket.status_code == 200


async def test_a_code_works_once_and_a_lost_answer_can_be_asked_for_again(world: ApiWorld) -> None:
    code = await code_of(world)
    first, again = await pair(world, code), await pair(world, code)
    other = await pair(world, code, key="another-device")
    assert (first.status_code, again.status_code) == (200, 200)
    assert (other.status_code, other.json()["code"]) == (403, "wrong-pairing-code")


async def test_a_code_ends_after_its_time_and_reads_what_people_confuse(world: ApiWorld) -> None:
    code = await code_of(world, valid_s=60)
    typed = code.lower().replace("0", "o").replace("1", "l")
    world.clock.advance(59.0)
    assert (await pair(world, f" {typed[:4]}-{typed[4:]} ")).status_code == 200
    late = ApiWorld()
    Codes(late)
    code = await code_of(late, valid_s=60)
    late.clock.advance(60.0)
    assert (await pair(late, code)).json()["code"] == "wrong-pairing-code"


async def test_a_code_typed_into_another_page_stays_good(world: ApiWorld) -> None:
    code = await code_of(world, "rider", "r-1")
    wrong = await pair(world, code, key="tablet", role="store")
    right = await pair(world, code, key="phone", role="rider")
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong-role")
    assert (right.status_code, right.json()["role"]) == (200, "rider")


async def test_a_store_pairs_its_own_tablets_and_nothing_else(world: ApiWorld) -> None:
    async def asked(role: str, subject: str) -> httpx.Response:
        body = {"role": role, "subject": subject}
        return await world.call("POST", "/v1/devices/codes", "store", "s-1", key=subject, json=body)

    assert (await asked("store", "s-1")).status_code == 201
    for role, subject in (("store", "s-8"), ("ops", "s-1"), ("rider", "r-1")):
        assert (await asked(role, subject)).json()["code"] == "foreign-resource"
    unknown = await world.call(
        "POST", "/v1/devices/codes", "ops", key="k", json={"role": "store", "subject": "s-99"}
    )
    assert unknown.json()["code"] == "unknown-store"


async def test_no_phone_is_paired_for_a_rider_whom_no_path_could_name(world: ApiWorld) -> None:
    for odd in ("r/1", "r 1", "r#1", ".."):
        body = {"role": "rider", "subject": odd}
        answer = await world.call("POST", "/v1/devices/codes", "ops", key=odd, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "subject")
    assert not world.runtime.asked


async def test_guessing_codes_is_slowed_down(world: ApiWorld) -> None:
    code = await code_of(world)
    for turn in range(WRONG_TRIES_MAX):
        assert (await pair(world, "ZZZZZZZZ", key=f"guess-{turn}")).status_code == 403
    asked = len(world.runtime.asked)
    refused = await pair(world, code, key="right")
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-tries")
    assert len(world.runtime.asked) == asked


async def test_wrong_codes_behind_a_proxy_count_against_whoever_types_them() -> None:
    world = ApiWorld(trusted_proxies="127.0.0.1")
    Codes(world)
    code = await code_of(world)

    async def typed(what: str, key: str, at: str) -> httpx.Response:
        headers = {"x-forwarded-for": at}
        body = {"code": what}
        return await world.call("POST", "/v1/devices/pair", key=key, json=body, headers=headers)

    for turn in range(WRONG_TRIES_MAX):
        assert (await typed("ZZZZZZZZ", f"guess-{turn}", "203.0.113.7")).status_code == 403
    assert (await typed(code, "guesser", "203.0.113.7")).json()["code"] == "too-many-tries"
    assert (await typed(code, "honest", "203.0.113.8")).status_code == 200


async def test_a_right_code_typed_into_a_wrong_page_is_no_guess(world: ApiWorld) -> None:
    code = await code_of(world, "rider", "r-1")
    for turn in range(WRONG_TRIES_MAX):
        wrong = await pair(world, code, key=f"tablet-{turn}", role="store")
        assert wrong.json()["code"] == "wrong-role"
    assert (await pair(world, code, key="phone", role="rider")).status_code == 200


@pytest.mark.parametrize("speed", [1.0, 50.0])
async def test_a_code_asked_for_again_lasts_no_longer_than_it_did(
    speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ApiWorld()
    Codes(world)
    world.clock = world.service.clock = ManualClock(speed=speed)
    real = SimpleNamespace(time=lambda: 5_000.0 + world.clock.now() / speed)
    monkeypatch.setattr("orchestrator.api.devices.time", real)

    async def promised() -> str:
        body = {"role": "store", "subject": "s-1", "valid_s": 600}
        answer = await world.call("POST", "/v1/devices/codes", "ops", key="give", json=body)
        return str(answer.json()["expires_at"])

    first = await promised()
    world.clock.advance(100.0 * speed)
    assert await promised() == first
    assert datetime.fromisoformat(first).timestamp() == real.time() + 500.0


async def test_a_session_without_its_header_is_no_session(world: ApiWorld) -> None:
    await pair(world, await code_of(world))
    for headers in ({}, {"doorstep-requested-with": "ops"}, {"doorstep-requested-with": "x"}):
        answer = await world.call("POST", "/v1/stores/s-1/pause", headers=headers, key="k",
                                  json={"paused": True})  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (401, "token-missing")


async def test_a_session_reads_nothing_but_its_own_store(world: ApiWorld) -> None:
    await pair(world, await code_of(world))
    answer = await world.call("GET", "/v1/stores/s-8/tickets", headers=STORE)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign-resource")


async def test_unpairing_ends_the_session_on_the_device(world: ApiWorld) -> None:
    await pair(world, await code_of(world))
    assert (
        await world.call("POST", "/v1/devices/unpair", headers=STORE, key="k", json={})
    ).status_code == 200
    assert (await world.call("GET", "/v1/devices/me", headers=STORE)).status_code == 401


async def test_operations_see_every_device_and_a_store_its_own(world: ApiWorld) -> None:
    for subject, name in (("s-1", "Counter"), ("s-1", "Back room"), ("s-8", "Elsewhere")):
        world.clock.advance(1.0)
        code = await code_of(world, subject=subject, key=name)
        await pair(world, code, key=name, device_name=name)
    all_of_them = (await world.call("GET", "/v1/devices", "ops")).json()["items"]
    assert [one["device_name"] for one in all_of_them] == ["Elsewhere", "Back room", "Counter"]
    own = (await world.call("GET", "/v1/devices?subject=s-8", "store", "s-1")).json()["items"]
    assert [one["device_name"] for one in own] == ["Back room", "Counter"]
    of_other = (await world.call("GET", "/v1/devices?subject=s-8", "ops")).json()["items"]
    assert [one["device_name"] for one in of_other] == ["Elsewhere"]
    foreign = await world.call(
        "POST", f"/v1/devices/{of_other[0]['session_id']}/end", "store", "s-1", key="k",
        json={"why": "not mine"},
    )  # fmt: skip
    assert (foreign.status_code, foreign.json()["code"]) == (403, "foreign-resource")


async def test_a_device_that_operations_unpaired_is_refused_everywhere(world: ApiWorld) -> None:
    paired = await pair(world, await code_of(world))
    cookie = {"cookie": paired.headers["set-cookie"].partition(";")[0], **STORE}
    (known,) = (await world.call("GET", "/v1/devices", "ops")).json()["items"]
    ended = await world.call(
        "POST", f"/v1/devices/{known['session_id']}/end", "ops", key="lost", json={"why": "lost"}
    )
    assert ended.status_code == 200
    for route in ("/v1/devices/me", "/v1/stores/s-1/tickets"):
        answer = await world.call("GET", route, headers=cookie)
        assert (answer.status_code, answer.json()["code"]) == (401, "session-ended")
    assert (await world.call("GET", "/v1/devices", "ops")).json()["items"] == []
    fresh = await pair(world, await code_of(world, key="again"), key="again")
    assert (fresh.status_code, fresh.json()["subject"]) == (200, "s-1")


async def test_a_stolen_cookie_is_worth_nothing_after_the_device_signed_out(
    world: ApiWorld,
) -> None:
    paired = await pair(world, await code_of(world))
    stolen = {"cookie": paired.headers["set-cookie"].partition(";")[0], **STORE}
    await world.call("POST", "/v1/devices/unpair", headers=STORE, key="out", json={})
    answer = await world.call("GET", "/v1/devices/me", headers=stolen)
    assert (answer.status_code, answer.json()["code"]) == (401, "session-ended")


async def test_an_ageing_session_is_renewed_for_the_list_too(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair(world, await code_of(world))
    before = (await world.call("GET", "/v1/devices", "ops")).json()["items"][0]["session_until"]
    world.clock.advance(100.0)
    # Tokens count real time, which the test cannot advance: let each count as half over.
    monkeypatch.setattr(sessions, "LIFETIME_S", {**sessions.LIFETIME_S, "store": 80 * 86_400.0})
    renewed = await world.call("GET", "/v1/devices/me", headers=STORE)
    assert "set-cookie" in renewed.headers
    after = (await world.call("GET", "/v1/devices", "ops")).json()["items"][0]["session_until"]
    assert after > before


def test_a_session_that_nobody_has_can_neither_be_ended_nor_renewed() -> None:
    context = Context(5.0, "x", "c")
    for command in (EndSession("ops:bo", "lost"), RenewSession(60.0)):
        with pytest.raises(Refused, match="unknown-session"):
            device.KIND.decide(None, command, context)


def handshake(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


def test_a_socket_takes_the_session_from_a_page_of_this_service_alone() -> None:
    own = handshake(cookie="doorstep_store=abc", host="shop:80", origin="http://shop:80")
    assert sessions.socket_token("", own, ("store",)) == "abc"
    assert sessions.socket_token("given", own, ("store",)) == "given"
    for foreign in ("http://evil", "null", ""):
        scope = handshake(cookie="doorstep_store=abc", host="shop:80", origin=foreign)
        with pytest.raises(Refused, match="foreign-origin"):
            sessions.socket_token("", scope, ("store",))
    with pytest.raises(Refused, match="token-missing"):
        sessions.socket_token("", own, ("rider",))


@pytest.mark.parametrize(
    "beside", ['a={"x": 1}; ', "a b; ", "=; ", "notdoorstep_store=x; doorstep_stores=y; ", ";; é; "]
)
def test_a_session_is_found_whatever_cookies_others_have_set(beside: str) -> None:
    scope = handshake(cookie=f"{beside}doorstep_store=abc; z=1", host="shop", origin="http://shop")
    assert sessions.socket_token("", scope, ("store",)) == "abc"


def test_the_openapi_file_is_what_the_service_says() -> None:
    assert snapshot.main(["--check"]) == 0


def test_a_pairing_is_told_with_its_end() -> None:
    reply = device.KIND.decide(
        None, CreateCode("ops", "ana", 600.0, "ops:bo"), Context(5.0, "x", "c")
    )
    assert reply.reply == Pairing("ops", "ana", 605.0)  # type: ignore[union-attr]
