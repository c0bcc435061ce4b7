"""Payment providers behind one interface (DOMAIN, Payment).

``port`` is the interface and the engine's effect handler, ``signature`` the webhook signature,
``sandbox_client`` the adapter of the sandbox provider; ``sandbox_server`` (with ``sandbox_book``,
``sandbox_faults`` and ``sandbox_page``) is that provider itself, which stands outside the service
and is spoken to over HTTP alone.
"""
