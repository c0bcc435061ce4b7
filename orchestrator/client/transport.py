"""One HTTP call: sent again with the same Idempotency-Key until its outcome is known.

A timeout, a lost connection or ``503`` says nothing about whether the call was carried out. The
service answers a repeated key with the first answer, so repeating is always safe.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import aiohttp
import msgspec

from orchestrator.client.problems import ProblemError
from orchestrator.client.sockets import TokenSource

__all__ = ["Retries", "Transport"]

Answer = TypeVar("Answer")

RETRIED = frozenset({429, 502, 503, 504})

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


@dataclass(frozen=True, slots=True)
class Retries:
    """How long to insist; all in real seconds. ``Retry-After`` lengthens a pause."""

    attempts: int = 8
    timeout_s: float = 15.0
    """For one attempt."""
    pause_s_min: float = 0.1
    pause_s_max: float = 5.0


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
        """The decoded answer. Raises :class:`ProblemError`: of the service, or ``unreachable``
        when no attempt was answered (the outcome is unknown: repeat with the same key)."""
        sent = {**await self._headers(key), **(headers or {})}
        data = None
        if body is not None:
            data = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        url = path if path.startswith("http") else f"{self.base_url}/v1{path}"
        pause_s = self._retries.pause_s_min
        attempt = 1
        while True:
            wait_s = 0.0
            try:
                status, raw, wait_s = await self._attempt(method, url, data, sent, query)
                if status < 400:
                    return _decoded(kind, raw)
                problem = _problem(status, raw)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = ProblemError("unreachable", 0, f"{type(error).__name__}: {error}")
            retried = problem.status == 0 or problem.status in RETRIED
            if not retried or attempt >= self._retries.attempts:
                raise problem
            attempt += 1
            await asyncio.sleep(max(wait_s, pause_s) * self._dice.uniform(1.0, 1.5))
            pause_s = min(pause_s * 2, self._retries.pause_s_max)

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
            return answer.status, await answer.read(), _retry_after(answer.headers)


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


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0


def _decoded(kind: type[Answer], raw: bytes) -> Answer:
    if kind is type(None):
        return None
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    answer: Answer = decoder.decode(raw)
    return answer


def _problem(status: int, raw: bytes) -> ProblemError:
    try:
        document = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict):
        return ProblemError("not-a-problem", status, raw[:200].decode(errors="replace"))
    known = ("type", "title", "status", "detail", "code", "instance")
    extra = {name: value for name, value in document.items() if name not in known}
    return ProblemError(
        str(document.get("code", "unknown")), status, str(document.get("detail", "")), extra
    )
