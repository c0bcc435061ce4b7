"""Devices as the API shows them."""

from datetime import datetime

from msgspec import Struct

__all__ = ["DevicePage", "Identity", "PairedDevice", "PairingCode"]


class PairingCode(Struct, frozen=True, gc=False):
    """A one-time code for a device of ``role`` and ``subject``."""

    code: str
    role: str
    subject: str
    expires_at: datetime


class Identity(Struct, frozen=True, gc=False):
    """Who a device speaks for, and until when its session lasts."""

    role: str
    subject: str
    expires_at: datetime


class PairedDevice(Struct, frozen=True, gc=False):
    """A device that speaks for ``role`` and ``subject``, until ``session_until`` unless it is used
    meanwhile (stores, riders) or unpaired."""

    session_id: str
    role: str
    subject: str
    device_name: str
    paired_at: datetime
    session_until: datetime


class DevicePage(Struct, frozen=True, gc=False):
    """Paired devices, the latest first."""

    items: list[PairedDevice]
    next: str | None
