"""The outermost ASGI callable: hot routes first, everything else to FastAPI.

A hot route costs a dictionary look-up here and then its own work; FastAPI's middlewares, router,
dependencies and models are for the other routes. Both are measured, get a request id, and answer
every error as problem+json.
"""

from collections.abc import Sequence
from logging import DEBUG, getLogger
from time import perf_counter

from fastapi import FastAPI
from prometheus_client import Histogram
from structlog.contextvars import bind_contextvars

from domain.errors import DoorstepError
from orchestrator import metrics
from orchestrator.api.problems import INTERNAL
from orchestrator.api.texts import check_address, check_body, check_utf8
from orchestrator.api.wire import (
    Answer,
    HotRoute,
    Message,
    Receive,
    Scope,
    Send,
    problem_answer,
    read_body,
    replay,
    request_id_of,
    require_json,
    send_answer,
)  # fmt: skip
from orchestrator.logs import logger
from orchestrator.sessions import with_authorization

__all__ = ["Edge"]

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
"""Others share one label: whoever invents methods must not fill our memory with metrics."""

log = logger(__name__)
_plain_log = getLogger(__name__)
"""Asked first where a level is mostly off: it answers in a tenth of the time."""


class Edge:
    """The service's ASGI application. ``fastapi`` is the application behind the hot routes."""

    def __init__(self, fastapi: FastAPI, hot: Sequence[HotRoute], body_bytes_max: int) -> None:
        self.fastapi = fastapi
        self._body_bytes_max = body_bytes_max
        self._exact = {(r.method, r.template): r for r in hot if "{" not in r.template}
        self._prefixed = [
            (r.method, r.template.partition("{")[0], r) for r in hot if "{" in r.template
        ]
        self._histograms: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI wants it."""
        if scope["type"] != "http":
            await self.fastapi(scope, receive, send)
            return
        started = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = request_id_of(headers)
        bind_contextvars(request_id=request_id)
        with_authorization(scope, headers)
        hot = self._hot_route(scope["method"], scope["path"])
        if hot is not None:
            answer = await _answered(hot, scope, receive)
            await send_answer(answer, scope, send, request_id)
            self._measured(scope["method"], hot.template, answer.status, started)
            return
        status = await self._through_fastapi(scope, receive, send, headers, request_id)
        template = getattr(scope.get("route"), "path", "unmatched")
        self._measured(scope["method"], template, status, started)
        log.debug("http.answered", method=scope["method"], path=scope["path"], status=status)

    def _hot_route(self, method: str, path: str) -> HotRoute | None:
        hot = self._exact.get((method, path))
        if hot is None:
            for its_method, prefix, route in self._prefixed:
                rest = path[len(prefix) :]
                if path.startswith(prefix) and its_method == method and rest and "/" not in rest:
                    return route
        return hot

    async def _through_fastapi(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], id_: str
    ) -> int:
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", id_.encode())]
            await send(message)

        try:
            check_address(scope)
            if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
                body = await read_body(receive, headers, self._body_bytes_max)
                if body and scope["path"].startswith("/v1/"):
                    require_json(headers)
                    check_utf8(body)
                    check_body(body)
                receive = replay(body, receive)
            await self.fastapi(scope, receive, send_on)
        except DoorstepError as error:
            answer = problem_answer(error)
            await send_answer(answer, scope, send, id_)
            return answer.status
        except Exception:
            log.exception("http.failed", method=scope["method"], path=scope["path"])
            if status == 0:
                status = 500
                await send_answer(problem_answer(INTERNAL), scope, send, id_)
        return status

    def _measured(self, method: str, route: str, status: int, started: float) -> None:
        method = method if method in METHODS else "other"
        histogram = self._histograms.get((method, route, status))
        if histogram is None:
            histogram = metrics.http_seconds.labels(method, route, str(status))
            self._histograms[method, route, status] = histogram
        histogram.observe(perf_counter() - started)


async def _answered(hot: HotRoute, scope: Scope, receive: Receive) -> Answer:
    try:
        return await hot.handle(scope, receive)
    except DoorstepError as error:
        if _plain_log.isEnabledFor(DEBUG):
            log.debug("http.problem", route=hot.template, code=error.code, detail=error.detail)
        return problem_answer(error)
    except Exception:
        log.exception("http.failed", method=hot.method, path=hot.template)
        return problem_answer(INTERNAL)
