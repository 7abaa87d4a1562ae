"""What a detector does wrong on a data set: `refinedet analyse`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..analysis import (
    accuracy,
    anchors,
    coco_curves,
    confusion,
    error_costs,
    false_positives,
    mistakes,
    scores,
    sensitivity,
)
from ..analysis.groups import find_groups
from ..analysis.matching import Scene
from ..analysis.summary import summarize
from ..data import build_loader, to_coco_dict
from ..data.dataset import DetectionDataset
from ..detectors import Detector
from ..evaluation import GroundTruth, ImageDetections, from_coco_results, read_results, versions
from ..folders import check_folder, make_folder
from ..weights import load_model
from .config import DataConfig
from .data import eval_pipeline
from .evaluate import check_no_results, evaluate
from .splits import open_split

logger = logging.getLogger(__name__)

PICTURES = (
    "false_positives.png",
    "sensitivity.png",
    "error_costs.png",
    "coco_curves.png",
    "confusion.png",
    "scores.png",
    "accuracy.png",
)
RESULTS = ("summary.txt", "analysis.json", *PICTURES, "mistakes.jpg", "anchors.png")
USUAL_THRESHOLD = 0.5
"""Of the confusion matrix where no threshold gives a correct detection."""


def analyse(
    truth: GroundTruth,
    detections: Sequence[ImageDetections],
    output: str | os.PathLike[str],
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    supercategories: Mapping[str, str] | None = None,
    study: anchors.AnchorStudy | None = None,
    dataset: DetectionDataset | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Looks at the detections of a data set from all sides, and returns what there is to say; writes that and more to a
    folder.

    detections: records of images of the ground truth, each at most once; images without one have none. groups,
    supercategories: of the classes, as for `find_groups`. study: what `study_anchors` found. dataset: the images of the
    ground truth, in its order, for a picture of those with most mistakes. extra: further entries of `analysis.json`.
    output: a folder that gets `summary.txt`, `analysis.json`, a picture for each analysis and, with `dataset` and
    `study`, `mistakes.jpg` (unless there are none) and `anchors.png`, none of which may be there already.

    Raises ValueError for files that are there already, for groups and for detections that do not fit, before anything
    is written.
    """
    check_free_of_results(output)
    sides = find_groups(truth.class_names, groups, supercategories)
    scene = Scene.of(truth, detections)
    names = truth.class_names

    trends = false_positives.false_positive_trends(scene, sides)
    sensitive = sensitivity.sensitivity(scene)
    costs = error_costs.error_costs(scene)
    curves, pooled = scores.score_curves(scene), scores.pooled_curve(scene)
    threshold = USUAL_THRESHOLD if pooled.best is None else pooled.best.threshold
    confused = confusion.confusion_matrix(scene, threshold)
    wrong = mistakes.find_mistakes(scene, threshold)
    table = accuracy.accuracy(truth, detections)
    steps = coco_curves.coco_curves(truth, detections, sides)

    content: dict[str, Any] = {
        **(extra or {}),
        "images": len(truth.image_ids),
        "objects": int((~scene.ignored).sum()),
        "ignored_objects": int(scene.ignored.sum()),
        "detections": len(scene),
        "groups": {"source": sides.source, "members": {g: [names[i - 1] for i in m] for g, m in sides.members.items()}},
        "accuracy": accuracy.as_json(table),
        "error_costs": error_costs.as_json(costs, names),
        "scores": scores.as_json(curves, pooled),
        "confusion": confusion.as_json(confused),
        "mistakes": mistakes.as_json(wrong, scene, threshold, dataset),
        "false_positives": false_positives.as_json(trends),
        "sensitivity": sensitivity.as_json(sensitive, sides, names),
        "coco_curves": coco_curves.as_json(steps, sides),
    }
    if study is not None:
        content["anchors"] = anchors.as_json(study)
    content["versions"] = versions()
    summary = summarize(content)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)

    folder = make_folder(output)
    false_positives.plot_false_positives(trends, folder / "false_positives.png")
    sensitivity.plot_sensitivity(sensitive, sides, names, folder / "sensitivity.png")
    error_costs.plot_error_costs(costs, folder / "error_costs.png")
    coco_curves.plot_coco_curves(steps, sides, folder / "coco_curves.png")
    confusion.plot_confusion(confused, folder / "confusion.png")
    scores.plot_scores(curves, pooled, folder / "scores.png")
    accuracy.plot_accuracy(table, folder / "accuracy.png")
    if dataset is not None:
        mistakes.write_mistakes(wrong, scene, dataset, folder / "mistakes.jpg")
    if study is not None:
        anchors.plot_anchors(study, folder / "anchors.png")
    (folder / "summary.txt").write_text(summary + "\n", encoding="utf-8")
    (folder / "analysis.json").write_text(text + "\n", encoding="utf-8")
    return summary


def check_free_of_results(folder: str | os.PathLike[str]) -> None:
    """ValueError if an analysis would write over a file there, OSError if the folder cannot be written."""
    for name in RESULTS:
        file = check_folder(folder) / name
        if file.exists():
            raise ValueError(f"output: {file} exists; give another folder")


def analyse_files(
    data: DataConfig,
    *,
    detections: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    split: str = "test",
    groups: Mapping[str, Sequence[str]] | None = None,
    output: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    input_size: int | None = None,
) -> str:
    """`analyse` for a part of a data set, and a file of detections, a model file or both.

    detections: COCO results, as `refinedet eval` writes them; None: those of the model, which is measured first, as by
    `evaluate` into the same folder. weights: a model file; adds the analysis of its anchors. input_size: side in pixels
    that the model's images are resized to; None is its own.

    ValueError without either file, if the data's classes are others than the model's, or if the detections are of other
    images or classes.
    """
    if detections is None and weights is None:
        raise ValueError("detections, weights: expected a file of detections, a model file or both, got neither")
    if weights is None and input_size is not None:
        raise ValueError(f"input_size: expected None without the weights of a model, got {input_size}")
    check_free_of_results(output)
    if detections is None:
        check_no_results(output)
    elif not Path(detections).is_file():
        raise FileNotFoundError(f"detections: no file {detections}")
    model: Detector | None = None
    known: list[str] | None = None
    if weights is not None:
        checkpoint = load_model(weights, device=device)
        model, known = checkpoint.model, checkpoint.class_names
        if known is not None and isinstance(data.classes, list) and data.classes != known:
            raise ValueError(f"data.classes: expected nothing, or {known} as in {weights}, got {data.classes}")
    dataset = open_split(data, split, known)
    truth = GroundTruth.load(to_coco_dict(dataset), dataset.class_names)
    find_groups(truth.class_names, groups)  # what is wrong with them is cheap to find out
    if detections is None:
        assert model is not None and weights is not None
        source = Path(output) / "detections.json"
        evaluate(
            model,
            dataset,
            output=output,
            batch_size=data.eval_batch_size,
            workers=data.workers,
            device=device,
            input_size=input_size,
            extra={"weights": os.path.abspath(weights), "split": split},
        )
    else:
        source = Path(detections)
        if model is not None and len(dataset.class_names) != model.num_classes - 1:
            raise ValueError(
                f"weights: expected a model of the data's {len(dataset.class_names)} classes, got one of "
                f"{model.num_classes - 1}"
            )
    entries = read_results(source, image_ids=truth.image_ids, category_ids=truth.category_ids)
    records = from_coco_results(entries, truth.category_ids, truth.image_ids)
    study = None if model is None else _study(model, dataset, data, device, input_size)
    return analyse(
        truth,
        records,
        output,
        groups=groups,
        supercategories=dataset.supercategories,
        study=study,
        dataset=dataset,
        extra={
            "source": os.fspath(source),
            "weights": None if weights is None else os.path.abspath(weights),
            "split": split,
        },
    )


def _study(
    model: Detector,
    dataset: DetectionDataset,
    data: DataConfig,
    device: torch.device | str,
    input_size: int | None,
) -> anchors.AnchorStudy:
    loader = build_loader(
        dataset,
        eval_pipeline(model.input_side(input_size), model.normalization),
        batch_size=data.eval_batch_size,
        workers=data.workers,
        persistent_workers=False,
        on_unreadable="blank" if dataset.on_error == "skip" else "raise",
    )
    return anchors.study_anchors(model, loader, device)
