"""Tokens for everybody in a load test: made with the service's secret, or by pairing devices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import aiohttp

from loadtests.processes import BenchError, tokens_of
from orchestrator.client import DoorstepClient

__all__ = ["DataTokens", "PairedTokens", "TokenMaker"]


class TokenMaker(Protocol):
    """Makes tokens; raises :class:`BenchError` when it cannot."""

    async def tokens(self, role: str, subjects: Sequence[str]) -> list[str]:
        """One for each subject."""
        ...


class DataTokens:
    """By the service's own command, for who may read its data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data

    async def tokens(self, role: str, subjects: Sequence[str]) -> list[str]:
        """See :class:`TokenMaker`."""
        return await tokens_of(self._data, role, subjects) if subjects else []


class PairedTokens:
    """With a token of operations and one of a channel; tablets and phones are paired one by one,
    as the real ones are."""

    def __init__(self, url: str, ops: str, channel: str) -> None:
        if not ops or not channel:
            raise BenchError(
                "A running service needs --data, or --token (of operations) and --channel-token "
                "(of a channel that the load test may have for itself)."
            )
        self._url = url
        self._ops = ops
        self._channel = channel

    async def tokens(self, role: str, subjects: Sequence[str]) -> list[str]:
        """See :class:`TokenMaker`."""
        if role in ("ops", "channel"):
            return [self._ops if role == "ops" else self._channel for _ in subjects]
        async with DoorstepClient(self._url, self._ops) as ops:
            return [await self._paired(ops, role, subject) for subject in subjects]

    async def _paired(self, ops: DoorstepClient, role: str, subject: str) -> str:
        code = await ops.create_pairing_code(role, subject)
        jar = aiohttp.CookieJar(unsafe=True)  # the service may be named by its address
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            await DoorstepClient(self._url, session=session).pair(code.code, device_name="loadtest")
            found = {cookie.key: cookie.value for cookie in jar}
        if f"doorstep_{role}" not in found:
            raise BenchError(f"Pairing a {role} gave no session.")
        return found[f"doorstep_{role}"]
