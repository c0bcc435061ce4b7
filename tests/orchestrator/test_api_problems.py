"""Errors as problem documents: one table, used by all."""

import ast
import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from actors.order.cancelling import ALREADY_LEFT
from domain.errors import Busy, Refused, Unavailable
from orchestrator.api import problems
from tests.fakes.api_world import ApiWorld

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "actors", "adapters", "orchestrator")
DOCUMENT = ROOT / "docs" / "protocol" / "openapi.json"
RAISED = {"Refused", "Busy", "Unavailable", "DoorstepError", "Problem"}
PASSED_ON = {
    "adapters/payments/sandbox_client.py": 1,  # the provider's own code
    "domain/errors.py": 1,  # from exception to data
    "orchestrator/pairing.py": 1,  # the service's answer to the command line
    "orchestrator/push/protocol.py": 1,  # the frame before a close; its codes are the socket's
}
"""Errors whose code another one gave, by file: nobody can read off the source what it is."""


@cache
def errors_made(file: Path) -> tuple[frozenset[str], int]:
    """Codes of the errors that a file makes, spelled out, by a constant or through a helper of
    its own that takes the code; and how many errors have a code from elsewhere."""
    tree = ast.parse(file.read_text())
    constants = constants_of(file)
    makers = dict.fromkeys(RAISED, 0)
    inside: set[ast.AST] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            named = [argument.arg for argument in function.args.args]
            for call in calls(function, set(RAISED)):
                code = call.args[0]
                if (
                    function.name.startswith("_")
                    and isinstance(code, ast.Name)
                    and code.id in named
                ):
                    makers[function.name] = named.index(code.id)
                    inside.add(call)
    found: set[str] = set()
    elsewhere = 0
    for call in calls(tree, set(makers)):
        code = call.args[makers[name_of(call)]]
        if isinstance(code, ast.Constant):
            found.add(str(code.value))
        elif isinstance(code, ast.Name) and constants.get(code.id):
            found |= constants[code.id]
        elif call not in inside:
            elsewhere += 1
    return frozenset(found - {""}), elsewhere


def calls(tree: ast.AST, names: set[str]) -> list[ast.Call]:
    return [
        node for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node) in names and node.args
    ]  # fmt: skip


def name_of(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def constants_of(file: Path) -> dict[str, set[str]]:
    """What texts each name of a module stands for, those imported from our rooms included."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Constant(str(text))):
                found[name].add(text)
            case ast.Assign(targets=[ast.Tuple(names)], value=ast.Tuple(values)):
                for target, value in zip(names, values, strict=False):
                    if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                        found[target.id].add(str(value.value))
            case ast.ImportFrom(module=str(module), names=imported):
                source = ROOT / f"{module.replace('.', '/')}.py"
                if any(alias.name.isupper() for alias in imported) and source.exists():
                    theirs = constants_of(source)
                    for alias in imported:
                        found[alias.asname or alias.name] |= theirs.get(alias.name, set())
    return found


def codes_raised(*rooms: str) -> set[str]:
    found: set[str] = set()
    for room in rooms:
        for file in (ROOT / room).rglob("*.py"):
            found |= errors_made(file)[0]
    return found


@pytest.mark.parametrize("room", ["domain", "actors", "orchestrator/api", "orchestrator/push"])
def test_every_code_that_is_raised_is_explained(room: str) -> None:
    assert codes_raised(room) - set(problems.EXPLAINED) == set()


def test_every_code_that_is_explained_is_raised_somewhere() -> None:
    assert set(problems.EXPLAINED) - codes_raised(*ROOMS) == set()


def test_the_source_says_the_code_of_every_error() -> None:
    blind = {
        file.relative_to(ROOT).as_posix(): elsewhere
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if (elsewhere := errors_made(file)[1])
    }
    assert blind == PASSED_ON


def test_a_constant_that_is_a_code_counts_as_raised() -> None:
    assert {"already-left", "lock-differs"} <= codes_raised("actors/order")


def test_a_cancel_that_comes_too_late_is_a_conflict_as_its_route_says() -> None:
    route = json.loads(DOCUMENT.read_text())["paths"]["/v1/orders/{order_id}/cancel"]["post"]
    conflicts = route["responses"]["409"]["description"]
    status, _, _ = problems.encoded(Refused(ALREADY_LEFT, "They have left."))
    assert status == 409
    assert f"`{ALREADY_LEFT}`" in conflicts


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
