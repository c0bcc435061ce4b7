"""What the plain FastAPI routes share: who calls, the idempotency key, bodies and answers."""

from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from msgspec import Meta
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from domain.bounds import (
    COUNT_MAX,
    DISTANCE_M_MAX,
    DURATION_S_MAX,
    MONEY_MAX,
    OFFSET_MAX,
    QUANTITY_MAX,
    TIMES,
    check_time,
)
from domain.geo import Position
from orchestrator.api.desk import checked_key
from orchestrator.api.wire import json_answer
from orchestrator.auth import Caller

__all__ = [
    "After", "AfterOffset", "Authorised", "Body", "Count", "Key", "Limit", "Metres", "Moment",
    "Money", "Name", "Offset", "PositionBody", "Seconds", "SomeUnits", "Text", "Units", "answer",
    "authorised", "page_answer", "seconds", "whole",
]  # fmt: skip


class Body(BaseModel):
    """A request's body: types are not coerced, numbers are finite, unknown members are ignored.
    Every number and time has bounds (``domain.bounds``)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class PositionBody(Body):
    """WGS 84, degrees."""

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]

    def as_position(self) -> Position:
        """The domain's value."""
        return Position(self.lat, self.lon)


def whole(pattern: str) -> Meta:
    """Of a msgspec text: all of it is of this pattern. Python's ``$`` would let a line feed pass at
    the end. The OpenAPI document shows ``^…$``, which in ECMAScript says the same."""
    return Meta(pattern=rf"\A{pattern}\Z")


async def authorised(request: Request) -> Caller:
    """Who calls, checked against ``access.ROLES_OF`` for the route that was matched."""
    caller: Caller = request.app.state.desk.access.caller(
        f"{request.method} {request.scope['route'].path}",
        request.headers.get("authorization", ""),
        request.path_params,
    )
    return caller


async def idempotency_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Chosen by the caller, 1 to 200 visible characters; the same at a retry. "
            "A repeat gets the first answer; with another body it is refused.",
            examples=["0f8b6c9e-3c1d-4b53-9d37-2f2c1f1f6a01"],
        ),
    ] = None,
) -> str:
    """The Idempotency-Key header. Raises ``Refused`` with ``idempotency-key-missing``."""
    return checked_key(idempotency_key)


Authorised = Annotated[Caller, Depends(authorised)]
Key = Annotated[str, Depends(idempotency_key)]
Moment = Annotated[
    AwareDatetime,
    AfterValidator(check_time),
    Field(strict=False, description=f"A time {TIMES}.", examples=["2026-03-01T12:00:00Z"]),
]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=500)]
After = Annotated[str, Query(max_length=200, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Items per page.")]
Money = Annotated[int, Field(ge=0, le=MONEY_MAX)]
Units = Annotated[int, Field(ge=0, le=QUANTITY_MAX)]
SomeUnits = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
Count = Annotated[int, Field(ge=0, le=COUNT_MAX)]
Metres = Annotated[int, Field(ge=0, le=DISTANCE_M_MAX)]
Seconds = Annotated[int, Field(ge=0, le=DURATION_S_MAX)]
Offset = Annotated[int, Field(ge=0, le=OFFSET_MAX)]
AfterOffset = Annotated[
    int, Query(ge=0, le=OFFSET_MAX, description="Offset of the last message stored.")
]


def answer(document: Any, status: int = 200) -> Response:
    """The document (a public struct, or rows) as JSON."""
    made = json_answer(document, status)
    return Response(made.body, made.status, media_type="application/json")


def page_answer(items: Any, after: str | None) -> Response:
    """One cursor page."""
    return answer({"items": items, "next": after})


def seconds(at: Any) -> float | None:
    """A moment as epoch seconds; none stays none."""
    return None if at is None else float(at.timestamp())
