"""The OpenAPI document as a file: ``docs/protocol/openapi.json``, from which the pages' types come.

``python -m orchestrator.api.snapshot`` writes it; with ``--check`` it only says whether the file is
up to date (exit status 1 if not). A test runs the same check.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orchestrator.api.app import create_app
from orchestrator.api.problems import CONTENT_TYPE as PROBLEM
from orchestrator.auth import Tokens
from orchestrator.ports import Service
from orchestrator.settings import Settings

__all__ = ["main", "rendered"]

TARGET = Path(__file__).resolve().parents[2] / "docs" / "protocol" / "openapi.json"


def rendered() -> str:
    """The document of an application that is wired to nothing: routes do not depend on wiring."""
    clock: Any = SimpleNamespace(now=lambda: 0.0, speed=1.0)
    nothing: Any = None
    chosen: dict[str, Any] = {"_env_file": None}
    service = Service(Settings(**chosen), nothing, clock, nothing, nothing, {})
    document = create_app(service, Tokens("documentation" * 3)).fastapi.openapi()
    document["info"]["version"] = "1"  # the file changes with the API, not with each release
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                # Each code's example stands in the service's own document: nine tenths of its size.
                response.get("content", {}).get(PROBLEM, {}).pop("examples", None)
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or check it; the exit status."""
    text = rendered()
    if "--check" not in arguments:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print(f"{TARGET} is out of date: run python -m orchestrator.api.snapshot", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
