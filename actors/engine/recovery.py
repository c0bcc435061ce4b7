"""How a fresh host becomes what the journal says: the snapshot, then the tail of records."""

import asyncio

from actors.engine.host import Host
from actors.engine.ports import Journal, JournalUnavailable

__all__ = ["recover"]

PARTS_PER_READ = 32
"""Parts asked for at once: some megabytes."""


async def recover(host: Host, journal: Journal, head: int) -> None:
    """Bring a fresh host to ``head``: snapshot pages, the parts they name, then the tail (with cold
    entities it needs). Nothing fires here. Entities that were stored again meanwhile may be ahead
    of ``head``; the host then goes on until it is as far as they are, so that its position tells
    the truth of each."""
    pages, position = await journal.recover(host.shard)
    async for page in pages:
        host.load(page)
        await asyncio.sleep(0)
    for entity_id, numbers in host.parts_wanted():
        for start in range(0, len(numbers), PARTS_PER_READ):
            wanted = numbers[start : start + PARTS_PER_READ]
            found = await journal.load_parts(host.shard, entity_id, wanted)
            parts = {number: part for number, part in zip(wanted, found, strict=True) if part}
            if len(parts) < len(wanted):
                raise JournalUnavailable(f"{host.shard}: stored anew while it was read; read again")
            host.load_parts(entity_id, parts)
            await asyncio.sleep(0)
    host.position = position
    while host.position < max(head, host.loaded_to):
        records = await journal.read(host.shard, host.position)
        if not records:
            raise JournalUnavailable(f"{host.shard}: records after {host.position} are missing")
        for at, payload in records:
            if at != host.position + 1:
                raise JournalUnavailable(f"{host.shard}: trimmed while it was read; read it anew")
            record = host.codec.record(payload)
            cold = host.unknown(record)
            if cold:
                host.load(await journal.load_cold(host.shard, cold))
            host.replay(at, record)
        await asyncio.sleep(0)
