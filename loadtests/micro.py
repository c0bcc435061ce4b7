"""The inner loops alone, in one process, to see where a placing's time goes.

Each loop runs for some time in slices; the fastest slice is told, because on a machine that others
use too it is the one that they disturbed least. This and its part ``loadtests.crowds`` are the
places in ``loadtests`` that look inside the service: they measure parts that cannot be reached from
outside.
"""

import asyncio
import gc
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from actors import inventory
from actors import order as order_kind
from actors.engine.codec import Codec, Registry, encode
from actors.engine.collector import calm_collector
from actors.engine.host import Host
from actors.engine.ports import Append, Record, Shard
from actors.engine.step import AskAnswered, Deliver
from actors.views import Views
from adapters.redis.journal import RedisJournal
from adapters.redis.server import EmbeddedRedis
from domain.catalogue.events import ChannelPut, SkuPut, StorePut
from domain.catalogue.model import ChannelPolicy, Sku, StoreProfile, Zone
from domain.geo import Circle, Position
from domain.inbox import InboxMessage
from domain.inventory.commands import Receive, StockItem
from domain.order.commands import Address, Customer, Place, PlaceLine
from loadtests.crowds import CROWDS, measure_crowds
from orchestrator.push.connection import Connection
from orchestrator.push.direct import Writers
from orchestrator.push.outbox import Outbox
from orchestrator.push.protocol import TopicSession, event_frame
from orchestrator.push.topics import Topic

__all__ = ["measure_micro"]

STORES = 50
SKUS = 200
STOCK = 10_000_000
BATCH = 16
"""Orders of one batch, as a gateway's parcel holds."""
SOCKETS = 5_000
APPENDS = (1, 16, 256)
NOW = 1_700_000_000.0


async def measure_micro(
    progress: Callable[[str], None],
    *,
    seconds: float = 1.0,
    crowds: Mapping[str, int] = CROWDS,
) -> dict[str, Any]:
    """The figures of ``bench micro``: microseconds each, or as named. ``seconds``: of each loop;
    ``crowds``: open seats of campaigns, by the name that their figures have."""
    world = _World()
    usual = gc.get_threshold()
    calm_collector()  # as in the service's own processes
    try:
        progress("deciding")
        decide_us = _per_order(world, seconds)
        progress("codec")
        records = world.orders()
        codec = _codec(records, seconds)
        progress("journal")
        journal = await _journal(records, seconds)
        progress("push")
        push = await _push(seconds)
        campaigns = measure_crowds(progress, seconds, crowds)
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
    return {"decide_place_us": decide_us, **codec, **journal, **push, **campaigns}


def fastest(work: Callable[[], int], seconds: float) -> float:
    """Microseconds for each of the things that ``work`` does and counts, in its fastest run."""
    best, until = float("inf"), time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        done = work()
        ended = time.perf_counter()
        best = min(best, (ended - started) / done)
        if ended > until:
            return round(best * 1e6, 2)


class _World:
    """One shard of orders and one of stock, 50 stores that all reach every customer."""

    def __init__(self) -> None:
        self.views = Views(pickup_secret=b"pick-up")
        kinds = (order_kind.KIND, inventory.KIND)
        registry = Registry(kinds)
        self.codec = Codec(order_kind.KIND)
        self._stock_codec = Codec(inventory.KIND)
        self.order = Host(Shard("order", 0), self.codec, registry, self.views)
        self.stock = Host(Shard("inventory", 0), self._stock_codec, registry, self.views)
        self._numbers = count()
        self._dice = random.Random(1)
        self._open()

    def _open(self) -> None:
        put = self.views.apply
        put("catalogue", "", ChannelPut(ChannelPolicy("app")), NOW)
        for number in range(SKUS):
            put("catalogue", "", SkuPut(Sku(f"sku-{number:03}", "Tea", 100 + number)), NOW)
        items = tuple(StockItem(f"sku-{number:03}", STOCK) for number in range(SKUS))
        for number in range(STORES):
            name, where = f"s-{number:02}", Position(52.5 + number / 2_000, 13.4)
            zone = Zone(f"z-{number}", 1, Circle(where, 12_000.0), 1_800)
            profile = StoreProfile(
                name, name, where, "EUR", (zone,), "d-1", capacity_per_slot=100_000_000
            )
            put("catalogue", "", StorePut(profile), NOW)
            receive = Deliver(name, Receive("open", items), f"open-{number}", 0, "", None)
            record = self.stock.handle([receive], NOW, 0.0).record
            assert record is not None
            self._follow(record)

    def _follow(self, record: Record) -> None:
        for entry in record.entries:
            for event in entry.events:
                self.views.apply("inventory", entry.entity, event, record.at)

    def place(self, orders: int) -> tuple[Record, Record]:
        """One batch of orders, from commands to the two records that would be appended."""
        wishes = [self._wish() for _ in range(orders)]
        asked = self.order.handle(wishes, NOW, 0.0).now
        locks = [Deliver(self._store(out.to), out.command, "", 0, out.sender, out.ask_id)
                 for out in asked]  # fmt: skip
        locked = self.stock.handle(locks, NOW, 0.0)
        answers = [
            AskAnswered(str(handle), self._stock_codec.reply(reply))
            for _, handle, reply in locked.replies
            if isinstance(reply, bytes)
        ]
        placed = self.order.handle(answers, NOW, 0.0)
        if placed.record is None or locked.record is None or len(placed.replies) != orders:
            raise RuntimeError("Not every order of the batch was placed.")
        return placed.record, locked.record

    def orders(self) -> list[tuple[Record, bytes]]:
        """Some records of orders, as structs and as bytes."""
        records = [self.place(BATCH)[0] for _ in range(32)]
        return [(record, encode(record)) for record in records]

    def _wish(self) -> Deliver:
        number = next(self._numbers)
        skus = self._dice.sample(range(SKUS), 2)
        place = Place(
            channel="app",
            customer=Customer(f"c-{number}", "Ada", "+4930123456"),
            lines=tuple([PlaceLine(f"sku-{sku:03}", 2) for sku in skus]),
            currency="EUR",
            address=Address(Position(52.5 + self._dice.uniform(0, 0.03), 13.4), "Torstr. 1"),
        )
        return Deliver(f"o{number:020}", place, f"place:{number}", number, "", number)

    @staticmethod
    def _store(to: str) -> str:
        return to.partition("/")[2]


def _per_order(world: _World, seconds: float) -> float:
    def work() -> int:
        world.place(BATCH)
        return BATCH

    return fastest(work, seconds)


def _codec(records: list[tuple[Record, bytes]], seconds: float) -> dict[str, float]:
    decode = Codec(order_kind.KIND).record

    def encoding() -> int:
        for record, _ in records:
            encode(record)
        return len(records) * BATCH

    def decoding() -> int:
        for _, payload in records:
            decode(payload)
        return len(records) * BATCH

    size = sum(len(payload) for _, payload in records) / (len(records) * BATCH)
    return {
        "encode_order_us": fastest(encoding, seconds),
        "decode_order_us": fastest(decoding, seconds),
        "order_record_bytes": round(size),
    }


async def _journal(records: list[tuple[Record, bytes]], seconds: float) -> dict[str, float]:
    """Appends one after the other, fsynced, each waited for."""
    entries = [entry for record, _ in records for entry in record.entries]
    with tempfile.TemporaryDirectory(prefix="doorstep-micro-") as folder:
        server = EmbeddedRedis(Path(folder))
        await server.start()
        journal = RedisJournal(server.url)
        try:
            found = {}
            for number, orders in enumerate(APPENDS):
                some = tuple(entries[:orders])
                payload = encode(Record(NOW, some))
                micros = await _append(journal, Shard("order", number), payload, seconds)
                found[f"append_{orders}_us"] = micros
            return found
        finally:
            await journal.close()
            await server.stop()


async def _append(journal: RedisJournal, shard: Shard, payload: bytes, seconds: float) -> float:
    """Microseconds of an append, the median: the disk's own time is in it."""
    epoch, position = await journal.claim(shard)
    times: list[float] = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        position += 1
        started = time.perf_counter()
        await journal.append([Append(shard, epoch, position, payload)])
        times.append(time.perf_counter() - started)
    return round(sorted(times)[len(times) // 2] * 1e6, 1)


class _NoSocket:
    """A socket that takes everything; the kernel's part is not measured here."""

    ready = True

    def __init__(self) -> None:
        self.on_ready: Callable[[], None] = lambda: None

    def write(self, frames: bytes) -> None:
        """Gone."""


async def _push(seconds: float) -> dict[str, float]:
    message = InboxMessage(1, "m-1", "ticket.opened", NOW, b'{"text":"' + b"x" * 120 + b'"}')

    def encoding() -> int:
        for _ in range(1_000):
            event_frame(message)
        return 1_000

    topic, writers = Topic(), Writers()
    for _ in range(SOCKETS):
        _watch(topic, writers)
    await _written(writers)
    numbers = count()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until or best == float("inf"):
        value = {"rider_id": "r", "lat": 52.5, "lon": 13.4, "at": f"{next(numbers):0100}"}
        started = time.perf_counter()
        topic.publish_latest("rider:r", value)
        await _written(writers)
        best = min(best, time.perf_counter() - started)
    return {
        "encode_frame_us": fastest(encoding, seconds),
        "fan_out_per_socket_us": round(best / SOCKETS * 1e6, 2),
        "fan_out_sockets": SOCKETS,
    }


def _watch(topic: Topic, writers: Writers) -> None:
    session = TopicSession(Outbox(1_048_576), heartbeat_s=30.0, now=0.0)
    connection = Connection(
        session, audience="order", writers=writers, now=lambda: 0.0, on_want=lambda want: None
    )
    connection.attach(_NoSocket())
    session.receive(msgspec.json.encode({"frame": "auth", "token": "t"}).decode(), 0.0)
    session.authenticated(0.0, topic.epoch)
    topic.join(session)


async def _written(writers: Writers) -> None:
    """Until all that was queued is written."""
    while writers.busy:
        await asyncio.sleep(0)
