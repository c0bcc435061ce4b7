"""Who is calling: bearer tokens (JWT, HS256) with a role and a subject.

``role`` is ``channel | store | rider | ops``; ``sub`` is the id of that channel, store, rider or
person. Tokens speak of real time, not of the service's clock: other systems issue them too.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

import jwt
from msgspec import Struct

from domain.errors import Refused
from orchestrator.settings import Settings

__all__ = ["ROLES", "Caller", "Tokens", "bearer", "tokens_of"]

ROLES = ("channel", "store", "rider", "ops")
ALGORITHM = "HS256"
SECRET_BYTES_MIN = 32
LIFETIME_S = 12 * 3600.0
CACHED_MAX = 10_000
TOKEN_CHARACTERS_MAX = 4_096


class Caller(Struct, frozen=True, gc=False):
    """A verified token. ``expires_at`` is in epoch seconds of real time; ``session_id`` names the
    session of a paired device, "" for a token that was issued otherwise."""

    role: str
    subject: str
    expires_at: float
    session_id: str = ""

    @property
    def name(self) -> str:
        """As it is written into documents: ``ops:ana``."""
        return f"{self.role}:{self.subject}"


class Tokens:
    """Issues and verifies tokens under one shared secret of at least 32 bytes.

    Verified tokens are remembered, at most ``cached_max`` of them (the oldest is forgotten first),
    so that a hot route pays for a signature once; the expiry is checked at every call.
    """

    def __init__(
        self,
        secret: str,
        *,
        now: Callable[[], float] = time.time,
        cached_max: int = CACHED_MAX,
    ) -> None:
        if len(secret.encode()) < SECRET_BYTES_MIN:
            raise ValueError(
                f"The token secret needs {SECRET_BYTES_MIN} bytes or more: set DOORSTEP_JWT_SECRET."
            )
        self._secret = secret
        self._now = now
        self._cached_max = cached_max
        self._cached: OrderedDict[str | bytes, Caller] = OrderedDict()
        self.is_ended: Callable[[str], bool] = lambda _session_id: False
        """Whether the session of a paired device was ended before its time."""

    def issue(
        self, role: str, subject: str, lifetime_s: float = LIFETIME_S, session_id: str = ""
    ) -> str:
        """A token for ``lifetime_s`` real seconds. Raises ``ValueError`` on an unknown role."""
        if role not in ROLES:
            raise ValueError(f"Unknown role {role!r}: use one of {', '.join(ROLES)}.")
        if not subject:
            raise ValueError("A token needs a subject: the channel's, store's or rider's id.")
        now = self._now()
        claims = {"role": role, "sub": subject, "iat": int(now), "exp": int(now + lifetime_s)}
        if session_id:
            claims["sid"] = session_id
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def verify(self, token: str) -> Caller:
        """Who the token speaks for. Raises ``Refused`` with ``token-invalid``, ``token-expired`` or
        ``session-ended``."""
        caller = self._cached.get(token)
        if caller is None:
            caller = self._decoded(token)
            self._remember(token, caller)
        return self._current(token, caller)

    def verify_header(self, authorization: bytes) -> Caller:
        """:meth:`verify` for a whole ``Authorization`` header, which is remembered as it was sent.
        Raises ``Refused`` with ``token-missing``, too."""
        caller = self._cached.get(authorization)
        if caller is None:
            caller = self._decoded(bearer(authorization.decode("latin-1")))
            if len(authorization) <= TOKEN_CHARACTERS_MAX:
                self._remember(authorization, caller)
        return self._current(authorization, caller)

    def _current(self, key: str | bytes, caller: Caller) -> Caller:
        if caller.expires_at <= self._now():
            self._cached.pop(key, None)
            raise Refused("token-expired", "The token has expired. Get a new one and retry.")
        if caller.session_id and self.is_ended(caller.session_id):
            raise Refused("session-ended", "This device was unpaired. Pair it again.")
        return caller

    def _decoded(self, token: str) -> Caller:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise Refused("token-invalid", "The token is too long to be one of ours.")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                options={
                    "require": ["exp", "iat", "sub"],
                    # Expiry is checked by verify, against the clock it was given.
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise Refused(
                "token-invalid",
                "The token is not one of ours or is damaged. Get a new one (`doorstep token`).",
            ) from error
        role, subject, expires_at = claims.get("role"), claims["sub"], claims["exp"]
        if role not in ROLES or not subject or not isinstance(expires_at, int | float):
            raise Refused(
                "token-invalid", f"The token needs a role ({', '.join(ROLES)}), a sub and an exp."
            )
        return Caller(role, subject, float(expires_at), str(claims.get("sid", "")))

    def _remember(self, key: str | bytes, caller: Caller) -> None:
        if len(self._cached) >= self._cached_max:
            self._cached.popitem(last=False)
        self._cached[key] = caller


def tokens_of(settings: Settings) -> Tokens:
    """The tokens of this service. Raises ``ValueError`` while the secret is missing or short."""
    return Tokens(settings.jwt_secret.get_secret_value())


def bearer(authorization: str) -> str:
    """The token in an ``Authorization`` header. Raises ``Refused`` with ``token-missing``."""
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refused("token-missing", "Send the header `Authorization: Bearer <token>`.")
    return token
