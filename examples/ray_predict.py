"""Detections of many images on one machine or many, by Ray Data: an actor for each core or GPU, results as Parquet.

    pip install "ray[data]"
    python examples/ray_predict.py best.safetensors detections 'photos/**' --actors 8

Start it again where it ended early: images that are listed in the output already are passed over. On a cluster,
weights, images and output lie where every machine reaches them. A row holds path, width, height, boxes (x1, y1, x2, y2
in pixels), scores, labels and names; or, of an image that could not be read, why ("error").
"""

from __future__ import annotations

import argparse
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import ray
import torch

from refinedet import Predictor
from refinedet.inference.sources import find_sources
from refinedet.inference.video import is_video_name

COLUMNS = {"path": pa.string(), "width": pa.int32(), "height": pa.int32(), "boxes": pa.list_(pa.list_(pa.float32(), 4))}
COLUMNS |= {"scores": pa.list_(pa.float32()), "labels": pa.list_(pa.int64()), "names": pa.list_(pa.string())}
SCHEMA = pa.schema(COLUMNS | {"error": pa.string()})


class Detect:
    def __init__(self, weights: str, device: str, batch_size: int, score_threshold: float) -> None:
        torch.set_num_threads(1)
        self.predictor, self.threshold = (
            Predictor.from_file(weights, device=device, batch_size=batch_size),
            score_threshold,
        )

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        rows: list[dict[str, Any]] = []

        def note(path: Any, error: Exception) -> None:
            rows.append({"path": str(path), "error": str(error)})

        for found in self.predictor.stream(list(batch["path"]), score_threshold=self.threshold, on_error=note):
            row = {name: getattr(found, name).tolist() for name in ("boxes", "scores", "labels")}
            rows.append(
                {"path": found.path, "width": found.size[0], "height": found.size[1], "names": found.names, **row}
            )
        return pa.Table.from_pylist(rows, SCHEMA)


def main() -> None:
    parser = argparse.ArgumentParser(description="Detect in many images.")
    parser.add_argument("weights")
    parser.add_argument("output", type=Path, help="folder for Parquet files")
    parser.add_argument("images", nargs="+", help="image files, folders or patterns")
    parser.add_argument("--actors", type=int, default=len(os.sched_getaffinity(0)), help="models at work at a time")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each of them, in place of a core")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--part_size", type=int, default=10_000, help="images after which results are safe on disk")
    parser.add_argument("--score_threshold", type=float, default=0.5)
    options = parser.parse_args()
    sources = find_sources(options.images)
    others = [source for source in sources if not os.path.isfile(str(source)) or is_video_name(str(source))]
    if others:
        parser.error(f"images: expected files of images, got {others[0]}")
    paths = [os.path.abspath(source) for source in sources]
    options.output.mkdir(parents=True, exist_ok=True)
    done: set[str] = set()
    for part in options.output.glob("part-*"):
        done.update(pyarrow.dataset.dataset(part, format="parquet").to_table(["path"])["path"].to_pylist())
    left = [path for path in paths if path not in done]
    print(f"{len(paths)} images, {len(paths) - len(left)} of them done already")
    for start in range(0, len(left), options.part_size):
        part = options.output / f"part-{uuid.uuid4().hex}"
        unfinished = part.with_name(f".{part.name}")  # its name comes when it is complete
        images = ray.data.from_items([{"path": path} for path in left[start : start + options.part_size]])
        found = images.repartition(target_num_rows_per_block=options.batch_size).map_batches(
            Detect,
            fn_constructor_args=(os.path.abspath(options.weights), "cuda" if options.gpu else "cpu"),
            fn_constructor_kwargs={"batch_size": options.batch_size, "score_threshold": options.score_threshold},
            batch_size=options.batch_size,
            compute=ray.data.ActorPoolStrategy(size=options.actors),
            **({"num_gpus": 1} if options.gpu else {"num_cpus": 1}),
        )
        try:
            found.write_parquet(str(unfinished.absolute()))
            unfinished.rename(part)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


if __name__ == "__main__":
    main()
