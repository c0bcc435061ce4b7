"""What a page weighs on the wire."""

import gzip
import re
from pathlib import Path


def script_bytes(static: Path, page: str) -> int:
    """Compressed bytes of every script the page can load, those loaded later included."""
    found: set[str] = set()
    waiting = re.findall(
        r'(?:src|href)="/(assets/[^"]+\.js)"', (static / f"{page}.html").read_text()
    )
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        text = (static / name).read_text()
        waiting += [
            f"assets/{one}" for one in re.findall(r'["\'](?:\./|assets/)([\w.-]+\.js)["\']', text)
        ]
    return sum(len(gzip.compress((static / name).read_bytes(), 9)) for name in found)
