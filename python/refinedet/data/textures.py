"""Textures and cluttered backgrounds of the demo data set; images are float32 BGR, 0..255."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..checks import check_choice

_Grid = tuple[np.ndarray, np.ndarray]  # x (1, W) and y (H, 1), or both (H, W)


def _plain(rng: np.random.Generator, grid: _Grid) -> np.ndarray:
    return np.zeros((grid[1].shape[0], grid[0].shape[1]))


def _stripes(rng: np.random.Generator, grid: _Grid) -> np.ndarray:
    across, _ = _turned(rng, grid)
    return _wave(across * rng.uniform(2.0, 4.5) + rng.uniform())


def _checks(rng: np.random.Generator, grid: _Grid) -> np.ndarray:
    u, v = _turned(rng, grid)
    count, shift = rng.uniform(1.2, 2.5), rng.uniform(size=2)
    a, b = _wave(u * count + shift[0]), _wave(v * count + shift[1])
    return a * b + (1 - a) * (1 - b)


def _dots(rng: np.random.Generator, grid: _Grid) -> np.ndarray:
    u, v = _turned(rng, grid)
    count, shift = rng.uniform(2.5, 4.5), rng.uniform(size=2)
    u, v = u * count + shift[0], v * count + shift[1]
    distance = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    return np.clip((0.33 - distance) * 10, 0, 1)


def _gradient(rng: np.random.Generator, grid: _Grid) -> np.ndarray:
    across, _ = _turned(rng, grid)
    return np.clip(across + 0.5, 0, 1)


def _noise(rng: np.random.Generator, grid: _Grid) -> np.ndarray:
    cells = int(rng.integers(5, 12))
    rough = rng.uniform(0, 1, (cells, cells)).astype(np.float32)
    height, width = grid[1].shape[0], grid[0].shape[1]
    return np.clip(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


_TEXTURES: dict[str, Callable[[np.random.Generator, _Grid], np.ndarray]] = {
    "plain": _plain,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "gradient": _gradient,
    "noise": _noise,
}
TEXTURES: tuple[str, ...] = tuple(_TEXTURES)


def texture(
    name: str,
    rng: np.random.Generator,
    shape: tuple[int, int],
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """A texture of two colors, (3,) each, on (height, width) pixels: (H, W, 3) float32.

    Stripes, checks and dots are a share of the longer side, on small shapes a larger one: they keep
    a period of at least 6 pixels, so that they can be seen.
    """
    check_choice(name, "name", tuple(_TEXTURES))
    height, width = shape
    unit = max(max(shape), 30)  # the textures have at most 4.5 periods a unit
    y, x = np.ogrid[0:height, 0:width]
    grid = ((x - width / 2) / unit, (y - height / 2) / unit)
    share = _TEXTURES[name](rng, grid).astype(np.float32)[..., None]
    return (1 - share) * first.astype(np.float32) + share * second.astype(np.float32)


def random_color(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    """A random BGR color (3,) float32, 0..255, of any hue; saturation and value within 0..1."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(*saturation), rng.uniform(*value)]]])
    return 255 * cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2BGR)[0, 0]


def background(rng: np.random.Generator, shape: tuple[int, int], clutter: float) -> np.ndarray:
    """A soft field of colors with distractors on it, (H, W, 3) float32 for (height, width) pixels.

    clutter: 0 leaves the field bare, 1 is usual; how many distractors there are and how strongly
    they stand out: soft blobs, patches of grain, lines, curves and specks. None of them has the
    closed, sharp outline of an object.
    """
    height, width = shape
    strength = min(1.0, clutter)
    # what is soft is drawn at a quarter of the sides: as good, at a sixteenth of the work
    coarse = (-(-height // 4), -(-width // 4))
    canvas = _field(rng, coarse)
    for _ in range(rng.poisson(5 * clutter)):
        share = _soft_spot(rng, coarse, (0.06, 0.22)) * rng.uniform(0.3, 0.7) * strength
        canvas += share[..., None] * (random_color(rng, (0.1, 0.7), (0.2, 0.95)) - canvas)
    canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.poisson(4 * clutter)):
        spot = cv2.resize(_soft_spot(rng, coarse, (0.05, 0.16)), (width, height))
        canvas += (spot * _grain(rng, shape) * strength)[..., None]
    # all strokes go onto one layer of ink, laid over the image once
    ink, cover = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    for _ in range(rng.poisson(4 * clutter)):
        _draw_lines(rng, ink, cover, strength)
    for _ in range(rng.poisson(2 * clutter)):
        _draw_specks(rng, ink, cover, strength)
    canvas += cover.astype(np.float32)[..., None] / 255 * (ink - canvas)
    return np.clip(canvas, 0, 255, out=canvas)


def _field(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    canvas = np.zeros((*shape, 3), np.float32)
    canvas += random_color(rng, (0.05, 0.55), (0.2, 0.9))
    for cells, strength in ((2, 32.0), (4, 20.0), (9, 11.0), (24, 6.0)):
        rough = strength * rng.standard_normal((cells, cells, 3), np.float32)
        rough = 0.4 * rough + 0.6 * rough.mean(axis=2, keepdims=True)  # brightness more than hue
        canvas += cv2.resize(rough, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return canvas


def _grain(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise of one to three pixels a grain, (H, W) float32."""
    cell = int(rng.integers(1, 4))
    rough = 32 * rng.standard_normal((shape[0] // cell + 1, shape[1] // cell + 1), np.float32)
    return cv2.resize(rough, shape[::-1], interpolation=cv2.INTER_NEAREST)


def _draw_lines(rng: np.random.Generator, ink: np.ndarray, cover: np.ndarray, strength: float) -> None:
    """A few strokes in one color: straight and parallel, or one bent."""
    height, width = cover.shape
    color = random_color(rng, (0.1, 0.8), (0.1, 1.0)).tolist()
    opacity = 255 * rng.uniform(0.4, 0.9) * strength
    thickness = int(rng.integers(1, 4))
    start = rng.uniform(0, 1, 2) * [width, height]
    heading = rng.uniform(0, 2 * np.pi)
    length = rng.uniform(0.2, 0.9) * max(height, width)
    bend = rng.normal(0, 1.2) if rng.uniform() < 0.6 else 0.0
    along = np.linspace(0, 1, 24)
    turn = heading + bend * along
    step = length / len(along) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    path = start + np.cumsum(step, axis=0)
    repeats = 1 if bend else int(rng.integers(1, 4))
    aside = np.array([-np.sin(heading), np.cos(heading)]) * rng.uniform(6, 16)
    for k in range(repeats):
        points = [np.round((path + k * aside) * 16).astype(np.int32)]
        cv2.polylines(ink, points, False, color, thickness + 2, cv2.LINE_8, 4)  # past the soft edge
        cv2.polylines(cover, points, False, opacity, thickness, cv2.LINE_AA, 4)


def _draw_specks(rng: np.random.Generator, ink: np.ndarray, cover: np.ndarray, strength: float) -> None:
    height, width = cover.shape
    color = random_color(rng, (0.0, 0.8), (0.1, 1.0)).tolist()
    opacity = 255 * rng.uniform(0.3, 0.8) * strength
    places = rng.integers(0, (width, height), (int(rng.integers(10, 40)), 2))
    for place, radius in zip(places.tolist(), rng.integers(1, 3, len(places)).tolist(), strict=True):
        cv2.circle(ink, place, radius + 1, color, -1)
        cv2.circle(cover, place, radius, opacity, -1, cv2.LINE_AA)


def _soft_spot(rng: np.random.Generator, shape: tuple[int, int], spread: tuple[float, float]) -> np.ndarray:
    """A turned Gaussian spot anywhere in the image, 1 in its middle; spreads in image sides."""
    height, width = shape
    y, x = np.ogrid[0:height, 0:width]
    u, v = _turned(rng, (x - rng.uniform(0, width), y - rng.uniform(0, height)))
    a, b = rng.uniform(*spread, 2) * max(shape)
    return np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2)).astype(np.float32)


def _turned(rng: np.random.Generator, grid: _Grid) -> _Grid:
    angle = rng.uniform(0, 2 * np.pi)
    x, y = grid
    return (
        x * np.cos(angle) + y * np.sin(angle),
        y * np.cos(angle) - x * np.sin(angle),
    )


def _wave(phase: np.ndarray) -> np.ndarray:
    """A square wave of period 1 between 0 and 1 with slightly soft edges."""
    return np.clip(0.5 + 3 * np.sin(2 * np.pi * phase), 0, 1)
