"""What a run measured: as text, as JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import memory, table
from .machine import Machine, Rates
from .memory import Peak
from .runner import Row

FORMAT = 1


@dataclass
class Report:
    machine: Machine
    rows: list[Row] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)

    @property
    def failed(self) -> list[Row]:
        """The cases whose result was wrong."""
        return [row for row in self.rows if row.error]

    def text(self) -> str:
        parts = [*self.machine.lines(), "", "Medians; ours and the peers in turn, in one process.", ""]
        parts += table.table(self.rows)
        for title, lines in (
            ("Peers without a time:", table.absent(self.rows)),
            ("Two threads:", table.gains(self.rows)),
            ("Peak memory:", memory.table(self.peaks)),
        ):
            if lines:
                parts += ["", title, "", *lines]
        return "\n".join(parts)

    def save(self, path: Path) -> None:
        """OSError where it cannot be written; the folder is made."""
        values = {
            "format": FORMAT,
            "machine": asdict(self.machine),
            "cases": [row.to_dict() for row in self.rows],
            "memory": [asdict(peak) for peak in self.peaks],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> Report:
        """OSError where there is no such file, ValueError where it is none of ours."""
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError(f"{path}: expected a file that `python -m benchmarks --json` wrote, format {FORMAT}")
        machine: dict[str, Any] = values["machine"]
        rates = {
            int(threads): Rates(rate["gemm"], {float(mib): speed for mib, speed in rate["copy"].items()})
            for threads, rate in machine.pop("rates").items()
        }
        rows = [Row.from_dict(row) for row in values["cases"]]
        return Report(Machine(**machine, rates=rates), rows, [Peak(**peak) for peak in values["memory"]])
