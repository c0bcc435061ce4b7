"""Commands that wait until the cold store has said whether it holds what they address."""

from collections.abc import Iterable, Sequence

from actors.engine.id_filter import IdFilter
from actors.engine.step import Arrival, Deliver

__all__ = ["ColdLoads"]


class ColdLoads:
    """What a shard is asking the cold store for. The rest of the shard does not wait for that."""

    def __init__(self, ids: IdFilter) -> None:
        self._ids = ids
        self._aside: dict[str, list[Deliver]] = {}
        """The commands for each entity that is asked for, in the order they came."""
        self._asked: set[str] = set()
        """Entities that were asked for, and whose commands were not looked at since."""
        self.waiting = 0
        """Commands put aside: asked for with each arrival, so it is counted along."""

    def split(
        self, batch: Sequence[Arrival], missing: Iterable[str]
    ) -> tuple[Sequence[Arrival], list[str]]:
        """The arrivals whose entities are in memory or known to be new, and the entities that the
        cold store must be asked for now; the commands for those are put aside."""
        may_hold, asked = self._ids.may_hold, self._asked
        unknown = {name for name in missing if name not in asked and may_hold(name)}
        if asked:
            asked.difference_update([one.entity for one in batch if type(one) is Deliver])
        if not unknown and not self._aside:
            return batch, []
        present: list[Arrival] = []
        wanted: list[str] = []
        for arrival in batch:
            if type(arrival) is not Deliver:
                present.append(arrival)
            elif (waiting := self._aside.get(arrival.entity)) is not None:
                waiting.append(arrival)  # behind the others, whatever is known by now
                self.waiting += 1
            elif arrival.entity not in unknown:
                present.append(arrival)
            else:
                self._aside[arrival.entity] = [arrival]
                self.waiting += 1
                wanted.append(arrival.entity)
        return present, wanted

    def answered(self, entities: Sequence[str]) -> list[Deliver]:
        """The commands for these: whatever the cold store holds of them is in memory now."""
        self._asked.update(entities)
        return self.failed(entities)

    def failed(self, entities: Sequence[str]) -> list[Deliver]:
        """The commands for these, about which the cold store said nothing."""
        commands = [command for entity in entities for command in self._aside.pop(entity)]
        self.waiting -= len(commands)
        return commands

    def passivated(self, entities: Sequence[str]) -> None:
        """The cold store holds these from now on."""
        self._ids.add(entities)
        self._asked.difference_update(entities)
