"""The commands of operators: what was mistyped is said in words, and nothing is made of it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.auth import tokens_of
from orchestrator.cli import app
from orchestrator.data_folder import DataFolder, resolve
from orchestrator.settings import Settings


def run(*arguments: object, **variables: str) -> tuple[int, str]:
    """(exit status, output) of a command that must not fail with a traceback."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], env=variables)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of a service that was started once."""
    folder = tmp_path / "data"
    DataFolder(folder).secrets()
    return folder


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_cannot_be_is_refused_in_words(tmp_path: Path, port: int) -> None:
    status, output = run("serve", "--port", port, "--data", tmp_path / "data")
    assert status == 2
    assert "DOORSTEP_PORT" in output
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, output = run("serve", "--port", 0, "--data", tmp_path / "file" / "data")
    assert status == 2
    assert "data-unusable" in output
    assert "--data" in output


def test_settings_that_are_wrong_are_named_and_no_secret_among_them_is_shown() -> None:
    status, output = run("token", "--role", "ops", DOORSTEP_ACTORS="two", DOORSTEP_JWT_SECRET="hid")
    assert status == 2
    assert "DOORSTEP_ACTORS" in output
    assert "hid" not in output


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("DOORSTEP_GATEWAYS", "0", "greater than or equal to 1"),
        ("DOORSTEP_SANDBOX_FAULTS", "9", "less than or equal to 1"),
        ("DOORSTEP_CLOCK_SPEED", "0", "greater than or equal to 0.01"),
    ],
)
def test_a_variable_out_of_its_bounds_is_named_with_what_is_allowed(
    tmp_path: Path, variable: str, value: str, allowed: str
) -> None:
    folder = tmp_path / "data"
    status, output = run("serve", "--port", 0, "--data", folder, **{variable: value})
    assert status == 2
    assert variable in output
    assert allowed in output
    assert not folder.exists()


@pytest.mark.parametrize(
    "given",
    [
        ("demo", "--speed", 0), ("demo", "--speed", "nan"), ("demo", "--speed", "inf"),
        ("simulate", "--speed", -1), ("simulate", "--faults", 2), ("simulate", "--stores", 0),
        ("simulate", "--kill-every", -1), ("replay", "--speed", 0),
    ],
)  # fmt: skip
def test_an_option_out_of_its_bounds_is_refused_before_anything_starts(
    tmp_path: Path, given: tuple[object, ...]
) -> None:
    status, output = run(*given, "--data", tmp_path / "data")
    assert status == 2
    assert "Invalid value" in output or "DOORSTEP_" in output
    assert not (tmp_path / "data").exists()


def test_a_token_of_a_started_service_is_one_it_accepts(data: Path) -> None:
    status, token = run("token", "--role", "store", "--subject", "s-1", "--data", data)
    assert status == 0
    caller = tokens_of(resolve(Settings(_env_file=None, data=data))).verify(token)
    assert (caller.role, caller.subject) == ("store", "s-1")


@pytest.mark.parametrize("command", ["token", "pair"])
def test_of_a_folder_no_service_was_started_on_there_is_no_token(
    tmp_path: Path, command: str
) -> None:
    mistyped = tmp_path / "dta"
    status, output = run(command, "--role", "ops", "--data", mistyped)
    assert status == 2
    assert "No service was ever started on" in output
    assert "doorstep serve" in output
    assert not mistyped.exists(), "and it is not made"


def test_whoever_gives_the_secret_needs_no_folder(tmp_path: Path) -> None:
    secret = {"DOORSTEP_JWT_SECRET": "x" * 32}
    status, _ = run("token", "--role", "ops", "--data", tmp_path / "none", **secret)
    assert status == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("role", ["channel", "store", "rider"])
def test_a_token_for_somebody_names_them(data: Path, role: str) -> None:
    for subject in ([], ["--subject", ""]):
        status, output = run("token", "--role", role, "--data", data, *subject)
        assert status == 2
        assert "--subject" in output


@pytest.mark.parametrize("role", ["store", "rider"])
def test_a_page_for_somebody_names_them(data: Path, role: str) -> None:
    status, output = run("pair", "--role", role, "--data", data)
    assert status == 2
    assert "--subject" in output


def test_operations_may_stay_nameless(data: Path) -> None:
    assert run("token", "--role", "ops", "--data", data)[0] == 0


@pytest.mark.parametrize("hours", ["nan", "inf", "-1", "0", "1e9"])
def test_a_token_lasts_some_time_and_not_for_ever(data: Path, hours: str) -> None:
    status, output = run("token", "--role", "ops", "--data", data, "--hours", hours)
    assert status == 2
    assert "no lifetime" in output
