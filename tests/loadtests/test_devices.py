"""What a load test's tablet shows is what its inbox told it."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from loadtests.devices import Tablet, note_fault
from loadtests.scene import StoreSpot
from loadtests.verdict import TabletSaw
from orchestrator.client import InboxMessage, InboxSnapshot, ProblemError, Unanswered

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clerk:
    """In place of the client: every step is answered, or refused with one problem."""

    def __init__(self, problem: ProblemError | None = None) -> None:
        self._problem = problem
        self.asked = asyncio.Event()

    async def accept_ticket(self, *_about: str, key: str) -> None:
        self.asked.set()
        if self._problem is not None:
            raise self._problem
        await asyncio.Event().wait()  # it goes no further by itself

    start_picking = mark_ready = accept_ticket

    async def close(self) -> None:
        pass


def tablet(saw: TabletSaw, clerk: Clerk) -> Tablet:
    spot = StoreSpot("s1", 52.5, 13.4)
    return Tablet(cast(Any, None), spot, cast(Any, clerk), saw, lambda *_about: None)


def ticket(fulfilment_id: str, state: str = "new") -> dict[str, Any]:
    progress = {"state": state, "cancel_asked": False}
    return {"fulfilment_id": fulfilment_id, "order_id": f"o-{fulfilment_id}", "progress": progress}


def message(offset: int, kind: str, **data: Any) -> InboxMessage:
    return InboxMessage(offset, f"s1:{offset}", kind, NOW, data)


def opened(offset: int, fulfilment_id: str) -> InboxMessage:
    return message(offset, "ticket.opened", ticket=ticket(fulfilment_id))


async def test_a_ticket_is_open_on_the_tablet_until_it_is_told_that_it_is_over() -> None:
    saw, clerk = TabletSaw(), Clerk()
    device = tablet(saw, clerk)
    for item in (opened(1, "f1"), opened(2, "f2"), opened(3, "f3")):
        device._take(item)
    assert saw.open == {"f1", "f2", "f3"}
    device._take(message(4, "ticket.closed", closed=ticket("f1")))
    cancelled = ticket("f2", "cancelled")["progress"]
    device._take(
        message(5, "ticket.cancelled", fulfilment_id="f2", progress=cancelled, reason="no")
    )
    accepted = ticket("f3", "accepted")["progress"]
    device._take(message(6, "ticket.changed", fulfilment_id="f3", progress=accepted))
    assert saw.open == {"f3"}
    assert [*saw.tickets] == ["f1", "f2", "f3"], "what it saw is another question"
    await clerk.asked.wait()
    await device.switch_off()


async def test_a_snapshot_replaces_what_the_tablet_showed() -> None:
    saw, clerk = TabletSaw(), Clerk()
    device = tablet(saw, clerk)
    device._take(opened(1, "f1"))
    data = {"tickets": [ticket("f2", "picking")], "closed": [ticket("f1")]}
    device._take(InboxSnapshot(9, "epoch", data))
    assert saw.open == {"f2"}
    assert [*saw.tickets] == ["f1", "f2"]
    await clerk.asked.wait()
    await device.switch_off()


@pytest.mark.parametrize(("problem", "surprises"), [
    (ProblemError("wrong-state", 409, "It was cancelled."), 0),
    (ProblemError("unknown-ticket", 404, "It is over, and gone."), 0),
    (ProblemError("busy", 503, "Nothing was changed."), 0),
    (ProblemError("not-found", 404, "No such route."), 1),
    (ProblemError("unauthorised", 401, "Send a token."), 1),
    (ProblemError("not-a-problem", 409, "<html>"), 1),
])  # fmt: skip
async def test_a_clerk_who_is_refused_what_nobody_else_took_notes_it(
    problem: ProblemError, surprises: int
) -> None:
    saw, clerk = TabletSaw(), Clerk(problem)
    device = tablet(saw, clerk)
    device._take(opened(1, "f1"))
    await asyncio.gather(*device._duties)
    assert saw.surprises.count == surprises
    assert saw.faults.count == 0
    await device.switch_off()


@pytest.mark.parametrize(("problem", "faults"), [
    (ProblemError("internal-error", 500, "Something of ours failed."), 1),
    (ProblemError("not-a-problem", 503, "<html>"), 1),
    (ProblemError("busy", 503, "Nothing was changed."), 0),
    (ProblemError("wrong-state", 409, "It was cancelled."), 0),
])  # fmt: skip
async def test_what_failed_inside_is_noted_at_the_tablet(
    problem: ProblemError, faults: int
) -> None:
    saw = TabletSaw()
    clerk = Clerk(problem)
    device = tablet(saw, clerk)
    device._take(opened(1, "f1"))
    await asyncio.gather(*device._duties)
    assert clerk.asked.is_set()
    assert saw.faults.count == faults
    assert [problem.code in sample for sample in saw.faults.samples] == [True] * faults
    await device.switch_off()


def test_a_failure_that_a_repeat_mended_is_noted_all_the_same() -> None:
    saw = TabletSaw()
    for problem in (
        Unanswered("internal-error", 500, "Something of ours failed."),
        Unanswered("busy", 503, "Nothing was changed."),
        Unanswered("unreachable", 0, "TimeoutError"),
    ):
        note_fault(saw, problem)
    assert saw.faults.count == 1
    assert "internal-error" in saw.faults.samples[0]
