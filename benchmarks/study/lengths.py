"""Study 1, continued: whether a second stage needs a longer training to pay.

    python -m benchmarks.study lengths

On the rendered scenes, trained four times as long as the ablations are: the full RefineDet, EFGRNet and PADet and the
single stage that their ablations end with. RefineDet's eight times as long, too. Beside the ablations it shows which of
the two gains from length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import ablations
from .command import add_run_options, carry_out, study_parser
from .runs import Run
from .scenes import hard_scenes

DATA = "scenes"


@dataclass(frozen=True)
class Pair:
    """Trainings of the ablations.

    with_it, without: their rows, with a mechanism and without. times: how much longer than the ablations they train.
    """

    name: str
    with_it: str
    without: str
    times: tuple[int, ...] = (4,)


PAIRS = (
    Pair("RefineDet: two stages", "refinedet", "refinedet-no_tcb", (4, 8)),
    Pair("EFGRNet: two stages", "efgrnet", "efgrnet-ssd"),
    Pair("PADet: two stages", "padet", "padet-baseline"),
)


def label(times: int) -> str:
    """What results of this length are filed under, where the ablations' are under "scenes"."""
    return f"{DATA}-{times}x"


def planned(root: Path, seeds: Sequence[int], iterations: int) -> list[Run]:
    """iterations: of the ablations, of which these have so many times as many."""
    return [
        Run(
            label(times),
            key,
            seed,
            ablations.config_of(key, DATA, root, seed, times * iterations),
        )
        for seed in seeds
        for pair in PAIRS
        for times in pair.times
        for key in (pair.with_it, pair.without)
    ]


def main(arguments: list[str]) -> int:
    parser = study_parser("lengths", __doc__)
    add_run_options(parser, "lengths", ablations.ITERATIONS, "of an ablation, from which the lengths follow")
    options = parser.parse_args(arguments)
    root = hard_scenes(options.folder.parent / "scenes").resolve()
    return carry_out("lengths", planned(root, options.seeds, options.iterations), options)
