"""Top-down fusion by bilinear upsampling (RefineDetLite, figure 3b)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class BilinearFusion(nn.Module):
    """Adds to every map what the level above it found, from the top down.

        T_top = relu(L(s_top)),    T_l = relu(L(s_l) + bilinear(T_{l+1}, to the size of s_l))

    laterals: the L of each level, the finest first; all yield as many channels as the others. In the paper they are
    light heads. Explicit sizes serve maps that are not each other's half, such as 5 x 5 above 3 x 3.

    forward takes the maps of a backbone and returns as many maps of the same sizes.
    """

    def __init__(self, laterals: Sequence[nn.Module]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(laterals)

    def forward(self, sources: Sequence[Tensor]) -> list[Tensor]:
        if len(sources) != len(self.laterals):
            raise ValueError(f"sources: expected {len(self.laterals)} maps, got {len(sources)}")
        outputs: list[Tensor] = []
        for lateral, source in zip(reversed(self.laterals), reversed(sources), strict=True):
            x = lateral(source)
            if outputs:
                x = x + F.interpolate(outputs[-1], size=source.shape[2:], mode="bilinear", align_corners=False)
            outputs.append(F.relu(x))
        return outputs[::-1]
