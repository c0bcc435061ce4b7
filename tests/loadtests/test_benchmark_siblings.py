"""A result tells how much of a second processor its machine really has."""

import os

import pytest

from loadtests import report, siblings


def test_a_busy_neighbour_is_compared_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    running = [1]
    monkeypatch.setattr(siblings, "_running", lambda: running[0])
    monkeypatch.setattr(siblings, "_work", lambda: 0.02 * running[0] ** 0.5)

    class Busy:
        def __init__(self, *_: object, **__: object) -> None:
            running[0] = 2
            self.stdout = self

        def readline(self) -> bytes:
            return b"\n"

        def kill(self) -> None:
            running[0] = 1

        def communicate(self) -> None: ...

    monkeypatch.setattr(siblings.subprocess, "Popen", Busy)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    assert siblings.slowdown() == 1.41
    assert running == [1], "the busy one was ended"


def test_while_others_are_at_work_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siblings, "_running", lambda: 7)
    monkeypatch.setattr(siblings, "_work", lambda: 0.02)
    allowed = os.sched_getaffinity(0)
    assert siblings.slowdown() is None
    assert os.sched_getaffinity(0) == allowed


def test_the_machine_is_described_with_it() -> None:
    told = {**report.machine(), "beside_busy": 1.5}
    assert "(beside a busy one: 1.5 times the processor time)" in report._machine(told)
    assert "beside" not in report._machine({**told, "beside_busy": None})
