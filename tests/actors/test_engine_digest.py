"""What makes two commands under one key the same wish."""

from typing import get_args

import pytest
from msgspec.structs import replace

from actors.engine.codec import digest_of, encode
from domain.device.commands import RedeemCode
from domain.geo import Position
from domain.message import Command
from domain.rider.commands import Remit, StartShift
from domain.waiting.commands import Join
from domain.waiting.model import QueueRule
from orchestrator.bootstrap import KINDS

SHIFT = StartShift("north", "bicycle", Position(52.5, 13.4), currencies=("EUR",))
REMIT = Remit("m-1", 500, "ana", dispatch_zone="north")
JOIN = Join("c-1", QueueRule(), 10.0)
REDEEM = RedeemCode(("store",), "Till", (("store", 60.0),))


def digest(command: Command) -> int:
    return digest_of(command, encode(command))


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (SHIFT, replace(SHIFT, currencies=("EUR", "PLN"))),
        (REMIT, replace(REMIT, dispatch_zone="south")),
        (JOIN, replace(JOIN, rule=QueueRule(per_s=1.0), opens_at=20.0)),
        (REDEEM, replace(REDEEM, session_s=(("store", 90.0),))),
    ],
)
def test_what_was_looked_up_for_a_wish_makes_it_no_other(command: Command, again: Command) -> None:
    assert command != again
    assert digest(command) == digest(again)


@pytest.mark.parametrize(
    ("command", "other"),
    [
        (SHIFT, replace(SHIFT, vehicle="car")),
        (REMIT, replace(REMIT, amount=400)),
        (JOIN, replace(JOIN, customer_id="c-2")),
        (REDEEM, replace(REDEEM, device_name="Office")),
    ],
)
def test_what_was_said_makes_it_another(command: Command, other: Command) -> None:
    assert digest(command) != digest(other)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_only_fields_are_looked_up(kind: object) -> None:
    commands = kind.commands  # type: ignore[attr-defined]
    for command in get_args(commands) or (commands,):
        assert set(command.__struct_fields__) >= command.LOOKED_UP, command
