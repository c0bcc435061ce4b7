"""The page where a customer of the sandbox provider pays or declines, in a browser."""

from html import escape
from typing import Any

__all__ = ["PAGE_HEADERS", "pay_page", "waiting_page"]

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}

THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
NO_DECIMALS = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "RWF", "UGX", "VND", "XAF", "XOF"})

STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #eef1f5 }
main { background: #fff; color: #1b2430; padding: 2rem; border-radius: 1rem;
  width: min(22rem, 86vw); box-shadow: 0 8px 30px #0002 }
h1 { font-size: 1rem; margin: 0; color: #5b6876; font-weight: 600 }
.amount { font-size: 2.4rem; font-weight: 700; margin: .6rem 0 }
dl { display: grid; grid-template-columns: auto 1fr; gap: .3rem 1rem; font-size: .9rem;
  margin: 1rem 0 }
dt { color: #5b6876 } dd { margin: 0; text-align: right; overflow-wrap: anywhere }
form { display: grid; gap: .6rem }
button { font: inherit; font-weight: 600; padding: .8rem; border-radius: .6rem; cursor: pointer;
  border: 1px solid #c5ced8; background: transparent; color: inherit }
button[value=pay] { background: #12724a; border-color: #12724a; color: #fff }
button:focus-visible { outline: 3px solid #4c9ffe; outline-offset: 2px }
.note { font-size: .8rem; color: #5b6876; margin: 1rem 0 0 }
@media (prefers-color-scheme: dark) {
  body { background: #11161c } main { background: #1b232c; color: #e8edf2 }
  h1, dt, .note { color: #9fb0c0 } button { border-color: #3a4754 }
}
"""

SAYINGS = {
    "pending": "",
    "authorised": "Thank you. The amount is reserved.",
    "captured": "Thank you. It is paid.",
    "failed": "The payment was declined.",
    "expired": "The time to pay is over. Please order again.",
}


def pay_page(payment: dict[str, Any], problem: str = "") -> str:
    """HTML of one payment: buttons while it can be paid, else what became of it."""
    status = str(payment["status"])
    buttons = (
        '<form method="post"><button name="outcome" value="pay">Pay</button>'
        '<button name="outcome" value="fail">Decline</button></form>'
    )
    saying = f'<p role="status">{escape(problem or SAYINGS.get(status, status))}</p>'
    money = escape(_money(payment))
    return _document(
        f"Pay {money}",
        f"""<div class="amount">{money}</div>
<dl><dt>Order</dt><dd>{escape(str(payment["order_id"]))}</dd>
<dt>Payment</dt><dd>{escape(str(payment["payment_id"]))}</dd>
<dt>Status</dt><dd>{escape(status)}</dd></dl>
{buttons if status == "pending" else saying}""",
    )


def waiting_page() -> str:
    """HTML for a payment that is not known, or not yet: it loads itself again."""
    return _document(
        "One moment",
        '<p role="status">One moment: this payment is not open yet.</p>',
        head='<meta http-equiv="refresh" content="2">',
    )


def _document(title: str, content: str, head: str = "") -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{head}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head>
<body><main><h1>Sandbox payments</h1>
{content}
<p class="note">A test provider: no real money moves.</p>
</main></body></html>
"""


def _money(payment: dict[str, Any]) -> str:
    currency = str(payment["currency"])
    decimals = 0 if currency in NO_DECIMALS else 3 if currency in THREE_DECIMALS else 2
    amount = int(payment["amount"])
    whole, part = divmod(amount, 10**decimals)
    text = f"{whole:,}" + (f".{part:0{decimals}d}" if decimals else "")
    return f"{text} {currency}"
