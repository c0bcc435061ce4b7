"""Locustfiles: one scenario each. ``locust -f loadtests/locust/flash_sale.py``."""
