"""Draws docs/training/bccd_detections.jpg: ground truth and detections on the first images of BCCD's test split.

python docs/scripts/draw_detections.py runs/train/best.safetensors path/to/bccd docs/training/bccd_detections.jpg
"""

from __future__ import annotations

import argparse

import cv2

from refinedet import Predictor
from refinedet.data import VOCDetection
from refinedet.visualize import draw_detections, draw_grid

IMAGES, SCORE, JPEG_QUALITY = 4, 0.5, 70


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights")
    parser.add_argument("root")
    parser.add_argument("output")
    options = parser.parse_args()
    predictor = Predictor.from_file(options.weights)
    names = predictor.class_names
    dataset = VOCDetection(options.root, "test", classes=names)
    truth, found = [], []
    for index in range(IMAGES):
        sample = dataset[index]
        detections = predictor(sample.image, score_threshold=SCORE)
        truth.append(draw_detections(sample.image, sample.boxes, sample.labels, None, names))
        found.append(draw_detections(sample.image, detections.boxes, detections.labels, detections.scores, names))
    sheet = draw_grid(found, beside=truth, columns=1, cell=480)
    if not cv2.imwrite(options.output, sheet, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"output: cannot write {options.output}")


if __name__ == "__main__":
    main()
