"""The thin layer under the hot routes: bodies in, answers out, nothing between."""

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import lru_cache
from itertools import count
from secrets import token_hex
from typing import Any, NamedTuple

import msgspec

from domain.errors import DoorstepError, Refused, Unavailable
from orchestrator import metrics
from orchestrator.api import problems
from orchestrator.api.texts import check_body
from orchestrator.whole import Answer, Headers, Scope, head_of

__all__ = [
    "Answer", "Headers", "HotRoute", "Message", "Receive", "Scope", "Send", "check_size",
    "decoded", "headers_of", "json_answer", "problem_answer", "read_body", "replay",
    "request_id_of", "require_json", "send_answer", "with_request_id",
]  # fmt: skip

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
REQUEST_ID_CHARACTERS_MAX = 64

_encode = msgspec.json.Encoder().encode
_JSON_TYPE = (b"content-type", b"application/json")
_ids_of_process = f"{token_hex(6)}-"
_numbers = count(1)


class HotRoute(NamedTuple):
    """A route that is answered before FastAPI sees it. ``template`` as OpenAPI writes it; a
    template with a parameter at its end matches by what stands before.

    ``handle`` gets the scope, its headers and the whole body. It answers, gives what is to be
    awaited for the answer, or raises ``DoorstepError``.
    """

    method: str
    template: str
    handle: Callable[[Scope, Headers, bytes], Answer | Coroutine[Any, Any, Answer]]


def json_answer(document: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> Answer:
    """The document as JSON."""
    return _answer(status, [_JSON_TYPE, *headers], _encode(document))


def problem_answer(error: DoorstepError) -> Answer:
    """The error as problem+json. The same error, such as *sold out* in a rush, is encoded once."""
    extra = error.extra
    try:
        return _same_problem(
            error.retryable, error.code, error.detail, tuple(extra), *extra.values()
        )
    except TypeError:  # an extra member is a list or an object
        return _problem(error)


@lru_cache(maxsize=256, typed=True)
def _same_problem(
    retryable: bool, code: str, detail: str, names: tuple[str, ...], *values: Any
) -> Answer:
    kind = Unavailable if retryable else Refused
    return _problem(kind(code, detail, **dict(zip(names, values, strict=True))))


def _problem(error: DoorstepError) -> Answer:
    status, headers, body = problems.encoded(error)
    return _answer(
        status, [(name.encode(), value.encode()) for name, value in headers.items()], body
    )


def _answer(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
    return Answer(status, head_of([*headers, (b"content-length", b"%d" % len(body))]), body)


def with_request_id(answer: Answer, request_id: str) -> Answer:
    """The answer to this request. ``request_id`` as of :func:`request_id_of`."""
    head = answer.head + b"x-request-id: " + request_id.encode() + b"\r\n"
    return Answer(answer.status, head, answer.body)


def headers_of(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Its headers one by one."""
    lines = answer.head.split(b"\r\n")[:-1]
    return [(name, value) for name, _, value in [line.partition(b": ") for line in lines]]


async def send_answer(answer: Answer, send: Send) -> None:
    """Send it as ASGI's messages."""
    headers = headers_of(answer)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def read_body(receive: Receive, headers: Headers, bytes_max: int) -> bytes:
    """The whole body. Raises ``Refused``: ``body-too-large`` as soon as that is known,
    ``malformed-json`` where the body's end never came, so that half a request is never done."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit():
        check_size(int(length), bytes_max)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("malformed-json", "The connection was closed before the body's end.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        check_size(size, bytes_max)
        more = message.get("more_body", False)
    return b"".join(parts)


def check_size(size: int, bytes_max: int) -> None:
    """Raises ``Refused`` with ``body-too-large``."""
    if size > bytes_max:
        metrics.http_bytes_refused.inc()
        raise Refused("body-too-large", f"A body may have at most {bytes_max} bytes.")


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body already read, then what follows it (a disconnect)."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def require_json(headers: Headers) -> None:
    """Raises ``Refused`` with ``wrong-content-type``."""
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json":
        media_type = content_type.partition(b";")[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise Refused("wrong-content-type", "Send the header `Content-Type: application/json`.")


def decoded(decode: Callable[[bytes], Any], body: bytes) -> Any:
    """The body by a msgspec decoder. Raises ``Refused``: ``malformed-json``, ``invalid-request``
    (with the field named)."""
    check_body(body)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("malformed-json", f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise Refused("malformed-json", "The body is nested too deeply.") from None


def request_id_of(headers: Headers) -> str:
    """The caller's ``X-Request-Id`` if it is a decent one, else a new id."""
    given = headers.get(b"x-request-id")
    if given and len(given) <= REQUEST_ID_CHARACTERS_MAX:
        text = given.decode("latin-1")
        if text.isascii() and text.isprintable() and " " not in text:
            return text
    return _ids_of_process + str(next(_numbers))


def _invalid(text: str) -> Refused:
    message, _, path = text.rpartition(" - at `")
    field = path.rstrip("`").removeprefix("$").removeprefix(".") if message else ""
    return Refused(
        "invalid-request",
        text if not message else f"{field or 'The body'}: {message}.",
        errors=[{"field": field, "message": message or text}],
    )
