"""The packed memory of an entity's recent past, compared with a plain dictionary."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack
from msgspec.msgpack import Decoder

from domain import history as histories
from domain.history import PAGE_ENTRIES, History, recall, remember, reopen

KEPT_S = 100.0
ENTRIES: Decoder[list[list[int]]] = Decoder(list[list[int]])


def known(history: History[list[int]], key: str) -> list[int] | None:
    return recall(history, key, ENTRIES)


def filled(count: int, at: float = 0.0) -> History[list[int]]:
    history: History[list[int]] = History()
    for number in range(count):
        remember(history, f"k{number}", [number], at, KEPT_S)
    return history


def test_everything_young_is_known_however_much_it_is() -> None:
    history = filled(3 * PAGE_ENTRIES + 5)
    assert len(history.recent) == 5
    assert len(history.pages) == 3
    assert all(known(history, f"k{n}") == [n] for n in range(3 * PAGE_ENTRIES + 5))
    assert known(history, "stranger") is None


def test_what_is_too_old_is_forgotten_page_by_page() -> None:
    history = filled(2 * PAGE_ENTRIES + 1, at=10.0)
    remember(history, "young", [1], 10.0 + KEPT_S, KEPT_S)
    assert known(history, "k0") == [0], "old enough to go is older than so"
    remember(history, "younger", [2], 11.0 + KEPT_S, KEPT_S)
    assert known(history, "k0") is None
    assert known(history, "young") == [1]


def test_an_entry_that_changes_later_is_changed_for_good() -> None:
    history = filled(PAGE_ENTRIES + 1)
    opened = reopen(history, "k7", ENTRIES, 1.0, KEPT_S)
    assert opened == [7]
    opened.append(8)
    assert known(history, "k7") == [7, 8]
    assert reopen(history, "stranger", ENTRIES, 1.0, KEPT_S) is None


@given(
    st.lists(st.tuples(st.integers(0, 30), st.floats(0.0, 40.0)), max_size=120),
    st.integers(1, 6),
)
def test_it_knows_what_a_dictionary_knows(steps: list[tuple[int, float]], page: int) -> None:
    """Whatever comes when: what is no older than ``KEPT_S`` is known as it was last told, also
    after the state was stored and read back."""
    before = histories.PAGE_ENTRIES
    histories.PAGE_ENTRIES = page
    try:
        history: History[list[int]] = History()
        told: dict[str, tuple[float, list[int]]] = {}
        at = 0.0
        for number, (name, pause) in enumerate(steps):
            at += pause
            remember(history, f"k{name}", [number], at, KEPT_S)
            told[f"k{name}"] = (at, [number])
            stored: Any = msgpack.encode(history)
            history = msgpack.decode(stored, type=History[list[int]])
            for key, (since, entry) in told.items():
                if at - since <= KEPT_S:
                    assert known(history, key) == entry
                else:
                    assert known(history, key) in (None, entry)
    finally:
        histories.PAGE_ENTRIES = before
