"""That a tag may be published: it names the package's version, and the changelog has a dated section for it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def problem(tag: str, version: str, changelog: str) -> str | None:
    """What stands in the way, or None."""
    if tag != f"v{version}":
        return f"tag: expected v{version}, as refinedet_ext/__init__.py has it, got {tag}"
    section = re.search(rf"^## \[{re.escape(version)}\] - (.+)$", changelog, re.MULTILINE)
    if section is None:
        return f"CHANGELOG.md: no section for {version}"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", section[1]):
        return f"CHANGELOG.md: expected the day of the release of {version}, such as 2026-01-31, got {section[1]}"
    return None


if __name__ == "__main__":
    source = (ROOT / "refinedet_ext/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    assert found is not None, "refinedet_ext/__init__.py: no __version__"
    if text := problem(sys.argv[1], found[1], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        sys.exit(f"check_release: {text}")
    print(f"{sys.argv[1]} can be published")
