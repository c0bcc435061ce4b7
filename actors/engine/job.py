"""A command on its way through ``decide``, possibly over several rounds of questions."""

from typing import Any

from actors.engine.step import Outgoing

__all__ = ["Job"]


class Job:
    """One command for one entity, and who waits for its reply."""

    __slots__ = (
        "answers",
        "asked",
        "command",
        "command_id",
        "digest",
        "entity",
        "give_up_at",
        "handles",
        "heard",
        "memo",
        "number",
        "rounds",
        "sender",
        "settles",
    )

    def __init__(
        self, entity: str, command: Any, command_id: str, digest: int, sender: str, handle: Any
    ) -> None:
        self.entity = entity
        self.command = command
        self.command_id = command_id
        self.digest = digest
        self.sender = sender
        self.handles: list[Any] = [] if handle is None else [handle]
        self.settles = ""
        """The owed effect that is settled with it: the command is the answer to that."""
        self.answers: tuple[Any, ...] = ()
        """Of all rounds that are over."""
        self.memo: Any = None
        self.asked: dict[str, Outgoing] = {}
        """The questions of this round, by id."""
        self.heard: dict[str, Any] = {}
        """The answers of this round so far, by the question's id."""
        self.rounds = 0
        self.number = 0
        """Of its first round of questions."""
        self.give_up_at = 0.0
        """Real time at which its questions have been waited for long enough."""

    def is_other_than(self, digest: int) -> bool:
        """Whether a command of the same id and with this digest had another body, as far as known
        (0: it is not known)."""
        return bool(digest and self.digest and digest != self.digest)
