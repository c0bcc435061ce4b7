"""The load generator counts what it was told, and what it was not told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from loadtests.generator import Load, Seen
from loadtests.processes import drive

SOLD_OUT, ENDED = '{"code":"campaign-sold-out"}', '{"code":"campaign-ended"}'


def answer(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


@asynccontextmanager
async def answering(next_answer: Callable[[], bytes | None]) -> AsyncIterator[int]:
    """A server whose answers are given one after the other; None: this request gets none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(len("{}"))
                given = next_answer()
                if given is not None:
                    writer.write(given)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def driven(next_answer: Callable[[], bytes | None], load: Load) -> Seen:
    async with answering(next_answer) as load.port:
        return await drive(load)


async def test_a_request_that_was_due_and_never_sent_is_lost() -> None:
    load = Load(0, ["{}"], connections=1, requests=5, rate=1_000.0, seconds=60.0, drain_s=0.05)
    answers = iter([answer("201 Created", "{}"), answer("201 Created", "{}")])
    seen = await driven(lambda: next(answers, None), load)
    assert (seen.accepted, seen.sent) == (2, 3), "the third is waited for on the one connection"
    assert seen.lost == 3, "the third, and the two that were due behind it"


async def test_only_the_problem_that_was_asked_for_is_accepted() -> None:
    load = Load(0, ["{}"], connections=1, requests=4, expect=409, expect_code="campaign-sold-out")
    bodies = iter([SOLD_OUT, ENDED, ENDED, SOLD_OUT])
    seen = await driven(lambda: answer("409 Conflict", next(bodies)), load)
    assert (seen.accepted, seen.by_status, seen.lost) == (2, {"409": 4}, 0)


async def test_every_location_is_kept_that_is_asked_for() -> None:
    numbers = iter(range(4))

    def placed() -> bytes:
        return f"HTTP/1.1 201 Created\r\nlocation: /{next(numbers)}\r\ncontent-length: 0\r\n\r\n"\
            .encode()  # fmt: skip

    seen = await driven(placed, Load(0, ["{}"], connections=1, requests=4, sample_every=2))
    assert seen.locations == ["/0", "/2"]
