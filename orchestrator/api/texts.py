"""U+0000 is refused in every text that comes in: PostgreSQL cannot store it, in no column and in no
document, and what one order says must not stop the books of all the others."""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from domain.errors import Refused

__all__ = ["check_address", "check_body", "check_utf8"]

_ESCAPED = b"\\u0000"
"""The only way in which JSON can say it. Where these bytes stand it need not: of an escaped
backslash the rest is plain text."""
_IN_QUERY = b"%00"
_decode = msgspec.json.Decoder().decode


def check_body(body: bytes) -> None:
    """A JSON body. Raises ``Refused``: ``invalid-request`` that names the field. A body that cannot
    be read passes: whoever reads it next says why."""
    if _ESCAPED not in body:
        return
    try:
        document = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    field = _place_of_nul(document)
    if field is not None:
        raise _refusal(field)


def check_address(scope: MutableMapping[str, Any]) -> None:
    """Path and query of a request (ASGI). Raises ``Refused``: ``invalid-request``."""
    if "\0" in scope["path"]:
        raise _refusal("path")
    query: bytes = scope["query_string"]
    if _IN_QUERY in query:
        asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        raise _refusal(next((name for name, value in asked if "\0" in value), "query"))


def check_utf8(body: bytes) -> None:
    """JSON between systems is UTF-8 (RFC 8259, 8.1). Python reads UTF-16 and UTF-32 too, in which
    :func:`check_body` would see nothing; neither does without zero bytes. Raises ``Refused``:
    ``malformed-json``."""
    if b"\0" in body:
        raise Refused("malformed-json", "The body is not JSON in UTF-8: it has a zero byte.")


def _place_of_nul(document: Any) -> str | None:
    """Where in a JSON document one is. Without recursion: it may be deep."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if "\0" in value:
                return path or "body"
        elif isinstance(value, dict):
            if any("\0" in name for name in value):
                return path or "body"
            waiting += [(f"{path}.{name}" if path else name, one) for name, one in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{number}]", one) for number, one in enumerate(value)]
    return None


def _refusal(field: str) -> Refused:
    message = "U+0000 is not allowed in a text"
    field = field.replace("\0", "")
    return Refused(
        "invalid-request", f"{field}: {message}.", errors=[{"field": field, "message": message}]
    )
