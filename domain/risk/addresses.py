"""Internet addresses as blocklists and limits take them: one address is one, however written."""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

__all__ = ["Address", "Network", "address_of", "counted_as", "network_of"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96
"""What stands before the IPv4 address in one that is mapped to IPv6 (RFC 4291, 2.5.5.2)."""
_SITE_BITS = 64
"""One household or machine has this much of an IPv6 address, and may choose the rest of it as
often as it likes (RFC 6177, RFC 8981)."""


def address_of(text: str) -> Address | None:
    """The address; one that is mapped to IPv6 (``::ffff:192.0.2.1``) as the IPv4 address that it
    is. None for what is no address."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def network_of(text: str) -> Network:
    """The network, or the address as a network of one; mapped ones as :func:`address_of` has it.
    Raises ``ValueError``."""
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.prefixlen >= _MAPPED_BITS:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return found


def counted_as(text: str) -> str:
    """What a limit counts for an address: IPv4 each by itself, IPv6 by its /64. What is no address
    is counted as it is."""
    found = address_of(text)
    if found is None:
        return text
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), _SITE_BITS), strict=False))
    return str(found)
