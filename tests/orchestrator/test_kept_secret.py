"""What an operator's neighbours must not see: the data folder, passwords in addresses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator import bootstrap
from orchestrator.cli import app, print_settings
from orchestrator.data_folder import DataFolder, resolve
from orchestrator.masking import masked
from orchestrator.settings import Settings


@pytest.mark.parametrize("existed", [False, True])
def test_the_data_folder_is_its_owners_alone(tmp_path: Path, existed: bool) -> None:
    data = tmp_path / "data"
    if existed:
        data.mkdir(mode=0o755)
    folder = DataFolder(data)
    folder.lock()
    folder.unlock()
    assert data.stat().st_mode & 0o777 == 0o700


def test_the_embedded_redis_keeps_its_password_over_restarts(tmp_path: Path) -> None:
    first = DataFolder(tmp_path).secrets()["redis"]
    assert len(first) >= 32
    assert DataFolder(tmp_path).secrets()["redis"] == first


async def test_the_settings_of_the_started_parts_hold_the_kept_password(tmp_path: Path) -> None:
    settings = resolve(Settings(data=tmp_path))
    parts = await bootstrap.open_parts(settings)
    try:
        assert DataFolder(tmp_path).secrets()["redis"] in parts.settings.redis_url
    finally:
        await parts.stop()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pa55@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0"),
        ("postgresql+asyncpg://me:p@55@db/x", "postgresql+asyncpg://me:***@db/x"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("sqlite+aiosqlite:////data/ledger.db", "sqlite+aiosqlite:////data/ledger.db"),
    ],
)
def test_the_password_of_an_address_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_printed_settings_show_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    print_settings(
        Settings(
            redis_url="redis://:pa55word@127.0.0.1:1/0", limits_url="redis://:pa55word@h:1/1",
            database_url="postgresql+asyncpg://me:pa55word@db/x",
        )
    )  # fmt: skip
    printed = capsys.readouterr().err
    assert "pa55word" not in printed
    assert "***" in printed


def test_the_doctor_examines_the_data_folder_that_is_named(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--json", "--data", str(tmp_path / "mine")])
    found = {finding["part"]: finding for finding in json.loads(answer.stdout)}
    folder = str((tmp_path / "mine").resolve())
    assert found["data folder"]["found"] == f"{folder}: no service was ever started on it"
