"""Errors as problem documents: one table, used by all."""

import ast
import re
from pathlib import Path

import pytest

from domain.errors import Busy, Refused, Unavailable
from orchestrator.api import problems
from tests.fakes.api_world import ApiWorld

ROOT = Path(__file__).parents[2]
RAISED = ("Refused", "Busy", "Unavailable")


def codes_raised(room: str) -> set[str]:
    found: set[str] = set()
    for file in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


@pytest.mark.parametrize("room", ["domain", "actors", "orchestrator/api", "orchestrator/push"])
def test_every_code_that_is_raised_is_explained(room: str) -> None:
    assert codes_raised(room) - set(problems.EXPLAINED) == set()


def test_codes_are_kebab_case_with_a_status_of_an_error_and_words() -> None:
    for code, one in problems.EXPLAINED.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert 400 <= one.status <= 503
        assert one.title
        assert one.advice.endswith((".", ")."))


def test_members_of_the_standard_win_over_extra_ones() -> None:
    document = problems.document_of(Refused("short-stock", "Two left.", status=200, short={"A": 2}))
    assert document["status"] == 422
    assert document["short"] == {"A": 2}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("unknown-dragon", "?"), 404),
        (Refused("wrong-moon", "?"), 409),
        (Refused("odd", "?"), 422),
        (Busy("odd", "?"), 503),
        (Unavailable("unknown-dragon", "?"), 503),
    ],
)
def test_a_code_nobody_explained_still_has_a_fitting_status(error: Refused, status: int) -> None:
    found, headers, _ = problems.encoded(error)
    assert found == status
    assert ("retry-after" in headers) == (status == 503)


async def test_a_problems_type_leads_to_its_explanation() -> None:
    world = ApiWorld()
    refused = (await world.call("POST", "/v1/orders")).json()
    explained = await world.call("GET", refused["type"])
    assert explained.status_code == 200
    assert problems.EXPLAINED["token-missing"].advice in explained.text
    assert (await world.call("GET", "/problems/none-such")).status_code == 404
    assert "409 wrong-state" in (await world.call("GET", "/problems")).text
