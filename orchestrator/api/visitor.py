"""Where a request comes from: its address, as far as it can be believed, and its device."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

__all__ = ["DEVICE_CHARACTERS_MAX", "Proxies", "device_of"]

DEVICE_CHARACTERS_MAX = 128


class Proxies:
    """The proxies whose ``X-Forwarded-For`` is believed."""

    def __init__(self, trusted: str) -> None:
        """``trusted``: addresses and networks, by commas. Raises ``ValueError``."""
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(part.strip()) for part in trusted.split(",") if part.strip()
        ]

    def address(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """The connection's address; through trusted proxies, the last one that none of them is.
        What stands before that was written by somebody we do not know."""
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if not self._networks:
            return address
        hops = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        while self._trusts(address) and hops:
            hop = hops.pop().strip()
            if not _is_address(hop):
                break
            address = hop
        return address

    def _trusts(self, address: str) -> bool:
        if not _is_address(address):
            return False
        place = ip_address(address)
        return any(place in network for network in self._networks)


def device_of(headers: Mapping[bytes, bytes]) -> str:
    """The ``Device-Id`` header; empty when there is none, or none that is one."""
    given = headers.get(b"device-id")
    if not given or len(given) > DEVICE_CHARACTERS_MAX:
        return ""
    text = given.decode("latin-1")
    return text if text.isascii() and text.isprintable() else ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
