"""Detections drawn on images, and images side by side; all are (H, W, 3) uint8 in BGR order."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from .evaluation.results import as_array

_FONT = cv2.FONT_HERSHEY_SIMPLEX
Color = tuple[int, int, int]


def draw_detections(
    image_bgr: np.ndarray,
    boxes: Any,
    labels: Any,
    scores: Any = None,
    class_names: Sequence[str] | None = None,
    *,
    min_score: float = 0.0,
    show_labels: bool = True,
    line_width: int | None = None,
    font_scale: float | None = None,
) -> np.ndarray:
    """A copy of the image with boxes, and above each its class and score.

    image_bgr (H, W, 3) uint8; boxes (N, 4) in its pixels; labels (N,) in 1..C; scores (N,), or None
    for ground truth; arrays, lists or tensors. class_names: name of label i at i - 1; None shows
    the number. Boxes with a score below min_score are left out; the best are drawn last, on top.
    Line width (pixels) and font scale follow the image's size unless given. Labels stay inside
    the image; each class has a color of its own, the same in every image (`class_color`).
    """
    _check_image(image_bgr, "image_bgr")
    boxes = as_array(boxes, np.float64)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    labels = as_array(labels, np.int64).reshape(-1)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected shape (N, 4), got {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise ValueError(f"boxes: expected finite values, got {boxes.tolist()}")
    if labels.shape != (len(boxes),):
        raise ValueError(f"labels: expected shape ({len(boxes)},), got {labels.shape}")
    known = len(class_names) if class_names is not None else np.iinfo(np.int64).max
    if ((labels < 1) | (labels > known)).any():
        raise ValueError(f"labels: expected values in 1..{known}, got {labels.tolist()}")
    order = np.arange(len(boxes))
    if scores is not None:
        scores = as_array(scores, np.float64).reshape(-1)
        if scores.shape != labels.shape:
            raise ValueError(f"scores: expected shape ({len(boxes)},), got {scores.shape}")
        if not np.isfinite(scores).all():
            raise ValueError(f"scores: expected finite values, got {scores.tolist()}")
        order = np.argsort(scores, kind="stable")
        order = order[scores[order] >= min_score]

    texts = [""] * len(boxes)
    if show_labels:
        names = [str(label) if class_names is None else class_names[label - 1] for label in labels]
        texts = names if scores is None else [f"{n} {s:.2f}" for n, s in zip(names, scores, strict=True)]
    return draw_boxes(
        image_bgr,
        boxes[order],
        [class_color(label) for label in labels[order].tolist()],
        [texts[i] for i in order],
        line_width=line_width,
        font_scale=font_scale,
    )


def draw_boxes(
    image_bgr: np.ndarray,
    boxes: np.ndarray,
    colors: Sequence[Color],
    texts: Sequence[str],
    *,
    line_width: int | None = None,
    font_scale: float | None = None,
) -> np.ndarray:
    """A copy of the image with boxes (N, 4) in its pixels, each with a BGR color and a text, which may be empty; the
    last on top. Line width (pixels) and font scale follow the image's size unless given."""
    canvas = np.ascontiguousarray(image_bgr).copy()
    short, long = sorted(canvas.shape[:2])
    # 1 pixel on thumbnails, 2 at 500, 4 at 1500; the mean of both sides, for panoramas
    width = max(1, round((short + long) / 700)) if line_width is None else line_width
    scale = float(np.clip((short + long) / 2200, 0.34, 2.0)) if font_scale is None else font_scale
    for box, color in zip(boxes, colors, strict=True):
        _draw_frame(canvas, box, color, width)
    for box, color, text in zip(boxes, colors, texts, strict=True):  # after all boxes, so that no line crosses a text
        if text:
            _draw_label(canvas, text, box, color, scale, width)
    return canvas


def class_color(label: int) -> Color:
    """The BGR color of a class: hues a golden section apart, so that any first few differ well."""
    step = (label - 1) % 360
    hue = (0.02 + step * 0.61803398875) % 1.0
    lightness = (0.55, 0.42, 0.68)[step // 7 % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(255 * blue), round(255 * green), round(255 * red)


def draw_grid(
    images: Sequence[np.ndarray],
    *,
    beside: Sequence[np.ndarray] | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    cell: int = 320,
    gap: int = 8,
    headings: tuple[str, str] = ("ground truth", "detections"),
) -> np.ndarray:
    """Several images of any sizes in one, row by row, on white.

    Each is scaled until its longer side is `cell` pixels and stands centered in its place. beside:
    one more image for each, drawn at its left in a pair, say the same image with the ground
    truth; headings then stand above the first row. titles: one line above each image or pair, cut
    where it is too long. columns: images or pairs in a row; None: as square a grid as the number
    allows.
    """
    for name, listed in (("beside", beside), ("titles", titles)):
        if listed is not None and len(listed) != len(images):
            raise ValueError(f"{name}: expected {len(images)} entries, got {len(listed)}")
    if columns is not None and columns < 1:
        raise ValueError(f"columns: expected 1 or above, got {columns}")
    if cell < 16 or gap < 0:
        raise ValueError(f"cell, gap: expected 16 or above and 0 or above, got {cell}, {gap}")
    for i, image in enumerate(images):
        _check_image(image, f"images[{i}]")
    for i, image in enumerate(beside or ()):
        _check_image(image, f"beside[{i}]")

    each = 1 if beside is None else 2
    wide = each * cell + (each - 1) * max(2, gap // 4)  # a pair stands closer than its neighbors
    if columns is None:
        columns = max(1, round((len(images) / each) ** 0.5))
    columns = min(columns, max(1, len(images)))
    rows = -(-len(images) // columns)
    scale = float(np.clip(cell / 640, 0.35, 0.8))
    line = cv2.getTextSize("Ag", _FONT, scale, 1)[0][1] + 12
    head = line if beside is not None and images else 0
    above = line if titles is not None else 0
    scaled = [[_fit(image, cell)] for image in images]
    if beside is not None:
        scaled = [[_fit(beside[i], cell), *pair] for i, pair in enumerate(scaled)]
    # a row is as high as its highest image, so that wide images leave no empty bands
    tall = [
        max(image.shape[0] for pair in scaled[r * columns : (r + 1) * columns] for image in pair) for r in range(rows)
    ]
    size = (head + gap + sum(above + t + gap for t in tall), gap + columns * (wide + gap), 3)
    canvas = np.full(size, 255, np.uint8)
    for i, pair in enumerate(scaled):
        row, column = divmod(i, columns)
        x = gap + column * (wide + gap)
        y = head + gap + sum(above + t + gap for t in tall[:row]) + above
        if titles is not None:
            _write(canvas, titles[i], x, y, scale, wide)
        for k, image in enumerate(pair):
            left = x + k * (wide - cell)
            height, width = image.shape[:2]
            inset, down = (cell - width) // 2, (tall[row] - height) // 2
            canvas[y + down : y + down + height, left + inset : left + inset + width] = image
            if head and row == 0:
                _write(canvas, headings[k], left, head + gap // 2, scale, cell)
    return canvas


def _draw_frame(canvas: np.ndarray, box: np.ndarray, color: Color, width: int) -> None:
    """Lines of `width` pixels about the box's outermost pixels, edged by one pixel on both sides.

    Nested lines of one pixel: those of a given thickness come out of OpenCV a pixel wider or not.
    """
    (x1, y1), (x2, y2) = _corners(box, canvas)
    first, last = -(width // 2), (width - 1) // 2
    for k in range(first - 1, last + 2):
        tone = color if first <= k <= last else _contrast(color)
        if x1 + k <= x2 - k and y1 + k <= y2 - k:
            cv2.rectangle(canvas, (x1 + k, y1 + k), (x2 - k, y2 - k), tone, 1)


def _draw_label(canvas: np.ndarray, text: str, box: np.ndarray, color: Color, scale: float, width: int) -> None:
    height, right = canvas.shape[:2]
    thick = 2 if scale >= 0.8 else 1
    (w, h), below = cv2.getTextSize(text, _FONT, scale, thick)
    while w + 6 > right and scale > 0.3:  # a name wider than the image shrinks, to a limit
        scale *= 0.9
        (w, h), below = cv2.getTextSize(text, _FONT, scale, thick)
    pad = max(2, round(4 * scale))
    tall, wide = h + below + 2 * pad, w + 2 * pad
    (x1, y1), (_, y2) = _corners(box, canvas)
    x = max(0, min(x1 - width // 2, right - wide))
    y = y1 - tall  # above the box; else inside its top; else wherever it fits
    if y < 0:
        y = y1 if y1 + tall <= height else min(y2, height - tall)
    y = max(0, y)
    cv2.rectangle(canvas, (x, y), (min(x + wide, right) - 1, min(y + tall, height) - 1), color, -1)
    corner = (x + pad, y + pad + h)
    cv2.putText(canvas, text, corner, _FONT, scale, _contrast(color), thick, cv2.LINE_AA)


def _corners(box: np.ndarray, canvas: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first and the last pixel of a box given by its edges, limited to the image."""
    height, width = canvas.shape[:2]
    limit = np.array([width - 1, height - 1, width - 1, height - 1])
    x1, y1, x2, y2 = np.clip(np.round(box - [0, 0, 1, 1]), 0, limit).astype(int).tolist()
    return (x1, y1), (max(x1, x2), max(y1, y2))


def _contrast(color: Color) -> Color:
    """Black or white, whichever reads better on the color (BGR)."""
    blue, green, red = color
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 128 else (255, 255, 255)


def _fit(image: np.ndarray, cell: int) -> np.ndarray:
    """The image scaled so that its longer side is `cell` pixels."""
    height, width = image.shape[:2]
    factor = cell / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def _write(canvas: np.ndarray, text: str, x: int, y: int, scale: float, width: int) -> None:
    """One line of dark text whose lower edge is a little above y, cut to `width` pixels."""
    if cv2.getTextSize(text, _FONT, scale, 1)[0][0] > width:
        while text and cv2.getTextSize(text + "...", _FONT, scale, 1)[0][0] > width:
            text = text[:-1]
        text += "..."
    cv2.putText(canvas, text, (x, y - 6), _FONT, scale, (40, 40, 40), 1, cv2.LINE_AA)


def _check_image(image: Any, name: str) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"{name}: expected a uint8 array, got {got}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"{name}: expected shape (H, W, 3) with pixels, got {image.shape}")
