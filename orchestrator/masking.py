"""Addresses as they may be shown: without the password that they carry."""

import re

__all__ = ["masked"]

_PASSWORD = re.compile(r"(?P<head>\b[\w+.-]+://[^/\s:@]*):[^\s]*@")


def masked(text: str) -> str:
    """``text`` with ``***`` for the password of the URL in it: ``redis://:***@host/0``. To the last
    ``@``, since a password may hold one itself."""
    return _PASSWORD.sub(r"\g<head>:***@", text)
