"""The adapter of the sandbox provider: ``port.PaymentProvider`` over HTTP."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Meta, Struct

from adapters.payments.signature import SIGNATURE_HEADER, check
from domain.bounds import TOTAL_MAX, check_time
from domain.errors import Refused, Unavailable
from domain.payment import (
    CapturePayment,
    CreatePayment,
    ProviderAnswer,
    QueryPayment,
    RefundPayment,
)

__all__ = ["SandboxProvider", "StatementEntry", "StatementPage"]

CALL_TIMEOUT_REAL_S = 10.0
ANSWER_BYTES_MAX = 1_048_576
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises at what is not JSON, not UTF-8, not of the type (a ``DecodeError`` too), or
nested without end."""

Answer = TypeVar("Answer", bound=Struct)

STATUS = {
    "pending": "pending", "authorised": "authorised", "captured": "captured",
    "failed": "failed", "expired": "expired", "refunded": "refunded",
}  # fmt: skip
"""The provider's words to ``ProviderAnswer.status``; any other is ``unknown``."""


class StatementEntry(Struct, frozen=True):
    """One line of the provider's statement, for reconciliation; ``amount`` is never negative."""

    number: int
    type: str
    """``capture | refund``."""
    at: datetime
    payment_id: str
    order_id: str
    refund_id: str
    amount: int
    currency: str
    reference: str


class StatementPage(Struct, frozen=True):
    """Entries in the order they happened; ``after`` is the next page's cursor, None at the end."""

    entries: tuple[StatementEntry, ...]
    after: str | None


class SandboxProvider:
    """See :class:`adapters.payments.port.PaymentProvider` for what each call guarantees.

    ``base_url`` is where the provider is reached (such as ``http://127.0.0.1:8080/sandbox``), its
    page by customers too. ``webhook_secrets`` are all accepted, so that they can be rotated.
    ``clock_speed`` is the service clock's, see ``adapters.payments.signature``. Without a
    ``session`` one is opened at the first call and closed by :meth:`close`; a given one stays its
    owner's.
    """

    def __init__(
        self, base_url: str, api_key: str, webhook_secrets: str | Sequence[str],
        session: aiohttp.ClientSession | None = None, *,
        clock_speed: float = 1.0, timeout_real_s: float = CALL_TIMEOUT_REAL_S,
        capture: str = "automatic",
    ) -> None:  # fmt: skip
        self._base_url = base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"}
        secrets = [webhook_secrets] if isinstance(webhook_secrets, str) else list(webhook_secrets)
        if not secrets or not all(secrets):
            raise ValueError("An empty webhook secret would let anybody sign.")
        self._secrets = secrets
        self._session = session
        self._owns_session = session is None
        self._clock_speed = clock_speed
        self._timeout = aiohttp.ClientTimeout(total=timeout_real_s)
        self._capture = capture

    async def create(self, command: CreatePayment, effect_id: str) -> ProviderAnswer:
        """Open the payment."""
        expires_at = command.expires_at
        document = {
            "payment_id": command.payment_id,
            "order_id": command.order_id,
            "amount": command.amount,
            "currency": command.currency,
            "expires_at": None if expires_at is None else _rfc3339(expires_at),
            "capture": self._capture,
        }
        return _answer(await self._post("/payments", document, effect_id))

    async def capture(self, command: CapturePayment, effect_id: str) -> ProviderAnswer:
        """Take an authorised amount."""
        document = {"amount": command.amount, "currency": command.currency}
        path = f"/payments/{_segment(command.payment_id)}/capture"
        return _answer(await self._post(path, document, effect_id))

    async def refund(self, command: RefundPayment, effect_id: str) -> ProviderAnswer:
        """Give money back, once per ``refund_id``."""
        document = {
            "refund_id": command.refund_id,
            "amount": command.amount,
            "currency": command.currency,
        }
        path = f"/payments/{_segment(command.payment_id)}/refunds"
        return _answer(await self._post(path, document, effect_id))

    async def query(self, command: QueryPayment, effect_id: str) -> ProviderAnswer:
        """The payment's status now."""
        path = f"/payments/{_segment(command.payment_id)}"
        try:
            raw = await self._call("GET", path, None, effect_id)
        except Refused as refusal:
            if refusal.code == "unknown-payment":
                return ProviderAnswer(command.payment_id, "unknown")
            raise
        return _answer(_decode(raw, _PaymentDocument))

    async def statement(self, after: str = "", limit: int = 100) -> StatementPage:
        """A page of captures and refunds, for reconciliation. Raises ``Unavailable``."""
        path = f"/statement?after={quote(after, safe='')}&limit={limit}"
        return _decode(await self._call("GET", path, None, ""), StatementPage)

    def verify(self, body: bytes, headers: dict[str, str], now: float) -> ProviderAnswer:
        """The content of a signed webhook."""
        header = headers.get(SIGNATURE_HEADER, "")
        check(body, header, self._secrets, now, self._clock_speed)
        try:
            event = msgspec.json.decode(body, type=_EventDocument)
        except UNREADABLE as problem:
            raise Refused("malformed-webhook", f"Not an event: {problem}.") from None
        return _answer(event.data, event.id, event.occurred_at.timestamp())

    def pay_url(self, payment_id: str) -> str:
        """Where the customer pays."""
        return f"{self._base_url}/pay/{_segment(payment_id)}"

    async def close(self) -> None:
        """Close the session that was opened here."""
        if self._session is not None and self._owns_session:
            await self._session.close()
            self._session = None

    async def _post(
        self, path: str, document: dict[str, Any], effect_id: str
    ) -> "_PaymentDocument":
        raw = await self._call("POST", path, msgspec.json.encode(document), effect_id)
        return _decode(raw, _PaymentDocument)

    async def _call(self, method: str, path: str, body: bytes | None, effect_id: str) -> bytes:
        """One request. The body of a 2xx; ``Refused`` if the provider says so, else
        ``Unavailable``."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = {**self._headers, "content-type": "application/json"}
        if effect_id:
            headers["idempotency-key"] = effect_id
        try:
            async with self._session.request(
                method, self._base_url + path, data=body, headers=headers,
                timeout=self._timeout, allow_redirects=False,
            ) as response:  # fmt: skip
                raw = await _read(response)
                if 200 <= response.status < 300:
                    return raw
                raise _error(response.status, raw)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise Unavailable(
                "provider-away", f"The payment provider cannot be reached: {problem!r}."
            ) from problem


class _PaymentDocument(Struct, frozen=True):
    """What the provider says of a payment or a refund, in answers and in webhooks."""

    payment_id: str
    status: str
    amount: Annotated[int, Meta(ge=0, le=TOTAL_MAX)]
    currency: str
    reference: str = ""
    refund_id: str = ""
    reason: str = ""


class _EventDocument(Struct, frozen=True):
    id: str
    occurred_at: Annotated[datetime, Meta(tz=True)]
    data: _PaymentDocument

    def __post_init__(self) -> None:
        check_time(self.occurred_at)


class _ProblemDocument(Struct, frozen=True):
    code: str = ""
    detail: str = ""


def _answer(
    document: _PaymentDocument, event_id: str = "", occurred_at: float = 0.0
) -> ProviderAnswer:
    return ProviderAnswer(
        payment_id=document.payment_id, status=STATUS.get(document.status, "unknown"),
        reference=document.reference, amount=document.amount, currency=document.currency,
        refund_id=document.refund_id, event_id=event_id, occurred_at=occurred_at,
        reason=document.reason,
    )  # fmt: skip


async def _read(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > ANSWER_BYTES_MAX:
            raise Unavailable("provider-answer-malformed", "The payment provider's answer is huge.")
    return bytes(raw)


def _error(status: int, raw: bytes) -> Refused | Unavailable:
    """Terminal only if the provider itself decided and said why; a proxy's 404 is no refusal."""
    try:
        problem = msgspec.json.decode(raw, type=_ProblemDocument)
    except UNREADABLE:
        problem = _ProblemDocument()
    if status in (404, 409, 422) and problem.code not in ("", "no-such-route"):
        return Refused(problem.code, problem.detail)
    if status in (401, 403):
        return Unavailable("provider-key-refused", "Mend the payment provider's API key.")
    return Unavailable("provider-away", f"The payment provider answered {status}. {problem.detail}")


def _decode(raw: bytes, kind: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as problem:
        raise Unavailable(
            "provider-answer-malformed", f"The payment provider's answer is odd: {problem}."
        ) from problem


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def _segment(identity: str) -> str:
    return quote(identity, safe="")
