"""Sessions of browsers: the same tokens, kept in HttpOnly cookies that no script can read.

One cookie per role (a browser may show a tablet and the monitor at once). A cookie counts only
beside the header ``doorstep-requested-with: <role>``, which no page of another origin can send
without asking first (CORS, which is never granted); on a socket's handshake, only from a page of
the same origin. So a session cannot be used by another site, even where ``SameSite=Strict`` is
not honoured.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from domain.errors import Refused

__all__ = [
    "LIFETIME_S",
    "REQUESTED_WITH",
    "ROLES_WITH_PAGES",
    "authorization_of",
    "clearing",
    "setting",
    "socket_token",
    "with_authorization",
]  # fmt: skip

REQUESTED_WITH = b"doorstep-requested-with"
ROLES_WITH_PAGES = ("store", "rider", "ops")
LIFETIME_S: Mapping[str, float] = {"store": 30 * 86_400.0, "rider": 30 * 86_400.0, "ops": 43_200.0}
"""Real seconds a session lasts; a store's or rider's is renewed while it is used."""
COOKIE_BYTES_MAX = 8_192


def authorization_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The ``Authorization`` that the session's cookie stands for; empty for a request with one of
    its own, or one that does not say for which role it comes."""
    if REQUESTED_WITH not in headers or b"authorization" in headers:
        return b""
    role = headers[REQUESTED_WITH].decode("latin-1")
    token = _cookie(headers.get(b"cookie", b""), role) if role in ROLES_WITH_PAGES else ""
    return b"Bearer " + token.encode() if token else b""


def with_authorization(scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
    """Put the session's token (see :func:`authorization_of`) where routes look for one."""
    authorization = authorization_of(headers)
    if authorization:
        scope["headers"] = [*scope["headers"], (b"authorization", authorization)]


def socket_token(given: str, scope: Mapping[str, Any], roles: Sequence[str]) -> str:
    """The token of a socket's ``auth`` frame; where it is empty, that of the session cookie of
    one of ``roles``. Raises ``Refused``: ``token-missing``, ``foreign-origin``."""
    if given:
        return given
    headers = dict(scope.get("headers", ()))
    for role in roles:
        token = _cookie(headers.get(b"cookie", b""), role)
        if token:
            _check_origin(headers)
            return token
    raise Refused("token-missing", "Send a token in `auth`, or pair this device first.")


def setting(role: str, token: str, *, secure: bool) -> str:
    """The ``Set-Cookie`` that begins a session."""
    return _set_cookie(role, token, int(LIFETIME_S[role]), secure)


def clearing(role: str, *, secure: bool) -> str:
    """The ``Set-Cookie`` that ends a session on the device."""
    return _set_cookie(role, "", 0, secure)


def _set_cookie(role: str, value: str, seconds: int, secure: bool) -> str:
    text = f"doorstep_{role}={value}; Path=/v1; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    return f"{text}; Secure" if secure else text


def _cookie(header: bytes, role: str) -> str:
    if not header or len(header) > COOKIE_BYTES_MAX:
        return ""
    wanted = f"doorstep_{role}"
    for pair in header.decode("latin-1").split(";"):  # others' pairs may be anything
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value if value.isascii() and value.isprintable() else ""
    return ""


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    if not origin or not host or urlsplit(origin).netloc.lower() != host.lower():
        raise Refused(
            "foreign-origin", "A session is good for pages of this service alone; send a token."
        )
