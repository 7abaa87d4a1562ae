"""Links and images of every page lead somewhere, in the repository as on the built site."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from .pages import DOCS, PROSE, ROOT, anchors, images, links

PICTURES = [
    path
    for kind in ("png", "jpg", "jpeg", "svg", "gif", "webp")
    for path in sorted(DOCS.rglob(f"*.{kind}"))
    if not path.is_relative_to(DOCS / "extra")  # pages of their own, which credit their photographs
]


def leads_somewhere(page: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(target.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("page", PROSE)
def test_links_lead_somewhere(page):
    inner = [link for link in links(page) if "://" not in link]
    assert [link for link in inner if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("path", [path.relative_to(ROOT).as_posix() for path in PICTURES])
def test_image_is_drawn_by_a_script(path):
    """Some script names it before its code, or a pattern that it is one of."""
    scripts = [script for script in (DOCS / "scripts").rglob("*") if script.suffix in (".py", ".sh")]
    scripts.append(ROOT / "benchmarks/study/page.py")
    named = {word.strip(",;:.()") for script in scripts for word in head(script)}
    assert any("/" in word and PurePosixPath(path).match(word) for word in named), (
        f"no script says that it draws {path}"
    )


def head(script: Path) -> list[str]:
    return script.read_text(encoding="utf-8").partition("\nfrom ")[0].partition("\nset -")[0].split()


def test_every_image_is_shown():
    shown = {((ROOT / page).parent / image).resolve() for page in PROSE for image in images(page)}
    assert [str(path) for path in PICTURES if path not in shown] == []
