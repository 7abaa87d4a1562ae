"""Study 1, continued: what needs a longer training to pay.

    python -m benchmarks.study lengths

On the rendered scenes, trained four times as long as the ablations are: the full RefineDet, EFGRNet and PADet and the
single stage that their ablations end with; RefineDetLite with GIoU and with smooth L1. Beside the ablations it shows
which of the two gains from length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import ablations
from .command import add_run_options, carry_out, study_parser
from .runs import Run
from .scenes import hard_scenes

ITERATIONS = 4 * ablations.ITERATIONS
DATA = "scenes"
# a training with the mechanism, and one without
PAIRS = {
    "RefineDet: two stages": ("refinedet", "refinedet-no_tcb"),
    "EFGRNet: two stages": ("efgrnet", "efgrnet-ssd"),
    "PADet: two stages": ("padet", "padet-baseline"),
    "RefineDetLite: GIoU": ("refinedetlite-giou", "refinedetlite"),  # both with soft-NMS
}


def planned(root: Path, seeds: Sequence[int], iterations: int) -> list[Run]:
    keys = [key for pair in PAIRS.values() for key in pair]
    return [
        Run(
            DATA,
            key,
            seed,
            ablations.config_of(key, DATA, root, seed, iterations),
            ablations.SUPPRESSIONS.get(key, ()),
        )
        for seed in seeds
        for key in keys
    ]


def main(arguments: list[str]) -> int:
    parser = study_parser("lengths", __doc__)
    add_run_options(parser, "lengths", ITERATIONS)
    options = parser.parse_args(arguments)
    root = hard_scenes(options.folder.parent / "scenes").resolve()
    return carry_out("lengths", planned(root, options.seeds, options.iterations), options)
