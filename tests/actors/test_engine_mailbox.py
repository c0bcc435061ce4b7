"""Bundles that overtake each other are dispatched in their order, without waiting in vain."""

import asyncio
import random

from actors.engine import mailbox
from actors.engine.mailbox import OnAnswer, Receiver
from actors.engine.wire import Bundle, Item, encode_wire


def bundle(sequence: int) -> bytes:
    return encode_wire(Bundle("gateway", sequence, [Item(0, f"x/{sequence}", "", "", b"")]))


async def test_overtaken_parcels_wait_for_their_turn_and_no_longer() -> None:
    seen: list[str] = []

    def dispatch(item: Item, _: OnAnswer | None) -> None:
        seen.append(item.to)

    receiver = Receiver(dispatch)
    await receiver.exchange(bundle(0))
    order = list(range(1, 60))
    random.Random(7).shuffle(order)
    async with asyncio.timeout(mailbox.ORDER_WAIT_S):  # one lost wake-up would take as long
        await asyncio.gather(*(receiver.exchange(bundle(sequence)) for sequence in order))
    assert seen == [f"x/{sequence}" for sequence in range(60)]


async def test_a_parcel_that_never_comes_is_not_waited_for_for_ever() -> None:
    seen: list[str] = []
    receiver = Receiver(lambda item, _: seen.append(item.to))
    await receiver.exchange(bundle(0))
    async with asyncio.timeout(10):
        await receiver.exchange(bundle(2))
    assert seen == ["x/0", "x/2"]


async def test_a_parcel_that_is_repeated_while_it_waits_is_answered_both_times() -> None:
    seen: list[str] = []
    receiver = Receiver(lambda item, _: seen.append(item.to))
    await receiver.exchange(bundle(0))
    async with asyncio.timeout(mailbox.ORDER_WAIT_S):
        await asyncio.gather(*(receiver.exchange(bundle(sequence)) for sequence in (2, 2, 3, 1)))
    assert seen == ["x/0", "x/1", "x/2", "x/2", "x/3"]
