"""Which orders a gateway knows to be none, without asking."""

import asyncio
from collections.abc import Callable, Sequence

from actors.engine.ports import Shard
from orchestrator.api.placed import PlacedOrders
from tests.fakes.fake_push import FakeRuntime
from tests.orchestrator.test_holdings import placed


class Slow(FakeRuntime):
    """Tells what left memory when ``walk`` is set."""

    def __init__(self, *ended_ids: str) -> None:
        super().__init__()
        self.ended_ids = list(ended_ids)
        self.walk = asyncio.Event()

    async def ended(self, shards: Sequence[Shard], tell: Callable[[list[str]], None]) -> None:
        assert shards == (Shard("order", 0),)
        await self.walk.wait()
        await super().ended(shards, tell)


async def learnt(orders: PlacedOrders) -> None:
    while orders.may_hold("o-none"):
        await asyncio.sleep(0)


async def test_only_what_was_placed_is_asked_for_wherever_it_was_heard_of() -> None:
    runtime = Slow("o-ended", "o-ended-too")
    orders = PlacedOrders(runtime)
    orders.reset()
    orders.load("order", "o-open", None)
    orders.loaded()
    runtime.walk.set()
    await learnt(orders)
    orders.apply("order", "o-new", placed("o-new"), 0.0)
    orders.add("o-own")
    known = ["o-ended", "o-ended-too", "o-open", "o-new", "o-own"]
    assert all(orders.may_hold(order_id) for order_id in known)
    asked_in_vain = [number for number in range(1_000) if orders.may_hold(f"o-{number}")]
    assert not asked_in_vain


async def test_until_all_is_known_and_after_a_gap_every_order_is_asked_for() -> None:
    runtime = Slow()
    orders = PlacedOrders(runtime)
    assert orders.may_hold("o-none"), "it does not follow"
    orders.reset()
    orders.loaded()
    await asyncio.sleep(0)
    assert orders.may_hold("o-none"), "it may have left memory"
    runtime.walk.set()
    await learnt(orders)
    runtime.walk.clear()
    orders.reset()
    orders.loaded()
    await asyncio.sleep(0)
    assert orders.may_hold("o-none"), "records were missed"
    await orders.close()
