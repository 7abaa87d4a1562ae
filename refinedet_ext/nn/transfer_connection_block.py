"""The transfer connection block (TCB): carries a level's features, and those above it, to the second stage."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook as has_global_hooks

from ..checks import check_count
from ..ops.deconv_sum import deconv_sum

NORMS = ("none", "batch")
DECONV_KERNELS = (2, 4)


class TransferConnectionBlock(nn.Module):
    """One level of RefineDet's feature pyramid. ::

        a   = conv3(relu(conv3(source)))
        out = relu(conv3(relu(a + deconv(above))))       the top level has no `above`: relu(conv3(relu(a)))

    Deconvolution, bias, sum and ReLU are one op, `refinedet_ext.deconv_sum`, for the 2x2 kernel; with batch norm that
    holds in eval mode, where the norm is folded into the deconvolution. Wherever someone could tell the difference the
    layers are called one after the other: `deconv` or `deconv_norm` has hooks, is pruned, parametrized, sharded or
    replaced, or the norm computes its statistics.

    Args:
        in_channels: channels of `source`.
        channels: channels inside, of the output and of `above`.
        top: True builds the block of the top level, without a deconvolution.
        deconv_kernel: 2 (stride 2, no padding: the released code) or 4 (stride 2, padding 1: the paper's figure).
        norm: "none" (biases, as with VGG-16) or "batch" (batch norm after every convolution and the deconvolution,
            which then have no bias, as with ResNet-101). Where the deconvolution gives a row or column more than
            `source` has, that is cut off before the norm, so that it has no part in the statistics of training.

    Shape:
        - source: (B, in_channels, h, w)
        - above: (B, channels, H, W) with h in {2H-1, 2H} and w in {2W-1, 2W}; None for the top level
        - output: (B, channels, h, w)

    Raises:
        TypeError: for arguments, or maps in a call, of another type.
        ValueError: for arguments, or shapes of maps in a call, that do not fit.

    Source:
        RefineDet (Zhang et al. 2018), figure 2; layers as in the released code.

    Example:
        >>> import torch
        >>> top, below = TransferConnectionBlock(512, top=True), TransferConnectionBlock(1024)
        >>> p6 = top(torch.rand(1, 512, 5, 5))
        >>> below(torch.rand(1, 1024, 10, 10), p6).shape
        torch.Size([1, 256, 10, 10])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        *,
        top: bool = False,
        deconv_kernel: int = 2,
        norm: str = "none",
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm: expected one of {NORMS}, got {norm!r}")
        deconv_kernel = check_count(deconv_kernel, "deconv_kernel")
        if deconv_kernel not in DECONV_KERNELS:
            raise ValueError(f"deconv_kernel: expected one of {DECONV_KERNELS}, got {deconv_kernel!r}")
        in_channels, channels = check_count(in_channels, "in_channels", 1), check_count(channels, "channels", 1)
        self.in_channels, self.channels = in_channels, channels
        self.deconv_kernel, self.norm = deconv_kernel, norm
        bias = norm == "none"
        self.lateral1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=bias)
        self.lateral2 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.smooth = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.deconv: nn.Module | None = None
        if not top:
            self.deconv = nn.ConvTranspose2d(
                channels, channels, deconv_kernel, stride=2, padding=deconv_kernel // 2 - 1, bias=bias
            )
        self.lateral1_norm = self._norm()
        self.lateral2_norm = self._norm()
        self.smooth_norm = self._norm()
        self.deconv_norm = None if top else self._norm()

    def _norm(self) -> nn.Module | None:
        return nn.BatchNorm2d(self.channels) if self.norm == "batch" else None

    def forward(self, source: Tensor, above: Tensor | None = None) -> Tensor:
        self._check(source, above)
        lateral = F.relu(_apply(self.lateral1, self.lateral1_norm, source))
        lateral = _apply(self.lateral2, self.lateral2_norm, lateral)
        fused = F.relu(lateral) if above is None else self._deconv_sum(above, lateral)
        return F.relu(_apply(self.smooth, self.smooth_norm, fused))

    def _deconv_sum(self, above: Tensor, lateral: Tensor) -> Tensor:
        """relu(lateral + norm(deconv(above)))."""
        deconv, norm = self.deconv, self.deconv_norm
        assert deconv is not None
        if _is_plain_deconv(deconv) and (norm is None or _is_plain_norm(norm)):
            weight, bias = deconv.weight, deconv.bias
            if norm is not None:
                weight, bias = _fold(weight, bias, norm)
            return deconv_sum(above, weight, bias, lateral, activation="relu")
        up = deconv(above)[:, :, : lateral.shape[2], : lateral.shape[3]]
        return F.relu(lateral + (up if norm is None else norm(up)))

    def _check(self, source: Tensor, above: Tensor | None) -> None:
        for name, value in (("source", source), ("above", above)):
            if not isinstance(value, Tensor) and (name == "source" or value is not None):
                raise TypeError(f"{name}: expected a torch.Tensor, got {type(value).__name__}")
        if source.dim() != 4 or source.shape[1] != self.in_channels:
            raise ValueError(f"source: expected shape (B, {self.in_channels}, h, w), got {tuple(source.shape)}")
        if self.deconv is None:
            if above is not None:
                raise ValueError("above: expected None, because this block is built with top=True")
            return
        if above is None:
            raise ValueError("above: expected the map of the level above, got None (top=False)")
        if above.dim() != 4 or above.shape[:2] != (source.shape[0], self.channels):
            raise ValueError(
                f"above: expected shape ({source.shape[0]}, {self.channels}, H, W), got {tuple(above.shape)}"
            )
        for side, coarse, fine in zip("HW", above.shape[2:], source.shape[2:], strict=True):
            if not 2 * coarse - 1 <= fine <= 2 * coarse:
                raise ValueError(f"above: expected {side} to be half of the source's {fine} (rounded up), got {coarse}")

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.channels}, deconv_kernel={self.deconv_kernel}, norm={self.norm!r}"


def _apply(conv: nn.Module, norm: nn.Module | None, x: Tensor) -> Tensor:
    return conv(x) if norm is None else norm(conv(x))


def _is_plain_deconv(deconv: nn.Module) -> TypeGuard[nn.ConvTranspose2d]:
    """Whether a call of this layer is what `deconv_sum` computes, and nobody listens to it.

    Parametrizations and FSDP change the type; pruning, the older weight norm and tensor parallelism are hooks.
    """
    return (
        type(deconv) is nn.ConvTranspose2d
        and deconv.kernel_size == deconv.stride == (2, 2)
        and deconv.padding == deconv.output_padding == (0, 0)
        and deconv.dilation == (1, 1)
        and deconv.groups == 1
        and not _has_hooks(deconv)
    )


def _is_plain_norm(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a call of this layer is a scale and a shift by what it has stored, and nobody listens to it."""
    return (
        type(norm) in (nn.BatchNorm2d, nn.SyncBatchNorm)
        and not norm.training
        and norm.running_mean is not None
        and not _has_hooks(norm)
    )


def _has_hooks(layer: nn.Module) -> bool:
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return True
    return "forward" in vars(layer) or has_global_hooks()


def _fold(weight: Tensor, bias: Tensor | None, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight (Ci, Co, k, k) and bias (Co,) of the deconvolution followed by the batch norm's running statistics."""
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = norm.weight * scale
    mean = norm.running_mean if bias is None else norm.running_mean - bias
    return weight * scale.view(1, -1, 1, 1), -mean * scale if norm.bias is None else norm.bias - mean * scale
