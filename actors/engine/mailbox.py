"""Mailboxes between processes: batches by themselves, bounded, and robust to a dying peer.

While one exchange is in flight the next one fills (natural batching), so that load makes batches
larger instead of queues longer. An exchange carries commands to the peer and brings back whatever
answers are ready there. When the peer dies, everything unanswered is sent again to its successor:
commands carry ids, so a repeat is answered, not done twice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog

from actors.engine.wire import Answers, Bundle, Item, decode_answers, decode_bundle, encode_wire
from domain.errors import Busy, Problem, Unavailable

__all__ = ["EXCHANGE_S", "Mailbox", "OnAnswer", "PeerLost", "Receiver"]

log = structlog.get_logger(__name__)

OnAnswer = Callable[[bytes | Problem], None]
"""Called once, with the encoded reply or a Problem."""

EXCHANGES_IN_FLIGHT = 8
BUNDLE_MAX = 32
"""Commands per exchange. Small, so that gateway and node work at the same time: with large ones
all clients move in one convoy, and each process waits while the other has it."""
GATHER_S = 0.002
"""Real seconds that a bundle waits for company while the peer has work: a bundle of its own costs a
command both processes nearly as much again."""
GIVE_UP_S = 20.0
"""Real seconds after which an unanswered command is given up as *outcome unknown*."""
EXCHANGE_S = 15.0
"""Real seconds after which an exchange is taken for lost: a peer may hang without dying."""
LINGER_S = 0.25
"""An exchange that has nothing to bring back yet waits for answers so long."""
ORDER_WAIT_S = 0.5
"""A bundle waits so long for an earlier one that was overtaken."""


class PeerLost(Exception):
    """The peer died or cannot be reached; it is addressed again after a pause."""


class Mailbox:
    """Commands to one peer process. ``call`` makes one exchange (raises :class:`PeerLost`)."""

    def __init__(
        self,
        name: str,
        peer: str,
        call: Callable[[bytes], Awaitable[bytes]],
        *,
        pending_max: int = 8192,
    ) -> None:
        self.name = name
        self._peer = peer
        self._call = call
        self._pending_max = pending_max
        self._queue: deque[Item] = deque()
        self._outstanding: dict[int, tuple[Item, OnAnswer, float]] = {}
        self._token = 0
        self._sequence = 0
        self._in_flight = 0
        self._lost_until = 0.0
        self._turning = False
        self._again: asyncio.TimerHandle | None = None
        self._exchanges: set[asyncio.Future[bytes]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pending(self) -> int:
        """Commands without an answer."""
        return len(self._outstanding)

    def post(
        self,
        to: str,
        body: bytes,
        command_id: str,
        sender: str,
        on_answer: OnAnswer | None,
        give_up_s: float = GIVE_UP_S,
    ) -> int:
        """Queue a command; returns its token (0 without ``on_answer``).

        Raises ``Busy`` when ``pending_max`` commands are unanswered: nothing was sent.
        """
        if on_answer is None:
            if len(self._queue) < self._pending_max:
                self._queue.append(Item(0, to, command_id, sender, body))
                self._pump()
            return 0
        if len(self._outstanding) >= self._pending_max:
            raise Busy("busy", "Too many commands are in flight; retry after a moment.")
        self._token += 1
        item = Item(self._token, to, command_id, sender, body)
        now = asyncio.get_running_loop().time()
        self._outstanding[item.token] = (item, on_answer, now + give_up_s)
        self._queue.append(item)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(1.0, self._sweep)
        self._pump()
        return item.token

    def forget(self, token: int) -> None:
        """Nobody waits for this answer any more."""
        self._outstanding.pop(token, None)

    async def close(self) -> None:
        """Stop exchanging; unanswered commands stay unanswered."""
        self._closed = True
        for timer in (self._sweeper, self._again):
            if timer is not None:
                timer.cancel()
        exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.cancel()
        await asyncio.gather(*exchanges, return_exceptions=True)

    def _pump(self) -> None:
        """A full bundle leaves at once, so that the peer works on it while we make the next; what
        is less waits for what comes along: until the end of this turn of the loop, and a little
        longer while the peer has work of ours."""
        if len(self._queue) >= BUNDLE_MAX:
            self._send()
        elif not self._turning:
            self._turning = True
            loop = asyncio.get_running_loop()
            if self._in_flight > 1:
                loop.call_later(GATHER_S, self._turn)
            else:
                loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._send()

    def _send(self) -> None:
        """Start an exchange with what there is; without commands only if answers are due and no
        other exchange could bring them."""
        if self._closed or self._in_flight >= EXCHANGES_IN_FLIGHT:
            return
        if not self._queue and (self._in_flight or not self._outstanding):
            return
        loop = asyncio.get_running_loop()
        if self._lost_until > loop.time():
            if self._again is None:
                self._again = loop.call_at(self._lost_until, self._send_again)
            return
        items = self._next_items()
        if not items and (self._in_flight or not self._outstanding):
            return
        self._sequence += 1
        self._in_flight += 1
        bundle = encode_wire(Bundle(self._peer, self._sequence, items))
        answers = asyncio.ensure_future(self._call(bundle))
        self._exchanges.add(answers)
        too_late = loop.call_later(EXCHANGE_S, answers.cancel)
        answers.add_done_callback(lambda done: self._ended(done, items, too_late))

    def _next_items(self) -> list[Item]:
        """The next bundle's commands; those for whose answer nobody waits any more stay away."""
        queue = self._queue
        items: list[Item] = []
        while queue and len(items) < BUNDLE_MAX:
            item = queue.popleft()
            if not item.token or item.token in self._outstanding:
                items.append(item)
        return items

    def _send_again(self) -> None:
        self._again = None
        self._send()

    def _ended(
        self, answers: "asyncio.Future[bytes]", items: list[Item], too_late: asyncio.TimerHandle
    ) -> None:
        too_late.cancel()
        self._exchanges.discard(answers)
        self._in_flight -= 1
        if self._closed:
            return
        if answers.cancelled():
            self._lost(items, f"no answer within {EXCHANGE_S:.0f} s")
        elif (error := answers.exception()) is not None:
            if not isinstance(error, PeerLost):
                log.error("exchange.failed", peer=self.name, exc_info=error)
            self._lost(items, str(error))
        else:
            self._deliver(decode_answers(answers.result()))
        self._send()

    def _deliver(self, answers: Answers) -> None:
        outstanding = self._outstanding
        for token, reply in answers.replies:
            entry = outstanding.pop(token, None)
            if entry is not None:
                entry[1](reply)
        for token, problem in answers.problems:
            entry = outstanding.pop(token, None)
            if entry is not None:
                entry[1](problem)

    def _lost(self, items: list[Item], why: str) -> None:
        """Send everything unanswered again, in its order, after a pause."""
        now = asyncio.get_running_loop().time()
        if self._lost_until <= now:
            log.warning("peer.lost", peer=self.name, unanswered=len(self._outstanding), why=why)
        self._lost_until = now + 0.2
        queued = {item.token for item in self._queue}
        again = [item for token, (item, _, _) in self._outstanding.items() if token not in queued]
        self._queue.extendleft(reversed(again))

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        late = [token for token, (_, _, until) in self._outstanding.items() if until <= now]
        unknown = Unavailable(
            "outcome-unknown", "The service did not answer in time; retry with the same key."
        ).as_problem()
        for token in late:
            self._outstanding.pop(token)[1](unknown)
        if late:
            waited = self._outstanding
            self._queue = deque(
                item for item in self._queue if not item.token or item.token in waited
            )
        self._sweeper = (
            asyncio.get_running_loop().call_later(1.0, self._sweep) if self._outstanding else None
        )


class Receiver:
    """The receiving side of mailboxes: takes bundles from peers and hands ready answers back."""

    def __init__(self, dispatch: Callable[[Item, OnAnswer | None], None]) -> None:
        self._dispatch = dispatch
        self._peers: dict[str, _Peer] = {}

    async def exchange(self, payload: bytes) -> bytes:
        """One exchange: dispatch the bundle's commands, wait for the first ready answers."""
        bundle = decode_bundle(payload)
        peer = self._peers.get(bundle.peer)
        if peer is None:
            peer = self._peers[bundle.peer] = _Peer(bundle.sequence)
            self._forget_silent()
        await peer.in_order(bundle.sequence)
        for item in bundle.items:
            if item.token:
                peer.expected += 1
                self._dispatch(item, peer.answer(item.token))
            else:
                self._dispatch(item, None)
        return await peer.ready()

    def _forget_silent(self) -> None:
        now = asyncio.get_running_loop().time()
        for name in [name for name, peer in self._peers.items() if now - peer.seen_at > 600]:
            del self._peers[name]


class _Peer:
    """Answers on their way back to one peer."""

    def __init__(self, sequence: int) -> None:
        self.expected = 0
        self.seen_at = asyncio.get_running_loop().time()
        self._next = sequence
        self._turns: dict[int, asyncio.Future[None]] = {}
        self._replies: list[tuple[int, bytes]] = []
        self._problems: list[tuple[int, Problem]] = []
        self._any = asyncio.Event()

    async def in_order(self, sequence: int) -> None:
        """Wait (a little) until the bundles before this one were dispatched."""
        loop = asyncio.get_running_loop()
        self.seen_at = loop.time()
        if sequence > self._next:
            # a repeated bundle waits with the first of its copies
            turn = self._turns.setdefault(sequence, loop.create_future())
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(turn), ORDER_WAIT_S)
            self._turns.pop(sequence, None)
        self._next = max(self._next, sequence + 1)
        following = self._turns.get(self._next)
        if following is not None and not following.done():
            following.set_result(None)

    def answer(self, token: int) -> OnAnswer:
        """Where one command's answer goes."""
        return partial(self._answered, token)

    def _answered(self, token: int, reply: bytes | Problem) -> None:
        self.expected -= 1
        if isinstance(reply, bytes):
            self._replies.append((token, reply))
        else:
            self._problems.append((token, reply))
        self._any.set()

    async def ready(self) -> bytes:
        """The answers that are ready; waits for the first ones, and for their whole group."""
        if self.expected and not self._any.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._any.wait(), LINGER_S)
            await asyncio.sleep(0)
        self._any.clear()
        answers = Answers(self._replies, self._problems)
        self._replies, self._problems = [], []
        return encode_wire(answers)
