"""Draws docs/ops/drawings/*.svg, what every op computes, by calling the op: python docs/scripts/draw_ops [folder]."""

from __future__ import annotations

import sys
from pathlib import Path

import boxes
import features
import losses
import matching
import suppression
from card import style

FOLDER = Path(__file__).parents[2] / "ops/drawings"
DRAWINGS = (
    *(suppression.nms, suppression.multiclass_nms, suppression.detect),
    *(boxes.decode_boxes, boxes.decode_cascade),
    *(matching.match_anchors, matching.filter_anchors),
    *(losses.mine_hard_negatives, losses.mined_cross_entropy, losses.smooth_l1_box_loss),
    *(features.deconv_sum, features.deform_align),
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for draw in DRAWINGS:
        with style():
            draw().savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
