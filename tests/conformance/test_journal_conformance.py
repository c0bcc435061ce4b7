"""What every journal must do, whichever it is (ARCHITECTURE, Engine rules 6 and 7)."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from actors.engine.ports import (
    Append,
    Journal,
    JournalUnavailable,
    PartsWrite,
    Shard,
    SnapshotWrite,
    Stored,
)
from adapters.redis.journal import RedisJournal
from adapters.redis.server import EmbeddedRedis
from tests.fakes.memory_journal import MemoryJournal

SHARD = Shard("order", 3)
OTHER = Shard("store", 0)


@pytest.fixture(params=["memory", "redis"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    server = EmbeddedRedis(tmp_path)
    await server.start()
    journal = RedisJournal(server.url)
    yield journal
    await journal.close()
    await server.stop()


async def written(journal: Journal, shard: Shard, count: int) -> int:
    epoch, head = await journal.claim(shard)
    for position in range(head + 1, head + count + 1):
        assert not await journal.append([Append(shard, epoch, position, b"r%d" % position)])
    return epoch


async def test_records_come_back_in_order_with_their_positions(journal: Journal) -> None:
    await written(journal, SHARD, 3)
    assert await journal.read(SHARD, 0) == [(1, b"r1"), (2, b"r2"), (3, b"r3")]
    assert await journal.read(SHARD, 2) == [(3, b"r3")]
    assert await journal.heads([SHARD, OTHER]) == {SHARD: 3, OTHER: 0}


async def test_a_new_writer_goes_on_where_the_old_one_stopped(journal: Journal) -> None:
    first = await written(journal, SHARD, 2)
    epoch, head = await journal.claim(SHARD)
    assert (epoch, head) == (first + 1, 2)


async def test_a_fenced_writer_changes_nothing(journal: Journal) -> None:
    old = await written(journal, SHARD, 1)
    new, _ = await journal.claim(SHARD)
    assert await journal.append([Append(SHARD, old, 2, b"ghost")]) == {SHARD}
    assert await journal.append([Append(SHARD, new, 2, b"true")]) == set()
    assert await journal.read(SHARD, 1) == [(2, b"true")]


async def test_with_one_fenced_shard_nothing_of_the_batch_is_stored(journal: Journal) -> None:
    old = await written(journal, SHARD, 1)
    await journal.claim(SHARD)
    epoch, _ = await journal.claim(OTHER)
    fenced = await journal.append([Append(OTHER, epoch, 1, b"y"), Append(SHARD, old, 2, b"x")])
    assert fenced == {SHARD}
    assert await journal.read(OTHER, 0) == []
    assert await journal.read(SHARD, 0) == [(1, b"r1")]


async def test_several_records_of_a_shard_go_in_one_append(journal: Journal) -> None:
    epoch = await written(journal, SHARD, 1)
    other, _ = await journal.claim(OTHER)
    batch = [
        Append(SHARD, epoch, 2, b"r2"),
        Append(OTHER, other, 1, b"o1"),
        Append(SHARD, epoch, 3, b"r3"),
    ]
    assert await journal.append(batch) == set()
    assert await journal.append(batch) == set()
    assert await journal.read(SHARD, 0) == [(1, b"r1"), (2, b"r2"), (3, b"r3")]
    assert await journal.read(OTHER, 0) == [(1, b"o1")]


async def test_a_gap_in_one_shard_stops_the_whole_batch(journal: Journal) -> None:
    epoch = await written(journal, SHARD, 1)
    other, _ = await journal.claim(OTHER)
    batch = [Append(OTHER, other, 1, b"o1"), Append(SHARD, epoch, 3, b"r3")]
    assert await journal.append(batch) == {SHARD}
    assert await journal.read(OTHER, 0) == []


async def test_repeating_an_append_that_was_stored_is_harmless(journal: Journal) -> None:
    epoch = await written(journal, SHARD, 2)
    assert await journal.append([Append(SHARD, epoch, 2, b"r2")]) == set()
    assert await journal.read(SHARD, 0) == [(1, b"r1"), (2, b"r2")]


async def test_a_writer_ahead_of_a_restored_journal_must_stop_and_no_gap_is_written(
    journal: Journal,
) -> None:
    epoch = await written(journal, SHARD, 1)
    assert await journal.append([Append(SHARD, epoch, 3, b"r3")]) == {SHARD}
    assert await journal.read(SHARD, 0) == [(1, b"r1")]


async def test_followers_get_what_comes_after_their_position(journal: Journal) -> None:
    await written(journal, SHARD, 3)
    await written(journal, OTHER, 1)
    found = await journal.follow({SHARD: 1, OTHER: 0}, wait_s=1.0)
    assert sorted(found) == [(SHARD, 2, b"r2"), (SHARD, 3, b"r3"), (OTHER, 1, b"r1")]
    assert await journal.follow({SHARD: 3, OTHER: 1}, wait_s=0.01) == []


async def snapshot(journal: Journal) -> list[Stored]:
    pages, _ = await journal.recover(SHARD)
    return sorted([stored async for page in pages for stored in page])


async def test_a_snapshot_comes_back_with_the_position_to_read_on_from(journal: Journal) -> None:
    epoch = await written(journal, SHARD, 4)
    first = [Stored("a", 1, b"A"), Stored("b", 2, b"B")]
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, first, [], None))
    assert (await journal.recover(SHARD))[1] == 0, "a pass under way covers nothing yet"
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, [Stored("b", 4, b"B2")], [], 3))
    assert await snapshot(journal) == [Stored("a", 1, b"A"), Stored("b", 4, b"B2")]
    assert (await journal.recover(SHARD))[1] == 3


async def test_a_large_snapshot_comes_in_pages_and_whole(journal: Journal) -> None:
    epoch = await written(journal, SHARD, 1)
    stored = [Stored(f"e{number:05}", 1, b"x" * 50) for number in range(3_500)]
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, stored, [], 1))
    assert await snapshot(journal) == stored


async def test_a_fenced_writer_does_not_touch_the_snapshot(journal: Journal) -> None:
    old = await written(journal, SHARD, 1)
    await journal.claim(SHARD)
    await journal.write_snapshot(SnapshotWrite(SHARD, old, [Stored("a", 1, b"ghost")], [], 1))
    assert await snapshot(journal) == []


async def test_parts_of_a_large_entity_are_stored_one_by_one_until_they_are_dropped(
    journal: Journal,
) -> None:
    epoch = await written(journal, SHARD, 3)
    some = PartsWrite("a", [(1, b"one"), (2, b"\x00two")], ())
    others = [PartsWrite("a", [(3, b"three")], ()), PartsWrite("b", [(1, b"of b")], ())]
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, [], [], None, parts=[some]))
    root = [Stored("a", 3, b"A")]
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, root, [], 3, parts=others))
    assert await snapshot(journal) == root, "parts are no entities"
    assert await journal.load_parts(SHARD, "a", [3, 1, 9]) == [b"three", b"one", None]
    assert await journal.load_parts(OTHER, "a", [1]) == [None]
    fewer = PartsWrite("a", [(4, b"four")], (1, 2, 8))
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, root, [], 3, parts=[fewer]))
    numbers = [1, 2, 3, 4]
    assert await journal.load_parts(SHARD, "a", numbers) == [None, None, b"three", b"four"]
    left, cold = PartsWrite("a", (), None), [Stored("a", 3, b"all")]
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, [], cold, 3, parts=[left]))
    assert await journal.load_parts(SHARD, "a", numbers) == [None] * 4
    assert await journal.load_cold(SHARD, ["a"]) == cold
    assert await journal.load_parts(SHARD, "b", [1]) == [b"of b"]


async def test_a_fenced_writer_does_not_touch_the_parts(journal: Journal) -> None:
    old = await written(journal, SHARD, 1)
    ours = PartsWrite("a", [(1, b"one")], ())
    await journal.write_snapshot(SnapshotWrite(SHARD, old, [], [], None, parts=[ours]))
    await journal.claim(SHARD)
    for ghost in (PartsWrite("a", [(1, b"ghost"), (2, b"ghost")], ()), PartsWrite("a", (), None)):
        await journal.write_snapshot(SnapshotWrite(SHARD, old, [], [], None, parts=[ghost]))
    assert await journal.load_parts(SHARD, "a", [1, 2]) == [b"one", None]


@pytest.mark.parametrize("lasting", [True, False])
async def test_cold_entities_of_a_lasting_kind_are_never_dropped(
    tmp_path: Path, lasting: bool
) -> None:
    server = EmbeddedRedis(tmp_path)
    await server.start()
    journal = RedisJournal(server.url, cold_retention_s=0.001)
    epoch = await written(journal, SHARD, 1)
    left = SnapshotWrite(SHARD, epoch, [], [Stored("a", 1, b"A")], 1, lasting)
    await journal.write_snapshot(left)
    while not lasting and await journal.load_cold(SHARD, ["a"]):
        pass  # it goes within a moment
    assert len(await journal.load_cold(SHARD, ["a"])) == lasting
    keys = [key async for key in journal._redis.scan_iter("*cold:a")]
    assert [await journal._redis.pttl(key) for key in keys] == ([-1] if lasting else [])
    await journal.close()
    await server.stop()


async def test_cold_entities_leave_the_snapshot_and_can_be_loaded(journal: Journal) -> None:
    epoch = await written(journal, SHARD, 2)
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, [Stored("a", 1, b"A")], [], None))
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, [], [Stored("a", 2, b"A2")], 2))
    assert await snapshot(journal) == []
    assert await journal.load_cold(SHARD, ["a", "never"]) == [Stored("a", 2, b"A2")]


async def test_the_ids_of_cold_entities_are_told(journal: Journal) -> None:
    written_: dict[Shard, set[str]] = {SHARD: {f"o{n}" for n in range(2_500)}, OTHER: {"s:cold:1"}}
    for shard, ids in written_.items():
        epoch = await written(journal, shard, 1)
        cold = [Stored(entity_id, 1, b"A") for entity_id in ids]
        await journal.write_snapshot(SnapshotWrite(shard, epoch, [], cold, 1))
    found: dict[Shard, set[str]] = {}
    async for shard, names in journal.cold_ids([SHARD, OTHER]):
        found.setdefault(shard, set()).update(names)
    assert found == written_
    assert {shard async for shard, _ in journal.cold_ids([OTHER])} == {OTHER}


async def to_its_end(walk: AsyncIterator[object]) -> None:
    async for _ in walk:
        pass


async def test_a_walk_over_two_lives_of_redis_is_begun_again(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    await server.start()
    journal = RedisJournal(server.url)
    epoch = await written(journal, SHARD, 1)
    many = [Stored(f"o{number}", 1, b"A") for number in range(3_000)]
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, many[:1_500], many[1_500:], 1))
    pages, _ = await journal.recover(SHARD)
    for walk in (journal.cold_ids([SHARD]), pages):
        assert await anext(walk)
        await server.stop()
        await server.start()
        with suppress(JournalUnavailable):  # the client connects anew, and the walk may not notice
            await journal.ping()
        with pytest.raises(JournalUnavailable, match="anew"):
            await to_its_end(walk)
    await journal.close()
    await server.stop()


async def test_records_are_trimmed_only_when_snapshotted_and_projected(journal: Journal) -> None:
    epoch = await written(journal, SHARD, 5)
    await journal.trim(SHARD)
    assert len(await journal.read(SHARD, 0)) == 5
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, [], [], 4))
    await journal.trim(SHARD)
    assert len(await journal.read(SHARD, 0)) == 5, "the ledger has not seen them yet"
    await journal.mark_projected(SHARD, 3)
    assert await journal.trim(SHARD) == 4
    assert await journal.read(SHARD, 0) == [(4, b"r4"), (5, b"r5")]


async def test_the_newest_record_stays_so_that_a_slow_follower_sees_the_gap(
    journal: Journal,
) -> None:
    epoch = await written(journal, SHARD, 5)
    await journal.write_snapshot(SnapshotWrite(SHARD, epoch, [], [], 5))
    await journal.mark_projected(SHARD, 5)
    assert await journal.trim(SHARD) == 5
    assert await journal.follow({SHARD: 2}, 1.0) == [(SHARD, 5, b"r5")]


async def test_an_append_after_a_restart_of_redis_finds_everything(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    await server.start()
    journal = RedisJournal(server.url)
    epoch = await written(journal, SHARD, 3)
    assert server.process is not None
    server.process.kill()
    await server.process.wait()
    with pytest.raises(JournalUnavailable):
        await journal.append([Append(SHARD, epoch, 4, b"r4")])
    await server.start()
    assert await journal.append([Append(SHARD, epoch, 4, b"r4")]) == set()
    assert [position for position, _ in await journal.read(SHARD, 0)] == [1, 2, 3, 4]
    await journal.close()
    await server.stop()
