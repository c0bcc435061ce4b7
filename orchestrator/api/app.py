"""The service's HTTP application: FastAPI behind an edge that answers the hot routes itself."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from domain.errors import DoorstepError, Refused
from orchestrator import pages
from orchestrator.api import (
    campaigns,
    catalogue,
    devices,
    inboxes,
    ledger,
    meta,
    openapi,
    operations,
    orders,
    problems,
    riders,
    risk,
    stock,
    tickets,
    webhooks,
)  # fmt: skip
from orchestrator.api.desk import Desk
from orchestrator.api.edge import Edge
from orchestrator.auth import Tokens, tokens_of
from orchestrator.monitor import routes as monitor
from orchestrator.ports import Service
from orchestrator.push import routes as push

__all__ = ["create_app"]


def create_app(service: Service, tokens: Tokens | None = None) -> Edge:
    """The ASGI application of one gateway. ``tokens`` default to the settings' secret."""
    desk = Desk(service, tokens or tokens_of(service.settings))
    app = FastAPI(title="Doorstep", version=_version(), redirect_slashes=False)
    app.state.desk = desk
    app.openapi = lambda: openapi.document_of(app)  # type: ignore[method-assign]
    _explain_errors(app)
    hot = [*orders.hot_routes(desk), *stock.hot_routes(desk), *webhooks.hot_routes(desk)]
    for router in _routers(desk):
        app.include_router(router)
    sockets = push.mount(app, service, desk.access.tokens)
    sockets.listen(desk.gate.holdings)
    sockets.listen(desk.gate.placed)
    sockets.accompany(lambda: None, desk.gate.placed.close)
    watching = monitor.mount(app, service, sockets)
    desk.on_inbox_read, desk.on_money = watching.inbox_read, watching.flow.payment
    pages.mount(app)
    if service.sandbox is not None:
        app.mount("/sandbox", service.sandbox)
    return Edge(app, hot, service.settings.body_bytes_max)


def _routers(desk: Desk) -> Sequence[APIRouter]:
    rooms = (
        orders, campaigns, risk, catalogue, stock, tickets, riders, inboxes, devices, operations,
        ledger, webhooks, meta,
    )  # fmt: skip
    return [room.router(desk) for room in rooms]


def _explain_errors(app: FastAPI) -> None:
    """Every error leaves as problem+json."""

    async def on_doorstep_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, DoorstepError)
        status, headers, body = problems.encoded(error)
        return Response(body, status, headers)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await on_doorstep_error(request, _refusal_of(error))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = await on_doorstep_error(request, _of_framework(error, request))
        for name, value in (error.headers or {}).items():
            response.headers.setdefault(name, value)
        return response

    async def on_bug(request: Request, _error: Exception) -> Response:
        return await on_doorstep_error(request, problems.INTERNAL)

    app.add_exception_handler(Exception, on_bug)
    app.add_exception_handler(DoorstepError, on_doorstep_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _refusal_of(error: RequestValidationError) -> Refused:
    found: list[dict[str, str]] = []
    for one in error.errors():
        where, *path = one["loc"]
        if one["type"] == "json_invalid":
            return Refused("malformed-json", f"The body is not JSON: {one['ctx']['error']}.")
        field = _path(path) if where == "body" else _path(one["loc"][1:])
        found.append({"field": field or "body", "message": one["msg"]})
    first = found[0]
    return Refused("invalid-request", f"{first['field']}: {first['message']}.", errors=found)


def _path(parts: Sequence[Any]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _of_framework(error: HTTPException, request: Request) -> Refused:
    path = request.url.path
    if error.status_code == 404:
        return Refused("not-found", f"There is nothing at {path}. See /openapi.json.")
    if error.status_code == 405:
        return Refused("method-not-allowed", f"{path} does not know {request.method}.")
    return Refused("malformed-json", str(error.detail))


def _version() -> str:
    try:
        return version("doorstep")
    except PackageNotFoundError:
        return "0"
