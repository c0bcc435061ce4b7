"""Every kind that owns an inbox answers its four commands the same way, with its own facts."""

from types import ModuleType
from typing import Any

import pytest

from actors import rider as rider_kind
from actors import store as store_kind
from actors.engine.kind import Context, Decision, Kind
from domain import rider, store
from domain.errors import Refused
from domain.inbox import InboxMessage, InboxPage

OWNERS = [(store_kind.KIND, store), (rider_kind.KIND, rider)]
owners = pytest.mark.parametrize(("kind", "words"), OWNERS, ids=["store", "rider"])


class Owner:
    """One entity with an inbox of three messages, driven by hand."""

    def __init__(self, kind: Kind, words: ModuleType) -> None:
        self.kind, self.words = kind, words
        self.state: Any = None
        notes = tuple(InboxMessage(n, f"m:{n}", "said", 10.0, b"{}") for n in (1, 2, 3))
        self.state = kind.evolve(None, words.Noted(notes))

    def do(self, name: str, *content: Any) -> Decision:
        command = getattr(self.words, name)(*content)
        decided = self.kind.decide(self.state, command, Context(20.0, "one", "c"))
        assert isinstance(decided, Decision)
        for event in decided.events:
            self.state = self.kind.evolve(self.state, event)
        return decided


@owners
def test_a_device_that_registers_gets_what_it_missed(kind: Kind, words: ModuleType) -> None:
    decided = Owner(kind, words).do("RegisterDevice", "d", "k", 1)
    assert [message.offset for message in decided.reply.messages] == [2, 3]
    assert [type(event) for event in decided.events] == [words.DeviceRegistered]


@owners
def test_a_new_device_gets_a_snapshot_of_what_is_open(kind: Kind, words: ModuleType) -> None:
    page = Owner(kind, words).do("RegisterDevice", "d", "k").reply
    assert isinstance(page, InboxPage)
    assert (page.head, page.messages, page.snapshot[:1]) == (3, (), b"{")


@owners
def test_messages_are_forgotten_once_acknowledged(kind: Kind, words: ModuleType) -> None:
    owner = Owner(kind, words)
    owner.do("RegisterDevice", "d", "k", 0)
    acknowledged = owner.do("AcknowledgeInbox", "d", "k", 2)
    assert [type(event) for event in acknowledged.events] == [words.DeviceAcknowledged]
    assert [message.offset for message in owner.state.inbox.messages] == [3]
    assert not owner.do("AcknowledgeInbox", "d", "k", 2).events


@owners
def test_an_older_connection_cannot_acknowledge(kind: Kind, words: ModuleType) -> None:
    owner = Owner(kind, words)
    owner.do("RegisterDevice", "d", "old", 0)
    owner.do("RegisterDevice", "d", "new", 0)
    with pytest.raises(Refused) as refused:
        owner.do("AcknowledgeInbox", "d", "old", 1)
    assert refused.value.code == "stale-connection"


@owners
def test_whoever_cannot_hold_a_socket_reads_pages(kind: Kind, words: ModuleType) -> None:
    owner = Owner(kind, words)
    page = owner.do("ReadInbox", 0, 2).reply
    assert [message.offset for message in page.messages] == [1, 2]
    assert owner.do("GetSnapshot").reply.snapshot[:1] == b"{"
