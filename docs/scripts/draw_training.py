"""Draws the pictures of the pages on training, which say how the two models were trained:
docs/training/analysis/*.png, docs/training/analysis/mistakes.jpg, docs/training/explain_objectness.jpg and
docs/training/explain_objects.jpg.

python docs/scripts/draw_training.py runs/bccd runs/efgrnet/best.safetensors bccd/JPEGImages/BloodImage_00007.jpg
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import cv2

from refinedet.cli import main as refinedet

PAGES = Path(__file__).parents[1] / "training"
JPEG_QUALITY = 80


def command(*words: str | Path) -> None:
    status = refinedet([str(word) for word in words])
    if status:
        raise SystemExit(status)


def write_jpeg(source: Path, target: Path, scale: float) -> None:
    image = cv2.resize(cv2.imread(str(source)), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if not cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"cannot write {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the training that docs/training/analysis.md names")
    parser.add_argument("aligned", type=Path, help="model file of the training that docs/training/explain.md names")
    parser.add_argument("photo", type=Path, help="the image that is explained")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command("analyse", options.run, "--output", work / "analysis")
        command("explain", options.photo, "--weights", options.run / "best.safetensors", "--output", work / "scores")
        command("explain", options.photo, "--weights", options.aligned, "--output", work / "points")
        for picture in sorted((PAGES / "analysis").glob("*.png")):
            shutil.copy(work / "analysis" / picture.name, picture)
        write_jpeg(work / "analysis/mistakes.jpg", PAGES / "analysis/mistakes.jpg", scale=0.73)
        write_jpeg(work / "scores/objectness.png", PAGES / "explain_objectness.jpg", scale=1.0)
        write_jpeg(work / "points/objects.png", PAGES / "explain_objects.jpg", scale=0.8)


if __name__ == "__main__":
    main()
