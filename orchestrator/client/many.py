"""Reading many things at once, but not all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

__all__ = ["read_many"]

Item = TypeVar("Item")

AT_ONCE = 16


async def read_many(
    keys: Iterable[str], read: Callable[[str], Awaitable[Item]], at_once: int = AT_ONCE
) -> dict[str, Item]:
    """What ``read`` gives for each key, at most ``at_once`` calls in flight. Raises what it raises,
    in an ``ExceptionGroup``."""
    room = asyncio.Semaphore(at_once)
    found: dict[str, Item] = {}

    async def one(key: str) -> None:
        async with room:
            found[key] = await read(key)

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(one(key))
    return found
