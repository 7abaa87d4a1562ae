"""The tables and plots of docs/studies, from the results that are there.

    python -m benchmarks.study page

Nothing is trained. Draws docs/studies/*.png. In the Markdown files there, what stands between `<!-- STUDY: NAME -->`
and `<!-- end -->` is replaced, the rest is left as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..table import markdown
from . import ablations_page, fractions_page, judge, lengths_page, peers_page
from .command import RESULTS, study_parser
from .peer_results import PeerResults

STUDIES = ("ablations", "lengths", "fractions")
DOCS = RESULTS.parent
_BLOCK = re.compile(r"(<!-- STUDY: (\w+) -->\n).*?(<!-- end -->)", re.S)


def blocks(results: Path) -> dict[str, Callable[[], Sequence[str]]]:
    """What makes the lines of every block there may be."""
    ablations, lengths, fractions = (runs_of(results / f"{study}.json") for study in STUDIES)
    return {
        "judge": _judged,
        **ablations_page.blocks(ablations),
        **lengths_page.blocks(ablations, lengths),
        **fractions_page.blocks(fractions),
        **peers_page.blocks(PeerResults(results / "peers.json").read()),
    }


def runs_of(file: Path) -> list[dict[str, Any]]:
    """Those of a file of results; none where there is no such file yet."""
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else []
    return found


def _judged() -> list[str]:
    """The rules without the differences, which are another machine's roundings on another machine."""
    rows = judge.judge()
    if problems := [problem for row in rows for problem in row.problems]:
        raise ValueError(f"judge: {problems[0]} (python -m benchmarks.study judge)")
    cells = [[row.title, str(row.cases), str(row.degenerate), judge.short(row.implementations)] for row in rows]
    return markdown(["rule", "cases", "of them degenerate", "who agrees"], cells)


def filled(text: str, makers: dict[str, Callable[[], Sequence[str]]]) -> str:
    """The Markdown with its blocks written anew; KeyError for a block that no study makes."""
    return _BLOCK.sub(lambda found: found[1] + "\n" + "\n".join(makers[found[2]]()) + "\n\n" + found[3], text)


def main(arguments: list[str]) -> int:
    parser = study_parser("page", __doc__)
    parser.parse_args(arguments)
    makers = blocks(RESULTS)
    for file in sorted(DOCS.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        file.write_text(filled(text, makers), encoding="utf-8")
    for module, study in ((ablations_page, "ablations"), (fractions_page, "fractions")):
        if runs := runs_of(RESULTS / f"{study}.json"):
            module.draw(runs, DOCS / f"{study}.png")
    peers_page.draw(PeerResults(RESULTS / "peers.json").read(), DOCS)
    return 0
