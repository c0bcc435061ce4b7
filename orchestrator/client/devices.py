"""Pairing a browser with a store, a rider or operations (see ``orchestrator/api/devices.py``)."""

from urllib.parse import quote

from orchestrator.client.transport import Transport
from orchestrator.models import DevicePage, Done, Identity, PairingCode

__all__ = ["DeviceCalls"]


class DeviceCalls(Transport):
    """One-time codes, paired devices, and who the token speaks for."""

    async def create_pairing_code(
        self, role: str, subject: str, *, valid_s: int = 600, key: str | None = None
    ) -> PairingCode:
        """A one-time code for one more device; a repeat with the same key shows the same code."""
        body = {"role": role, "subject": subject, "valid_s": valid_s}
        return await self.post(PairingCode, "/devices/codes", body, key)

    async def pair(
        self, code: str, *, device_name: str = "", role: str | None = None, key: str | None = None
    ) -> Identity:
        """Take a code. The session is a cookie: this call is for browsers and for tests."""
        body = {"code": code, "device_name": device_name, "role": role}
        return await self.post(Identity, "/devices/pair", body, key)

    async def identity(self) -> Identity:
        """Who this token speaks for, and until when."""
        return await self.get(Identity, "/devices/me")

    async def devices(self, *, role: str | None = None, subject: str = "") -> DevicePage:
        """Paired devices, the latest first; of one role or subject if given."""
        query = {"role": role, "subject": subject or None}
        return await self.get(DevicePage, "/devices", query)

    async def end_session(self, session_id: str, why: str, *, key: str | None = None) -> Done:
        """Unpair a device from afar."""
        return await self.post(Done, f"/devices/{quote(session_id)}/end", {"why": why}, key)

    async def unpair(self, *, key: str | None = None) -> Done:
        """End the session of a paired device."""
        return await self.post(Done, "/devices/unpair", {}, key)
