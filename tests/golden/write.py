"""``python -m tests.golden.write VERSION``: the stored form of every event, kept for ever.

Run once for a release. The payloads of released versions are never written again: what is in them
is in somebody's journal.
"""

import json
import sys
from pathlib import Path

from actors.engine.codec import encode
from orchestrator.bootstrap import KINDS
from tests.golden.examples import events_of, example

FOLDER = Path(__file__).parent / "payloads"


def main(version: str) -> None:
    file = FOLDER / f"{version}.json"
    if file.exists():
        sys.exit(f"{file} exists: the payloads of a released version are never changed.")
    payloads = {
        kind.name: {
            event.__struct_config__.tag: encode(example(event)).hex() for event in events_of(kind)
        }
        for kind in KINDS
    }
    file.write_text(json.dumps(payloads, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
