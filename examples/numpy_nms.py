"""A detector's raw outputs to detections on NumPy arrays: no torch, as beside ONNX Runtime, OpenVINO or TFLite.

    pip install .  # in a clone of the repository
    python examples/numpy_nms.py                      # made-up outputs, 8,732 anchors and 20 classes
    python examples/numpy_nms.py outputs.npz --method gaussian

The file has `deltas` (B, A, 4), center-size deltas against `anchors` (A, 4) of (x1, y1, x2, y2), and `scores`
(B, A, C) of the foreground classes.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import refinedet_ext.numpy as rxn


def made_up_outputs() -> dict[str, np.ndarray]:
    """As of a trained SSD300: a few anchors around twelve objects have a high score, all others a low one."""
    rng = np.random.default_rng(0)
    centers, sides = rng.uniform(0, 300, (8732, 2)), rng.uniform(10, 150, (8732, 2))
    scores = rng.beta(0.2, 60, (1, 8732, 20))
    for center in rng.uniform(30, 270, (12, 2)):
        near = np.linalg.norm(centers - center, axis=1) < 12
        scores[0, near, rng.integers(20)] = rng.uniform(0.3, 0.99, near.sum())
    outputs = {
        "anchors": np.hstack([centers - sides / 2, centers + sides / 2]),
        "deltas": rng.normal(0, 0.3, (1, 8732, 4)),
        "scores": scores,
    }
    return {name: array.astype(np.float32) for name, array in outputs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("outputs", nargs="?", help="an .npz file; made up otherwise")
    parser.add_argument("--method", default="hard", choices=("hard", "linear", "gaussian"))
    parser.add_argument("--score_threshold", type=float, default=0.3)
    parser.add_argument("--show", type=int, default=10, help="how many detections of an image to print")
    options = parser.parse_args()
    outputs = np.load(options.outputs) if options.outputs else made_up_outputs()
    anchors, deltas, scores = (outputs[name] for name in ("anchors", "deltas", "scores"))

    start = time.perf_counter()
    boxes = rxn.decode_boxes(deltas, anchors)
    found = rxn.multiclass_nms(
        boxes, scores, score_threshold=options.score_threshold, method=options.method, min_score=options.score_threshold
    )
    elapsed = 1000 * (time.perf_counter() - start)
    for image, count in enumerate(found.count):
        for row in range(min(count, options.show)):
            box = " ".join(f"{x:6.1f}" for x in found.boxes[image, row])
            print(f"image {image}  class {found.labels[image, row]:2}  score {found.scores[image, row]:.3f}  box {box}")
    print(f"{found.count.sum()} detections of {scores.shape[1]:,} anchors in {elapsed:.2f} ms")


if __name__ == "__main__":
    main()
