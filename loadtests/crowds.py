"""A campaign's own work alone, in one process, with few and with many open seats.

As ``loadtests.micro``, of which it is a part: what a claim, a payment and a seat in a group cost
the campaign's process, from the command to the record that would be appended, and the longest time
for which a snapshot pass keeps that process from anything else.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

from actors import campaign, inventory
from actors import order as order_kind
from actors.engine.codec import Codec, Registry
from actors.engine.host import Host
from actors.engine.ports import Shard
from actors.engine.shell import SNAPSHOT_SLICE, SNAPSHOT_SLICE_BYTES
from actors.engine.step import Deliver, Settled
from actors.views import Views
from domain.campaign.commands import (
    FLASH_SALE,
    GROUP_BUY,
    Claim,
    Confirm,
    GroupRule,
    Open,
    Share,
    Terms,
    Unclaim,
)
from domain.catalogue.events import ChannelPut, SkuPut, StorePut
from domain.catalogue.model import ChannelPolicy, Sku, StoreProfile, Zone
from domain.geo import Circle, Position

__all__ = ["CROWDS", "measure_crowds"]

CROWDS: Mapping[str, int] = {"1k": 1_000, "50k": 50_000}
"""Name in the figures -> open seats."""
BATCH = 16
FILLED_AT_ONCE = 500
PASSES = 5
CHANGES = 512
"""Claims, paid or given back, between two snapshot passes."""
GROUP_SIZE = 10
UNITS = 10_000_000
NOW = 1_700_000_000.0
DAY_S = 86_400.0
_Make: TypeAlias = Callable[[int], list[Any]]
ID, STORE, SKU = "k-1", "s-1", "cup"


def measure_crowds(
    progress: Callable[[str], None], seconds: float, crowds: Mapping[str, int] = CROWDS
) -> dict[str, float]:
    """Microseconds of each command, milliseconds of the longest slice; ``seconds``: of each loop.
    In both, the fastest of many is told."""
    found: dict[str, float] = {}
    for name, seats in crowds.items():
        progress(f"campaigns with {seats:,} open seats")
        sale = _Crowd(FLASH_SALE, seats)
        found[f"claim_{name}_us"] = sale.fastest(sale.claims, sale.give_back, seconds)
        found[f"confirm_{name}_us"] = sale.fastest(sale.payments, None, seconds)
        found[f"sale_slice_{name}_ms"] = sale.slice_ms()
        team = _Crowd(GROUP_BUY, seats)
        found[f"group_open_{name}_us"] = team.fastest(team.claims, team.give_back, seconds)
        found[f"group_join_{name}_us"] = team.fastest(team.joins, team.give_back, seconds)
        found[f"group_slice_{name}_ms"] = team.slice_ms()
    return found


class _Crowd:
    """One campaign on a host of its own. In a group-buy every open seat is its group's only one."""

    def __init__(self, kind: str, seats: int) -> None:
        views = Views(pickup_secret=b"pick-up")
        self._codec = Codec(campaign.KIND)
        registry = Registry((campaign.KIND, order_kind.KIND, inventory.KIND))
        self._host = Host(Shard("campaign", 0), self._codec, registry, views)
        self._numbers = count()
        self._group_ids: list[str] = []
        self._turns = count()
        _put(views)
        self._open(kind)
        for first in range(0, seats, FILLED_AT_ONCE):
            replies = self._do(self.claims(min(FILLED_AT_ONCE, seats - first)))
            self._group_ids += [self._codec.reply(body).group_id for body in replies]

    def fastest(
        self, make: _Make, undo: Callable[[Sequence[Any]], list[Any]] | None, seconds: float
    ) -> float:
        """Microseconds of a command in the fastest batch of those that ``make`` makes. What they
        changed is undone, and what they need is done before, while nobody counts: the number of
        open seats stays."""
        best, until = float("inf"), time.perf_counter() + seconds
        while True:
            commands = make(BATCH)
            started = time.perf_counter()
            self._do(commands)
            ended = time.perf_counter()
            best = min(best, (ended - started) / BATCH)
            if undo is not None:
                self._do(undo(commands))
            if ended > until:
                return round(best * 1e6, 2)

    def claims(self, number: int) -> list[Any]:
        """Units and, in a group-buy, a group of one's own."""
        return [self._claim("") for _ in range(number)]

    def joins(self, number: int) -> list[Any]:
        """The second seat of so many groups."""
        groups = self._group_ids
        return [self._claim(groups[next(self._turns) % len(groups)]) for _ in range(number)]

    def payments(self, number: int) -> list[Any]:
        """Of seats that were claimed for it."""
        claims = self.claims(number)
        self._do(claims)
        return [Confirm(claim.claim_id) for claim in claims]

    def give_back(self, claims: Sequence[Any]) -> list[Any]:
        """Those seats are free again."""
        return [Unclaim(claim.claim_id) for claim in claims]

    def slice_ms(self) -> float:
        """The longest time for which a pass does nothing but look for what it stores next, in the
        quickest of some passes over what :data:`CHANGES` claims have changed."""
        passes = []
        for _ in range(PASSES):
            claims = self.claims(CHANGES)
            self._do(claims)
            self._do(self.give_back(claims))
            passes.append(self._longest_slice_s())
        return round(min(passes) * 1e3, 2)

    def _longest_slice_s(self) -> float:
        host, longest_s, covered = self._host, 0.0, None
        started = time.perf_counter()
        if not host.begin_snapshot():
            raise RuntimeError("A campaign was changed, and there is nothing to store.")
        while covered is None:
            write = host.snapshot_slice(1, SNAPSHOT_SLICE, SNAPSHOT_SLICE_BYTES)
            host.snapshot_stored(write)
            ended = time.perf_counter()
            longest_s, started = max(longest_s, ended - started), ended
            covered = write.covered
        return longest_s

    def _claim(self, group_id: str) -> Claim:
        number = next(self._numbers)
        return Claim(
            f"c{number:020}", f"o{number:020}", f"who-{number}", "app", 1, (STORE,),
            group_id=group_id, asked_at=NOW,
        )  # fmt: skip

    def _do(self, commands: Sequence[Any]) -> list[bytes]:
        batch = [Deliver(ID, command, "", 0, "order/o", n) for n, command in enumerate(commands)]
        step = self._host.handle(batch, NOW, 0.0)
        done = [body for _, _, body in step.replies if isinstance(body, bytes)]
        if len(done) != len(commands):
            raise RuntimeError(f"Not every command was carried out: {step.replies[:1]}")
        return done

    def _open(self, kind: str) -> None:
        rule = GroupRule(size=GROUP_SIZE) if kind == GROUP_BUY else None
        terms = Terms(
            "sale", kind, SKU, 50, "EUR", NOW - 1.0, NOW + 2 * DAY_S, (Share(STORE, UNITS),),
            pay_s=DAY_S, group=rule,
        )  # fmt: skip
        opened = self._host.handle([Deliver(ID, Open(terms, "ops"), "open", 0, "", 0)], NOW, 0.0)
        if not opened.later:
            raise RuntimeError(f"The campaign was not opened: {opened.replies}")
        answers = [Settled(ID, one.owed_id, True) for one in opened.later]
        self._host.handle(answers, NOW, 0.0)


def _put(views: Views) -> None:
    """What the campaign sells, and where."""
    where = Position(52.5, 13.4)
    zone = Zone("z-1", 1, Circle(where, 12_000.0), 1_800)
    for event in (
        ChannelPut(ChannelPolicy("app")),
        SkuPut(Sku(SKU, "Cup", 100)),
        StorePut(StoreProfile(STORE, STORE, where, "EUR", (zone,), "d-1")),
    ):
        views.apply("catalogue", "", event, NOW)
