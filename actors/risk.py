"""Blocks and what is kept of risky customers, as an actor kind. Entities: ``block:<kind>:<value>``
and ``customer:<id>``; nothing is kept of customers who were always allowed."""

from typing import TypeAlias, assert_never

from actors.engine.kind import NEVER, Answered, Context, Decision, Kind, Send, Wake
from domain.notice import Notify
from domain.risk.commands import (
    AnswerChallenge,
    GetRecord,
    OpenChallenge,
    PutBlock,
    RecordDecision,
    RecordView,
    RemoveBlock,
)
from domain.risk.events import ChallengeOpened
from domain.risk.rules import answer, open_challenge, put_block, record, record_view, remove_block
from domain.risk.state import RiskEvent, RiskState, evolve

__all__ = ["KIND", "decide", "finished_at"]

RiskCommand: TypeAlias = (
    PutBlock | RemoveBlock | RecordDecision | OpenChallenge | AnswerChallenge | GetRecord
)


def decide(
    state: RiskState | None, command: RiskCommand | Wake | Answered, context: Context
) -> Decision:
    """Answered as each command says. A failed challenge is answered with False: it is counted,
    durably, so that nobody can go on guessing."""
    now = context.now
    match command:
        case PutBlock():
            return Decision([put_block(state, command, context.entity_id, now)], True)
        case RemoveBlock():
            return Decision([remove_block(state, command, now)], True)
        case RecordDecision():
            return Decision(record(state, command, now), True)
        case OpenChallenge():
            events = open_challenge(state, command, now)
            return Decision(events, True, _code_notice(events, context.entity_id))
        case AnswerChallenge():
            kept, passed = answer(state, command, now)
            return Decision(kept, passed)
        case GetRecord():
            return Decision(reply=record_view(state, context.entity_id.partition(":")[2]))
        case Wake() | Answered():
            return Decision()
        case _:
            assert_never(command)


def _code_notice(events: list[RiskEvent], entity_id: str) -> list[Send]:
    return [
        Send("notify/log", Notify(entity_id, "challenge-code", {"code": event.code}))
        for event in events
        if isinstance(event, ChallengeOpened) and event.code
    ]


def finished_at(state: RiskState) -> float:
    """A removed block is over, and so is a record when its last decision and challenge are. The
    record comes back when the customer does."""
    if state.block is not None:
        return NEVER
    last = state.decisions[-1].at if state.decisions else 0.0
    over = [challenge.expires_at for challenge in state.challenges.values()]
    return max(state.removed_at or 0.0, last, *over)


KIND = Kind(
    name="risk",
    state=RiskState,
    commands=RiskCommand,
    events=RiskEvent,
    replies=RecordView | bool,
    decide=decide,
    evolve=evolve,
    finished_at=finished_at,
)
