"""How pages are served: caches, security headers, what is not built."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from orchestrator import pages


def client(folder: Path) -> httpx.AsyncClient:
    app = FastAPI()
    pages.mount(app, folder)
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://shop:8080")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "tablet-1a2b.js").write_text("let a = 1;\n" * 100)
    (tmp_path / "tablet.html").write_text("<!doctype html><title>Tablet</title>")
    (tmp_path / "tablet-worker.js").write_text("// worker")
    (tmp_path / "secret.py").write_text("no")
    return tmp_path


async def test_hashed_assets_are_kept_for_ever_and_sent_packed(built: Path) -> None:
    async with client(built) as http:
        answer = await http.get("/assets/tablet-1a2b.js")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.text.startswith("let a = 1;")
        plain = await http.get("/assets/tablet-1a2b.js", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers


async def test_a_page_is_asked_for_anew_and_sent_only_when_it_changed(built: Path) -> None:
    async with client(built) as http:
        first = await http.get("/tablet")
        assert first.headers["cache-control"] == "no-cache"
        tag = {"if-none-match": first.headers["etag"]}
        assert (await http.get("/tablet", headers=tag)).status_code == 304
        (built / "tablet.html").write_text("<!doctype html><title>Newer</title>")
        assert "Newer" in (await http.get("/tablet", headers=tag)).text


async def test_a_page_may_run_nothing_but_what_comes_from_here(built: Path) -> None:
    async with client(built) as http:
        headers = (await http.get("/tablet")).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "ws://shop:8080" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in headers["permissions-policy"]


def test_a_host_that_is_none_stays_out_of_the_policy() -> None:
    policy = pages.security_headers("tablet", "x; script-src *")["content-security-policy"]
    assert "script-src *" not in policy


async def test_pages_that_are_not_built_say_how_to_build_them(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        answer = await http.get("/monitor")
        assert answer.status_code == 503
        assert "./run pages" in answer.text
        assert (await http.get("/assets/nothing.js")).status_code == 404


@pytest.mark.parametrize("path", ["/assets/..%2fsecret.py", "/assets/%2e%2e/secret.py", "/icons/x"])
async def test_nothing_but_built_files_is_given_out(built: Path, path: str) -> None:
    async with client(built) as http:
        assert (await http.get(path)).status_code == 404
