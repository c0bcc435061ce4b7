"""Queueing, blocklists, decisions on risk."""

from domain.risk import commands as risk
from domain.waiting.commands import Admission
from domain.waiting.model import QueueRule as InternalQueueRule
from domain.wire import moment
from orchestrator.api.show.common import maybe_moment
from orchestrator.models.risk import Block, QueuePlace, QueueRule, RiskDecision, RiskRecord

__all__ = ["show_block", "show_queue_place", "show_queue_rule", "show_risk_record"]


def show_queue_rule(rule: InternalQueueRule) -> QueueRule:
    """A queue's rate."""
    return QueueRule(rule.per_s, rule.burst, rule.valid_s, rule.waiting_max)


def show_queue_place(token: str, target: str, admission: Admission) -> QueuePlace:
    """A place."""
    return QueuePlace(
        token, target, moment(admission.admitted_at), moment(admission.expires_at),
        admission.position,
    )  # fmt: skip


def show_block(block: risk.Block) -> Block:
    """A block."""
    return Block(block.kind, block.value, block.why, block.by, maybe_moment(block.until))


def show_risk_record(record: risk.RecordView) -> RiskRecord:
    """What is kept of a customer."""
    decisions = [
        RiskDecision(
            one.decision, list(one.reasons), moment(one.at), one.visit.channel,
            one.visit.order_id, one.visit.device_id, one.visit.address,
        )
        for one in record.decisions
    ]  # fmt: skip
    return RiskRecord(
        record.customer_id, record.challenged, record.denied, record.passed, decisions
    )
