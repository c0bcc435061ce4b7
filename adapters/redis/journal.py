"""The journal on Redis: one stream per shard, fenced appends in Lua, snapshots in a hash.

Keys of a shard share one hash tag, so that a Redis cluster keeps them on one node:

- ``{order.3}:log``   stream, one entry per record, id ``<position>-0``, field ``r``
- ``{order.3}:meta``  hash: ``epoch``, ``head``, ``covered`` (by snapshots), ``projected``
- ``{order.3}:live``  hash: entity id -> position + state, the snapshot
- ``{campaign.0}:parts:<id>``  hash: number -> a part of a large entity of the snapshot
- ``{order.3}:cold:<id>``  a finished entity that left memory, with an expiry

With ``appendonly yes, appendfsync always`` Redis answers an append only once it is on disk.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.exceptions import RedisError

from actors.engine.ports import Append, JournalUnavailable, Shard, SnapshotWrite, Stored

__all__ = ["RedisJournal"]

T = TypeVar("T")

PAGE = 1_000
"""Entities per page of a recovery."""

CLAIM = """
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return {epoch, tonumber(redis.call('HGET', KEYS[1], 'head') or '0')}
"""

# KEYS: meta and stream of each append. ARGV: epoch, position, payload of each.
# All are stored or none: the numbers (from 1) of those whose writer is fenced, or knows of records
# that this journal does not have (it was restored, or a replica took over that lacked them).
APPEND = """
local heads, fenced = {}, {}
for i = 1, #KEYS / 2 do
  local key, position = KEYS[2 * i - 1], tonumber(ARGV[3 * i - 1])
  local head = heads[key]
  if not head then
    local meta = redis.call('HMGET', key, 'epoch', 'head')
    head = {stored = tonumber(meta[2] or '0'), ours = meta[1] == ARGV[3 * i - 2]}
    head.last = head.stored
    heads[key] = head
  end
  if not head.ours or position > head.last + 1 then fenced[#fenced + 1] = i end
  head.last = math.max(head.last, position)
end
if #fenced > 0 then return fenced end
for i = 1, #KEYS / 2 do
  if tonumber(ARGV[3 * i - 1]) > heads[KEYS[2 * i - 1]].stored then
    redis.call('XADD', KEYS[2 * i], ARGV[3 * i - 1] .. '-0', 'r', ARGV[3 * i])
    redis.call('HSET', KEYS[2 * i - 1], 'head', ARGV[3 * i - 1])
  end
end
return fenced
"""

# KEYS: meta, live, then one cold key per cold entity, then the parts of others.
# ARGV: epoch, covered ('' while the pass goes on), retention ms (0: for ever), live pairs, cold
#       entities, id, data, ... of the live ones, then of the cold ones; then for each key of parts
#       how many, number, data, ..., and how many of them are dropped (-1: all), number, ...
SNAPSHOT = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
local at, colds = 6, tonumber(ARGV[5])
for _ = 1, tonumber(ARGV[4]) do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for i = 3, 2 + colds do
  redis.call('SET', KEYS[i], ARGV[at + 1])
  if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
  redis.call('HDEL', KEYS[2], ARGV[at])
  at = at + 2
end
for i = 3 + colds, #KEYS do
  for _ = 1, tonumber(ARGV[at]) do
    redis.call('HSET', KEYS[i], ARGV[at + 1], ARGV[at + 2])
    at = at + 2
  end
  local dropped = tonumber(ARGV[at + 1])
  if dropped < 0 then redis.call('UNLINK', KEYS[i]) end
  for n = 1, dropped do redis.call('HDEL', KEYS[i], ARGV[at + 1 + n]) end
  at = at + 2 + math.max(dropped, 0)
end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'covered', ARGV[2]) end
return 1
"""

# The newest record always stays: by its position a follower that slept sees that it missed some.
TRIM = """
local meta = redis.call('HMGET', KEYS[1], 'covered', 'projected', 'head')
local upto = math.min(
  tonumber(meta[1] or '0'), tonumber(meta[2] or '0'), tonumber(meta[3] or '1') - 1)
if upto > 0 then redis.call('XTRIM', KEYS[2], 'MINID', '=', (upto + 1) .. '-0') end
return upto + 1
"""


class RedisJournal:
    """Implements :class:`actors.engine.ports.Journal`. One per process; safe to share by tasks."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "",
        cold_retention_s: float = 7 * 86_400.0,
        timeout_s: float = 5.0,
    ) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, health_check_interval=0
        )
        self._followers: Any = redis.Redis.from_url(
            url, socket_timeout=timeout_s + 30.0, socket_connect_timeout=timeout_s
        )
        self._prefix = prefix
        self._retention_ms = int(cold_retention_s * 1000)
        self._claim = self._redis.register_script(CLAIM)
        self._append = self._redis.register_script(APPEND)
        self._snapshot = self._redis.register_script(SNAPSHOT)
        self._trim = self._redis.register_script(TRIM)

    def _key(self, shard: Shard, name: str) -> str:
        return f"{self._prefix}{{{shard.kind}.{shard.number}}}:{name}"

    async def claim(self, shard: Shard) -> tuple[int, int]:
        """Take the shard over; older writers are fenced from now on."""
        epoch, head = await self._call(self._claim, keys=[self._key(shard, "meta")])
        return int(epoch), int(head)

    async def append(self, appends: Sequence[Append]) -> set[Shard]:
        """All appends in one script, whole or not at all; the fenced shards. See the port."""
        keys: list[str] = []
        arguments: list[Any] = []
        for append in appends:
            keys += (self._key(append.shard, "meta"), self._key(append.shard, "log"))
            arguments += (append.epoch, append.position, append.payload)
        fenced = await self._call(self._append, keys=keys, args=arguments)
        return {appends[number - 1].shard for number in fenced}

    async def recover(self, shard: Shard) -> tuple[AsyncIterator[list[Stored]], int]:
        """Snapshot pages and the position to read on from."""
        covered = await self._call(self._redis.hget, self._key(shard, "meta"), "covered")
        return self._pages(shard), int(covered or 0)

    async def _pages(self, shard: Shard) -> AsyncIterator[list[Stored]]:
        cursor, key = 0, self._key(shard, "live")
        run_id = await self._run_id()
        while True:
            cursor, found = await self._call(self._redis.hscan, key, cursor, count=PAGE)
            if found:
                yield [_stored(entity.decode(), data) for entity, data in found.items()]
            if cursor == 0:
                break
        await self._same_run(run_id)

    async def load_parts(
        self, shard: Shard, entity_id: str, numbers: Sequence[int]
    ) -> list[bytes | None]:
        """Parts of an entity of the snapshot, by number."""
        found: list[bytes | None] = await self._call(
            self._redis.hmget, self._key(shard, f"parts:{entity_id}"), numbers
        )
        return found

    async def read(self, shard: Shard, after: int, count: int = 500) -> list[tuple[int, bytes]]:
        """Records after a position."""
        found = await self._call(
            self._redis.xrange, self._key(shard, "log"), f"{after + 1}-0", "+", count=count
        )
        return [(_position(entry_id), fields[b"r"]) for entry_id, fields in found]

    async def follow(
        self, cursors: Mapping[Shard, int], wait_s: float, count: int = 500
    ) -> list[tuple[Shard, int, bytes]]:
        """Records of many shards after their positions; blocks until there is one."""
        shards = {self._key(shard, "log"): shard for shard in cursors}
        streams = {key: f"{cursors[shard]}-0" for key, shard in shards.items()}
        found = await self._call(
            self._followers.xread, streams, count=count, block=max(int(wait_s * 1000), 1)
        )
        if not found:
            return []
        items = found.items() if isinstance(found, dict) else found
        return [
            (shards[_text(key)], _position(entry_id), fields[b"r"])
            for key, entries in items
            for entry_id, fields in _flat(entries)
        ]

    async def load_cold(self, shard: Shard, entity_ids: Sequence[str]) -> list[Stored]:
        """Passivated entities among those asked."""
        keys = [self._key(shard, f"cold:{entity}") for entity in entity_ids]
        found = await self._call(self._redis.mget, keys)
        return [
            _stored(entity, data)
            for entity, data in zip(entity_ids, found, strict=True)
            if data is not None
        ]

    async def cold_ids(self, shards: Sequence[Shard]) -> AsyncIterator[tuple[Shard, list[str]]]:
        """All ids of cold keys, in one walk over the key space for all shards."""
        starts = {self._key(shard, "cold:"): shard for shard in shards}
        cursor = 0
        run_id = await self._run_id()
        while True:
            cursor, keys = await self._call(self._redis.scan, cursor, match="*}:cold:*", count=PAGE)
            found: dict[Shard, list[str]] = {}
            for key in keys:
                start, separator, entity_id = key.decode().partition(":cold:")
                shard = starts.get(start + separator)
                if shard is not None:
                    found.setdefault(shard, []).append(entity_id)
            for item in found.items():
                yield item
            if cursor == 0:
                break
        await self._same_run(run_id)

    async def _run_id(self) -> str:
        """Which Redis process this is: of another one a cursor means other keys, and it may be
        another from one call to the next, without an error."""
        facts = await self._call(self._redis.info, "server")
        return str(facts["run_id"])

    async def _same_run(self, run_id: str) -> None:
        if await self._run_id() != run_id:
            raise JournalUnavailable(
                "Redis was started anew during a walk: it may have missed keys."
            )

    async def write_snapshot(self, write: SnapshotWrite) -> None:
        """Store a slice; a fenced writer's slice is dropped."""
        keys = [self._key(write.shard, "meta"), self._key(write.shard, "live")]
        keys += [self._key(write.shard, f"cold:{stored.entity_id}") for stored in write.cold]
        arguments: list[Any] = [
            write.epoch,
            "" if write.covered is None else write.covered,
            0 if write.lasting else self._retention_ms,
            len(write.live),
            len(write.cold),
        ]
        for stored in (*write.live, *write.cold):
            arguments += [stored.entity_id, _packed(stored)]
        for parts in write.parts:
            keys.append(self._key(write.shard, f"parts:{parts.entity_id}"))
            arguments.append(len(parts.stored))
            for number, data in parts.stored:
                arguments += [number, data]
            if parts.dropped is None:
                arguments.append(-1)
            else:
                arguments += [len(parts.dropped), *parts.dropped]
        await self._call(self._snapshot, keys=keys, args=arguments)

    async def mark_projected(self, shard: Shard, position: int) -> None:
        """The ledger has applied everything up to here."""
        await self._call(self._redis.hset, self._key(shard, "meta"), "projected", position)

    async def trim(self, shard: Shard) -> int:
        """Drop what is snapshotted and projected."""
        keys = [self._key(shard, "meta"), self._key(shard, "log")]
        return int(await self._call(self._trim, keys=keys))

    async def heads(self, shards: Sequence[Shard]) -> dict[Shard, int]:
        """Newest positions."""
        pipeline = self._redis.pipeline(transaction=False)
        for shard in shards:
            pipeline.hget(self._key(shard, "meta"), "head")
        found = await self._call(pipeline.execute)
        return {shard: int(head or 0) for shard, head in zip(shards, found, strict=True)}

    async def ping(self) -> None:
        """Raises JournalUnavailable when away."""
        await self._call(self._redis.ping)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._followers.aclose()

    async def _call(self, call: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        try:
            return await call(*args, **kwargs)
        except (RedisError, OSError) as error:
            # a full, busy, loading, read-only or moved Redis is as away as a dead one
            raise JournalUnavailable(f"Redis: {error}") from error


def _position(entry_id: bytes) -> int:
    return int(entry_id.split(b"-", 1)[0])


def _text(key: bytes | str) -> str:
    return key.decode() if isinstance(key, bytes) else key


def _flat(entries: Any) -> Any:
    """RESP3 answers wrap the entries of a stream once more."""
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _packed(stored: Stored) -> bytes:
    return stored.position.to_bytes(8, "big") + stored.data


def _stored(entity_id: str, packed: bytes) -> Stored:
    return Stored(entity_id, int.from_bytes(packed[:8], "big"), packed[8:])
