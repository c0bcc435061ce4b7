"""The blocklists as every process knows them, a moment old."""

from math import inf

from domain.risk.addresses import Network, address_of, network_of
from domain.risk.commands import Block

__all__ = ["Blocks"]


class Blocks:
    """Read model of all blocks; false when there are none."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, str], Block] = {}
        self._networks: dict[str, Network] = {}

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def put(self, block: Block) -> None:
        """Add or replace."""
        self._blocks[block.kind, block.value] = block
        if block.kind == "address":
            self._networks[block.value] = network_of(block.value)

    def drop(self, kind: str, value: str) -> None:
        """Take away; unknown ones are ignored."""
        self._blocks.pop((kind, value), None)
        if kind == "address":
            self._networks.pop(value, None)

    def all(self) -> list[Block]:
        """By kind and value."""
        return [self._blocks[key] for key in sorted(self._blocks)]

    def covers(self, kind: str, value: str, now: float) -> bool:
        """Whether this customer, phone or device may not order now. Empty values are nobody's."""
        block = self._blocks.get((kind, value)) if value else None
        return block is not None and now < _until(block)

    def covers_address(self, address: str, now: float) -> bool:
        """As :meth:`covers`, for an IP address, by itself or by its network, however either is
        written."""
        place = address_of(address) if self._networks and address else None
        return place is not None and any(
            place in network and now < _until(self._blocks["address", value])
            for value, network in self._networks.items()
        )


def _until(block: Block) -> float:
    return inf if block.until is None else block.until
