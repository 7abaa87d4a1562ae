"""Where a deformable convolution reads: its sampling points, from the offsets that it was called with."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from refinedet_ext.nn import DeformAlign


def sampling_points(layer: DeformAlign, offset: Tensor | None, center: Tensor | None) -> np.ndarray:
    """Where every tap of every output pixel of one image reads the input: (Ho, Wo, kh * kw, 2), x and y.

    In pixels of the input map, whose centers are whole numbers, as the op counts them: tap (i, j) of output pixel
    (y, x) reads row y * stride - padding + i * dilation + dy, and a column likewise. Points may lie outside the map;
    the op reads zero there.

    layer: gives kernel, stride, padding and dilation. offset: (2 * kh * kw, Ho, Wo), dy then dx of each tap, or None.
    center: (2, Ho, Wo), dy and dx of all taps, or None.

    ValueError without both, as the output's size is theirs, and for more than one offset group.
    """
    given = [shift for shift in (offset, center) if shift is not None]
    if not given:
        raise ValueError("offset, center: expected one of them, got neither")
    rows, columns = given[0].shape[-2:]
    kernel_rows, kernel_columns = layer.kernel_size
    taps = kernel_rows * kernel_columns
    for name, shift, count in (("offset", offset, 2 * taps), ("center", center, 2)):
        if shift is not None and shift.shape != (count, rows, columns):
            raise ValueError(f"{name}: expected shape {(count, rows, columns)}, got {tuple(shift.shape)}")
    y = np.arange(rows)[:, None, None] * layer.stride[0] - layer.padding[0]
    x = np.arange(columns)[None, :, None] * layer.stride[1] - layer.padding[1]
    tap_y, tap_x = np.divmod(np.arange(taps), kernel_columns)
    points = np.zeros((rows, columns, taps, 2))
    points[..., 0] = x + tap_x * layer.dilation[1]
    points[..., 1] = y + tap_y * layer.dilation[0]
    if offset is not None:
        moved = offset.detach().double().cpu().numpy().reshape(taps, 2, rows, columns)
        points += moved.transpose(2, 3, 0, 1)[..., ::-1]
    if center is not None:
        points += center.detach().double().cpu().numpy().transpose(1, 2, 0)[:, :, None, ::-1]
    return points
