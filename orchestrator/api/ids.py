"""Ids that are worked out instead of drawn: the same parts make the same id."""

from hashlib import blake2b

__all__ = ["derived_id", "order_id_of"]

_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8
"""Each byte's lower 5 bits as a character."""


def derived_id(*parts: str, characters: int = 20) -> str:
    """An id that is the same for the same parts: ``characters`` of the base32 alphabet in lower
    case, 5 bits each, from a BLAKE2b digest."""
    return _id_of("".join([f"{len(part)}:{part}" for part in parts]), characters)


def order_id_of(channel: str, key: str) -> str:
    """The order that this channel's Idempotency-Key places: a retry reaches the same entity."""
    return "o" + _id_of(f"{len(channel)}:{channel}{len(key)}:{key}", 20)  # as derived_id's


def _id_of(text: str, characters: int) -> str:
    return blake2b(text.encode(), digest_size=characters).digest().translate(_BASE32).decode()
