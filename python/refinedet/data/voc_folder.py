"""VOC's XML files in plain folders, without the lists of ImageSets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .file_dataset import FileDetection
from .image_files import by_stem, expand_home, walk
from .parts import of_part
from .report import AnnotationReport, ProblemKind
from .voc_files import VOCFile, parse_file


class VOCFolderDetection(FileDetection):
    """Images and VOC XML files anywhere below a folder, beside each other or in folders of their own.

    An XML file belongs to the image of its name: that in its own folder, else the one whose path has most folders in
    common with its own. The image_id of a sample is the image's path in `root` without suffix.
    """

    def __init__(
        self,
        root: str | Path,
        part: str | None = None,
        *,
        classes: Sequence[str] | Literal["auto"] = "auto",
        **options: Any,
    ) -> None:
        """part: only files below a folder of this name ("train"; "val" also stands for valid and validation); None
        takes them all. options: use_difficult, coordinates, on_error, check_images, trust_picture_size, orientation,
        cache_images and quiet, as for VOCDetection.

        Raises FileNotFoundError where no XML file is found; AnnotationError; ValueError.
        """
        root = expand_home(root)
        report = AnnotationReport(f"VOC folder {root}" + (f" {part}" if part else ""))
        super().__init__(read_folder(root, part, report), report, classes=classes, **options)


def read_folder(root: Path, part: str | None, report: AnnotationReport) -> list[VOCFile]:
    if not root.is_dir():
        raise FileNotFoundError(f"root: no such folder: {root}")
    paths = [path for path in walk(root) if part is None or of_part(path.relative_to(root), part)]
    annotations = [path for path in paths if path.suffix.lower() == ".xml"]
    if not annotations:
        where = f"a folder {part!r} in {root}" if part else str(root)
        raise FileNotFoundError(f"root: expected XML files in {where}, there are none")
    images = by_stem(paths, root)
    same_name: dict[str, list[str]] = defaultdict(list)
    for name in images:
        same_name[name.rpartition("/")[2]].append(name)
    used: dict[str, Path] = {}
    files = []
    for path in annotations:
        image, problem = _image_of(path.relative_to(root), same_name)
        if image is None:
            report.add(ProblemKind.MISSING_IMAGE, path, None, problem)
        elif image in used:
            detail = f"{images[image].name} is annotated by {used[image]} already"
            report.add(ProblemKind.DUPLICATE_IMAGE, path, None, detail)
        else:
            used[image] = path
            parsed = parse_file(path, image, images[image], report)
            if parsed is not None:
                files.append(parsed)
    for name in sorted(images.keys() - used.keys()):
        report.add(ProblemKind.MISSING_ANNOTATION, images[name], None, "no XML file of that name")
    return files


def _image_of(annotation: Path, same_name: dict[str, list[str]]) -> tuple[str | None, str]:
    """The image's name, or None and the reason."""
    own = annotation.with_suffix("").as_posix()
    found = same_name.get(annotation.stem, [])
    if not found:
        return None, "no image of that name"
    if own in found:
        return own, ""
    folders = own.split("/")[:-1]
    scores = [sum(a in folders for a in name.split("/")[:-1]) for name in found]
    best = [name for name, score in zip(found, scores, strict=True) if score == max(scores)]
    if len(best) > 1:
        return None, f"several images of that name: {', '.join(best)}"
    return best[0], ""
