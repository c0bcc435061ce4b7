"""The outermost ASGI callable: hot routes first, everything else to FastAPI.

A hot route costs a dictionary look-up here and then its own work; FastAPI's middlewares, router,
dependencies and models are for the other routes. The gateway's server gives hot routes their
requests whole (``orchestrator.whole``); under any other server they come as ASGI's messages. All
are measured, get a request id, and answer every error as problem+json.
"""

from collections.abc import Coroutine, Sequence
from logging import DEBUG, getLogger
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from structlog.contextvars import bind_contextvars

from domain.errors import DoorstepError
from orchestrator import metrics
from orchestrator.api.problems import INTERNAL
from orchestrator.api.texts import check_address, check_body, check_utf8
from orchestrator.api.wire import (
    Answer,
    Headers,
    HotRoute,
    Message,
    Receive,
    Scope,
    Send,
    check_size,
    problem_answer,
    read_body,
    replay,
    request_id_of,
    require_json,
    send_answer,
    with_request_id,
)  # fmt: skip
from orchestrator.logs import logger
from orchestrator.sessions import authorization_of, with_authorization

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
        self._whole = {(m.encode(), path.encode()): r for (m, path), r in self._exact.items()}
        self._prefixes = tuple(prefix.encode() for _, prefix, _ in self._prefixed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI wants it."""
        if scope["type"] != "http":
            await self.fastapi(scope, receive, send)
            return
        started = perf_counter()
        headers: Headers = dict(scope["headers"])
        hot = self._hot_route(scope["method"], scope["path"])
        if hot is not None:
            await self._read_hot(hot, scope, headers, receive, send, started)
            return
        request_id = request_id_of(headers)
        bind_contextvars(request_id=request_id)
        with_authorization(scope, headers)
        status = await self._through_fastapi(scope, receive, send, headers, request_id)
        template = getattr(scope.get("route"), "path", "unmatched")
        self._measured(scope["method"], template, status, started)
        log.debug("http.answered", method=scope["method"], path=scope["path"], status=status)

    def whole_route(self, method: bytes, path: bytes) -> HotRoute | None:
        """See ``orchestrator.whole``."""
        hot = self._whole.get((method, path))
        if hot is None and path.startswith(self._prefixes) and path.isascii() and b"%" not in path:
            return self._hot_route(method.decode(), path.decode())
        return hot

    def _hot_route(self, method: str, path: str) -> HotRoute | None:
        hot = self._exact.get((method, path))
        if hot is None:
            for its_method, prefix, route in self._prefixed:
                rest = path[len(prefix) :]
                if path.startswith(prefix) and its_method == method and rest and "/" not in rest:
                    return route
        return hot

    # Hot routes ---------------------------------------------------------------------------------

    def answer_whole(
        self, route: HotRoute, scope: Scope, headers: Headers, body: bytes, started: float = 0.0
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """See ``orchestrator.whole``. ``started``: the reading of ``perf_counter`` when the request
        came, if it is another one than now."""
        started = started or perf_counter()
        request_id = request_id_of(headers)
        authorization = authorization_of(headers)
        if authorization:
            headers[b"authorization"] = authorization
        try:
            check_size(len(body), self._body_bytes_max)
            found = route.handle(scope, headers, body)
        except Exception as error:
            found = _answer_to(error, route, request_id)
        if isinstance(found, Answer):
            return self._finish(found, route, request_id, started)
        return self._await(found, route, request_id, started)

    async def _read_hot(
        self,
        hot: HotRoute,
        scope: Scope,
        headers: Headers,
        receive: Receive,
        send: Send,
        started: float,
    ) -> None:
        """The same, for a request that comes in ASGI's messages."""
        try:
            body = await read_body(receive, headers, self._body_bytes_max)
        except DoorstepError as error:
            request_id = request_id_of(headers)
            answer = self._finish(_answer_to(error, hot, request_id), hot, request_id, started)
        else:
            found = self.answer_whole(hot, scope, headers, body, started)
            answer = found if isinstance(found, Answer) else await found
        await send_answer(answer, send)

    async def _await(
        self, found: Coroutine[Any, Any, Answer], hot: HotRoute, request_id: str, started: float
    ) -> Answer:
        bind_contextvars(request_id=request_id)
        try:
            answer = await found
        except Exception as error:
            answer = _answer_to(error, hot, request_id)
        return self._finish(answer, hot, request_id, started)

    def _finish(self, answer: Answer, hot: HotRoute, request_id: str, started: float) -> Answer:
        self._measured(hot.method, hot.template, answer.status, started)
        return with_request_id(answer, request_id)

    # Everything else ----------------------------------------------------------------------------

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
            await send_answer(with_request_id(answer, id_), send)
            return answer.status
        except Exception:
            log.exception("http.failed", method=scope["method"], path=scope["path"])
            if status == 0:
                status = 500
                await send_answer(with_request_id(problem_answer(INTERNAL), id_), send)
        return status

    @staticmethod
    def _measured(method: str, route: str, status: int, started: float) -> None:
        method = method if method in METHODS else "other"
        metrics.http_seconds.observe(method, route, status, perf_counter() - started)


def _answer_to(error: Exception, hot: HotRoute, request_id: str) -> Answer:
    if not isinstance(error, DoorstepError):
        log.error(
            "http.failed", method=hot.method, path=hot.template, request_id=request_id,
            exc_info=error,
        )  # fmt: skip
        return problem_answer(INTERNAL)
    if _plain_log.isEnabledFor(DEBUG):
        log.debug(
            "http.problem", route=hot.template, code=error.code, detail=error.detail,
            request_id=request_id,
        )  # fmt: skip
    return problem_answer(error)
