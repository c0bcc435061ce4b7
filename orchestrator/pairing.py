"""Pairing links: the address of a page with a one-time code in its fragment.

A fragment is never sent to a server and stands in no log; the page takes it out of the address at
once. It is a code, good once, and no token.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

import aiohttp

from domain.errors import Refused, Unavailable

__all__ = ["PAGE_OF", "offer_links", "pairing_link"]

PAGE_OF: Mapping[str, str] = {"store": "tablet", "rider": "rider", "ops": "monitor"}
TIMEOUT_S = 10.0
AGAIN_S = 0.5


async def pairing_link(url: str, token: str, role: str, subject: str, valid_s: int = 600) -> str:
    """A link that makes the browser which opens it first a device of ``role`` and ``subject``.

    ``token`` is of operations; ``valid_s`` in real seconds. Raises ``Refused`` with the service's
    code and text, and ``Unavailable`` with ``service-away``.
    """
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
    body = {"role": role, "subject": subject, "valid_s": valid_s}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{url}/v1/devices/codes", json=body, headers=headers) as response,
        ):
            made = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unavailable("service-away", f"No answer from {url}: {error}. Is it up?") from error
    if response.status != 201:
        raise Refused(made.get("code", "refused"), made.get("detail", f"HTTP {response.status}"))
    return f"{url}/{PAGE_OF[role]}#pair={made['code']}"


async def offer_links(
    url: str,
    token: str,
    wanted: Sequence[tuple[str, str]],
    valid_s: int,
    told: Callable[[str, str], None],
) -> None:
    """Tell (page, link) of each (role, subject) as soon as the service knows the subject."""
    for role, subject in wanted:
        while True:
            try:
                told(PAGE_OF[role], await pairing_link(url, token, role, subject, valid_s))
                break
            except (Refused, Unavailable) as error:
                if error.code not in ("unknown-store", "service-away") and not error.retryable:
                    raise
            await asyncio.sleep(AGAIN_S)
