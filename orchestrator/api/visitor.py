"""Where a request comes from: its address, as far as it can be believed, and its device."""

from collections.abc import Mapping
from typing import Any

from domain.risk.addresses import Network, address_of, network_of

__all__ = ["DEVICE_CHARACTERS_MAX", "Proxies", "device_of"]

DEVICE_CHARACTERS_MAX = 128


class Proxies:
    """The proxies whose ``X-Forwarded-For`` is believed."""

    def __init__(self, trusted: str) -> None:
        """``trusted``: addresses and networks, by commas. Raises ``ValueError``."""
        self._networks: list[Network] = [
            network_of(part.strip()) for part in trusted.split(",") if part.strip()
        ]

    def address(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """The connection's address; through trusted proxies, the last one that none of them is.
        What stands before that was written by somebody we do not know. An IPv4 address that is
        mapped to IPv6 is given as IPv4; a connection without one has no address or a name."""
        client = scope.get("client")
        address = str(client[0]) if client else ""
        address = str(address_of(address) or address)
        if not self._networks:
            return address
        hops = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        while self._trusts(address) and hops:
            hop = address_of(_without_port(hops.pop().strip()))
            if hop is None:
                break
            address = str(hop)
        return address

    def _trusts(self, address: str) -> bool:
        place = address_of(address)
        return place is not None and any(place in network for network in self._networks)


def device_of(headers: Mapping[bytes, bytes]) -> str:
    """The ``Device-Id`` header; empty when there is none, or none that is one."""
    given = headers.get(b"device-id")
    if not given or len(given) > DEVICE_CHARACTERS_MAX:
        return ""
    text = given.decode("latin-1")
    return text if text.isascii() and text.isprintable() else ""


def _without_port(hop: str) -> str:
    """Some proxies write the port, too: ``192.0.2.1:5678``, ``[2001:db8::1]:5678``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
