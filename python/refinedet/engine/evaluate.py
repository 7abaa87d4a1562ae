"""Detections of a data set and their metrics: `refinedet eval`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import torch

from ..data import EvalPipeline, build_loader, to_coco_dict
from ..data.dataset import DetectionDataset
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
from ..runtimes import RuntimeModel
from ..runtimes.load import load_any
from .config import DataConfig
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
    model: Detector | RuntimeModel,
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
) -> dict[str, Any]:
    """Metrics of a model on a data set, as `Evaluator.compute(kind)` gives them.

    model: a detector, or one in another runtime, which has neither device nor multi_scale.

    output: a folder that gets `metrics.json` (with the entries of `extra`), `detections.json` (COCO results),
    `table.txt` and `precision_recall.png`, none of which may be there already; None writes nothing. input_size: side
    the images are resized to, None is the model's. multi_scale: a recipe of `refinedet.inference` or its name; the
    images then pass one by one, on all its scales.

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
    if isinstance(model, RuntimeModel) and (str(device) != "cpu" or multi_scale is not None):
        raise ValueError(f"model: in this runtime it has one size, on the CPU, got {device} and {multi_scale}")
    if output is not None:
        check_no_results(output)
    side = model.input_side(input_size)
    if isinstance(model, Detector):
        model = model.to(device).eval()
    evaluator = Evaluator(to_coco_dict(dataset), dataset.class_names)
    skip = dataset.on_error == "skip"
    if multi_scale is not None and isinstance(model, Detector):
        unreadable = 0
        for index in range(len(dataset)):
            try:
                sample = dataset[index]
            except UNREADABLE as error:
                unreadable += 1
                if not skip or unreadable == len(dataset):
                    raise
                logger.warning("%s (image without detections)", error)
                evaluator.add(no_detections(dataset.image_ids[index]))
                continue
            evaluator.add(multi_scale_detections(model, sample.image, multi_scale, image_id=sample.image_id))
    else:
        loader = build_loader(
            dataset,
            EvalPipeline(side),  # batches hold 8-bit pixels, which models normalize
            batch_size=batch_size,
            workers=workers,
            persistent_workers=False,
            on_unreadable="blank" if skip else "raise",
        )
        with torch.inference_mode():
            for batch in loader:
                images = batch.images
                found = model(images.to(device)) if isinstance(model, Detector) else model.detect(images.numpy())
                evaluator.update(found, batch)
        unreadable = len(loader.unreadable)
    metrics = evaluator.compute(kind)
    if output is not None:
        folder = make_folder(output)
        write_metrics(folder / "metrics.json", metrics, images=len(dataset), unreadable=unreadable, **(extra or {}))
        write_results(folder / "detections.json", evaluator.results())
        (folder / "table.txt").write_text(format_table(metrics) + "\n", encoding="utf-8")
        plot_precision_recall(evaluator.precision_recall(), folder / "precision_recall.png")
    return metrics


def evaluate_file(
    weights: str | os.PathLike[str],
    data: DataConfig,
    *,
    split: str = "test",
    kind: str = "coco",
    output: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    input_size: int | None = None,
    nms: str | Mapping[str, Any] | None = None,
    multi_scale: str | None = None,
    optimize: str = "off",
    runtime: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """`evaluate` for a model file on a part of a data set, with what `refinedet eval` offers besides.

    nms: another suppression, a preset's name or what differs from one, see `resolve_nms`. optimize: run a copy of the
    network that is rewritten for the CPU ("auto", "float32" or "bfloat16"); what was done to it is printed. runtime,
    threads: as for `Predictor.from_file`.

    ValueError if the data's classes are named, and are others than those that the model's file names.
    """
    if output is not None:
        check_no_results(output)
    loaded = load_any(
        weights,
        runtime,
        threads=threads,
        device=device,
        input_size=input_size,
        multi_scale=multi_scale,
        optimize=optimize,
        options={} if nms is None else {"nms": nms},
    )
    known, wanted = loaded.class_names, data.classes
    if known is not None and isinstance(wanted, list) and wanted != known:
        raise ValueError(f"data.classes: expected nothing, or {known} as in {weights}, got {wanted}")
    dataset = open_split(data, split, known)
    model = loaded.model
    if isinstance(model, RuntimeModel):
        print(model.about)
    elif loaded.optimize != "off":
        model = optimize_for_inference(model.eval(), dtype=loaded.optimize, input_size=input_size)
        print(model.report, f"({loaded.reason})" if loaded.reason else "")
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
        extra={
            "weights": os.fspath(weights),
            "split": split,
            "optimize": optimize,
            "runtime": model.session.runtime if isinstance(model, RuntimeModel) else "torch",
        },
    )
