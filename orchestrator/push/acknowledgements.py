"""Passes on to the inboxes what devices have acknowledged."""

from actors.engine.ports import Runtime
from domain.errors import DoorstepError, Refused
from orchestrator.push.closing import unavailable
from orchestrator.push.member import Member
from orchestrator.push.protocol import ACK_EVERY
from orchestrator.push.tasks import Spawn

__all__ = ["ACK_S", "ASK_S", "Acknowledgements"]

ACK_S = 0.2
"""Acknowledgements of a device are passed on at most so often (real seconds), or each
``ACK_EVERY`` messages."""
ASK_S = 2.0
"""Real seconds one question to an inbox may take before it is asked again."""


class Acknowledgements:
    """Of all devices of a gateway. One of a device is under way at a time; the newest one says all
    that those before it did."""

    def __init__(self, runtime: Runtime, spawn: Spawn) -> None:
        self._runtime = runtime
        self._spawn = spawn
        self._waiting: dict[Member, None] = {}

    def received(self, member: Member) -> None:
        """The device said something: pass it on at once if it is much, else soon."""
        unpassed = member.session.unpassed
        if unpassed >= ACK_EVERY:
            self._pass(member)
        elif unpassed > 0:
            self._waiting[member] = None

    def left(self, member: Member) -> None:
        """The device has stored what it told of, whether or not its socket lived to tell more."""
        if member.session.unpassed > 0:
            self._pass(member)

    def flush(self) -> None:
        """Pass on what devices acknowledged since the last time."""
        waiting, self._waiting = self._waiting, {}
        for member in waiting:
            if member.session.unpassed > 0:
                self._pass(member)

    def _pass(self, member: Member) -> None:
        if member.acking:
            self._waiting[member] = None
            return
        self._waiting.pop(member, None)
        member.acking = True
        self._spawn(self._send(member))

    async def _send(self, member: Member) -> None:
        session = member.session
        offset = session.ack
        command = member.module.AcknowledgeInbox(session.device_id, session.connection_id, offset)
        try:
            await self._runtime.ask(
                member.owner,
                command,
                command_id="",  # Acknowledging twice is harmless.
                timeout_s=ASK_S,
            )
            session.passed_ack = max(session.passed_ack, offset)
        except Refused as refusal:
            if refusal.code == "stale-connection":
                member.supersede()
            else:
                # Such as a device that was silent for too long: connecting again mends it.
                member.connection.handle(unavailable(session, refusal))
        except DoorstepError:
            self._waiting[member] = None
        finally:
            member.acking = False
