"""What the hooks see is what the network computes, and they leave no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import refinedet
from refinedet.explain import record
from refinedet.explain.recording import FIRST, SECOND
from refinedet_ext.nn import DeformAlign

from .models import NAMES, bilinear, pixels, tiny


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_without_hooks(name):
    model = tiny(name)
    image = pixels(model)
    with torch.inference_mode():
        expected = model.head_outputs(model.normalization.apply(image))
    recording = record(model, image)
    for got, wanted in zip(recording.outputs, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    assert "anchors_for" not in vars(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "height", "width"), [*((name, None, None) for name in NAMES), ("refinedet192_small", 64, 192)]
)
def test_cells_lie_where_their_anchors_stand(name, height, width):
    model = tiny(name)
    side = model.config.input_size
    recording = record(model, torch.zeros(1, 3, height or side, width or side, dtype=torch.uint8))
    anchors = recording.outputs.anchors.double().numpy()
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert sum(level.anchors for level in recording.levels) == len(anchors)
    for level in recording.levels:
        for anchor in range(level.start, level.start + level.anchors):
            row, column = level.cell_of(anchor)
            np.testing.assert_allclose(level.fractions(np.array([column, row])), centers[anchor], atol=1e-6)
        grid = level.cells(centers[:, 0])
        assert grid.shape == (level.rows, level.columns, level.per_cell) and (np.diff(grid, axis=1) > 0).all()


@pytest.mark.parametrize(("name", "aligned"), [("efgrnet192_small", [0, 1, 2, 3]), ("padet192_small", [0, 1, 2])])
def test_points_reproduce_the_alignment_inside_the_network(name, aligned):
    model = tiny(name)
    layers = [module for module in model.modules() if isinstance(module, DeformAlign)]
    seen: dict[DeformAlign, tuple[torch.Tensor, torch.Tensor]] = {}
    for layer in layers:
        layer.register_forward_hook(lambda layer, inputs, output: seen.update({layer: (inputs[0], output)}))
    recording = record(model, pixels(model))
    assert sorted(recording.points) == sorted(recording.regular) == aligned
    moved = 0.0
    for index, layer in enumerate(layers):
        points = recording.points[index]
        level = recording.levels[index]
        assert points.shape == (level.rows, level.columns, 9, 2)
        x, output = (t[0].double().numpy() for t in seen[layer])
        weight = layer.weight.detach().double().numpy().reshape(*layer.weight.shape[:2], 9)
        computed = np.einsum("yxkc,ock->oyx", bilinear(x, points), weight)
        np.testing.assert_allclose(computed, output, atol=1e-4 * max(1.0, np.abs(output).max()))
        steps = np.diff(recording.regular[index][0, 0].reshape(3, 3, 2), axis=1)
        assert (steps == (layer.dilation[1], 0)).all()
        moved = max(moved, np.abs(points - recording.regular[index]).max())
    assert moved > 0.1  # the test would say little of taps that stay


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("refinedet192_small", {}),
        ("efgrnet192_small", {"offset_source": "dilated"}),
        ("efgrnet192_small", {"cascade": False}),
        ("padet192_small", {"alignment": "none"}),
    ],
)
def test_no_points_without_deformable_alignment(name, options):
    model = tiny(name, **options)
    assert not record(model, pixels(model)).points


def test_features_are_those_that_the_heads_read():
    model = tiny("refinedet192_small", tcb_channels=16)
    image = pixels(model)
    recording = record(model, image)
    with torch.no_grad():
        x = model.backbone(model.normalization.apply(image))
        sources = [norm(m) for norm, m in zip(model.norms, x, strict=True)]
        maps = {FIRST: sources, SECOND: model.tcb(sources)}
    assert list(recording.features) == [FIRST, SECOND]
    for stage, wanted in maps.items():
        for got, one in zip(recording.features[stage], wanted, strict=True):
            np.testing.assert_allclose(got, one[0].square().mean(0).sqrt().numpy(), rtol=1e-5, atol=1e-7)


def test_a_single_stage_has_one_set_of_heads():
    model = tiny("efgrnet192_small", cascade=False)
    assert list(record(model, pixels(model)).features) == [FIRST]


def test_what_cannot_be_recorded_is_refused():
    model = tiny("refinedet192_small")
    image = pixels(model)
    with pytest.raises(ValueError, match=r"pixels: expected shape \(1, 3, H, W\), got \(2, 3, 64, 64\)"):
        record(model, image.repeat(2, 1, 1, 1))
    with pytest.raises(TypeError, match="model: expected a detector as it was built"):
        record(refinedet.optimize_for_inference(model, dtype="float32"), image)
    with pytest.raises(ValueError, match="model: expected one in eval mode"):
        record(model.train(), image)
    other = tiny("refinedet192_small")
    outputs = other.head_outputs
    other.head_outputs = lambda images: outputs(images)
    other.arm, other.odm = (_Hidden(heads) for heads in (other.arm, other.odm))
    with pytest.raises(TypeError, match="model: expected a detector whose predictions come from BoxHeads"):
        record(other, image)


class _Hidden(nn.Module):
    """Heads that nobody finds."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self._heads = [heads]

    def forward(self, maps):
        return self._heads[0](maps)
