"""What a child process and an actor are given is what the supervisor was configured with."""

from pathlib import Path

import pytest
from pydantic import SecretStr

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
