"""Data sets in one table of comma-separated values: a line for every object."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .file_dataset import FileDetection
from .image_files import expand_home, inside
from .report import AnnotationReport, ProblemKind
from .text import read_text
from .voc_files import VOCFile, VOCObject

_COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "image", "filename", "file_name", "image_path", "file", "img", "image_name"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "class": ("class", "label", "name", "class_name", "category", "labelname"),
}
_CORNERS = ("x1", "y1", "x2", "y2")


class CSVDetection(FileDetection):
    """The images and objects of a table of lines path, x1, y1, x2, y2, class.

    A first line with these names (or common others, such as filename and xmin) may give another order and more
    columns; without it they come in this order. A line with a path alone is an image without objects. Commas,
    semicolons and tabs separate. The image_id of a sample is its path as it stands in the table.
    """

    def __init__(
        self,
        table: str | Path,
        image_dir: str | Path | None = None,
        *,
        classes: Sequence[str] | Literal["auto"] = "auto",
        **options: Any,
    ) -> None:
        """image_dir: what the paths are relative to; None: the folder of the table. options: coordinates, on_error,
        check_images, trust_picture_size, orientation, cache_images and quiet, as for VOCDetection.

        Raises FileNotFoundError; AnnotationError; ValueError.
        """
        table = expand_home(table)
        folder = table.parent if image_dir is None else expand_home(image_dir)
        if not folder.is_dir():
            raise FileNotFoundError(f"image_dir: no such folder: {folder}")
        report = AnnotationReport(f"CSV {table}")
        super().__init__(_read_table(table, folder, report), report, classes=classes, **options)


def _read_table(table: Path, folder: Path, report: AnnotationReport) -> list[VOCFile]:
    if not table.is_file():
        raise FileNotFoundError(f"annotation_file: no such file: {table}")
    lines = read_text(table).splitlines()
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise ValueError(f"annotation_file: {table} is empty")
    separator = max(",;\t", key=filled[0].count)
    try:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(f"annotation_file: {table} is no table: {error}") from error
    rows = [[cell.strip() for cell in row] for row in rows]
    first = next(index for index, row in enumerate(rows) if any(row))
    columns, start = _columns(rows[first], table)
    files: dict[str, VOCFile] = {}
    refused: set[str] = set()
    for number, row in enumerate(rows[first + start :], first + start):
        if not any(row):
            continue
        cells = {name: row[place] if place < len(row) else "" for name, place in columns.items()}
        path = cells["path"].replace("\\", "/")
        if not path:
            detail = f"line {number + 1}: expected a path, got none"
            report.add(ProblemKind.INVALID_OBJECT, table, number, detail)
            continue
        if path in refused:
            continue
        file = files.get(path)
        if file is None:
            try:
                image = inside(path, folder)
            except ValueError as error:
                refused.add(path)
                report.add(ProblemKind.OUTSIDE_FOLDER, table, None, f"line {number + 1}: {error}")
                continue
            file = VOCFile(path, image, table, _size(cells), needs_size=False)
            files[path] = file
        if not any(cells[name] for name in (*_CORNERS, "class")):
            continue
        try:
            file.objects.append(_parse_row(number, cells))
        except ValueError as error:
            report.add(ProblemKind.INVALID_OBJECT, table, number, f"line {number + 1}: {error}")
    return list(files.values())


def _columns(header: Sequence[str], table: Path) -> tuple[dict[str, int], int]:
    """The place of every column, and how many lines the header takes."""
    lowered = [cell.lower() for cell in header]
    found: dict[str, int] = {}
    for name, words in _COLUMNS.items():
        known = [word for word in words if word in lowered]
        if known:
            found[name] = lowered.index(known[0])
    if len(found) == len(_COLUMNS):
        found.update({name: lowered.index(name) for name in ("width", "height") if name in lowered})
        return found, 1
    if len(found) > 2 or len(header) < 6 or not all(_is_number(cell) for cell in header[1:5]):
        missing = [name for name in _COLUMNS if name not in found]
        raise ValueError(
            f"annotation_file: {table}: expected columns path, x1, y1, x2, y2, class; "
            f"{missing} not found in {','.join(header)!r:.120}"
        )
    return {name: place for place, name in enumerate(_COLUMNS)}, 0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""  # an image without objects
    return True


def _size(cells: dict[str, str]) -> tuple[int, int] | None:
    width, height = cells.get("width", ""), cells.get("height", "")
    known = all(side.isdecimal() and len(side) < 10 and int(side) > 0 for side in (width, height))
    return (int(width), int(height)) if known else None


def _parse_row(number: int, cells: dict[str, str]) -> VOCObject:
    if not cells["class"]:
        raise ValueError("expected a class, got none")
    box = []
    for name in _CORNERS:
        try:
            box.append(float(cells[name]))
        except ValueError:
            raise ValueError(f"{name}: expected a number, got {cells[name]!r}") from None
    return VOCObject(number, cells["class"], tuple(box), False)
