"""What a child process and an actor are given is what the supervisor was configured with."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from orchestrator.settings import Settings, configuration, environment

GIVEN = Settings(
    _env_file=None, data=Path("/somewhere"), actors=3, clock_speed=60.0, log_json=False,
    jwt_secret=SecretStr("of tokens"), queue_secret=SecretStr("of the queue"),
)  # type: ignore[call-arg]  # fmt: skip


def test_a_child_process_reads_the_same_settings_from_its_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment(GIVEN).items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == GIVEN  # type: ignore[call-arg]


def test_an_actor_reads_the_same_settings_from_plain_data() -> None:
    plain = configuration(GIVEN)
    assert plain["jwt_secret"] == "of tokens"
    assert "clock_start" not in plain, "what was not given is not made up"
    assert Settings(_env_file=None, **plain) == GIVEN


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (0, -1, 10**9)) for name in ("gateways", "actors", "pending_max")),
        *((f"{kind}_shards", (0, -1, 10**9)) for kind in (
            "order", "inventory", "campaign", "store", "rider",
        )),
        ("clock_speed", (0, -1, "inf", "nan")),
        ("clock_start", (-1, 0, "inf", "nan")),
        ("sandbox_faults", (-0.1, 1.1, 9, "nan")),
        ("body_bytes_max", (-1, 0)),
        ("socket_queue_bytes_max", (-1, 0)),
        ("heartbeat_s", (0, -1, "inf", "nan")),
        ("passivate_s", (-1, "inf", "nan")),
        ("cold_retention_s", (0, -1, "inf", "nan")),
        ("ledger_behind_s", (-1, "inf", "nan")),
        ("log_level", ("loud", "")),
    ],
)  # fmt: skip
def test_what_no_service_can_run_with_is_no_setting(name: str, values: tuple[object, ...]) -> None:
    for value in values:
        with pytest.raises(ValidationError) as refused:
            Settings(_env_file=None, **{name: value})  # type: ignore[arg-type]
        assert [one["loc"] for one in refused.value.errors()] == [(name,)]
