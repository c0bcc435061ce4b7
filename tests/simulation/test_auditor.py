"""The auditor finds what was planted, so that a passing simulation means something."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replaced

from actors.engine import shell as engine_shell
from actors.engine.codec import encode
from actors.engine.entities import Entity, unpacked
from actors.engine.host import Host
from actors.engine.kind import Kind
from actors.engine.owed import OwedEffects
from actors.engine.ports import Append, Shard, Stored
from actors.engine.shell import Shell
from actors.order import serving
from domain import inbox
from domain.dispatch import rules as dispatching
from domain.dispatch.events import OfferMade
from domain.inventory.events import Locked, Released
from domain.order import money
from domain.order.events import FulfilmentDelivered
from domain.rider.events import Remitted
from domain.store import rules as counter
from domain.store.commands import SHORT_REASONS
from tests.fakes.memory_journal import MemoryJournal
from tests.simulation import people, town, world
from tests.simulation.auditor import AuditFailed
from tests.simulation.faults import Weather
from tests.simulation.playing import play, quiet_engine
from tests.simulation.world import KINDS

pytestmark = pytest.mark.timeout(900)
"""Of real time, on a busy machine: a timeout within a virtual loop is not told as one."""

__all__ = ["quiet_engine"]

SEEDS = range(6)
"""One of these days must bring the planted defect to light; most do at once."""


def stormy() -> Weather:
    """Crashes and repeats enough to need every promise of the engine."""
    return Weather(
        append_s=0.05, append_fails=0.02, append_unknown=0.03, request_lost=0.02, answer_lost=0.03,
        repeated=0.03, crash_every_s=25.0, crash_at_append=0.004, isolate=0.5, effect_fails=0.4,
        snapshot_every_s=5.0, snapshot_every_records=12, crash_at_snapshot=0.1,
        snapshot_slice=1, passivate_s=5.0,
    )  # fmt: skip


def found(
    monkeypatch: pytest.MonkeyPatch, seeds: range = SEEDS, saying: str = "", **changes: Any
) -> str:
    """What the audit says of the first day on which it finds anything (that says so)."""
    for seed in seeds:
        try:
            play(seed, monkeypatch, weather=stormy(), quiet=True, **changes)
        except (AuditFailed, TimeoutError, KeyError) as failure:
            if saying in repr(failure):
                return repr(failure)  # KeyError: a node that cannot even start
    pytest.fail("the planted defect was never found")


def mutated(name: str, forget: type, how: Callable[[Any, Any], None] | None = None) -> list[Kind]:
    """All kinds, but one of them forgets what an event does to its state."""

    def kind_of(kind: Kind) -> Kind:
        if kind.name != name:
            return kind

        def evolve(state: Any, event: Any) -> Any:
            if isinstance(event, forget) and state is not None:
                if how is not None:
                    how(state, event)
                return state
            return kind.evolve(state, event)

        return replace(kind, evolve=evolve)

    return [kind_of(kind) for kind in KINDS]


def test_a_release_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = found(monkeypatch, kinds=mutated("inventory", Released))
    assert "not ('locked',)" in text or "documents say" in text


def test_a_lock_that_is_forgotten_is_found_as_overselling(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, saying="oversells", kinds=mutated("inventory", Locked))


def test_a_parcel_that_stays_in_the_pool_while_offered_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offer_only(state: Any, event: OfferMade) -> None:
        state.offers_made += 1

    text = found(monkeypatch, kinds=mutated("dispatch", OfferMade, offer_only))
    assert "offered twice" in text


def test_cash_that_stays_with_a_rider_after_it_was_handed_in_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "held" in found(monkeypatch, kinds=mutated("rider", Remitted))


def test_a_delivery_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "GIVE_UP_S", 200.0)
    assert found(monkeypatch, kinds=mutated("order", FulfilmentDelivered))


def test_unwanted_units_that_leave_the_books_as_if_missing_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "NOT_THERE", SHORT_REASONS)
    monkeypatch.setattr(people, "MISSES", 0.7)
    assert found(monkeypatch, saying="only unwanted")


def test_missing_units_that_are_sold_again_for_a_refused_substitute_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = serving._of

    def careless(short: Any, reasons: dict[str, str], *wanted: str) -> Any:
        refused = {"substitute_refused": "unwanted"}
        return of(short, {line: refused.get(why, why) for line, why in reasons.items()}, *wanted)

    monkeypatch.setattr(serving, "_of", careless)
    monkeypatch.setattr(people, "MISSES", 0.7)
    assert found(monkeypatch, saying="were unwanted")


def test_commands_done_twice_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Entity, "remember", lambda *_: None)
    # a repeat that is done again is seen by its second effect or by its other answer
    assert re.search("twice|answered otherwise", found(monkeypatch))


def test_an_answer_before_its_append_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    append = Shell._append

    def hasty(self: Shell, step: Any) -> None:
        for _, handle, reply in step.replies:
            self._on_reply(handle, reply)
        step.replies.clear()
        append(self, step)

    monkeypatch.setattr(engine_shell.Shell, "_append", hasty)
    assert "nothing stored explains it" in found(monkeypatch)


def test_freight_that_is_not_given_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    refund = money._refund

    def stingy(state: Any, refund_id: str, units: Any, _freight_of: Any, *rest: Any) -> Any:
        return refund(state, refund_id, units, [], *rest)

    monkeypatch.setattr(money, "_refund", stingy)
    assert "freight back 0" in found(monkeypatch)


def test_a_cent_lost_in_a_refund_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        money, "units_amount",
        lambda amount, quantity, done, units: amount * units // quantity - 1,
    )  # fmt: skip
    assert "amount" in found(monkeypatch) or "cost" in found(monkeypatch)


def test_an_alarm_about_cash_that_comes_at_once_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(town, "CASH_LIMITS", (1_200,))
    monkeypatch.setattr(dispatching, "CASH_BLOCKED_S", 0.0)
    assert "its cash is escalated" in found(monkeypatch)


def test_a_customer_who_is_missed_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    escalate = counter.escalate

    def early(ticket: Any, now: float) -> Any:
        return [replaced(one, at=now - 1.0) for one in escalate(ticket, now)]

    monkeypatch.setattr(counter, "escalate", early)
    monkeypatch.setattr(people, "FORGETFUL", 1.0)
    assert found(monkeypatch, range(6, 20), saying="is called uncollected")


def test_an_inbox_with_a_gap_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = inbox.compose

    def gappy(box: inbox.Inbox, owner: str, drafts: Sequence[Any], at: float) -> Any:
        skipped = inbox.Inbox(box.epoch, box.head + (box.head == 7))
        return compose(skipped, owner, drafts, at)

    monkeypatch.setattr(inbox, "compose", gappy)
    assert "jumps" in found(monkeypatch)


def test_a_writer_that_is_not_fenced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    check = MemoryJournal.check

    def trusting(self: MemoryJournal, appends: Sequence[Append]) -> set[Shard]:
        return check(self, [one._replace(epoch=self.epochs[one.shard]) for one in appends])

    monkeypatch.setattr(MemoryJournal, "check", trusting)
    assert found(monkeypatch)


def test_effects_forgotten_by_a_recovery_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    load, track = Host.load, OwedEffects.track

    def forgetful(self: Host, page: Sequence[Stored]) -> None:
        monkeypatch.setattr(OwedEffects, "track", lambda *_: None)
        load(self, page)
        monkeypatch.setattr(OwedEffects, "track", track)

    monkeypatch.setattr(Host, "load", forgetful)
    assert "owed" in found(monkeypatch)


def test_records_applied_twice_by_a_recovery_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Host.load

    def ignorant(self: Host, page: Sequence[Stored]) -> None:
        stale = []
        for stored in page:
            packed = unpacked(stored.data)
            packed.position = 0
            stale.append(stored._replace(data=encode(packed)))
        load(self, stale)

    monkeypatch.setattr(Host, "load", ignorant)
    assert found(monkeypatch)
