"""The Markdown pages of the project and what stands in them: blocks of code, links, images, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))]
PROSE = [*PAGES, "CONTRIBUTING.md"]

_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    line: where its text begins, from 1. follows: whether it stands directly behind another block. not_run: why.
    file: the name under which its text is written instead.
    """

    page: str
    language: str
    text: str
    line: int
    follows: bool
    not_run: str | None
    file: str | None

    def lines(self) -> list[str]:
        """Its commands, of which a backslash at the end joins two lines."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.split("#")[0].strip()]

    def words(self, line: str) -> list[str]:
        return shlex.split(line, comments=True)


def tokens(page: str) -> list[Token]:
    return _PARSER.parse((ROOT / page).read_text(encoding="utf-8"))


def blocks(page: str) -> list[Block]:
    """Those with code; MyST's directives are none."""
    found, comment, file, follows = [], None, None, False
    for token in tokens(page):
        if token.type == "html_block":
            comment = re.fullmatch(r"<!-- not run: (.+?) -->", token.content.strip())
            file = re.fullmatch(r"<!-- file: (\S+) -->", token.content.strip())
            continue
        if token.type == "fence" and not token.info.startswith("{"):
            assert token.map is not None
            reason = comment.group(1) if comment else None
            name = file.group(1) if file else None
            found.append(Block(page, token.info.strip(), token.content, token.map[0] + 2, follows, reason, name))
        comment, file, follows = None, None, token.type == "fence"
    return found


def needs(page: str) -> list[str]:
    """Packages without which the page's blocks cannot run."""
    return [
        name
        for token in tokens(page)
        if token.type == "html_block"
        for text in re.findall(r"<!-- needs: (.+?) -->", token.content)
        for name in text.split()
    ]


def _inline(page: str) -> Iterator[Token]:
    for token in tokens(page):
        yield from token.children or ()


def links(page: str) -> list[str]:
    """Addresses of links and images."""
    found = [token.attrGet("href" if token.type == "link_open" else "src") for token in _inline(page)]
    return [str(address) for address in found if address is not None]


def images(page: str) -> list[str]:
    return [str(token.attrGet("src")) for token in _inline(page) if token.type == "image"]


def anchors(page: str) -> set[str]:
    """What GitHub and MyST call the page's headings."""
    content = tokens(page)
    slugs = []
    for token, text in zip(content, content[1:], strict=False):
        if token.type == "heading_open":
            words = "".join(child.content for child in text.children or ())
            slugs.append(re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-"))
    found = set(slugs)
    assert len(found) == len(slugs), f"{page}: headings of one name"
    return found
