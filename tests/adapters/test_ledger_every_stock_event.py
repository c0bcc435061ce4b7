"""No event of the stock slips by the books unnoticed."""

import typing

import pytest

from actors.inventory import KIND
from adapters.ledger.stock import account_stock
from tests.golden.examples import example


@pytest.mark.parametrize("event", typing.get_args(KIND.events), ids=lambda event: event.__name__)
def test_every_event_of_the_stock_has_a_document(event: type) -> None:
    assert account_stock("s1", example(event)) is not None
