"""Placement as data: which shard an entity belongs to, and which node hosts the shard."""

import re
from collections.abc import Mapping, Sequence, Set
from zlib import crc32

from actors.engine.ports import Shard

__all__ = ["OWN_SHARDS_MAX", "Plan", "id_on_own_shard", "own_shard_of"]

OWN_SHARDS_MAX = 99
_OWN = re.compile("own([1-9][0-9]?)-.", re.DOTALL)


class Plan:
    """An immutable plan. ``shards[kind]`` is the number of shards that a kind's entities are spread
    over; ``hosts[node]`` its shards.

    ``own[kind]`` further shards hold nothing but the entities whose ids name them
    (:func:`id_on_own_shard`), so that a hot one has a shard of its own.

    The number of shards of a kind is fixed once it holds data; that of own shards may grow, for no
    entity's shard follows from it. Moving a shard to another node only changes ``hosts``. Two
    shards on one node exchange messages without leaving the process.
    """

    def __init__(
        self,
        shards: Mapping[str, int],
        hosts: Mapping[str, Sequence[Shard]],
        own: Mapping[str, int] | None = None,
    ) -> None:
        self.shards = dict(shards)
        self.own = {kind: count for kind, count in (own or {}).items() if count}
        self.hosts = {node: tuple(hosted) for node, hosted in hosts.items()}
        self.node_of = {shard: node for node, hosted in hosts.items() for shard in hosted}
        missing = [str(shard) for shard in self.all_shards() if shard not in self.node_of]
        if missing:
            raise ValueError(f"no node hosts {', '.join(missing)}; give each shard a node")
        if any(not 0 < count <= OWN_SHARDS_MAX for count in self.own.values()):
            raise ValueError(f"a kind has at most {OWN_SHARDS_MAX} own shards")

    @classmethod
    def spread(
        cls,
        shards: Mapping[str, int],
        groups: Sequence[Sequence[str]],
        own: Mapping[str, int] | None = None,
        apart_from: Set[str] = frozenset(),
    ) -> "Plan":
        """A plan of ``len(groups)`` nodes: group *i* names the kinds that node *i* shares.

        A kind named in several groups has its shards dealt over these nodes in turn. Own shards go
        to whichever node has the fewest shards of those without any of the kinds ``apart_from``,
        or of all nodes where each has some.
        """
        hosts: dict[str, list[Shard]] = {f"node-{i}": [] for i in range(len(groups))}
        for kind, count in shards.items():
            nodes = [f"node-{i}" for i, group in enumerate(groups) if kind in group]
            for number in range(count):
                hosts[nodes[number % len(nodes)]].append(Shard(kind, number))
        apart = [
            hosted
            for hosted in hosts.values()
            if not any(shard.kind in apart_from for shard in hosted)
        ]
        for kind, count in (own or {}).items():
            for number in range(shards[kind], shards[kind] + count):
                min(apart or hosts.values(), key=len).append(Shard(kind, number))
        return cls(shards, hosts, own)

    def shard_of(self, kind: str, entity_id: str) -> Shard:
        """The shard of an entity: stable over processes and releases."""
        count = self.shards[kind]
        if kind in self.own:
            number = own_shard_of(entity_id)
            if 0 < number <= self.own[kind]:
                return Shard(kind, count + number - 1)
        return Shard(kind, crc32(entity_id.encode()) % count if count > 1 else 0)

    def shards_of(self, kind: str) -> tuple[Shard, ...]:
        """All shards of a kind, own ones last."""
        count = self.shards[kind] + self.own.get(kind, 0)
        return tuple(Shard(kind, number) for number in range(count))

    def all_shards(self) -> tuple[Shard, ...]:
        """Every shard of every kind."""
        return tuple(shard for kind in self.shards for shard in self.shards_of(kind))


def id_on_own_shard(number: int, name: str) -> str:
    """The id that ``name`` has on its kind's ``number``-th own shard, from 1. Raises ``ValueError``
    for a number that no id can say."""
    made = f"own{number}-{name}"
    if not number or own_shard_of(made) != number:
        raise ValueError(f"{number} is not within 1 to {OWN_SHARDS_MAX}, or there is no name")
    return made


def own_shard_of(entity_id: str) -> int:
    """The number of the own shard that an id names, from 1; 0 for every other id. Whether there is
    such a shard, the plan says."""
    found = _OWN.match(entity_id)
    return int(found[1]) if found else 0
