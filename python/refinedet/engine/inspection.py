"""A look at a data set before anybody trains on it: `refinedet data`."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..config_files import OWN_DATA, load_config
from ..coverage import GOOD_IOU, Choice, anchors_of, better_choices, cover
from ..data.annotations import AnnotationTable
from ..data.dataset import DetectionDataset
from ..data.duplicates import Duplicates, Fingerprint, copies_between, find_duplicates, fingerprint
from ..data.image_io import write_image
from ..data.pipeline_dataset import UNREADABLE
from ..data.plots import plot_boxes, plot_classes
from ..data.report import counted
from ..data.statistics import measure
from ..data.summary import describe
from ..folders import check_folder, make_folder
from ..text_table import align
from ..visualize import draw_detections, draw_grid
from .config import DataConfig
from .splits import open_parts

logger = logging.getLogger(__name__)

RESULTS = ("summary.txt", "data.json", "classes.png", "boxes.png", "sheet.png", "duplicates.png")
SHEET = 16
PAIRS = 8
_THREADS = 4
_NAMED = 20  # problems of one kind in the text; data.json has all


def inspect_data(
    config: DataConfig,
    *,
    model: str | None = None,
    input_size: int | None = None,
    output: str | Path = "runs/data",
) -> str:
    """Looks at a whole data set, every image included, and returns what there is to say; writes that and more to a
    folder.

    model, input_size: whose anchors are compared with the boxes; None is the model of the recipe for one's own data,
    and the model's own size.
    output: a folder that gets `summary.txt`, `data.json` (the same as numbers, with every problem and every pair of
    duplicates), `classes.png`, `boxes.png`, `sheet.png` (ground truth drawn on 16 images in which every class appears
    as far as that goes) and, where there are duplicates, `duplicates.png`.

    Raises ValueError or FileNotFoundError for a data set that cannot be opened and for files that are there already,
    before anything is written.
    """
    folder = check_folder(output)
    for name in RESULTS:
        if (folder / name).exists():
            raise ValueError(f"output: {folder / name} exists; give another folder")
    if model is None:
        recipe = load_config(OWN_DATA)["model"]
        model, input_size = recipe["name"], input_size or recipe["options"]["input_size"]
    anchors, side = anchors_of(model, input_size)
    parts = open_parts(config)
    names = next(iter(parts.values())).class_names
    text = [describe(parts, side, most_classes=None, problems=_NAMED)]
    found = {part: measure(dataset.table, len(names), side) for part, dataset in parts.items()}

    prints, unreadable = _read_all(parts)
    text += _unreadable_lines(unreadable)
    where = list(prints)  # (part, index) of every image that could be read
    duplicates = find_duplicates(list(prints.values()))
    text += _duplicate_lines(duplicates, [part for part, _ in where], list(parts))

    table = parts["train"].table if "train" in parts else next(iter(parts.values())).table
    choice = Choice(model, side, cover(table, anchors, side))
    better = better_choices(table, choice)
    text += _anchor_lines(choice, better)

    make_folder(folder)
    plot_classes(found, names, folder / "classes.png")
    plot_boxes(found, side, folder / "boxes.png")
    write_image(folder / "sheet.png", draw_sheet(parts))
    if duplicates.exact or duplicates.near:
        write_image(folder / "duplicates.png", _draw_pairs(parts, duplicates, where))
    summary = "\n".join(text)
    (folder / "summary.txt").write_text(summary + "\n", encoding="utf-8")
    content = {
        "classes": names,
        "parts": {part: _numbers(dataset, names) for part, dataset in parts.items()},
        "unreadable": unreadable,
        "duplicates": _listed_pairs(parts, duplicates, where),
        "anchors": [_choice_numbers(one) for one in (choice, *better)],
    }
    (folder / "data.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary


Place = tuple[str, int]


def _read_all(parts: Mapping[str, DetectionDataset]) -> tuple[dict[Place, Fingerprint], list[str]]:
    """Fingerprints of all images, and why some could not be read."""
    places = [(part, index) for part, dataset in parts.items() for index in range(len(dataset))]

    def read(place: Place) -> Fingerprint | str:
        dataset = parts[place[0]]
        try:
            return fingerprint(dataset.record(place[1]).path, dataset[place[1]].image)
        except UNREADABLE as error:
            return str(error)

    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(tqdm(pool.map(read, places), total=len(places), desc="reading images", disable=None))
    prints = {place: one for place, one in zip(places, results, strict=True) if isinstance(one, Fingerprint)}
    return prints, [one for one in results if isinstance(one, str)]


def _unreadable_lines(unreadable: list[str]) -> list[str]:
    if not unreadable:
        return []
    more = [f"  - and {len(unreadable) - _NAMED} more"] if len(unreadable) > _NAMED else []
    return [
        "",
        f"{counted(len(unreadable), 'image')} cannot be decoded:",
        *(f"  - {one}" for one in unreadable[:_NAMED]),
        *more,
    ]


def _duplicate_lines(duplicates: Duplicates, owners: list[str], parts: list[str]) -> list[str]:
    lines = []
    for pairs, what in ((duplicates.exact, "the same file"), (duplicates.near, "nearly the same picture")):
        between = copies_between(pairs, owners)
        for number, part in enumerate(parts):
            for other in parts[: number + 1]:
                count = between.get((part, other), 0)
                if count and part == other:
                    lines.append(f"  {counted(count, 'image')} of {part}: {what} as another of {part}")
                elif count:
                    lines.append(f"  {counted(count, 'image')} of {part}: {what} as one of {other}")
    if not lines:
        return ["", "no duplicates"]
    leaks = any(" as one of " in line for line in lines)
    advice = ["  what is in two parts is measured on what was trained on: remove it from one"] if leaks else []
    return ["", "duplicates:", *lines, *advice]


def _anchor_lines(choice: Choice, better: list[Choice]) -> list[str]:
    rows = [["", "boxes", "mean best IoU", f"IoU >= {GOOD_IOU:g}"]]
    for size, one in choice.coverage.items():
        cells = ["-", "-"] if not one.boxes else [f"{one.mean_iou:.2f}", f"{one.good:.0%}"]
        rows.append([f"  {size}", f"{one.boxes:,}", *cells])
    lines = ["", f"anchors of {choice.model} at {choice.input_size} px against the boxes:", *align(rows)]
    if not better:
        verdict = "the anchors cover the boxes" if choice.worst >= 0.9 else "no other model covers them better"
        return [*lines, verdict]
    lines.append("better covered, for the worst size of boxes, by (which of them is more accurate, a training shows):")
    for other in better:
        options = f" --model.options '{{\"input_size\": {other.input_size}}}'" if other.model == choice.model else ""
        lines.append(f"  --model.name {other.model}{options}: {other.worst:.0%} instead of {choice.worst:.0%}")
    return lines


def draw_sheet(parts: Mapping[str, DetectionDataset], count: int = SHEET) -> np.ndarray:
    """Ground truth on some images of the first part, (H, W, 3) uint8, BGR. Images that cannot be read are passed
    over."""
    dataset = next(iter(parts.values()))
    tiles: list[np.ndarray] = []
    titles: list[str] = []
    for index in sheet_order(dataset.table):
        if len(tiles) == count:
            break
        try:
            sample = dataset[index]
        except UNREADABLE:
            continue
        tiles.append(draw_detections(sample.image, sample.boxes, sample.labels, None, dataset.class_names))
        titles.append(Path(sample.path).name)
    return draw_grid(tiles, titles=titles, cell=360)


def sheet_order(table: AnnotationTable) -> list[int]:
    """The images in an order in which every class comes early: each time that with the rarest class not shown yet,
    then evenly through the rest."""
    counts = np.bincount(table.labels, minlength=1)
    owners = np.repeat(np.arange(len(table)), np.diff(table.offsets))
    chosen: dict[int, None] = {}
    shown: set[int] = set()
    for label in sorted((label for label in range(len(counts)) if counts[label]), key=lambda one: counts[one]):
        if label in shown:
            continue
        index = int(owners[np.flatnonzero(table.labels == label)[0]])
        chosen[index] = None
        shown.update(table.labels[table.offsets[index] : table.offsets[index + 1]].tolist())
    step = max(1, len(table) // SHEET)
    spread = [index for start in range(step) for index in range(start, len(table), step)]
    return list(dict.fromkeys([*chosen, *spread]))


def _draw_pairs(parts: Mapping[str, DetectionDataset], duplicates: Duplicates, where: list[Place]) -> np.ndarray:
    pairs = [*duplicates.exact, *duplicates.near]
    # Those between two parts first: they are the ones that matter.
    pairs.sort(key=lambda pair: where[pair[0]][0] == where[pair[1]][0])
    first, second, titles = [], [], []
    for pair in pairs[:PAIRS]:
        (part, index), (other, other_index) = (where[position] for position in pair)
        first.append(parts[part][index].image)
        second.append(parts[other][other_index].image)
        names = [Path(parts[p].record(i).path).name for p, i in ((part, index), (other, other_index))]
        titles.append(f"{part} {names[0]}, {other} {names[1]}")
    return draw_grid(second, beside=first, titles=titles, columns=2, headings=("one", "the other"))


def _listed_pairs(
    parts: Mapping[str, DetectionDataset], duplicates: Duplicates, where: list[Place]
) -> dict[str, list[list[str]]]:
    paths = [f"{parts[part].record(index).path}" for part, index in where]
    return {
        kind: [[f"{where[a][0]}: {paths[a]}", f"{where[b][0]}: {paths[b]}"] for a, b in getattr(duplicates, kind)]
        for kind in ("exact", "near")
    }


def _numbers(dataset: DetectionDataset, names: list[str]) -> dict[str, Any]:
    counts = np.bincount(dataset.table.labels, minlength=len(names) + 1)[1:].tolist()
    return {**dataset.origin.to_dict(), "images": len(dataset), "objects": sum(counts), "per_class": counts}


def _choice_numbers(choice: Choice) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    coverage = {k: {n: plain(v) for n, v in dataclasses.asdict(c).items()} for k, c in choice.coverage.items()}
    return {"model": choice.model, "input_size": choice.input_size, "coverage": coverage}
