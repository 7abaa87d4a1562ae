"""Trains a detector from Python, measures it and looks at what it finds: on a data set of rendered shapes, or your own.

pip install ".[train]"
python examples/train_from_python.py                         # shapes, a few minutes on two cores
python examples/train_from_python.py --data path/to/cells    # VOC, COCO, YOLO or CSV, as `refinedet data` finds it
"""

from __future__ import annotations

import argparse
from pathlib import Path

import refinedet
from refinedet.data.synthetic import render_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="a data set; shapes are rendered otherwise")
    parser.add_argument("--output", type=Path, default=Path("runs/example"), help="a new folder for all of it")
    parser.add_argument("--model", default="refinedet192_small")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, default=320, help="to render for training")
    options = parser.parse_args()

    data = options.data
    if data is None:
        data = options.output / "shapes"
        render_dataset(data, train=options.images, test=max(8, options.images // 4))

    # Sections and names are those of the command line: `refinedet train --help` tells what there is.
    result = refinedet.train(
        data,
        model={"name": options.model},
        data={"batch_size": 8},
        train={"epochs": options.epochs},
        output=options.output / "run",
    )
    metrics = refinedet.evaluate(result.best, data, output=options.output / "eval")
    print(f"AP {metrics['AP']:.3f}, AP50 {metrics['AP50']:.3f} on the test images; the model: {result.best}")

    predictor = refinedet.Predictor.from_file(result.best)
    images = sorted(path for path in data.rglob("*") if path.suffix in (".jpg", ".png"))[-4:]
    for found in predictor.stream(images):
        drawn = options.output / "drawn" / Path(found.path).name
        drawn.parent.mkdir(exist_ok=True)
        found.save(drawn)
        print(drawn, found.names, found.scores.round(2))


if __name__ == "__main__":
    main()
