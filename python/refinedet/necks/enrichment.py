"""EFGRNet's feature enrichment: MSCF and the objectness module (sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import ResidualBottleneck, cbr
from ..checks import check_choice
from ..init import init_kaiming
from .mscf import MultiScaleContext

GUIDE_INITS = ("random", "one")


class ObjectnessModule(nn.Module):
    """Guides every map by the one below it, multiplied element by element, from the bottom up.

        F_l = CBR(source_l * guide_l),   guide_(l+1) = BN(conv 3x3 stride 2 (F_l)),   guide_0 = MSCF

    channels: of the sources, the finest first. fused_channels: of F_l. relu_first: per level whether a ReLU comes
    before CBR (3x3 convolution, batch norm, ReLU), too.

    forward(sources, guide) takes the maps and guide_0 of the first one's shape, and returns the F_l.
    """

    def __init__(self, channels: Sequence[int], fused_channels: Sequence[int], relu_first: Sequence[bool]) -> None:
        super().__init__()
        self.relu_first = tuple(relu_first)
        self.fuse = nn.ModuleList(cbr(width, fused, 3) for width, fused in zip(channels, fused_channels, strict=True))
        self.down = nn.ModuleList(
            cbr(fused, above, 3, stride=2, activation=False)
            for fused, above in zip(fused_channels[:-1], channels[1:], strict=True)
        )

    def forward(self, sources: Sequence[Tensor], guide: Tensor) -> list[Tensor]:
        if len(sources) != len(self.fuse):
            raise ValueError(f"sources: expected {len(self.fuse)} maps, got {len(sources)}")
        maps: list[Tensor] = []
        for level, (source, fuse) in enumerate(zip(sources, self.fuse, strict=True)):
            if level:
                guide = self.down[level - 1](maps[-1])
            guided = source * guide
            maps.append(fuse(F.relu(guided) if self.relu_first[level] else guided))
        return maps


class FeatureEnrichment(nn.Module):
    """MSCF, the objectness module, and where its maps are narrower than the sources, what widens them again.

    channels: of the sources, and of the results. fused_channels: of the objectness module's maps; None: as channels.
    relu_first: see `ObjectnessModule`. residual_blocks: per level the number of bottlenecks before the 1x1
    convolution that widens the map. dilations: MSCF's branches. guide_init: what the maps are multiplied by at first,
    "random" numbers of both signs or "one".

    forward(images, sources) returns a map of the same shape for every source.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        fused_channels: Sequence[int] | None = None,
        relu_first: Sequence[bool] | None = None,
        residual_blocks: Sequence[int] | None = None,
        dilations: Sequence[int] = (1, 2, 4),
        guide_init: str = "random",
    ) -> None:
        super().__init__()
        check_choice(guide_init, "guide_init", GUIDE_INITS)
        fused = tuple(fused_channels or channels)
        relu_first = relu_first or (False,) * len(channels)
        self.mscf = MultiScaleContext(channels[0], dilations)
        self.objectness = ObjectnessModule(channels, fused, relu_first)
        self.widen = nn.ModuleList(
            _widen(narrow, width, blocks)
            for narrow, width, blocks in zip(fused, channels, residual_blocks or (0,) * len(channels), strict=True)
        )
        init_kaiming(self)
        if guide_init == "one":
            for guide in (self.mscf.fuse, *self.objectness.down):
                norm = guide[1]
                nn.init.zeros_(norm.weight)
                nn.init.ones_(norm.bias)

    def forward(self, images: Tensor, sources: Sequence[Tensor]) -> list[Tensor]:
        maps = self.objectness(sources, self.mscf(images))
        return [widen(x) for widen, x in zip(self.widen, maps, strict=True)]


def _widen(narrow: int, width: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [ResidualBottleneck(narrow) for _ in range(blocks)]
    if narrow != width:
        layers.append(cbr(narrow, width, 1))
    return nn.Sequential(*layers)
