"""uint8 images go through a detector as the floats that its normalization makes of them, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from refinedet import create_model, optimize_for_inference
from refinedet.structures import Normalization

from ..optimize.networks import build
from .test_refinedet import tiny


def pixels(side: int = 128, count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def assert_same(got: Any, want: Any) -> None:
    for one, two in zip(got, want, strict=True):
        assert torch.equal(one, two)


@pytest.fixture(scope="module", params=["bgr", "rgb"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    std = [57.0, 58.0, 59.0] if request.param == "rgb" else [1.0, 1.0, 1.0]
    return tiny(channel_order=request.param, pixel_std=std)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [True, False])
def test_as_the_floats_that_the_normalization_gives(model: Any, layout: torch.memory_format, training: bool) -> None:
    model.train(training)
    images = pixels().contiguous(memory_format=layout)
    floats = model.normalization.apply(images)
    assert floats.is_contiguous(memory_format=layout)
    assert_same(model(images), model(floats))


def test_under_autocast(model: Any) -> None:
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(model(pixels()), model(model.normalization.apply(pixels())))


def test_with_weights_of_another_dtype() -> None:
    model = tiny().eval().bfloat16()
    images = pixels()
    assert_same(model(images), model(model.normalization.apply(images).bfloat16()))


def test_compiled_without_a_break(model: Any) -> None:
    model.train()
    torch.compiler.reset()
    run = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(tuple(run(pixels())), tuple(model(pixels())))


def test_constants_first_made_in_inference_mode_serve_in_training() -> None:
    mean = (1.25, 2.5, 3.75)  # of no other test: they are kept
    model = tiny(pixel_mean=list(mean)).train()
    with torch.inference_mode():
        model(pixels())
    loss = sum(output.sum() for output in model(pixels())[:4])
    loss.backward()
    assert not any(t.is_inference() for t in Normalization(mean)._constants(torch.device("cpu")) if t is not None)


def test_an_optimized_copy() -> None:
    model = build("refinedet320_small")
    fast = optimize_for_inference(model, dtype="float32", input_size=192)
    images = pixels(192, 1)
    assert_same(fast(images), fast(model.normalization.apply(images)))
    assert_same(fast.head_outputs(images), fast.head_outputs(model.normalization.apply(images)))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.int8])
def test_other_integers_are_refused(dtype: torch.dtype) -> None:
    model = create_model("refinedet192_small", 3)
    with pytest.raises(TypeError, match=f"images: expected uint8 or a floating-point tensor, got {dtype}"):
        model(torch.zeros(1, 3, 192, 192, dtype=dtype))
