"""What a detector expects of its backbone."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from torch import Tensor, nn

from .checkpoint import load_strict, read_state_dict


class Backbone(nn.Module, ABC):
    """Turns images (B, 3, H, W) into a list of maps, the finest first.

    A subclass sets both attributes, and says in `forward` what the maps are.

    Attributes:
        out_channels: channels of the maps.
        strides: input pixels per cell of the maps.
    """

    out_channels: tuple[int, ...]
    strides: tuple[int, ...]
    own_stages: tuple[str, ...] = ()
    """What the names of the stages begin with that no classifier has, behind the trunk."""
    recompute = False
    """Set on one without residual blocks: keep few activations and compute the others again for the gradients."""

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]: ...

    @property
    def trunk_channels(self) -> int:
        """Channels of `trunk_features`."""
        return self.out_channels[-1]

    def trunk_features(self, images: Tensor) -> Tensor:
        """The last map of the trunk, the part that is trained as a classifier: (B, trunk_channels, H, W)."""
        return self(images)[-1]

    def trunk_state(self) -> dict[str, Tensor]:
        """The weights of the trunk, under names that `load_weights` takes."""
        state = self.state_dict()
        return {key.removeprefix("trunk."): state[key] for key in state if not key.startswith(self.own_stages)}

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load a local file with this backbone's own state dict.

        ValueError names the keys that are missing, unexpected or of another shape; nothing is loaded then.
        """
        load_strict(self, read_state_dict(path), source=str(path))
