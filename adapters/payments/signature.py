"""The webhook signature: HMAC-SHA256 over ``"<timestamp>.<body>"`` (docs/protocol/webhooks.md).

The timestamp is service time of the sending, made anew (and signed anew) at each attempt. Age is
really a matter of real seconds: a recorded webhook must not be usable later. On a scaled clock the
same real seconds are more service seconds, so the tolerance is scaled by the clock's speed.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from math import isfinite

from domain.errors import Refused

__all__ = ["SIGNATURE_HEADER", "TOLERANCE_REAL_S", "check", "sign"]

SIGNATURE_HEADER = "doorstep-signature"
TOLERANCE_REAL_S = 300.0
"""How old, or how far ahead, a webhook's timestamp may be, in real seconds."""

HEADER_CHARACTERS_MAX = 1024


def sign(body: bytes, secret: str, at: float) -> str:
    """The header's value for a body sent at service time ``at`` (epoch seconds)."""
    timestamp = f"{at:.3f}"
    return f"t={timestamp},v1={_digest(body, secret, timestamp)}"


def check(
    body: bytes, header: str, secrets: Sequence[str], now: float, clock_speed: float = 1.0
) -> None:
    """Accept the body, or raise ``Refused`` with ``bad-signature`` or ``stale-webhook``.

    Any of the ``secrets`` and any ``v1`` of the header may fit, so that secrets can be rotated. An
    unsigned body is refused as such before its age is looked at.
    """
    timestamp, signatures = _parts(header)
    genuine = False
    for secret in secrets:
        expected = _digest(body, secret, timestamp).encode()
        for signature in signatures:
            genuine |= hmac.compare_digest(expected, signature.encode())
    if not genuine:
        raise Refused(
            "bad-signature",
            f"Sign '<timestamp>.<body>' with the shared secret and send {SIGNATURE_HEADER}.",
        )
    age_s = now - _seconds(timestamp)
    if abs(age_s) > TOLERANCE_REAL_S * clock_speed:
        raise Refused(
            "stale-webhook",
            "The signature's timestamp is too far from the service's time; sign and send again.",
        )


def _digest(body: bytes, secret: str, timestamp: str) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, sha256).hexdigest()


def _parts(header: str) -> tuple[str, list[str]]:
    timestamp = ""
    signatures: list[str] = []
    for part in header[:HEADER_CHARACTERS_MAX].split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            timestamp = value
        elif name == "v1":
            signatures.append(value)
    return timestamp, signatures


def _seconds(timestamp: str) -> float:
    try:
        seconds = float(timestamp)
    except ValueError:
        seconds = float("nan")
    if not isfinite(seconds):
        raise Refused("malformed-webhook", "The signature's t must be epoch seconds.")
    return seconds
