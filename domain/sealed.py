"""Values that travel through other hands and come back: signed, so that nobody else can make them.

The text is not secret, only unforgeable: base64url of the value and of an HMAC-SHA256 over purpose
and value. A seal for one purpose is none for another.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeVar

import msgspec

from domain.message import Value

__all__ = ["seal", "unseal"]

SIGNATURE_BYTES = 16
"""128 bits of the HMAC: more than anybody can guess, short enough for a body."""

V = TypeVar("V", bound=Value)


def seal(secret: bytes, purpose: str, value: Value) -> str:
    """The value as text that only who knows ``secret`` can make."""
    raw = msgspec.msgpack.encode(value)
    return f"{_text(raw)}.{_text(_signature(secret, purpose, raw))}"


def unseal(secret: bytes, purpose: str, text: str, kind: type[V]) -> V | None:
    """The value, or None when it was not sealed with this secret for this purpose."""
    first, dot, second = text.partition(".")
    try:
        raw, signature = _bytes(first), _bytes(second)
    except ValueError:
        return None
    if not dot or not hmac.compare_digest(signature, _signature(secret, purpose, raw)):
        return None
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.DecodeError:
        return None


def _signature(secret: bytes, purpose: str, raw: bytes) -> bytes:
    return hmac.digest(secret, purpose.encode() + b"\0" + raw, "sha256")[:SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises ``ValueError`` for any text but the one that :func:`_text` makes."""
    raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if _text(raw) != text:
        raise ValueError("not as it was written")
    return raw
