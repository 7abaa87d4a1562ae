"""Detections in files, on disk: `refinedet predict`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..folders import check_folder, make_folder
from ..inference.drawing import DrawnFiles
from ..inference.output_names import LABELS, VIDEO_SUFFIX, check_outputs, output_names
from ..inference.selection import ScoreThreshold
from ..inference.sources import Source
from ..inference.video import is_video_name, stated_frames
from ..inference.writers import CocoFile, CsvFile, DetectionsFile, Writer, YoloFiles, coco_image_id
from ..predictor import Predictor

DETECTIONS, COCO_RESULTS, CSV = "detections.json", "coco_results.json", "detections.csv"


@dataclass(frozen=True)
class OutputPlan:
    """What will be written where: `names` of the drawn files in `folder` by source, and which files at all."""

    folder: Path
    names: Mapping[str, str]
    images: bool
    txt: bool
    coco: bool
    csv: bool


def plan_outputs(
    sources: Sequence[Source],
    folder: str | Path,
    *,
    images: bool = True,
    txt: bool = False,
    coco: bool = False,
    csv: bool = False,
    overwrite: bool = False,
) -> OutputPlan:
    """The plan for some sources; ValueError if it would replace one of them, or any file unless overwrite;
    OSError if there can be no such folder."""
    plan = OutputPlan(check_folder(folder), output_names(sources), images, txt, coco, csv)
    if coco:
        _check_coco_ids(plan.names)
    files = [DETECTIONS, *([COCO_RESULTS] if coco else ()), *([CSV] if csv else ())]
    if images:
        files += plan.names.values()
    if txt:
        stems = [Path(name) for name in plan.names.values()]
        files += [f"{LABELS}/{path.stem}{'/' if path.suffix == VIDEO_SUFFIX else '.txt'}" for path in stems]
    check_outputs(plan.folder, files, sources, overwrite=overwrite)
    return plan


@dataclass(frozen=True)
class Summary:
    """images: that were looked at, frames of videos among them. failed: sources that could not be read."""

    images: int
    detections: int
    failed: int


def predict(
    predictor: Predictor,
    sources: Sequence[Source],
    plan: OutputPlan,
    *,
    score_threshold: ScoreThreshold,
    classes: str | Sequence[str] | None = None,
) -> Summary:
    """Detect in sources, and write what the plan says, in memory that does not grow with their number.

    Sources that cannot be read are named on stderr when it happens, and the others done. After an error and an
    interruption, too, the files are valid and hold what there was until then; `detections.json` says so.

    OSError if the output folder, or a file in it, cannot be written; else errors of `Predictor.stream`.
    """
    images = detections = failed = 0

    def tell(source: Any, error: Exception) -> None:
        nonlocal failed
        failed += 1
        report.add_failure(str(source), error)
        _say(f"left out: {error}")

    predictions = predictor.stream(sources, score_threshold=score_threshold, classes=classes, on_error=tell)
    make_folder(plan.folder)
    report = DetectionsFile(plan.folder / DETECTIONS, predictor.class_names, plan.names if plan.images else None)
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say(str(message))  # such as of a video that was cut off
        writers = [_closed_by(stack, report)]
        if plan.images:
            writers.append(_closed_by(stack, DrawnFiles(plan.folder, plan.names)))
        if plan.txt:
            writers.append(_closed_by(stack, YoloFiles(plan.folder, plan.names)))
        if plan.coco:
            writers.append(_closed_by(stack, CocoFile(plan.folder / COCO_RESULTS, plan.names)))
        if plan.csv:
            writers.append(_closed_by(stack, CsvFile(plan.folder / CSV)))
        stack.enter_context(closing(predictions))
        # disable=None: shown on a terminal alone
        bar = tqdm(total=_total(sources), unit=" images", file=sys.stderr, disable=None, dynamic_ncols=True)
        stack.enter_context(bar)
        for prediction in predictions:
            for writer in writers:
                writer.add(prediction)
            images, detections = images + 1, detections + len(prediction)
            bar.update()
    return Summary(images, detections, failed)


def _say(text: str) -> None:
    tqdm.write(f"refinedet: {text}", file=sys.stderr)  # above the bar


def _closed_by(stack: ExitStack, writer: Writer) -> Writer:
    def close(error: type[BaseException] | None, *_: object) -> None:
        writer.close(complete=error is None)

    stack.push(close)
    return writer


def _total(sources: Sequence[Source]) -> int | None:
    """How many images and frames there are, as far as that can be known."""
    counts = [_count(source) for source in sources]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _count(source: Source) -> int | None:
    if isinstance(source, int):
        return None
    return stated_frames(source) if is_video_name(source) else 1


def _check_coco_ids(names: Mapping[str, str]) -> None:
    seen: dict[Any, str] = {}
    for source, name in names.items():
        image_id = coco_image_id(Path(name).stem)
        if image_id in seen:
            raise ValueError(f"save_coco: {seen[image_id]} and {source} have the same image id, {image_id!r}")
        seen[image_id] = source
