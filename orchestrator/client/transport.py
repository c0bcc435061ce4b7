"""One HTTP call: sent again with the same Idempotency-Key until its outcome is known.

A timeout, a lost connection or ``503`` says nothing about whether the call was carried out. The
service answers a repeated key with the first answer, so repeating is always safe. When to repeat,
and when to give up, is in :mod:`orchestrator.client.retries`.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import aiohttp
import msgspec

from orchestrator.client.problems import ProblemError, Refusal, Unanswered
from orchestrator.client.retries import RETRIED, Retries, retry_after_s
from orchestrator.client.sockets import TokenSource

__all__ = ["Transport"]

Answer = TypeVar("Answer")

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class Transport:
    """A pooled session to ``base_url`` (such as ``http://127.0.0.1:8080``) with one token."""

    def __init__(
        self,
        base_url: str,
        token: TokenSource = "",
        *,
        session: aiohttp.ClientSession | None = None,
        retries: Retries | None = None,
        dice: random.Random | None = None,
    ) -> None:
        """``session``: to be shared and closed by the caller; else one is made. ``dice`` draws the
        jitter of pauses."""
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._own_session = session is None
        self._session = session
        self._retries = retries or Retries()
        self._dice = dice or random.Random()

    async def __aenter__(self) -> Self:
        self.session  # noqa: B018 -- opens it inside the running loop
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session; opened at first use."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session

    async def close(self) -> None:
        """Close the session, if it is our own."""
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self, kind: type[Answer], path: str, query: Mapping[str, Any] | None = None
    ) -> Answer:
        """Read ``path`` (below ``/v1``)."""
        return await self.call(kind, "GET", path, query=query)

    async def post(
        self,
        kind: type[Answer],
        path: str,
        body: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Do something once. ``key``: the Idempotency-Key; a fresh one when None."""
        return await self.call(
            kind,
            "POST",
            path,
            body={} if body is None else body,
            key=key or uuid4().hex,
            headers=headers,
        )

    async def put(self, kind: type[Answer], path: str, body: Any) -> Answer:
        """Set something; repeating changes nothing."""
        return await self.call(kind, "PUT", path, body=body)

    async def call(
        self,
        kind: type[Answer],
        method: str,
        path: str,
        *,
        body: Any = None,
        key: str = "",
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The decoded answer. Raises :class:`Refusal`, or :class:`Unanswered` when the retries are
        used up (``unreachable`` when the last attempt was not answered at all)."""
        sent = {**await self._headers(key), **(headers or {})}
        data = None
        if body is not None:
            data = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        url = path if path.startswith("http") else f"{self.base_url}/v1{path}"
        patience = self._retries.begin(self._dice)
        while True:
            wait_s = 0.0
            try:
                status, raw, wait_s = await self._attempt(method, url, data, sent, query)
                if status < 400:
                    return _decoded(kind, raw)
                problem = _problem(status, raw)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = Unanswered("unreachable", 0, f"{type(error).__name__}: {error}")
            pause_s = patience.pause_s(problem.status, wait_s)
            if pause_s is None:
                raise problem
            if self._retries.on_retry is not None:
                self._retries.on_retry(problem)
            await asyncio.sleep(pause_s)

    async def _headers(self, key: str) -> dict[str, str]:
        token = self._token if isinstance(self._token, str) else await self._token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        return headers

    async def _attempt(
        self,
        method: str,
        url: str,
        data: bytes | None,
        headers: dict[str, str],
        query: Mapping[str, Any] | None,
    ) -> tuple[int, bytes, float]:
        async with self.session.request(
            method,
            url,
            data=data,
            headers=headers,
            params=_params(query),
            timeout=aiohttp.ClientTimeout(total=self._retries.timeout_s),
        ) as answer:
            return answer.status, await answer.read(), retry_after_s(answer.headers)


def _params(query: Mapping[str, Any] | None) -> list[tuple[str, str]] | None:
    """Query members that are "" or None are left out; sequences are repeated."""
    if not query:
        return None
    params: list[tuple[str, str]] = []
    for name, value in query.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            params.extend((name, str(item)) for item in value)
        elif value is not None and value != "":
            params.append((name, str(value)))
    return params


def _decoded(kind: type[Answer], raw: bytes) -> Answer:
    if kind is type(None):
        return None
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    answer: Answer = decoder.decode(raw)
    return answer


def _problem(status: int, raw: bytes) -> ProblemError:
    kind = Unanswered if status in RETRIED else Refusal
    try:
        document = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict):
        return kind("not-a-problem", status, raw[:200].decode(errors="replace"))
    known = ("type", "title", "status", "detail", "code", "instance")
    extra = {name: value for name, value in document.items() if name not in known}
    return kind(
        str(document.get("code", "unknown")), status, str(document.get("detail", "")), extra
    )
