"""Writes the speed tables of docs/ops/*.md from a committed benchmark run: python docs/scripts/speed_rows.py [--check].

A page says which rows it shows in a comment, `<!-- speed`, a line for each (op | case, and | dtype | direction unless
they are float32 and forward), `-->`; what stands between that and `<!-- end of speed -->` is written here. With --check
nothing is written, and pages that would change are an error: so no figure outlives the run that it was measured in.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ROOT / "benchmarks/results/cpu_xeon_amx.md"
PAGES = ROOT / "docs/ops"
BLOCK = re.compile(r"(<!-- speed\n(.*?)-->\n)(.*?)(<!-- end of speed -->)", re.S)
HEAD = ("case", "ours, ms", "fastest peer, ms", "ratio")
DEFAULTS = ("float32", "forward")
PEERS = {
    "reference": "plain PyTorch",
    "composed": "our ops and torch",
    "torch + our nms": "torch and our `batched_nms`",
}
"""What a peer is called in the run, where a reader would not know it."""

Row = tuple[str, str, str, str]  # op, case, dtype, direction


def measured(run: str) -> dict[Row, tuple[str, str, str]]:
    """Ours, the best peer and the ratio of every row on one thread."""
    rows = {}
    for line in run.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 8 and cells[4] == "1":
            rows[(cells[0], cells[1], cells[2], cells[3])] = (cells[5], cells[6], cells[7])
    return rows


def table(wanted: str, rows: dict[Row, tuple[str, str, str]], run: str) -> str:
    first = run.splitlines()[0]
    found = [(row, rows[row]) for row in map(parse, wanted.strip().splitlines())]
    several = len({row[0] for row, _ in found}) > 1
    lines = [f"| {' | '.join(HEAD)} |", "|---|---|---|---|"]
    for (op, case, *rest), (ours, peer, ratio) in found:
        name = ", ".join([*([f"`{op}`"] if several else []), case, *(x for x in rest if x not in DEFAULTS)])
        time, _, who = peer.partition(" ")
        lines.append(f"| {name} | {ours} | {time} {PEERS.get(who, who)} | {ratio} |")
    note = f"One thread, float32 unless said, medians. {first} [All of it](../design/results.md)"
    return "\n".join(["", *lines, "", note, "", ""])


def parse(line: str) -> Row:
    op, case, dtype, direction = ([cell.strip() for cell in line.split("|")] + list(DEFAULTS))[:4]
    return op, case, dtype, direction


def filled(page: str, run: str) -> str:
    """The page with its tables. KeyError names a row that the run does not have."""
    rows = measured(run)
    return BLOCK.sub(lambda m: m[1] + table(m[2], rows, run) + m[4], page)


def main(check: bool) -> int:
    run, stale = RUN.read_text(encoding="utf-8"), []
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (new := filled(page, run)) != page:
            stale.append(path.name)
            if not check:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(("not what was measured: " if check else "written: ") + ", ".join(stale))
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
