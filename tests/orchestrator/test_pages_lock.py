"""The pages' lock file: complete for every platform, and bound to no registry."""

import json
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "web" / "package-lock.json"


def test_the_lock_names_no_registry_and_pins_every_package_by_its_digest() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    for name, entry in packages.items():
        assert "resolved" not in entry, f"{name}: run `npm run lock` in web/"
        for_elsewhere = entry.get("optional") and "os" in entry
        assert not name or for_elsewhere or entry["integrity"], name


def test_the_lock_has_the_builders_packages_of_other_platforms() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    for name, entry in packages.items():
        for needed in entry.get("optionalDependencies", {}):
            found = {f"node_modules/{needed}", f"{name}/node_modules/{needed}"} & packages.keys()
            assert found, f"{needed}: run `npm run lock` in web/"
