"""Detections of many images on one machine or many, by Ray Data: an actor for each core or GPU, results as Parquet.

    pip install "ray[data]"
    python examples/ray_predict.py best.safetensors detections 'photos/**' --actors 8

Start it again where it ended early: images that the output lists already are passed over. On a cluster, weights, images
and output lie where every machine reaches them. A row holds path, width, height, boxes (x1, y1, x2, y2 in pixels),
scores, labels and names; or, of an image that could not be read, why ("error").
"""

from __future__ import annotations

import argparse
import os
import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import ray

from refinedet import Predictor
from refinedet.inference.sources import find_sources
from refinedet.inference.video import is_video_name

LISTS = {"boxes": pa.list_(pa.float32(), 4), "scores": pa.float32(), "labels": pa.int64(), "names": pa.string()}
SINGLE = {"path": pa.string(), "width": pa.int32(), "height": pa.int32(), "error": pa.string()}
SCHEMA = pa.schema(SINGLE | {name: pa.list_(kind) for name, kind in LISTS.items()})


class Detect:
    def __init__(self, weights: str, device: str, batch_size: int, score_threshold: float) -> None:
        self.predictor = Predictor.from_file(weights, device=device, batch_size=batch_size, threads=1)
        self.score_threshold = score_threshold

    def __call__(self, batch: dict[str, list[str]]) -> pa.Table:
        rows: list[dict[str, object]] = []
        note = lambda path, error: rows.append({"path": str(path), "error": str(error)})  # noqa: E731
        for one in self.predictor.stream(list(batch["path"]), score_threshold=self.score_threshold, on_error=note):
            row = {name: getattr(one, name).tolist() for name in ("boxes", "scores", "labels")}
            rows.append(row | {"path": one.path, "width": one.size[0], "height": one.size[1], "names": one.names})
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
    sources = [str(source) for source in find_sources(options.images)]
    if others := [source for source in sources if not os.path.isfile(source) or is_video_name(source)]:
        parser.error(f"images: expected files of images, got {others[0]}")
    parts = [pyarrow.dataset.dataset(part, format="parquet") for part in options.output.glob("part-*")]
    done = {path for part in parts for path in part.to_table(["path"])["path"].to_pylist()}
    left = [path for path in map(os.path.abspath, sources) if path not in done]
    print(f"{len(sources)} images, {len(sources) - len(left)} of them done already")
    model = (os.path.abspath(options.weights), "cuda" if options.gpu else "cpu", options.batch_size)
    actors = {"compute": ray.data.ActorPoolStrategy(size=options.actors), "num_gpus" if options.gpu else "num_cpus": 1}
    given = {"fn_constructor_args": (*model, options.score_threshold), "batch_size": options.batch_size, **actors}
    for start in range(0, len(left), options.part_size):
        unfinished = options.output.absolute() / f".part-{uuid.uuid4().hex}"  # complete, it loses the dot
        images = ray.data.from_items([{"path": path} for path in left[start : start + options.part_size]])
        batches = images.repartition(target_num_rows_per_block=options.batch_size)
        try:
            batches.map_batches(Detect, **given).write_parquet(str(unfinished))
            unfinished.rename(unfinished.with_name(unfinished.name[1:]))
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


if __name__ == "__main__":
    main()
