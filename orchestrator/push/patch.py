"""JSON Merge Patch (RFC 7396) between two JSON documents.

A patch cannot say "set to null": documents of topics leave absent values out instead (see
``orchestrator.push.document``). Arrays are replaced whole. Imports nothing: the client shares it.
"""

from typing import Any

__all__ = ["apply_patch", "patch_between"]


def patch_between(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The patch that turns ``old`` into ``new``; empty when they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and before == value and type(before) is type(value):
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            inner = patch_between(before, value)
            if inner:
                patch[key] = inner
        else:
            patch[key] = value
    return patch


def apply_patch(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The patched document, a new one; nothing given is changed."""
    result = dict(document)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            before = result.get(key)
            result[key] = apply_patch(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result
