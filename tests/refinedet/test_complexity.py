from __future__ import annotations

import pytest
import torch

from refinedet.cli import main
from refinedet.complexity import measure


@pytest.mark.parametrize(
    ("name", "classes", "anchors", "parameters", "gmacs"),
    [
        ("refinedet320_vgg16", 21, 6375, 34_440_884, 37.8),
        ("refinedet512_vgg16", 21, 16320, 34_440_884, 96.7),
        ("refinedet320_vgg16", 81, 6375, 36_100_484, 38.7),
    ],
)
def test_counts_of_the_paper(name, classes, anchors, parameters, gmacs):
    found = measure(name, classes)
    assert (found.anchors, found.parameters) == (anchors, parameters)
    assert found.macs / 1e9 == pytest.approx(gmacs, abs=0.06)


def test_options_count_and_nothing_is_allocated():
    assert measure("refinedet320_vgg16", use_tcb=False).macs < measure("refinedet320_vgg16").macs
    before = torch.get_default_device()
    assert measure("refinedet192_small").macs > 0 and torch.get_default_device() == before


def test_table(capsys):
    assert main(["info", "--table", "true", "refinedet320_vgg16"]) == 0
    assert "| `refinedet320_vgg16` | 320 | 6,375 | 34,440,884 | 37.8 | VOC07 80.0," in capsys.readouterr().out
