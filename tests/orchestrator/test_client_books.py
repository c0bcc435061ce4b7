"""What the client can say of the service's documents: an order's money, and shops that sell."""

from typing import Any

import pytest

from orchestrator.client import DoorstepClient, Retries, models, money
from orchestrator.client.findings import stock_by_documents
from orchestrator.client.opening import NotSellable, Wanted, until_sellable
from tests.fakes.documents import whole
from tests.fakes.scripted_service import Asked, ScriptedService


def an_order(**changes: Any) -> models.Order:
    """Two parts: one was delivered, short of 100 and with 50 given back; the other never left."""
    lines = [
        {"fulfilment_id": "o1-1", "quantity": 3, "amount": 900, "refunded_amount": 50,
         "short_amount": 100},
        {"fulfilment_id": "o1-2", "quantity": 1, "amount": 400},
    ]  # fmt: skip
    parts = [
        {"fulfilment_id": "o1-1", "state": "delivered", "freight": 249},
        {"fulfilment_id": "o1-2", "state": "cancelled", "freight": 99},
    ]
    return whole(
        models.Order, {"state": "completed", "lines": lines, "fulfilments": parts} | changes
    )


def paid(state: str) -> dict[str, Any]:
    return {"payment_id": "p1", "state": state, "amount": 1_000}


def test_an_order_is_worth_what_its_customer_has_and_its_freight() -> None:
    assert money.worth(an_order()) == 900 - 50 - 100 + 249
    assert money.units(an_order()) == 4


@pytest.mark.parametrize("state", ["captured", "refunding", "refunded"])
def test_money_that_went_back_was_taken_first(state: str) -> None:
    refunds = [
        {"state": "done", "amount": 300}, {"state": "requested", "amount": 7},
        {"state": "refused", "amount": 9},
    ]  # fmt: skip
    order = an_order(payments=[paid(state)], refunds=refunds, cash_collected=40)
    assert (money.captured(order), money.refunded(order)) == (1_000, 300)
    assert money.kept(order) == 1_000 - 300 + 40
    assert money.taken_payments(order) == {"p1": 1_000}


@pytest.mark.parametrize("state", ["created", "authorised", "failed"])
def test_money_that_no_provider_took_is_nobodys(state: str) -> None:
    order = an_order(payments=[paid(state)])
    assert (money.captured(order), money.taken_payments(order)) == (0, {})


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        ({}, True),
        ({"state": "cancelling"}, False),
        ({"refunds": [{"state": "requested"}]}, False),
        ({"refunds": [{"state": "refused"}]}, True),
        ({"payments": [{"state": "authorised"}]}, False),
    ],
)
def test_an_order_is_settled_when_neither_it_nor_its_money_moves_by_itself(
    changes: dict[str, Any], settled: bool
) -> None:
    assert money.is_settled(an_order(**changes)) is settled


def test_a_cell_without_documents_must_be_empty() -> None:
    assert list(stock_by_documents("s/milk", whole(models.Cell, {}), None)) == []
    (found,) = stock_by_documents("s/milk", whole(models.Cell, {"damaged": 1}), None)
    assert (found.kind, found.subject) == ("ledger-stock-mismatch", "s/milk")


def a_shelf(units: int) -> dict[str, Any]:
    return {"items": [{"sku": "milk", "known": True, "sellable": units}]}


def a_customer(service: ScriptedService) -> DoorstepClient:
    return service.client("token", Retries(attempts=1))


async def test_shops_are_open_when_each_sells_what_was_put() -> None:
    service = ScriptedService()
    service.when("GET", "/v1/availability", a_shelf(9), a_shelf(1), a_shelf(2))
    looks: list[int] = []
    places = [Wanted(name, 4.8, -75.7, {"milk": 2}) for name in ("north", "south")]
    await until_sellable(a_customer(service), places, on_look=looks.append)
    assert looks == [2, 1], "who sells is not asked again"


async def test_shops_that_never_sell_are_named() -> None:
    service = ScriptedService()

    def nothing(_asked: Asked) -> Any:
        return a_shelf(0)

    service.when("GET", "/v1/availability", nothing)
    places = [Wanted("north", 4.8, -75.7, {"milk": 1})]
    with pytest.raises(NotSellable, match="north"):
        await until_sellable(a_customer(service), places, within_s=0.0)
