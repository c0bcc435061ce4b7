"""Links between processes: exchanges over a stream, and what ends one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.engine.link import FRAME_MAX, HEADER, Address, Link, LinkServer
from actors.engine.mailbox import PeerLost

LOOPBACK = "127.0.0.1"


class Peer:
    """Answers with what it got, turned round; "wait" waits for ``go_on``."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.heard: list[bytes] = []
        self.server = LinkServer(self.exchange)

    async def exchange(self, payload: bytes) -> bytes:
        self.heard.append(payload)
        if payload == b"wait":
            await self.go_on.wait()
        return payload[::-1]


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    yield peer
    await peer.server.stop()


async def test_every_exchange_gets_its_own_answer_in_whatever_order_they_come(
    peer: Peer,
) -> None:
    link = await Link.open(await peer.server.start(LOOPBACK))
    slow = link.call(b"wait")
    payloads = [bytes([n]) * n * 1_000 for n in range(1, 100)]
    assert await asyncio.gather(*map(link.call, payloads)) == [one[::-1] for one in payloads]
    assert not slow.done()
    peer.go_on.set()
    assert await slow == b"tiaw"
    link.cut()


async def test_a_caller_without_the_token_is_cut_off_unheard(peer: Peer) -> None:
    host, port, _ = await peer.server.start(LOOPBACK)
    link = await Link.open(Address(host, port, b"guessed"))
    with pytest.raises(PeerLost):
        await link.call(b"hello")
    assert peer.heard == []


async def test_a_line_that_ends_says_so_to_everyone_who_waits(peer: Peer) -> None:
    link = await Link.open(await peer.server.start(LOOPBACK))
    waiting = link.call(b"wait")
    await link.call(b"here")
    link.cut()
    with pytest.raises(PeerLost):
        await waiting
    with pytest.raises(PeerLost):
        await link.call(b"later")


async def test_nobody_listening_is_a_lost_peer(peer: Peer) -> None:
    address = await peer.server.start(LOOPBACK)
    await peer.server.stop()
    with pytest.raises(PeerLost):
        await Link.open(address)


async def test_a_frame_that_cannot_be_ours_ends_the_line(peer: Peer) -> None:
    address = await peer.server.start(LOOPBACK)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(HEADER.pack(FRAME_MAX + 1, 1))
    assert await reader.read() == b""
    writer.close()


async def test_a_stranger_may_send_no_more_than_a_token(peer: Peer) -> None:
    address = await peer.server.start(LOOPBACK)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(HEADER.pack(len(address.token) + 1, 0))
    assert await reader.read() == b""
    writer.close()


async def test_an_exchange_that_fails_ends_the_line_at_once(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_payload: bytes) -> bytes:
        raise KeyError("a defect")

    monkeypatch.setattr(peer.server, "_exchange", failing)
    link = await Link.open(await peer.server.start(LOOPBACK))
    with pytest.raises(PeerLost):
        await link.call(b"hello")
