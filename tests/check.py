"""Format, lint, strict types, import arrows, and the pages' types and unit tests; ``./run check``.
Exits non-zero at the first no."""

import subprocess
import sys
from pathlib import Path

from orchestrator.build_pages import BuildError
from orchestrator.build_pages import check as check_pages

TOOLS = Path(sys.executable).parent
CHECKS = (
    ("format", [str(TOOLS / "ruff"), "format", "--check", "."]),
    ("lint", [str(TOOLS / "ruff"), "check", "."]),
    ("types", [str(TOOLS / "mypy")]),
    ("arrows", [str(TOOLS / "lint-imports")]),
)


def main() -> int:
    for name, command in CHECKS:
        print(f"check: {name}", flush=True)
        if subprocess.run(command, check=False).returncode != 0:
            print(f"check: {name} failed", flush=True)
            return 1
    print("check: pages", flush=True)
    try:
        check_pages()
    except BuildError as error:
        print(f"{error}\ncheck: pages failed", flush=True)
        return 1
    print("check: all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
