"""The OpenAPI document: FastAPI's, completed with public structs, problems, roles and examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from msgspec import Struct

from orchestrator.api import access, examples, problems
from orchestrator.api.problems import InvalidRequest, ProblemDocument
from orchestrator.api.wire import Answer, HotRoute, headers_of

__all__ = ["answers", "declare_hot", "document_of", "schema_of"]

REF = "#/components/schemas/{name}"
DESCRIPTION = """\
Doorstep decides which store serves an order, locks its stock, collects or awaits the money, drives
the store's tablet, finds a rider and settles the cash.

- Money is an integer in minor units beside its `currency`. Moments are RFC 3339 with an offset.
- Every POST that creates or charges needs an `Idempotency-Key`. A timeout means *outcome unknown*:
  retry with the same key, it is carried out once and gets the first answer.
- Errors are `application/problem+json` (RFC 9457) with a stable `code`; `GET /problems/{code}`
  explains each. `503` says when to retry in `Retry-After`.
- Sockets are described in `docs/protocol/socket.yaml`.
"""
TAGS = [
    {"name": "orders", "description": "Place, pay, read and cancel orders."},
    {"name": "campaigns", "description": "Flash sales and group-buys."},
    {"name": "risk", "description": "The queue, challenges and blocklists before orders."},
    {"name": "catalogue", "description": "SKUs, stores and channels."},
    {"name": "stock", "description": "What is sellable, and documents of stock."},
    {"name": "tickets", "description": "A store's counter: fulfilments to pick and hand over."},
    {"name": "riders", "description": "A rider's shift, offers, run and cash."},
    {"name": "devices", "description": "Pair tablets, phones and screens; their sessions."},
    {"name": "operations", "description": "Remedies for what is stuck."},
    {"name": "ledger", "description": "The books: accounts, documents, postings, stock."},
    {"name": "webhooks", "description": "What payment providers call."},
    {"name": "meta", "description": "The service itself."},
]
_REFUSED_WITH_TOKEN = ("token-missing", "token-invalid", "token-expired")
_REFUSED_WITH_BODY = ("malformed-json", "wrong-content-type", "body-too-large", "invalid-request")
_REFUSED_WITH_COMMAND = ("busy", "gateway-busy", "outcome-unknown", "journal-away")


def answers(
    document: type[Struct] | None,
    example: Any,
    *codes: str,
    status: int = 200,
    description: str = "Done.",
    headers: Mapping[str, str] | None = None,
) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route: what it answers (a public struct, or None for no
    body) with an example, and the problem codes that are its own. The problems of tokens,
    bodies and commands are added to every route that can have them."""
    done: dict[str, Any] = {"description": description}
    if document is not None:
        done["content"] = {
            "application/json": {"schema": schema_of(document), _PACKED: _pack(example)}
        }
    if headers:
        done["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    return {status: done, **_problems(codes)}


def declare_hot(
    routes: APIRouter,
    route: HotRoute,
    responses: dict[int | str, dict[str, Any]],
    *,
    status: int = 200,
    body: type[Struct] | None = None,
    body_example: Any = None,
    parameters: Sequence[dict[str, Any]] = (),
    key_needed: bool = False,
) -> None:
    """Put a hot route into the documentation (and, for a request that was not caught by the edge,
    into FastAPI). ``body`` is the struct its decoder expects."""
    extra: dict[str, Any] = {"parameters": [*parameters]}
    if key_needed:
        extra["parameters"].append({"name": "idempotency-key", "in": "header"} | _KEY)
    if body is not None:
        content = {"application/json": {"schema": schema_of(body), "example": body_example}}
        extra["requestBody"] = {"required": True, "content": content}

    async def passed_on(request: Request) -> Response:
        scope = request.scope
        found = route.handle(scope, dict(scope["headers"]), await request.body())
        answer = found if isinstance(found, Answer) else await found
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers_of(answer)
        }
        return Response(answer.body, answer.status, headers)

    routes.add_api_route(
        route.template,
        passed_on,
        methods=[route.method],
        status_code=status,
        name=route.handle.__name__,
        description=route.handle.__doc__,
        responses=responses,
        openapi_extra=extra,
        response_class=Response,
    )


def schema_of(document: type[Struct]) -> dict[str, Any]:
    """The schema of a public struct, by reference; remembered for the components."""
    _documents[document] = None
    return {"$ref": REF.format(name=document.__name__)}


def document_of(app: FastAPI) -> dict[str, Any]:
    """The whole document; made once and kept by the application."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=DESCRIPTION,
            routes=app.routes,
            tags=TAGS,
        )
        _add_components(made)
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                _complete(operation, method.upper(), path)
        app.openapi_schema = made
    return app.openapi_schema


_PACKED = "x-packed-example"


def _pack(example: Any) -> str:
    """FastAPI would drop the nulls of an example; it leaves a text alone."""
    return msgspec.json.encode(example).decode()


_KEY: dict[str, Any] = {
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "Chosen by the caller, the same at a retry. A repeat gets the first answer; "
    "with another body it is refused.",
    "example": "0f8b6c9e-3c1d-4b53-9d37-2f2c1f1f6a01",
}
_documents: dict[type[Struct], None] = {ProblemDocument: None, InvalidRequest: None}


def _add_components(made: dict[str, Any]) -> None:
    _, components = msgspec.json.schema_components(list(_documents), ref_template=REF)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    _as_ecma(components)
    schemas.update(components)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    made["components"]["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "HS256 with `role` (channel, store, rider, ops), `sub`, `iat`, `exp`.",
        }
    }


def _as_ecma(schema: Any) -> None:
    """Patterns as JSON Schema wants them: ECMAScript has no ``\\A`` and ``\\Z``, and its ``^`` and
    ``$`` mean just that (see ``plain.whole``)."""
    if isinstance(schema, list):
        for part in schema:
            _as_ecma(part)
    elif isinstance(schema, dict):
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and pattern.startswith(r"\A") and pattern.endswith(r"\Z"):
            schema["pattern"] = f"^{pattern[2:-2]}$"
        for part in schema.values():
            _as_ecma(part)


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    """Add what follows from the route itself: security, roles, common problems."""
    codes: list[str] = ["internal-error"]
    roles = _roles_of(method, path)
    if roles is not None:
        operation["security"] = [{"bearer": []}]
        operation["x-roles"] = list(roles)
        operation["description"] = (
            f"{operation.get('description', '')}\n\n*For: {', '.join(roles)}.*".strip()
        )
        codes += [*_REFUSED_WITH_TOKEN, "wrong-role"]
        if "{store_id}" in path or "{rider_id}" in path:
            codes.append("foreign-resource")
    else:
        operation["security"] = []
    if "requestBody" in operation:
        codes += _REFUSED_WITH_BODY
        _add_example(operation["requestBody"]["content"]["application/json"])
    for parameter in operation.get("parameters", ()):
        if parameter["name"].lower() == "idempotency-key":
            parameter.update(_KEY)
            codes += ["already-done", "idempotency-key-missing", "idempotency-key-reused"]
    if path.startswith("/v1/") and roles is not None:
        codes += _REFUSED_WITH_COMMAND
    if "422" in operation["responses"] or operation.get("parameters"):
        codes.append("invalid-request")
    declared = operation["responses"]
    for response in declared.values():
        for content in response.get("content", {}).values():
            if _PACKED in content:
                content["example"] = msgspec.json.decode(content.pop(_PACKED))
    if _is_fastapis_own(declared.get("422", {})):
        del declared["422"]
    for status, response in _problems(codes).items():
        present = declared.setdefault(str(status), response)
        if present is not response:
            examples = _examples(present)
            examples.update({**_examples(response), **examples})
            present["description"] = ", ".join(f"`{code}`" for code in examples)


def _add_example(content: dict[str, Any]) -> None:
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    if name in examples.BODIES:
        content.setdefault("example", examples.BODIES[name])


def _is_fastapis_own(response: dict[str, Any]) -> bool:
    return "application/json" in response.get("content", {})


def _roles_of(method: str, path: str) -> tuple[str, ...] | None:
    plain = {route.replace(":path}", "}"): roles for route, roles in access.ROLES_OF.items()}
    return plain.get(f"{method} {path}")


def _problems(codes: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in dict.fromkeys(codes):
        explained = problems.explain(code)
        response = by_status.setdefault(
            explained.status,
            {
                "description": "",
                "content": {
                    problems.CONTENT_TYPE: {
                        "schema": {"$ref": REF.format(name=ProblemDocument.__name__)},
                        "examples": {},
                    }
                },
            },
        )
        _examples(response)[code] = {
            "summary": explained.title,
            "value": _example(code, explained),
        }
    for response in by_status.values():
        response["description"] = ", ".join(f"`{code}`" for code in _examples(response))
    return by_status


def _examples(response: dict[str, Any]) -> dict[str, Any]:
    examples: dict[str, Any] = response["content"][problems.CONTENT_TYPE]["examples"]
    return examples


def _example(code: str, explained: problems.Explained) -> dict[str, Any]:
    extra: dict[str, Any] = problems.EXTRA_EXAMPLES.get(code, {})
    return {
        **extra,
        "type": f"/problems/{code}",
        "title": explained.title,
        "status": explained.status,
        "detail": explained.advice,
        "code": code,
    }
