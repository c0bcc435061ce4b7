"""The books over HTTP, for finance: accounts, documents, postings, stock from documents."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers
from orchestrator.api.plain import After, Authorised, Limit, answer, page_answer
from orchestrator.api.show import show_row

__all__ = ["router"]


def router(desk: Desk) -> APIRouter:
    """The routes. All read the SQL ledger, a moment behind what just happened."""
    routes = APIRouter(tags=["ledger"])
    books = desk.service.books

    @routes.get(
        "/v1/ledger/accounts",
        responses=answers(models.AccountPage, examples.ACCOUNT_PAGE, "ledger-away"),
    )
    async def read_accounts(caller: Authorised) -> Response:
        """The trial balance: debits equal credits in every currency."""
        return page_answer(await books.accounts(), None)

    @routes.get(
        "/v1/ledger/documents",
        responses=answers(models.DocumentPage, examples.DOCUMENT_PAGE, "bad-cursor", "ledger-away"),
    )
    async def read_documents(
        caller: Authorised,
        after: After = "",
        limit: Limit = 100,
        kind: Annotated[str, Query(max_length=64, description="Only this kind.")] = "",
    ) -> Response:
        """Documents of stock and money, oldest first. Never edited: mended by further ones."""
        page = await books.documents(after=after, limit=limit, kind=kind)
        return page_answer([show_row(row) for row in page.rows], page.after)

    @routes.get(
        "/v1/ledger/postings",
        responses=answers(models.PostingPage, examples.POSTING_PAGE, "bad-cursor", "ledger-away"),
    )
    async def read_postings(
        caller: Authorised,
        after: After = "",
        limit: Limit = 100,
        account: Annotated[str, Query(max_length=128, description="Only this account.")] = "",
    ) -> Response:
        """Postings, oldest first; debits are positive. Each document's postings add up to 0."""
        page = await books.postings(after=after, limit=limit, account=account)
        return page_answer([show_row(row) for row in page.rows], page.after)

    @routes.get(
        "/v1/ledger/stock",
        responses=answers(models.LedgerStock, examples.LEDGER_STOCK, "ledger-away"),
    )
    async def read_stock(
        caller: Authorised, store_id: Annotated[str, Query(min_length=1, max_length=128)]
    ) -> Response:
        """A store's stock from documents alone: it must agree with the stock cells."""
        rows = await books.stock(store_id)
        return answer({"store_id": store_id, "items": rows})

    @routes.get(
        "/v1/ledger/reconciliation",
        responses=answers(models.Reconciliation, examples.RECONCILIATION, "ledger-away"),
    )
    async def read_reconciliation(caller: Authorised) -> Response:
        """Whether every unit and every cent is explained, and each difference if not. It walks the
        whole ledger: not for every second. A moment behind what just happened."""
        return answer(await books.reconciliation())

    return routes
