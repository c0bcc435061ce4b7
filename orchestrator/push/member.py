"""One connected device of a store or a rider."""

from typing import Any

from domain import rider, store
from orchestrator.push.closing import superseded
from orchestrator.push.connection import Connection
from orchestrator.push.protocol import InboxSession

__all__ = ["Member"]

_MODULES: dict[str, Any] = {"store": store, "rider": rider}


class Member:
    """One connected device: its session, its socket, and the question it has open."""

    __slots__ = (
        "acking", "connected_at", "connection", "owner", "owner_id", "registered", "session",
    )  # fmt: skip

    def __init__(self, owner: str, session: InboxSession, connected_at: float) -> None:
        self.owner = owner
        self.connected_at = connected_at
        """Service time: orders the connections of a device over all gateways."""
        self.owner_id = owner.partition("/")[2]
        self.session = session
        self.connection: Connection
        self.acking = False
        """An acknowledgement of it is on its way."""
        self.registered = False
        """The feed has shown this connection's registration: a later one supersedes it."""

    @property
    def module(self) -> Any:
        """``domain.store`` or ``domain.rider``."""
        return _MODULES[self.owner.partition("/")[0]]

    def supersede(self) -> None:
        """Its device has opened a newer connection: close this one."""
        self.connection.handle(superseded(self.session))
