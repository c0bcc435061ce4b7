"""``doctor`` asks every part itself, and finds a service that runs already well."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner

from actors.engine.ray_runtime import Cluster, connect_ray
from domain.errors import Refused
from orchestrator.bootstrap import open_ledger
from orchestrator.cli import app
from orchestrator.data_folder import DataFolder, resolve
from orchestrator.doctor import Finding, examine
from orchestrator.settings import Settings


async def findings(data: Path, **given: object) -> dict[str, Finding]:
    settings = Settings(_env_file=None, data=data, **given)  # type: ignore[arg-type]
    return {finding.part: finding for finding in await examine(settings)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in it."""
    return {str(one): one.read_bytes() if one.is_file() else b"" for one in folder.rglob("*")}


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Somebody runs on the folder."""
    folder = DataFolder(data)
    folder.lock()
    try:
        yield
    finally:
        folder.unlock()


@asynccontextmanager
async def answering(status: int = 200) -> AsyncIterator[int]:
    """Somebody answers ``/healthz`` at the port."""

    async def health(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    served = web.Application()
    served.router.add_get("/healthz", health)
    runner = web.AppRunner(served)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


async def test_on_an_idle_machine_all_is_well(tmp_path: Path) -> None:
    found = await findings(tmp_path, port=free_port())
    assert [finding for finding in found.values() if not finding.ok] == []


async def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    mistyped = tmp_path / "of" / "nobody"
    found = await findings(mistyped, port=free_port())
    assert [finding for finding in found.values() if not finding.ok] == []
    assert "no service was ever started on it" in found["data folder"].found
    assert "--data" in found["data folder"].mend
    assert contents(tmp_path) == {}


def test_after_a_doctor_there_is_still_no_token_of_a_folder_without_a_service(
    tmp_path: Path,
) -> None:
    data = ["--data", str(tmp_path / "dta")]
    examined = CliRunner().invoke(app, ["doctor", "--json", *data])
    assert "no service was ever started" in examined.output
    told = CliRunner().invoke(app, ["token", "--role", "ops", *data])
    assert told.exit_code == 2
    assert "No service was ever started on" in told.output


async def test_a_folder_of_a_service_is_left_as_it_is(tmp_path: Path) -> None:
    settings = resolve(Settings(_env_file=None, data=tmp_path))  # type: ignore[call-arg]
    with held(tmp_path):
        engine = open_ledger(settings)
        async with engine.begin() as ledger:
            await ledger.exec_driver_sql("CREATE TABLE something (id INTEGER)")
        await engine.dispose()
    before = contents(tmp_path)
    found = await findings(tmp_path, port=free_port())
    assert [finding for finding in found.values() if not finding.ok] == []
    assert found["data folder"].found == str(tmp_path)
    assert found["ledger"].found == "SQLite answers"
    assert contents(tmp_path) == before


async def test_a_ledger_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database " * 100)
    assert not (await findings(tmp_path, port=free_port()))["ledger"].ok


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data in (tmp_path / "file", tmp_path / "file" / "data"):
        found = (await findings(data, port=free_port()))["data folder"]
        assert (found.ok, found.found) == (False, "data-unusable")


async def test_a_service_that_runs_is_well(tmp_path: Path) -> None:
    async with answering() as port:
        with held(tmp_path):
            found = await findings(tmp_path, port=port)
    assert found["data folder"].ok
    assert found["port"].ok
    assert "running" in found["port"].found


async def test_a_folder_whose_service_does_not_answer_is_told(tmp_path: Path) -> None:
    with held(tmp_path):
        found = await findings(tmp_path, port=free_port())
    assert (found["data folder"].ok, found["data folder"].found) == (False, "data-in-use")
    assert found["port"].ok


@pytest.mark.parametrize("status", [200, 404])
async def test_a_port_that_somebody_else_answers_is_told(tmp_path: Path, status: int) -> None:
    async with answering(status) as port:
        found = await findings(tmp_path, port=port)
    assert found["data folder"].ok
    assert not found["port"].ok


@pytest.mark.parametrize("address", ["127.0.0.1:{free}", "garbage", "6379", "127.0.0.1:99999"])
async def test_a_ray_that_is_away_is_told_with_a_remedy(tmp_path: Path, address: str) -> None:
    address = address.format(free=free_port())
    found = (await findings(tmp_path, port=free_port(), ray_address=address))["Ray"]
    assert (found.ok, found.found) == (False, "ray-away")
    assert address in found.mend
    assert "DOORSTEP_RAY_ADDRESS" in found.mend


async def test_a_ray_that_listens_is_well(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        found = (await findings(tmp_path, port=free_port(), ray_address=address))["Ray"]
    assert found.ok
    assert address in found.found


def test_who_joins_a_ray_that_is_away_is_refused_at_once() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(Refused) as joining:
        Cluster(address, "nowhere").start()
    with pytest.raises(Refused) as connecting:
        connect_ray(address, "nowhere")
    assert joining.value.code == connecting.value.code == "ray-away"


def test_serve_tells_that_ray_is_away_as_it_tells_other_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOORSTEP_RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    told = CliRunner().invoke(app, ["serve", "--port", "0", "--data", str(tmp_path)])
    assert told.exit_code == 2
    assert "ray-away" in told.stderr
    assert "Traceback" not in told.output
