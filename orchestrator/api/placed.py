"""Which orders may have been placed, as this gateway knows it from the orders' feed.

Whom the gate refuses may be repeating a placing that succeeded, and then gets its first answer,
which is with the order. Newcomers and bots are told from them here, so that they cost no hop.

A *no* is certain for every order that this gateway answered for or has heard of, and for all that
were placed before it began to follow, those that have ended and left memory among them. An order
that *another* gateway acknowledged is known as soon as its event has come: some 40 ms later, or,
while the journal is out of reach from here, when it answers again. Whoever repeats it here within
that moment *and* is refused by now (the token's time ended just then) is told so; sent again, the
same request gets the first answer.
"""

from collections.abc import Sequence
from typing import Any

from actors.engine.id_filter import IdFilter
from actors.engine.ports import Runtime
from domain.order.events import Placed
from orchestrator.push.tasks import Tasks

__all__ = ["PlacedOrders"]


class PlacedOrders:
    """A consumer of the gateway's tail. Until it knows all, every order may have been placed."""

    kinds: Sequence[str] = ("order",)

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tasks = Tasks()
        self._ids = IdFilter()

    def may_hold(self, order_id: str) -> bool:
        """Whether the order must be asked for."""
        return self._ids.may_hold(order_id)

    def add(self, order_id: str) -> None:
        """It was placed through this gateway."""
        self._ids.add((order_id,))

    async def close(self) -> None:
        """Stop learning."""
        await self._tasks.close()

    # Following ----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Records were missed: nothing is certain any more."""
        self._ids = IdFilter()

    def load(self, kind: str, entity: str, state: Any) -> None:
        """An order that is in memory."""
        self._ids.add((entity,))

    def loaded(self) -> None:
        """All of those were loaded. The others left memory before, for who leaves it later was in
        it until now: they are learnt beside the feed, which does not wait."""
        self._tasks.spawn(self._learn_ended(self._ids))

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """One event of an order."""
        if isinstance(event, Placed):
            self._ids.add((entity,))

    async def _learn_ended(self, ids: IdFilter) -> None:
        runtime = self._runtime
        await runtime.feed.ended(runtime.shards_of("order"), ids.add)
        ids.know_all()
