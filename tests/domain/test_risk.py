"""Risk: the table of rules, blocklists, and how a challenge is passed."""

from typing import Any

import msgspec
import pytest

from domain.errors import Refused
from domain.risk.addresses import counted_as
from domain.risk.blocks import Blocks
from domain.risk.commands import (
    AnswerChallenge,
    Block,
    OpenChallenge,
    PutBlock,
    RecordDecision,
    RemoveBlock,
    Visit,
)
from domain.risk.rules import (
    CODE_DIGITS,
    TRIES_MAX,
    answer,
    code_of,
    entity_of_block,
    open_challenge,
    put_block,
    record,
    record_view,
    remove_block,
)
from domain.risk.state import CHALLENGES_MAX, DECISIONS_MAX, RiskState, evolve
from domain.risk.table import ALLOW, CHALLENGE, DEFAULT_RULES, DENY, Facts, judge, rules_of

NOW = 1_000_000.0
VISIT = Visit("app", "o-1", "phone-1", "203.0.113.9")


@pytest.mark.parametrize(
    ("facts", "decision", "reasons"),
    [
        ({}, ALLOW, ()),
        ({"blocked_customer": 1}, DENY, ("blocked-customer",)),
        ({"blocked_phone": 1}, DENY, ("blocked-phone",)),
        ({"blocked_device": 1}, DENY, ("blocked-device",)),
        ({"blocked_address": 1}, DENY, ("blocked-address",)),
        ({"unpaid_orders": 3}, ALLOW, ()),
        ({"unpaid_orders": 4}, CHALLENGE, ("unpaid-orders",)),
        ({"unpaid_orders": 9}, CHALLENGE, ("unpaid-orders",)),
        ({"unpaid_orders": 10}, DENY, ("unpaid-orders",)),
        ({"unpaid_orders": 1, "unpaid_value": 90_000_000}, ALLOW, ()),
        ({"unpaid_orders": 2, "unpaid_value": 999_999}, ALLOW, ()),
        ({"unpaid_orders": 2, "unpaid_value": 1_000_000}, CHALLENGE, ("unpaid-value",)),
        ({"unpaid_orders": 2, "unpaid_value": 5_000_000}, DENY, ("unpaid-value",)),
        ({"expired_orders": 2, "expired_share": 1.0}, ALLOW, ()),
        ({"expired_orders": 3, "expired_share": 0.49}, ALLOW, ()),
        ({"expired_orders": 3, "expired_share": 0.5}, CHALLENGE, ("expired-share",)),
        ({"expired_orders": 10, "expired_share": 0.9}, DENY, ("expired-share",)),
        ({"device_customers": 4}, ALLOW, ()),
        ({"device_customers": 5}, CHALLENGE, ("device-customers",)),
        ({"device_customers": 20}, DENY, ("device-customers",)),
        (
            {"unpaid_orders": 4, "blocked_device": 1, "device_customers": 5},
            DENY,
            ("blocked-device", "unpaid-orders", "device-customers"),
        ),
    ],
)
def test_the_strongest_rule_decides_and_every_reason_is_named(
    facts: dict[str, Any], decision: str, reasons: tuple[str, ...]
) -> None:
    verdict = judge(DEFAULT_RULES, Facts(**facts))
    assert (verdict.decision, verdict.reasons) == (decision, reasons)


def test_every_rule_speaks_of_a_fact_and_has_a_name_of_its_own() -> None:
    facts = set(Facts.__struct_fields__)
    assert all(one.fact in facts for rule in DEFAULT_RULES for one in rule.when)
    assert len({rule.name for rule in DEFAULT_RULES}) == len(DEFAULT_RULES)


@pytest.mark.parametrize(
    ("text", "facts", "decision"),
    [
        ("", {"unpaid_orders": 4}, CHALLENGE),
        ('{"unpaid-orders": 6}', {"unpaid_orders": 5}, ALLOW),
        ('{"unpaid-orders": 6}', {"unpaid_orders": 6}, CHALLENGE),
        ('{"unpaid-orders": null}', {"unpaid_orders": 9}, ALLOW),
        ('{"expired-share": [1, 0.2]}', {"expired_orders": 1, "expired_share": 0.2}, CHALLENGE),
    ],
)
def test_a_rule_is_set_or_switched_off_by_name(
    text: str, facts: dict[str, Any], decision: str
) -> None:
    assert judge(rules_of(text), Facts(**facts)).decision == decision


@pytest.mark.parametrize(
    "text",
    ["[1]", '{"no-such-rule": 1}', '{"unpaid-orders": "6"}', '{"unpaid-orders": [1, 2]}',
     '{"unpaid-orders": true}', "{"],
)  # fmt: skip
def test_rules_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        rules_of(text)


# Blocks -----------------------------------------------------------------------------------------


def test_a_block_covers_exactly_whom_it_names_until_its_time() -> None:
    blocks = Blocks()
    assert not blocks
    blocks.put(Block("device", "phone-1", "bot", "ops:ana", NOW + 60))
    assert blocks
    assert blocks.covers("device", "phone-1", NOW)
    assert not blocks.covers("device", "phone-1", NOW + 60)
    assert not blocks.covers("customer", "phone-1", NOW)
    assert not blocks.covers("device", "", NOW)
    blocks.drop("device", "phone-1")
    assert not blocks


@pytest.mark.parametrize(
    ("blocked", "address", "covered"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("203.0.113.0/24", "203.0.113.200", True),
        ("203.0.113.0/24", "203.0.114.1", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("2001:db8::/32", "203.0.113.9", False),
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("203.0.113.0/24", "::ffff:203.0.113.200", True),
        ("203.0.113.0/24", "::ffff:203.0.114.1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("::ffff:203.0.113.0/120", "203.0.113.9", True),
        ("::ffff:203.0.113.0/120", "::ffff:203.0.114.9", False),
        ("203.0.113.9", "testclient", False),
        ("203.0.113.9", "", False),
    ],
)
def test_an_address_is_covered_by_itself_or_its_network(
    blocked: str, address: str, covered: bool
) -> None:
    blocks = Blocks()
    blocks.put(Block("address", blocked, "bot", "ops:ana"))
    assert blocks.covers_address(address, NOW) is covered
    blocks.drop("address", blocked)
    assert not blocks.covers_address(address, NOW)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:0:7::1", "2001:db8:0:7::/64"),
        ("2001:db8:0:7:ffff::2", "2001:db8:0:7::/64"),
        ("2001:db8:0:8::1", "2001:db8:0:8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_limits_count_an_ipv4_address_however_written_and_an_ipv6_address_by_its_site(
    address: str, counted: str
) -> None:
    assert counted_as(address) == counted


@pytest.mark.parametrize(
    ("kind", "value"),
    [("shoe", "x"), ("device", ""), ("device", "a\nb"), ("address", "home"),
     ("address", "203.0.113.9/24"), ("customer", "c" * 200)],
)  # fmt: skip
def test_what_cannot_be_blocked_is_refused(kind: str, value: str) -> None:
    command = PutBlock(Block(kind, value, "w", "ops:ana"))
    with pytest.raises(Refused) as refused:
        put_block(None, command, entity_of_block(kind, value), NOW)
    assert refused.value.code == "invalid-block"


def test_a_block_is_put_and_removed_with_who_and_why() -> None:
    block = Block("customer", "c-1", "bot", "ops:ana")
    put = put_block(None, PutBlock(block), "block:customer:c-1", NOW)
    state = evolve(None, put)
    assert state.block == block
    removed = remove_block(state, RemoveBlock("ops:bo", "called us"), NOW + 1)
    assert (removed.block, removed.by, removed.why) == (block, "ops:bo", "called us")
    with pytest.raises(Refused) as refused:
        remove_block(evolve(state, removed), RemoveBlock("ops:bo", ""), NOW + 2)
    assert refused.value.code == "unknown-block"


# Decisions and challenges -----------------------------------------------------------------------


class Customer:
    def __init__(self) -> None:
        self.state: RiskState | None = None

    def take(self, events: Any) -> int:
        for event in events:
            self.state = evolve(self.state, event)
        return len(events)

    def open(self, challenge_id: str, code: str = "", at: float = NOW) -> int:
        command = OpenChallenge(challenge_id, ("unpaid-orders",), VISIT, at + 600, code)
        return self.take(open_challenge(self.state, command, at))

    def answer(
        self, challenge_id: str, code: str = "", *,
        word: bool = False, at: float = NOW, by: str = "app",
    ) -> bool:  # fmt: skip
        events, passed = answer(self.state, AnswerChallenge(challenge_id, by, code, word), at)
        self.take(events)
        return passed


def test_the_same_decision_again_is_kept_once_a_minute_another_at_once() -> None:
    customer = Customer()
    deny = RecordDecision(DENY, ("blocked-device",), VISIT)
    kept = [customer.take(record(customer.state, deny, NOW + at)) for at in (0, 1, 59.9, 60)]
    assert kept == [1, 0, 0, 1]
    other = RecordDecision(DENY, ("blocked-phone",), VISIT)
    assert customer.take(record(customer.state, other, NOW + 61)) == 1
    view = record_view(customer.state, "c-1")
    assert (view.denied, view.challenged, len(view.decisions)) == (3, 0, 3)


def test_only_the_last_decisions_are_kept_and_all_are_counted() -> None:
    customer = Customer()
    for number in range(DECISIONS_MAX + 5):
        command = RecordDecision(DENY, (f"r-{number}",), VISIT)
        customer.take(record(customer.state, command, NOW))
    view = record_view(customer.state, "c-1")
    assert len(view.decisions) == DECISIONS_MAX
    assert view.denied == DECISIONS_MAX + 5
    assert view.decisions[-1].reasons == (f"r-{DECISIONS_MAX + 4}",)


def test_the_channels_word_passes_a_challenge_without_a_code_once() -> None:
    customer = Customer()
    assert customer.open("q-1") == 2
    assert customer.open("q-1") == 0
    assert customer.answer("q-1", word=True)
    assert customer.answer("q-1", word=True)
    assert customer.state is not None
    assert customer.state.passed == 1


@pytest.mark.parametrize("code", ["", "123456"])
def test_who_did_not_pass_by_the_channels_word_failed_and_may_pass_later(code: str) -> None:
    customer = Customer()
    customer.open("q-1")
    assert not customer.answer("q-1", code)
    assert customer.state is not None
    assert (customer.state.passed, customer.state.challenges["q-1"].wrong) == (0, 1)
    assert customer.answer("q-1", word=True)


@pytest.mark.parametrize("word", [False, True])
def test_a_code_is_asked_for_and_the_channels_word_changes_nothing(word: bool) -> None:
    customer = Customer()
    customer.open("q-1", "123456")
    assert not customer.answer("q-1", word=word)
    assert not customer.answer("q-1", "123457", word=word)
    assert customer.answer("q-1", "123456", word=word)


@pytest.mark.parametrize("code", ["", "123456"])
def test_after_so_many_failed_answers_the_right_one_is_too_late(code: str) -> None:
    customer = Customer()
    customer.open("q-1", code)
    for _ in range(TRIES_MAX):
        assert not customer.answer("q-1", "000000")
    with pytest.raises(Refused) as refused:
        customer.answer("q-1", code, word=True)
    assert refused.value.code == "challenge-expired"


def test_an_answer_stored_before_it_told_of_the_channels_word_is_read_as_not_passed() -> None:
    old = msgspec.msgpack.encode(["risk.answer_challenge.v1", "q-1", "app", "123456"])
    read = msgspec.msgpack.decode(old, type=AnswerChallenge)
    assert read == AnswerChallenge("q-1", "app", "123456", False)


@pytest.mark.parametrize(
    ("challenge_id", "by", "at", "code"),
    [("q-2", "app", NOW, "unknown-challenge"), ("q-1", "web", NOW, "unknown-challenge"),
     ("q-1", "app", NOW + 600, "challenge-expired")],
)  # fmt: skip
def test_another_channels_unknown_and_late_challenges_are_refused(
    challenge_id: str, by: str, at: float, code: str
) -> None:
    customer = Customer()
    customer.open("q-1")
    with pytest.raises(Refused) as refused:
        customer.answer(challenge_id, at=at, by=by)
    assert refused.value.code == code


def test_open_challenges_of_a_customer_are_bounded() -> None:
    customer = Customer()
    for number in range(CHALLENGES_MAX + 3):
        customer.open(f"q-{number}")
    assert customer.state is not None
    assert len(customer.state.challenges) == CHALLENGES_MAX


def test_a_code_is_the_same_at_a_repeat_and_another_for_another_challenge() -> None:
    codes = {code_of(b"s" * 32, f"q-{number}") for number in range(50)}
    assert len(codes) > 45
    assert all(len(code) == CODE_DIGITS and code.isdigit() for code in codes)
    assert code_of(b"s" * 32, "q-1") == code_of(b"s" * 32, "q-1") != code_of(b"t" * 32, "q-1")
