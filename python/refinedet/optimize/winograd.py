"""3x3 convolutions by Winograd's minimal filtering, with a quarter of the multiplications."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# F(4x4, 3x3): 6x6 pixels of input give 4x4 of output; interpolation at 0, 1, -1, 2, -2 and infinity
INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
SIDE, STEP = 6, 4

# Below, its transformations cost more than they save (measured with 1 thread, AVX-512).
LEAST_CHANNELS, LEAST_PIXELS = 128, 400


def _square(rows: Any) -> Tensor:
    """The transformation of both dimensions at once."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).float()


INPUT_BOTH, OUTPUT_BOTH = _square(INPUT), _square(OUTPUT)


def worthwhile(x: Tensor, weight: Tensor, geometry: Any) -> bool:
    """Whether a convolution of such an input, of these padding, stride, dilation and groups, is faster this way."""
    plain = geometry == ([1, 1], [1, 1], [1, 1], 1) and tuple(weight.shape[2:]) == (3, 3)
    wide = min(weight.shape[:2]) >= LEAST_CHANNELS
    return plain and wide and x.dtype == torch.float32 and x.shape[2] * x.shape[3] >= LEAST_PIXELS


def transform_weight(weight: Tensor) -> Tensor:
    """(Co, Ci, 3, 3) to (36, Ci, Co) float32."""
    kernel = torch.tensor(KERNEL, dtype=torch.float64)
    products = torch.einsum("ai,bj,ocij->abco", kernel, kernel, weight.double())
    return products.reshape(SIDE * SIDE, weight.shape[1], weight.shape[0]).float().contiguous()


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool, other: Tensor | None = None) -> Tensor:
    """conv2d(x, kernel, bias, padding=1), plus `other`, then ReLU if asked for; channels-last.

    x: (B, Ci, H, W) float32. weight: (36, Ci, Co) as `transform_weight` gives it. other: (B, Co, H, W) or None.
    The error is some five times that of the usual sum, about 1e-5 of the largest output.

    Bands of rows are transformed, multiplied and transformed back while they are in the cache. Source: Lavin and Gray
    2016.
    """
    batch, channels, height, width = x.shape
    outputs = weight.shape[2]
    down, across = -(-height // STEP), -(-width // STEP)
    padded = x.new_zeros(batch, STEP * down + 2, STEP * across + 2, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = x.permute(0, 2, 3, 1)
    out = x.new_empty(batch, STEP * down, STEP * across, outputs)
    _, row, pixel, _ = padded.stride()
    band = min(down, max(1, (200 if channels >= 256 else 80) // across))  # tiles whose columns stay in cache
    points = SIDE * SIDE
    # new memory for every band would cost page faults
    read, columns = (x.new_empty(points * band * across * channels) for _ in range(2))
    products, result = (x.new_empty(n * band * across * outputs) for n in (points, STEP * STEP))
    for image in range(batch):
        for first in range(0, down, band):
            rows = min(band, down - first)
            count = rows * across
            top = padded[image, STEP * first :]
            tiles = top.as_strided(
                (SIDE, SIDE, rows, across, channels), (row, pixel, STEP * row, STEP * pixel, 1), top.storage_offset()
            )
            data = read[: points * count * channels]
            data.view(tiles.shape).copy_(tiles)
            column = columns[: points * count * channels].view(points, count * channels)
            torch.mm(INPUT_BOTH, data.view(points, count * channels), out=column)
            product = products[: points * count * outputs]
            torch.bmm(column.view(points, count, channels), weight, out=product.view(points, count, outputs))
            pixels = result[: STEP * STEP * count * outputs].view(STEP * STEP, count * outputs)
            torch.mm(OUTPUT_BOTH, product.view(points, count * outputs), out=pixels)
            pixels = pixels.view(STEP, STEP, rows, across, outputs)
            if bias is not None:
                pixels += bias
            if relu and other is None:
                pixels.relu_()
            target = out[image, STEP * first : STEP * (first + rows)].view(rows, STEP, across, STEP, outputs)
            target.copy_(pixels.permute(2, 0, 3, 1, 4))
    final = out[:, :height, :width].permute(0, 3, 1, 2)
    if other is not None:
        final += other
        if relu:
            final.relu_()
    return final
