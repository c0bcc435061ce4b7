"""What placing is compared with: the same request, answered without doing anything.

``python -m loadtests.empty fastapi 8001``: FastAPI, the body as pydantic models, nothing done.
``python -m loadtests.empty asgi 8002``: a raw ASGI route that reads the body and answers.

Both as fast as they go: one uvicorn worker on uvloop and httptools, no access log.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Header
from pydantic import BaseModel, Field

__all__ = ["asgi", "fastapi_app"]

KINDS = ("fastapi", "asgi")

ShortText = Annotated[str, Field(max_length=128)]
Id = Annotated[str, Field(min_length=1, max_length=128)]


class Customer(BaseModel):
    """Who orders."""

    customer_id: Id
    name: ShortText = ""
    phone: Annotated[str, Field(pattern=r"^(\+[1-9][0-9]{4,14})?$")] = ""


class Line(BaseModel):
    """Units of one SKU."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class Coordinates(BaseModel):
    """WGS 84, degrees."""

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]


class Address(BaseModel):
    """Where to deliver."""

    position: Coordinates
    text: Annotated[str, Field(max_length=500)] = ""


class PlaceBody(BaseModel):
    """The body of ``POST /v1/orders`` as pydantic models it."""

    customer: Customer
    lines: Annotated[list[Line], Field(min_length=1, max_length=1_000)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    delivery: Literal["delivery", "pickup"] = "delivery"
    address: Address | None = None
    payment: Literal["online", "cod"] = "online"
    store_id: ShortText = ""
    partial_ok: bool = False
    expected_total: Annotated[int, Field(ge=0)] | None = None
    note: Annotated[str, Field(max_length=500)] = ""


class Answer(BaseModel):
    """The least there is to say."""

    order_id: str


def fastapi_app() -> FastAPI:
    """An application with one POST route that validates its body and does nothing."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/orders", status_code=201)
    async def place(body: PlaceBody, idempotency_key: Annotated[str, Header()]) -> Answer:
        return Answer(order_id=idempotency_key)

    return app


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Reads the body and answers; nothing is parsed."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    body = b'{"order_id":"none"}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve one of them on loopback until ended."""
    kind, port = sys.argv[1], int(sys.argv[2])
    app: Any = fastapi_app() if kind == "fastapi" else asgi
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False,
        log_level="error", lifespan="off",
    )  # fmt: skip


if __name__ == "__main__":
    main()
