"""The AsyncAPI 3 document of the sockets, made from the frames' and messages' own structs.

``python -m orchestrator.push.asyncapi`` writes ``docs/protocol/socket.yaml``; with ``--check`` it
only says whether that file is up to date (exit status 1 if not). A test runs the same check.
"""

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml  # type: ignore[import-untyped]
from msgspec import Struct

from domain.rider import messages as rider_messages
from domain.store import messages as store_messages
from orchestrator.push import frames
from orchestrator.push.frames import CloseCode, after_close

__all__ = ["document", "main", "rendered"]

TARGET = Path(__file__).resolve().parents[2] / "docs" / "protocol" / "socket.yaml"
HEAD = "# Made by `python -m orchestrator.push.asyncapi`. Do not edit: change the structs.\n"
_FROM_SERVER: tuple[type[Struct], ...] = (
    frames.Hello, frames.Event, frames.CaughtUp, frames.Snapshot, frames.Delta, frames.Latest,
    frames.Heartbeat, frames.Problem,
)  # fmt: skip
_FROM_CLIENT: tuple[type[Struct], ...] = (frames.Auth, frames.Ack, frames.ClientHeartbeat)
_INBOX = ("Hello", "Event", "CaughtUp", "Snapshot", "Heartbeat", "Problem")
_TOPIC = ("Hello", "Snapshot", "Delta", "Latest", "Heartbeat", "Problem")
_OWNED = {
    "Event": "One message of a {owner}'s inbox, by type.",
    "Snapshot": "What is open at a {owner}; it replaces what the device holds.",
}
_CHANNELS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "storeInbox": (
        "/v1/stores/{id}/socket", "A store's durable inbox; token of that store.", "store",
        _INBOX,
    ),
    "riderInbox": (
        "/v1/riders/{id}/socket", "A rider's durable inbox; token of that rider.", "rider", _INBOX,
    ),
    "orderTopic": (
        "/v1/orders/{id}/socket",
        "An order's tracking; token of its channel or of operations. The document is `Order` of "
        "the HTTP API, absent members left out; `latest` keys are `rider:<id>`.",
        "order",
        _TOPIC,
    ),
    "campaignTopic": (
        "/v1/campaigns/{id}/socket",
        "What remains of a campaign; token of a channel or of operations. The document is "
        "`CampaignNow`, renewed at most ten times a second.",
        "campaign",
        _TOPIC,
    ),
    "monitorTopic": (
        "/v1/monitor/socket",
        "The order flow; token of operations. The document is that of `GET /v1/monitor`, renewed "
        "at most four times a second.",
        "",
        _TOPIC,
    ),
}  # fmt: skip


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    schemas = {
        **_schemas("", (*_FROM_SERVER, *_FROM_CLIENT)),
        **_schemas("store.", (*store_messages.MESSAGES.values(), store_messages.Snapshot)),
        **_schemas("rider.", (*rider_messages.MESSAGES.values(), rider_messages.Snapshot)),
        "store.EventFrame": _event_schema("store", store_messages.MESSAGES),
        "rider.EventFrame": _event_schema("rider", rider_messages.MESSAGES),
        "store.SnapshotFrame": _snapshot_schema("store"),
        "rider.SnapshotFrame": _snapshot_schema("rider"),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Doorstep sockets",
            "version": "1",
            "description": "JSON text frames, one per WebSocket message, told apart by `frame`. "
            "See socket.md for the conversation.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, *channel) for name, channel in _CHANNELS.items()},
        "operations": dict(_operations()),
        "components": {
            "messages": {
                kind.__name__: {
                    "name": _frame_name(kind),
                    "summary": _doc(kind),
                    "payload": _ref(kind.__name__),
                }
                for kind in (*_FROM_SERVER, *_FROM_CLIENT)
            }
            | {
                f"{owner}{frame}": {
                    "name": frame.lower(),
                    "summary": summary.format(owner=owner),
                    "payload": _ref(f"{owner}.{frame}Frame"),
                }
                for owner in ("store", "rider")
                for frame, summary in _OWNED.items()
            },
            "schemas": schemas,
        },
        "x-close-codes": {
            int(code): {"name": code.name.lower(), "then": after_close(code)} for code in CloseCode
        },
        "x-limits": {"auth_s": frames.AUTH_S, "frame_bytes_max": frames.FRAME_BYTES_MAX},
    }


def rendered() -> str:
    """The document as YAML."""
    text: str = yaml.safe_dump(
        document(), sort_keys=False, width=100, allow_unicode=True, default_flow_style=False
    )
    return HEAD + text


def main(arguments: list[str]) -> int:
    """Write the file, or check it."""
    text = rendered()
    if "--check" not in arguments:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print(f"{TARGET.name} is out of date: run `python -m orchestrator.push.asyncapi`.")
    return 1


def _channel(
    name: str, address: str, description: str, owner: str, from_server: Iterable[str]
) -> dict[str, Any]:
    messages = {
        key: {"$ref": f"#/components/messages/{_component(name, key)}"}
        for key in (*from_server, *(kind.__name__ for kind in _FROM_CLIENT))
    }
    channel: dict[str, Any] = {"address": address, "description": description}
    if "{id}" in address:
        channel["parameters"] = {"id": {"description": f"The {owner}'s id."}}
    return {**channel, "messages": messages, "bindings": {"ws": {"method": "GET"}}}


def _component(channel: str, message: str) -> str:
    owner = channel.removesuffix("Inbox")
    return f"{owner}{message}" if owner != channel and message in _OWNED else message


def _operations() -> Iterable[tuple[str, dict[str, Any]]]:
    for name, (_, _, _, from_server) in _CHANNELS.items():
        channel = {"$ref": f"#/channels/{name}"}
        sent = [{"$ref": f"#/channels/{name}/messages/{key}"} for key in from_server]
        received = [
            {"$ref": f"#/channels/{name}/messages/{kind.__name__}"} for kind in _FROM_CLIENT
        ]
        yield f"{name}Send", {"action": "send", "channel": channel, "messages": sent}
        yield f"{name}Receive", {"action": "receive", "channel": channel, "messages": received}


def _event_schema(owner: str, messages: Mapping[str, type[Struct]]) -> dict[str, Any]:
    """The event frame with its ``data`` by ``type``."""
    return {
        "allOf": [
            _ref("Event"),
            {
                "oneOf": [
                    {
                        "title": kind,
                        "description": _doc(struct),
                        "properties": {
                            "type": {"const": kind},
                            "data": _ref(f"{owner}.{struct.__name__}"),
                        },
                    }
                    for kind, struct in messages.items()
                ]
            },
        ]
    }


def _snapshot_schema(owner: str) -> dict[str, Any]:
    """The snapshot frame with this owner's document in it."""
    return {"allOf": [_ref("Snapshot"), {"properties": {"data": _ref(f"{owner}.Snapshot")}}]}


def _schemas(prefix: str, kinds: Iterable[type[Struct]]) -> dict[str, Any]:
    template = f"#/components/schemas/{prefix}{{name}}"
    _, components = msgspec.json.schema_components(tuple(kinds), ref_template=template)
    return {f"{prefix}{name}": schema for name, schema in components.items()}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _doc(kind: type) -> str:
    return (inspect.getdoc(kind) or "").replace("``", "`").replace("\n", " ")


def _frame_name(kind: type[Struct]) -> str:
    return str(kind.__struct_config__.tag)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
