"""A dictionary in pages is a dictionary, and knows which pages are not as they were stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import decode, encode

from domain import parts
from domain.parts import Leaf, Paged

KEYS = st.sampled_from([f"k{number}" for number in range(12)])
DEEDS = st.lists(st.tuples(st.sampled_from(["set", "set", "edit", "pop"]), KEYS), max_size=80)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PAGE_ENTRIES", 3)


@given(DEEDS)
def test_it_holds_what_a_dictionary_would_in_the_same_order(deeds: list[tuple[str, str]]) -> None:
    pages: Paged[list[int]] = Paged()
    truth: dict[str, list[int]] = {}
    for number, (deed, key) in enumerate(deeds):
        if deed == "set":
            pages[key], truth[key] = [number], [number]
        elif key in truth:
            if deed == "edit":
                pages.edit(key).append(number)
                truth[key].append(number)
            else:
                assert pages.pop(key) == truth.pop(key)
        else:
            assert pages.get(key) is None
            with pytest.raises(KeyError):
                pages.edit(key)
            with pytest.raises(KeyError):
                pages.pop(key)
        stored = decode(encode(pages), type=Paged[list[int]])
        for one in (pages, stored):
            assert list(one.items()) == list(truth.items())
            assert list(one.values()) == list(truth.values())
            assert [(key, one[key]) for key in one] == list(truth.items())
            assert len(one) == len(truth)
        assert all(page.entries for page in pages.pages)


def test_a_part_that_changes_before_it_was_stored_is_stored_as_it_was_numbered() -> None:
    pages: Paged[int] = Paged()
    for number in range(6):
        pages[f"k{number}"] = number
    first, second = pages.pages
    for number, page in enumerate(pages.pages, 1):
        page.number_as(number)
    pages["k0"] = 7
    assert (first.number, second.number) == (0, 2)
    assert decode(first.taken(), type=Leaf[int]).entries == {"k0": 0, "k1": 1, "k2": 2}
    assert decode(second.taken(), type=Leaf[int]).entries == {"k3": 3, "k4": 4, "k5": 5}
    first.number_as(3)
    assert decode(first.taken(), type=Leaf[int]).entries == {"k0": 7, "k1": 1, "k2": 2}


def test_what_was_stored_of_a_state_is_no_part_of_it() -> None:
    pages: Paged[int] = Paged()
    pages["k"] = 1
    before = encode(pages)
    pages.pages[0].number_as(5)
    pages["k"] = 1
    assert encode(pages) == before
