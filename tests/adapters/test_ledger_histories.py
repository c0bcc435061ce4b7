"""The books of real orders: random lives played on the real order and stock kinds, news repeated
and out of order, are explained to the unit and the cent."""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.engine.ports import Shard
from adapters.ledger.projector import Projector
from adapters.ledger.reconciliation import reconcile
from domain import order, rider
from domain.errors import DoorstepError
from domain.message import Event
from tests.actors.test_order_histories import STEPS, History
from tests.fakes.list_feed import ListFeed
from tests.fakes.order_tales import SHARDS, tell_facts
from tests.fakes.order_world import ORDER_ID, World

pytest_plugins = ("tests.ledger_databases",)

LIVES = 80
Fact = tuple[str, str, Event]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Fact]]:
    """Every event that any kind of a ``World`` stores, as (kind, entity, event)."""
    facts: list[Fact] = []
    apply = World._apply

    def record(world: World, to: str, decision: Any) -> Any:
        kind, _, entity = to.partition("/")
        facts.extend((kind, entity, event) for event in decision.events)
        return apply(world, to, decision)

    monkeypatch.setattr(World, "_apply", record)
    yield facts
    monkeypatch.undo()


def live(draw: Random) -> None:
    """One order's life, from placing to its end."""
    goods = [(draw.choice(["tea", "cup", "pot", "set"]), draw.randint(1, 4)) for _ in range(2)]
    cod = draw.random() < 0.3
    try:
        history = History(goods, cod)
    except DoorstepError:
        return
    if not cod and draw.random() < 0.8:
        history.play("pay", 0, 0, False)
        history.play("capture", 0, 0, False)
    for _ in range(draw.randint(0, 40)):
        flag = draw.random() < 0.5
        history.play(draw.choice(STEPS), draw.randint(0, 7), draw.randint(0, 7), flag)
    history.finish()


def renamed(fact: Fact, order_id: str) -> Fact:
    """The same fact of another order (ids of the same length, so that the bytes stay valid)."""
    kind, entity, event = fact
    data = msgspec.msgpack.encode(event).replace(ORDER_ID.encode(), order_id.encode())
    return kind, entity.replace(ORDER_ID, order_id), msgspec.msgpack.decode(data, type=type(event))


def with_riders(facts: list[Fact]) -> Iterator[Fact]:
    """And what the riders would have told of the cash."""
    for fact in facts:
        yield fact
        event = fact[2]
        if isinstance(event, order.FulfilmentDelivered) and event.cash and event.rider_id:
            told = rider.ParcelDelivered(
                event.fulfilment_id, fact[1], event.cash, event.cash, 0, "EUR", event.at
            )
            yield "rider", event.rider_id, told


async def test_every_life_an_order_can_have_is_explained(
    ledger: AsyncEngine, recorded: list[Fact]
) -> None:
    feed = ListFeed()
    draw = Random(20)
    odd_cash: set[str] = set()
    for number in range(LIVES):
        order_id = f"o{number:020d}"
        recorded.clear()
        live(draw)
        facts = [renamed(fact, order_id) for fact in recorded]
        tell_facts(feed, with_riders(facts))
        odd_cash |= {
            entity
            for _, entity, event in facts
            if isinstance(event, order.PaymentFlagged) and event.provider == "cash"
        }
    shards = (*SHARDS, Shard("customer", 0))
    projector = Projector(feed, None, ledger, shards)
    task = asyncio.create_task(projector.run())
    async with asyncio.timeout(60):
        await projector.reached(feed.heads())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    report = await reconcile(ledger)
    assert sum(report["orders"].values()) > LIVES / 2
    assert report["open"] == {}
    unexplained = []
    for row in report["differences"]:
        rivals = row["check"] == "locks belong to orders" and row["order_id"] == "rival"
        owed = row.get("account") == "customer_receivable" and row["order_id"] in odd_cash
        if not rivals and not owed:
            unexplained.append(row)
    assert unexplained == []
