"""Detections in files, on disk: `refinedet predict`."""

from __future__ import annotations

import sys
import uuid
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..folders import check_folder, make_folder
from ..inference.drawing import DrawnFiles
from ..inference.output_names import LABELS, VIDEO_SUFFIX, check_outputs, output_names, source_key
from ..inference.parts import PartFile, read_failures, read_predictions
from ..inference.selection import ScoreThreshold
from ..inference.sources import Source
from ..inference.video import is_video_name, stated_frames
from ..inference.writers import CocoFile, CsvFile, DetectionsFile, Writer, YoloFiles, coco_image_id
from ..predictor import Predictor
from .process_group import ProcessGroup, SharedBar

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

    def check_all_read(self, sources: int) -> None:
        """OSError if some of so many sources could not be read."""
        if self.failed:
            raise OSError(f"{self.failed} of {sources} files could not be read, as said above; the others are done")


def predict(
    predictor: Predictor,
    sources: Sequence[Source],
    plan: OutputPlan,
    *,
    score_threshold: ScoreThreshold,
    classes: str | Sequence[str] | None = None,
    processes: ProcessGroup | None = None,
) -> Summary:
    """Detect in sources, and write what the plan says, in memory that does not grow with their number.

    Sources that cannot be read are named on stderr when it happens, and the others done. After an error and an
    interruption, too, the files are valid and hold what there was until then; `detections.json` says so.

    processes: several share the sources, a batch at a time, and leave the files that one would leave, in a folder that
        all of them reach. Each returns the summary of all.

    OSError if the output folder, or a file in it, cannot be written; else errors of `Predictor.stream`.
    """
    processes = processes or ProcessGroup()
    images = detections = failed = 0

    def tell(source: Any, error: Exception) -> None:
        nonlocal failed
        failed += 1
        report.add_failure(str(source), error)
        _say(f"left out: {error}")

    shared = (source for run in processes.claim(sources, predictor.batch_size) for source in run)
    predictions = predictor.stream(shared, score_threshold=score_threshold, classes=classes, on_error=tell)
    make_folder(plan.folder)
    parts = _parts(plan.folder, processes)
    total = _total(sources) if processes.is_first else None
    try:
        with SharedBar(processes, total) as bar:
            with ExitStack() as stack, warnings.catch_warnings():
                # such as of a video that was cut off
                warnings.showwarning = lambda message, *_, **__: _say(str(message))
                report: DetectionsFile | PartFile
                if parts:
                    report = PartFile(parts[processes.rank], [source_key(source) for source in sources])
                else:
                    report = _detections_file(plan, predictor.class_names)
                writers = [_closed_by(stack, report)]
                if plan.images:
                    writers.append(_closed_by(stack, DrawnFiles(plan.folder, plan.names)))
                if plan.txt:
                    writers.append(_closed_by(stack, YoloFiles(plan.folder, plan.names)))
                if not parts:
                    writers += _tables(stack, plan)
                stack.enter_context(closing(predictions))
                for prediction in predictions:
                    for writer in writers:
                        writer.add(prediction)
                    images, detections = images + 1, detections + len(prediction)
                    bar.update()
            bar.finish()
    except BaseException:
        if parts and processes.is_first:
            _put_together(parts, plan, predictor.class_names, complete=False)
        raise
    if not parts:
        return Summary(images, detections, failed)
    return processes.from_first(lambda: _put_together(parts, plan, predictor.class_names))


def _parts(folder: Path, processes: ProcessGroup) -> list[Path]:
    """Where every process writes what it found; nothing where there is one alone."""
    if processes.count == 1:
        return []
    run = processes.from_first(lambda: uuid.uuid4().hex[:8])  # so that parts of a run that was killed are no others'
    return [folder / f".{DETECTIONS}.{run}.{rank}.part" for rank in range(processes.count)]


def _put_together(
    parts: Sequence[Path], plan: OutputPlan, class_names: Sequence[str], complete: bool = True
) -> Summary:
    """The files that one process would have written, from the parts of all, which are removed."""
    images = detections = 0
    failures = read_failures(parts)
    try:
        with ExitStack() as stack:
            report = _detections_file(plan, class_names)
            writers = [_closed_by(stack, report, complete), *_tables(stack, plan)]
            for path, error in failures:
                report.add_failure(path, error)
            for prediction in read_predictions(parts):
                for writer in writers:
                    writer.add(prediction)
                images, detections = images + 1, detections + len(prediction)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return Summary(images, detections, len(failures))


def _detections_file(plan: OutputPlan, class_names: Sequence[str]) -> DetectionsFile:
    return DetectionsFile(plan.folder / DETECTIONS, class_names, plan.names if plan.images else None)


def _tables(stack: ExitStack, plan: OutputPlan) -> list[Writer]:
    """The files beside detections.json that list everything."""
    writers: list[Writer] = []
    if plan.coco:
        writers.append(_closed_by(stack, CocoFile(plan.folder / COCO_RESULTS, plan.names)))
    if plan.csv:
        writers.append(_closed_by(stack, CsvFile(plan.folder / CSV)))
    return writers


def _say(text: str) -> None:
    tqdm.write(f"refinedet: {text}", file=sys.stderr)  # above the bar


def _closed_by(stack: ExitStack, writer: Writer, complete: bool = True) -> Writer:
    def close(error: type[BaseException] | None, *_: object) -> None:
        writer.close(complete=complete and error is None)

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
