"""The demo data set: textured shapes of many sizes on cluttered backgrounds, rendered on the spot.

Six shapes, any texture and color on each, so that the outline alone tells the class. Everything is
drawn from one seed: the same seed gives the same images and the same annotation files, byte for
byte, and image i of a split does not depend on how many there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .annotations import ImageRecord
from .coco_format import write_coco_annotations
from .image_io import write_image
from .shapes import SHAPE_CLASSES, shape_mask
from .textures import TEXTURES, background, random_color, texture

_SPLITS = ("train", "test")
_TRIES = 40  # places tried for an object before it is left out


@dataclass(frozen=True)
class SceneOptions:
    """What the images look like; the defaults are those of `refinedet demo`.

    size: width and height of an image in pixels, one number for squares of that side, or (low,
    high) to draw both between. classes: which of SHAPE_CLASSES, label i being classes[i - 1].
    frequency: how often each of the classes comes among as many objects as these numbers sum up
    to, so that (9, 1) makes the second rare; empty: all alike.
    textures: which of TEXTURES occur on objects. objects: (low, high) number in an image. empty:
    share of images without objects. object_size: (low, high) longer side of an object's box
    before anything hides it, drawn with equal weight to every octave, at most 0.9 of the smallest
    image. rotation: an object is turned
    by up to so many degrees either way; 180 for any turn. max_overlap: the largest share of an
    object that other objects or the image's edge hide. contrast: least distance of an object's
    colors from those around it, in 0..441 (BGR). texture_contrast: how far the second color of a
    texture leaves the first, 0 for plain objects, 1 for any two colors. clutter: number and
    strength of distractors; 0 for none. noise: standard deviation of the sensor noise, of 255.
    """

    size: int | tuple[int, int] = (256, 320)
    classes: Sequence[str] = SHAPE_CLASSES
    frequency: Sequence[int] = ()
    textures: Sequence[str] = TEXTURES
    objects: tuple[int, int] = (2, 7)
    empty: float = 0.05
    object_size: tuple[float, float] = (26.0, 150.0)
    rotation: float = 30.0
    max_overlap: float = 0.3
    contrast: float = 130.0
    texture_contrast: float = 0.35
    clutter: float = 1.0
    noise: float = 5.0

    def __post_init__(self) -> None:
        low, high = self.size_range
        if not 32 <= low <= high:
            raise ValueError(f"size: expected pixels from 32 up, low <= high, got {self.size}")
        for name, known in (("classes", SHAPE_CLASSES), ("textures", TEXTURES)):
            given = list(getattr(self, name))
            if not given or len(set(given)) != len(given) or not set(given) <= set(known):
                raise ValueError(f"{name}: expected distinct names out of {list(known)}, got {given}")
        if self.frequency and (len(self.frequency) != len(self.classes) or min(self.frequency) < 1):
            raise ValueError(
                f"frequency: expected a number from 1 up for each of {len(self.classes)} classes, got {self.frequency}"
            )
        if not 1 <= self.objects[0] <= self.objects[1]:
            raise ValueError(f"objects: expected 1 <= low <= high, got {self.objects}")
        if not 8 <= self.object_size[0] <= self.object_size[1]:
            raise ValueError(f"object_size: expected 8 <= low <= high, got {self.object_size}")
        for name, limit in (
            ("empty", 1.0),
            ("rotation", 180.0),
            ("max_overlap", 0.9),
            ("contrast", 250.0),
            ("texture_contrast", 1.0),
            ("clutter", 5.0),
            ("noise", 100.0),
        ):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"{name}: expected a number from 0 to {limit:g}, got {getattr(self, name)}")

    @property
    def size_range(self) -> tuple[int, int]:
        """(low, high) of an image's sides."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def round(self) -> list[int]:
        """The labels of a round of objects, in which every class comes as often as `frequency` says."""
        counts = self.frequency or [1] * len(self.classes)
        return [label for label, count in enumerate(counts, 1) for _ in range(count)]


@dataclass(frozen=True)
class RenderedDataset:
    """Where a rendered data set lies: image folders and COCO annotation files by split."""

    root: Path
    class_names: list[str]
    images: dict[str, Path]
    annotations: dict[str, Path]


def render_dataset(
    root: str | Path,
    *,
    train: int = 320,
    test: int = 80,
    seed: int = 0,
    image_format: str = "jpg",
    **options: Any,
) -> RenderedDataset:
    """Renders `train` and `test` images into a COCO layout.

    root/train/000001.jpg ..., root/test/..., root/annotations/train.json and test.json; root must
    not have files yet. image_format: "jpg" (quality 95) or "png". options: fields
    of `SceneOptions`, which are also written to root/options.json. Boxes are the tight bounds of
    what is visible of an object, "area" the number of its visible pixels.
    """
    if image_format not in ("jpg", "png"):
        raise ValueError(f"image_format: expected 'jpg' or 'png', got {image_format!r}")
    counts = {"train": train, "test": test}
    for split, count in counts.items():
        if count < 0:
            raise ValueError(f"{split}: expected 0 or above, got {count}")
    scene = SceneOptions(**options)
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"root: expected a folder with nothing in it, {root} has files")
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    names = list(scene.classes)
    for split, count in counts.items():
        folder = root / split
        folder.mkdir(exist_ok=True)
        records = []
        for number, image, record in _render_split(folder, split, count, seed, image_format, scene):
            write_image(folder / f"{number:06d}.{image_format}", image)
            records.append(record)
        write_coco_annotations(root / "annotations" / f"{split}.json", records, names, image_dir=folder)
    kept = {**vars(scene), **counts, "seed": seed, "image_format": image_format}
    (root / "options.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return RenderedDataset(
        root,
        names,
        {split: root / split for split in _SPLITS},
        {split: root / "annotations" / f"{split}.json" for split in _SPLITS},
    )


def render_scene(
    rng: np.random.Generator, labels: Sequence[int], options: SceneOptions | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One image with an object of each label (1..C), drawn in this order, later ones on top.

    Returns image (H, W, 3) uint8 BGR; boxes (N, 4) float64, the bounds of the visible pixels;
    labels (N,) int64; areas (N,) float64. An object that finds no place within max_overlap is left
    out.
    """
    options = SceneOptions() if options is None else options
    for label in labels:
        if not 1 <= label <= len(options.classes):
            raise ValueError(f"labels: expected values in 1..{len(options.classes)}, got {label}")
    low, high = options.size_range
    width, height = (int(side) for side in rng.integers(low, high + 1, 2))
    canvas = background(rng, (height, width), options.clutter)
    owner = np.full((height, width), -1)  # which object each pixel shows
    whole: list[int] = []  # pixels of each object before anything hides it
    placed: list[int] = []
    for label in labels:
        mask = _random_mask(rng, options.classes[label - 1], options)
        corner = _find_place(rng, mask, owner, whole, options.max_overlap)
        if corner is None:
            continue
        _paint(rng, canvas, mask, corner, options)
        inside, patch = _overlap(mask, corner, owner.shape)
        owner[inside][mask[patch] > 127] = len(placed)
        whole.append(int((mask > 127).sum()))
        placed.append(label)
    boxes = np.array([_bounds(owner == i) for i in range(len(placed))], np.float64).reshape(-1, 4)
    areas = np.array([(owner == i).sum() for i in range(len(placed))], np.float64)
    return _expose(rng, canvas, options), boxes, np.array(placed, np.int64), areas


def _render_split(
    folder: Path, split: str, count: int, seed: int, image_format: str, options: SceneOptions
) -> Iterator[tuple[int, np.ndarray, ImageRecord]]:
    plan = np.random.default_rng([seed, _SPLITS.index(split)])
    deck: list[int] = []
    for number in range(1, count + 1):
        wanted = int(plan.integers(options.objects[0], options.objects[1] + 1))
        if plan.uniform() < options.empty:
            wanted = 0
        while len(deck) < wanted:  # whole rounds, shuffled, keep the classes at their shares
            deck.extend(plan.permutation(options.round).tolist())
        labels, deck = deck[:wanted], deck[wanted:]
        rng = np.random.default_rng([seed, _SPLITS.index(split), number])
        image, boxes, kept, areas = render_scene(rng, labels, options)
        none = np.zeros(len(kept), bool)
        record = ImageRecord(
            image_id=number,
            path=str(folder / f"{number:06d}.{image_format}"),
            original_size=(image.shape[1], image.shape[0]),
            boxes=boxes,
            labels=kept,
            difficult=none,
            crowd=none,
            areas=areas,
        )
        yield number, image, record


def _random_mask(rng: np.random.Generator, name: str, options: SceneOptions) -> np.ndarray:
    low, high = np.log(options.object_size)
    size = min(float(np.exp(rng.uniform(low, high))), 0.9 * options.size_range[0])
    stretch = float(np.exp(rng.uniform(-0.2, 0.2)))
    angle = np.deg2rad(rng.uniform(-options.rotation, options.rotation))
    return shape_mask(name, size, angle, stretch)


def _find_place(
    rng: np.random.Generator, mask: np.ndarray, owner: np.ndarray, whole: list[int], max_overlap: float
) -> tuple[int, int] | None:
    """An upper left corner (x, y) for a mask that leaves enough of it and of the others visible."""
    size = int((mask > 127).sum())
    height, width = owner.shape
    tall, wide = mask.shape
    reach = 0.2 if rng.uniform() < 0.25 else 0.0  # some objects stick out of the image
    visible = np.bincount(owner[owner >= 0], minlength=len(whole))
    for _ in range(_TRIES):
        x = round(rng.uniform(-reach * wide, width - (1 - reach) * wide))
        y = round(rng.uniform(-reach * tall, height - (1 - reach) * tall))
        inside, patch = _overlap(mask, (x, y), owner.shape)
        solid = mask[patch] > 127
        under = owner[inside][solid]
        covered = np.bincount(under[under >= 0], minlength=len(whole))
        if solid.sum() < (1 - max_overlap) * size or covered.sum() > max_overlap * size:
            continue
        if all(visible[i] - covered[i] >= (1 - max_overlap) * n for i, n in enumerate(whole)):
            return x, y
    return None


def _paint(
    rng: np.random.Generator, canvas: np.ndarray, mask: np.ndarray, corner: tuple[int, int], options: SceneOptions
) -> None:
    inside, patch = _overlap(mask, corner, canvas.shape[:2])
    share = mask[patch].astype(np.float32)[..., None] / 255
    around = canvas[inside].reshape(-1, 3).mean(axis=0)
    first, second = (_distinct_color(rng, around, options.contrast) for _ in range(2))
    second = first + options.texture_contrast * (second - first)
    name = options.textures[int(rng.integers(len(options.textures)))]
    paint = texture(name, rng, mask.shape, first, second)[patch]
    canvas[inside] += share * (paint - canvas[inside])


def _distinct_color(rng: np.random.Generator, around: np.ndarray, contrast: float) -> np.ndarray:
    """A color at least `contrast` away from `around`; of 200 tries the farthest where none is."""
    best, farthest = around, -1.0
    for _ in range(200):
        color = random_color(rng, (0.2, 1.0), (0.15, 1.0))
        distance = float(np.linalg.norm(color - around))
        if distance >= contrast:
            return color
        if distance > farthest:
            best, farthest = color, distance
    return best


def _expose(rng: np.random.Generator, canvas: np.ndarray, options: SceneOptions) -> np.ndarray:
    """Uneven light, a slight blur and sensor noise; float32 to uint8."""
    height, width = canvas.shape[:2]
    light = rng.uniform(0.8, 1.15, (2, 2, 1)).astype(np.float32)
    image = canvas * cv2.resize(light, (width, height))[..., None]
    sigma = rng.uniform(0, 0.8)
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    image = image + options.noise * rng.standard_normal(image.shape, np.float32)
    return cv2.convertScaleAbs(np.maximum(image, 0.0))  # rounds, and stops at 255


def _overlap(
    mask: np.ndarray, corner: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of an image that a mask at `corner` (x, y) meets, and that part of the mask."""
    (x, y), (tall, wide) = corner, mask.shape
    top, bottom = max(0, y), min(shape[0], y + tall)
    left, right = max(0, x), min(shape[1], x + wide)
    return (
        (slice(top, bottom), slice(left, right)),
        (slice(top - y, bottom - y), slice(left - x, right - x)),
    )


def _bounds(visible: np.ndarray) -> list[int]:
    """(x1, y1, x2, y2) of the edges around the True pixels of an (H, W) mask."""
    columns = np.flatnonzero(visible.any(axis=0))
    rows = np.flatnonzero(visible.any(axis=1))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
