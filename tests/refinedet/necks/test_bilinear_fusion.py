from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from refinedet.necks import BilinearFusion


def test_it_is_the_formula_for_maps_that_are_not_halves():
    laterals = [nn.Conv2d(c, 4, 1) for c in (3, 5, 2)]
    sources = [torch.randn(2, c, s, s) for c, s in ((3, 10), (5, 5), (2, 3))]
    low, middle, top = BilinearFusion(laterals)(sources)
    want_top = F.relu(laterals[2](sources[2]))
    up = F.interpolate(want_top, size=(5, 5), mode="bilinear", align_corners=False)
    want_middle = F.relu(laterals[1](sources[1]) + up)
    up = F.interpolate(want_middle, size=(10, 10), mode="bilinear", align_corners=False)
    for got, want in ((top, want_top), (middle, want_middle), (low, F.relu(laterals[0](sources[0]) + up))):
        torch.testing.assert_close(got, want)


def test_wrong_number_of_maps_is_named():
    with pytest.raises(ValueError, match="sources: expected 1 maps, got 2"):
        BilinearFusion([nn.Identity()])([torch.zeros(1, 1, 2, 2)] * 2)
