"""The service itself over HTTP: index, health, readiness, metrics, clock, problems explained."""

import asyncio
from collections.abc import Awaitable, Callable
from html import escape

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from domain.dispatch.commands import GetZone
from domain.errors import DoorstepError, Refused
from domain.inventory.commands import Get as GetStock
from domain.message import Command
from domain.order.commands import Get as GetOrder
from domain.rider.commands import GetRider
from domain.store.commands import GetTicket
from domain.wire import moment
from orchestrator import metrics, models
from orchestrator.api import examples, problems
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers
from orchestrator.api.plain import answer
from orchestrator.ports import Service

__all__ = ["router"]

PROBE_TIMEOUT_S = 3.0
PROBED = "readiness-probe"
PROBES: dict[str, Command] = {
    "order": GetOrder(),
    "inventory": GetStock((PROBED,)),
    "store": GetTicket(PROBED),
    "rider": GetRider(),
    "dispatch": GetZone(),
}
"""A harmless question per actor kind; *unknown* is an answer too."""

ADDRESSES = {
    "/tablet": "the store's tablet",
    "/rider": "the rider's phone",
    "/monitor": "the live monitor",
    "/docs": "this API, to read and try",
    "/openapi.json": "this API, for machines",
    "/healthz": "is the process up",
    "/readyz": "can orders be taken; what is missing",
    "/metrics": "for Prometheus",
    "/problems": "every error code explained",
    "/v1/clock": "service time",
}


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["meta"])
    _add_state(routes, desk)
    _add_index(routes, desk)
    return routes


def _add_state(routes: APIRouter, desk: Desk) -> None:
    service = desk.service

    @routes.get("/v1/clock", responses=answers(models.Clock, examples.CLOCK))
    async def read_clock() -> Response:
        """Service time, and its speed against real time."""
        return answer(models.Clock(moment(service.clock.now()), service.clock.speed))

    @routes.get("/healthz", response_class=PlainTextResponse)
    async def health() -> Response:
        """The process is up. Says nothing of what it needs: see `/readyz`."""
        return PlainTextResponse("ok\n")

    @routes.get(
        "/readyz",
        responses={
            **answers(models.Readiness, examples.READY),
            **answers(
                models.Readiness, examples.NOT_READY, status=503, description="Not now: see parts."
            ),
        },
    )
    async def readiness() -> Response:
        """Whether orders can be taken. Names each part that is missing and what to do."""
        found = await _readiness(service)
        return answer(found, 200 if found.ready else 503)

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def read_metrics() -> Response:
        """This gateway's metrics in Prometheus' text format."""
        return Response(metrics.rendered(), media_type=metrics.CONTENT_TYPE)


def _add_index(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index(request: Request) -> Response:
        """Where to go from here."""
        addresses = dict(ADDRESSES)
        if desk.service.sandbox is not None:
            addresses["/sandbox"] = "the sandbox payment provider"
        if "text/html" not in request.headers.get("accept", ""):
            return answer({"service": "doorstep", "addresses": addresses})
        rows = "".join(
            f'<li><a href="{escape(path)}">{escape(path)}</a> {escape(text)}</li>'
            for path, text in addresses.items()
        )
        return HTMLResponse(
            f"<!doctype html><title>Doorstep</title><h1>Doorstep</h1><ul>{rows}</ul>"
        )

    @routes.get("/problems", response_class=PlainTextResponse)
    async def list_problems() -> Response:
        """Every error code, with its status and title."""
        lines = [f"{one.status} {code}: {one.title}\n" for code, one in problems.EXPLAINED.items()]
        return PlainTextResponse("".join(lines))

    @routes.get("/problems/{code}", response_class=PlainTextResponse)
    async def explain_problem(code: str) -> Response:
        """What an error code means and what to do about it: a problem's `type` leads here."""
        one = problems.EXPLAINED.get(code)
        if one is None:
            raise Refused("unknown-code", f"No problem has the code {code}.")
        return PlainTextResponse(f"{code} ({one.status})\n{one.title}\n\n{one.advice}\n")


async def _readiness(service: Service) -> models.Readiness:
    """Asks every part at once. The ledger is not required: orders go on without it."""
    names = [*(f"actors.{kind}" for kind in PROBES), *service.checks]
    found = await asyncio.gather(
        *(_probed(_probe(service, kind)) for kind in PROBES),
        *(_probed(check) for check in service.checks.values()),
    )
    parts = {
        name: models.Part(not trouble, True, trouble)
        for name, trouble in zip(names, found, strict=True)
    }
    lag: list[int] = []

    async def read_lag() -> None:
        behind = await service.books.lag()
        for shard, records in behind.items():
            metrics.books_lag.labels(shard).set(records)
        lag.append(sum(behind.values()))

    trouble = await _probed(read_lag)
    parts["ledger"] = models.Part(not trouble, False, trouble)
    ready = all(part.ok for part in parts.values() if part.required)
    return models.Readiness(ready, parts, lag[0] if lag else None)


def _probe(service: Service, kind: str) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        try:
            await service.runtime.ask(
                f"{kind}/{PROBED}", PROBES[kind], command_id="", timeout_s=PROBE_TIMEOUT_S
            )
        except Refused:
            return

    return ask


async def _probed(check: Callable[[], Awaitable[object]]) -> str:
    """What is wrong, "" for nothing."""
    try:
        await asyncio.wait_for(check(), PROBE_TIMEOUT_S)
    except DoorstepError as error:
        return f"{error.code}: {error.detail}"
    except TimeoutError:
        return f"No answer within {PROBE_TIMEOUT_S:g} s. See the service's log."
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
