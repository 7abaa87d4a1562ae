"""Says which images are both learned from and measured, or both choose a model and judge it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ..data.dataset import DetectionDataset
from ..data.image_files import expand_home
from ..data.layouts import coco_file_names, is_voc_layout
from ..data.overlap import resolved
from ..data.voc_files import listed_images
from .config import DataConfig, RunConfig, SplitConfig
from .splits import find_source

logger = logging.getLogger(__name__)


def warn_of_overlaps(config: RunConfig, train: DetectionDataset, val: DetectionDataset) -> int:
    """The number of images of val that are trained on, logged where there are some; so are images of data.test, where
    that is given, that are trained on, or choose the model that they measure."""
    chooses = config.evaluation.select == "best"
    learned, watched = resolved(train.table.paths), resolved(val.table.paths)
    shared = len(learned & watched)
    if shared:
        advice = ", and they choose the best model (evaluation.select=last would not)" if chooses else ""
        logger.warning(
            "data.val: %s of its %s images are trained on (%s): what is measured on them says little about others%s",
            f"{shared:,}",
            f"{len(watched):,}",
            train.report.source,
            advice,
        )
    tested = resolved(_test_images(config.data))
    for part, images, matters in (("trained on", learned, True), ("in val, which chooses the model", watched, chooses)):
        common = len(tested & images)
        if common and matters:
            logger.warning(
                "data.test: %s of its %s images are %s: what is measured on them says little about others",
                f"{common:,}",
                f"{len(tested):,}",
                part,
            )
    return shared


def _test_images(config: DataConfig) -> Iterable[Path]:
    """The images of a data.test that is given as a list of VOC's layout or as a COCO file, without a look at any; none
    where the list is not there, as training does not need it. Parts in folders of their own have files of their own."""
    if config.test == SplitConfig():
        return []
    source = find_source(config, "test")
    root, given = source.root or Path(), source.arguments
    if source.format == "voc" and "split" in given and is_voc_layout(root):
        parts = [(root, given["split"]), *((expand_home(r), name) for r, name in given.get("extra_parts", []))]
        return [image for part in parts for image in listed_images(*part)]
    if source.format == "coco" and "annotation_file" in given and "image_dir" in given:
        file, folder = root / expand_home(given["annotation_file"]), root / expand_home(given["image_dir"])
        return [folder / name for name in coco_file_names(file)] if file.is_file() else []
    return []
