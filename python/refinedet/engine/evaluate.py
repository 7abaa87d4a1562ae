"""Detections of a data set and their metrics: `refinedet eval`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import torch

from ..data import build_loader, to_coco_dict
from ..data.dataset import DetectionDataset
from ..data.image_io import ImageReadError
from ..data.pipeline_dataset import UNREADABLE
from ..detectors import Detector
from ..evaluation import (
    Evaluator,
    format_table,
    no_detections,
    plot_precision_recall,
    write_metrics,
    write_results,
)
from ..folders import check_folder, make_folder
from ..inference import MultiScale, multi_scale_detections
from ..optimize import optimize_for_inference
from ..weights import load_model
from .config import DataConfig
from .data import eval_pipeline
from .processes import Processes, SharedBar
from .splits import open_split

logger = logging.getLogger(__name__)

RESULTS = ("metrics.json", "table.txt", "detections.json", "precision_recall.png")


def check_no_results(folder: str | os.PathLike[str]) -> None:
    """ValueError if an evaluation would write over a file there, OSError if the folder cannot be written."""
    for name in RESULTS:
        file = check_folder(folder) / name
        if file.exists():
            raise ValueError(f"output: {file} exists; give another folder")


def evaluate(
    model: Detector,
    dataset: DetectionDataset,
    *,
    kind: str = "coco",
    output: str | os.PathLike[str] | None = None,
    batch_size: int = 8,
    workers: int = 1,
    device: torch.device | str = "cpu",
    input_size: int | None = None,
    multi_scale: MultiScale | str | None = None,
    extra: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """Metrics of a model on a data set, as `Evaluator.compute(kind)` gives them.

    output: a folder that gets `metrics.json` (with the entries of `extra`), `detections.json` (COCO results),
    `table.txt` and `precision_recall.png`, none of which may be there already; None writes nothing. input_size: side
    the images are resized to, None is the model's. multi_scale: a recipe of `refinedet.inference` or its name; the
    images then pass one by one, on all its scales. processes: several share the images, a batch at a time; the first
    computes the metrics and writes, and all return them.

    Where the data set was made with on_error "skip", an image whose file cannot be read counts as one without
    detections; it is named in a warning, and `metrics.json` has the number of such images under "unreadable". With
    "raise" it ends the evaluation.

    Raises ImageReadError or OSError for that and where nothing can be read any longer; ValueError if the model has
    another number of classes than the data set, or if both input_size and multi_scale are given.
    """
    if input_size is not None and multi_scale is not None:
        raise ValueError("input_size: expected None where multi_scale says the sizes")
    if len(dataset.class_names) != model.num_classes - 1:
        raise ValueError(
            f"dataset: expected {model.num_classes - 1} classes as the model has, got {len(dataset.class_names)}: "
            f"{', '.join(dataset.class_names)}"
        )
    processes = processes or Processes()
    if output is not None:
        processes.from_first(lambda: check_no_results(output))
    side = model.input_side(input_size)
    model = model.to(device).eval()
    evaluator = Evaluator(to_coco_dict(dataset), dataset.class_names)
    share = processes.share(range(len(dataset)), batch_size)
    with SharedBar(processes, len(dataset)) as bar:
        unreadable = 0
        if share:  # there may be more processes than batches
            part = dataset if processes.count == 1 else dataset.subset(share, f"process {processes.rank}")
            if multi_scale is None:
                unreadable = _detect(model, part, evaluator, bar, side=side, batch_size=batch_size, workers=workers)
            else:
                unreadable = _detect_at_scales(model, part, evaluator, bar, multi_scale)
        bar.finish()
    states = processes.gather((evaluator.state(), unreadable))

    def finish() -> dict[str, Any]:
        for state, _ in states[1:]:
            evaluator.merge(state)
        lost = sum(count for _, count in states)
        if lost == len(dataset):
            raise ImageReadError(f"none of {lost} images can be read, is the data set still there?")
        metrics = evaluator.compute(kind)
        if output is not None:
            folder = make_folder(output)
            write_metrics(folder / "metrics.json", metrics, images=len(dataset), unreadable=lost, **(extra or {}))
            write_results(folder / "detections.json", evaluator.results())
            (folder / "table.txt").write_text(format_table(metrics) + "\n", encoding="utf-8")
            plot_precision_recall(evaluator.precision_recall(), folder / "precision_recall.png")
        return metrics

    return processes.from_first(finish)


def _detect(
    model: Detector,
    dataset: DetectionDataset,
    evaluator: Evaluator,
    bar: SharedBar,
    *,
    side: int,
    batch_size: int,
    workers: int,
) -> int:
    """Gives the evaluator what a model finds; how many images could not be read."""
    device = next(model.parameters()).device
    loader = build_loader(
        dataset,
        eval_pipeline(side, model.normalization),
        batch_size=batch_size,
        workers=workers,
        rank=0,  # all of this data set, which is this process's share
        world_size=1,
        persistent_workers=False,
        on_unreadable="blank" if dataset.on_error == "skip" else "raise",
    )
    with torch.inference_mode():
        for batch in loader:
            evaluator.update(model(batch.images.to(device)), batch)
            bar.update(len(batch))
    return len(loader.unreadable)


def _detect_at_scales(
    model: Detector, dataset: DetectionDataset, evaluator: Evaluator, bar: SharedBar, recipe: MultiScale | str
) -> int:
    """As `_detect`, image by image on all scales of a recipe."""
    unreadable = 0
    for index in range(len(dataset)):
        try:
            sample = dataset[index]
        except UNREADABLE as error:
            unreadable += 1
            if dataset.on_error != "skip" or unreadable == len(dataset):
                raise
            logger.warning("%s (image without detections)", error)
            evaluator.add(no_detections(dataset.image_ids[index]))
        else:
            evaluator.add(multi_scale_detections(model, sample.image, recipe, image_id=sample.image_id))
        bar.update()
    return unreadable


def evaluate_file(
    weights: str | os.PathLike[str],
    data: DataConfig,
    *,
    split: str = "test",
    kind: str = "coco",
    output: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    input_size: int | None = None,
    nms: str | None = None,
    multi_scale: str | None = None,
    optimize: str = "off",
    processes: Processes | None = None,
) -> dict[str, Any]:
    """`evaluate` for a model file on a part of a data set, with what `refinedet eval` offers besides.

    nms: another suppression preset. optimize: run a copy of the network that is rewritten for the CPU ("auto",
    "float32" or "bfloat16"); what was done to it is printed.

    ValueError if the data's classes are named, and are others than those that the model's file names.
    """
    processes = processes or Processes()
    if output is not None:
        processes.from_first(lambda: check_no_results(output))
    device = processes.device(device)
    checkpoint = load_model(weights, device=device, **({} if nms is None else {"nms": nms}))
    known, wanted = checkpoint.class_names, data.classes
    if known is not None and isinstance(wanted, list) and wanted != known:
        raise ValueError(f"data.classes: expected nothing, or {known} as in {weights}, got {wanted}")
    dataset = open_split(data, split, known)
    model = checkpoint.model
    if optimize != "off":
        model = optimize_for_inference(model.eval(), dtype=optimize, input_size=input_size)
        if processes.is_first:
            print(model.report)
    return evaluate(
        model,
        dataset,
        kind=kind,
        output=output,
        batch_size=data.eval_batch_size,
        workers=data.workers,
        device=device,
        input_size=input_size,
        multi_scale=multi_scale,
        extra={"weights": os.fspath(weights), "split": split, "optimize": optimize},
        processes=processes,
    )
