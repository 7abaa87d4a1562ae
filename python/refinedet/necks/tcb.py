"""The pyramid of transfer connection blocks (RefineDet, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from refinedet_ext.nn import TransferConnectionBlock


class TransferConnectionPyramid(nn.Module):
    """One transfer connection block per level; each hands its output to the level below.

    in_channels: channels of the maps, the finest first. channels: width of the blocks and of all outputs.
    deconv_kernel, norm: as `refinedet_ext.nn.TransferConnectionBlock`.

    forward takes the maps of a backbone and returns as many maps of `channels` channels and the same sizes.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        deconv_kernel: int = 2,
        norm: str = "none",
    ) -> None:
        super().__init__()
        last = len(in_channels) - 1
        self.blocks = nn.ModuleList(
            TransferConnectionBlock(width, channels, top=level == last, deconv_kernel=deconv_kernel, norm=norm)
            for level, width in enumerate(in_channels)
        )

    def forward(self, sources: Sequence[Tensor]) -> list[Tensor]:
        if len(sources) != len(self.blocks):
            raise ValueError(f"sources: expected {len(self.blocks)} maps, got {len(sources)}")
        above: Tensor | None = None
        outputs: list[Tensor] = []
        for block, source in zip(reversed(self.blocks), reversed(sources), strict=True):
            above = block(source, above)
            outputs.append(above)
        return outputs[::-1]
