"""Detections of a data set and their metrics: `refinedet eval`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..data import EvalPipeline, build_loader, to_coco_dict
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
from ..evaluation.voc_results import Competition, check_voc_ids, voc_result_files, write_voc_results
from ..folders import check_folder, make_folder
from ..inference import MultiScale, multi_scale_detections
from ..optimize import optimize_for_inference
from ..runtimes import RuntimeModel
from ..runtimes.load import load_any
from .config import DataConfig
from .process_group import ProcessGroup, SharedBar
from .splits import find_source, open_split

logger = logging.getLogger(__name__)

DETECTIONS = "detections.json"
RESULTS = ("metrics.json", "table.txt", DETECTIONS, "precision_recall.png")


def check_no_results(folder: str | os.PathLike[str], more: Iterable[Path] = ()) -> None:
    """ValueError if an evaluation would write over a file there, `more` among them; OSError if the folder cannot be
    written."""
    for file in (*(check_folder(folder) / name for name in RESULTS), *more):
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
    competition: Competition | None = None,
    list_name: str = "test",
    extra: Mapping[str, Any] | None = None,
    processes: ProcessGroup | None = None,
) -> dict[str, Any]:
    """Metrics of a model on a data set, as `Evaluator.compute(kind)` gives them; of one without annotations, the number
    of "images", of "detections" in them, and of "unreadable" images.

    model: a detector, or one in another runtime, which has neither device nor multi_scale.

    output: a folder that gets `metrics.json` (with the entries of `extra`), `detections.json` (COCO results),
    `table.txt` and `precision_recall.png`, none of which may be there already; of a data set without annotations, only
    the detections. None writes nothing. input_size: side the images are resized to, None is the model's. multi_scale: a
    recipe of `refinedet.inference` or its name; the images then pass one by one, on all its scales. competition:
    "comp3" or "comp4", for VOC's result files in `output`, too, with list_name in their names, see
    `voc_result_files`. processes: several share the images, a batch at a time; the first computes the metrics and
    writes, and all return them.

    Where the data set was made with on_error "skip", an image whose file cannot be read counts as one without
    detections; it is named in a warning, and `metrics.json` has the number of such images under "unreadable". With
    "raise" it ends the evaluation.

    Raises ImageReadError or OSError for that and where nothing can be read any longer; ValueError if the model has
    another number of classes than the data set, if both input_size and multi_scale are given, or if VOC's files are
    wanted that cannot be written.
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
    processes = processes or ProcessGroup()
    voc_files: dict[str, Path] = {}
    if competition is not None:
        if output is None:
            raise ValueError("output: expected a folder for the files of the competition, got none")
        voc_files = voc_result_files(output, dataset.class_names, competition=competition, kind=kind, split=list_name)
        check_voc_ids(dataset.image_ids)
    if output is not None:
        processes.from_first(lambda: check_no_results(output, voc_files.values()))
    side = model.input_side(input_size)
    if isinstance(model, Detector):
        model = model.to(device).eval()
    evaluator = Evaluator(to_coco_dict(dataset), dataset.class_names)
    share = processes.share(range(len(dataset)), batch_size)
    with SharedBar(processes, len(dataset)) as bar:
        unreadable = 0
        if share:  # there may be more processes than batches
            part = dataset if processes.count == 1 else dataset.subset(share, f"process {processes.rank}")
            if multi_scale is not None and isinstance(model, Detector):
                unreadable = _detect_at_scales(model, part, evaluator, bar, multi_scale)
            else:
                unreadable = _detect(model, part, evaluator, bar, side=side, batch_size=batch_size, workers=workers)
        bar.finish()
    states = processes.gather((evaluator.state(), unreadable))

    def finish() -> dict[str, Any]:
        for state, _ in states[1:]:
            evaluator.merge(state)
        lost = sum(count for _, count in states)
        if lost == len(dataset):
            raise ImageReadError(f"none of {lost} images can be read, is the data set still there?")
        folder = None if output is None else make_folder(output)
        if folder is not None:
            write_results(folder / DETECTIONS, evaluator.results())
        if voc_files:
            sizes = {record.image_id: record.original_size for record in map(dataset.record, range(len(dataset)))}
            write_voc_results(voc_files, evaluator.state(), sizes)
        if not dataset.annotated:
            detections = sum(len(record.labels) for record in evaluator.state())
            return {"images": len(dataset), "detections": detections, "unreadable": lost}
        metrics = evaluator.compute(kind)
        if folder is not None:
            write_metrics(folder / "metrics.json", metrics, images=len(dataset), unreadable=lost, **(extra or {}))
            (folder / "table.txt").write_text(format_table(metrics) + "\n", encoding="utf-8")
            plot_precision_recall(evaluator.precision_recall(), folder / "precision_recall.png")
        return metrics

    return processes.from_first(finish)


def _detect(
    model: Detector | RuntimeModel,
    dataset: DetectionDataset,
    evaluator: Evaluator,
    bar: SharedBar,
    *,
    side: int,
    batch_size: int,
    workers: int,
) -> int:
    """Gives the evaluator what a model finds; how many images could not be read."""
    device = next(model.parameters()).device if isinstance(model, Detector) else None
    loader = build_loader(
        dataset,
        EvalPipeline(side),  # batches hold 8-bit pixels, which models normalize
        batch_size=batch_size,
        workers=workers,
        rank=0,  # all of this data set, which is this process's share
        world_size=1,
        persistent_workers=False,
        on_unreadable="blank" if dataset.on_error == "skip" else "raise",
    )
    with torch.inference_mode():
        for batch in loader:
            images = batch.images
            found = model(images.to(device)) if isinstance(model, Detector) else model.detect(images.numpy())
            evaluator.update(found, batch)
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
    nms: str | Mapping[str, Any] | None = None,
    multi_scale: str | None = None,
    optimize: str = "off",
    competition: Competition | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    processes: ProcessGroup | None = None,
) -> dict[str, Any]:
    """`evaluate` for a model file on a part of a data set, with what `refinedet eval` offers besides. A data set
    without annotations is predicted on, and so is one of VOC's layout with `competition` where any image has none.

    nms: another suppression, a preset's name or what differs from one, see `resolve_nms`. optimize: run a copy of the
    network that is rewritten for the CPU ("auto", "float32" or "bfloat16"); what was done to it is printed. runtime,
    threads: as for `Predictor.from_file`.

    ValueError if the data's classes are named, and are others than those that the model's file names.
    """
    processes = processes or ProcessGroup()
    if competition is not None:  # as far as it can be known before the model is read
        voc_result_files(output or ".", (), competition=competition, kind=kind, split=split)
    if output is not None:
        processes.from_first(lambda: check_no_results(output))
    device = processes.device(device)
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
    source = find_source(data, split)
    dataset = open_split(data, split, known, unannotated="auto" if competition is None else "keep")
    if split == "test" and source.given_for != "test":
        print(f"the data has no test part: this is {dataset.report.source}")
    model = loaded.model
    if isinstance(model, RuntimeModel):
        if processes.is_first:
            print(model.about)
    elif loaded.optimize != "off":
        model = optimize_for_inference(model.eval(), dtype=loaded.optimize, input_size=input_size)
        if processes.is_first:
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
        competition=competition,
        list_name=str(source.arguments.get("split", split)),
        extra={
            "weights": os.path.abspath(weights),
            "split": split,
            "optimize": optimize,
            "runtime": model.session.runtime if isinstance(model, RuntimeModel) else "torch",
        },
        processes=processes,
    )
