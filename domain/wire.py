"""Public JSON documents: how a struct of the business looks to devices and pages."""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

__all__ = ["document", "moment"]

_encoder = msgspec.json.Encoder()


def document(public: Struct) -> bytes:
    """The JSON document of a public struct."""
    return _encoder.encode(public)


def moment(at: float) -> datetime:
    """Epoch seconds as UTC, to the microsecond; on the wire RFC 3339 with an offset."""
    return datetime.fromtimestamp(at, UTC)
