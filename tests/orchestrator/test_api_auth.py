"""Tokens: issued, verified, remembered for a while, refused when anything is off."""

import base64
import json
from typing import Any

import jwt
import pytest

from domain.errors import Refused
from orchestrator.auth import Caller, Tokens, bearer

SECRET = "k" * 32


class Watch:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def refused(tokens: Tokens, token: str) -> str:
    with pytest.raises(Refused) as caught:
        tokens.verify(token)
    return caught.value.code


def test_a_token_speaks_for_its_role_and_subject_until_it_expires() -> None:
    watch = Watch()
    tokens = Tokens(SECRET, now=watch)
    token = tokens.issue("store", "s-1", lifetime_s=60)
    assert tokens.verify(token) == Caller("store", "s-1", 1_060.0)
    assert tokens.verify(token).name == "store:s-1"
    watch.now = 1_059.0
    assert tokens.verify(token).subject == "s-1"
    watch.now = 1_060.0
    assert refused(tokens, token) == "token-expired"
    assert refused(tokens, token) == "token-expired"


def test_the_claims_are_those_of_rfc_7519() -> None:
    token = Tokens(SECRET, now=Watch()).issue("ops", "ana", lifetime_s=60)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert claims == {"role": "ops", "sub": "ana", "iat": 1_000, "exp": 1_060}


def test_anothers_secret_or_a_changed_claim_is_refused() -> None:
    tokens = Tokens(SECRET)
    assert refused(tokens, Tokens("x" * 32).issue("ops", "ana")) == "token-invalid"
    head, claims, signature = tokens.issue("rider", "r-1").split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed["role"] = "ops"
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
    assert refused(tokens, f"{head}.{forged}.{signature}") == "token-invalid"


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_another_algorithm_is_refused(algorithm: str) -> None:
    claims = {"role": "ops", "sub": "ana", "iat": 1, "exp": 10**10}
    key = None if algorithm == "none" else SECRET * 4
    token = jwt.encode(claims, key, algorithm=algorithm)  # type: ignore[arg-type]
    assert refused(Tokens(SECRET * 4), token) == "token-invalid"


@pytest.mark.parametrize(
    "change",
    [{"role": "king"}, {"role": None}, {"sub": ""}, {"sub": None}, {"exp": None}, {"iat": None},
     {"sub": 7}],
)  # fmt: skip
def test_a_token_without_a_known_role_subject_or_times_is_refused(change: dict[str, Any]) -> None:
    claims = {"role": "ops", "sub": "ana", "iat": 1, "exp": 10**10} | change
    token = jwt.encode(
        {name: value for name, value in claims.items() if value is not None}, SECRET, "HS256"
    )
    assert refused(Tokens(SECRET), token) == "token-invalid"


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "é.é.é", "x" * 5_000])
def test_rubbish_is_refused(token: str) -> None:
    assert refused(Tokens(SECRET), token) == "token-invalid"


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature was checked, in order."""
    checked: list[str] = []
    decode = jwt.decode

    def counted(token: str, *arguments: Any, **options: Any) -> Any:
        checked.append(token)
        return decode(token, *arguments, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    return checked


def test_only_so_many_tokens_are_remembered_and_forgotten_ones_still_hold(
    signatures: list[str],
) -> None:
    tokens = Tokens(SECRET, cached_max=3)
    issued = [tokens.issue("rider", f"r-{number}") for number in range(10)]
    assert [tokens.verify(token).subject for token in issued] == [f"r-{n}" for n in range(10)]
    assert signatures == issued
    assert [tokens.verify(token).subject for token in issued[-3:]] == ["r-7", "r-8", "r-9"]
    assert signatures == issued, "the newest three are remembered"
    assert tokens.verify(issued[0]).subject == "r-0"
    assert signatures == [*issued, issued[0]]


def test_a_refused_token_is_not_remembered(signatures: list[str]) -> None:
    tokens = Tokens(SECRET)
    assert [refused(tokens, "a.b.c") for _ in range(2)] == ["token-invalid"] * 2
    assert signatures == ["a.b.c"] * 2


def test_a_header_is_remembered_as_it_was_sent_and_still_expires(signatures: list[str]) -> None:
    watch = Watch()
    tokens = Tokens(SECRET, now=watch)
    header = b"Bearer " + tokens.issue("channel", "app", lifetime_s=60).encode()
    assert tokens.verify_header(header) == tokens.verify_header(header)
    assert tokens.verify_header(header).name == "channel:app"
    assert len(signatures) == 1
    watch.now = 1_060.0
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            tokens.verify_header(header)
        assert caught.value.code == "token-expired"
    assert len(signatures) == 2, "one that has expired is forgotten"


def test_a_header_of_an_ended_session_is_refused_although_it_is_remembered() -> None:
    tokens = Tokens(SECRET)
    header = b"Bearer " + tokens.issue("store", "s-1", session_id="d-1").encode()
    tokens.verify_header(header)
    tokens.is_ended = lambda session_id: session_id == "d-1"
    with pytest.raises(Refused) as caught:
        tokens.verify_header(header)
    assert caught.value.code == "session-ended"


def test_headers_that_are_padded_or_refused_are_not_remembered(signatures: list[str]) -> None:
    tokens = Tokens(SECRET)
    padded = b"Bearer " + b" " * 5_000 + tokens.issue("channel", "app").encode()
    for _ in range(2):
        assert tokens.verify_header(padded).subject == "app"
    assert len(signatures) == 2
    for header, code in ((b"Bearer a.b.c", "token-invalid"), (b"", "token-missing")):
        with pytest.raises(Refused) as caught:
            tokens.verify_header(header)
        assert caught.value.code == code


def test_a_short_secret_and_an_unknown_role_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="DOORSTEP_JWT_SECRET"):
        Tokens("short")
    with pytest.raises(ValueError, match="king"):
        Tokens(SECRET).issue("king", "a")
    with pytest.raises(ValueError, match="subject"):
        Tokens(SECRET).issue("ops", "")


def test_the_bearer_scheme_is_read_in_any_case_and_nothing_else_is() -> None:
    assert bearer("bearer abc") == "abc"
    for header in ("", "Bearer", "Bearer ", "Basic abc", "abc"):
        with pytest.raises(Refused, match="token-missing"):
            bearer(header)
