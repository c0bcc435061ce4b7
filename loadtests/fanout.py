"""How much one gateway can fan out: thousands of sockets on one order while its rider moves.

Everything is the service's own: the rider's phone tells a position, which is decided, written to
disk, read from the feed by the gateway, and sent to all who follow that order, as one message of
some 200 bytes to each. Step by step the rider moves more often. A position that is overtaken by a
newer one before it was sent is left out (*coalesced*, see ARCHITECTURE, Sockets); the rate that is
told is that of the highest step in which nearly none was.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import msgspec

from loadtests.processes import BenchError, child_environment, end
from loadtests.shop import CENTRE, Shop
from loadtests.sockets import Count, Watch
from orchestrator.client import DoorstepClient, ProblemError

__all__ = ["Crowd", "crowd", "fan_out"]

MOVES_PER_S = (2, 4, 6, 8, 10, 14, 20, 28)
STEP_S = 4.0
REST_S = 1.0
DELIVERED_SHARE = 0.995
"""Of a step that counts; the rest was coalesced."""
RIDER = "rider-".ljust(40, "0")
"""As long as makes a message of 200 bytes."""
AWAIT_S = 60.0


async def fan_out(
    shop: Shop,
    progress: Callable[[str], None],
    sockets: int,
    *,
    moves_per_s: Sequence[float] = MOVES_PER_S,
    step_s: float = STEP_S,
) -> dict[str, Any]:
    """The figures of ``bench push`` on fan-out. Times in milliseconds."""
    progress("sending a rider on the way")
    steps: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        rider = await _client(stack, shop, "rider", RIDER)
        order_id = await _on_the_way(stack, shop, rider)
        progress(f"opening {sockets:,} sockets on that order")
        path = f"/v1/orders/{order_id}/socket"
        watching = await stack.enter_async_context(crowd(shop, path, sockets))
        for number, rate in enumerate(moves_per_s):
            await watching.mark()
            used = shop.service.cpu_s()
            moves = await _move(rider, rate, step_s, number)
            await asyncio.sleep(REST_S)  # what is on its way arrives
            count = await watching.mark()
            cpu_s = shop.service.cpu_s()["gateway"] - used["gateway"]
            steps.append(_step(count, moves, sockets, step_s, cpu_s))
            progress(f"{rate} moves a second: {steps[-1]['deliveries_per_s']:,} deliveries/s")
            if steps[-1]["delivered_share"] < DELIVERED_SHARE / 2:
                break
    return _summary(steps, watching.opened, count)


def _step(count: Count, moves: int, sockets: int, step_s: float, cpu_s: float) -> dict[str, Any]:
    share = count.frames / (moves * sockets)
    # What came late came in the pause after the step.
    seconds = step_s if share >= DELIVERED_SHARE else count.elapsed_s
    return {
        "wanted_per_s": round(moves * sockets / step_s),
        "deliveries_per_s": round(count.frames / seconds),
        "delivered_share": round(share, 4),
        "p50_ms": round(count.p50_ms, 1),
        "p99_ms": round(count.p99_ms, 1),
        "message_bytes": round(count.frame_bytes),
        "gateway_us_per_delivery": round(cpu_s / max(count.frames, 1) * 1e6, 1),
    }


def _summary(steps: list[dict[str, Any]], opened: int, last: Count) -> dict[str, Any]:
    whole = [step for step in steps if step["delivered_share"] >= DELIVERED_SHARE]
    best = max(whole, key=lambda step: float(step["deliveries_per_s"]), default=None)
    return {
        "fanout_sockets": opened,
        "fanout_closed": opened - last.open,
        "fanout_deliveries_per_s": best["deliveries_per_s"] if best else 0,
        "fanout_p99_ms": best["p99_ms"] if best else None,
        "fanout_message_bytes": best["message_bytes"] if best else None,
        "fanout_most_per_s": max(step["deliveries_per_s"] for step in steps),
        "fanout_steps": steps,
    }


class Crowd:
    """A process of many sockets."""

    def __init__(self, child: asyncio.subprocess.Process, opened: int) -> None:
        self.opened = opened
        """Sockets that got their snapshot."""
        self._child = child

    async def mark(self) -> Count:
        """What all sockets got since the last mark."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(b"\n")
        await self._child.stdin.drain()
        return msgspec.json.decode(await self._child.stdout.readline(), type=Count)


@contextlib.asynccontextmanager
async def crowd(shop: Shop, path: str, sockets: int) -> AsyncIterator[Crowd]:
    """So many sockets on one topic, once all of them hold its snapshot. Raises ``BenchError``."""
    watch = Watch(shop.service.port, path, shop.token, sockets)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.sockets", env=child_environment(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(msgspec.json.encode(watch) + b"\n")
        said = await child.stdout.readline()
        if not said:
            raise BenchError("The process of the sockets failed: see standard error.")
        opened = int(msgspec.json.decode(said)["opened"])
        if opened < sockets:
            raise BenchError(f"Only {opened} of {sockets} sockets could be opened.")
        yield Crowd(child, opened)
    finally:
        await end(child)


async def _on_the_way(stack: AsyncExitStack, shop: Shop, rider: DoorstepClient) -> str:
    """An order whose parcel the rider has picked up; its id."""
    store_id = shop.stores[0]  # the one in the middle of all
    store = await _client(stack, shop, "store", store_id)
    channel = await stack.enter_async_context(DoorstepClient(shop.service.url, shop.token))
    zone = (await shop.ops.store(store_id)).dispatch_zone
    await rider.start_shift(RIDER, zone, "bicycle", *CENTRE)
    body = msgspec.json.decode(shop.bodies(1, "cod", seed=11, first=50_000_000)[0])
    order = await channel.place_order(body | {"store_id": store_id}, key=f"ride-{uuid4().hex}")
    parcel = order.fulfilments[0].fulfilment_id
    await _until(lambda: store.ticket(store_id, parcel), lambda ticket: ticket.state == "new")
    await store.accept_ticket(store_id, parcel)
    await store.start_picking(store_id, parcel)
    await store.mark_ready(store_id, parcel)
    offered = await _until(lambda: rider.rider(RIDER), lambda found: found.offer is not None)
    await rider.accept_offer(RIDER, offered.offer.offer_id)
    await rider.arrive_at_store(RIDER, parcel)
    await rider.pick_up(RIDER, parcel)
    await _until(
        lambda: channel.order(order.order_id),
        lambda found: found.fulfilments[0].state == "picked_up",
    )
    return order.order_id


async def _client(stack: AsyncExitStack, shop: Shop, role: str, subject: str) -> DoorstepClient:
    token = await shop.service.token(role, subject)
    return await stack.enter_async_context(DoorstepClient(shop.service.url, token))


async def _until(ask: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    try:
        async with asyncio.timeout(AWAIT_S):
            while True:
                with contextlib.suppress(ProblemError):
                    found = await ask()
                    if good(found):
                        return found
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise BenchError("The rider could not be sent on the way.") from None


async def _move(rider: DoorstepClient, rate: float, seconds: float, turn: int) -> int:
    """Moves the rider, evenly spaced; how often."""
    loop = asyncio.get_running_loop()
    started, moves = loop.time(), round(rate * seconds)
    for number in range(moves):
        await asyncio.sleep(started + number / rate - loop.time())
        step = (turn * 1_000 + number) % 10_000 / 1e6 + 1e-6
        await rider.move(RIDER, round(CENTRE[0] + step, 6), round(CENTRE[1] + step, 6))
    return moves
