"""What axe finds against WCAG A and AA."""

from typing import Any

import pytest

from tests.browser.conftest import ROOT

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page: Any) -> list[str]:
    """As short texts; empty when all is well."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    # Beside the page's own scripts: its policy forbids added ones.
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    return [
        f"{one['id']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
