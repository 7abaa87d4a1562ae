"""Depthwise convolution that trains fast on a CPU."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_count
from ..ops.depthwise_conv2d import Cells, depthwise_conv2d, serves


class DepthwiseConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with a square kernel of its own for every channel, whose gradients on the CPU are faster.

    bias, device, dtype, the state dict, the initial values and the results of a forward are those of
    ``torch.nn.Conv2d(channels, channels, ..., groups=channels)``, which this class is to whoever asks.

    The gradients of a training step come from a kernel of ours where the input (B, C, H, W) is channels-last in memory
    and on the CPU, in float32, float64, float16 or bfloat16 (under autocast: its dtype), with sums in float32 (float64
    for float64) and the same bits whatever the number of threads. Zeros around the input take part in the sums: an
    infinite gradient or weight makes NaN of them. Elsewhere everything is torch's own: on a GPU, in other layouts and
    types, under torch.compile, torch.export and the transforms of torch.func, for second derivatives, and where stride,
    padding, dilation or groups were changed to something else since.

    Args:
        channels: of input and output.
        kernel_size, stride, padding: integers.
        bias, device, dtype: as `torch.nn.Conv2d`.

    Shape:
        - input: (B, channels, H, W)
        - output: (B, channels, Ho, Wo), as `torch.nn.Conv2d` has them

    Raises:
        TypeError: for a channels, kernel_size, stride or padding that is not an integer.
        ValueError: for one that is out of range.

    Example:
        >>> import torch
        >>> DepthwiseConv2d(8, 3, stride=2, padding=1)(torch.rand(1, 8, 9, 9)).shape
        torch.Size([1, 8, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        channels, kernel_size = check_count(channels, "channels", 1), check_count(kernel_size, "kernel_size", 1)
        stride, padding = check_count(stride, "stride", 1), check_count(padding, "padding")
        super().__init__(
            channels, channels, kernel_size, stride, padding, groups=channels, bias=bias, device=device, dtype=dtype
        )

    def padded_forward(self, input: Tensor, cells: Cells) -> Tensor:
        """`forward` of the input with zeros around it.

        The same as padding before the call, which the gradients would have to undo.

        Args:
            input: (B, channels, H, W).
            cells: (left, right, top, bottom), at least 0.

        Returns:
            (B, channels, Ho, Wo) of the padded input.
        """
        if self._is_plain() and serves(input, self.weight, self.bias):
            return self._recorded(input, self.weight, self.bias, cells)
        return self._conv_forward(F.pad(input, cells), self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._is_plain() and serves(input, weight, bias):
            return self._recorded(input, weight, bias, (0, 0, 0, 0))
        return super()._conv_forward(input, weight, bias)

    def _is_plain(self) -> bool:
        """Whether the layer still is what it was made as."""
        (kernel, across), (stride, _) = self.kernel_size, self.stride
        return (
            kernel == across
            and self.stride == (stride, stride)
            and self.padding == (self.padding[0],) * 2
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and self.groups == self.in_channels == self.out_channels
            and self.weight.shape == (self.groups, 1, kernel, kernel)
        )

    def _recorded(self, input: Tensor, weight: Tensor, bias: Tensor | None, cells: Cells) -> Tensor:
        """What `_conv_forward` is for an input that is wider by `cells`."""
        left, right, top, bottom = (int(self.padding[0]) + n for n in cells)
        return depthwise_conv2d(input, weight, bias, self.stride[0], (left, right, top, bottom))
