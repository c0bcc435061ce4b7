"""The pages: store tablet, rider, live monitor. Built from ``web/`` into ``orchestrator/static``.

Hashed assets are kept by browsers for ever; what names them (HTML, manifests, workers) is asked for
anew each time and answered with 304 where it has not changed. Every page comes with a strict
Content-Security-Policy: scripts and styles from here alone, none inline.
"""

import gzip
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

__all__ = ["PAGES", "STATIC", "mount", "security_headers"]

STATIC = Path(__file__).resolve().parent / "static"
PAGES: Mapping[str, str] = {
    "tablet": "geolocation=()",
    "rider": "geolocation=(self)",
    "monitor": "geolocation=()",
}
"""Page -> what it may ask the device for, beside the screen's wake lock and sound."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_ANEW = "no-cache"
GZIP_BYTES_MIN = 512
_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Doorstep</title>
<h1>The pages are not built</h1>
<p>The service runs; its pages were not built when it was installed. Run <code>./run pages</code>
in the project's folder (it needs the npm registry once), then load this page again.</p></html>"""


class _File(NamedTuple):
    """A file as it is answered."""

    stamp: tuple[int, int]
    body: bytes
    packed: bytes | None
    tag: str
    kind: str


def mount(app: FastAPI, folder: Path = STATIC) -> None:
    """Add the pages and their assets to ``app``."""
    files = _Files(folder)
    for page in PAGES:
        _add_page(app, files, page)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        return files.answer(request, f"assets/{name}", FOR_EVER)

    @app.get("/icons/{name}", include_in_schema=False)
    async def icon(request: Request, name: str) -> Response:
        return files.answer(request, f"icons/{name}", "public, max-age=86400")


def _add_page(app: FastAPI, files: "_Files", page: str) -> None:
    @app.get(f"/{page}", include_in_schema=False)
    async def read_page(request: Request) -> Response:
        headers = security_headers(page, request.headers.get("host", ""))
        if not files.has(f"{page}.html"):
            return Response(_NOT_BUILT, 503, headers, "text/html; charset=utf-8")
        return files.answer(request, f"{page}.html", ASK_ANEW, headers)

    @app.get(f"/{page}/", include_in_schema=False)
    async def without_slash() -> Response:
        return Response(status_code=308, headers={"location": f"/{page}"})

    for name in (f"{page}.webmanifest", f"{page}-worker.js"):
        _add_file(app, files, name)


def _add_file(app: FastAPI, files: "_Files", name: str) -> None:
    @app.get(f"/{name}", include_in_schema=False)
    async def read_file(request: Request) -> Response:
        return files.answer(request, name, ASK_ANEW)


def security_headers(page: str, host: str) -> dict[str, str]:
    """What a browser may do with the page. ``host``: as the request names it; sockets to it are
    allowed by name, for browsers to which ``'self'`` means HTTP alone."""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "font-src": "'self'",
        "media-src": "'self'",
        "connect-src": f"'self'{sockets}",
        "worker-src": "'self'",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "permissions-policy": f"{PAGES[page]}, screen-wake-lock=(self), autoplay=(self), "
        "camera=(), microphone=(), payment=(), usb=()",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
    }


class _Files:
    """The built files, each read and packed once, and again when it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, _File] = {}

    def has(self, name: str) -> bool:
        """Whether it was built."""
        return (self._folder / name).is_file()

    def answer(
        self, request: Request, name: str, cache: str, more: Mapping[str, str] | None = None
    ) -> Response:
        """The file, or 304 for a browser that has it. Raises 404."""
        file = self._read(name)
        headers = {
            "cache-control": cache,
            "etag": file.tag,
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
            **(more or {}),
        }
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body = file.body
        if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            body = file.packed
        return Response(body, 200, headers, file.kind)

    def _read(self, name: str) -> _File:
        path = self._folder / name
        kind = TYPES.get(path.suffix)
        # A route's parameter holds no slash; that alone keeps a name inside its folder.
        if kind is None or ".." in name or not path.is_file():
            raise HTTPException(404)
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        kept = self._kept.get(name)
        if kept is None or kept.stamp != stamp:
            body = path.read_bytes()
            tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
            packs = kind.startswith(("text/", "application/", "image/svg"))
            packed = gzip.compress(body, 9, mtime=0) if len(body) >= GZIP_BYTES_MIN else None
            kept = self._kept[name] = _File(stamp, body, packed if packs else None, tag, kind)
        return kept
