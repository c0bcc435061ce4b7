"""Pairing: a one-time code makes a browser somebody's device, with a session in a cookie.

Operations see every paired device and can end its session."""

import time
from collections import OrderedDict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from domain.device.commands import (
    CreateCode,
    EndSession,
    Pairing,
    RedeemCode,
    RenewSession,
)  # fmt: skip
from domain.device.state import CodeState
from domain.errors import Busy, Refused
from domain.ids import ID_RULE, is_id
from domain.wire import moment
from orchestrator import models, sessions
from orchestrator.api import examples
from orchestrator.api.desk import Desk, derived_id
from orchestrator.api.openapi import answers
from orchestrator.api.plain import Authorised, Body, Key, Name, Text, answer
from orchestrator.api.visitor import Proxies

__all__ = ["ALPHABET", "CODE_CHARACTERS", "router"]

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: nothing that people confuse. 8 of them are 40 bits."""
CODE_CHARACTERS = 8
VALID_S = 600
WRONG_TRIES_MAX = 10
WRONG_TRIES_S = 60.0
ADDRESSES_MAX = 10_000
DEVICES_MAX = 1_000
"""Paired devices listed at most, the latest."""


class CodeBody(Body):
    """For whom the device will speak; the code is good for `valid_s` real seconds, once."""

    role: Literal["store", "rider", "ops"]
    subject: Name
    valid_s: Annotated[int, Field(ge=30, le=604_800)] = VALID_S


class PairBody(Body):
    """The code as it was typed. `role`: what the page is for; null: any."""

    code: Annotated[str, Field(min_length=1, max_length=32)]
    device_name: Text = ""
    role: Literal["store", "rider", "ops"] | None = None


class EndSessionBody(Body):
    """Why the device shall speak for nobody any more."""

    why: Annotated[Text, Field(min_length=1)]


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["devices"])
    _add_codes(routes, desk)
    _add_sessions(routes, desk)
    _add_devices(routes, desk)
    return routes


def _add_codes(routes: APIRouter, desk: Desk) -> None:
    tries = _Tries()
    proxies = Proxies(desk.service.settings.trusted_proxies)

    @routes.post(
        "/v1/devices/codes",
        status_code=201,
        responses=answers(
            models.PairingCode, examples.PAIRING_CODE, "unknown-store", "foreign-resource",
            status=201,
        ),
    )  # fmt: skip
    async def create_code(body: CodeBody, caller: Authorised, key: Key) -> Response:
        """A one-time code. A store may have one for its own further tablets."""
        if caller.role == "store" and (body.role, body.subject) != ("store", caller.subject):
            raise Refused("foreign-resource", "A store pairs its own tablets and nothing else.")
        if body.role == "store" and body.subject not in desk.service.views.stores:
            raise Refused("unknown-store", f"There is no store {body.subject}.")
        if body.role == "rider" and not is_id(body.subject):
            message = f"A rider needs an id of {ID_RULE}."
            errors = [{"field": "subject", "message": message}]
            raise Refused("invalid-request", message, errors=errors)
        # From the key and a secret: a repeat shows the same code, and nobody can work it out.
        secret = desk.service.settings.pickup_secret.get_secret_value()
        code = "".join(
            ALPHABET[_BASE32.index(letter)]
            for letter in derived_id("pairing", secret, caller.name, key, characters=8)
        )
        valid_s = body.valid_s * desk.service.clock.speed
        command = CreateCode(body.role, body.subject, valid_s, caller.name)
        made: Pairing = await desk.ask(_entity(code), command, f"create:{key}")
        expires_at = moment(_real_time(desk, made.expires_at))
        return answer(models.PairingCode(code, made.role, made.subject, expires_at), 201)

    @routes.post(
        "/v1/devices/pair",
        responses=answers(
            models.Identity, examples.IDENTITY, "wrong-pairing-code", "wrong-role",
            "too-many-tries", "too-many-requests",
            headers={"Set-Cookie": "The session: HttpOnly, SameSite=Strict."},
        ),
    )  # fmt: skip
    async def pair(request: Request, body: PairBody, key: Key) -> Response:
        """Take a code; the answer sets the session's cookie. Repeat with the same key."""
        headers = dict(request.scope["headers"])
        address = proxies.address(request.scope, headers)
        tries.check(address)
        await desk.gate.limit("pair", request.scope, headers)
        roles = (body.role,) if body.role else sessions.ROLES_WITH_PAGES
        speed = desk.service.clock.speed
        session_s = tuple((role, sessions.LIFETIME_S[role] * speed) for role in roles)
        command = RedeemCode(roles, body.device_name, session_s)
        entity = _entity(_normal(body.code))
        try:
            pairing: Pairing = await desk.ask(entity, command, f"pair:{key}")
        except Refused as refusal:
            if refusal.code == "wrong-pairing-code":
                tries.wrong(address)
            raise
        session_id = entity.partition("/")[2]
        return _identified(desk, request, pairing.role, pairing.subject, session_id)


def _add_sessions(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/v1/devices/me", responses=answers(models.Identity, examples.IDENTITY))
    async def read_identity(request: Request, caller: Authorised) -> Response:
        """Who the caller's token or session speaks for. A store's or rider's session that is half
        over is renewed."""
        lifetime_s = sessions.LIFETIME_S.get(caller.role, 0.0)
        left_s = caller.expires_at - time.time()
        renewable = caller.role in ("store", "rider") and left_s < lifetime_s / 2
        if renewable and _by_session(request):
            if caller.session_id:
                longer = RenewSession(lifetime_s * desk.service.clock.speed)
                await desk.ask(f"device/{caller.session_id}", longer, "")
            return _identified(desk, request, caller.role, caller.subject, caller.session_id)
        expires_at = moment(caller.expires_at)
        return answer(models.Identity(caller.role, caller.subject, expires_at))

    @routes.post("/v1/devices/unpair", responses=answers(models.Done, examples.DONE))
    async def unpair(request: Request, caller: Authorised, key: Key) -> Response:
        """End the session of this device; its token is good for nothing any more."""
        if caller.session_id:
            end = EndSession(caller.name, "unpaired on the device")
            await desk.ask(f"device/{caller.session_id}", end, f"end:{key}")
        made = answer(models.Done(True))
        made.headers["set-cookie"] = sessions.clearing(caller.role, secure=_secure(request))
        return made


def _add_devices(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/v1/devices", responses=answers(models.DevicePage, examples.DEVICES))
    async def list_devices(
        caller: Authorised,
        role: Annotated[Literal["store", "rider", "ops"] | None, Query()] = None,
        subject: Annotated[str, Query(max_length=128)] = "",
    ) -> Response:
        """Paired devices whose session has not ended, the latest first. A store sees its own."""
        if caller.role == "store":
            role, subject = "store", caller.subject
        now = desk.service.clock.now()
        found = [
            (known.redeemed_at or 0.0, _shown(session_id, known))
            for session_id, known in desk.service.views.sessions.items()
            if _alive(known, now) and role in (None, known.role) and subject in ("", known.subject)
        ]
        found.sort(key=lambda one: one[0], reverse=True)
        return answer(models.DevicePage([device for _, device in found[:DEVICES_MAX]], None))

    @routes.post(
        "/v1/devices/{session_id}/end",
        responses=answers(models.Done, examples.DONE, "unknown-session", "foreign-resource"),
    )
    async def end_session(
        session_id: str, body: EndSessionBody, caller: Authorised, key: Key
    ) -> Response:
        """Unpair a device: its sockets are closed and it is shown the pairing screen. A store
        unpairs its own tablets."""
        known = desk.service.views.sessions.get(session_id)
        if caller.role == "store" and (
            known is None or (known.role, known.subject) != ("store", caller.subject)
        ):
            raise Refused("foreign-resource", "A store unpairs its own tablets and nothing else.")
        await desk.ask(f"device/{session_id}", EndSession(caller.name, body.why), f"end:{key}")
        return answer(models.Done(True))


def _alive(known: CodeState, now: float) -> bool:
    return known.redeemed_at is not None and known.ended_at is None and known.session_until > now


def _shown(session_id: str, known: CodeState) -> models.PairedDevice:
    return models.PairedDevice(
        session_id,
        known.role,
        known.subject,
        known.device_name,
        moment(known.redeemed_at or 0.0),
        moment(known.session_until),
    )


def _identified(desk: Desk, request: Request, role: str, subject: str, session_id: str) -> Response:
    lifetime_s = sessions.LIFETIME_S[role]
    token = desk.access.tokens.issue(role, subject, lifetime_s, session_id)
    made = answer(models.Identity(role, subject, moment(time.time() + lifetime_s)))
    made.headers["set-cookie"] = sessions.setting(role, token, secure=_secure(request))
    return made


def _real_time(desk: Desk, at: float) -> float:
    """A moment of service time on the clocks on the walls, to the millisecond: the same whenever it
    is worked out."""
    clock = desk.service.clock
    return round(time.time() + (at - clock.now()) / clock.speed, 3)


def _by_session(request: Request) -> bool:
    return sessions.REQUESTED_WITH.decode() in request.headers


def _secure(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def _entity(code: str) -> str:
    return f"device/{derived_id('pairing code', code)}"


def _normal(code: str) -> str:
    kept = "".join(character for character in code.upper() if character.isalnum())
    return kept.translate(str.maketrans("OIL", "011"))


_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class _Tries:
    """Wrong codes per address: after :data:`WRONG_TRIES_MAX` within a minute it has to wait."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises ``Busy`` with ``too-many-tries``."""
        since = time.monotonic() - WRONG_TRIES_S
        times = [at for at in self._wrong.get(address, ()) if at > since]
        if len(times) >= WRONG_TRIES_MAX:
            raise Busy("too-many-tries", "Too many wrong codes; wait a minute, then try again.")

    def wrong(self, address: str) -> None:
        """Count one."""
        if address not in self._wrong and len(self._wrong) >= ADDRESSES_MAX:
            self._wrong.popitem(last=False)
        times: list[Any] = self._wrong.setdefault(address, [])
        times.append(time.monotonic())
        del times[:-WRONG_TRIES_MAX]
