"""The notification log and the effect that notices go through."""
# ruff: noqa: ASYNC240 - the files of these tests are tiny

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapters import notifications
from adapters.notifications import NotificationLog, notify_effect
from domain.errors import Refused, Unavailable
from domain.notice import Notify
from domain.payment import QueryPayment
from tests.fakes.manual_clock import ManualClock

NOTICE = Notify("customer:c-1", "order-refunded", {"order_id": "o1", "name": "Zoë\n\u2028"})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "notifications.jsonl"


async def test_a_notice_is_one_json_line_with_its_id_and_service_time(path: Path) -> None:
    log = NotificationLog(path, ManualClock(1_760_000_000.5))
    await log.notify(NOTICE, "e1")
    assert lines(path) == [
        {
            "id": "e1", "at": "2025-10-09T08:53:20.500+00:00", "audience": "customer:c-1",
            "template": "order-refunded", "facts": NOTICE.facts,
        }
    ]  # fmt: skip
    assert path.read_bytes().count(b"\n") == 1
    await log.close()


async def test_a_notice_is_logged_once_however_often_it_is_sent_at_once_or_later(
    path: Path,
) -> None:
    log = NotificationLog(path, ManualClock())
    await asyncio.gather(*(log.notify(NOTICE, f"e{number % 3}") for number in range(30)))
    await log.notify(NOTICE, "e1")
    assert sorted(line["id"] for line in lines(path)) == ["e0", "e1", "e2"]
    await log.close()


async def test_a_restart_does_not_log_a_notice_again(path: Path) -> None:
    first = NotificationLog(path, ManualClock())
    await first.notify(NOTICE, "e1")
    await first.close()
    second = NotificationLog(path, ManualClock())
    await second.notify(NOTICE, "e1")
    await second.notify(NOTICE, "e2")
    assert [line["id"] for line in lines(path)] == ["e1", "e2"]
    await second.close()


async def test_two_processes_on_one_file_log_a_notice_once(path: Path) -> None:
    one, other = NotificationLog(path, ManualClock()), NotificationLog(path, ManualClock())
    await asyncio.gather(
        *(log.notify(NOTICE, f"e{number}") for number in range(50) for log in (one, other))
    )
    assert sorted(line["id"] for line in lines(path)) == sorted(f"e{n}" for n in range(50))
    await one.close()
    await other.close()


async def test_a_line_torn_by_a_crash_is_cut_off_and_its_notice_logged_whole(path: Path) -> None:
    log = NotificationLog(path, ManualClock())
    await log.notify(NOTICE, "e1")
    await log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole.replace(b"e1", b"e2")[:-7])
    log = NotificationLog(path, ManualClock())
    await log.notify(NOTICE, "e2")
    assert [line["id"] for line in lines(path)] == ["e1", "e2"]
    await log.close()


async def test_a_file_that_was_moved_away_is_begun_anew_and_known_ids_stay_known(
    path: Path,
) -> None:
    log = NotificationLog(path, ManualClock())
    await log.notify(NOTICE, "e1")
    path.rename(path.with_suffix(".old"))
    await log.notify(NOTICE, "e1")
    await log.notify(NOTICE, "e2")
    assert [line["id"] for line in lines(path)] == ["e2"]
    await log.close()


async def test_only_the_newest_ids_and_the_files_end_are_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "IDS_KEPT", 3)
    monkeypatch.setattr(notifications, "TAIL_BYTES", 350)
    log = NotificationLog(path, ManualClock())
    for number in range(10):
        await log.notify(NOTICE, f"e{number}")
    await log.close()
    log = NotificationLog(path, ManualClock())
    await log.notify(NOTICE, "e9")
    assert len(lines(path)) == 10
    await log.notify(NOTICE, "e0")
    assert [line["id"] for line in lines(path)][-1] == "e0"
    await log.close()


async def test_a_foreign_line_in_the_file_does_no_harm(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'not json\n{"x":1}\n\xff\n')
    log = NotificationLog(path, ManualClock())
    await log.notify(NOTICE, "e1")
    assert path.read_bytes().startswith(b"not json\n")
    assert path.read_bytes().count(b"\n") == 4
    await log.close()


async def test_a_disk_that_refuses_leaves_every_waiting_notice_owed_and_recovers(
    path: Path,
) -> None:
    path.mkdir(parents=True)
    log = NotificationLog(path, ManualClock())
    answers = await asyncio.gather(
        *(log.notify(NOTICE, f"e{number}") for number in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    path.rmdir()
    await log.notify(NOTICE, "e0")
    assert [line["id"] for line in lines(path)] == ["e0"]
    await log.close()


async def test_a_caller_who_gives_up_does_not_hold_the_others_back(path: Path) -> None:
    log = NotificationLog(path, ManualClock())
    impatient = asyncio.ensure_future(log.notify(NOTICE, "e1"))
    patient = asyncio.ensure_future(log.notify(NOTICE, "e2"))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    await log.notify(NOTICE, "e1")
    assert sorted(line["id"] for line in lines(path)) == ["e1", "e2"]
    await log.close()


class Texts:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def notify(self, notice: Notify, notice_id: str) -> None:
        self.sent.append((notice.audience, notice_id))


async def test_a_notice_goes_to_the_adapter_it_is_owed_to(path: Path) -> None:
    texts, log = Texts(), NotificationLog(path, ManualClock())
    effect = notify_effect({"log": log, "sms": texts})
    await effect("sms", NOTICE, "e1")
    await effect("log", NOTICE, "e2")
    assert texts.sent == [("customer:c-1", "e1")]
    assert [line["id"] for line in lines(path)] == ["e2"]
    await log.close()


async def test_an_unknown_adapter_or_something_that_is_no_notice_is_refused() -> None:
    effect = notify_effect({"sms": Texts()})
    with pytest.raises(Refused, match="unknown-notifier"):
        await effect("pigeon", NOTICE, "e1")
    with pytest.raises(Refused, match="unknown-command"):
        await effect("sms", QueryPayment("o1-p1"), "e1")
