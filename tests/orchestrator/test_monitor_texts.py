"""The monitor page has words, in both languages, for whatever the service can raise."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from domain.reasons import BEFORE_CODES, OFFERED
from domain.reasons import WORDS as SAID
from domain.risk.table import DEFAULT_RULES
from domain.store.commands import SHORT_REASONS
from orchestrator.api.tickets import RejectBody

ROOT = Path(__file__).resolve().parents[2]
MONITOR = ROOT / "orchestrator" / "monitor"
TEXTS = (ROOT / "web" / "src" / "monitor" / "texts.ts").read_text()
FACTS_TS = (ROOT / "web" / "src" / "monitor" / "facts.ts").read_text()
WORDS_TS = (ROOT / "web" / "src" / "shared" / "words.ts").read_text()
REASONS_TS = (ROOT / "web" / "src" / "shared" / "reasons.ts").read_text()
DECISIONS = ("challenge", "deny")
"""What ``risk-…`` codes are made of."""


def first_arguments(function: str) -> set[str]:
    """The literal first argument of every call of ``function`` in the monitor."""
    found: set[str] = set()
    for path in MONITOR.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called == function and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
    return found


CODES = first_arguments("raise_") | {f"risk-{decision}" for decision in DECISIONS}
REMEDIES = first_arguments("Remedy") | first_arguments("_block")


def names_of_facts() -> set[str]:
    """The keys of every dictionary of facts that the monitor makes."""
    found: set[str] = set()
    for path in MONITOR.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            given: list[ast.AST] = []
            if isinstance(node, ast.keyword) and node.arg == "facts":
                given = [node.value]
            elif isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or node) == "Facts":
                given = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            for made in given:
                if isinstance(made, ast.Dict):
                    found |= {key.value for key in made.keys if isinstance(key, ast.Constant)}
    return found - {"currency"}


def literals(path: str, function: str, place: int) -> set[str]:
    """The literal argument at a place of every call of a function in a file."""
    calls = (
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function
    )
    given = (call.args[place] for call in calls if len(call.args) > place)
    return {str(one.value) for one in given if isinstance(one, ast.Constant)}


FACTS = names_of_facts()
NO_OTHER_STORE = (
    literals("domain/routing.py", "Refused", 0)
    | literals("actors/order/locking.py", "Refused", 0)
    | literals("actors/order/rerouting.py", "_park", 4)
)
MISPAID = literals("actors/order/paying.py", "_flagged", 2) | {"cash-difference"}
DENIED = {rule.reason for rule in DEFAULT_RULES}
WORDS = NO_OTHER_STORE | MISPAID | DENIED | {*SAID, *OFFERED, *SHORT_REASONS}


def said_twice(name: str) -> bool:
    """In the English catalogue and in the Chinese one."""
    return len(re.findall(rf'^    "?{re.escape(name)}"?: ["(]', TEXTS, re.MULTILINE)) == 2


def test_the_service_was_read_at_all() -> None:
    assert {"parked", "quota-refused", "tablet-offline", "risk-deny"} <= CODES
    assert {"re-route", "end", "block-device", "remit"} <= REMEDIES


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_anomaly_has_a_name_and_advice_in_both_languages(code: str) -> None:
    assert said_twice(code), f"web/src/monitor/texts.ts has no name for {code}"
    assert said_twice(f"about-{code}"), f"web/src/monitor/texts.ts has no advice on {code}"
    known = TEXTS.partition("const CODES")[2].partition("]);")[0]
    assert f'"{code}"' in known


def test_the_facts_were_read_at_all() -> None:
    assert {"others", "most", "taken", "reasons", "shard"} <= FACTS
    assert {"bound-to-store", "short-stock", "wrong-amount", "blocked-device"} <= WORDS


@pytest.mark.parametrize("fact", sorted(FACTS))
def test_a_fact_has_a_name_in_both_languages(fact: str) -> None:
    assert said_twice(f"fact-{fact}"), f"web/src/monitor/texts.ts has no name for the fact {fact}"
    table = FACTS_TS.partition("const FACTS")[2].partition("\n};")[0]
    assert re.search(rf"^  {fact}: {{", table, re.MULTILINE), f"facts.ts does not know {fact}"


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_reason_the_service_gives_by_itself_has_words_in_both_languages(word: str) -> None:
    table = WORDS_TS.partition("const WORDS")[2].partition("\n};")[0]
    said = re.search(rf'^  "?{re.escape(word)}"?: \["(.+)", "(.+)"\],$', table, re.MULTILINE)
    assert said, f"web/src/shared/words.ts has no words for {word}"
    assert re.search(r"[\u4e00-\u9fff]", said[2])


def test_a_tablet_offers_the_reasons_that_its_counter_takes() -> None:
    tablet = ROOT / "web" / "src" / "tablet"
    dialog = (tablet / "parts" / "RejectDialog.vue").read_text()
    offered = dict(re.findall(r'^  "?([\w-]+)"?: "(reason_\w+)",$', dialog, re.MULTILINE))
    assert tuple(offered) == OFFERED
    assert set(get_args(RejectBody.model_fields["reason_code"].annotation)) == {"", *OFFERED}
    for text in offered.values():
        assert (tablet / "texts.ts").read_text().count(f"    {text}: ") == 2


def test_pages_and_service_understand_alike_what_was_said_before_there_were_codes() -> None:
    table = REASONS_TS.partition("const BEFORE_CODES")[2].partition("\n};")[0]
    pages = dict(re.findall(r'^  "?(.+?)"?: "(.+)",$', table, re.MULTILINE))
    assert pages.items() >= {
        (word, code) for word, code in BEFORE_CODES.items() if word != "lock-gone"
    }
    for code in pages.values():
        assert re.search(rf'^  "?{code}"?: \[', WORDS_TS, re.MULTILINE), code


@pytest.mark.parametrize("remedy", sorted(REMEDIES))
def test_a_remedy_has_a_name_in_both_languages(remedy: str) -> None:
    table = TEXTS.partition("const REMEDIES")[2].partition("};")[0]
    text = re.search(rf'^  "?{re.escape(remedy)}"?: "([\w-]+)"', table, re.MULTILINE)
    assert text, f"web/src/monitor/texts.ts has no text for the remedy {remedy}"
    assert said_twice(text[1])
