"""The SQL ledger: history of orders, documents of stock and money, postings that always balance."""
